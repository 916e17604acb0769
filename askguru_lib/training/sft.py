"""Supervised fine-tuning: from train.jsonl to a LoRA adapter that a killed run can still finish."""

from __future__ import annotations

import difflib
import json
import math
import os
import re
import shutil
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from askguru_lib.config import ModelConfig, RunConfig, project_root
from askguru_lib.data.files import write_manifest
from askguru_lib.errors import MissingArtifactError, TrainingError
from askguru_lib.inference.origin import note_base
from askguru_lib.training.arguments import multiplies_bf16, sft_config
from askguru_lib.training.encoding import Encoded, encode_all, read_conversations
from askguru_lib.training.loading import load_base
from askguru_lib.training.merging import at_strength, merge_adapter, set_strength
from askguru_lib.training.resume import (
    fingerprint,
    finished_run,
    prepare,
    relevant,
    resumable,
    started_with,
    step_of,
)

if TYPE_CHECKING:
    import torch
    from peft import LoraConfig
    from transformers import PreTrainedModel, TrainerCallback

    from askguru_lib.databases.connection import DatabaseConnections
    from askguru_lib.training.execution import ExecutionAccuracy

__all__ = [
    "TrainingResult",
    "lora_config",
    "matched_modules",
    "merge_adapter",
    "multiplies_bf16",
    "sft_config",
    "train",
]


@dataclass(frozen=True)
class TrainingResult:
    """What a finished run left behind.

    Attributes:
        adapter: folder that PEFT loads; where ``lora.enabled`` is false it holds a whole model, which ``load_model``
            and ``merge_adapter`` take as well.
        log: JSON Lines, one object per logged step; ``log.csv`` lies beside it.
        metrics: losses (``eval_loss`` is NaN without a validation set; all of the adapter before
            ``lora.strength``), steps, tokens, samples set aside, parameters trained, seconds.
    """

    adapter: Path
    log: Path
    metrics: dict[str, Any]


def train(
    config: RunConfig,
    train_path: str | Path,
    validation_path: str | Path | None,
    output_dir: str | Path,
    *,
    resume: bool = True,
    callbacks: Sequence[TrainerCallback] = (),
    connections: DatabaseConnections | None = None,
) -> TrainingResult:
    """Fine-tune ``config.model`` on answers; write ``adapter/``, ``log.jsonl``, ``checkpoints/`` and ``manifest.json``.

    Args:
        train_path: training set (see :func:`askguru_lib.training.encoding.read_conversations`).
        validation_path: scored every ``training.eval_steps``; None or an empty file for none.
        output_dir: a run's ``model`` folder.
        resume: go on from the last complete checkpoint, or return at once when this very run has finished before (only
            ``lora.strength`` may differ then: the adapter is scaled anew).
        callbacks: further ``transformers`` callbacks.
        connections: the validation set's databases, for ``training.execution_eval_samples``.

    Raises:
        DataError: a malformed record (file and line).
        TrainingError: no module matches ``lora.target_modules``; everything is too long; the loss is not finite; the
            checkpoints found belong to another configuration.
    """
    from askguru_lib.training.execution import refuse_sharded_weights
    from askguru_lib.training.failures import FiniteGradients, Watch, memory_explained
    from askguru_lib.training.progress import TrainingLog

    started = time.time()
    out, train_path = Path(output_dir), Path(train_path)
    inputs = [train_path, *([Path(validation_path)] if validation_path else [])]
    for path in inputs:
        if not path.is_file():
            raise MissingArtifactError(
                "no such training file", where=str(path), hint="assemble it first: askguru assemble"
            )
    adapter, log, checkpoints = out / "adapter", out / "log.jsonl", out / "checkpoints"
    identity = fingerprint(config, inputs)

    finished = finished_run(out, adapter)
    if resume and finished:
        strength = finished["config"]["lora"].get("strength", 1.0)
        if finished["fingerprint"] == fingerprint(at_strength(config, strength), inputs):
            if config.lora.enabled and os.environ.get("RANK", "0") == "0":
                set_strength(adapter, config.lora.strength, now=strength)
            return TrainingResult(adapter, log, _numbers(finished["metrics"]))
    if config.training.execution_eval_samples:
        refuse_sharded_weights(config, project_root())
    conversations = read_conversations(train_path)
    held_out = read_conversations(inputs[1]) if len(inputs) > 1 else []
    args = sft_config(config, checkpoints, evaluate=bool(held_out))
    first = args.process_index == 0
    with args.main_process_first(local=False, desc="making room"):
        last = prepare(checkpoints, resumable(config, inputs), config, resume=resume and not finished, first=first)
        if first:
            (out / "manifest.json").unlink(missing_ok=True)
        progress = TrainingLog(log, from_step=step_of(last), first=first)

    model, tokenizer = load_base(_trained_weights(config))
    several = config.training.samples_per_row
    if several > 1:
        _share_rows(model, several)
    rows = {"samples_per_row": several, "seed": config.seed}
    limit = config.training.max_length
    train_set = encode_all(tokenizer, conversations, limit, str(train_path), **rows)
    validation = encode_all(tokenizer, held_out, limit, str(inputs[-1]), **rows) if held_out else None
    model.config.use_cache = False

    watch = Watch(out, tokenizer, args.process_index)
    asked = config.training.execution_eval_samples and validation
    trainer = _trainer(
        config,
        model=model,
        args=args,
        train_dataset=train_set.dataset,
        eval_dataset=validation.dataset if validation else None,
        processing_class=tokenizer,
        callbacks=[*callbacks, FiniteGradients(watch), progress],
        watch=watch,
        execution=_execution_accuracy(inputs[-1], connections, config) if asked else None,
        order_batch=started_with(checkpoints).get("config", {}).get("training", {}).get("micro_batch"),
    )
    progress.trainer = trainer
    try:
        with memory_explained(config, watch, train_set.dataset["length"]):
            outcome = trainer.train(resume_from_checkpoint=str(last) if last else None)
    finally:
        progress.close()
    final_eval = _last_eval(trainer) if validation else math.nan
    _save(trainer, adapter, config)

    metrics = _metrics(trainer, train_set, validation, final_eval) | {"train_loss": outcome.training_loss}
    if first:
        metrics["elapsed_s"] = round(_elapsed(log), 1)
        parameters = {"fingerprint": identity, "config": relevant(config), "metrics": _json_ready(metrics)}
        write_manifest(out, inputs=inputs, parameters=parameters, seed=config.seed, started=started)
        for mended in out.glob("bad_batch*.jsonl"):  # of an earlier attempt
            mended.unlink()
    trainer.accelerator.wait_for_everyone()
    return TrainingResult(adapter, log, metrics)


def _json_ready(metrics: dict[str, Any]) -> dict[str, Any]:
    """JSON knows no NaN."""
    return {name: None if value != value else value for name, value in metrics.items()}


def _numbers(metrics: dict[str, Any]) -> dict[str, Any]:
    return {name: math.nan if value is None else value for name, value in metrics.items()}


def _trained_weights(config: RunConfig) -> ModelConfig:
    """The model as it is loaded: weights that are all trained are kept in 32 bits (bf16 loses small steps)."""
    if config.lora.enabled:
        return config.model
    if config.model.quantization != "none":
        raise TrainingError(
            "quantised weights cannot be trained",
            where=f"model.quantization: {config.model.quantization}",
            hint="set it to none, or lora.enabled to true",
        )
    return config.model.model_copy(update={"dtype": "float32"})


def _share_rows(model: PreTrainedModel, several: int) -> None:
    from askguru_lib.training.sharing import ROWS

    if "flash" in str(model.config._attn_implementation):
        raise TrainingError("flash attention cannot share a beginning", where=f"training.samples_per_row: {several}",
                            hint="set it to 1, or model.attn_implementation to sdpa")  # fmt: skip
    model.set_attn_implementation(ROWS)


def _trainer(config: RunConfig, model: PreTrainedModel, callbacks: list[TrainerCallback], **options: Any) -> Any:
    from transformers.trainer_callback import PrinterCallback

    from askguru_lib.training.execution import EarlyStop
    from askguru_lib.training.sharing import SharedRowCollator
    from askguru_lib.training.trainer import DeepCustomTrainer

    if options["execution"] and config.training.early_stop_patience:
        callbacks = [*callbacks, EarlyStop(config.training.early_stop_patience)]
    padding = options["processing_class"].pad_token_id
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # TRL's own use of renamed arguments
        trainer = DeepCustomTrainer(
            model=model,
            data_collator=SharedRowCollator(padding) if config.training.samples_per_row > 1 else None,
            peft_config=lora_config(config, model) if config.lora.enabled else None,
            callbacks=callbacks,
            **options,
        )
    trainer.remove_callback(PrinterCallback)
    return trainer


def _execution_accuracy(
    validation_path: Path, connections: DatabaseConnections | None, config: RunConfig
) -> ExecutionAccuracy:
    if connections is None:
        raise TrainingError(
            "queries cannot be executed while training without a connection file",
            where="training.execution_eval_samples",
            hint="set it to 0, or say where the databases are (--db_conn_config)",
        )
    from askguru_lib.training.execution import ExecutionAccuracy

    return ExecutionAccuracy(validation_path, connections, config)


def lora_config(config: RunConfig, model: torch.nn.Module) -> LoraConfig:
    """PEFT's configuration, after a check that its target modules exist.

    Raises:
        TrainingError: no linear layer matches; the nearest module names are listed.
    """
    from peft import LoraConfig

    matched_modules(model, config.lora.target_modules)
    return LoraConfig(
        r=config.lora.rank,
        lora_alpha=config.lora.alpha,
        lora_dropout=config.lora.dropout,
        target_modules=config.lora.target_modules,
        bias="none",
        task_type="CAUSAL_LM",
    )


def matched_modules(model: torch.nn.Module, target: str | list[str]) -> list[str]:
    """Names of the modules that receive an adapter: full match of a regex, or the last names in a list (as in PEFT).

    Raises:
        TrainingError: nothing matches, or the regex is malformed.
    """
    names = [name for name, module in model.named_modules() if type(module).__name__.startswith("Linear")]
    try:
        pattern = re.compile(target) if isinstance(target, str) else None
    except re.error as e:
        raise TrainingError(f"malformed regex: {e}", where="lora.target_modules", hint=f"got {target!r}") from None
    wanted = [target] if isinstance(target, str) else target
    found = [
        name
        for name in names
        if (pattern.fullmatch(name) if pattern else any(name == t or name.endswith("." + t) for t in wanted))
    ]
    if not found:
        last = sorted({name.rsplit(".", 1)[-1] for name in names})
        words = [w for t in wanted for w in re.findall(r"\w+", t)]
        near = [n for w in words for n in difflib.get_close_matches(w, last, n=3, cutoff=0.4)] or last
        raise TrainingError(
            f"no linear layer of the model matches {target!r}",
            where="lora.target_modules",
            hint=f"nearest module names: {', '.join(dict.fromkeys(near))}, e.g. {next(iter(names), 'none')!r}",
        )
    return found


def _save(trainer: Any, adapter: Path, config: RunConfig) -> None:
    part = adapter.with_name(".adapter.part")
    if trainer.is_world_process_zero():
        shutil.rmtree(part, ignore_errors=True)
    trainer.accelerator.wait_for_everyone()
    trainer.save_model(str(part))  # every process: sharded weights are gathered
    if trainer.is_world_process_zero():
        note_base(part, config.model)
        if config.lora.enabled:
            set_strength(part, config.lora.strength, now=1.0)
        (part / "training_args.bin").unlink(missing_ok=True)
        shutil.rmtree(adapter, ignore_errors=True)
        part.rename(adapter)
    trainer.accelerator.wait_for_everyone()


def _last_eval(trainer: Any) -> float:
    state = trainer.state
    step = (
        state.best_global_step if trainer.args.load_best_model_at_end and state.best_global_step else state.global_step
    )
    here = [h for h in state.log_history if "eval_loss" in h and h["step"] == step]
    return (here[-1] if here else trainer.evaluate())["eval_loss"]


def _metrics(trainer: Any, train_set: Encoded, validation: Encoded | None, eval_loss: float) -> dict[str, Any]:
    sizes = [(p.numel(), p.requires_grad) for p in trainer.model.parameters()]
    return {
        "eval_loss": eval_loss,
        "steps": trainer.state.global_step,
        "epochs": round(trainer.state.epoch, 4),
        "tokens_seen": trainer.state.num_input_tokens_seen,
        "samples": train_set.samples,
        "rows": len(train_set.dataset),
        "set_aside": train_set.set_aside,
        "validation_samples": validation.samples if validation else 0,
        "answer_share": train_set.answer_tokens / train_set.tokens,
        "parameters": sum(n for n, _ in sizes),
        "trainable_parameters": sum(n for n, trained in sizes if trained),
        "bf16": trainer.args.bf16,
    }


def _elapsed(log: Path) -> float:
    lines = log.read_text(encoding="utf-8").splitlines()
    return max((json.loads(line)["elapsed_s"] for line in lines), default=0.0)
