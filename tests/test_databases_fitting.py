"""A schema made to fit: the budget holds, keys stay, and what went is said."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from askguru_lib.databases.fitting import Fitted, estimate_tokens, fit, relevance
from askguru_lib.databases.m_schema import MSchema
from askguru_lib.errors import DataError


def wide(tables: int = 6, columns: int = 6) -> MSchema:
    """A chain of tables, each with a key, a reference to the one before, and measured columns."""
    schema = MSchema("wide")
    for t in range(tables):
        schema.add_table(f"table{t}", comment=f"what happened in place {t}")
        schema.add_field(f"table{t}", "id", "INTEGER", primary_key=True, examples=["1", "2", "3"])
        if t:
            schema.add_field(f"table{t}", f"table{t - 1}_id", "INTEGER", examples=["1", "2", "3"])
            schema.add_foreign_key(f"table{t}", f"table{t - 1}_id", None, f"table{t - 1}", "id")
        for c in range(columns):
            schema.add_field(
                f"table{t}", f"colour{t}{c}", "TEXT", comment=f"shade number {c}", examples=["red", "blue"]
            )
    return schema


def keys_of(schema: MSchema) -> set[tuple[str, str]]:
    keys = {(str(k[i]), str(k[i + 1])) for k in schema.foreign_keys for i in (0, 3)}
    return keys | {(t, c) for t, c, field in schema.columns() if field["primary_key"]}


def test_what_fits_is_left_alone() -> None:
    schema = wide()
    fitted = fit(schema, 10_000)
    assert (fitted.schema, fitted.text, fitted.dropped) == (schema, schema.to_mschema(), ())


def test_examples_go_first_then_comments_then_names() -> None:
    schema = wide()
    sizes = [fit(schema, limit, "How many of colour31 are red?") for limit in (900, 700, 400, 260)]
    assert sizes[0].dropped[0].startswith("example values")
    kinds = [d.split(" ")[0] for d in sizes[-1].dropped]
    assert kinds == sorted(kinds, key=["example", "all", "comments", "table", "column"].index)
    assert "column table3.colour31" not in sizes[-1].dropped


@settings(max_examples=60, deadline=None)
@given(limit=st.integers(270, 1500), question=st.sampled_from([None, "colour12 by place 4", "nothing of it"]))
def test_the_budget_holds_and_no_key_of_a_table_that_stays_is_dropped(limit: int, question: str | None) -> None:
    schema = wide()
    fitted = fit(schema, limit, question)
    assert fitted.tokens == estimate_tokens(fitted.text) <= limit
    kept = {(t, c) for t, c, _ in fitted.schema.columns()}
    assert {key for key in keys_of(schema) if key[0] in fitted.schema.tables} <= kept
    gone = {(t, c) for t, c, _ in schema.columns()} - kept
    said = {d.removeprefix("column ") for d in fitted.dropped} | {d.removeprefix("table ") for d in fitted.dropped}
    assert all(f"{t}.{c}" in said or t in said for t, c in gone), "what went is said"
    assert MSchema.from_text(fitted.text).to_mschema() == fitted.text


def test_tables_between_two_relevant_ones_stay() -> None:
    fitted = fit(wide(), 260, "colour10 where colour40 is red")
    assert {"table1", "table2", "table3", "table4"} <= set(fitted.schema.tables)
    assert "table5" not in fitted.schema.tables


def test_too_little_for_the_keys_is_an_error_that_says_how_much_is_needed() -> None:
    with pytest.raises(DataError, match=r"take \d+ tokens, 20 are allowed"):
        fit(wide(), 20)


def test_rare_words_weigh_more() -> None:
    scores = relevance(wide(), "the shade in colour23")
    assert max(scores, key=scores.__getitem__) == ("table2", "colour23")


def test_m_schema_has_it_as_a_method() -> None:
    fitted = wide().fit(300, question="colour10", count_tokens=lambda text: len(text) // 4)
    assert isinstance(fitted, Fitted)
    assert len(fitted.text) // 4 <= 300
