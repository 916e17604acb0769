"""What the model reads: one template per dialect and task, in two orders.

*Question first* follows the reference framework: task, question, schema. *Schema first* puts the schema at the very
beginning and everything that changes from question to question behind it, so that all prompts on one database, whatever
the task, share their prefix: a server computes it once (prefix caching). All are plain ``str.format`` strings.
"""

from __future__ import annotations

from collections.abc import Sequence
from string import ascii_uppercase
from typing import Literal

from askguru_lib.data.linking import Values, is_m_schema, schema_links
from askguru_lib.errors import DataError

PromptOrder = Literal["schema_first", "question_first"]

DIALECT_NAMES = {
    "sqlite": "SQLite",
    "postgresql": "PostgreSQL",
    "mysql": "MySQL",
    "duckdb": "DuckDB",
    "oracle": "Oracle",
    "cypher": "Cypher",
    "ngql": "nGQL",
}
"""Dialect names as configuration files spell them, and as prompts do."""

_QUESTION_FIRST = """You are a {name} expert. Read the question, the evidence and the database schema, \
then write one {name} query that answers the question. Answer with the query only.

【Question】
{{question}}
【Evidence】
{{evidence}}
{{db_schema}}"""

_SCHEMA_FIRST = """{{db_schema}}
【Question】
{{question}}
【Evidence】
{{evidence}}
Write one {name} query that answers the question."""


def _both(name: str) -> tuple[str, str]:
    return _QUESTION_FIRST.format(name=name), _SCHEMA_FIRST.format(name=name)


NL2SQLITE_TEMPLATE, NL2SQLITE_SCHEMA_FIRST_TEMPLATE = _both("SQLite")
NL2PGSQL_TEMPLATE, NL2PGSQL_SCHEMA_FIRST_TEMPLATE = _both("PostgreSQL")
NL2MYSQL_TEMPLATE, NL2MYSQL_SCHEMA_FIRST_TEMPLATE = _both("MySQL")
NL2DUCKDB_TEMPLATE, NL2DUCKDB_SCHEMA_FIRST_TEMPLATE = _both("DuckDB")
NL2ORACLE_TEMPLATE, NL2ORACLE_SCHEMA_FIRST_TEMPLATE = _both("Oracle")
NL2CYPHER_TEMPLATE, NL2CYPHER_SCHEMA_FIRST_TEMPLATE = _both("Cypher")
NL2NGQL_TEMPLATE, NL2NGQL_SCHEMA_FIRST_TEMPLATE = _both("nGQL")

SELF_REFINE_TEMPLATE = """You are a {dialect} expert. The query below was run on the database and is wrong. \
Read what the database said, then write one corrected {dialect} query. Answer with the query only.

【Question】
{question}
【Evidence】
{evidence}
{db_schema}
【Query】
{error_sql}
【Result】
{error_info}"""

SELF_REFINE_SCHEMA_FIRST_TEMPLATE = """{db_schema}
【Question】
{question}
【Evidence】
{evidence}
【Query】
{error_sql}
【Result】
{error_info}
The query is wrong. Write one corrected {dialect} query."""

SQLITE_SELF_REFINE_TEMPLATE = SELF_REFINE_TEMPLATE.replace("{dialect}", "SQLite")

CANDIDATE_TEMPLATE = """【Candidate {label}】
{sql}
【Result {label}】
{result}"""

SQL2SELECT_TEMPLATE = """You are a {dialect} expert. {num} candidate queries were run on the database. \
Choose the one that answers the question. Answer with its letter only: {items}.

【Question】
{question}
【Evidence】
{evidence}
{db_schema}
{candidates}"""

SQL2SELECT_SCHEMA_FIRST_TEMPLATE = """{db_schema}
【Question】
{question}
【Evidence】
{evidence}
{candidates}
Which of the {num} {dialect} candidates answers the question? Answer with its letter: {items}."""

TEMPLATES: dict[str, dict[PromptOrder, str]] = {
    "nl2sqlite": {"question_first": NL2SQLITE_TEMPLATE, "schema_first": NL2SQLITE_SCHEMA_FIRST_TEMPLATE},
    "nl2postgresql": {"question_first": NL2PGSQL_TEMPLATE, "schema_first": NL2PGSQL_SCHEMA_FIRST_TEMPLATE},
    "nl2mysql": {"question_first": NL2MYSQL_TEMPLATE, "schema_first": NL2MYSQL_SCHEMA_FIRST_TEMPLATE},
    "nl2duckdb": {"question_first": NL2DUCKDB_TEMPLATE, "schema_first": NL2DUCKDB_SCHEMA_FIRST_TEMPLATE},
    "nl2oracle": {"question_first": NL2ORACLE_TEMPLATE, "schema_first": NL2ORACLE_SCHEMA_FIRST_TEMPLATE},
    "nl2cypher": {"question_first": NL2CYPHER_TEMPLATE, "schema_first": NL2CYPHER_SCHEMA_FIRST_TEMPLATE},
    "nl2ngql": {"question_first": NL2NGQL_TEMPLATE, "schema_first": NL2NGQL_SCHEMA_FIRST_TEMPLATE},
    "self_refine": {"question_first": SELF_REFINE_TEMPLATE, "schema_first": SELF_REFINE_SCHEMA_FIRST_TEMPLATE},
    "sql_select": {"question_first": SQL2SELECT_TEMPLATE, "schema_first": SQL2SELECT_SCHEMA_FIRST_TEMPLATE},
}
"""Every task the model is trained on or asked, by name."""

TASK_DIALECT = {f"nl2{dialect}": dialect for dialect in DIALECT_NAMES}
"""Dialect of each generation task; refinement and selection take theirs from the sample."""


def build_prompt(
    task_name: str,
    *,
    db_schema: str,
    question: str,
    evidence: str = "",
    order: PromptOrder = "schema_first",
    dialect: str = "sqlite",
    error_sql: str = "",
    error_info: str = "",
    candidates: Sequence[tuple[str, str]] = (),
    links: bool = False,
    values: Values | None = None,
) -> str:
    """Fill in the template of a task.

    Args:
        task_name: a key of :data:`TEMPLATES`.
        db_schema: M-Schema text.
        evidence: what the question alone does not say; empty is written as ``None``.
        order: ``schema_first`` shares the prompt's beginning between all questions on a database.
        dialect: for ``self_refine`` and ``sql_select``.
        error_sql, error_info: the query to repair, and the engine's message or its result.
        candidates: ``(sql, result preview)`` pairs to choose from, labelled A, B, C …
        values: a record's own, for the links: what the question says of the data, and where it stands.
        links: say behind the evidence what the question's words are called in the schema
            (:mod:`askguru_lib.data.linking`); of a schema in another format, such as a graph's, nothing is said.

    Raises:
        DataError: unknown task or dialect, or more candidates than letters.
    """
    if task_name not in TEMPLATES:
        raise DataError(f"unknown task '{task_name}'", where="task_name", hint=f"one of {', '.join(TEMPLATES)}")
    if dialect not in DIALECT_NAMES:
        raise DataError(f"unknown dialect '{dialect}'", where="dialect", hint=f"one of {', '.join(DIALECT_NAMES)}")
    if len(candidates) > len(ascii_uppercase):
        raise DataError(f"{len(candidates)} candidates", where=task_name, hint=f"at most {len(ascii_uppercase)}")
    labels = ascii_uppercase[: len(candidates)]
    known = evidence or "None"
    if links and is_m_schema(db_schema):
        spelt = TASK_DIALECT.get(task_name, dialect)
        known += "\n【Links】\n" + str(schema_links(db_schema, f"{question}\n{evidence}", values or {}, spelt))
    return TEMPLATES[task_name][order].format(
        db_schema=db_schema,
        question=question,
        evidence=known,
        dialect=DIALECT_NAMES[dialect],
        error_sql=error_sql,
        error_info=error_info,
        num=len(candidates),
        items=", ".join(labels),
        candidates="\n".join(
            CANDIDATE_TEMPLATE.format(label=label, sql=sql, result=result)
            for label, (sql, result) in zip(labels, candidates, strict=True)
        ),
    )


def conversation(prompt: str, answer: str) -> list[dict[str, str]]:
    """A training example's two turns."""
    return [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]
