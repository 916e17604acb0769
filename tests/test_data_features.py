"""Features of queries, and the coverage of the question banks by feature."""

from __future__ import annotations

from collections import Counter

import pytest

from askguru_lib.data.features import FEATURES, sql_features
from askguru_lib.databases import samples

CASES = {
    "SELECT a FROM t": {"one table"},
    "SELECT COUNT(*) FROM t JOIN u ON t.a = u.a": {"1 join", "aggregate"},
    "SELECT DISTINCT a FROM t WHERE b IS NOT NULL ORDER BY a LIMIT 3": {
        "one table",
        "distinct",
        "null",
        "order and limit",
    },
    "SELECT a, SUM(b) FROM t GROUP BY a HAVING SUM(b) > 1": {"one table", "aggregate", "group by", "having"},
    "SELECT a FROM t WHERE b IN (SELECT b FROM u)": {"one table", "subquery"},
    "SELECT a FROM t WHERE EXISTS (SELECT 1 FROM u WHERE u.a = t.a)": {"one table", "subquery"},
    "WITH x AS (SELECT a, RANK() OVER (ORDER BY b) AS r FROM t) SELECT a FROM x WHERE r <= 3": {
        "one table",
        "CTE",
        "window",
        "ties kept",
    },
    "SELECT SUM(b) OVER (ORDER BY a) FROM t": {"one table", "window"},
    "SELECT a FROM t UNION SELECT a FROM u": {"one table", "set operation"},
    "SELECT CASE WHEN a > 1 THEN 1 ELSE 0 END FROM t": {"one table", "case"},
    "SELECT strftime('%Y', d) FROM t WHERE name LIKE 'A%'": {"one table", "date", "string"},
    "SELECT julianday(a) - julianday(b) FROM t": {"one table", "date"},
    "SELECT 1 FROM a JOIN b ON 1 = 1 JOIN c ON 1 = 1 JOIN d ON 1 = 1 JOIN e ON 1 = 1": {"4 or more joins"},
    "SELEC": set(),
}

LEAST = {
    "1 join": 100, "2 joins": 40, "3 joins": 20, "4 or more joins": 10, "having": 30, "distinct": 40, "null": 80,
    "order and limit": 50, "ties kept": 12, "subquery": 50, "CTE": 60, "window": 40, "set operation": 30, "case": 40,
    "date": 80, "string": 30,
}  # fmt: skip
"""Questions per feature in all banks together."""


@pytest.mark.parametrize("sql", CASES)
def test_features_of_a_query(sql: str):
    assert sql_features(sql) == CASES[sql]
    assert sql_features(sql) <= set(FEATURES)


def test_the_banks_cover_every_feature():
    counts = Counter(f for name in samples.NAMES for r in samples.bank(name) for f in sql_features(r["SQL"]))
    print(counts)
    assert set(counts) == set(FEATURES)
    assert {f: counts[f] for f, n in LEAST.items() if counts[f] < n} == {}


@pytest.mark.parametrize("name", samples.NAMES)
def test_each_bank_covers_nearly_every_feature(name: str):
    found = {f for r in samples.bank(name) for f in sql_features(r["SQL"])}
    assert set(FEATURES) - found <= {"3 joins", "4 or more joins"}


def test_what_is_examined_has_enough_questions():
    least = {"plant": 60, "claims": 60, "airline": 50, "clinic": 50, "football": 50}
    assert {name: n for name, n in least.items() if len(samples.bank(name)) < n} == {}
