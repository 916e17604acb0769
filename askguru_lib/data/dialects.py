"""A query of the question grammar, which thinks in SQLite, as another engine has it.

This is no translator: it knows what the grammar writes (parts of dates, flags, names), and no more. Queries that people
wrote are never touched.
"""

from __future__ import annotations

from collections.abc import Iterable

from sqlglot import exp

from askguru_lib.data.trees import render
from askguru_lib.databases.m_schema import MSchema

_LETTERS = {"%Y": "YYYY", "%Y-%m": "YYYY-MM", "%m": "MM"}
"""Parts of a date, as SQLite and as PostgreSQL spell them."""


def render_in(tree: exp.Query, schema: MSchema, dialect: str) -> str:
    """The text of a query of the grammar in a dialect.

    PostgreSQL folds names that are not quoted to lower case and compares booleans with booleans only; PostgreSQL,
    MySQL and DuckDB each have a function of their own for a part of a date.

    Args:
        schema: types of the columns; a name is looked up in the tables that the query reads.
        dialect: ``sqlite``, ``postgresql``, ``mysql`` or ``duckdb``; others are written as SQLite's, with their own
            quotation marks.
    """
    if dialect == "sqlite":
        return render(tree)
    tree = tree.copy()
    types = _types(schema, (t.name for t in tree.find_all(exp.Table)))
    for call in list(tree.find_all(exp.Anonymous)):
        if str(call.this).lower() == "strftime":
            call.replace(_part_of_date(call, types, dialect))
    if dialect == "postgresql":
        for name in tree.find_all(exp.Identifier):
            if name.name != name.name.lower():
                name.set("quoted", True)
        for test in tree.find_all(exp.EQ, exp.NEQ):
            column, value = test.this, test.expression
            flag = isinstance(column, exp.Column) and types.get(column.name.lower(), "").startswith("BOOL")
            if flag and isinstance(value, exp.Literal) and value.name in ("0", "1"):
                value.replace(exp.Boolean(this=value.name == "1"))
    return render(tree, dialect)


def _types(schema: MSchema, tables: Iterable[str]) -> dict[str, str]:
    known = {table.lower(): info for table, info in schema.tables.items()}
    fields = [known[table.lower()]["fields"] for table in tables if table.lower() in known]
    return {column.lower(): str(field["type"]).upper() for some in fields for column, field in some.items()}


def _part_of_date(call: exp.Anonymous, types: dict[str, str], dialect: str) -> exp.Expr:
    form, moment = call.expressions
    column = moment.find(exp.Column)
    kind = types.get(column.name.lower(), "") if column else ""
    if dialect != "mysql" and not kind.startswith(("DATE", "TIME")):
        moment = exp.Cast(this=moment.copy(), to=exp.DataType.build("date"))
    if dialect == "postgresql":
        form = exp.Literal.string(_LETTERS.get(form.name, form.name))
    name = {"postgresql": "TO_CHAR", "mysql": "DATE_FORMAT"}.get(dialect, "STRFTIME")
    return exp.Anonymous(this=name, expressions=[moment.copy(), form.copy()])
