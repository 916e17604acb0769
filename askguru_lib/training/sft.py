"""Supervised fine-tuning: from train.jsonl to a LoRA adapter that a killed run can still finish."""

from __future__ import annotations

import difflib
import json
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
from askguru_lib.training.encoding import Encoded, encode_all, read_conversations
from askguru_lib.training.loading import load_base
from askguru_lib.training.resume import fingerprint, finished_run, prepare, relevant, step_of

if TYPE_CHECKING:
    import torch
    from peft import LoraConfig
    from transformers import TrainerCallback
    from trl import SFTConfig

    from askguru_lib.databases.connection import DatabaseConnections


@dataclass(frozen=True)
class TrainingResult:
    """What a finished run left behind.

    Attributes:
        adapter: folder that PEFT loads (a whole model where ``lora.enabled`` is false).
        log: JSON Lines, one object per logged step; ``log.csv`` lies beside it.
        metrics: losses, steps, tokens, samples set aside, parameters trained, seconds.
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
        resume: go on from the last complete checkpoint, or return at once when this very run has finished before.
        callbacks: further ``transformers`` callbacks.
        connections: the validation set's databases, for ``training.execution_eval_samples``.

    Raises:
        DataError: a malformed record (file and line).
        TrainingError: no module matches ``lora.target_modules``; everything is too long; the loss is not finite; the
            checkpoints found belong to another configuration.
    """
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
    if resume and finished and finished["fingerprint"] == identity:
        return TrainingResult(adapter, log, finished["metrics"])
    checkpoint = prepare(checkpoints, identity, config, resume=resume and not finished)
    (out / "manifest.json").unlink(missing_ok=True)

    from transformers.trainer_callback import PrinterCallback

    from askguru_lib.training.progress import TrainingLog
    from askguru_lib.training.sharing import ROWS, SharedRowCollator
    from askguru_lib.training.trainer import DeepCustomTrainer

    model, tokenizer = load_base(config.model)
    limit = config.training.max_length
    several = config.training.samples_per_row
    if several > 1 and "flash" in str(model.config._attn_implementation):
        raise TrainingError("flash attention cannot share a beginning", where=f"training.samples_per_row: {several}",
                            hint="set it to 1, or model.attn_implementation to sdpa")  # fmt: skip
    if several > 1:
        model.set_attn_implementation(ROWS)
    rows = {"samples_per_row": several, "seed": config.seed}
    train_set = encode_all(tokenizer, read_conversations(train_path), limit, str(train_path), **rows)
    held_out = read_conversations(inputs[1]) if len(inputs) > 1 else []
    validation = encode_all(tokenizer, held_out, limit, str(inputs[1]), **rows) if held_out else None
    model.config.use_cache = False

    watching = list(callbacks)
    if config.training.execution_eval_samples and validation:
        watching.append(_execution_accuracy(inputs[1], connections, config))
    progress = TrainingLog(log, from_step=step_of(checkpoint))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # TRL's own use of renamed arguments
        trainer = DeepCustomTrainer(
            model=model,
            args=sft_config(config, checkpoints, evaluate=validation is not None),
            train_dataset=train_set.dataset,
            eval_dataset=validation.dataset if validation else None,
            processing_class=tokenizer,
            data_collator=SharedRowCollator(tokenizer.pad_token_id) if several > 1 else None,
            peft_config=lora_config(config, model) if config.lora.enabled else None,
            callbacks=[*watching, progress],
        )
    trainer.remove_callback(PrinterCallback)
    try:
        outcome = trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    finally:
        progress.close()
    final_eval = _last_eval(trainer) if validation else None
    _save(trainer, adapter)

    metrics = _metrics(trainer, train_set, validation, final_eval) | {
        "train_loss": outcome.training_loss,
        "elapsed_s": round(_elapsed(log), 1),
    }
    parameters = {"fingerprint": identity, "config": relevant(config), "metrics": metrics}
    write_manifest(out, inputs=inputs, parameters=parameters, seed=config.seed, started=started)
    return TrainingResult(adapter, log, metrics)


def _execution_accuracy(
    validation_path: Path, connections: DatabaseConnections | None, config: RunConfig
) -> TrainerCallback:
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


def sft_config(config: RunConfig, folder: Path, *, evaluate: bool) -> SFTConfig:
    """TRL's arguments for a run; DeepSpeed, when configured, is told the schedule rather than bringing its own."""
    import torch
    from trl import SFTConfig

    t = config.training
    accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    device = accelerator.type if accelerator else "cpu"
    deepspeed = str(project_root() / t.deepspeed) if t.deepspeed else None
    return SFTConfig(
        output_dir=str(folder),
        max_length=t.max_length if t.packing else None,
        packing=t.packing,
        num_train_epochs=t.epochs,
        max_steps=t.max_steps if t.max_steps > 0 else -1,
        learning_rate=t.learning_rate,
        lr_scheduler_type=t.lr_scheduler_type,
        warmup_steps=t.warmup_ratio,
        weight_decay=t.weight_decay,
        max_grad_norm=t.max_grad_norm,
        per_device_train_batch_size=t.micro_batch,
        per_device_eval_batch_size=t.micro_batch,
        gradient_accumulation_steps=t.gradient_accumulation,
        gradient_checkpointing=t.gradient_checkpointing,
        bf16=t.bf16 and multiplies_bf16(device),
        use_cpu=device == "cpu",
        logging_steps=t.logging_steps,
        logging_nan_inf_filter=False,
        eval_strategy="steps" if evaluate else "no",
        eval_steps=t.eval_steps,
        prediction_loss_only=True,
        remove_unused_columns=t.samples_per_row == 1,
        save_strategy="steps",
        save_steps=t.save_steps,
        save_total_limit=2,
        seed=config.seed,
        data_seed=config.seed,
        include_num_input_tokens_seen="non_padding",
        dataloader_num_workers=0,
        dataloader_pin_memory=torch.cuda.is_available(),
        deepspeed=deepspeed,
        report_to=t.report_to or "none",
        disable_tqdm=True,
    )


def multiplies_bf16(device: str) -> bool:
    """Whether the device multiplies bf16 in hardware; elsewhere autocast only costs time (twice as slow on AVX2)."""
    import torch

    if device == "cpu":
        return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return device != "cuda" or torch.cuda.is_bf16_supported(including_emulation=False)


def _save(trainer: Any, adapter: Path) -> None:
    part = adapter.with_name(".adapter.part")
    shutil.rmtree(part, ignore_errors=True)
    trainer.save_model(str(part))
    if trainer.is_world_process_zero():
        (part / "training_args.bin").unlink(missing_ok=True)
        shutil.rmtree(adapter, ignore_errors=True)
        part.rename(adapter)
    trainer.accelerator.wait_for_everyone()


def _last_eval(trainer: Any) -> float:
    here = [h for h in trainer.state.log_history if "eval_loss" in h and h["step"] == trainer.state.global_step]
    return (here[-1] if here else trainer.evaluate())["eval_loss"]


def _metrics(trainer: Any, train_set: Encoded, validation: Encoded | None, eval_loss: float | None) -> dict[str, Any]:
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


def merge_adapter(base: str | Path, adapter: str | Path, out: str | Path, *, dtype: str = "float32") -> Path:
    """Add a LoRA adapter into its base's weights and save a plain model, for serving without PEFT.

    Args:
        dtype: type of the merged weights; the sum is formed in float32 and rounded once.

    Raises:
        MissingArtifactError: no base model, or no adapter in the folder.
    """
    import torch
    from peft import PeftModel

    if not (Path(adapter) / "adapter_config.json").is_file():
        raise MissingArtifactError("no adapter there", where=str(adapter), hint="train one first: askguru train")
    model, tokenizer = load_base(ModelConfig(name_or_path=str(base), dtype="float32"))
    merged = PeftModel.from_pretrained(model, str(adapter)).merge_and_unload(safe_merge=True)
    out = Path(out)
    part = out.with_name(f".{out.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    merged.to(getattr(torch, dtype)).save_pretrained(part)
    tokenizer.save_pretrained(part)
    shutil.rmtree(out, ignore_errors=True)
    part.rename(out)
    return out
