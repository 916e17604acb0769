"""From prompts to SQL: loading a model, answering in batches, resumable predictions."""

from __future__ import annotations

import hashlib
import sys
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
from transformers.utils import logging as transformers_logging

from askguru_lib.config import RunConfig, model_folder
from askguru_lib.data.files import Journal
from askguru_lib.databases.executor import Executor
from askguru_lib.databases.m_schema import MSchema
from askguru_lib.errors import InferenceError
from askguru_lib.inference.backend import Backend, Generated, Mode
from askguru_lib.inference.constraints import SchemaConstraint
from askguru_lib.inference.decoding import Batch, Hypothesis, SharedDecoder, plan_batches
from askguru_lib.inference.origin import other_prompts
from askguru_lib.inference.parsing import parse_sql
from askguru_lib.inference.predictions import (
    PredictionFile,
    bounds_of,
    by_dialect,
    dialect_of,
    question_prompt,
    schemas_of,
)
from askguru_lib.inference.quantization import quantization

__all__ = [
    "Generated",
    "Generator",
    "Mode",
    "answer",
    "dialect_of",
    "fingerprint",
    "load_model",
    "parse_sql",
    "question_prompt",
    "schemas_of",
]


def load_model(
    name_or_path: str | Path, adapter: str | Path | None = None, config: RunConfig | None = None
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A model ready to answer, with its tokenizer; a LoRA adapter is merged into the weights, which makes it free.

    Args:
        name_or_path: folder (relative ones count from the project's root) or hub name.
        adapter: folder of a PEFT adapter, or what training without LoRA leaves there: a whole model, used as it is.
        config: its ``model`` section gives type and quantization, and the form of the prompts: a warning says where it
            is not the one that was trained on.

    Raises:
        InferenceError: model or adapter cannot be loaded.
    """
    settings = (config or RunConfig()).model
    source = str(model_folder(name_or_path) or name_or_path)
    if (
        adapter is not None
        and not (Path(adapter) / "adapter_config.json").is_file()
        and (Path(adapter) / "config.json").is_file()
    ):
        source, adapter = str(adapter), None  # trained without LoRA: a whole model lies where the adapter would
    trained = Path(adapter or source)
    if config and (differ := other_prompts(trained, settings)):
        warnings.warn(f"{trained} was trained on other prompts ({differ})", stacklevel=2)
    options: dict[str, Any] = {"dtype": getattr(torch, settings.dtype)}
    if torch.cuda.is_available():
        options["device_map"] = "auto"
    if (quantized := quantization(settings)) is not None:
        options["quantization_config"] = quantized
    try:
        with _quietly():
            model, tokenizer = _load(source, adapter, options, quantized is not None)
    except (OSError, ValueError, KeyError) as e:
        place = f"{source} + {adapter}" if adapter else source
        raise InferenceError(f"cannot load the model ({e})", where=place, hint="give a folder or a hub name") from e
    return model.eval(), tokenizer


@contextmanager
def _quietly() -> Iterator[None]:
    """No progress bar where nobody watches (a stored notebook), no warning that concerns other libraries only."""
    bar = transformers_logging.is_progress_bar_enabled() and not sys.stderr.isatty()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        if bar:
            transformers_logging.disable_progress_bar()
        try:
            yield
        finally:
            if bar:
                transformers_logging.enable_progress_bar()


def _load(
    source: str, adapter: str | Path | None, options: Mapping[str, Any], quantized: bool
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    kind = AutoConfig.from_pretrained(source).model_type
    loader: Any = AutoModelForCausalLM if kind in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES else AutoModelForImageTextToText
    model = loader.from_pretrained(source, **options)
    tokenizer = AutoTokenizer.from_pretrained(source)
    if adapter is not None:
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, str(adapter))
        model = model if quantized else model.merge_and_unload()
    return model, tokenizer


@torch.no_grad()
def fingerprint(model: PreTrainedModel) -> str:
    """A hash of a few values of every weight: equal for equal models, wherever they were loaded from."""
    digest = hashlib.sha256()
    for name, weight in model.named_parameters():
        flat = weight.detach().reshape(-1)
        some = flat[:: max(1, flat.numel() // 32)][:33].float().cpu()
        digest.update(f"{name}{tuple(weight.shape)}{weight.dtype}".encode() + some.numpy().tobytes())
    return digest.hexdigest()[:16]


class Generator(Backend):
    """Answers prompts in batches, with a model in this process.

    Args:
        model, tokenizer: as :func:`load_model` returns them.
        config: the ``inference`` section and the seed are used.
    """

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, config: RunConfig) -> None:
        self.model, self.tokenizer, self.config = model, tokenizer, config
        ends = model.generation_config.eos_token_id if model.generation_config else None
        eos = {tokenizer.eos_token_id, *(ends if isinstance(ends, list) else [ends])} - {None}
        if not eos:
            raise InferenceError("neither tokenizer nor model names an end-of-answer token", where="eos_token_id")
        self.decoder = SharedDecoder(model, sorted(eos), config.inference.prefix_cache_mb)
        self.fingerprint = fingerprint(model)
        self._constraints: dict[tuple[str, str], SchemaConstraint] = {}

    def tokenize(self, prompts: Sequence[str]) -> list[list[int]]:
        """Prompts as conversations, by the tokenizer's chat template, in one go (never rendered and read again)."""
        talks = [[{"role": "user", "content": prompt}] for prompt in prompts]
        if not talks:
            return []
        return self.tokenizer.apply_chat_template(  # type: ignore[return-value]
            talks, tokenize=True, add_generation_prompt=True, return_dict=False
        )

    def constraint(self, schema: MSchema, dialect: str = "sqlite") -> SchemaConstraint:
        """The schema's constraint; what it has worked out is kept for the next questions."""
        key = (schema.to_mschema(), dialect)
        if key not in self._constraints:
            self._constraints[key] = SchemaConstraint(self.tokenizer, schema, dialect, eos=self.decoder.eos.tolist())
        return self._constraints[key]

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
        """Batches as they are done: which prompts, their answers, seconds. Arguments as :meth:`generate`."""
        settings = self.config.inference
        if temperature is not None and temperature <= 0:
            raise InferenceError("sampling needs a temperature above 0", where=f"temperature={temperature}",
                                 hint="for the likeliest answer use mode greedy")  # fmt: skip
        beams, samples = self._rows(mode, num_return, num_beams)
        ids = self.tokenize(prompts)
        constraints = [self.constraint(s, dialect) for s in schemas] if schemas is not None else None
        first_seed = self.config.seed if seed is None else seed
        bar = tqdm(total=len(prompts), desc=desc, unit="question", file=sys.stderr, disable=desc is None)
        with bar:
            for batch in plan_batches(ids, settings.batch_size):
                started = time.perf_counter()
                found = self.decoder.decode(
                    [ids[i] for i in batch.indices],
                    batch.prefix,
                    beams=beams,
                    samples=samples,
                    enough=enough,
                    max_new_tokens=max_new_tokens or settings.max_new_tokens,
                    temperature=temperature or settings.temperature,
                    top_p=settings.top_p,
                    seeds=[_seed(first_seed, prompts[i]) for i in batch.indices],
                    constraints=[constraints[i] for i in batch.indices] if constraints else None,
                )
                answers = [[self._read(h) for h in hypotheses] for hypotheses in found]
                yield batch, answers, time.perf_counter() - started
                bar.update(len(batch.indices))

    def score_options(
        self, prompts: Sequence[str], options: Sequence[str], desc: str | None = None
    ) -> list[dict[str, float]]:
        """Log-probability of each short answer after each prompt, in one forward pass over the prompt."""
        ids = self.tokenize(prompts)
        tokens = [self._answer_tokens(option) for option in options]
        scores: list[dict[str, float]] = [{} for _ in prompts]
        with tqdm(total=len(prompts), desc=desc, unit="prompt", file=sys.stderr, disable=desc is None) as bar:
            for batch in plan_batches(ids, self.config.inference.batch_size):
                table = self.decoder.score([ids[i] for i in batch.indices], batch.prefix, tokens)
                for i, row in zip(batch.indices, table.tolist(), strict=True):
                    scores[i] = dict(zip(options, row, strict=True))
                bar.update(len(batch.indices))
        return scores

    def _answer_tokens(self, answer: str) -> list[int]:
        """Tokens of an answer where the chat template puts it."""
        talk = [{"role": "user", "content": "?"}, {"role": "assistant", "content": answer}]
        # mistral-common refuses an assistant's closing turn, but goes on with one.
        goes_on = type(self.tokenizer).__name__ == "MistralCommonBackend"
        whole: list[int] = self.tokenizer.apply_chat_template(  # type: ignore[assignment]
            talk, tokenize=True, return_dict=False, continue_final_message=goes_on
        )
        tokens = whole[len(self.tokenize(["?"])[0]) :]
        while tokens and tokens[-1] in self.decoder.eos.tolist():
            tokens.pop()
        return tokens

    def _rows(self, mode: Mode, num_return: int, num_beams: int | None) -> tuple[int, int]:
        if mode == "greedy":
            if num_return != 1:
                raise InferenceError(
                    "greedy decoding has one answer", where=f"num_return={num_return}", hint="use beam"
                )
            return 1, 0
        if mode == "beam":
            return num_return, 0
        if mode == "sampling":
            return 0, num_return
        beams = min(num_beams or self.config.inference.num_beams, num_return)
        return beams, num_return - beams

    def _read(self, hypothesis: Hypothesis) -> Generated:
        text = str(self.tokenizer.decode(list(hypothesis.tokens), skip_special_tokens=True))
        return Generated(
            parse_sql(text), text, hypothesis.logprob, len(hypothesis.tokens), hypothesis.source, hypothesis.finished
        )


def _seed(seed: int, prompt: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed}:{prompt}".encode()).digest()[:7])


def answer(
    test_set: Sequence[Mapping[str, Any]],
    generator: Backend,
    out_path: str | Path,
    config: RunConfig,
    executor: Executor | None = None,
    *,
    constrained: bool | None = None,
    desc: str | None = None,
) -> list[dict[str, Any]]:
    """Answer every question greedily, one JSON line each; a killed call goes on where it stopped.

    Args:
        test_set: processed records with ``id``.
        out_path: JSON Lines file, see :class:`~askguru_lib.inference.predictions.PredictionFile`.
        executor: if given, each line also gets ``failure``: the kind of error its SQL meets, or null.
        constrained: instead of the configuration's.
        desc: label of a progress bar.
    """
    bound = config.inference.constrained if constrained is None else constrained
    prompts = [question_prompt(r, config) for r in test_set]
    file = PredictionFile(out_path, test_set, prompts, [generator.fingerprint, bound, config.inference.max_new_tokens])
    for dialect, places in by_dialect([test_set[i] for i in file.todo], config).items():
        todo = [file.todo[j] for j in places]
        schemas = bounds_of([test_set[i] for i in todo], config, bound)
        stream = generator.stream([prompts[i] for i in todo], schemas=schemas, dialect=dialect, desc=desc)
        with Journal(file.part) as journal:
            for batch, found, seconds in stream:
                elapsed = round(1000 * seconds / len(found), 2)
                lines = {todo[j]: _line(best, elapsed) for j, (best, *_) in zip(batch.indices, found, strict=True)}
                _add_failures(list(lines.values()), [test_set[i]["db_name"] for i in lines], executor)
                file.add(journal, lines)
    # Lines that an earlier call wrote without an executor.
    untried = [file.lines[str(r["id"])] for r in test_set if "failure" not in file.lines[str(r["id"])]]
    _add_failures(untried, [line["db_name"] for line in untried], executor)
    return file.finish()


def _add_failures(lines: Sequence[dict[str, Any]], databases: Sequence[str], executor: Executor | None) -> None:
    if executor is None or not lines:
        return
    items = [(database, line["sql"]) for database, line in zip(databases, lines, strict=True)]
    for line, result in zip(lines, executor.run_many(items), strict=True):
        line["failure"] = result.failure.kind if result.failure else None


def _line(best: Generated, elapsed_ms: float) -> dict[str, Any]:
    return {
        "sql": best.sql,
        "text": best.text,
        "new_tokens": best.new_tokens,
        "logprob": None if best.logprob is None else round(best.logprob, 4),
        "finished": best.finished,
        "elapsed_ms": elapsed_ms,
    }
