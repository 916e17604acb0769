"""What a question says and a query does not use."""

from __future__ import annotations

import pytest

from askguru_lib.databases.connection import load_connections
from askguru_lib.databases.m_schema import MSchema
from askguru_lib.databases.samples import bank, build_all
from askguru_lib.databases.schema_engine import SchemaEngine
from askguru_lib.databases.values import ValueIndex
from askguru_lib.inference.coverage import unused


def shop() -> MSchema:
    schema = MSchema("shop")
    schema.add_table("customers")
    for column in ("customer_id", "name", "city"):
        schema.add_field("customers", column, "TEXT")
    schema.add_table("MARA", comment="spare parts")
    for column, comment in (("MATNR", "part number"), ("MAKTX", "part name"), ("STPRS", "unit price")):
        schema.add_field("MARA", column, "TEXT", comment=comment)
    schema.add_table("order lines")
    for column in ("customer_id", "Unit Weight", "discount", "shipped_on"):
        schema.add_field("order lines", column, "TEXT")
    return schema


SCHEMA = shop().to_mschema()


@pytest.mark.parametrize(
    ("question", "sql", "missing"),
    [
        ("names of customers in a city", "SELECT name FROM customers", ("city",)),
        ("names of customers in a city", "SELECT NAME FROM Customers ORDER BY City", ()),
        ("part name of parts by unit price", "SELECT MAKTX FROM MARA ORDER BY STPRS", ()),
        ("part name of parts by unit price", "SELECT MAKTX FROM MARA ORDER BY MATNR", ("unit price",)),
        ("unit weight?", 'SELECT "Unit Weight" FROM "order lines"', ()),
        ("customer id of order lines", 'SELECT customers.customer_id FROM customers JOIN "order lines" AS o ON 1', ()),
        ("3 customers", "SELECT name FROM customers LIMIT 3", ()),
        ("3 customers", "SELECT name FROM customers LIMIT 30", ("3",)),
        ("customers above 1,500.50", "SELECT name FROM customers WHERE city > 1500.5", ()),
        ("customers of 2022", "SELECT name FROM customers WHERE city >= '2022-01-01'", ()),
        ("in 2022, how many customers?", "SELECT COUNT(*) FROM customers WHERE city >= '2021-01-01'", ("2022",)),
        ("discount of 15 %", 'SELECT 1 FROM "order lines" WHERE discount = 0.15', ()),
        ("customers in Oslo", "SELECT name FROM customers WHERE city = 'Oslo'", ()),
        ("customers in Oslo", "SELECT name FROM customers WHERE city LIKE '%OSLO%'", ()),
        ("customers in Oslo", "SELECT name FROM customers", ("Oslo",)),
        ("customers of ISO9001", "SELECT name FROM customers", ()),
        ("names of customers", "SELECT name FROM", ()),
        ("names of customers", "SELECT ((((", ()),
        ("", "SELECT 1", ()),
    ],
)
def test_what_a_query_leaves_unused(question, sql, missing):
    values = {"Oslo": [["customers", "city"]]} if "Oslo" in question else None
    assert unused([sql], question, SCHEMA, values=values) == [missing]


def test_evidence_names_columns_too():
    told = {"evidence": "fancy means a high unit price"}
    queries = ["SELECT MAKTX FROM MARA", "SELECT MAKTX FROM MARA ORDER BY STPRS DESC"]
    assert unused(queries, "fancy parts", SCHEMA, **told) == [("unit price",), ()]


def test_other_dialects_are_read():
    sql = "SELECT `name` FROM `customers` WHERE `city` REGEXP 'x'"
    assert unused([sql], "names of customers by city", SCHEMA, dialect="mysql") == [()]


def test_without_an_m_schema_nothing_is_compared():
    assert unused(["SELECT 1", "SELECT 2"], "names of 3 customers", "CREATE TABLE customers (name)") == [(), ()]


def test_gold_queries_use_what_their_questions_say_far_oftener_than_other_queries(tmp_path):
    """On hand-written questions, whose words are not those of the schema."""
    names = ("library", "retail", "music", "hr")
    connections = load_connections(build_all(tmp_path, names))
    clean = other = count = 0
    for name in names:
        engine = SchemaEngine(engine=connections.engine(name), db_name=name)
        text, index, pairs = engine.mschema.to_mschema(), ValueIndex.read(engine, 200), bank(name)
        for i, pair in enumerate(pairs):
            told = pair.get("evidence") or ""
            said = index.mentioned(f"{pair['question']}\n{told}")
            right, wrong = unused([pair["SQL"], pairs[i - 1]["SQL"]], pair["question"], text, told, said)
            clean, other, count = clean + (not right), other + (not wrong), count + 1
    assert clean / count > 0.6
    assert other / count < 0.2
