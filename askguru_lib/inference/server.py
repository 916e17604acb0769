"""Answers from an OpenAI-compatible server: vLLM, ``transformers serve``, llama.cpp, Ollama, or somebody else's.

Only its chat endpoint is asked, several requests at a time. What a server offers beyond one answer as text (several
answers to one request, log-probabilities, a seed) is taken where it comes, and done without where it does not.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any, TypeVar

from openai.types.chat.chat_completion import Choice
from tqdm import tqdm

from askguru_lib.config import RunConfig
from askguru_lib.databases.m_schema import MSchema
from askguru_lib.errors import InferenceError
from askguru_lib.inference.backend import Backend, Generated, Mode
from askguru_lib.inference.chat_client import ChatClient
from askguru_lib.inference.decoding import Batch
from askguru_lib.inference.parsing import parse_sql

log = logging.getLogger(__name__)

STABLE = ("id", "root", "parent", "max_model_len", "meta")
"""What servers say about a model and do not say differently each time."""
TOP_LOGPROBS = 20
SMALLEST = 1e-9
HOW = """transformers serve: inference.server_options: {generation_config: '{"do_sample": true}'}"""
"""How a server is told to sample that does not take a temperature for the wish to."""
T = TypeVar("T")


class ServerGenerator(Backend):
    """Answers prompts by asking a server, ``inference.concurrency`` requests at a time.

    Samples have a seed of their own; whether it makes them repeatable is up to the server. The fingerprint knows of the
    model what the server lists, so weights that are exchanged under one name may go unnoticed.

    Args:
        base_url, model: see :class:`~askguru_lib.inference.chat_client.ChatClient`.
        config: the ``inference`` section and the seed are used.

    Raises:
        InferenceError: the server cannot be reached, or refuses the key.
    """

    def __init__(self, base_url: str, model: str, config: RunConfig) -> None:
        self.config = config
        self.chat = ChatClient(base_url, model, config.inference)
        served = self.chat.served
        card = served.get(model) or (next(iter(served.values())) if len(served) == 1 else {})
        known = [base_url, model, {k: card.get(k) for k in STABLE}, config.inference.server_options]
        self._remarked = False
        self.fingerprint = hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()[:16]

    def stream(
        self,
        prompts: Sequence[str],
        *,
        num_return: int = 1,
        enough: int | None = None,
        mode: Mode = "greedy",
        num_beams: int | None = None,
        temperature: float | None = None,
        schemas: Sequence[MSchema] | None = None,
        dialect: str = "sqlite",
        max_new_tokens: int | None = None,
        desc: str | None = None,
        seed: int | None = None,
    ) -> Iterator[tuple[Batch, list[list[Generated]], float]]:
        """Each prompt as soon as it is answered; the seconds are those that it waited for its answers.

        Raises:
            InferenceError: beams or a schema constraint are asked for, which no server offers, or the server fails.
        """
        settings = self.config.inference
        if schemas is not None:
            raise self.chat.error("answers cannot be held to a schema over HTTP",
                                  "set inference.constrained: false (--constrained false)")  # fmt: skip
        if mode in ("beam", "hybrid"):
            raise self.chat.error("beam search is not to be had over HTTP",
                                  "set inference.generation_method: sampling, or the flag of that name")  # fmt: skip
        if mode == "greedy" and num_return != 1:
            raise InferenceError("greedy decoding has one answer", where=f"num_return={num_return}", hint="sample")
        if temperature is not None and temperature <= 0:
            raise InferenceError("sampling needs a temperature above 0", where=f"temperature={temperature}",
                                 hint="for the likeliest answer use mode greedy")  # fmt: skip
        fields: dict[str, Any] = {"max_tokens": max_new_tokens or settings.max_new_tokens, "temperature": 0}
        if mode == "sampling":
            fields |= {"temperature": temperature or settings.temperature, "top_p": settings.top_p}
        first_seed = self.config.seed if seed is None else seed

        def ask(prompt: str) -> tuple[list[Generated], float]:
            started = time.perf_counter()
            return self._answers(prompt, num_return, fields, _seed(first_seed, prompt)), time.perf_counter() - started

        alike = 0
        for i, (found, seconds) in self._each(ask, prompts, desc, "question"):
            alike += len({a.text for a in found}) == 1
            yield Batch((i,), 0), [found], seconds
        if num_return > 1 and alike == len(prompts) > 1 and not self._remarked:
            self._remarked = True
            log.warning("%s: the samples of every question are all alike; does it sample? (%s)", self.chat.where, HOW)

    def score_options(
        self, prompts: Sequence[str], options: Sequence[str], desc: str | None = None
    ) -> list[dict[str, float]]:
        """Log-probability of each option, a letter, as the first token of each prompt's answer.

        Servers list the likeliest tokens only: an option that is not among them has the probability that the list
        leaves, or that of its last token, whichever is less.

        Raises:
            InferenceError: the server gives no log-probabilities.
        """
        scores: list[dict[str, float]] = [{} for _ in prompts]
        for i, score in self._each(lambda prompt: self._letters(prompt, options), prompts, desc, "prompt"):
            scores[i] = score
        if unsaid := sum(len(set(score.values())) == 1 for score in scores):
            log.warning("%s: %d of %d answers begin with none of the options", self.chat.where, unsaid, len(scores))
        return scores

    def _each(
        self, work: Callable[[str], T], prompts: Sequence[str], desc: str | None, unit: str
    ) -> Iterator[tuple[int, T]]:
        """Work on every prompt, several at a time: which prompt and what came of it, in the order in which they end."""
        pool = ThreadPoolExecutor(self.config.inference.concurrency, thread_name_prefix="askguru-request")
        # Prompts with a common beginning follow one another, so that the server can compute it once.
        jobs = {pool.submit(work, prompts[i]): i for i in sorted(range(len(prompts)), key=prompts.__getitem__)}
        try:
            with tqdm(total=len(prompts), desc=desc, unit=unit, file=sys.stderr, disable=desc is None) as bar:
                for job in as_completed(jobs):
                    yield jobs[job], job.result()
                    bar.update()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _answers(self, prompt: str, n: int, fields: dict[str, Any], seed: int) -> list[Generated]:
        """``n`` answers, from one request where the server gives several, else from one request each."""
        source = "sample" if fields["temperature"] else "greedy"
        found: list[Generated] = []
        while len(found) < n:
            missing = n - len(found)
            more = {"seed": seed + len(found)} if source == "sample" else {}
            more |= {"n": missing} if missing > 1 else {}
            reply = self.chat.ask(prompt, **fields, **more, logprobs=True)
            if len(reply.choices) < missing:
                self.chat.refused.add("n")
            tokens = getattr(reply.usage, "completion_tokens", None) if len(reply.choices) == 1 else None
            found += [_read(choice, source, tokens) for choice in reply.choices]
        return found[:n]

    def _letters(self, prompt: str, options: Sequence[str]) -> dict[str, float]:
        reply = self.chat.ask(prompt, max_tokens=1, temperature=0, logprobs=True, top_logprobs=TOP_LOGPROBS)
        said = _logprobs(reply.choices[0])
        if not said or not said[0].top_logprobs:
            raise self.chat.error(
                "the server gives no log-probabilities, which a critic's opinion is read from",
                "set inference.critic_reads: false, or for a plain vote use_critic: false (--use_critic false)",
            )
        listed = [(t.token.strip(" ▁\n"), math.exp(t.logprob)) for t in said[0].top_logprobs]
        least = min(min(p for _, p in listed), 1 - math.fsum(p for _, p in listed))
        shares = {o: math.fsum(p for token, p in listed if token == o) for o in options}
        return {o: math.log(max(p or least, SMALLEST)) for o, p in shares.items()}


def _read(choice: Choice, source: str, tokens: int | None) -> Generated:
    text, said = choice.message.content or "", _logprobs(choice)
    logprob = math.fsum(t.logprob for t in said) if said else None
    length = len(said) if tokens is None else tokens
    return Generated(parse_sql(text), text, logprob, length, source, getattr(choice, "finish_reason", None) == "stop")


def _logprobs(choice: Choice) -> list[Any]:
    """What the server says about each token of an answer; nothing where it does not, or in another form."""
    return getattr(choice.logprobs, "content", None) or []


def _seed(seed: int, prompt: str) -> int:
    """A prompt's seed, small enough for every server."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{prompt}".encode()).digest()[:4]) >> 2
