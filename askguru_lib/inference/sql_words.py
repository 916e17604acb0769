"""The words of SQL that the scanner knows, by what they do."""

from __future__ import annotations

from functools import lru_cache

from sqlglot.dialects.dialect import Dialect


def _set(text: str) -> frozenset[str]:
    return frozenset(text.split())


NONE: frozenset[str] = frozenset()
KEYWORDS = _set(
    "select distinct all from join left right full inner outer cross natural on using where and or not in is null like "
    "glob between exists case when then else end group by having order asc desc nulls first last limit offset union "
    "intersect except with recursive as over partition rows range preceding following unbounded current row "
    "filter collate nocase binary rtrim escape cast true false current_date current_time current_timestamp values "
    "materialized window"
)
MORE_KEYWORDS = _set(
    "ilike any some fetch next only interval date time timestamp year month day hour minute second quarter week "
    "extract lateral qualify similar to regexp rlike div mod separator rollup cube grouping sets for at zone dual "
    "rownum sysdate within array"
)
SQLITE_FUNCTIONS = _set(
    "abs avg cast ceil coalesce count cume_dist date datetime dense_rank first_value floor group_concat ifnull iif "
    "instr julianday lag last_value lead length lower ltrim max min mod nth_value ntile nullif percent_rank power "
    "printf rank replace round row_number rtrim sqrt strftime substr substring sum time total trim upper"
)
OPENS_BRACKET = _set(
    "in and or not on using as over exists values then else when where select by having filter distinct from join all "
    "any some between like is union except intersect case limit offset partition order group materialized"
)
TYPES = _set(
    "integer int bigint smallint real float double precision numeric decimal text varchar char character varying date "
    "datetime timestamp time boolean bool blob number unsigned signed varchar2 string"
)
CLAUSES = _set("select from on where group having order limit qualify")
SETS = _set("union intersect except")
ENDS_FROM = _set("where group having order limit qualify fetch offset") | SETS
JOINS = _set("join left right full inner outer cross natural")
AFTER_ALIAS = ENDS_FROM | JOINS | _set("on using")
AFTER_TABLE = AFTER_ALIAS | {"as"}
AFTER_TWIN = _set("as")
BEFORE_TABLE = _set("select with values")
BEFORE_VALUE = _set(
    "not case exists null true false current_date current_time current_timestamp interval date time timestamp array "
    "row rownum sysdate"
)
"""Words with which an operand begins."""
BEFORE_QUERY = _set("all any some")
"""Words between an operator and a query, which SQLite does not know."""
NEEDS_BRACKET = _set("exists in any some over filter within using extract with values cast")
"""Words that cannot do without a bracket behind them."""
BEFORE_BRACKET = _set("over filter")
"""Words whose bracket is read in a way of its own."""
BEFORE_FIRST = _set("distinct all")
"""Words before the first operand of a SELECT or of a call."""
IN_BRACKETS = {
    "paren": _set("select with values"),
    "over": _set("partition order rows range between unbounded current"),
    "filter": _set("where"),
}
"""Words with which a query, a window and a filter begin."""
GOES_ON = {
    "paren": NONE,
    "over": _set("partition order rows range preceding following row") | _set("asc desc nulls first last"),
    "filter": NONE,
}
"""Words that may stand behind an operand there, besides operators."""
COLLATIONS = _set("nocase binary rtrim")
TYPED = _set("date time timestamp interval")
"""Words that a string literal may follow at once."""
AFTER_NOT = _set("in like between glob null ilike similar regexp rlike materialized distinct")
VALUES = _set(
    "null true false end current_date current_time current_timestamp asc desc nulls first last row preceding following "
    "unbounded nocase binary rtrim rownum sysdate only"
)
"""Words behind which an operand is complete."""
OPERATOR_WORDS = _set(
    "and or not in is like glob between collate escape over filter ilike similar regexp rlike div mod at within"
)
_ORDER = ("from", "where", "group", "having", "qualify", "order", "limit", "offset", "fetch")
AFTER_CLAUSE: dict[str, frozenset[str]] = {
    clause: frozenset(_ORDER[_ORDER.index(clause) + 1 :]) | SETS for clause in _ORDER if clause != "from"
} | {
    "select": _set("as from") | SETS,
    "from": ENDS_FROM | JOINS | {"on", "using"},
    "on": ENDS_FROM | JOINS,
    "with": _set("select"),
    "set": NONE,
}
"""Clauses that may follow a complete operand of a clause, in SQL's order."""
NOT_IN_CALLS = _set("select with values recursive materialized order partition rows range where having limit as")
COLLECTS = _set("group_concat string_agg array_agg listagg json_group_array json_agg")
"""Aggregates that take an ORDER BY among their arguments."""
AGGREGATES = _set("count sum total avg min max stddev stddev_pop stddev_samp variance var_pop var_samp median")
WINDOWS = _set("row_number rank dense_rank percent_rank cume_dist ntile lag lead first_value last_value nth_value")
"""Functions that are nothing without OVER."""
HOLDS_AGGREGATES = _set("select having order qualify set start with")
HOLDS_WINDOWS = _set("select order qualify set start with")
"""Clauses in which an aggregate, and a window function, may stand."""
ORDERING = _set("asc desc nulls first last only rows row ties next")
STRUCTURE = CLAUSES | ENDS_FROM | _set("as join with")
NOT_IN_BRACKETS = STRUCTURE - {"as", "order", "from", "where", "select", "with"} | _set("when then else end") | JOINS
RESERVED = KEYWORDS - _set("first last row rows range filter binary rtrim current")


@lru_cache(maxsize=16)
def functions_of(dialect: str) -> frozenset[str]:
    """Names of the functions that a dialect knows, in lower case."""
    if dialect == "sqlite":
        return SQLITE_FUNCTIONS
    name = {"postgresql": "postgres"}.get(dialect, dialect)
    known = Dialect.get_or_raise(name).parser_class.FUNCTIONS
    return SQLITE_FUNCTIONS | frozenset(f.lower() for f in known)
