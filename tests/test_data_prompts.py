"""Templates: one language, one dialect each, every field filled in as it is."""

from __future__ import annotations

import ast
import string
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlglot import exp

import askguru_lib
from askguru_lib.data import prompts
from askguru_lib.data.prompts import DIALECT_NAMES, TASK_DIALECT, TEMPLATES, build_prompt
from askguru_lib.data.trees import SQLGLOT_DIALECTS, parse, render
from askguru_lib.databases import samples
from askguru_lib.errors import DataError

ORDERS = ("question_first", "schema_first")
EXTRA = {"self_refine": {"error_sql", "error_info", "dialect"}, "sql_select": {"num", "items", "candidates", "dialect"}}


def fields(template: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(template) if name}


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("task", TEMPLATES)
def test_every_template_has_the_fields_of_its_task(task: str, order: str):
    assert fields(TEMPLATES[task][order]) == {"question", "db_schema", "evidence"} | EXTRA.get(task, set())


@pytest.mark.parametrize("task", TEMPLATES)
def test_schema_first_begins_with_the_schema_and_the_other_ends_with_it_or_with_what_was_run(task: str):
    assert TEMPLATES[task]["schema_first"].startswith("{db_schema}\n")
    question_first = TEMPLATES[task]["question_first"]
    assert question_first.index("{question}") < question_first.index("{db_schema}")


@pytest.mark.parametrize("dialect", DIALECT_NAMES)
def test_reference_defect_dialect_names_mixed_up(dialect: str):
    for order in ORDERS:
        for task in (f"nl2{dialect}", "self_refine", "sql_select"):
            text = build_prompt(task, db_schema="S", question="Q", order=order, dialect=dialect)
            named = [name for name in DIALECT_NAMES.values() if f" {name} " in text]
            assert named == [DIALECT_NAMES[dialect]], (task, order)


def test_reference_defect_prompts_in_two_languages():
    for name in (n for n in dir(prompts) if n.endswith("_TEMPLATE")):
        letters = getattr(prompts, name).replace("【", "").replace("】", "")
        assert letters.isascii(), name


def test_published_names_are_there():
    names = ["NL2SQLITE", "NL2PGSQL", "NL2MYSQL", "NL2CYPHER", "NL2NGQL", "NL2ORACLE", "SELF_REFINE",
             "SQLITE_SELF_REFINE", "SQL2SELECT", "CANDIDATE"]  # fmt: skip
    assert all(isinstance(getattr(prompts, f"{name}_TEMPLATE"), str) for name in names)
    assert fields(prompts.SQLITE_SELF_REFINE_TEMPLATE) == fields(prompts.SELF_REFINE_TEMPLATE) - {"dialect"}


@settings(max_examples=200, deadline=None)
@given(question=st.text(), evidence=st.text(min_size=1), schema=st.text(), sql=st.text(), order=st.sampled_from(ORDERS))
def test_what_is_filled_in_stands_there_as_it_is(question: str, evidence: str, schema: str, sql: str, order: str):
    text = build_prompt(
        "self_refine", db_schema=schema, question=question, evidence=evidence, error_sql=sql, order=order
    )
    assert all(part in text for part in (question, evidence, schema, sql)), "braces, too"


def test_candidates_have_a_letter_each():
    text = build_prompt("sql_select", db_schema="S", question="Q", candidates=[("SELECT 1", "1"), ("SELECT 2", "2")])
    assert "【Candidate A】\nSELECT 1\n【Result A】\n1\n【Candidate B】" in text
    assert text.endswith("2 SQLite candidates answers the question? Answer with its letter: A, B.")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"task_name": "nl2sqlit"}, "unknown task 'nl2sqlit'"),
        ({"dialect": "postgres"}, "unknown dialect 'postgres'"),
        ({"task_name": "sql_select", "candidates": [("SELECT 1", "")] * 27}, "27 candidates"),
    ],
)
def test_bad_arguments_are_named(change: dict, message: str):
    with pytest.raises(DataError, match=message):
        build_prompt(**{"task_name": "self_refine", "db_schema": "S", "question": "Q", **change})


def test_reference_defect_postgresql_is_no_name_that_sqlglot_knows():
    assert set(SQLGLOT_DIALECTS) == set(TASK_DIALECT.values()) - {"cypher", "ngql"}
    for dialect in SQLGLOT_DIALECTS:
        assert parse("SELECT a FROM t WHERE b = 1", dialect) is not None


def test_reference_defect_eval_of_model_text():
    for path in Path(askguru_lib.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            called = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id
            assert called not in ("eval", "exec"), f"{path.name}:{getattr(node, 'lineno', '?')}"


@pytest.mark.parametrize("dialect", [d for d in SQLGLOT_DIALECTS if d != "sqlite"])
def test_reference_defect_conversion_that_returns_its_input_and_counts_it_as_converted(dialect: str):
    golds = [r["SQL"] for name in samples.NAMES for r in samples.bank(name)]
    trees = [parse(sql, "sqlite") for sql in golds]
    said = [render(tree, dialect) for tree in trees if tree is not None]
    assert len(said) == len(golds)
    assert all(parse(sql, dialect) is not None for sql in said)
    if dialect == "oracle":  # it has no LIMIT: every such query has to come out as another text
        limited = [sql for tree, sql in zip(trees, said, strict=True) if tree is not None and tree.find(exp.Limit)]
        assert len(limited) > 50
        assert all("FETCH FIRST" in sql and "LIMIT" not in sql for sql in limited)
