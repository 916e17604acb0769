"""Augmentation: each operation keeps its invariant, and the invariant is checked by running SQL."""

from __future__ import annotations

import random
import re
import sqlite3
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from askguru_lib.config import AugmentationConfig
from askguru_lib.data.augmentation import (
    AugCompose,
    Sample,
    SchemaFilter,
    SchemaPermute,
    SchemaShuffle,
    SchemaVariants,
    SQLTranslate,
    needed_columns,
    same_result,
)
from askguru_lib.data.equivalence import RULES, translations
from askguru_lib.data.synthesis import synthesize
from askguru_lib.databases import samples
from askguru_lib.databases.m_schema import MSchema
from askguru_lib.databases.schema_engine import SchemaEngine

TABLES = {
    "customers": ["id INTEGER PRIMARY KEY", "name TEXT", "city TEXT"],
    "orders": [
        "id INTEGER PRIMARY KEY",
        "customer_id INTEGER",
        "status TEXT",
        "[Amount (EUR)] REAL",
        "placed_on DATE",
        "[order] INTEGER",
    ],
    "lines": ["order_id INTEGER", "product_id INTEGER", "quantity INTEGER"],
    "products": ["id INTEGER PRIMARY KEY", "name TEXT", "price REAL"],
}
KEYS = [
    ("orders", "customer_id", "customers", "id"),
    ("lines", "order_id", "orders", "id"),
    ("lines", "product_id", "products", "id"),
]
NEEDED = {
    "SELECT * FROM customers": {"customers": "id name city"},
    "SELECT COUNT(*) FROM orders": {"orders": ""},
    "SELECT [Amount (EUR)] FROM orders WHERE [order] = 1": {"orders": "Amount (EUR)|order"},
    "SELECT o.* FROM orders o JOIN CUSTOMERS c ON o.Customer_ID = c.id": {
        "orders": "id|customer_id|status|Amount (EUR)|placed_on|order",
        "customers": "id",
    },
    "WITH x AS (SELECT customer_id k, COUNT(*) n FROM orders GROUP BY 1) SELECT name FROM customers JOIN x ON k = id": {
        "orders": "customer_id",
        "customers": "name id",
    },
    "SELECT name FROM customers c WHERE EXISTS (SELECT 1 FROM orders WHERE customer_id = c.id AND city = status)": {
        "orders": "customer_id status",
        "customers": "id name city",
    },
    "SELECT name FROM customers JOIN orders USING (id)": {"customers": "id name", "orders": "id"},
    "SELECT name FROM customers UNION SELECT status FROM orders ORDER BY name": {
        "customers": "name",
        "orders": "status",
    },
    "SELECT n FROM (SELECT name AS n, RANK() OVER (PARTITION BY city ORDER BY id) AS r FROM customers) WHERE r = 1": {
        "customers": "id name city"
    },
    "SELECT name FROM customers WHERE id IN (SELECT customer_id FROM orders GROUP BY 1 HAVING SUM([order]) > 1)": {
        "customers": "id name",
        "orders": "customer_id order",
    },
    "SELECT (SELECT MAX(placed_on) FROM orders WHERE orders.customer_id = customers.id) FROM customers": {
        "customers": "id",
        "orders": "placed_on customer_id",
    },
    "SELECT strftime('%Y', placed_on) AS y, COUNT(*) FROM orders GROUP BY y HAVING y > '2020'": {"orders": "placed_on"},
}


@pytest.fixture(scope="module")
def shop() -> MSchema:
    schema = MSchema("shop")
    for table, columns in TABLES.items():
        schema.add_table(table)
        for column in columns:
            name, kind = (column[1:].split("] ") if column.startswith("[") else column.split(" ", 1))[:2]
            key = "PRIMARY KEY" in kind
            schema.add_field(table, name, kind.split()[0], primary_key=key, nullable=not key)
    for table, column, ref_table, ref_column in KEYS:
        schema.add_foreign_key(table, column, None, ref_table, ref_column)
    return schema


class Runner:
    """A database in memory, behind the interface of the executor."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection

    def run(self, db_id: str, sql: str) -> SimpleNamespace:
        try:
            return SimpleNamespace(ok=True, truncated=False, rows=tuple(self.connection.execute(sql).fetchall()))
        except sqlite3.Error as e:
            return SimpleNamespace(ok=False, truncated=False, rows=(), failure=e)


@pytest.fixture(scope="module")
def runner() -> Runner:
    """Rows with NULLs, repeated values and orphans: what tells nearly equivalent queries apart."""
    connection = sqlite3.connect(":memory:")
    rng = random.Random(0)
    for table, columns in TABLES.items():
        connection.execute(f"CREATE TABLE {table} ({', '.join(columns)})")
    word = [None, "a", "b", "a -- b", "c  d", "it's"]
    connection.executemany(
        "INSERT INTO customers VALUES (?,?,?)", [(i, rng.choice(word), rng.choice(word)) for i in range(12)]
    )
    for i in range(60):
        row = (i, rng.choice([None, *range(15)]), rng.choice(word), rng.choice([None, 1, 2.5, 9]), "2023-01-02", i % 4)
        connection.execute("INSERT INTO orders VALUES (?,?,?,?,?,?)", row)
        connection.execute("INSERT INTO lines VALUES (?,?,?)", (i % 50, rng.choice([None, 1, 2, 3]), rng.randint(1, 9)))
    connection.executemany("INSERT INTO products VALUES (?,?,?)", [(i, rng.choice(word), i * 1.5) for i in range(5)])
    return Runner(connection)


def empty_database(schema: MSchema) -> sqlite3.Connection:
    """What the schema promises, and nothing else."""
    connection = sqlite3.connect(":memory:")
    for table, info in schema.tables.items():
        columns = ", ".join('"' + c.replace('"', '""') + '"' for c in info["fields"])
        connection.execute(f'CREATE TABLE "{table}" ({columns})')
    return connection


def strictly_named(sql: str) -> str:
    """Names between backticks: SQLite takes a "name" that is not there for a string, and would hide its loss."""
    return re.sub(r"'(?:[^']|'')*'|\"([^\"]*)\"", lambda m: m[0] if m[1] is None else f"`{m[1]}`", sql)


def sample(schema: MSchema, sql: str) -> Sample:
    return Sample(mschema=schema, sql=sql, question="?", db_name="shop")


def names(schema: MSchema) -> set[tuple[str, str]]:
    return {(t, c) for t, c, _ in schema.columns()}


# -- what a query reads -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sql", NEEDED)
def test_needed_columns_are_exactly_what_the_query_reads(shop: MSchema, sql: str) -> None:
    expected = {t: set(filter(None, c.split("|" if "|" in c or "(" in c else " "))) for t, c in NEEDED[sql].items()}
    assert needed_columns(sql, shop) == expected


@pytest.mark.parametrize("dialect", ["postgresql", "mysql", "duckdb", "oracle"])
def test_needed_columns_in_other_dialects(shop: MSchema, dialect: str) -> None:
    sql = "WITH x AS (SELECT customer_id AS k FROM orders) SELECT c.* FROM Customers c JOIN x ON x.k = c.id"
    assert needed_columns(sql, shop, dialect) == {"customers": {"id", "name", "city"}, "orders": {"customer_id"}}


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT nope FROM customers",
        "SELECT 1 FROM nope",
        "SELECT (",
        "DROP TABLE orders",
        "SELECT 1; SELECT 2",
        "SELECT name FROM customers NATURAL JOIN orders",
    ],
)
def test_filter_keeps_everything_when_the_gold_cannot_be_resolved(shop: MSchema, sql: str) -> None:
    before = sample(shop, sql)
    assert needed_columns(sql, shop) is None
    assert SchemaFilter(0, 0)(before, random.Random(0)) == before


@pytest.mark.parametrize("dialect", ["cypher", "ngql"])
def test_graph_queries_pass_through_filter_and_translate_unchanged(shop: MSchema, dialect: str) -> None:
    before = Sample(shop, "MATCH (v) RETURN v", "?", dialect=dialect)
    assert SQLTranslate(1)(SchemaFilter(0, 0)(before, random.Random(0)), random.Random(0)) == before


# -- the four operations ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sql", NEEDED)
def test_the_gold_runs_on_nothing_but_the_filtered_schema(shop: MSchema, sql: str) -> None:
    for seed in range(10):
        after = SchemaFilter(0.3, 0.2)(sample(shop, sql), random.Random(seed)).mschema
        empty_database(after).execute(f"EXPLAIN {sql}")
        assert names(after) <= names(shop)


def test_the_check_above_can_fail(shop: MSchema) -> None:
    smaller = SchemaFilter(0, 0)(sample(shop, "SELECT name FROM customers"), random.Random(0)).mschema
    with pytest.raises(sqlite3.OperationalError, match="no such column"):
        empty_database(smaller).execute("EXPLAIN SELECT city FROM customers")


def test_filter_removes_what_is_not_needed(shop: MSchema) -> None:
    after = SchemaFilter(0, 0)(sample(shop, "SELECT name FROM customers"), random.Random(0)).mschema
    assert names(after) == {("customers", "id"), ("customers", "name")}
    assert after.foreign_keys == []


def test_filter_rates_are_those_asked_for(shop: MSchema) -> None:
    op, before = SchemaFilter(0.8, 0.7), sample(shop, "SELECT name FROM customers")
    runs = [op(before, random.Random(s)).mschema for s in range(2000)]
    assert sum("products" in r.tables for r in runs) / 2000 == pytest.approx(0.8, abs=0.03)
    assert sum("city" in r.tables["customers"]["fields"] for r in runs) / 2000 == pytest.approx(0.7, abs=0.03)


def test_a_counted_table_keeps_a_column(shop: MSchema) -> None:
    after = SchemaFilter(0, 0)(sample(shop, "SELECT COUNT(*) FROM lines"), random.Random(0)).mschema
    assert len(after.tables["lines"]["fields"]) == 1


@pytest.mark.parametrize("sql", NEEDED)
def test_the_gold_runs_on_each_of_few_schemas(shop: MSchema, sql: str) -> None:
    """Questions of a database share a handful of schemas, the first of them complete; none lacks what a gold reads."""
    op = SchemaVariants(6, SchemaFilter(0.5, 0.5), SchemaShuffle(1, 1, 1))
    drawn = [op(sample(shop, sql), random.Random(seed)).mschema for seed in range(40)]
    assert 1 <= len({s.to_mschema() for s in drawn}) <= 6
    assert any(names(s) == names(shop) for s in drawn)
    for schema in drawn:
        empty_database(schema).execute(f"EXPLAIN {sql}")


def test_the_seed_of_a_run_decides_which_few_schemas_there_are(shop: MSchema) -> None:
    def variants(seed: int) -> set[str]:
        op = AugCompose.from_config(AugmentationConfig(schema_variants=6, translate=0), seed=seed)
        return {op(sample(shop, "SELECT 1"), random.Random(i)).db_schema for i in range(40)}

    assert variants(1) == variants(1) != variants(2)


def test_samples_on_few_schemas_begin_alike(shop: MSchema) -> None:
    golds = ["SELECT name FROM customers", "SELECT city FROM customers", "SELECT COUNT(*) FROM lines"]
    few = AugCompose.from_config(AugmentationConfig(schema_variants=3, translate=0))
    many = AugCompose.from_config(AugmentationConfig(translate=0))
    seen = [{op(sample(shop, sql), random.Random(seed)).db_schema for seed in range(20) for sql in golds}
            for op in (few, many)]  # fmt: skip
    assert len(seen[0]) <= 3 < 20 < len(seen[1])


def test_shuffle_keeps_content_and_changes_order(shop: MSchema) -> None:
    after = SchemaShuffle(1, 1, 1)(sample(shop, "SELECT 1"), random.Random(1)).mschema
    assert after != shop or list(after.tables) != list(shop.tables)
    assert after.tables == shop.tables
    assert sorted(map(str, after.foreign_keys)) == sorted(map(str, shop.foreign_keys))
    assert list(after.tables) != list(shop.tables)


def test_shuffle_probabilities(shop: MSchema) -> None:
    op, before = SchemaShuffle(0, 0, 0), sample(shop, "SELECT 1")
    assert op(before, random.Random(3)).db_schema == before.db_schema


def test_permute_changes_the_rendering_and_nothing_else(shop: MSchema) -> None:
    before = sample(shop, "SELECT 1")
    seen = {SchemaPermute(1)(before, random.Random(s)).db_schema for s in range(50)}
    assert len(seen) > 30
    for text in seen:
        assert all(f"{c}:" in text or f'"{c}":' in text for _, c in names(shop))
        assert all(f"{t}.{c}={r}.{k}" in text for t, c, r, k in KEYS)
    assert SchemaPermute(0)(before, random.Random(0)) == before


TRANSLATED = {
    "between_to_comparisons": (
        "SELECT COUNT(*) FROM orders WHERE [order] BETWEEN 1 AND 2 OR status = 'a'",
        'SELECT COUNT(*) FROM orders WHERE ("order" >= 1 AND "order" <= 2) OR status = \'a\'',
    ),
    "comparisons_to_between": (
        "SELECT id FROM orders WHERE status = 'a' AND id >= 3 AND id <= 30 AND customer_id > 1",
        "SELECT id FROM orders WHERE status = 'a' AND id BETWEEN 3 AND 30 AND customer_id > 1",
    ),
    "in_list_to_or": (
        "SELECT id FROM orders WHERE status NOT IN ('a', 'c  d')",
        "SELECT id FROM orders WHERE status <> 'a' AND status <> 'c  d'",
    ),
    "or_to_in_list": (
        "SELECT id FROM orders WHERE id > 2 AND (status = 'a -- b' OR status = 'b')",
        "SELECT id FROM orders WHERE id > 2 AND status IN ('a -- b', 'b')",
    ),
    "in_query_to_exists": (
        "SELECT name FROM customers WHERE id IN (SELECT customer_id FROM orders WHERE status = 'a' OR status = 'b')",
        "SELECT name FROM customers WHERE EXISTS (SELECT 1 FROM orders WHERE (status = 'a' OR status = 'b') "
        "AND customers.id = orders.customer_id)",
    ),
    "exists_to_in_query": (
        "SELECT name FROM customers WHERE EXISTS (SELECT 1 FROM orders WHERE customer_id = customers.id AND id > 9)",
        "SELECT name FROM customers WHERE customers.id IN (SELECT orders.customer_id FROM orders WHERE id > 9)",
    ),
    "swap_conjuncts": (
        "SELECT id FROM orders WHERE status = 'a' AND (id > 9 OR id < 3)",
        "SELECT id FROM orders WHERE (id > 9 OR id < 3) AND status = 'a'",
    ),
    "swap_key_sides": (
        "SELECT name FROM customers JOIN orders ON customers.id = orders.customer_id",
        "SELECT name FROM customers JOIN orders ON orders.customer_id = customers.id",
    ),
    "swap_joined_tables": (
        "SELECT name, COUNT(*) FROM customers JOIN orders ON customers.id = customer_id GROUP BY name ORDER BY name",
        "SELECT name, COUNT(*) FROM orders JOIN customers ON customers.id = customer_id GROUP BY name ORDER BY name",
    ),
    "count_forms": ("SELECT COUNT(*) FROM customers", "SELECT COUNT(id) FROM customers"),
    "cte_to_subquery": (
        "WITH c AS (SELECT customer_id, COUNT(*) AS n FROM orders GROUP BY customer_id) SELECT AVG(n) FROM c",
        "SELECT AVG(n) FROM (SELECT customer_id, COUNT(*) AS n FROM orders GROUP BY customer_id) AS c",
    ),
    "subquery_to_cte": (
        "SELECT AVG(n) FROM (SELECT customer_id, COUNT(*) AS n FROM orders GROUP BY customer_id) AS c",
        "WITH c AS (SELECT customer_id, COUNT(*) AS n FROM orders GROUP BY customer_id) SELECT AVG(n) FROM c",
    ),
    "distinct_to_group_by": (
        "SELECT DISTINCT city FROM customers WHERE substr(name, 1, 1) = 'a' ORDER BY city",
        "SELECT city FROM customers WHERE substr(name, 1, 1) = 'a' GROUP BY city ORDER BY city",
    ),
    "group_by_to_distinct": (
        "SELECT city FROM customers WHERE name IS NOT NULL GROUP BY city",
        "SELECT DISTINCT city FROM customers WHERE name IS NOT NULL",
    ),
    "add_aliases": (
        "SELECT customers.name FROM customers JOIN orders ON customers.id = orders.customer_id",
        "SELECT t1.name FROM customers AS t1 JOIN orders AS t2 ON t1.id = t2.customer_id",
    ),
    "drop_aliases": (
        "SELECT T1.name FROM customers AS T1 JOIN orders AS T2 ON T1.id = T2.customer_id",
        "SELECT customers.name FROM customers JOIN orders ON customers.id = orders.customer_id",
    ),
}


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_rewrites_as_documented(shop: MSchema, rule: str) -> None:
    sql, expected = TRANSLATED[rule]
    assert (rule, expected) in translations(sql, shop, "sqlite")


@pytest.mark.parametrize("sql", [*NEEDED, *(sql for pair in TRANSLATED.values() for sql in pair)])
def test_every_rewriting_returns_the_same_rows(shop: MSchema, runner: Runner, sql: str) -> None:
    gold = runner.run("shop", sql)
    assert gold.ok
    for rule, other in translations(sql, shop, "sqlite"):
        found = runner.run("shop", other)
        assert found.ok, (rule, other, found.failure)
        assert Counter(found.rows) == Counter(gold.rows), (rule, other)


NOT_EQUIVALENT = [
    ("in_query_to_exists", "SELECT name FROM customers WHERE id NOT IN (SELECT customer_id FROM orders)"),
    ("in_query_to_exists", "SELECT id IN (SELECT customer_id FROM orders) FROM customers"),
    ("exists_to_in_query", "SELECT id FROM customers WHERE NOT EXISTS (SELECT 1 FROM lines WHERE order_id = id)"),
    ("exists_to_in_query", "SELECT name FROM customers WHERE EXISTS (SELECT 1 FROM orders WHERE id = customer_id)"),
    ("count_forms", "SELECT COUNT(city) FROM customers"),
    ("swap_joined_tables", "SELECT * FROM customers JOIN orders ON customers.id = customer_id"),
    ("swap_joined_tables", "SELECT name FROM customers LEFT JOIN orders ON customers.id = customer_id"),
    ("swap_joined_tables", "SELECT name FROM customers JOIN orders ON customers.id = customer_id LIMIT 3"),
    ("swap_joined_tables", "SELECT name, MAX(id), city FROM customers c JOIN orders ON c.id = customer_id GROUP BY 1"),
    ("cte_to_subquery", "WITH c AS (SELECT id FROM orders) SELECT * FROM c AS a JOIN c AS b ON a.id = b.id"),
    ("distinct_to_group_by", "SELECT DISTINCT city FROM customers LIMIT 2"),
    ("group_by_to_distinct", "SELECT city FROM customers GROUP BY city HAVING COUNT(*) > 1"),
    ("in_list_to_or", "SELECT id FROM orders WHERE status IN ('a', 1)"),
    ("between_to_comparisons", "SELECT id FROM orders WHERE ABS(RANDOM()) BETWEEN 1 AND 2"),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "sql"), NOT_EQUIVALENT)
def test_rules_stay_silent_where_equality_is_not_certain(shop: MSchema, rule: str, sql: str) -> None:
    assert rule not in {name for name, _ in translations(sql, shop, "sqlite")}


def test_translate_uses_only_forms_that_return_the_same_rows(shop: MSchema) -> None:
    refusing = SimpleNamespace(run=lambda db, sql: SimpleNamespace(ok=True, truncated=False, rows=((sql,),)))
    before = sample(shop, "SELECT COUNT(*) FROM customers WHERE id IN (1, 2)")
    assert SQLTranslate(1, refusing)(before, random.Random(0)) == before


# -- composition --------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**9), sql=st.sampled_from(sorted(NEEDED)))
def test_composed_operations_keep_result_and_schema_sound(seed: int, sql: str, shop: MSchema, runner: Runner) -> None:
    ops = AugCompose.from_config(AugmentationConfig(translate=1, permute=0.5, keep_table=0.4, keep_column=0.4), runner)
    before = sample(shop, sql)
    text = before.db_schema
    after = ops(before, random.Random(seed))
    assert before.db_schema == text, "operations are pure"
    assert after == ops(before, random.Random(seed)), "one seed, one output"
    empty_database(after.mschema).execute(f"EXPLAIN {after.sql}")
    assert Counter(runner.run("shop", after.sql).rows) == Counter(runner.run("shop", sql).rows)


def test_schema_text_of_a_record_survives_reading_and_writing(shop: MSchema) -> None:
    text = shop.to_mschema(example_num=2)
    record = {"db_schema": text, "sql": "SELECT 1", "question": "?", "db_name": "shop", "sql_type": "sqlite"}
    assert Sample.from_record(record).db_schema == text


# -- every question bank ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=samples.NAMES)
def bank(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[MSchema, list[str], Runner]:
    """An embedded database: its M-Schema, the gold of its question bank, and the database itself."""
    path = samples.build(request.param, tmp_path_factory.getbasetemp() / "databases")
    schema = SchemaEngine(sa.create_engine(f"sqlite:///{path}"), request.param).mschema
    return schema, [r["SQL"] for r in samples.bank(request.param)], Runner(sqlite3.connect(path))


@pytest.mark.slow
def test_every_gold_of_a_bank_runs_on_its_filtered_schema(bank: tuple[MSchema, list[str], Runner]) -> None:
    schema, golds, _ = bank
    dropped = 0
    for number, sql in enumerate(golds):
        assert needed_columns(sql, schema) is not None, sql
        for op in (SchemaFilter(0, 0), SchemaFilter(), SchemaFilter()):
            after = op(sample(schema, sql), random.Random(number)).mschema
            empty_database(after).execute(f"EXPLAIN {strictly_named(sql)}")
            dropped += len(names(schema)) - len(names(after))
    assert dropped > 10 * len(golds), "the filter must filter"


@pytest.mark.slow
def test_every_rewriting_of_a_bank_returns_the_same_rows(bank: tuple[MSchema, list[str], Runner]) -> None:
    schema, golds, database = bank
    found = [(sql, rule, other) for sql in golds for rule, other in translations(sql, schema, "sqlite")]
    assert len(found) > len(golds), "most golds have another form"
    for sql, rule, other in found:
        assert same_result(database, "", sql, other), (rule, sql, other)


@pytest.mark.slow
def test_the_filter_loses_nothing_in_ten_thousand_drawn_cases(tmp_path: Path) -> None:
    share = -(-10_000 // len(samples.NAMES))
    cases = dropped = 0
    for name in samples.NAMES:
        path = samples.build(name, tmp_path)
        schema = SchemaEngine(sa.create_engine(f"sqlite:///{path}"), name, max_examples=30).mschema
        for number, pair in enumerate(synthesize(schema, share, seed=1)):
            rng = random.Random(number)
            before = SQLTranslate(0.5)(sample(schema, pair["SQL"]), rng)
            after = SchemaFilter(rng.random(), rng.random())(before, rng).mschema
            assert needed_columns(before.sql, schema) is not None, before.sql
            empty_database(after).execute(f"EXPLAIN {strictly_named(before.sql)}")
            assert names(after) <= names(schema)
            cases += 1
            dropped += len(names(schema)) - len(names(after))
    assert cases >= 10_000
    assert dropped > 5 * cases, "the filter must filter"


# -- what the reference implementation got wrong ------------------------------------------------------------------


def test_reference_defect_filter_loses_columns_ending_in_bracket(shop: MSchema) -> None:
    before = sample(shop, "SELECT SUM([Amount (EUR)]) FROM orders")
    for seed in range(1000):
        assert "Amount (EUR)" in SchemaFilter()(before, random.Random(seed)).mschema.tables["orders"]["fields"]


def test_reference_defect_filter_loses_select_star(shop: MSchema) -> None:
    before = sample(shop, "SELECT * FROM orders WHERE id = 3")
    for seed in range(200):
        after = SchemaFilter(0, 0)(before, random.Random(seed)).mschema
        assert after.tables["orders"] == shop.tables["orders"]


def test_reference_defect_filter_loses_join_keys(shop: MSchema) -> None:
    before = sample(shop, "SELECT name FROM customers JOIN orders ON customers.id = orders.customer_id")
    for seed in range(200):
        after = SchemaFilter(0, 0)(before, random.Random(seed)).mschema
        assert after.foreign_keys == [["orders", "customer_id", None, "customers", "id"]]


def test_reference_defect_permute_crashes_on_repeated_labels() -> None:
    schema = MSchema("【Schema】")
    schema.add_table("t", comment="# Table: t, Primary Key, Examples: [1]")
    schema.add_field(
        "t", "Primary Key", "TEXT", True, comment="Primary Key", examples=["Primary Key", "【Foreign keys】"]
    )
    schema.add_table("u", comment="# Table: t, Primary Key, Examples: [1]")
    schema.add_field("u", "Examples: [", "TEXT", comment="x, Primary Key)", examples=["(a:TEXT)"])
    for seed in range(100):
        text = SchemaPermute(1)(sample(schema, "SELECT 1"), random.Random(seed)).db_schema
        assert text.count('"# Table: t, Primary Key, Examples: [1]"') == 2
        assert '"x, Primary Key)"' in text
        assert '"Examples: [":TEXT' in text


@pytest.mark.parametrize("value", ["a -- b", "c  d", "/* no */", "it''s", "x\ny"])
def test_reference_defect_translate_corrupts_literals(shop: MSchema, value: str) -> None:
    found = translations(f"SELECT id FROM orders WHERE status = '{value}' AND id BETWEEN 2 AND 4", shop, "sqlite")
    assert len(found) >= 2
    assert all(f"'{value}'" in sql for _, sql in found)


def test_reference_defect_translate_translates_nothing(shop: MSchema, runner: Runner) -> None:
    for sql, _ in TRANSLATED.values():
        assert SQLTranslate(1, runner)(sample(shop, sql), random.Random(0)).sql != sql


def test_reference_defect_augmentation_is_not_seeded(shop: MSchema) -> None:
    ops = AugCompose.from_config(AugmentationConfig(translate=1, permute=1))
    before = sample(shop, "SELECT name FROM customers WHERE id IN (1, 2)")
    state = random.getstate()
    first = [ops(before, random.Random(s)).db_schema for s in range(20)]
    assert first == [ops(before, random.Random(s)).db_schema for s in range(20)]
    assert random.getstate() == state, "the global generator is never drawn from"
