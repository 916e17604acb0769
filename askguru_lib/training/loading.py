"""Loading a base model: text-only or vision-language, from a folder or from a hub, whole or quantised."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from askguru_lib.config import ModelConfig, model_folder
from askguru_lib.errors import MissingArtifactError

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

# PEFT still asks by the old name; nobody who trains an adapter can do anything about it.
warnings.filterwarnings("ignore", message="`is_gradient_checkpointing` is deprecated")


def load_base(model: ModelConfig) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The frozen base and its tokenizer; a vision-language model (Mistral3) through its own auto class.

    Raises:
        MissingArtifactError: neither a folder with a model nor a hub name that can be fetched.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText, AutoTokenizer
    from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING as SEEING
    from transformers.utils import is_flash_attn_2_available

    from askguru_lib.inference.quantization import quantization

    source = str(model_folder(model.name_or_path) or model.name_or_path)
    options: dict[str, Any] = {"dtype": getattr(torch, model.dtype)}
    if model.attn_implementation != "auto":
        options["attn_implementation"] = model.attn_implementation
    elif is_flash_attn_2_available() and model.dtype != "float32":
        options["attn_implementation"] = "flash_attention_2"
    if (quantized := quantization(model)) is not None:
        options["quantization_config"] = quantized
    try:
        config = AutoConfig.from_pretrained(source)
        loader = AutoModelForImageTextToText if type(config) in SEEING else AutoModelForCausalLM
        network = loader.from_pretrained(source, **options)
        tokenizer = AutoTokenizer.from_pretrained(source)
    except (OSError, ImportError) as e:
        raise MissingArtifactError(
            f"the base model cannot be loaded ({str(e).splitlines()[0]})",
            where=f"model.name_or_path: {model.name_or_path}",
            hint="give a folder with config.json, weights and tokenizer, or the name of a model that the hub can give",
        ) from e
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return network, tokenizer
