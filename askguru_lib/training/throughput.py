"""Model FLOPs utilisation: how much of the arithmetic that the device could do went into the model's own products."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch

# Dense bf16 tensor-core peak without sparsity, TFLOP/s, from the makers' data sheets; the first name that fits counts.
PEAK_TFLOPS = {
    "H200": 989, "H100 NVL": 835, "H100 PCIe": 756, "H100": 989, "A100": 312, "A800": 312, "L40S": 362, "L40": 181,
    "L4": 121, "A10G": 70, "A10": 125, "RTX 4090": 165, "RTX 3090": 71, "B200": 2250, "MI300X": 1307,
}  # fmt: skip


@cache
def peak_flops(device: str, bf16: bool = True) -> tuple[float | None, str]:
    """FLOP/s at best, and where the figure is from; None for an accelerator that the table does not know."""
    if device == "cuda":
        name = torch.cuda.get_device_name()
        known = next((peak for part, peak in PEAK_TFLOPS.items() if part in name), None)
        return (known * 1e12 if known and bf16 else None), f"data sheet of {name}"
    if device != "cpu":
        return None, f"unknown: {device}"
    size = 1024
    a, b = (torch.ones(size, size, dtype=torch.bfloat16 if bf16 else torch.float32) for _ in range(2))
    a @ b
    times = []
    for _ in range(3):
        started = time.perf_counter()
        a @ b
        times.append(time.perf_counter() - started)
    return 2 * size**3 / min(times), f"one timed {size}³ product on {torch.get_num_threads()} threads"


@dataclass(frozen=True)
class Cost:
    """FLOPs of training, forward and backward.

    Attributes:
        token: of the linear layers, a token: 4 a frozen weight (no gradient of its own), 6 a trained one.
        context: of attention, a token and a position that it sees.
        head: of the vocabulary's projection, a position at which it is asked for.
    """

    token: float
    context: float
    head: float

    @classmethod
    def of(cls, model: Any) -> Cost:
        """Read off a model, with an adapter or without, quantised or not."""
        config = model.config.get_text_config()
        per_weight = {True: 6, False: 4}
        token = 0.0
        for name, module in model.named_modules():
            if hasattr(module, "in_features") and not any(s in name for s in ("lm_head", "vision", "multi_modal")):
                weight = getattr(module, "weight", None)
                if weight is not None and not hasattr(module, "base_layer"):  # PEFT's wrapper shows its base's weight
                    token += per_weight[weight.requires_grad] * module.in_features * module.out_features
        heads = config.num_attention_heads
        width = heads * (getattr(config, "head_dim", None) or config.hidden_size // heads)
        table = model.get_output_embeddings()
        head = per_weight[bool(table is not None and table.weight.requires_grad)]
        # Scores and weighted sum, 2 FLOPs each, forward once and backward twice.
        return cls(token, 12.0 * config.num_hidden_layers * width, float(head * config.hidden_size * config.vocab_size))

    def flops(self, tokens: float, seen: float, heads: float) -> float:
        """Of ``tokens`` read, ``seen`` pairs of a token and a position before it, ``heads`` vocabulary projections."""
        return self.token * tokens + self.context * seen + self.head * heads


def utilisation(flops: float, seconds: float, device: str, bf16: bool = True, devices: int = 1) -> float | None:
    """Share of the peak that was used, or None where the peak is unknown."""
    peak, _ = peak_flops(device, bf16=bf16)
    return flops / seconds / (peak * devices) if peak and seconds > 0 else None
