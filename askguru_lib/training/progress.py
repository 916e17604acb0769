"""What a training run writes down while it runs: log.jsonl, log.csv and one text bar with the time left."""

from __future__ import annotations

import csv
import sys
import time
from pathlib import Path
from typing import Any

from tqdm import tqdm
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from askguru_lib.data.files import Journal, atomic, read_records, write_jsonl
from askguru_lib.training.throughput import utilisation

COLUMNS = (
    "step",
    "epoch",
    "loss",
    "eval_loss",
    "eval_ex",
    "eval_ex_n",
    "token_accuracy",
    "eval_token_accuracy",
    "lr",
    "grad_norm",
    "tokens",
    "tokens_per_s",
    "mfu",
    "elapsed_s",
    "eta_s",
)
"""Columns of log.csv, first those that every run has; what else was recorded follows."""
_KNOWN = {"loss", "learning_rate", "grad_norm", "epoch", "total_flos", "num_tokens", "num_input_tokens_seen"}
_TIMING = ("_runtime", "_per_second", "_model_preparation_time")


class TrainingLog(TrainerCallback):
    """One line per logged step, continued where a resumed run starts.

    Args:
        path: the JSON Lines file; ``log.csv`` is written beside it at the end.
        from_step: steps already trained; lines beyond are of a lost stretch and are dropped.
        first: whether this process is the one that writes; of several, one is.
    """

    def __init__(self, path: Path, from_step: int = 0, *, first: bool = True) -> None:
        self.path, self.from_step = path, from_step
        self.trainer: Any = None  # counts the arithmetic; set when it is there
        self._before = 0.0
        self._last: tuple[float, int, float] | None = None
        self._journal: Journal | None = None
        if not first:
            return
        kept = [r for r in read_records(path) if r["step"] <= from_step] if from_step and path.exists() else []
        write_jsonl(path, kept)
        self._journal = Journal(path)
        self._before = max((r["elapsed_s"] for r in kept), default=0.0)

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self._start = time.perf_counter()
        self._last = (self._start, state.num_input_tokens_seen, self._done())
        self._bar = tqdm(
            total=state.max_steps,
            initial=state.global_step,
            desc="training",
            unit="step",
            file=sys.stderr,
            mininterval=2,
            disable=not state.is_world_process_zero,
        )

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self._bar.update(state.global_step - self._bar.n)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **_: Any,
    ) -> None:
        if not logs or "loss" not in logs or self._journal is None:
            return
        now = time.perf_counter()
        then, tokens, flops = self._last or (self._start, 0, 0.0)
        rate = (state.num_input_tokens_seen - tokens) / max(now - then, 1e-9)
        done = max(state.global_step - self.from_step, 1)
        self._write(
            state,
            loss=logs["loss"],
            lr=logs.get("learning_rate"),
            grad_norm=logs.get("grad_norm"),
            tokens=state.num_input_tokens_seen,
            tokens_per_s=round(rate, 1),
            mfu=self._utilisation(self._done() - flops, now - then),
            eta_s=round((now - self._start) / done * (state.max_steps - state.global_step), 1),
            **{k: v for k, v in logs.items() if k not in _KNOWN},
        )
        self._bar.set_postfix(loss=f"{logs['loss']:.3f}", tok_s=f"{rate:.0f}")
        self._last = (now, state.num_input_tokens_seen, self._done())

    def _done(self) -> float:
        return self.trainer.flops if self.trainer else 0.0

    def _utilisation(self, flops: float, seconds: float) -> float | None:
        if self.trainer is None:
            return None
        args = self.trainer.args
        share = utilisation(flops, seconds, args.device.type, bf16=args.bf16)
        return None if share is None else round(share, 4)

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        metrics: dict[str, float] | None = None,
        **_: Any,
    ) -> None:
        if metrics and self._journal is not None:
            shown = {k: v for k, v in metrics.items() if k.startswith("eval_") and not k.endswith(_TIMING)}
            self._write(state, **shown)
        self._last = (time.perf_counter(), state.num_input_tokens_seen, self._done())  # tokens/s counts training alone

    def _write(self, state: TrainerState, **figures: Any) -> None:
        place = {"step": state.global_step, "epoch": round(state.epoch or 0.0, 4)}
        elapsed = round(self._before + time.perf_counter() - self._start, 2)
        if self._journal is not None:
            self._journal.append(place | figures | {"elapsed_s": elapsed})

    def on_train_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self.close()
        if self._journal is not None:
            write_csv(self.path)

    def close(self) -> None:
        """Release the bar and the file (also after an error)."""
        if hasattr(self, "_bar"):
            self._bar.close()
        if self._journal is not None:
            self._journal.close()


def write_csv(log: Path) -> Path:
    """``log.csv`` beside ``log.jsonl``: the same lines as a table."""
    target = log.with_suffix(".csv")
    lines = read_records(log)
    with atomic(target) as file:
        table = csv.DictWriter(file, dict.fromkeys([*COLUMNS, *(k for r in lines for k in r)]), lineterminator="\n")
        table.writeheader()
        table.writerows(lines)
    return target
