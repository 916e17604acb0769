"""TypeEngine: what kind of thing a column holds, by rules on its type, its name and some of its values."""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Literal

FieldCategory = Literal["Number", "String", "DateTime", "Bool", "Other"]
Category = Literal["Code", "Enum", "DateTime", "Text", "Measure"]
Role = Literal["Dimension", "Measure"]

_BOOL = ("BOOL", "BIT")
_DATETIME = ("DATE", "TIME", "YEAR", "INTERVAL")
_NUMBER = ("INT", "NUM", "DEC", "FLOAT", "DOUBLE", "REAL", "MONEY", "SERIAL")
_STRING = ("CHAR", "TEXT", "CLOB", "STRING", "ENUM", "SET", "UUID", "ROWID", "CITEXT", "NAME")
_OTHER = ("BLOB", "BYTEA", "BINARY", "JSON", "XML", "GEO", "POINT", "VECTOR", "[]", "STRUCT", "MAP", "RAW", "POLYGON")

_CODE_WORDS = {"id", "ids", "code", "cd", "key", "no", "nr", "uuid", "guid", "zip", "postcode", "isbn", "iata", "sku"}
_CODE_WORDS |= {"number", "num", "ref", "plate", "serial"}
_ENUM_WORDS = {"status", "state", "st", "type", "typ", "kind", "flag", "category", "class", "grade"}
_ENUM_WORDS |= {"level", "priority", "gender", "sex", "severity", "mode"}
_YEAR_WORDS = {"year", "yr"}
_DATE_VALUE = re.compile(r"\d{4}-\d{2}(-\d{2}([ T]\d{2}:\d{2}(:\d{2}(\.\d+)?)?)?)?|\d{1,2}[./]\d{1,2}[./]\d{2,4}")
_TIME_VALUE = re.compile(r"\d{1,2}:\d{2}(:\d{2})?")
_CODE_VALUE = re.compile(r"[A-Z0-9][A-Z0-9_./:-]{0,23}")

ENUM_VALUES, ENUM_LENGTH = 20, 30
"""An enumeration has at most so many values, each at most so many characters long."""


class TypeEngine:
    """Classifies columns; every rule is deterministic."""

    def field_category(self, field_type: str) -> FieldCategory:
        """The broad family of a database type, whatever the engine calls it.

        Args:
            field_type: a type as the engine prints it, e.g. ``NUMERIC(10, 2)``.
        """
        name = field_type.split("(")[0].strip().upper() + ("[]" if field_type.endswith("]") else "")
        families: list[tuple[FieldCategory, tuple[str, ...]]] = [
            ("Other", _OTHER),
            ("Bool", _BOOL),
            ("DateTime", _DATETIME),
            ("String", _STRING),
            ("Number", _NUMBER),
        ]
        if name == "TINYINT" and field_type.replace(" ", "").endswith("(1)"):
            return "Bool"
        if name in ("BINARY_FLOAT", "BINARY_DOUBLE"):
            return "Number"
        return next((family for family, marks in families if any(mark in name for mark in marks)), "Other")

    def category(
        self,
        field_type: str,
        name: str = "",
        values: Sequence[Any] = (),
        *,
        comment: str = "",
        is_key: bool = False,
    ) -> Category:
        """How a question would use the column.

        Args:
            field_type: the database type.
            name: the column's name.
            values: some non-NULL values as they come, repetitions included; what repeats is an enumeration.
            comment: what people say of it; its first word speaks where the name is cryptic.
            is_key: part of the primary key or of a foreign key.
        """
        family, words = self.field_category(field_type), _words(name)
        if family == "DateTime":
            return "DateTime"
        if is_key:
            return "Code"
        if family == "Bool":
            return "Enum"
        if family == "Number":
            return _number_category(words, _words(comment)[:1], values)
        if family == "String" or values:
            return _string_category(words, [str(v) for v in values])
        return "Text"

    def dim_or_meas(self, category: Category) -> Role:
        """What is counted and summed is a measure; what it is grouped and filtered by, a dimension."""
        return "Measure" if category == "Measure" else "Dimension"


def _words(name: str) -> list[str]:
    """``eventTypeCd`` → event, type, cd."""
    return [w.lower() for w in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W\d_a-zA-Z]+", name)]


def _number_category(words: list[str], remark: list[str], values: Sequence[Any]) -> Category:
    last = words[-1] if words else ""
    if not all(float(v).is_integer() for v in set(values) if isinstance(v, float | Decimal)):
        return "Measure"
    if last in _YEAR_WORDS:
        return "DateTime"
    if last in _CODE_WORDS:
        return "Code"
    if not _ENUM_WORDS.isdisjoint([last, *remark]) and (not values or len(set(values)) <= ENUM_VALUES):
        return "Enum"
    return "Measure"


def _string_category(words: list[str], values: list[str]) -> Category:
    distinct = set(values)
    last = words[-1] if words else ""
    if not values:
        return "Code" if last in _CODE_WORDS else "Enum" if last in _ENUM_WORDS else "Text"
    if all(_DATE_VALUE.fullmatch(v) for v in distinct) or all(_TIME_VALUE.fullmatch(v) for v in distinct):
        return "DateTime"
    short = max(map(len, distinct)) <= ENUM_LENGTH
    repeats = len(distinct) <= ENUM_VALUES and len(values) >= 5 * len(distinct)
    if short and (repeats or (last in _ENUM_WORDS and len(distinct) <= ENUM_VALUES)):
        return "Enum"
    coded = all(_CODE_VALUE.fullmatch(v) for v in distinct)
    if coded and (last in _CODE_WORDS or any(c.isdigit() for v in distinct for c in v)):
        return "Code"
    return "Text"
