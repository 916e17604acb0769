"""Does a test set stand in the training set? Compared by normalised question, by normalised SQL and by database."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from askguru_lib.data.synthesis import normalize_question, normalize_sql
from askguru_lib.data.trees import SQLGLOT_DIALECTS

Records = Iterable[Mapping[str, Any]]


@dataclass(frozen=True)
class Leak:
    """One training sample that gives a test item away.

    Attributes:
        kind: ``question`` or ``sql`` shared on the same database, or ``database`` that should have stayed unseen.
        train_id: of the training sample.
        test_set, test_id: of the test item; no id where a whole database leaks.
        text: what they share.
    """

    kind: Literal["question", "sql", "database"]
    train_id: str
    test_set: str
    test_id: str
    text: str


def question_key(record: Mapping[str, Any]) -> tuple[str, str]:
    """``(database, question)`` without case, punctuation and double spaces."""
    return str(record["db_name"]), normalize_question(record["question"])


def sql_key(record: Mapping[str, Any]) -> tuple[str, str]:
    """``(database, SQL)`` without case of keywords, spacing and comments; graph queries without spacing."""
    dialect = record.get("sql_type") or "sqlite"
    plain = " ".join(record["sql"].split())
    return str(record["db_name"]), normalize_sql(record["sql"], dialect) if dialect in SQLGLOT_DIALECTS else plain


def check_leakage(
    train: Records, tests: Mapping[str, Records] | Records, unseen_databases: Collection[str] = ()
) -> list[Leak]:
    """Every way in which a test set leaks into training data.

    Args:
        train: processed records or training samples (``db_name``, ``question``, ``sql``).
        tests: processed records, by the name of the test set, or those of one set.
        unseen_databases: databases that training must not touch at all.

    Returns:
        One leak per training sample and kind; empty when training and tests share nothing.
    """
    sets = tests if isinstance(tests, Mapping) else {"test": tests}
    questions: dict[tuple[str, str], tuple[str, str]] = {}
    queries: dict[tuple[str, str], tuple[str, str]] = {}
    for name, records in sets.items():
        for number, record in enumerate(records):
            item = (name, str(record.get("id", number)))
            questions.setdefault(question_key(record), item)
            queries.setdefault(sql_key(record), item)
    leaks = []
    for number, record in enumerate(train):
        train_id = str(record.get("id", number))
        if record["db_name"] in unseen_databases:
            leaks.append(Leak("database", train_id, "", "", record["db_name"]))
        if asked := questions.get(question_key(record)):
            leaks.append(Leak("question", train_id, *asked, record["question"]))
        if queried := queries.get(sql_key(record)):
            leaks.append(Leak("sql", train_id, *queried, record["sql"]))
    return leaks
