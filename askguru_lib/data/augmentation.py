"""One example becomes many, safely: operations on a sample, each with an invariant.

========================  ==================================================================================
``SchemaShuffle``         the same tables, columns and keys in another order
``SchemaFilter``          a smaller schema in which the gold still runs
``SchemaVariants``        these two, drawn a few times per database instead of once per sample
``SchemaPermute``         the same schema under other labels and spacing
``SQLTranslate``          another query with the same result
========================  ==================================================================================

Operations work on the M-Schema object and on the SQL tree, never on text; they are pure and draw only from the
generator they are given, so one seed makes one output.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Protocol

from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.optimizer.qualify import qualify
from sqlglot.optimizer.scope import traverse_scope
from sqlglot.schema import MappingSchema

from askguru_lib.config import AugmentationConfig
from askguru_lib.data.equivalence import translations
from askguru_lib.data.trees import SQLGLOT_DIALECTS, parse
from askguru_lib.databases.m_schema import MSchema

ALL_EXAMPLES = 1_000
_LABEL = re.compile(r'"(?:[^"\\]|\\.)*"|, Primary Key(?=[,)])|, Examples: \[')


@dataclass(frozen=True)
class Layout:
    """How an M-Schema is labelled and spaced; the default is the published format."""

    database: str = "【DB_ID】"
    schema: str = "【Schema】"
    table: str = "# Table:"
    keys: str = "【Foreign keys】"
    primary_key: str = "Primary Key"
    examples: str = "Examples:"
    brackets: bool = True
    indent: str = ""
    gap: str = ""
    keys_first: bool = False

    def apply(self, text: str) -> str:
        """Relabel what :meth:`MSchema.to_mschema` printed; names, comments and values are not touched."""
        head, _, rest = text.partition("\n【Schema】")
        body, _, keys = rest.partition("\n【Foreign keys】\n")
        parts = [self.schema, *(self._line(line) for line in body.strip("\n").split("\n"))]
        tables = "\n".join(p for p in parts if p is not None)
        shown_keys = f"{self.keys}\n{keys}" if keys else ""
        sections = [head.replace("【DB_ID】", self.database, 1), tables, shown_keys]
        if self.keys_first:
            sections[1:] = reversed(sections[1:])
        return "\n".join(s for s in sections if s)

    def _line(self, line: str) -> str | None:
        if line.startswith("# Table: "):
            return self.gap + self.table + line.removeprefix("# Table:")
        if line.startswith("("):
            return self.indent + _LABEL.sub(self._label, line)
        return line if self.brackets else None

    def _label(self, match: re.Match[str]) -> str:
        if match[0].startswith('"'):
            return match[0]
        return f", {self.primary_key}" if match[0] == ", Primary Key" else f", {self.examples} ["


@dataclass(frozen=True)
class Sample:
    """One question on one database, before it becomes a prompt."""

    mschema: MSchema
    sql: str
    question: str
    evidence: str = ""
    dialect: str = "sqlite"
    db_name: str = ""
    layout: Layout = Layout()

    @classmethod
    def from_record(cls, record: dict[str, Any], dialect: str | None = None) -> Sample:
        """Read a processed record (``db_schema`` is M-Schema text).

        Raises:
            DataError: the schema is not M-Schema.
        """
        return cls(
            mschema=read_schema(record["db_schema"]),
            sql=record["sql"],
            question=record["question"],
            evidence=record.get("evidence") or "",
            dialect=dialect or record.get("sql_type") or "sqlite",
            db_name=record["db_name"],
        )

    @property
    def db_schema(self) -> str:
        """The schema as the prompt shows it; everything that the M-Schema holds is printed."""
        text = self.mschema.to_mschema(example_num=ALL_EXAMPLES, show_type_detail=True)
        return text if self.layout == Layout() else self.layout.apply(text)


@lru_cache(maxsize=1024)
def read_schema(db_schema: str) -> MSchema:
    """The M-Schema of a prompt's text, shared by all records with that text since operations never change it.

    Raises:
        DataError: the text is not M-Schema.
    """
    return MSchema.from_text(db_schema)


class Op(Protocol):
    """What every operation is: a pure function of a sample and a random generator."""

    def __call__(self, sample: Sample, rng: random.Random) -> Sample: ...


class SQLRunner(Protocol):
    """The part of ``databases.executor.Executor`` that verifying a translation needs."""

    def run(self, db_id: str, sql: str) -> Any: ...


@dataclass(frozen=True)
class SchemaShuffle:
    """Reorder tables, the columns of each table, and keys, each with its own probability."""

    p_tables: float = 0.5
    p_columns: float = 0.3
    p_keys: float = 0.2

    def __call__(self, sample: Sample, rng: random.Random) -> Sample:
        old = sample.mschema
        tables = _shuffled(old.tables, rng, self.p_tables)
        columns = {t: _shuffled(old.tables[t]["fields"], rng, self.p_columns) for t in tables}
        keys = _shuffled(range(len(old.foreign_keys)), rng, self.p_keys)
        return replace(sample, mschema=_restricted(old, columns, [old.foreign_keys[k] for k in keys]))


@dataclass(frozen=True)
class SchemaFilter:
    """Drop tables and columns that the gold does not need.

    What the gold reads always stays, and so do the primary keys of the tables that stay and the foreign keys between
    tables that the gold reads. A gold that cannot be resolved against the schema keeps everything.
    """

    keep_table: float = 0.8
    keep_column: float = 0.7

    def __call__(self, sample: Sample, rng: random.Random) -> Sample:
        old = sample.mschema
        needed = needed_columns(sample.sql, old, sample.dialect)
        if needed is None:
            return sample
        for table, column, _, ref_table, ref_column in old.foreign_keys:
            if table in needed and ref_table in needed:
                needed[str(table)].add(str(column))
                needed[str(ref_table)].add(str(ref_column))
        columns: dict[str, list[str]] = {}
        for table, info in old.tables.items():
            if table not in needed and rng.random() >= self.keep_table:
                continue
            must = needed.get(table, set())
            kept = [
                c for c, f in info["fields"].items() if c in must or f["primary_key"] or rng.random() < self.keep_column
            ]
            if kept or table in needed:
                columns[table] = kept or list(info["fields"])[:1]
        return replace(sample, mschema=_restricted(old, columns, old.foreign_keys))


@dataclass(frozen=True)
class SchemaVariants:
    """Filter and shuffle, but only ``count`` times for each database: samples on one variant begin alike.

    Training reads the schema of samples that begin alike once for all of them (``training.samples_per_row``). The first
    variant is complete; a sample gets one of those that hold what its gold needs. ``seed`` and the schema decide what
    the variants are.
    """

    count: int
    filter: SchemaFilter
    shuffle: SchemaShuffle
    seed: int = 0

    def __call__(self, sample: Sample, rng: random.Random) -> Sample:
        needed = needed_columns(sample.sql, sample.mschema, sample.dialect)
        if needed is None:
            return self.shuffle(sample, rng)
        fitting = [
            v
            for v in _variants(self, replace(sample, layout=Layout()).db_schema)
            if all(t in v.tables and columns <= v.tables[t]["fields"].keys() for t, columns in needed.items())
        ]
        return replace(sample, mschema=rng.choice(fitting))


@lru_cache(maxsize=256)
def _variants(op: SchemaVariants, db_schema: str) -> tuple[MSchema, ...]:
    made = []
    for number in range(op.count):
        rng = random.Random(f"{op.seed}/{db_schema}/{number}")
        whole = op.shuffle(Sample(read_schema(db_schema), "SELECT 1", ""), rng)
        made.append((op.filter(whole, rng) if number else whole).mschema)
    return tuple(made)


@dataclass(frozen=True)
class SchemaPermute:
    """With probability ``p``, print the schema under other labels, spacing and section order."""

    p: float = 0.1

    def __call__(self, sample: Sample, rng: random.Random) -> Sample:
        if rng.random() >= self.p:
            return sample
        layout = Layout(
            database=rng.choice(("【DB_ID】", "【Database】", "Database:", "-- Database:")),
            schema=rng.choice(("【Schema】", "【Tables】", "Schema:", "-- Schema")),
            table=rng.choice(("# Table:", "Table:", "## Table", "-- Table:")),
            keys=rng.choice(("【Foreign keys】", "【Joins】", "Foreign keys:", "-- Foreign keys")),
            primary_key=rng.choice(("Primary Key", "PK", "primary key")),
            examples=rng.choice(("Examples:", "Values:", "e.g.")),
            brackets=rng.random() < 0.5,
            indent=rng.choice(("", "  ", "    ")),
            gap=rng.choice(("", "\n")),
            keys_first=rng.random() < 0.25,
        )
        return replace(sample, layout=layout)


@dataclass(frozen=True)
class SQLTranslate:
    """With probability ``p``, replace the gold by an equivalent query.

    Args:
        p: the probability.
        executor: when given, a form is used only if it returns what the gold returns on ``sample.db_name``.
        rules: names of ``data.equivalence.RULES`` to use; all by default.
    """

    p: float = 0.1
    executor: SQLRunner | None = None
    rules: tuple[str, ...] | None = None

    def __call__(self, sample: Sample, rng: random.Random) -> Sample:
        if rng.random() >= self.p:
            return sample
        by_rule: dict[str, list[str]] = {}
        for rule, sql in translations(sample.sql, sample.mschema, sample.dialect):
            if self.rules is None or rule in self.rules:
                by_rule.setdefault(rule, []).append(sql)
        # A rule that applies in many places is not drawn more often than one that applies once.
        for rule in rng.sample(sorted(by_rule), len(by_rule)):
            for sql in rng.sample(by_rule[rule], len(by_rule[rule])):
                if self.executor is None or same_result(self.executor, sample.db_name, sample.sql, sql):
                    return replace(sample, sql=sql)
        return sample


@dataclass(frozen=True)
class AugCompose:
    """Apply operations one after another."""

    ops: Sequence[Op] = ()

    @classmethod
    def from_config(cls, config: AugmentationConfig, executor: SQLRunner | None = None, seed: int = 0) -> AugCompose:
        """The four operations with a run's probabilities; the translated query decides what the filter must keep."""
        kept = SchemaFilter(config.keep_table, config.keep_column)
        shuffled = SchemaShuffle(config.shuffle_tables, config.shuffle_columns, config.shuffle_keys)
        few: tuple[Op, ...] = (SchemaVariants(config.schema_variants, kept, shuffled, seed),)
        schema: tuple[Op, ...] = few if config.schema_variants else (kept, shuffled)
        return cls((SQLTranslate(config.translate, executor), *schema, SchemaPermute(config.permute)))

    def __call__(self, sample: Sample, rng: random.Random) -> Sample:
        for op in self.ops:
            sample = op(sample, rng)
        return sample


def same_result(executor: SQLRunner, db_id: str, sql: str, other: str) -> bool:
    """Both queries run and return the same rows, in the same order where the first asks for one."""
    one, two = executor.run(db_id, sql), executor.run(db_id, other)
    if not (one.ok and two.ok) or one.truncated or two.truncated:
        return False
    if re.search(r"\border\s+by\b", sql, re.IGNORECASE):
        return list(one.rows) == list(two.rows)
    return Counter(one.rows) == Counter(two.rows)


# -- what a query reads -------------------------------------------------------------------------------------------


def needed_columns(sql: str, mschema: MSchema, dialect: str = "sqlite") -> dict[str, set[str]] | None:
    """Tables and columns that a query reads, through aliases, ``SELECT *``, CTEs and subqueries.

    Returns:
        ``{table: columns}`` spelt as in the M-Schema; a table that is only counted has no columns. None when the query
        cannot be resolved against the schema.
    """
    names = tuple(sorted((t, tuple(sorted(info["fields"]))) for t, info in mschema.tables.items()))
    found = _needed(sql, dialect, names)
    return None if found is None else {table: set(columns) for table, columns in found}


@lru_cache(maxsize=50_000)
def _needed(
    sql: str, dialect: str, names: tuple[tuple[str, tuple[str, ...]], ...]
) -> tuple[tuple[str, tuple[str, ...]], ...] | None:
    tree = parse(sql, dialect)
    if tree is None or any(j.method for j in tree.find_all(exp.Join)):
        return None
    spelling: dict[tuple[str, str], set[tuple[str, str]]] = {}
    for table, columns in names:
        for column in (*columns, ""):
            spelling.setdefault((table.lower(), column.lower()), set()).add((table, column))
    ctes = {c.alias.lower() for c in tree.find_all(exp.CTE)}
    _fold_case(tree)
    tables = {t.name for t in tree.find_all(exp.Table)} - ctes
    if any((t, "") not in spelling for t in tables):
        return None
    lower: dict[str, object] = {t.lower(): {c.lower(): "unknown" for c in columns} for t, columns in names}
    name = f"{SQLGLOT_DIALECTS[dialect]}, normalization_strategy=case_sensitive"
    read = {(t, "") for t in tables}
    try:
        resolved = qualify(tree, dialect=name, schema=MappingSchema(lower, dialect=name, normalize=False))
        for scope in traverse_scope(resolved):
            for node in scope.columns:
                source = scope.sources.get(node.table)
                if isinstance(source, exp.Table):
                    read.add((source.name, node.name))
    except (SqlglotError, KeyError, ValueError, RecursionError):
        return None
    needed: dict[str, set[str]] = {}
    for place in read:
        for table, field in spelling.get(place, ()):
            needed.setdefault(table, set()).update([field] if field else [])
    return tuple((t, tuple(sorted(c))) for t, c in sorted(needed.items()))


def _fold_case(tree: exp.Expr) -> None:
    """Lower-case and quote every name and drop schema prefixes, so that one rule of case holds in every dialect."""
    for node in tree.find_all(exp.Table, exp.Column):
        node.set("db", None)
        node.set("catalog", None)
    for name in tree.find_all(exp.Identifier):
        name.set("this", name.this.lower())
        name.set("quoted", True)


def _shuffled(items: Iterable[Any], rng: random.Random, p: float) -> list[Any]:
    out = list(items)
    if rng.random() < p:
        rng.shuffle(out)
    return out


def _restricted(old: MSchema, columns: dict[str, list[str]], keys: Iterable[list[str | None]]) -> MSchema:
    """A new M-Schema with these tables and columns in this order, and those of the keys whose ends are both there."""
    new = MSchema(old.db_id, old.schema)
    for table, names in columns.items():
        fields = old.tables[table]["fields"]
        new.tables[table] = {**old.tables[table], "fields": {c: fields[c] for c in names}}
    for key in keys:
        elsewhere = key[2] not in (None, old.schema)
        if key[1] in columns.get(str(key[0]), ()) and (elsewhere or key[4] in columns.get(str(key[3]), ())):
            new.foreign_keys.append(list(key))
    return new
