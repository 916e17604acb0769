"""Attention over keys and values that many rows share.

Rows of a batch form a tree: the schema's tokens are common to all questions on a database, a question's tokens to all
its candidates, and only what a candidate has generated is its own. Attention reads each level where it lies (Hydragen,
arXiv 2402.05099), so five candidates cost little more than one answer. It plugs into transformers' attention interface
and works for every decoder that supports attention back ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from transformers import AttentionInterface, DynamicCache

from askguru_lib.errors import InferenceError

ATTENTION = "askguru_shared"


@dataclass
class Context:
    """Keys and values that are read by several rows: per layer ``[groups, heads, length, head_dim]``.

    Consecutive rows of a batch belong to one group; ``mask`` is additive, ``[groups, 1, 1, length]``.
    """

    keys: list[Tensor]
    values: list[Tensor]
    mask: Tensor | None = None

    @classmethod
    def of(cls, cache: DynamicCache, mask: Tensor | None = None) -> Context:
        layers: list[Any] = cache.layers
        return cls([layer.keys for layer in layers], [layer.values for layer in layers], mask)

    @property
    def length(self) -> int:
        return self.keys[0].shape[-2]

    def slice(self, length: int) -> Context:
        """The first ``length`` positions: attention is causal, so they stand on their own."""
        return Context([k[:, :, :length] for k in self.keys], [v[:, :, :length] for v in self.values])

    def extend(self, other: Context) -> Context:
        keys = [torch.cat(pair, dim=-2) for pair in zip(self.keys, other.keys, strict=True)]
        return Context(keys, [torch.cat(pair, dim=-2) for pair in zip(self.values, other.values, strict=True)])

    def select(self, groups: Tensor) -> Context:
        mask = None if self.mask is None else self.mask[groups]
        return Context([k[groups.to(k.device)] for k in self.keys], [v[groups.to(v.device)] for v in self.values], mask)


def shared_attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    contexts: Sequence[Context] = (),
    sliding_window: int | None = None,
    softcap: float | None = None,
    s_aux: Tensor | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Attention over ``contexts`` and the rows' own keys, one softmax over all (transformers' attention interface).

    Raises:
        InferenceError: the model's attention does something else that would change the result: caps its scores, has
            sinks, or looks back over fewer positions than there are.
    """
    rows, heads, length, width = query.shape
    reach = key.shape[-2] + sum(c.length for c in contexts)
    others = {
        "capped scores": softcap is not None,
        "sinks": s_aux is not None,
        f"a window of {sliding_window} positions": bool(sliding_window) and sliding_window < reach,  # type: ignore
    }
    if found := [name for name, there in others.items() if there]:
        raise InferenceError(
            f"its attention has {found[0]}, which shared attention does not know",
            where=type(module).__name__,
            hint="serve this model behind an OpenAI-compatible endpoint",
        )
    kv_heads = key.shape[1]
    per_kv = heads // kv_heads
    if not contexts:
        causal = attention_mask is None and length > 1
        out = functional.scaled_dot_product_attention(
            query, key, value, attention_mask, is_causal=causal, scale=scaling, enable_gqa=per_kv > 1
        )
        return out.transpose(1, 2).contiguous(), None
    query = query * (width**-0.5 if scaling is None else scaling)
    layer: int = module.layer_idx  # type: ignore[assignment]
    blocks = [(c.keys[layer], c.values[layer], c.mask) for c in contexts]
    if attention_mask is not None:
        attention_mask = attention_mask.repeat(1, 1, per_kv, 1)
    peaks: list[Tensor] = []
    sums: list[Tensor] = []
    outs: list[Tensor] = []
    for k, v, mask in [*blocks, (key, value, attention_mask)]:
        # All rows of a group ask the same keys: their queries are one longer sequence.
        groups = k.shape[0]
        folded = query.reshape(groups, rows // groups, kv_heads, per_kv * length, width).transpose(1, 2).flatten(2, 3)
        scores = (folded @ k.transpose(-1, -2)).float()
        if mask is not None:
            scores += mask.to(scores.device)
        peak = scores.amax(-1, keepdim=True)
        weights = scores.sub_(peak).exp_()
        for parts, part in ((peaks, peak), (sums, weights.sum(-1, keepdim=True)), (outs, weights.to(v.dtype) @ v)):
            unfolded = part.view(groups, kv_heads, rows // groups, per_kv * length, -1)
            parts.append(unfolded.transpose(1, 2).reshape(rows, heads, length, -1))
    top = torch.stack(peaks).amax(0)
    shares = [(peak - top).exp() for peak in peaks]
    total = torch.stack([s * share for s, share in zip(sums, shares, strict=True)]).sum(0)
    out = torch.stack([o * (share / total).to(o.dtype) for o, share in zip(outs, shares, strict=True)]).sum(0)
    return out.transpose(1, 2).contiguous(), None


AttentionInterface.register(ATTENTION, shared_attention)
