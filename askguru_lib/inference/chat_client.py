"""One model behind one OpenAI-compatible server: a request, its repetitions, and what is wrong when it fails.

The ``openai`` client repeats what failed for the moment (429, 5xx, no connection, no answer in time), with growing
pauses or as long as the server's ``Retry-After`` says. What a server need not know is left out once it has refused it.
"""

from __future__ import annotations

import logging
import os
import re
from typing import Any

import openai
from openai.types.chat import ChatCompletion

from askguru_lib.config import InferenceConfig
from askguru_lib.errors import InferenceError

log = logging.getLogger(__name__)

NO_KEY = "no-key-needed"
OPTIONAL = ("logprobs", "top_logprobs", "seed")
"""Fields of a request without which a server's answer is still an answer; ``n`` is one too."""
_TOO_LONG = re.compile(r"context.{0,20}(length|size|window)|too long|too many tokens|max_model_len", re.IGNORECASE)


class ChatClient:
    """The chat endpoint of a server; may be used by several threads.

    Args:
        base_url: of the server's API; it mostly ends with ``/v1``.
        model: the name by which the server knows the model.
        settings: time limit, repetitions, and the environment variable that holds the key (a local server needs none).

    Attributes:
        served: what the server says about each model that it lists.
        refused: fields of a request that the server does not take, or does not heed.

    Raises:
        InferenceError: the server cannot be reached, or refuses the key.
    """

    def __init__(self, base_url: str, model: str, settings: InferenceConfig) -> None:
        self.model, self.settings = model, settings
        self.where = f"{base_url}, model {model!r}"
        self._key = os.environ.get(settings.api_key_env, "").strip() or NO_KEY
        if not re.fullmatch(r"[!-~]+", self._key):  # a header cannot hold it, and the complaint would show it
            raise self.error("what should be its key is none", f"mend the environment variable {settings.api_key_env}")
        self._client = openai.OpenAI(
            base_url=base_url, api_key=self._key, timeout=settings.request_timeout_s, max_retries=settings.max_retries
        )
        self.refused: set[str] = set()
        self.served = self._models()

    def ask(self, prompt: str, **fields: Any) -> ChatCompletion:
        """The server's reply to a user message, with one choice at least.

        Raises:
            InferenceError: there is none, in spite of all repetitions.
        """
        while True:
            sent = {k: v for k, v in fields.items() if k not in self.refused}
            try:
                reply = self._client.chat.completions.create(
                    model=self.model,
                    messages=[{"role": "user", "content": prompt}],
                    extra_body=self.settings.server_options or None,
                    **sent,
                )
            except (openai.BadRequestError, openai.UnprocessableEntityError) as e:
                said = self._said(e)
                named = {k for k in OPTIONAL if k in sent and re.search(rf"\b{k}\b", said)}
                # llama.cpp once said "Only one completion choice is allowed".
                dropped = named or ({"n"} & sent.keys() if not _TOO_LONG.search(said) else set())
                if not dropped:
                    raise self._explained(e, prompt) from e
                log.warning("%s: going on without %s (%s)", self.where, ", ".join(sorted(dropped)), said)
                self.refused |= dropped
            except openai.APIError as e:
                raise self._explained(e, prompt) from e
            except ValueError as e:  # what claims to be JSON is none
                raise self._malformed() from e
            else:
                # The client takes a reply's form on trust.
                choices = getattr(reply, "choices", None)
                if not choices or not all(hasattr(getattr(c, "message", None), "content") for c in choices):
                    raise self._malformed()
                return reply

    def error(self, what: str, hint: str) -> InferenceError:
        return InferenceError(what, where=self.where, hint=hint)

    def _malformed(self) -> InferenceError:
        return self.error("what came back is no chat completion", "is this the API's URL? It mostly ends with /v1")

    def _models(self) -> dict[str, dict[str, Any]]:
        """What the server lists; nothing where it keeps no list, which is no fault."""
        try:
            few = self._client.with_options(max_retries=min(2, self.settings.max_retries))
            return {card.id: card.model_dump(mode="json") for card in few.models.list().data}
        except (openai.APIConnectionError, openai.AuthenticationError, openai.PermissionDeniedError) as e:
            raise self._explained(e) from e
        except (openai.APIError, AttributeError, TypeError, ValueError):
            return {}

    def _said(self, error: openai.APIError) -> str:
        """The server's words, or the network's, in one line and without the key."""
        body: Any = error.body
        if isinstance(body, dict):
            body = body.get("message") or body.get("detail") or body
        words = " ".join(str(body or error.__cause__ or error.message).split())
        return words.replace(self._key, "***")[:300]

    def _explained(self, error: openai.APIError, prompt: str = "") -> InferenceError:
        """What went wrong and what to do about it."""
        settings, said = self.settings, self._said(error)
        status = error.status_code if isinstance(error, openai.APIStatusError) else 0
        if isinstance(error, openai.APITimeoutError):
            return self.error(f"no answer within {settings.request_timeout_s:g} s",
                              "raise inference.request_timeout_s, or lower inference.concurrency")  # fmt: skip
        if isinstance(error, openai.APIConnectionError):
            return self.error(f"the server cannot be reached ({said})", "start it, or correct inference.base_url")
        if status in (401, 403):
            return self.error(f"the server refuses the key (HTTP {status}: {said})",
                              f"put a valid one into the environment variable {settings.api_key_env}")  # fmt: skip
        if status == 429 or status >= 500:
            return self.error(f"HTTP {status} in spite of up to {settings.max_retries} repetitions: {said}",
                              "read the server's log, or lower inference.concurrency; a new call goes on")  # fmt: skip
        if _TOO_LONG.search(said):
            return self.error(f"a prompt of {len(prompt):,} characters is too long: {said}",
                              "show less of the schema (MSchema.fit), lower inference.max_new_tokens, or serve it "
                              "with a longer context")  # fmt: skip
        if self.model not in self.served and (status == 404 or "model" in said.lower() or self.model in said):
            known = f"it lists {', '.join(sorted(self.served))}" if self.served else "and does the URL end with /v1?"
            return self.error(f"HTTP {status}: {said}", f"give the name of a model that it serves (--model): {known}")
        return self.error(f"HTTP {status}: {said}", "the server does not take the request; its log says why")
