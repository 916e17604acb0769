"""Queries that are always written in the same way."""

import pytest

from askguru_lib.data.trees import parse, render
from askguru_lib.databases.m_schema import MSchema
from askguru_lib.training.one_way import one_way


@pytest.fixture(scope="module")
def shop() -> MSchema:
    schema = MSchema("shop")
    for table, columns in (("client", ("id", "name", "boss_id")), ("sale", ("id", "client_id")),
                           ("line", ("sale_id", "item_id", "n")), ("item", ("id", "name"))):  # fmt: skip
        schema.add_table(table)
        for column in columns:
            schema.add_field(table, column, "INTEGER", primary_key=column == "id")
    for child, column, parent in (("sale", "client_id", "client"), ("line", "sale_id", "sale"),
                                  ("line", "item_id", "item"), ("client", "boss_id", "client")):  # fmt: skip
        schema.add_foreign_key(child, column, None, parent, "id")
    return schema


@pytest.mark.parametrize(
    ("sql", "same"),
    [
        ("SELECT client.name FROM client JOIN sale ON client.id = sale.client_id",
         "SELECT client.name FROM sale JOIN client ON sale.client_id = client.id"),
        ("SELECT item.name FROM client JOIN sale ON sale.client_id = client.id JOIN line ON sale.id = line.sale_id "
         "JOIN item ON line.item_id = item.id WHERE client.id = 1",
         "SELECT item.name FROM line JOIN sale ON line.sale_id = sale.id JOIN client ON sale.client_id = client.id "
         "JOIN item ON line.item_id = item.id WHERE client.id = 1"),
        ("SELECT a.name, b.name FROM client AS a JOIN client AS b ON a.boss_id = b.id",
         "SELECT one.name, other.name FROM client AS one JOIN client AS other ON one.boss_id = other.id"),
        ("WITH sold AS (SELECT item_id AS i, SUM(n) AS s FROM line GROUP BY item_id) SELECT i FROM sold "
         "WHERE sold.s = (SELECT MAX(s) FROM sold)",
         "WITH part AS (SELECT item_id AS i, SUM(n) AS s FROM line GROUP BY item_id) SELECT i FROM part "
         "WHERE part.s = (SELECT MAX(s) FROM part)"),
        ("WITH n AS (SELECT item_id AS i, SUM(n) AS n FROM line GROUP BY item_id) SELECT AVG(n) FROM n",
         "WITH n AS (SELECT item_id AS i, SUM(n) AS n FROM line GROUP BY item_id) SELECT AVG(n) FROM n"),
        ("WITH s AS (SELECT item_id AS i, SUM(n) AS s FROM line GROUP BY item_id) SELECT AVG(s) FROM s",
         "WITH part AS (SELECT item_id AS i, SUM(n) AS s FROM line GROUP BY item_id) SELECT AVG(s) FROM part"),
        ("WITH RECURSIVE up AS (SELECT id FROM client UNION ALL SELECT client.id FROM client JOIN up "
         "ON client.boss_id = up.id) SELECT COUNT(*) FROM up",
         "WITH RECURSIVE part AS (SELECT id FROM client UNION ALL SELECT client.id FROM client JOIN part "
         "ON client.boss_id = part.id) SELECT COUNT(*) FROM part"),
    ],
)  # fmt: skip
def test_a_query_is_written_the_one_way(shop: MSchema, sql: str, same: str):
    tree = parse(sql, "sqlite")
    one_way(tree, shop)
    assert render(tree) == same
    one_way(tree, shop)
    assert render(tree) == same


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT client.name FROM client LEFT JOIN sale ON sale.client_id = client.id WHERE sale.id IS NULL",
        "SELECT * FROM client JOIN sale ON client.id = sale.client_id",
        "SELECT name FROM client WHERE id IN (SELECT client_id FROM sale)",
        "SELECT client.name FROM client, sale",
        "WITH client AS (SELECT 1 AS id) SELECT id FROM client",
        "WITH sold AS (SELECT id AS part FROM sale) SELECT part FROM sold",
    ],
)
def test_what_another_order_or_name_would_change_stays(shop: MSchema, sql: str):
    tree = parse(sql, "sqlite")
    before = render(tree)
    one_way(tree, shop)
    assert render(tree) == before
