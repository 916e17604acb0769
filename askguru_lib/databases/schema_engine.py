"""SchemaEngine: a database read into an MSchema by SQLAlchemy's inspector, at a cost that its rows do not raise."""

from __future__ import annotations

import difflib
import json
import re
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import exc
from sqlalchemy.engine.reflection import Inspector, ObjectKind

from askguru_lib.databases.m_schema import MSchema
from askguru_lib.databases.type_engine import TypeEngine
from askguru_lib.errors import DatabaseError, DataError

SAMPLE_ROWS = 200
"""Rows read per table, whatever its size: its examples and categories come from them."""

LONG_VALUE = 50
"""A column that holds a value longer than this is long text and shows no examples."""

_CUT = 64
_NOISE = re.compile(r" WITHOUT TIME ZONE| (CHARACTER SET|COLLATE) .*", re.IGNORECASE)
_CONTACT = re.compile(r"[^\s@]+@[^\s@]+\.\w+|\b(https?|ftp)://|\bwww\.\w", re.IGNORECASE)
_NO_PHONE = r"\d{4}[-/.]\d{1,2}([-/.]\d{1,2})?|\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4}|\d{4}[-/]\d{4}|97[89]-.*|[\d.]+"
_PHONE = re.compile(
    rf"(?!(?:{_NO_PHONE})$)(?=(?:\D*\d){{7,17}}\D*$)\+?\(?\d[\d\s()./-]{{4,20}}\d(\s*(x|ext\.?)\s*\d+)?$",
    re.IGNORECASE,
)
_PHONE_STARTS = tuple("+(0123456789")
_PHONE_NAME = re.compile(r"phone|mobile|fax|(^|_)(tel|cell)(_|$)|telf", re.IGNORECASE)
_SECRET_NAME = re.compile(r"passw|pwd|secret|token|api_?key|(^|_)(ssn|iban)(_|$)", re.IGNORECASE)

Comments = Mapping[str, Mapping[str, Any]]


class SchemaEngine:
    """Introspects one database.

    Args:
        engine: a SQLAlchemy engine; only catalogue look-ups and one bounded ``SELECT`` per table are sent.
        db_name: name printed in the M-Schema; by default the engine's database.
        schema: the engine's schema to read; by default its default schema, which is not prefixed to table names.
        comments: ``{"tables": {table: text}, "columns": {"table.column": text}, "values": {"table.column": {code:
            meaning}}}``, each part optional, laid over the database's own comments. The file that ``db_conn.json``
            names under ``comments`` is read as well; for SQLite, which keeps no comments, ``<name>.comments.json``
            beside the database is enough.
        max_examples: example values kept per column.

    Attributes:
        mschema: the result.
        meanings: what coded values stand for, from ``values``. Kept out of the M-Schema, where they would cost tokens
            in every prompt; questions bring them along as evidence.
        views: names of views, whose rows are never asked for.
        warnings: what could not be read (a table without permission, a comment for a column that is not there).

    Raises:
        DatabaseError: the database cannot be reached.
        DataError: the comments file is malformed.
    """

    def __init__(
        self,
        engine: sa.Engine,
        db_name: str | None = None,
        schema: str | None = None,
        comments: Comments | None = None,
        max_examples: int = 5,
    ) -> None:
        self.engine = engine
        self.warnings: list[str] = []
        self.meanings: dict[str, dict[str, str]] = {}
        self.views: set[str] = set()
        self._types = TypeEngine()
        self._max_examples = max_examples
        try:
            with engine.connect() as connection:
                inspector = sa.inspect(connection)
                default = inspector.default_schema_name
                self._schema = None if schema == default else schema
                self._default = default
                sidecar = _sidecar_comments(connection)
                notes = {**sidecar.get("columns", {}), **(comments or {}).get("columns", {})}
                self._notes = {column.casefold(): text for column, text in notes.items()}
                name = db_name or Path(str(engine.url.database or "database")).stem
                self.mschema = MSchema(name, self._schema)
                self._read(connection, inspector)
        except exc.SQLAlchemyError as e:
            raise DatabaseError(
                f"cannot read the database ({_reason(e)})",
                where=db_name or engine.url.render_as_string(hide_password=True),
                hint="check the address, the account and its permissions",
            ) from None
        for layer in (sidecar, comments or {}):
            self._lay_over(layer)

    def _read(self, connection: sa.Connection, inspector: Inspector) -> None:
        schema, kind = self._schema, ObjectKind.ANY
        columns = {t: found for (_, t), found in inspector.get_multi_columns(schema, kind=kind).items()}
        foreign = {t: found for (_, t), found in inspector.get_multi_foreign_keys(schema, kind=kind).items()}
        primary = {
            t: set((key or {}).get("constrained_columns") or ())
            for (_, t), key in inspector.get_multi_pk_constraint(schema, kind=kind).items()
        }
        views = self.views = {*inspector.get_view_names(schema), *_materialized(inspector, schema)}
        comments, unique = _table_comments(inspector, schema), _unique(inspector, schema)
        for table in sorted(columns):
            self.mschema.add_table(table, comment=comments.get(table) or ("view" if table in views else ""))
            self.mschema.tables[table]["unique"] = sorted(unique.get(table, ()))
            keys = primary.get(table, set())
            linked = {c for key in foreign.get(table, ()) for c in key["constrained_columns"]}
            # A view may hide an aggregate over everything, so its rows are never asked for.
            values = {} if table in views else self._sample(connection, table, columns[table])
            for column in columns[table]:
                self._add_column(table, column, values.get(column["name"], []), keys, linked)
        self._add_keys(foreign)

    def _add_column(
        self, table: str, column: Mapping[str, Any], values: list[Any], keys: set[str], linked: set[str]
    ) -> None:
        name = str(column["name"])
        listed = list(getattr(column["type"], "enums", None) or ())
        printed = self._type_name(column["type"])
        comment = self._notes.get(f"{table}.{name}".casefold()) or column.get("comment") or ""
        category = self._types.category(printed, name, values, comment=comment, is_key=name in keys | linked)
        self.mschema.add_field(
            table,
            name,
            printed,
            primary_key=name in keys,
            nullable=bool(column.get("nullable", True)) and name not in keys,
            default=column.get("default"),
            comment=comment,
            examples=listed[: self._max_examples] or self._examples(name, values, category == "Measure"),
            category="Enum" if listed else category,
            dim_or_meas=self._types.dim_or_meas(category),
        )

    def _type_name(self, kind: sa.types.TypeEngine[Any]) -> str:
        if isinstance(kind, sa.types.NullType):
            return "ANY"
        if enums := getattr(kind, "enums", None):
            return "ENUM(" + ",".join(f"'{e}'" for e in enums) + ")"
        try:
            printed = kind.compile(dialect=self.engine.dialect)
        except exc.SQLAlchemyError:
            printed = str(kind)
        return _NOISE.sub("", printed)

    def _sample(self, connection: sa.Connection, table: str, columns: Sequence[Mapping[str, Any]]) -> dict[str, list]:
        """Non-NULL values of the first rows, as the driver returns them; long text is cut off by the database."""
        wanted = [c for c in columns if self._is_sampled(c)]
        if not wanted or not self._max_examples:
            return {}
        shown: list[sa.ColumnElement[Any]] = []
        for c in wanted:
            # Untyped: a DATE column of SQLite may hold text that SQLAlchemy's type would refuse.
            plain: sa.ColumnElement[Any] = sa.column(str(c["name"]))
            if isinstance(c["type"], sa.String) and not 0 < (c["type"].length or 0) <= _CUT:
                plain = sa.func.substr(plain, 1, _CUT)
            shown.append(plain)
        query = sa.select(*shown).select_from(sa.table(table, schema=self._schema)).limit(SAMPLE_ROWS)
        try:
            rows = connection.execute(query).fetchall()
        except exc.SQLAlchemyError as e:
            connection.rollback()
            self.warnings.append(f"{table}: no example values ({_reason(e)})")
            return {}
        found = zip(*rows, strict=True) if rows else ([] for _ in wanted)
        return {str(c["name"]): [v for v in vs if v is not None] for c, vs in zip(wanted, found, strict=True)}

    def _is_sampled(self, column: Mapping[str, Any]) -> bool:
        family = self._types.field_category(self._type_name(column["type"]))
        return family != "Other" and not getattr(column["type"], "enums", None)

    def _examples(self, name: str, values: list[Any], measure: bool) -> list[str]:
        """The most frequent values, first seen first; none when the column is private, long text or binary."""
        if is_secret(name) or (_PHONE_NAME.search(name) and not measure):
            return []
        counted = Counter(values)
        texts = [v for v in counted if isinstance(v, str)]
        if max(map(len, texts), default=0) > LONG_VALUE or _is_private(texts):
            return []
        shown = (_text(value) for value, _ in counted.most_common(self._max_examples + 2))
        return [t for t in shown if t.strip()][: self._max_examples]

    def _add_keys(self, foreign: Mapping[str, Iterable[Mapping[str, Any]]]) -> None:
        known = {table.casefold(): table for table in self.mschema.tables}
        for table, info in self.mschema.tables.items():
            order = list(info["fields"])
            found = set()
            for key in foreign.get(table, ()):
                schema, referred = self._referred_schema(key["referred_schema"]), str(key["referred_table"])
                columns: dict[str, str] = {}
                if schema is None:
                    # SQLite keeps a key as it was typed: REFERENCES Customers(ID) may mean customers.id.
                    referred = known.get(referred.casefold(), referred)
                    fields = self.mschema.tables.get(referred, {}).get("fields", {})
                    columns = {column.casefold(): column for column in fields}
                for column, target in zip(key["constrained_columns"], key["referred_columns"], strict=False):
                    found.add((column, schema, referred, columns.get(target.casefold(), target)))
            for parts in sorted(found, key=lambda f: (order.index(f[0]), str(f[1]), f[2], f[3])):
                self.mschema.add_foreign_key(table, *parts)

    def _referred_schema(self, referred: str | None) -> str | None:
        """None when a key stays in the schema that is being read."""
        referred = referred or self._default
        return None if referred == (self._schema or self._default) else referred

    def _lay_over(self, comments: Comments) -> None:
        tables = self.mschema.tables
        fields = {f"{t}.{c}": field for t, c, field in self.mschema.columns()}
        for table, text in self._known("table", comments.get("tables", {}), tables):
            tables[table]["comment"] = text
        for column, text in self._known("column", comments.get("columns", {}), fields):
            fields[column]["comment"] = text
        for column, meanings in self._known("column", comments.get("values", {}), fields):
            self.meanings.setdefault(column, {}).update(meanings)

    def _known(self, kind: str, notes: Mapping[str, Any], names: Iterable[str]) -> Iterator[tuple[str, Any]]:
        """The notes on what is there, spelt as the database spells it; the others become warnings."""
        spelt = {**{name.casefold(): name for name in names}, **{name: name for name in names}}
        for name, note in notes.items():
            if real := spelt.get(name) or spelt.get(name.casefold()):
                yield real, note
            else:
                self._warn_unknown(kind, name, names)

    def _warn_unknown(self, kind: str, name: str, known: Iterable[str]) -> None:
        near = difflib.get_close_matches(name, list(known), n=1)
        advice = f"; did you mean {near[0]}?" if near else ""
        self.warnings.append(f"a comment describes the {kind} {name}, which is not there{advice}")


def _materialized(inspector: Inspector, schema: str | None) -> list[str]:
    try:
        return inspector.get_materialized_view_names(schema=schema)
    except NotImplementedError:
        return []


def _table_comments(inspector: Inspector, schema: str | None) -> dict[str, str | None]:
    try:
        found = inspector.get_multi_table_comment(schema, kind=ObjectKind.ANY)
    except NotImplementedError:
        return {}
    return {table: comment["text"] for (_, table), comment in found.items()}


def _unique(inspector: Inspector, schema: str | None) -> dict[str, list[list[str]]]:
    """Column sets under a unique constraint or a unique index that covers every row, by table."""
    found: dict[str, dict[tuple[str, ...], None]] = {}
    for read in (inspector.get_multi_unique_constraints, inspector.get_multi_indexes):
        try:
            with warnings.catch_warnings():  # an index on an expression is skipped, which is what we want
                warnings.simplefilter("ignore", exc.SAWarning)
                listed: Any = read(schema, kind=ObjectKind.TABLE)
        except NotImplementedError:
            continue
        for (_, table), entries in listed.items():
            for entry in entries:
                partial = any("where" in option for option in entry.get("dialect_options", {}))
                columns = tuple(entry["column_names"])
                if entry.get("unique", True) and None not in columns and not partial:
                    found.setdefault(table, {})[columns] = None
    return {table: [list(columns) for columns in sets] for table, sets in found.items()}


def _sidecar_comments(connection: sa.Connection) -> Comments:
    if named := connection.get_execution_options().get("comments"):
        return read_comments(named)
    if connection.dialect.name != "sqlite":
        return {}
    file = next((row[2] for row in connection.exec_driver_sql("PRAGMA database_list") if row[1] == "main"), "")
    if not file:
        return {}
    path = Path(file)
    for sidecar in (path.with_suffix(".comments.json"), path.with_name(path.name + ".comments.json")):
        if sidecar.is_file():
            return read_comments(sidecar)
    return {}


def read_comments(path: str | Path) -> dict[str, dict[str, Any]]:
    """Read a comments file; its form is that of ``SchemaEngine``'s argument.

    Raises:
        DataError: the file is malformed; the message names the line or the entry.
    """
    path = Path(path)
    hint = 'it reads {"tables": {"t": "text"}, "columns": {"t.c": "text"}, "values": {"t.c": {"code": "meaning"}}}'
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as e:
        raise DataError(f"cannot read the comments ({e.strerror})", where=str(path), hint="check the path") from None
    except json.JSONDecodeError as e:
        raise DataError(f"malformed JSON: {e.msg}", where=f"{path}:{e.lineno}", hint=hint) from None
    if not isinstance(data, dict) or not set(data) <= {"tables", "columns", "values"}:
        raise DataError("not a comments file", where=str(path), hint=hint)
    for part, entries in data.items():
        leaf = _maps_to_text if part == "values" else lambda text: isinstance(text, str)
        if not isinstance(entries, dict) or not all(map(leaf, entries.values())):
            raise DataError(f"'{part}' must map names to texts", where=str(path), hint=hint)
    return data


def _maps_to_text(entry: Any) -> bool:
    return isinstance(entry, dict) and all(isinstance(text, str) for text in entry.values())


def is_secret(name: str) -> bool:
    """Whether a column's name says that its values are nobody's business."""
    return _SECRET_NAME.search(name) is not None


def _text(value: Any) -> str:
    if isinstance(value, bytes | bytearray | memoryview):
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _is_private(texts: Sequence[str]) -> bool:
    """Does any text hold an e-mail address or a URL, or is any a phone number?"""
    lines = "\n".join(texts).lower()
    # The patterns are slow, and most columns have nothing in which they could be found.
    if ("@" in lines or "//" in lines or "www." in lines) and _CONTACT.search(lines):
        return True
    return any(_PHONE.match(text) for text in texts if text.startswith(_PHONE_STARTS))


def _reason(error: Exception) -> str:
    return str(getattr(error, "orig", None) or error).strip().splitlines()[0]
