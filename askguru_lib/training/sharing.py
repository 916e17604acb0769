"""Samples that begin alike are read as one row: the schema once, then one question and its answer after the other.

Questions do not see each other and their positions all go on from the schema's end, so each sample gets exactly the
loss and the gradient it would get alone (a test compares them).
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from askguru_lib.training.encoding import IGNORED

ROWS = "askguru_rows"
"""Name of :func:`row_attention` as an attention implementation."""
PADDING = -1
"""Segment of tokens that fill a row up."""


def share_prefixes(rows: Sequence[Mapping[str, Any]], size: int, max_length: int, seed: int) -> list[dict[str, Any]]:
    """Join samples whose prompts have most of their tokens in common.

    Args:
        rows: ``input_ids`` and ``labels`` of single samples.
        size: most samples a row; 1 leaves every sample alone.
        max_length: most tokens a row.
        seed: which of the samples that begin alike come together.

    Returns:
        Rows with ``input_ids, labels, position_ids, segments, length``; segment 0 is common to the row's others.
    """
    rng = random.Random(seed)
    packed: list[dict[str, Any]] = []
    for group in _alike(rows):
        rng.shuffle(group)
        while group:
            packed.append(_join(_chunk(group, size, max_length)))
    rng.shuffle(packed)
    return packed


def _common(a: Sequence[int], b: Sequence[int]) -> int:
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


def _prompt(row: Mapping[str, Any]) -> int:
    """Tokens before the answer, less one: that one must stay the sample's own, for it predicts the answer's first."""
    return next(i for i, label in enumerate(row["labels"]) if label != IGNORED) - 1


def _alike(rows: Sequence[Mapping[str, Any]]) -> list[list[Mapping[str, Any]]]:
    """Samples by beginning: in the order of their tokens, neighbours that share half of the shorter one."""
    groups: list[list[Mapping[str, Any]]] = []
    for row in sorted(rows, key=lambda r: r["input_ids"]):
        first = groups[-1][0] if groups else None
        if first and 2 * _common(first["input_ids"], row["input_ids"]) >= min(map(_prompt, (first, row))):
            groups[-1].append(row)
        else:
            groups.append([row])
    return groups


def _chunk(group: list[Mapping[str, Any]], size: int, max_length: int) -> list[Mapping[str, Any]]:
    """Take as many samples off the end of ``group`` as one row can hold, at least one."""
    chunk = [group.pop()]
    shared, total = _prompt(chunk[0]), len(chunk[0]["input_ids"])
    while group and len(chunk) < size:
        row = group[-1]
        common = min(shared, _prompt(row), _common(chunk[0]["input_ids"], row["input_ids"]))
        longer = total + (shared - common) * (len(chunk) - 1) + len(row["input_ids"]) - common
        if longer > max_length:
            break
        chunk.append(group.pop())
        shared, total = common, longer
    return chunk


def _join(chunk: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    first = chunk[0]["input_ids"]
    shared = min(min(_prompt(row), _common(first, row["input_ids"])) for row in chunk) if len(chunk) > 1 else 0
    ids, labels = list(first[:shared]), [IGNORED] * shared
    positions, segments = list(range(shared)), [0] * shared
    for number, row in enumerate(chunk, 1):
        own = row["input_ids"][shared:]
        ids += own
        labels += row["labels"][shared:]
        positions += range(shared, shared + len(own))
        segments += [number] * len(own)
    return {"input_ids": ids, "labels": labels, "position_ids": positions, "segments": segments, "length": len(ids)}


class SharedRowCollator:
    """Rows of :func:`share_prefixes` as tensors ``[rows, length]``, filled up on the right."""

    def __init__(self, pad_token_id: int) -> None:
        self.fill = {"input_ids": pad_token_id, "labels": IGNORED, "position_ids": 0, "segments": PADDING}

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, torch.Tensor]:
        longest = max(len(row["input_ids"]) for row in rows)
        return {
            name: torch.tensor([[*row[name], *[fill] * (longest - len(row[name]))] for row in rows])
            for name, fill in self.fill.items()
        }


@dataclass(frozen=True)
class RowLayout:
    """Where the samples of one row lie.

    Attributes:
        shared: tokens of the common beginning.
        own: places of each sample's own tokens, counted from there, ``[samples, longest]``, filled up with 0.
        filled: of ``own`` flattened, the entries that are tokens.
        causal: additive mask within a sample, ``[longest, longest]``.
    """

    shared: int
    own: Tensor
    filled: Tensor
    causal: Tensor

    @property
    def seen(self) -> float:
        """Pairs of a token and a position that it sees, as they are computed."""
        samples, longest = self.own.shape
        return self.shared * (self.shared + 1) / 2 + samples * longest * (self.shared + longest)

    @classmethod
    def of(cls, segments: Tensor) -> RowLayout:
        """Layout of one row from its ``segments`` ``[length]``."""
        shared = int((segments == 0).sum())
        places = [(segments == n).nonzero()[:, 0] - shared for n in range(1, int(segments.max()) + 1)]
        own = torch.nn.utils.rnn.pad_sequence(places, batch_first=True)
        longest = own.shape[1]
        lengths = torch.tensor([len(p) for p in places], device=segments.device)
        filled = torch.arange(longest, device=segments.device) < lengths[:, None]
        causal = torch.full((longest, longest), float("-inf"), device=segments.device).triu(1)
        return cls(shared, own, filled.flatten().nonzero()[:, 0], causal)


def row_attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None = None,
    scaling: float | None = None,
    rows: Sequence[RowLayout] = (),
    **_: Any,
) -> tuple[Tensor, None]:
    """Attention in which a token sees the common beginning and its own sample (transformers' attention interface).

    Only the blocks that may be seen are computed; a dense masked product spends most of its time on the others.
    Without ``rows`` it is plain causal attention.
    """
    if not rows:
        return sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling)  # type: ignore[return-value]
    if (per_kv := query.shape[1] // key.shape[1]) > 1:
        key, value = key.repeat_interleave(per_kv, 1), value.repeat_interleave(per_kv, 1)
    scaling = query.shape[-1] ** -0.5 if scaling is None else scaling
    outs = [_attend(query[i], key[i], value[i], row, scaling) for i, row in enumerate(rows)]
    return torch.stack(outs).transpose(1, 2).contiguous(), None


def _attend(query: Tensor, key: Tensor, value: Tensor, row: RowLayout, scaling: float) -> Tensor:
    heads, length, _ = query.shape
    samples, longest = row.own.shape
    (q0, q), (k0, k), (v0, v) = (x.split([row.shared, length - row.shared], 1) for x in (query, key, value))
    begin = functional.scaled_dot_product_attention(q0[None], k0[None], v0[None], is_causal=True, scale=scaling)[0]
    q, k, v = (x.index_select(1, row.own.flatten()) for x in (q * scaling, k, v))
    blocks = [x.unflatten(1, (samples, longest)).flatten(0, 1) for x in (q, k, v)]
    far = torch.bmm(q, k0.transpose(1, 2)).unflatten(1, (samples, longest))
    near = torch.baddbmm(row.causal.to(q.dtype)[None], blocks[0], blocks[1].transpose(1, 2))
    scores = torch.cat([far, near.unflatten(0, (heads, samples))], -1)
    seen = scores.softmax(-1)
    far, near = seen.split([row.shared, longest], -1)
    out = torch.bmm(near.flatten(0, 1), blocks[2]).unflatten(0, (heads, samples)).flatten(1, 2)
    out = out + torch.bmm(far.flatten(1, 2), v0)
    padding = length - row.shared - len(row.filled)
    return torch.cat([begin, functional.pad(out.index_select(1, row.filled), (0, 0, 0, padding))], 1)


AttentionInterface.register(ROWS, row_attention)
