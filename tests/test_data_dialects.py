"""Queries of the grammar in other dialects; that they run is tested on the engines, with the sample databases."""

import pytest
import sqlglot

from askguru_lib.data.dialects import render_in
from askguru_lib.databases.m_schema import MSchema


@pytest.fixture
def schema() -> MSchema:
    schema = MSchema("d")
    schema.add_table("Orders")
    schema.add_field("Orders", "Placed", "DATE")
    schema.add_field("Orders", "noted", "TEXT")
    schema.add_field("Orders", "paid", "BOOLEAN")
    schema.add_field("Orders", "flag", "INTEGER")
    schema.add_field("Orders", "user", "TEXT")
    return schema


@pytest.mark.parametrize(
    ("sql", "dialect", "expected"),
    [
        ("SELECT Placed FROM Orders", "postgresql", 'SELECT "Placed" FROM "Orders"'),
        ("SELECT Placed FROM Orders", "duckdb", "SELECT Placed FROM Orders"),
        ("SELECT noted FROM Orders WHERE paid = 1 AND flag = 1", "postgresql",
         'SELECT noted FROM "Orders" WHERE paid = TRUE AND flag = 1'),
        ("SELECT noted FROM Orders WHERE strftime('%Y', Placed) = '2021'", "sqlite",
         "SELECT noted FROM Orders WHERE strftime('%Y', Placed) = '2021'"),
        ("SELECT noted FROM Orders WHERE strftime('%Y', Placed) = '2021'", "postgresql",
         "SELECT noted FROM \"Orders\" WHERE TO_CHAR(\"Placed\", 'YYYY') = '2021'"),
        ("SELECT noted FROM Orders WHERE strftime('%Y-%m', noted) = '2021-02'", "postgresql",
         "SELECT noted FROM \"Orders\" WHERE TO_CHAR(CAST(noted AS DATE), 'YYYY-MM') = '2021-02'"),
        ("SELECT noted FROM Orders WHERE strftime('%Y', noted) = '2021'", "mysql",
         "SELECT noted FROM Orders WHERE DATE_FORMAT(noted, '%Y') = '2021'"),
        ("SELECT noted FROM Orders WHERE strftime('%Y', noted) = '2021'", "duckdb",
         "SELECT noted FROM Orders WHERE STRFTIME(CAST(noted AS DATE), '%Y') = '2021'"),
        ("SELECT noted FROM Orders ORDER BY Placed DESC LIMIT 1", "postgresql",
         'SELECT noted FROM "Orders" ORDER BY "Placed" DESC NULLS LAST LIMIT 1'),
        ("SELECT noted FROM Orders ORDER BY Placed LIMIT 1", "postgresql",
         'SELECT noted FROM "Orders" ORDER BY "Placed" LIMIT 1'),
        ("SELECT noted FROM Orders GROUP BY noted ORDER BY COUNT(*) DESC", "postgresql",
         'SELECT noted FROM "Orders" GROUP BY noted ORDER BY COUNT(*) DESC'),
        ("SELECT noted FROM Orders ORDER BY Placed DESC", "duckdb", "SELECT noted FROM Orders ORDER BY Placed DESC"),
        ("SELECT noted FROM Orders ORDER BY Placed DESC", "mysql", "SELECT noted FROM Orders ORDER BY Placed DESC"),
        ("SELECT julianday(Placed) - julianday(noted) FROM Orders", "sqlite",
         "SELECT julianday(Placed) - julianday(noted) FROM Orders"),
        ("SELECT julianday(Placed) FROM Orders", "postgresql",
         'SELECT EXTRACT(JULIAN FROM "Placed") FROM "Orders"'),
        ("SELECT julianday(noted) FROM Orders", "duckdb", "SELECT JULIAN(CAST(noted AS DATE)) FROM Orders"),
        ("SELECT julianday(noted) FROM Orders", "mysql", "SELECT TO_DAYS(noted) FROM Orders"),
        ("SELECT noted, COUNT(*) FROM Orders GROUP BY flag", "duckdb",
         "SELECT noted, COUNT(*) FROM Orders GROUP BY flag, noted"),
        ("SELECT noted, COUNT(*) FROM Orders GROUP BY flag", "mysql",
         "SELECT noted, COUNT(*) FROM Orders GROUP BY flag"),
        ("SELECT user FROM Orders", "postgresql", 'SELECT "user" FROM "Orders"'),
    ],
)  # fmt: skip
def test_a_query_of_the_grammar_in_a_dialect(schema: MSchema, sql: str, dialect: str, expected: str):
    tree = sqlglot.parse_one(sql, dialect="postgres")
    before = tree.sql()
    assert render_in(tree, schema, dialect) == expected
    assert tree.sql() == before, "the tree itself is left alone"
