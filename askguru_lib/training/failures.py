"""What a run that cannot go on leaves behind: the batch that broke it, and what to change."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers import TrainerCallback

from askguru_lib.config import RunConfig
from askguru_lib.data.files import write_jsonl
from askguru_lib.errors import TrainingError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_MEMORY = ("out of memory", "can't allocate memory")


@dataclass
class Watch:
    """Remembers the micro batches of the step under way, and stops the run before it spoils the weights.

    Args:
        folder: receives ``bad_batch.jsonl`` (``bad_batch.rank3.jsonl`` of another process).
        tokenizer: for the text of its rows.
    """

    folder: Path
    tokenizer: PreTrainedTokenizerBase
    rank: int = 0
    step: int = 1
    batches: list[tuple[torch.Tensor, float]] = field(default_factory=list)
    shape: tuple[int, ...] = (0, 0)

    def reads(self, ids: torch.Tensor) -> None:
        """A micro batch ``[rows, longest]`` is about to be read."""
        self.shape = tuple(ids.shape)

    def learnt(self, ids: torch.Tensor, loss: torch.Tensor) -> None:
        """Its loss is known; one that is not a finite number stops the run."""
        value = loss.item()
        self.batches.append((ids, value))
        if not math.isfinite(value):
            self.stop(f"the loss is {value}")

    def stop(self, what: str) -> None:
        """Save the batch and raise."""
        path = self.folder / ("bad_batch.jsonl" if self.rank == 0 else f"bad_batch.rank{self.rank}.jsonl")
        rows = [(row.tolist(), loss) for ids, loss in self.batches for row in ids]
        write_jsonl(path, [
            {"step": self.step, "row": number, "loss": loss if math.isfinite(loss) else str(loss),
             "text": self.tokenizer.decode(ids), "ids": ids}
            for number, (ids, loss) in enumerate(rows)
        ])  # fmt: skip
        raise TrainingError(
            what,
            where=f"step {self.step}",
            hint="lower training.learning_rate or training.max_grad_norm, or train with bf16: false, and call again: "
            f"it goes on from the last checkpoint. The step's rows are in {path}",
        )


class FiniteGradients(TrainerCallback):
    """Looks at the gradient before the optimizer does: a weight that became NaN once is lost."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.watch.step = state.global_step + 1
        self.watch.batches.clear()

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        norms = [p.grad.detach().norm() for p in model.parameters() if p.grad is not None]
        if norms and not torch.stack([n.float().to(norms[0].device) for n in norms]).isfinite().all():
            self.watch.stop("the gradient is not finite")


@contextmanager
def memory_explained(config: RunConfig, watch: Watch, lengths: Sequence[int]) -> Iterator[None]:
    """Out of memory, on a GPU or a CPU, becomes an error that says at which size, and the next thing to lower.

    Args:
        lengths: tokens of every training row.
    """
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as e:
        if not isinstance(e, torch.OutOfMemoryError | MemoryError) and not any(m in str(e).lower() for m in _MEMORY):
            raise
        rows, longest = watch.shape
        raise TrainingError(
            f"out of memory with {rows} {'row' if rows == 1 else 'rows'} of {longest} tokens",
            where=f"step {watch.step}",
            hint=what_to_lower(config, lengths),
        ) from e


def what_to_lower(config: RunConfig, lengths: Sequence[int]) -> str:
    """The cheapest change that saves memory: those that change no weight first."""
    t = config.training
    if t.micro_batch > 1:
        part = next(p for p in range(2, t.micro_batch + 1) if t.micro_batch % p == 0)
        rows, steps = t.micro_batch // part, t.gradient_accumulation * part
        return f"set training.micro_batch: {rows} and training.gradient_accumulation: {steps} (the same samples a step)"
    if not t.gradient_checkpointing:
        return "set training.gradient_checkpointing: true"
    p95 = sorted(lengths)[int(0.95 * (len(lengths) - 1))] if lengths else t.max_length
    if p95 < t.max_length and lengths and max(lengths) > p95:
        return f"set training.max_length: {p95} (95 % of the rows are no longer)"
    if config.lora.enabled and config.model.quantization != "4bit":
        return "set model.quantization: 4bit"
    if config.lora.enabled and config.lora.rank > 1:
        return f"set lora.rank: {config.lora.rank // 2}"
    return "take a smaller model, or more devices: training.deepspeed: params/deepspeed/zero3.json"
