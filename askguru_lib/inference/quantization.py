"""Frozen weights of few bits: one description, so that a model answers with the very weights it was trained on."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from askguru_lib.config import ModelConfig
from askguru_lib.errors import ConfigError

if TYPE_CHECKING:
    from transformers import BitsAndBytesConfig


def quantization(model: ModelConfig) -> BitsAndBytesConfig | None:
    """What bitsandbytes does to the weights while they load: nothing, 8 bits, or QLoRA's NF4 with bf16 arithmetic.

    Raises:
        ConfigError: bitsandbytes is not installed.
    """
    if model.quantization == "none":
        return None
    if find_spec("bitsandbytes") is None:
        raise ConfigError("bitsandbytes is not installed", where=f"model.quantization: {model.quantization}",
                          hint="pip install 'askguru_lib[gpu]', or set model.quantization to none")  # fmt: skip
    import torch
    from transformers import BitsAndBytesConfig

    if model.quantization == "8bit":
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )
