"""A query of the question grammar, which thinks in SQLite, as another engine has it.

This is no translator: it knows what the grammar writes (parts of dates, flags, names), and no more. Queries that people
wrote are never touched.
"""

from __future__ import annotations

from functools import lru_cache

from sqlglot import exp

from askguru_lib.data.grammar import identifier
from askguru_lib.data.trees import SQLGLOT_DIALECTS, render
from askguru_lib.databases.m_schema import MSchema

_LETTERS = {"%Y": "YYYY", "%Y-%m": "YYYY-MM", "%m": "MM"}
"""Parts of a date, as SQLite and as PostgreSQL spell them."""
_RESERVED_BY_POSTGRESQL = frozenset(
    """user current_user session_user analyse analyze array both only some binary freeze leading trailing
    placing""".split()  # noqa: SIM905
)


def render_in(tree: exp.Query, schema: MSchema, dialect: str) -> str:
    """The text of a query of the grammar in a dialect.

    PostgreSQL folds names that are not quoted to lower case, compares booleans with booleans only, and puts NULLs first
    where the order descends; DuckDB groups by every column that it shows (PostgreSQL refuses a query only where the key
    that it groups by is not declared as one); all three have functions of their own for a part of a date. In ascending
    order NULLs stand where the engine puts them.

    Args:
        schema: types of the columns.
        dialect: ``sqlite``, ``postgresql``, ``mysql`` or ``duckdb``.
    """
    if dialect == "sqlite":
        return render(tree)
    tree = tree.copy()
    kinds = _Kinds(schema, tree)
    for call in list(tree.find_all(exp.Anonymous)):
        if str(call.this).lower() == "strftime":
            call.replace(_part_of_date(call, kinds, dialect))
        elif str(call.this).lower() == "julianday":
            call.replace(_day(call, kinds, dialect))
    for key in tree.find_all(exp.Ordered):
        down = bool(key.args.get("desc"))
        by_default = {"postgresql": down, "mysql": not down}.get(dialect, False)
        says_so = dialect == "postgresql" and down and not isinstance(key.this, exp.Count)
        key.set("nulls_first", False if says_so else by_default)
    if dialect == "duckdb":
        _group_by_what_is_shown(tree)
    if dialect == "postgresql":
        _for_postgresql(tree, kinds)
    return render(tree, dialect)


@lru_cache(maxsize=65536)
def written(name: str, dialect: str = "sqlite") -> str:
    """A table's or column's name as a query has it: quoted where it has to be. Oracle's are taken to be in capitals.

    Args:
        dialect: one that is not SQL (Cypher) is taken for SQLite.
    """
    found = identifier(name)
    if dialect == "postgresql" and _folded(name):
        found.set("quoted", True)
    return found.sql(SQLGLOT_DIALECTS.get(dialect, "sqlite"))


def _folded(name: str) -> bool:
    """Whether PostgreSQL would read another name where this one stands without quotes."""
    return name != name.lower() or name in _RESERVED_BY_POSTGRESQL


class _Kinds:
    """Types of the columns that a query names."""

    def __init__(self, schema: MSchema, tree: exp.Query) -> None:
        read = {t.name.lower() for t in tree.find_all(exp.Table)}
        self.types: dict[str, dict[str, str]] = {}
        for table, column, field in schema.columns():
            if table.lower() in read:
                self.types.setdefault(column.lower(), {})[table.lower()] = str(field["type"]).upper()

    def of(self, node: exp.Expr | None) -> str:
        """The type of a column; empty for anything else, and where several tables disagree."""
        if not isinstance(node, exp.Column):
            return ""
        found = self.types.get(node.name.lower(), {})
        kinds = {found.get(node.table.lower(), "")} if node.table else set(found.values())
        return kinds.pop() if len(kinds) == 1 else ""


def _for_postgresql(tree: exp.Query, kinds: _Kinds) -> None:
    for name in tree.find_all(exp.Identifier):
        if _folded(name.name):
            name.set("quoted", True)
    for test in tree.find_all(exp.EQ, exp.NEQ):
        value = test.expression
        if kinds.of(test.this).startswith("BOOL") and isinstance(value, exp.Literal) and value.name in ("0", "1"):
            value.replace(exp.Boolean(this=value.name == "1"))


def _group_by_what_is_shown(tree: exp.Query) -> None:
    """DuckDB does not infer a row's other columns from the key that it is grouped by."""
    for select in tree.find_all(exp.Select):
        group = select.args.get("group")
        if group:
            shown = [e.unalias() for e in select.expressions]
            missing = [e.copy() for e in shown if isinstance(e, exp.Column) and e not in group.expressions]
            group.set("expressions", [*group.expressions, *missing])


def _moment(value: exp.Expr, kinds: _Kinds, dialect: str) -> exp.Expr:
    """A date that the engine knows for one; MySQL takes texts."""
    if dialect == "mysql" or kinds.of(value).startswith(("DATE", "TIME")):
        return value.copy()
    return exp.Cast(this=value.copy(), to=exp.DataType.build("date"))


def _day(call: exp.Anonymous, kinds: _Kinds, dialect: str) -> exp.Expr:
    """The number of a day, for differences in days."""
    moment = _moment(call.expressions[0], kinds, dialect)
    if dialect == "postgresql":
        return exp.Extract(this=exp.var("JULIAN"), expression=moment)
    return exp.Anonymous(this="TO_DAYS" if dialect == "mysql" else "JULIAN", expressions=[moment])


def _part_of_date(call: exp.Anonymous, kinds: _Kinds, dialect: str) -> exp.Expr:
    form, moment = call.expressions
    moment = _moment(moment, kinds, dialect)
    if dialect == "postgresql":
        form = exp.Literal.string(_LETTERS.get(form.name, form.name))
    name = {"postgresql": "TO_CHAR", "mysql": "DATE_FORMAT"}.get(dialect, "STRFTIME")
    return exp.Anonymous(this=name, expressions=[moment, form.copy()])
