"""What a training run writes down while it runs: log.jsonl, log.csv and one text bar with the time left."""

from __future__ import annotations

import csv
import json
import sys
import time
from pathlib import Path
from typing import Any

from tqdm import tqdm
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from askguru_lib.data.files import Journal, atomic, read_records, write_jsonl

COLUMNS = (
    "step",
    "epoch",
    "loss",
    "eval_loss",
    "eval_ex",
    "lr",
    "grad_norm",
    "tokens",
    "tokens_per_s",
    "elapsed_s",
    "eta_s",
)


class TrainingLog(TrainerCallback):
    """One line per logged step, continued where a resumed run starts.

    Args:
        path: the JSON Lines file; ``log.csv`` is written beside it at the end.
        from_step: steps already trained; lines beyond are of a lost stretch and are dropped.
    """

    def __init__(self, path: Path, from_step: int = 0) -> None:
        self.path, self.from_step = path, from_step
        kept = [r for r in read_records(path) if r["step"] <= from_step] if from_step and path.exists() else []
        write_jsonl(path, kept)
        self._journal = Journal(path)
        self._before = max((r["elapsed_s"] for r in kept), default=0.0)
        self._last: tuple[float, int] | None = None

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self._start = time.perf_counter()
        self._last = (self._start, state.num_input_tokens_seen)
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
        if not logs or "loss" not in logs or not state.is_world_process_zero:
            return
        now = time.perf_counter()
        then, tokens = self._last or (self._start, 0)
        rate = (state.num_input_tokens_seen - tokens) / max(now - then, 1e-9)
        done = max(state.global_step - self.from_step, 1)
        self._write(
            state,
            loss=logs["loss"],
            lr=logs.get("learning_rate"),
            grad_norm=logs.get("grad_norm"),
            tokens=state.num_input_tokens_seen,
            tokens_per_s=round(rate, 1),
            eta_s=round((now - self._start) / done * (state.max_steps - state.global_step), 1),
        )
        self._bar.set_postfix(loss=f"{logs['loss']:.3f}", tok_s=f"{rate:.0f}")
        self._last = (now, state.num_input_tokens_seen)

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        metrics: dict[str, float] | None = None,
        **_: Any,
    ) -> None:
        if metrics and state.is_world_process_zero:
            self._write(state, **{k: metrics[k] for k in ("eval_loss", "eval_ex") if k in metrics})
        self._last = (time.perf_counter(), state.num_input_tokens_seen)  # tokens/s counts training alone

    def _write(self, state: TrainerState, **figures: Any) -> None:
        place = {"step": state.global_step, "epoch": round(state.epoch or 0.0, 4)}
        elapsed = round(self._before + time.perf_counter() - self._start, 2)
        self._journal.append(place | figures | {"elapsed_s": elapsed})

    def on_train_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self.close()
        if state.is_world_process_zero:
            write_csv(self.path)

    def close(self) -> None:
        """Release the bar and the file (also after an error)."""
        if hasattr(self, "_bar"):
            self._bar.close()
        self._journal.close()


def write_csv(log: Path) -> Path:
    """``log.csv`` beside ``log.jsonl``: the same lines as a table."""
    target = log.with_suffix(".csv")
    with atomic(target) as file:
        table = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        table.writeheader()
        table.writerows(json.loads(line) for line in log.read_text(encoding="utf-8").splitlines())
    return target
