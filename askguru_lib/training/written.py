"""Hand-written questions about small databases made for them: beside the grammar's, the other half of what the base
model reads.

A grammar's sentences are endless and alike; these were written one by one, few and as different as people ask. Each
file in ``questions/`` is one database with its rows, and queries with several ways to ask for each. None is a database
of the book. To be read more than once they come in new clothes every time: other names, fewer columns, another order,
other values and years.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from importlib import resources
from typing import Any, TypeVar

from sqlglot import exp
from transformers import PreTrainedTokenizerBase

from askguru_lib.data import phrasing
from askguru_lib.data.grammar import Pair, identifier, is_number_type
from askguru_lib.data.prompts import build_prompt
from askguru_lib.data.trees import bound_column, fields_of, is_known, parse, render, source_name, sources_of
from askguru_lib.databases.m_schema import MSchema
from askguru_lib.databases.values import ValueIndex
from askguru_lib.errors import DataError
from askguru_lib.training.corpus import (
    VALUES_KNOWN,
    Asked,
    Document,
    PaperDatabase,
    Task,
    draw_skips,
    pack,
    refinement,
    selection,
)
from askguru_lib.training.one_way import one_way
from askguru_lib.training.random_schemas import STYLES
from askguru_lib.training.wishes import with_a_wish

Tree = TypeVar("Tree", bound=exp.Expr)
KEPT = 0.4
"""Share of documents whose names stay as they were written."""
SWAPPED = 0.5
"""Of the values, years and numbers that a question says: how many become others."""
BESIDE = 0.12
"""Questions with a filler before them, and questions without their last mark."""
WISHES = 0.35
"""Questions that get one more wish, where one fits."""
FEWEST = 4
"""Questions of a document; another is drawn where even these have no room."""
ROUND = {12, 24, 30, 52, 60, 90, 100, 365, 1000}
"""Numbers that may say a unit and not how many."""


@dataclass(frozen=True)
class WrittenPair:
    """A query and several questions that it answers."""

    sql: str
    evidence: str
    questions: tuple[str, ...]


@dataclass(frozen=True)
class WrittenDatabase:
    """A database, the rows of its tables, and what was asked of it."""

    schema: MSchema
    rows: Mapping[str, Sequence[Sequence[Any]]]
    pairs: tuple[WrittenPair, ...]

    @cached_property
    def weight(self) -> int:
        """How often it is drawn: as its queries are many and long, for long ones take more practice."""
        return sum(len(pair.sql) for pair in self.pairs)

    @property
    def cryptic(self) -> bool:
        """Whether its names are codes rather than words."""
        names = [column for _, column, _ in self.schema.columns()]
        return sum(map(phrasing.looks_cryptic, names)) > len(names) / 3


@cache
def written_databases() -> tuple[WrittenDatabase, ...]:
    """All of them, by name.

    Raises:
        DataError: names the file and what it lacks.
    """
    folder = resources.files("askguru_lib.training") / "questions"
    files = sorted((f for f in folder.iterdir() if f.name.endswith(".json")), key=lambda f: f.name)
    return tuple(read_written(f.name, f.read_text(encoding="utf-8")) for f in files)


def read_written(file: str, text: str) -> WrittenDatabase:
    """The database of one file: ``{"db_id", "tables": [{"name", "comment", "columns", "rows"}], "pairs": [{"SQL",
    "evidence", "questions"}]}``; a column is ``[name, type, comment, "PK FK table.column"]``, flags as they apply.

    Raises:
        DataError: it is not; names the file and the place in it.
    """
    place = "the top"
    try:
        record = json.loads(text)
        schema, rows = MSchema(record["db_id"]), {}
        for table in record["tables"]:
            place = f"table {table['name']}"
            schema.add_table(table["name"], comment=table["comment"])
            rows[table["name"]] = table["rows"]
            for number, (column, sql_type, comment, flags) in enumerate(table["columns"]):
                values = dict.fromkeys(row[number] for row in table["rows"] if row[number] is not None)
                schema.add_field(table["name"], column, sql_type, "PK" in flags.split(), comment=comment,
                                 examples=values)  # fmt: skip
                if refers := re.search(r"FK (.+)\.([^.]+)$", flags):
                    schema.add_foreign_key(table["name"], column, None, refers[1], refers[2])
        pairs = []
        for number, pair in enumerate(record["pairs"]):
            place = f"pair {number}"
            pairs.append(WrittenPair(pair["SQL"], pair["evidence"], tuple(pair["questions"])))
    except (ValueError, KeyError, TypeError, IndexError) as e:
        raise DataError(f"not a database with questions: {type(e).__name__} {e}", where=f"{file}, {place}") from e
    return WrittenDatabase(schema, rows, tuple(pairs))


@dataclass(frozen=True)
class Names:
    """New names of tables and columns; a column name that several tables have stays the same in all.

    Attributes:
        opaque: words have become abbreviations or codes, so that comments must say them.
    """

    tables: Mapping[str, str]
    columns: Mapping[str, str]
    opaque: bool = False

    def in_tree(self, tree: Tree) -> Tree:
        """A query, or a part of one, with the new names."""
        new = tree.copy()
        own = {cte.alias for cte in new.find_all(exp.CTE)}
        for node in list(new.find_all(exp.Table, exp.Column, exp.Alias)):
            if isinstance(node, exp.Table):
                if node.name not in own and node.name in self.tables:
                    node.set("this", identifier(self.tables[node.name]))
                continue
            if isinstance(node, exp.Column) and node.table in self.tables and node.table not in own:
                node.set("table", identifier(self.tables[node.table]))
            part = "this" if isinstance(node, exp.Column) else "alias"
            name = node.name if part == "this" else node.alias
            if name in self.columns and not isinstance(node.args[part], exp.Star):
                node.set(part, identifier(self.columns[name]))
        return new

    def in_text(self, text: str) -> str:
        """An evidence with the new names where it has the old ones, which a word of the language alone is not."""
        for old, new in sorted({**self.tables, **self.columns}.items(), key=lambda n: -len(n[0])):
            if old == new:
                continue
            code = "_" in old or re.search(r"[a-z][A-Z]|\d", old) or (old.isupper() and len(old) > 1)
            behind = "" if code else r"(?=\s*(?:=|<|>|!=|\*|/|\+|IS\b|IN\b|LIKE\b|BETWEEN\b))"
            text = re.sub(rf"(?<!\w){re.escape(old)}(?!\w){behind}", new, text)
        return text


def new_names(database: WrittenDatabase, rng: random.Random) -> Names:
    """Names in another style: words stay words, or become abbreviations or codes; codes stay codes."""
    styles = ("camel", "pascal", "upper", "code") if database.cryptic else tuple(set(STYLES) - {"spaced"})
    styles = tuple(sorted(styles))
    name = rng.choices(styles, [STYLES[name][2] for name in styles])[0]
    style = STYLES[name][0]

    def renamed(olds: Sequence[str]) -> dict[str, str]:
        names: dict[str, str] = {}
        for old in dict.fromkeys(olds):
            plain = "_".join(phrasing.humanize(old).split())
            new = style(rng, plain)
            while new.lower() in {n.lower() for n in names.values()}:
                new = style(rng, f"{plain}_{rng.randint(2, 99)}")
            names[old] = new
        return names

    schema = database.schema
    opaque = name in ("short", "short upper", "code") and not database.cryptic
    return Names(renamed(list(schema.tables)), renamed([column for _, column, _ in schema.columns()]), opaque)


def other_values(
    sql: exp.Query, question: str, evidence: str, schema: MSchema, rng: random.Random
) -> tuple[exp.Query, str, str]:
    """The same question about another name, another year, another number: changed alike in words and query."""
    tree = sql.copy()
    years = set(re.findall(r"(?<![\d.-])(20[012]\d)(?![\d.,])", question))
    if years and rng.random() < SWAPPED:
        by = rng.choice([-4, -3, -2, -1, 1])
        told = re.compile(rf"(?<!\d)(?:{'|'.join(years)})(?!\d)")
        literals = [n for n in tree.find_all(exp.Literal) if told.search(n.name)]
        every_other = re.findall(r"(?<!\d)(?:19|20)\d\d(?!\d)", " ".join(n.name for n in tree.find_all(exp.Literal)))
        if literals and set(every_other) <= years:

            def shift(text: str) -> str:
                return told.sub(lambda m: str(int(m[0]) + by), text)

            for literal in literals:
                literal.set("this", shift(literal.name))
            question, evidence = shift(question), shift(evidence)
    for literal in list(tree.find_all(exp.Literal)):
        said = literal.name
        if rng.random() > SWAPPED or _said(said, question) != 1 or _said(said, evidence):
            continue
        alike = [n for n in tree.find_all(exp.Literal) if n.name == said]
        if not literal.is_string:
            if len(alike) > 1 or not said.isdigit() or int(said) < 10 or int(said) in ROUND or _looks_like_year(said):
                continue
            new = str(rng.randint(10 ** (len(said) - 1), 10 ** len(said) - 1))
            if said.endswith("0"):
                new = new[:-1] + "0"
        else:
            others = [v for v in _values_beside(literal, schema) if v != said and _said(v, question) == 0]
            if len(said) < 2 or len(others) < 3 or re.match(r"\d{4}-", said):  # "A" may be an article
                continue
            new = rng.choice(others)
        for node in alike:
            node.set("this", new)
        question = _instead(question, said, new)
    return tree, question, evidence


def _leave_out_nulls(tree: exp.Query, schema: MSchema) -> None:
    """``NOT IN`` finds nothing where its list has a NULL, and a schema does not tell whether it has one."""
    for test in tree.find_all(exp.In):
        query = test.args.get("query")
        inner = query.this if isinstance(query, exp.Subquery) else None
        if not isinstance(test.parent, exp.Not) or not isinstance(inner, exp.Select):
            continue
        wanted = inner.expressions[0]
        column = bound_column(wanted, inner, schema)
        where = inner.args.get("where")
        if column is None or (where and any(test.this == wanted for test in where.find_all(exp.Is))):
            continue
        table = next(s for s in sources_of(inner) if source_name(s) == column.table.lower())
        if not fields_of(schema, table.name)[column.name.lower()]["primary_key"]:
            inner.where(is_known(wanted.copy()), copy=False)


def _looks_like_year(number: str) -> bool:
    return len(number) == 4 and number[:2] in ("19", "20")


def _said(value: str, text: str) -> int:
    return len(re.findall(rf"(?<!\w){re.escape(value)}(?!\w)", text))


def _instead(text: str, value: str, new: str) -> str:
    return re.sub(rf"(?<!\w){re.escape(value)}(?!\w)", lambda _: new, text)


def _values_beside(literal: exp.Expr, schema: MSchema) -> Sequence[str]:
    """Values of the column with which a literal is compared, if that is a schema table's."""
    parent, select = literal.parent, literal.find_ancestor(exp.Select)
    if not isinstance(parent, exp.EQ | exp.NEQ | exp.In) or select is None:
        return ()
    column = bound_column(parent.this, select, schema)
    if column is None:
        return ()
    table = next(s for s in sources_of(select) if source_name(s) == column.table.lower())
    field = fields_of(schema, table.name)[column.name.lower()]
    values: Sequence[str] = field["examples"]
    return values


def reworked(
    database: WrittenDatabase, rng: random.Random, count: int
) -> tuple[MSchema, dict[str, list[list[Any]]], list[tuple[Pair, str]]]:
    """A database in new clothes, its rows, and ``count`` of its questions, each with its query as text.

    Tables and columns of which no question speaks may go, keys stay; the order changes; now and then all names do.
    """
    old = database.schema
    names = Names({}, {}) if rng.random() < KEPT else new_names(database, rng)
    asked: list[tuple[exp.Query, str, str, str]] = []
    for pair in rng.sample(database.pairs, min(count, len(database.pairs))):
        tree = parse(pair.sql, "sqlite")
        if tree is None:
            raise DataError("not a query that can be read", where=old.db_id, hint=pair.sql)
        _leave_out_nulls(tree, old)
        more = other_values(tree, rng.choice(pair.questions), pair.evidence, old, rng)
        more = (more[0], more[1], names.in_text(more[2]))
        if rng.random() < WISHES:
            more = with_a_wish(*more, old, database.rows, rng, said=lambda test: render(names.in_tree(test)))
        asked.append((*more, pair.sql))
    schema, rows = _dressed(database, names, " ".join(tree.sql("sqlite") for tree, *_ in asked), rng)
    out = []
    for tree, question, evidence, sql in asked:
        new = names.in_tree(tree)
        one_way(new, schema)
        if rng.random() < BESIDE:
            question = rng.choice(phrasing.FILLERS) + question
        if rng.random() < BESIDE:
            question = question.rstrip("?.!")
        out.append((Pair(question, evidence, new, "written", ""), render(new, like=sql)))
    return schema, rows, out


def _dressed(
    database: WrittenDatabase, names: Names, spoken: str, rng: random.Random
) -> tuple[MSchema, dict[str, list[list[Any]]]]:
    """The schema under its new names, without some of what the queries ``spoken`` do not use, and its rows."""
    old, needed = database.schema, set(re.findall(r"\w+", spoken))
    keep = {str(column) for key in old.foreign_keys for column in (key[1], key[4])}
    tables = [t for t in old.tables if set(t.split()) <= needed or rng.random() < 0.6]
    fewer = rng.choice([0.0, 0.0, 0.2, 0.5])
    if rng.random() < 0.5:
        rng.shuffle(tables)

    def about(name: str, comment: str) -> str:
        """A comment says the name where that has become a code."""
        if not names.opaque:
            return comment
        return f"{phrasing.humanize(name)}; {comment}" if comment else phrasing.humanize(name)

    schema, rows = MSchema(old.db_id), {}
    for table in tables:
        info = old.tables[table]
        fields = [
            (number, column, field)
            for number, (column, field) in enumerate(info["fields"].items())
            if field["primary_key"] or column in keep or set(column.split()) <= needed or rng.random() >= fewer
        ]
        if rng.random() < 0.3:
            rng.shuffle(fields)
        name = names.tables.get(table, table)
        schema.add_table(name, comment=about(table, info["comment"]))
        for _, column, field in fields:
            shown = rng.sample(field["examples"], len(field["examples"]))
            schema.add_field(name, names.columns.get(column, column), field["type"], field["primary_key"],
                             comment=about(column, field["comment"]), examples=shown)  # fmt: skip
        rows[name] = [[row[number] for number, *_ in fields] for row in database.rows[table]]
    for key in old.foreign_keys:
        child, column, _, parent, ref = map(str, key)
        if child in tables and parent in tables:
            schema.add_foreign_key(names.tables.get(child, child), names.columns.get(column, column), None,
                                   names.tables.get(parent, parent), names.columns.get(ref, ref))  # fmt: skip
    return schema, rows


def written_document(
    tokenizer: PreTrainedTokenizerBase,
    rng: random.Random,
    *,
    questions: int = 12,
    shares: tuple[float, float] = (0.08, 0.04),
    max_tokens: int = 3800,
    max_skip: int = 0,
    links: float = 1.0,
) -> Document:
    """A document over one of the written databases, with as many questions as ``max_tokens`` have room for.

    Args:
        questions: at most so many, and hardly ever fewer than :data:`FEWEST`.
        shares: of refinements and selections among the tasks.
        links: share of documents whose prompts link the question's words to the schema.
        max_skip: see :func:`askguru_lib.training.corpus.draw_skips`.
    """
    while True:
        database = rng.choices(written_databases(), [d.weight for d in written_databases()])[0]
        schema, rows, pairs = reworked(database, rng, questions)
        text = schema.to_mschema(example_num=rng.choice([1, 2, 2, 2, 3]))
        shown: dict[str, Any] = {"db_schema": text, "links": rng.random() < links}
        values = ValueIndex(
            (table, column, str(value))
            for table, column, field in schema.columns()
            if not is_number_type(field["type"]) and not field["type"].startswith("DATE")
            for value in field["examples"]
        )
        known = shown["links"] and rng.random() < VALUES_KNOWN
        paper: PaperDatabase | None = None
        items: list[Task] = []
        for pair, sql in pairs:
            if known:
                shown["values"] = values.mentioned(f"{pair.question}\n{pair.evidence}")
            roll = rng.random()
            task: Task | None = None
            if roll < sum(shares):
                paper = paper or PaperDatabase(schema, rows)
                asked = Asked(schema, paper, shown, pair, sql, like=sql)
                task = (refinement if roll < shares[0] else selection)(asked, rng)
            if task is None:
                prompt = build_prompt("nl2sqlite", **shown, question=pair.question, evidence=pair.evidence)
                task = Task(prompt.removeprefix(text), sql)
            items.append(task)
        skips = draw_skips(rng, max_skip)
        while len(items) >= min(FEWEST, questions):
            document = pack(tokenizer, text, items, skips=skips)
            if len(document.ids) <= max_tokens:
                return document
            items.pop()
