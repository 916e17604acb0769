"""The control that every fine-tuning figure needs: answer with the SQL of the most similar training question.

What a lookup table can do is no merit of training. On questions that resemble training questions the control is strong;
where the SQL was never trained on, it is helpless by construction.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

Record = Mapping[str, Any]


def nearest_neighbour(test_set: Sequence[Record], training: Sequence[Record]) -> list[dict[str, Any]]:
    """Predictions that copy the SQL of the nearest training question.

    Nearness is the cosine of word and word-pair counts of the question, weighted by rarity (tf-idf). Questions on the
    same database come first; the first of equally near ones is taken.

    Args:
        test_set: records with ``id``, ``db_name`` and ``question``.
        training: records with ``db_name``, ``question`` and ``sql``.

    Returns:
        One prediction per test record: ``id, db_name, sql, neighbour, similarity``; ``sql`` is empty without training.
    """
    terms = [_terms(record["question"]) for record in training]
    frequency = Counter(term for counts in terms for term in counts)
    rarity = {term: math.log(len(terms) / n) + 1 for term, n in frequency.items()}
    index: dict[str, list[tuple[int, float]]] = defaultdict(list)
    for i, counts in enumerate(terms):
        for term, weight in _unit(counts, rarity):
            index[term].append((i, weight))
    return [_copied(record, training, index, rarity) for record in test_set]


def _copied(
    record: Record,
    training: Sequence[Record],
    index: Mapping[str, Sequence[tuple[int, float]]],
    rarity: Mapping[str, float],
) -> dict[str, Any]:
    nearness: dict[int, float] = defaultdict(float)
    for term, weight in _unit(_terms(record["question"]), rarity):
        for i, other in index[term]:
            nearness[i] += weight * other
    rank = [(training[i]["db_name"] == record["db_name"], near, -i) for i, near in nearness.items()]
    same_first = max(rank, default=None)
    best = training[-same_first[2]] if same_first else {}
    return {
        "id": record["id"],
        "db_name": record["db_name"],
        "sql": best.get("sql", ""),
        "neighbour": best.get("question"),
        "similarity": round(same_first[1], 4) if same_first else 0.0,
    }


def _terms(question: str) -> Counter[str]:
    words = re.findall(r"\w+", question.lower())
    return Counter([*words, *map(" ".join, pairwise(words))])


def _unit(counts: Mapping[str, int], rarity: Mapping[str, float]) -> Iterable[tuple[str, float]]:
    """Weighted counts of known terms, scaled to length 1."""
    weighted = {term: n * rarity[term] for term, n in counts.items() if term in rarity}
    length = math.sqrt(sum(w * w for w in weighted.values())) or 1.0
    return [(term, w / length) for term, w in weighted.items()]
