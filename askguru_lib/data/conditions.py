"""Conditions of the question grammar: a test in SQL and the words for it, as they stand behind a table's noun."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

from sqlglot import exp

from askguru_lib.data import phrasing
from askguru_lib.data.grammar import Column, Grammar, NotHere
from askguru_lib.data.trees import render

DEFINED = 0.1
"""Share of conditions that a question says with a word of its own, which its evidence defines."""


@dataclass(frozen=True)
class Condition:
    """A test and its words: ``{noun} {phrase}``, or, where ``before`` is given, ``{before} {noun} {rest}`` as well."""

    tree: exp.Expr
    phrase: str
    evidence: str = ""
    before: str = ""
    rest: str = ""


def one_condition(g: Grammar, table: str, qualified: bool = False, avoid: str = "") -> Condition:
    """A condition on one column of ``table``."""
    t = g.tables[table]
    options = [c for c in t.columns if c.kind != "key" and c.name != avoid and (c.values or c.nullable)]
    column = g._pick(options)
    found = _on(g, column, qualified)
    defined = not found.evidence and column.kind != "flag" and g.rng.random() < DEFINED
    return _defined(g, table, found) or found if defined else found


def some_conditions(g: Grammar, table: str, qualified: bool = False, least: int = 0) -> Condition | None:
    """None, one or two conditions on a table, joined by AND or OR."""
    count = max(least, g.rng.choices([0, 1, 2], [0.3, 0.55, 0.15])[0])
    if count == 0:
        return None
    first = one_condition(g, table, qualified)
    if count == 1:
        return first
    used = first.tree.find(exp.Column)
    second = one_condition(g, table, qualified, avoid=used.name if used else "")
    either = g.rng.random() < 0.25
    tree: exp.Expr = (exp.Or if either else exp.And)(this=first.tree, expression=second.tree)
    link = " or " if either else g.rng.choice([" and ", " and ", ", "])
    return Condition(tree, f"{first.phrase}{link}{second.phrase}",
                     "; ".join(e for e in (first.evidence, second.evidence) if e),
                     "" if either else first.before, second.phrase)  # fmt: skip


def _on(g: Grammar, column: Column, qualified: bool) -> Condition:
    happened = what_happened(g, column)
    if column.nullable and (not column.values or g.rng.random() < (0.2 if happened else 0.1)):
        return _null(g, column, qualified, happened)
    if not column.values:
        raise NotHere
    if column.kind == "number":
        return _number(g, column, qualified)
    if column.kind == "date":
        return _date(g, column, qualified, happened)
    if column.kind == "flag" and (found := _flag(g, column, qualified)):
        return found
    return _text(g, column, qualified)


def what_happened(g: Grammar, column: Column) -> str | None:
    """The participle that stands for a date, or a year, if no other one of its table has the same."""

    def named(c: Column) -> str | None:
        return phrasing.participle(c.phrases[0]) if c.kind == "date" or phrasing.says_year(c.phrases[0]) else None

    here = named(column)
    return here if here and [named(c) for c in g.tables[column.table].columns].count(here) == 1 else None


def new_term(g: Grammar, table: str, terms: Sequence[str]) -> str:
    """A word for the evidence to define, of which the table and this question know nothing."""
    columns = g.tables[table].columns
    texts = chain(
        g.tables[table].phrases,
        *((*c.phrases, *c.values, *(meaning for _, meaning in c.meanings)) for c in columns),
    )
    known = {word for text in texts for word in text.lower().split()} | g.terms
    term: str = g._pick([t for t in terms if t not in known])
    g.terms.add(term)
    return term


def _defined(g: Grammar, table: str, found: Condition) -> Condition | None:
    """The condition under a word of its own: ``late orders``, with the evidence ``Late means …``."""
    if found.tree.find(exp.Anonymous, exp.Subquery):
        return None  # parts of dates are spelled differently by every engine
    plain = found.tree.copy()
    for column in plain.find_all(exp.Column):
        column.set("table", None)
    term = new_term(g, table, phrasing.TERMS)
    words = re.match(r"(?:whose|where|with) (?:an? )?(?!\d|the word)(.*)", found.phrase)
    meaning = words[1] if words and g.rng.random() < 0.4 else render(plain)
    evidence = g.rng.choice(["{t} means {m}", "{t} is {m}", "{t}: {m}", "{t} refers to {m}", "{t} stands for {m}",
                             "call it {t} if {m}"]).format(t=term, m=meaning)  # fmt: skip
    evidence = evidence[:1].upper() + evidence[1:] if g.rng.random() < 0.6 else evidence
    phrase = g.rng.choice([f"that are {term}", f"which are {term}", f"counted as {term}", f"that count as {term}"])
    return Condition(found.tree, phrase, evidence, before=term)


def _null(g: Grammar, column: Column, qualified: bool, happened: str | None) -> Condition:
    said, ref = g._said(column), g._col(column, qualified)
    test: exp.Expr = exp.Is(this=ref, expression=exp.Null())
    if g.rng.random() < 0.65:
        forms = [f"without a {said}", f"that have no {said}", f"with no {said}", f"whose {said} is missing",
                 f"where {said} is empty", f"with an unknown {said}", f"whose {said} we don't know",
                 f"where the {said} is not known", f"still without {said}",
                 f"that lack a {said}", f"lacking a {said}"]  # fmt: skip
        if happened and g.rng.random() < 0.6:
            forms = [f"not yet {happened}", f"still not {happened}"]
            been = "" if phrasing.that_happened(happened) == f"that {happened}" else "been "
            forms += [f"that have not {been}{happened}", f"that have never {been}{happened}",
                      f"that have not {been}{happened} yet"]  # fmt: skip
        return Condition(test, g.rng.choice(forms))
    forms = [f"that have a {said}", f"with a known {said}", f"whose {said} is recorded", f"with any {said}",
             f"whose {said} we know"]  # fmt: skip
    if happened and g.rng.random() < 0.6:
        forms = [f"already {happened}", phrasing.that_happened(happened)]
    return Condition(exp.Not(this=test), g.rng.choice(forms))


def _number(g: Grammar, column: Column, qualified: bool) -> Condition:
    said, ref = g._said(column), g._col(column, qualified)
    value = rounded(g, g.rng.choice(column.values))
    roll = g.rng.random()
    bounds = sorted({rounded(g, v) for v in g.rng.sample(column.values, min(2, len(column.values)))}, key=float)
    if roll < 0.12 and len(bounds) == 2:
        low, high = bounds
        between = exp.Between(this=ref, low=exp.Literal.number(low), high=exp.Literal.number(high))
        return Condition(between, g.rng.choice([f"with {said} between {low} and {high}",
                                                f"whose {said} is between {low} and {high}",
                                                f"with a {said} from {low} to {high}",
                                                f"of {low} to {high} {said}",
                                                f"with {low} to {high} {said}"]))  # fmt: skip
    if roll < 0.24:
        value = g.rng.choice(column.values)
        shown = phrasing.number_word(g.rng, value)
        if phrasing.says_year(said) and re.fullmatch(r"\d{4}", value):
            bare = [f"in {value}", f"from {value}", f"of {value}"] if only_year(g, column) else []
            if happened := what_happened(g, column):
                bare += [f"{happened} in {value}", f"{phrasing.that_happened(happened)} in {value}"]
            return Condition(exp.EQ(this=ref, expression=g._literal(column, value)),
                             g.rng.choice([f"with {said} {value}", f"whose {said} is {value}", *bare]))  # fmt: skip
        return Condition(exp.EQ(this=ref, expression=g._literal(column, value)),
                         g.rng.choice([f"with {said} {shown}", f"whose {said} is {shown}", f"with a {said} of {shown}",
                                       f"with {shown} {said}", f"that have {shown} {said}", f"of {shown} {said}",
                                       f"with exactly {shown} {said}", f"where {said} equals {shown}"]))  # fmt: skip
    operator = g.rng.choice([">", ">", "<", "<", ">=", "<="])
    words = g.rng.choice(phrasing.COMPARISONS[operator])
    node = {">": exp.GT, "<": exp.LT, ">=": exp.GTE, "<=": exp.LTE}[operator]
    tree = node(this=ref, expression=exp.Literal.number(value))
    shown = phrasing.number_word(g.rng, value)
    if shown.isdigit() and int(shown) >= 10_000 and g.rng.random() < 0.1:
        shown = f"{int(shown):,}"
    if operator in (">=", "<=") and not phrasing.says_year(said) and g.rng.random() < 0.4:
        more = g.rng.choice(
            ["or more", "and more", "or above"] if operator == ">=" else ["or less", "and less", "or below"]
        )
        return Condition(tree, g.rng.choice([f"with {shown} {said} {more}", f"with {shown} {more} {said}",
                                             f"with a {said} of {shown} {more}", f"of {shown} {said} {more}",
                                             f"whose {said} is {shown} {more}"]))  # fmt: skip
    short = phrasing.COMPARATIVES.get(said.split()[-1])
    if short and operator in "<>" and g.rng.random() < 0.4:
        return Condition(tree, f"{short[operator == '<']} {shown}")
    form = g.rng.choice(["with {s} {w} {v}", "whose {s} is {w} {v}", "with a {s} {w} {v}", "where {s} is {w} {v}",
                         "with {w} {v} {s}", "having {s} {w} {v}", "that have a {s} of {w} {v}", "of {w} {v} {s}",
                         "that have {w} {v} {s}", "with {s} of {w} {v}", "where the {s} is {w} {v}"])  # fmt: skip
    if phrasing.says_year(said) and re.fullmatch(r"\d{4}", value):
        words = g.rng.choice(phrasing.YEARS[operator])
        form = g.rng.choice(["with {s} {w} {v}", "whose {s} is {w} {v}", "with a {s} {w} {v}", "{w} {v}"])
        happened = what_happened(g, column)
        if happened and g.rng.random() < 0.5:
            form = f"{happened} {{w}} {{v}}"
        elif form == "{w} {v}" and not only_year(g, column):
            form = "with {s} {w} {v}"
        shown = value
    return Condition(tree, form.format(s=said, w=words, v=shown))


def rounded(g: Grammar, value: str) -> str:
    """A threshold that a person would say: two leading digits, but a year whole."""
    try:
        number = float(value)
    except ValueError:
        raise NotHere from None
    if abs(number) < 10 and "." in value:
        return f"{number:g}"
    if 1900 <= number <= 2100:
        return value.removesuffix(".0")
    digits = max(len(str(int(abs(number)))) - 2, 0)
    return str(int(round(number, -digits)))


def _date(g: Grammar, column: Column, qualified: bool, happened: str | None) -> Condition:
    said, ref, whole = g._said(column), g._col(column, qualified), g.rng.choice(column.values)
    value = whole[:10]
    roll, year = g.rng.random(), value[:4]
    # "hired in 2020" names the date by what happened, "in 2020" only where the table has no other date.
    told = happened if happened and g.rng.random() < 0.5 else None
    starts = [phrasing.that_happened(told), told, told] if told else [f"with {said}", f"whose {said} is",
                                                                      f"with a {said}"]  # fmt: skip
    start = g.rng.choice(starts)
    if roll < 0.42:
        tree: exp.Expr = exp.EQ(this=g._year(ref), expression=exp.Literal.string(year))
        bare = [f"in {year}", f"from {year}", f"of {year}"] if only_year(g, column) else []
        return Condition(tree, g.rng.choice([f"{start} in {year}", f"{start} in {year}", f"{start} during {year}",
                                             f"{start} in the year {year}", *bare]))  # fmt: skip
    if roll < 0.52 and re.fullmatch(r"\d{4}-\d\d-\d\d", value):
        month = phrasing.MONTHS[int(value[5:7]) - 1]
        tree = exp.EQ(this=g._part("%Y-%m", ref), expression=exp.Literal.string(value[:7]))
        bare = [f"in {month} {year}", f"of {month} {year}"] if only_year(g, column) else []
        return Condition(tree, g.rng.choice([f"{start} in {month} {year}", f"{start} in {month} of {year}",
                                             f"{start} during {month} {year}", *bare]))  # fmt: skip
    if roll < 0.66 and re.fullmatch(r"\d{4}", year):
        if g.rng.random() < 0.2:
            tree = exp.GTE(this=ref, expression=exp.Literal.string(f"{year}-01-01"))
            return Condition(tree, f"{start} in {year} {g.rng.choice(['or later', 'or after', 'and later'])}")
        node, word, bound = g.rng.choice([(exp.LT, "before", f"{year}-01-01"), (exp.GTE, "since", f"{year}-01-01"),
                                          (exp.GTE, "after", f"{int(year) + 1}-01-01"),
                                          (exp.GTE, "in or after", f"{year}-01-01"),
                                          (exp.LT, "before the year", f"{year}-01-01")])  # fmt: skip
        return Condition(node(this=ref, expression=exp.Literal.string(bound)), f"{start} {word} {year}")
    spoken = phrasing.spoken_date(g.rng, value)
    if roll < 0.73 and len(whole) == 10:
        tree = exp.EQ(this=ref, expression=exp.Literal.string(value))
        return Condition(tree, f"{start} on {spoken}")
    if roll < 0.84 and len(whole) > 10:  # "after" a day: not at some time of it
        tree = exp.GTE(this=ref, expression=exp.Literal.string(value))
        return Condition(tree, f"{start} {g.rng.choice(['on or after', 'since', 'no earlier than'])} {spoken}")
    if roll < 0.84:
        tree = exp.GT(this=ref, expression=exp.Literal.string(value))
        return Condition(tree, f"{start} {g.rng.choice(['after', 'later than', 'after'])} {spoken}")
    tree = exp.LT(this=ref, expression=exp.Literal.string(value))
    return Condition(tree, f"{start} {g.rng.choice(['before', 'earlier than', 'before'])} {spoken}")


def only_year(g: Grammar, column: Column) -> bool:
    """Whether nothing else in the table could be meant by a year that is named alone."""
    return sum(c.kind == "date" or phrasing.says_year(c.phrases[0]) for c in g.tables[column.table].columns) == 1


def only_date(g: Grammar, column: Column) -> bool:
    """Whether a date is its table's only one, so that it need not be named."""
    return len(g.tables[column.table].of("date")) == 1


def _flag(g: Grammar, column: Column, qualified: bool) -> Condition | None:
    """``active customers`` of ``is_active``; None where the flag's name does not say what it is about."""
    asks, _, what = g._said(column).partition(" ")
    if asks not in ("is", "was", "has") or not what:
        return None
    yes = g.rng.random() < 0.65
    test = exp.EQ(this=g._col(column, qualified), expression=g._literal(column, "1" if yes else "0"))
    if asks == "has":
        return Condition(test, g.rng.choice([f"with {what}", f"that have {what}"] if yes else
                                            [f"without {what}", f"that have no {what}"]))  # fmt: skip
    forms = ["that are {w}", "which are {w}"] if yes else ["that are not {w}", "not {w}", "which are not {w}"]
    return Condition(test, g.rng.choice(forms).format(w=what), before=what if yes else "")


def _text(g: Grammar, column: Column, qualified: bool) -> Condition:
    said, ref, rng = g._said(column), g._col(column, qualified), g.rng
    if column.meanings and rng.random() < 0.8:
        if len(column.meanings) > 1 and rng.random() < 0.15:
            return _either_meaning(g, column, ref, said)
        code, meaning = rng.choice(column.meanings)
        definition = rng.choice(["{m} means {c} = {v}", "{m} refers to {c} = {v}", "{m}: {c} = {v}", "{m} is {c} = {v}",
                                 "{c} = {v} means {m}", "{v} stands for {m}", "{m} is {v}"])  # fmt: skip
        shown = code if column.is_number else f"'{code}'"
        return Condition(exp.EQ(this=ref, expression=g._literal(column, code)),
                         rng.choice([f"that are {meaning}", f"with {said} {meaning}", f"marked {meaning}",
                                     f"whose {said} is {meaning}", f"which are {meaning}"]),
                         definition.format(m=meaning, c=column.name, v=shown), before=meaning)  # fmt: skip
    value = rng.choice(column.values)
    roll = rng.random()
    if column.kind == "label" and roll < 0.35 and len(value) > 3 and value.isascii():
        return _like(g, ref, said, value)
    if roll < 0.14 and len(set(column.values)) > 1:
        a, b = rng.sample(sorted(set(column.values)), 2)
        tree: exp.Expr = exp.In(this=ref, expressions=[g._literal(column, a), g._literal(column, b)])
        named = column.kind == "category" and all(re.fullmatch(r"[A-Za-z][A-Za-z -]{2,}", v) for v in (a, b))
        bare = [f"in {a} or {b}", f"from {a} or {b}"] if named else []
        return Condition(tree, rng.choice([f"whose {said} is {a} or {b}", f"with {said} {a} or {b}",
                                           f"whose {said} is either {a} or {b}", *bare]))  # fmt: skip
    shown = rng.choice(["{v}", "{v}", "{v}", "'{v}'", '"{v}"']).format(v=value)
    if roll < 0.24:
        return Condition(exp.NEQ(this=ref, expression=g._literal(column, value)),
                         rng.choice([f"whose {said} is not {shown}", f"with a {said} other than {shown}",
                                     f"where {said} is not {shown}", f"outside {said} {shown}",
                                      f"with any {said} but {shown}",
                                     f"with {said} different from {shown}"]))  # fmt: skip
    tree = exp.EQ(this=ref, expression=g._literal(column, value))
    forms = [f"whose {said} is {shown}", f"with {said} {shown}", f"where {said} is {shown}", f"with the {said} {shown}",
             f"that have {said} {shown}", f"having {said} {shown}", f"for {said} {shown}", f"of {said} {shown}",
             f"in the {said} {shown}", f"with {shown} as {said}"]  # fmt: skip
    if column.kind == "category" and not re.fullmatch(r"[\d.\-]+", value) and rng.random() < 0.4:
        forms = [f"in {shown}", f"from {shown}", f"for {shown}", f"that are {shown}", f"of {shown}", f"at {shown}",
                 f"that come from {shown}"]  # fmt: skip
    worded = column.kind == "category" and re.fullmatch(r"[A-Za-z][A-Za-z -]+", value)
    return Condition(tree, rng.choice(forms), before=value if worded else "")


def _either_meaning(g: Grammar, column: Column, ref: exp.Expr, said: str) -> Condition:
    """``that are open or blocked``, of codes that the evidence defines."""
    two = g.rng.sample(column.meanings, 2)
    (_, a), (_, b) = two
    tree = exp.In(this=ref, expressions=[g._literal(column, code) for code, _ in two])
    form = g.rng.choice(["{m} is {c} = {v}", "{m} means {c} = {v}", "{m}: {c} = {v}"])
    notes = [form.format(m=m, c=column.name, v=code if column.is_number else f"'{code}'") for code, m in two]
    return Condition(tree, g.rng.choice([f"that are {a} or {b}", f"whose {said} is {a} or {b}", f"which are {a} or {b}",
                                         f"that are either {a} or {b}", f"marked {a} or {b}"]),
                     g.rng.choice([", ", "; "]).join(notes), before=f"{a} or {b}")  # fmt: skip


def _like(g: Grammar, ref: exp.Expr, said: str, value: str) -> Condition:
    words = list(re.findall(r"[A-Za-z]{3,}", value)) or [value[:3]]
    word, roll = g.rng.choice(words), g.rng.random()
    if roll < 0.4:
        start = value[: g.rng.choice([1, 2, 3])].strip()
        return Condition(exp.Like(this=ref, expression=exp.Literal.string(f"{start}%")),
                         g.rng.choice([f"whose {said} starts with {start}", f"with a {said} beginning with {start}",
                                       f"with a {said} that starts with {start}",
                                       f"whose {said} begins with '{start}'"]))  # fmt: skip
    if roll < 0.55:
        end = value[-g.rng.choice([1, 2, 3]) :].strip()
        return Condition(exp.Like(this=ref, expression=exp.Literal.string(f"%{end}")),
                         g.rng.choice([f"whose {said} ends with {end}", f"whose {said} ends in {end}",
                                       f"with a {said} ending in {end}"]))  # fmt: skip
    return Condition(exp.Like(this=ref, expression=exp.Literal.string(f"%{word}%")),
                     g.rng.choice([f"whose {said} contains {word}", f"with {word} in the {said}",
                                   f"with the word {word} in the {said}", f"that have {word} in their {said}",
                                   f"whose {said} includes '{word}'", f"with {word} in their {said}"]))  # fmt: skip
