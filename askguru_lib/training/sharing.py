"""Samples that begin alike are read as one row: the schema once, then one question and its answer after the other.

Questions do not see each other and their positions all go on from the schema's end, so each sample gets exactly the
loss and the gradient it would get alone (a test compares them).
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
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
LONGER = 1.5
"""A sample is not filled up to more than this many times its own length (but for rounding)."""


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


def rounded(length: int, step: int = 64) -> int:
    """The next multiple of ``step``: a CPU compiles a kernel for every new shape, and compiling takes its time."""
    return -(-length // step) * step


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
        longest = rounded(max(len(row["input_ids"]) for row in rows))
        return {
            name: torch.tensor([[*row[name], *[fill] * (longest - len(row[name]))] for row in rows])
            for name, fill in self.fill.items()
        }


@dataclass(frozen=True)
class SimilarSamples:
    """Samples of one row that have about the same length, and are filled up to a common one.

    Attributes:
        samples, longest: number of samples, and the tokens that each is filled up to.
        tokens: where theirs lie among the row's own tokens, sample by sample.
        filled: where the same tokens lie among ``samples * longest`` places.
    """

    samples: int
    longest: int
    tokens: Tensor
    filled: Tensor

    def blocks(self, x: Tensor) -> Tensor:
        """Own tokens ``[heads, own, width]`` sample by sample, ``[heads * samples, longest, width]``, zeros behind."""
        padded = x.new_zeros(x.shape[0], self.samples * self.longest, x.shape[2])
        padded.index_copy_(1, self.filled, x.index_select(1, self.tokens))
        return padded.unflatten(1, (self.samples, self.longest)).flatten(0, 1)

    def flat(self, x: Tensor) -> Tensor:
        """The inverse of :meth:`blocks`, in the order of ``tokens``."""
        return x.unflatten(0, (-1, self.samples)).flatten(1, 2).index_select(1, self.filled)


@dataclass(frozen=True)
class RowLayout:
    """Where the samples of one row lie.

    Attributes:
        shared: tokens of the common beginning.
        own: tokens of the samples.
        groups: the samples by length: one long sample among short ones would have them all filled up to its own
            length, and attention costs its square.
        order: where each own token lies in the groups' tokens, one group behind the other.
    """

    shared: int
    own: int
    groups: tuple[SimilarSamples, ...]
    order: Tensor

    @property
    def seen(self) -> float:
        """Pairs of a token and a position that it sees, as they are computed."""
        near = sum(group.samples * group.longest**2 for group in self.groups)
        return self.shared * self.shared + self.own * self.shared + near

    @classmethod
    def of(cls, segments: Tensor) -> RowLayout:
        """Layout of one row from its ``segments`` ``[length]``: 0, then 1, 2, …, then padding."""
        shared, *lengths = torch.bincount(segments[segments >= 0]).tolist()
        starts = list(accumulate(lengths, initial=0))
        groups: list[SimilarSamples] = []
        samples = sorted((i for i, n in enumerate(lengths) if n), key=lambda i: (-lengths[i], i))
        while samples:
            longest = rounded(lengths[samples[0]], 32)
            fit = next((k for k, i in enumerate(samples) if LONGER * rounded(lengths[i], 32) < longest), len(samples))
            inside, samples = samples[:fit], samples[fit:]
            tokens = torch.cat([torch.arange(starts[i], starts[i + 1]) for i in inside])
            filled = torch.cat([torch.arange(lengths[i]) + k * longest for k, i in enumerate(inside)])
            groups.append(SimilarSamples(fit, longest, tokens.to(segments.device), filled.to(segments.device)))
        order = torch.cat([group.tokens for group in groups]).argsort()
        return cls(shared, sum(lengths), tuple(groups), order)

    def join(self, parts: Sequence[Tensor]) -> Tensor:
        """What the groups' :meth:`SimilarSamples.flat` gave, ``[heads, tokens, width]`` each, in the row's order."""
        return torch.cat(list(parts), 1).index_select(1, self.order)


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
    device = query.device.type
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else query.dtype
    query, key, value = (x.to(dtype) for x in (query * scaling, key, value))
    with torch.autocast(device, enabled=False):
        outs = [RowAttention.apply(query[i], key[i], value[i], row) for i, row in enumerate(rows)]
    return torch.stack(outs).transpose(1, 2).contiguous(), None


class RowAttention(torch.autograd.Function):
    """Attention of one row, ``[heads, length, width]`` each; the query is scaled already.

    Three blocks are computed: the common beginning on itself, every own token on the common beginning (``far``), and
    every sample on itself (``near``, samples of similar length at a time), each filled up to round lengths
    (:func:`rounded`). The written backward pass reuses the exponentials in place; left to autograd, joining the blocks
    for one softmax copies them several times and takes longer than the products.
    """

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, row: RowLayout) -> Tensor:
        shared, count, groups = row.shared, row.own, row.groups
        q0, k0, v0 = (_filled_up(x[:, :shared]) for x in (query, key, value))
        own = [x[:, shared : shared + count] for x in (query, key, value)]
        q1 = _filled_up(own[0])
        begin = torch.bmm(q0, k0.transpose(1, 2)).add_(_causal(q0)).softmax(-1)
        near_qkv = [tuple(group.blocks(x) for x in own) for group in groups]
        far = torch.bmm(q1, k0.transpose(1, 2))
        far[:, :, shared:] = float("-inf")
        near = [torch.bmm(q, k.transpose(1, 2)).add_(_causal(q)) for q, k, _ in near_qkv]

        def joined(parts: Iterable[Tensor]) -> Tensor:
            return _filled_up(row.join([group.flat(x) for group, x in zip(groups, parts, strict=True)]))

        highest = joined(x.amax(-1, keepdim=True) for x in near)
        highest = torch.maximum(highest, far.amax(-1, keepdim=True)) if shared else highest
        far = far.sub_(highest).exp_()
        near = [x.sub_(g.blocks(highest[:, :count])).exp_() for g, x in zip(groups, near, strict=True)]
        share = 1 / (far.sum(-1, keepdim=True) + joined(x.sum(-1, keepdim=True) for x in near))
        of_near = joined(torch.bmm(x, v) for x, (_, _, v) in zip(near, near_qkv, strict=True))
        seen = (torch.bmm(far, v0) + of_near) * share
        out = torch.cat([torch.bmm(begin, v0)[:, :shared], seen[:, :count]], 1)
        out = functional.pad(out, (0, 0, 0, query.shape[1] - out.shape[1]))
        ctx.save_for_backward(q0, k0, v0, q1, begin, far, share, out, *near, *(x for qkv in near_qkv for x in qkv))
        ctx.row = row
        return out

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        q0, k0, v0, q1, begin, far, share, out, *rest = ctx.saved_tensors
        row, shared, count, groups = ctx.row, ctx.row.shared, ctx.row.own, ctx.row.groups
        near, near_qkv = rest[: len(groups)], [rest[i : i + 3] for i in range(len(groups), len(rest), 3)]
        end = shared + count
        mean = (gradient * out).sum(-1, keepdim=True)
        g0, mean0 = (_filled_up(x[:, :shared]) for x in (gradient, mean))
        g1, mean1 = (_filled_up(x[:, shared:end]) * share for x in (gradient, mean))

        def scores(seen: Tensor, g: Tensor, v: Tensor, mean: Tensor) -> Tensor:
            return torch.bmm(g, v.transpose(1, 2)).sub_(mean).mul_(seen)

        s0, s1 = scores(begin, g0, v0, mean0), scores(far, g1, v0, mean1)
        parts = []
        for group, seen, (q, k, v) in zip(groups, near, near_qkv, strict=True):
            g = group.blocks(g1[:, :count])
            s = scores(seen, g, v, group.blocks(mean1[:, :count]))
            products = torch.bmm(s, k), torch.bmm(s.mT, q), torch.bmm(seen.mT, g)
            parts.append([group.flat(x) for x in products])
        near_q, near_k, near_v = (row.join(x) for x in zip(*parts, strict=True))
        of_q = torch.bmm(s0, k0), torch.bmm(s1, k0)[:, :count] + near_q
        of_k = torch.bmm(s0.mT, q0) + torch.bmm(s1.mT, q1), near_k
        of_v = torch.bmm(begin.mT, g0) + torch.bmm(far.mT, g1), near_v
        q, k, v = (
            functional.pad(torch.cat([common[:, :shared], own], 1), (0, 0, 0, gradient.shape[1] - end))
            for common, own in (of_q, of_k, of_v)
        )
        return q, k, v, None


def _filled_up(x: Tensor) -> Tensor:
    """``[heads, length, width]`` with zeros behind, up to a round length."""
    return functional.pad(x, (0, 0, 0, rounded(x.shape[1]) - x.shape[1])).contiguous()


def _causal(query: Tensor) -> Tensor:
    """Minus infinity where a token would see a later one, ``[length, length]``."""
    length = query.shape[1]
    return _later(rounded(length, 512), query.dtype, query.device)[:length, :length]


@lru_cache(maxsize=4)
def _later(length: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    return torch.full((length, length), float("-inf"), dtype=dtype, device=device).triu_(1)


AttentionInterface.register(ROWS, row_attention)
