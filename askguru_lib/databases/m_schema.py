"""M-Schema: a database written as text for a model, and read back without loss.

The format is that of the published M-Schema package (XGenerationLab, 2024)::

    【DB_ID】 shop
    【Schema】
    # Table: orders, one row per order
    [
    (id:INTEGER, order number, Primary Key, Examples: [1, 2, 3]),
    (placed_on:DATE, Examples: [2024-01-31])
    ]
    【Foreign keys】
    orders.customer_id=customers.id

A name, comment or value that would make a line ambiguous (a comma in a comment, a line break in a value) is written
as a JSON string; everything else stands as it is. That is what makes the text readable *and* lossless.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from askguru_lib.errors import DataError

if TYPE_CHECKING:
    from askguru_lib.databases.fitting import Fitted

FIRST_EXAMPLE_ONLY = ("DATE", "TIME", "DATETIME", "TIMESTAMP")
LONG_EXAMPLE, HIDDEN_EXAMPLE = 20, 50
_PLAIN_NAME = re.compile(r"[^\s\"(),.:=\[\]#【】](?:[^\"(),.:=\[\]【】\r\n\t]*[^\s\"(),.:=\[\]【】])?")
_PLAIN_TEXT = re.compile(r"[^\s\",()\[\]](?:[^\",()\[\]\r\n\t\x0b\x0c\x1c-\x1e\x85\u2028\u2029]*[^\s\",()\[\]])?")
_PLAIN_TYPE = re.compile(r"\w[\w ]*(?:\([\w ,.'-]*\))?[\w ]*")
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"')


class MSchema:
    """A database's tables, columns, comments, example values and foreign keys.

    Attributes:
        tables: ``{table: {"comment": str, "unique": [[column, …], …], "fields": {column: {"type", "primary_key",
            "nullable", "default", "comment", "examples", "category", "dim_or_meas"}}}}``; ``unique`` lists the column
            sets besides the primary key of which no two rows share their values.
        foreign_keys: ``[table, column, referred schema or None, referred table, referred column]`` each.
    """

    def __init__(self, db_id: str = "Anonymous", schema: str | None = None) -> None:
        self.db_id = db_id
        self.schema = schema
        self.tables: dict[str, dict[str, Any]] = {}
        self.foreign_keys: list[list[str | None]] = []

    def __repr__(self) -> str:
        columns = sum(len(t["fields"]) for t in self.tables.values())
        return f"MSchema({self.db_id!r}: {len(self.tables)} tables, {columns} columns, {len(self.foreign_keys)} keys)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, MSchema) and self.dump() == other.dump()

    __hash__ = None  # type: ignore[assignment]

    def add_table(self, name: str, fields: dict[str, dict[str, Any]] | None = None, comment: str | None = "") -> None:
        """Add a table; ``fields`` as in :attr:`tables`."""
        self.tables[name] = {"comment": comment or "", "unique": [], "fields": dict(fields or {})}

    def add_field(
        self,
        table: str,
        column: str,
        field_type: str = "",
        primary_key: bool = False,
        nullable: bool = True,
        default: str | None = None,
        comment: str | None = "",
        examples: Iterable[Any] = (),
        category: str = "",
        dim_or_meas: str = "",
    ) -> None:
        """Add a column to a table that is already there; example values are kept as text, NULLs are left out."""
        self.tables[table]["fields"][column] = {
            "type": field_type,
            "primary_key": primary_key,
            "nullable": nullable,
            "default": default if default is None else str(default),
            "comment": comment or "",
            "examples": [str(e) for e in examples if e is not None],
            "category": category,
            "dim_or_meas": dim_or_meas,
        }

    def add_foreign_key(self, table: str, column: str, ref_schema: str | None, ref_table: str, ref_column: str) -> None:
        """Add ``table.column = [ref_schema.]ref_table.ref_column``."""
        self.foreign_keys.append([table, column, ref_schema, ref_table, ref_column])

    def columns(self) -> Iterator[tuple[str, str, dict[str, Any]]]:
        """Every (table, column, properties)."""
        for table, info in self.tables.items():
            for column, field in info["fields"].items():
                yield table, column, field

    def copy(self) -> MSchema:
        """A deep copy."""
        return copy.deepcopy(self)

    # -- text ---------------------------------------------------------------------------------------------------

    def to_mschema(
        self,
        selected_tables: Sequence[str] | None = None,
        selected_columns: Sequence[str] | None = None,
        example_num: int = 3,
        show_type_detail: bool = False,
    ) -> str:
        """The text that a prompt shows.

        Args:
            selected_tables: only these tables (case-insensitive).
            selected_columns: only these columns, as ``table.column`` (case-insensitive).
            example_num: example values per column at most.
            show_type_detail: print ``VARCHAR(20)`` rather than ``VARCHAR``.
        """
        wanted_tables = None if selected_tables is None else {t.lower() for t in selected_tables}
        wanted_columns = None if selected_columns is None else {c.lower() for c in selected_columns}
        lines = [f"【DB_ID】 {_quote(self.db_id, _PLAIN_TEXT)}", "【Schema】"]
        shown: set[tuple[str, str]] = set()
        for table, info in self.tables.items():
            if wanted_tables is not None and table.lower() not in wanted_tables:
                continue
            fields = {
                column: field
                for column, field in info["fields"].items()
                if wanted_columns is None or f"{table}.{column}".lower() in wanted_columns
            }
            if wanted_columns is not None and not fields:
                continue
            shown.update((table, column) for column in fields)
            lines.append(self._table_line(table, info["comment"]))
            body = [_field_line(c, f, example_num, show_type_detail) for c, f in fields.items()]
            lines.append("[\n" + ",\n".join(body) + "\n]" if body else "[\n]")
        keys = [k for k in self.foreign_keys if self._key_is_shown(k, shown)]
        if keys:
            lines.append("【Foreign keys】")
            lines += [self._key_line(k) for k in keys]
        return "\n".join(lines)

    def fit(self, max_tokens: int, question: str | None = None, **options: Any) -> Fitted:
        """This schema in at most ``max_tokens`` tokens: see :func:`askguru_lib.databases.fitting.fit`."""
        from askguru_lib.databases.fitting import fit

        return fit(self, max_tokens, question, **options)

    def _table_line(self, table: str, comment: str) -> str:
        name = printed_name(table)
        if self.schema:
            name = f"{printed_name(self.schema)}.{name}"
        return f"# Table: {name}" + (f", {_quote(comment, _PLAIN_TEXT)}" if comment else "")

    def _key_is_shown(self, key: list[str | None], shown: set[tuple[str, str]]) -> bool:
        table, column, ref_schema, ref_table, ref_column = key
        here = ref_schema is None or ref_schema == self.schema
        return (table, column) in shown and (not here or (ref_table, ref_column) in shown)

    def _key_line(self, key: list[str | None]) -> str:
        table, column, ref_schema, ref_table, ref_column = key
        left = [table, column]
        right = [ref_table, ref_column] if ref_schema in (None, self.schema) else [ref_schema, ref_table, ref_column]
        return "=".join(".".join(printed_name(str(p)) for p in side) for side in (left, right))

    @classmethod
    def from_text(cls, text: str) -> MSchema:
        """Read what :meth:`to_mschema` printed.

        Raises:
            DataError: a line is not M-Schema; the message gives its number and text.
        """
        schema = cls()
        section, table = "", ""
        for number, line in enumerate(text.split("\n"), 1):
            try:
                if line.startswith("【DB_ID】"):
                    schema.db_id = _unquote(line.removeprefix("【DB_ID】").strip(" "))
                elif line in ("【Schema】", "【Foreign keys】"):
                    section = line
                elif section == "【Foreign keys】":
                    if line.strip():
                        schema._read_key(line)
                elif line.startswith("# Table: "):
                    table = schema._read_table(line.removeprefix("# Table: "))
                elif line.startswith("("):
                    name, field = _read_field(line)
                    schema.tables[table]["fields"][name] = field
                elif line.strip() not in ("", "[", "]"):
                    raise ValueError("expected a table, a column in brackets, or a section")
            except (ValueError, KeyError, IndexError) as e:
                raise DataError(
                    f"not M-Schema ({e}): {line[:120]!r}", where=f"line {number}", hint="see MSchema.to_mschema"
                ) from e
        return schema

    def _read_table(self, rest: str) -> str:
        head, *comment = _split(rest, ", ")
        parts = [_unquote(p) for p in _split(head, ".")]
        if len(parts) == 2:
            self.schema = parts[0]
        self.add_table(parts[-1], comment=_unquote(comment[0]) if comment else "")
        return parts[-1]

    def _read_key(self, line: str) -> None:
        left, right = ([_unquote(p) for p in _split(side, ".")] for side in _split(line, "="))
        ref_schema = right[0] if len(right) == 3 else self.schema
        self.add_foreign_key(left[-2], left[-1], ref_schema, right[-2], right[-1])

    # -- files --------------------------------------------------------------------------------------------------

    def dump(self) -> dict[str, Any]:
        """A JSON-ready mapping."""
        return {"db_id": self.db_id, "schema": self.schema, "tables": self.tables, "foreign_keys": self.foreign_keys}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> MSchema:
        """Inverse of :meth:`dump`."""
        schema = cls(data.get("db_id", "Anonymous"), data.get("schema"))
        schema.tables = copy.deepcopy(data["tables"])
        schema.foreign_keys = [list(k) for k in data["foreign_keys"]]
        return schema

    def save(self, file_path: str | Path) -> None:
        """Write :meth:`dump` as JSON."""
        path = Path(file_path)
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(path.name + ".part")
        part.write_text(json.dumps(self.dump(), ensure_ascii=False, indent=1), encoding="utf-8")
        part.replace(path)

    @classmethod
    def load(cls, file_path: str | Path) -> MSchema:
        """Read a file that :meth:`save` wrote.

        Raises:
            DataError: the file is not a saved M-Schema.
        """
        try:
            return cls.from_dict(json.loads(Path(file_path).read_text(encoding="utf-8")))
        except (OSError, ValueError, KeyError, TypeError) as e:
            raise DataError(f"not a saved M-Schema ({e})", where=str(file_path), hint="make it with chapter 02") from e


def shown_examples(field: dict[str, Any], example_num: int) -> list[str]:
    """The example values that M-Schema prints for a column, by the published rules."""
    examples: list[str] = field["examples"][: max(example_num, 0)]
    if examples and _type_name(field["type"]) in FIRST_EXAMPLE_ONLY:
        examples = examples[:1]
    longest = max((len(e) for e in examples), default=0)
    if longest > HIDDEN_EXAMPLE:
        return []
    return examples[:1] if longest > LONG_EXAMPLE else examples


def printed_name(name: str) -> str:
    """A table's or column's name as M-Schema prints it: as it is, or quoted where a mark in it would be misread."""
    return _quote(name, _PLAIN_NAME)


def _type_name(raw: str) -> str:
    return raw.split("(")[0].strip().upper()


def _field_line(column: str, field: dict[str, Any], example_num: int, show_type_detail: bool) -> str:
    head, *detail = str(field["type"]).partition("(")  # in the bracket, an enumeration's values keep their case
    kind = head.upper() + "".join(detail) if show_type_detail else head.strip().upper()
    parts = [f"{printed_name(column)}:{_quote(kind, _PLAIN_TYPE)}"]
    if field["comment"]:
        comment = field["comment"]
        plain = comment != "Primary Key" and not comment.startswith("Examples:")
        parts.append(_quote(comment, _PLAIN_TEXT) if plain else json.dumps(comment, ensure_ascii=False))
    if field["primary_key"]:
        parts.append("Primary Key")
    if examples := shown_examples(field, example_num):
        parts.append("Examples: [" + ", ".join(_quote(e, _PLAIN_TEXT) for e in examples) + "]")
    return "(" + ", ".join(parts) + ")"


def _read_field(line: str) -> tuple[str, dict[str, Any]]:
    inner = line.removesuffix(",")
    if not inner.endswith(")"):
        raise ValueError("the bracket is not closed")
    head, *rest = _split(inner[1:-1], ", ")
    name, kind = _split(head, ":")
    holder = MSchema()
    holder.add_table("t")
    comment, primary, examples = "", False, []
    for part in rest:
        if part == "Primary Key":
            primary = True
        elif part.startswith("Examples: [") and part.endswith("]"):
            body = part[len("Examples: [") : -1]
            examples = [_unquote(e) for e in _split(body, ", ")] if body else []
        else:
            comment = _unquote(part)
    holder.add_field("t", _unquote(name), _unquote(kind), primary, comment=comment, examples=examples)
    return next(iter(holder.tables["t"]["fields"].items()))


def _quote(text: str, plain: re.Pattern[str]) -> str:
    if plain.fullmatch(text):
        return text
    # Line separators that JSON leaves as they are would still break a line apart.
    return re.sub("[\x7f-\xa0\u2028\u2029]", lambda m: f"\\u{ord(m[0]):04x}", json.dumps(text, ensure_ascii=False))


def _unquote(text: str) -> str:
    return json.loads(text) if text.startswith('"') else text


def _split(text: str, separator: str) -> list[str]:
    """Split at ``separator`` outside of JSON strings and brackets."""
    parts, depth, start, i = [], 0, 0, 0
    while i < len(text):
        if text[i] == '"':
            match = _TOKEN.match(text, i)
            if match is None:
                raise ValueError("a quotation mark is not closed")
            i = match.end()
            continue
        if text[i] in "([":
            depth += 1
        elif text[i] in ")]":
            depth -= 1
        elif depth == 0 and text.startswith(separator, i):
            parts.append(text[start:i])
            i += len(separator)
            start = i
            continue
        i += 1
    return [*parts, text[start:]]
