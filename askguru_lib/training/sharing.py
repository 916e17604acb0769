"""Samples that begin alike are read as one row: the schema once, then one question and its answer after the other.

A block mask keeps the questions from seeing each other and their positions all go on from the schema's end, so each
sample gets exactly the loss and the gradient it would get alone (a test compares them).
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from askguru_lib.training.encoding import IGNORED

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


def block_mask(segments: torch.Tensor) -> torch.Tensor:
    """Who sees whom, ``[rows, 1, length, length]``: what came before in the own segment or in the common one."""
    own = (segments[:, :, None] == segments[:, None, :]) | (segments[:, None, :] == 0)
    length = segments.shape[1]
    return (own & torch.ones(length, length, dtype=torch.bool, device=segments.device).tril())[:, None]
