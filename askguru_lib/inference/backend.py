"""What answers prompts: a model in this process, or a server. Whatever asks knows this protocol only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from askguru_lib.config import RunConfig
from askguru_lib.databases.m_schema import MSchema
from askguru_lib.inference.origin import base_of

if TYPE_CHECKING:
    from askguru_lib.inference.decoding import Batch

Mode = Literal["greedy", "beam", "sampling", "hybrid"]


@dataclass(frozen=True)
class Generated:
    """One answer.

    Attributes:
        sql, text: the query, and the text that it was read from.
        logprob: the model's log-probability of the text; None from a server that does not tell.
        new_tokens: its length.
        source: ``greedy``, ``beam`` or ``sample``.
        finished: False if the answer was cut off at the limit, or ran in a circle.
    """

    sql: str
    text: str
    logprob: float | None
    new_tokens: int
    source: str = "greedy"
    finished: bool = True


class Backend(Protocol):
    """Answers prompts.

    Attributes:
        config: the ``inference`` section and the seed are used.
        fingerprint: equal for backends that answer alike; predictions of another one are not taken over.
    """

    config: RunConfig
    fingerprint: str

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
        """Prompts as they are answered: which ones, their answers, seconds. Arguments as :meth:`generate`."""
        ...

    def generate(self, prompts: Sequence[str], **options: Any) -> list[list[Generated]]:
        """Answers of every prompt, in the prompts' order.

        Args:
            prompts: user messages, as yet without the chat template.
            num_return: answers per prompt.
            enough: once so many different answers have ended, the likeliest beam among them, the others are cut off
                (a server knows nothing of that); by default all are waited for.
            mode: ``greedy``, ``beam``, ``sampling`` or ``hybrid`` (``num_beams`` beams, the rest samples); beams come
                first, most probable first.
            num_beams, temperature, max_new_tokens: instead of the configuration's.
            schemas: one per prompt: constrain identifiers to it.
            dialect: of the constraint.
            desc: label of a progress bar.
            seed: of the samples; a prompt's draws depend on it and on the prompt, not on what is asked beside it.
        """
        answers: list[list[Generated]] = [[] for _ in prompts]
        for batch, found, _ in self.stream(prompts, **options):
            for i, those in zip(batch.indices, found, strict=True):
                answers[i] = those
        return answers

    def score_options(
        self, prompts: Sequence[str], options: Sequence[str], desc: str | None = None
    ) -> list[dict[str, float]]:
        """Log-probability of each short answer after each prompt, read off without writing it."""
        ...


def load_backend(config: RunConfig, model_name: str | None = None) -> Backend:
    """The server at ``inference.base_url`` if there is one, else a model loaded into this process.

    Args:
        model_name: of a server the name that it knows the model by; else a model folder, an adapter folder (its base is
            loaded with it) or a hub name. By default ``model.name_or_path``.

    Raises:
        InferenceError: the model cannot be loaded, or the server not be used.
    """
    name = model_name or config.model.name_or_path
    if config.inference.base_url:
        from askguru_lib.inference.server import ServerGenerator

        return ServerGenerator(config.inference.base_url, name, config)
    from askguru_lib.inference import generation

    adapter = name if (Path(name) / "adapter_config.json").is_file() else None
    base = base_of(Path(name)) if adapter else name
    return generation.Generator(*generation.load_model(base, adapter=adapter, config=config), config)
