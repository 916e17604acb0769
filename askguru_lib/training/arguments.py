"""What the trainer is told: one profile's parameters in the words of TRL."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from askguru_lib.config import RunConfig, project_root

if TYPE_CHECKING:
    from trl import SFTConfig


def sft_config(config: RunConfig, folder: Path, *, evaluate: bool) -> SFTConfig:
    """TRL's arguments for a run; DeepSpeed, when configured, is told the schedule rather than bringing its own."""
    import torch
    from trl import SFTConfig

    t = config.training
    accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    device = accelerator.type if accelerator else "cpu"
    deepspeed = str(project_root() / t.deepspeed) if t.deepspeed else None
    watched = evaluate and t.early_stop_patience > 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # names that transformers is about to change
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
            load_best_model_at_end=watched,
            metric_for_best_model="eval_ex" if watched else None,
            greater_is_better=True if watched else None,
            disable_tqdm=True,
        )


def multiplies_bf16(device: str) -> bool:
    """Whether the device multiplies bf16 in hardware; elsewhere autocast only costs time (twice as slow on AVX2)."""
    import torch

    if device == "cpu":
        return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return device != "cuda" or torch.cuda.is_bf16_supported(including_emulation=False)
