"""Equivalent SQL: small rules on the tree, each true for every database content, NULLs included.

A rule takes a tree and the M-Schema and yields rewritten copies, one place changed in each. Rules look at structure
only, so literals, comments and spacing cannot confuse them. Where equality depends on something a tree does not show
(a volatile function, a bare column beside an aggregate, which rows a LIMIT keeps), the rule stays silent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import sqlglot
from sqlglot import exp
from sqlglot.tokens import TokenType

from askguru_lib.data.trees import (
    all_literals,
    bound_column,
    conjuncts,
    fields_of,
    is_conjunct_of_where,
    is_plain,
    own_select,
    parse,
    places,
    put,
    render,
    source_name,
    sources_of,
)
from askguru_lib.databases.m_schema import MSchema

Rule = Callable[[exp.Query, MSchema], Iterator[exp.Query]]
VOLATILE = ("RANDOM", "RAND", "RANDOMBLOB", "NEWID", "UUID", "GEN_RANDOM_UUID", "NEXTVAL")
ORDER_SENSITIVE = (exp.GroupConcat, exp.ArrayAgg, exp.First, exp.Last, exp.AnyValue)


def translations(sql: str, mschema: MSchema, dialect: str) -> list[tuple[str, str]]:
    """Every ``(rule, equivalent SQL)`` that one step of one rule reaches, in a fixed order, without repeats."""
    tree = parse(sql, dialect)
    if tree is None or _is_volatile(tree):
        return []
    seen = {render(tree, dialect, like=sql)}
    found = []
    for name, rule in RULES.items():
        for rewritten in rule(tree, mschema):
            text = render(rewritten, dialect, like=sql)
            if text not in seen:
                seen.add(text)
                found.append((name, text))
    return found


def _is_volatile(tree: exp.Expr) -> bool:
    if tree.find(exp.Rand, exp.CurrentTimestamp, exp.CurrentDate, exp.CurrentTime):
        return True
    return any(f.name.upper() in VOLATILE for f in tree.find_all(exp.Anonymous))


def between_to_comparisons(tree: exp.Query, mschema: MSchema) -> Iterator[exp.Query]:
    """``x BETWEEN a AND b`` → ``x >= a AND x <= b``."""
    for copy, node in places(tree, exp.Between):
        if node.args.get("symmetric"):
            continue
        low = exp.GTE(this=node.this.copy(), expression=node.args["low"].copy())
        high = exp.LTE(this=node.this.copy(), expression=node.args["high"].copy())
        put(node, exp.And(this=low, expression=high))
        yield copy


def comparisons_to_between(tree: exp.Query, mschema: MSchema) -> Iterator[exp.Query]:
    """``x >= a AND x <= b`` → ``x BETWEEN a AND b``, for two neighbours in a chain of ANDs."""
    for copy, node in places(tree, exp.GTE):
        both = node.parent
        if not isinstance(both, exp.And):
            continue
        after = both.expression if both.this is node else both.parent.expression if both.parent else None
        if isinstance(after, exp.LTE) and after.this == node.this:
            after_parent = after.parent
            node.replace(exp.Between(this=node.this.copy(), low=node.expression.copy(), high=after.expression.copy()))
            if isinstance(after_parent, exp.And):
                after_parent.replace(after_parent.this.copy())
                yield copy


def in_list_to_or(tree: exp.Query, mschema: MSchema) -> Iterator[exp.Query]:
    """``x IN (a, b)`` → ``x = a OR x = b``; ``x NOT IN (a, b)`` → ``x <> a AND x <> b``."""
    for copy, node in places(tree, exp.In):
        values = node.expressions
        if node.args.get("query") or isinstance(node.this, exp.Tuple) or not 1 <= len(values) <= 4:
            continue
        if not all_literals(values):
            continue
        negated = isinstance(node.parent, exp.Not)
        place: exp.Expr = node.parent if isinstance(node.parent, exp.Not) else node
        compare = exp.NEQ if negated else exp.EQ
        tests: list[exp.Expr] = [compare(this=node.this.copy(), expression=v.copy()) for v in values]
        join = exp.and_ if negated else exp.or_
        put(place, join(*tests, copy=False, wrap=False) if len(tests) > 1 else tests[0])
        yield copy


def or_to_in_list(tree: exp.Query, mschema: MSchema) -> Iterator[exp.Query]:
    """``x = a OR x = b`` → ``x IN (a, b)``."""
    for copy, node in places(tree, exp.Or):
        tests = list(node.flatten())
        if isinstance(node.parent, exp.Or) or not all(isinstance(t, exp.EQ) for t in tests):
            continue
        values = [t.expression for t in tests]
        if len({t.this.sql() for t in tests}) != 1 or not isinstance(tests[0].this, exp.Column):
            continue
        if not all_literals(values):
            continue
        place = node.parent if isinstance(node.parent, exp.Paren) else node
        place.replace(exp.In(this=tests[0].this.copy(), expressions=[v.copy() for v in values]))
        yield copy


def in_query_to_exists(tree: exp.Query, mschema: MSchema) -> Iterator[exp.Query]:
    """``x IN (SELECT y FROM t …)`` → ``EXISTS (SELECT 1 FROM t … AND x = y)``, where NULL counts as false."""
    for copy, node in places(tree, exp.In):
        query = node.args.get("query")
        if query is None or not is_conjunct_of_where(node):
            continue
        inner, outer = query.unnest(), own_select(node)
        if outer is None or not is_plain(inner) or len(inner.expressions) != 1:
            continue
        left = bound_column(node.this, outer, mschema)
        right = bound_column(inner.expressions[0].unalias(), inner, mschema)
        if left is None or right is None or left.table.lower() in {source_name(s) for s in sources_of(inner)}:
            continue
        inner.set("expressions", [exp.Literal.number(1)])
        inner.set("order", None)
        inner.where(exp.EQ(this=left, expression=right), copy=False)
        node.replace(exp.Exists(this=inner.copy()))
        yield copy


def exists_to_in_query(tree: exp.Query, mschema: MSchema) -> Iterator[exp.Query]:
    """``EXISTS (SELECT … FROM t WHERE … AND t.y = x)`` → ``x IN (SELECT y FROM t WHERE …)``."""
    for copy, node in places(tree, exp.Exists):
        inner, outer = node.this.unnest(), own_select(node)
        if outer is None or not is_conjunct_of_where(node) or not is_plain(inner) or not inner.args.get("where"):
            continue
        tests = conjuncts(inner.args["where"].this)
        for test in tests:
            if not isinstance(test, exp.EQ):
                continue
            sides = [(test.this, test.expression), (test.expression, test.this)]
            pairs = [
                (bound_column(ours, inner, mschema), bound_column(theirs, outer, mschema))
                for ours, theirs in sides
                if bound_column(theirs, inner, mschema) is None
            ]
            if len(pairs) != 1 or None in pairs[0]:
                continue
            rest = [t.copy() for t in tests if t is not test]
            inner.set("expressions", [pairs[0][0]])
            inner.set("where", exp.Where(this=exp.and_(*rest, wrap=False)) if rest else None)
            node.replace(exp.In(this=pairs[0][1], query=exp.Subquery(this=inner.copy())))
            yield copy
            break


def swap_conjuncts(tree: exp.Query, mschema: MSchema) -> Iterator[exp.Query]:
    """``a AND b`` → ``b AND a`` (and OR), in WHERE and HAVING."""
    for copy, node in (*places(tree, exp.Where), *places(tree, exp.Having)):
        top = node.this
        if isinstance(top, exp.And | exp.Or):
            parts = list(top.flatten(unnest=False))
            turned = [parts[-1], *parts[:-1]]
            join = exp.and_ if isinstance(top, exp.And) else exp.or_
            node.set("this", join(*[p.copy() for p in turned], wrap=False))
            yield copy


def swap_key_sides(tree: exp.Query, mschema: MSchema) -> Iterator[exp.Query]:
    """``ON a.x = b.y`` → ``ON b.y = a.x``."""
    for copy, node in places(tree, exp.Join):
        on = node.args.get("on")
        if isinstance(on, exp.EQ) and isinstance(on.this, exp.Column) and isinstance(on.expression, exp.Column):
            node.set("on", exp.EQ(this=on.expression.copy(), expression=on.this.copy()))
            yield copy


def swap_joined_tables(tree: exp.Query, mschema: MSchema) -> Iterator[exp.Query]:
    """``FROM a JOIN b ON c`` → ``FROM b JOIN a ON c`` for an inner join, where row order decides nothing."""
    for copy, node in places(tree, exp.Select):
        start, joins = node.args.get("from_"), node.args.get("joins") or []
        if start is None or not joins or not _is_inner(joins[0]) or node.args.get("laterals"):
            continue
        if not all(isinstance(s, exp.Table | exp.Subquery) and not s.args.get("joins") for s in sources_of(node)):
            continue
        if copy.find(exp.Limit, exp.Fetch, exp.Window, *ORDER_SENSITIVE) or _has_bare_column(node):
            continue
        if any(isinstance(e, exp.Star) for e in node.expressions) or any(j.args.get("using") for j in joins):
            continue
        first, second = start.this.copy(), joins[0].this.copy()
        start.set("this", second)
        joins[0].set("this", first)
        yield copy


def _is_inner(join: exp.Join) -> bool:
    return not join.side and join.kind in ("", "INNER") and not join.method and join.args.get("on") is not None


def _has_bare_column(select: exp.Select) -> bool:
    """A column beside an aggregate that is not grouped by: its value depends on the order in which rows are read."""
    group = select.args.get("group")
    if not group and not any(e.find(exp.AggFunc) for e in select.expressions):
        return False
    keys = _texts(group.expressions) if group else set()
    for e in select.expressions:
        if e.find(exp.AggFunc) is None and e.unalias().sql().lower() not in keys and not e.unalias().is_number:
            return True
    return False


def count_forms(tree: exp.Query, mschema: MSchema) -> Iterator[exp.Query]:
    """``COUNT(*)`` → ``COUNT(1)``, or ``COUNT(key)`` where the key cannot be NULL; and back."""
    for copy, node in places(tree, exp.Count):
        if isinstance(node.this, exp.Star):
            node.set("this", exp.Literal.number(1))
            yield copy
        elif (isinstance(node.this, exp.Literal) or _never_null(node.this, mschema)) and not node.expressions:
            node.set("this", exp.Star())
            yield copy
    for copy, node in places(tree, exp.Count):
        select = own_select(node)
        sources = sources_of(select) if select else []
        if not isinstance(node.this, exp.Star) or len(sources) != 1 or not isinstance(sources[0], exp.Table):
            continue
        name = sources[0].name.lower()
        fields: dict[str, Any] = next((i["fields"] for t, i in mschema.tables.items() if t.lower() == name), {})
        key = next((c for c, f in fields.items() if _is_not_null(f, fields)), None)
        if key is not None:
            quoted = sources[0].this.quoted or [t.token_type for t in sqlglot.tokenize(key)] != [TokenType.VAR]
            node.set("this", exp.Column(this=exp.Identifier(this=key, quoted=quoted)))
            yield copy


def _is_not_null(field: dict, fields: dict[str, dict]) -> bool:
    """A key that the engine keeps free of NULLs; SQLite allows them in a key that is not one INTEGER column."""
    alone = sum(bool(f["primary_key"]) for f in fields.values()) == 1
    return bool(field["primary_key"]) and (not field["nullable"] or (alone and field["type"].upper() == "INTEGER"))


def _never_null(node: exp.Expr, mschema: MSchema) -> bool:
    select = own_select(node)
    if select is None or not all(_is_inner(j) for j in select.args.get("joins") or []):
        return False
    bound = bound_column(node, select, mschema)
    if bound is None:
        return False
    table = next(s.name for s in sources_of(select) if source_name(s) == bound.table.lower())
    fields = fields_of(mschema, table)
    return _is_not_null(fields[bound.name.lower()], fields)


def cte_to_subquery(tree: exp.Query, mschema: MSchema) -> Iterator[exp.Query]:
    """``WITH c AS (q) SELECT … FROM c`` → ``SELECT … FROM (q) AS c``, for a CTE that is read once."""
    tables = {t.lower() for t in mschema.tables}
    for copy, node in places(tree, exp.CTE):
        clause = node.parent
        name = node.alias.lower()
        reads = [t for t in copy.find_all(exp.Table) if t.name.lower() == name and not t.db]
        if not isinstance(clause, exp.With) or clause.recursive or clause.parent is not copy:
            continue
        if node.args["alias"].args.get("columns") or name in tables or len(reads) != 1:
            continue
        if (
            reads[0].find_ancestor(exp.CTE) is node
            or reads[0].args.get("joins")
            or not isinstance(reads[0].parent, exp.From | exp.Join)
        ):
            continue
        alias = reads[0].args.get("alias") or node.args["alias"]
        reads[0].replace(exp.Subquery(this=node.this.copy(), alias=alias.copy()))
        node.pop()
        if not clause.expressions:
            copy.set("with_", None)
        yield copy


def subquery_to_cte(tree: exp.Query, mschema: MSchema) -> Iterator[exp.Query]:
    """``SELECT … FROM (q) AS c`` → ``WITH c AS (q) SELECT … FROM c``, for the outermost SELECT."""
    taken = {t.lower() for t in mschema.tables} | {c.alias.lower() for c in tree.find_all(exp.CTE)}
    for copy, node in places(tree, exp.Subquery):
        parent = node.parent
        name = node.alias.lower()
        in_from = isinstance(parent, exp.From | exp.Join) and parent.parent is copy
        if not in_from or not isinstance(node.this, exp.Query) or not isinstance(copy, exp.Select):
            continue
        if not name or name in taken or node.args["alias"].args.get("columns"):
            continue
        cte = exp.CTE(this=node.this.copy(), alias=node.args["alias"].copy())
        node.replace(exp.Table(this=node.args["alias"].this.copy()))
        if clause := copy.args.get("with_"):
            if clause.recursive:
                continue
            clause.append("expressions", cte)
        else:
            copy.set("with_", exp.With(expressions=[cte]))
        yield copy


def distinct_to_group_by(tree: exp.Query, mschema: MSchema) -> Iterator[exp.Query]:
    """``SELECT DISTINCT a, b FROM t`` → ``SELECT a, b FROM t GROUP BY a, b``."""
    for copy, node in places(tree, exp.Select):
        distinct = node.args.get("distinct")
        if distinct is None or distinct.args.get("on"):
            continue
        node.set("distinct", None)
        if is_plain(node) and _are_columns(node.expressions) and _sort_keys(node) <= _texts(node.expressions):
            node.set("group", exp.Group(expressions=[e.copy() for e in node.expressions]))
            yield copy


def group_by_to_distinct(tree: exp.Query, mschema: MSchema) -> Iterator[exp.Query]:
    """``SELECT a, b FROM t GROUP BY a, b`` → ``SELECT DISTINCT a, b FROM t``."""
    for copy, node in places(tree, exp.Select):
        group = node.args.get("group")
        if group is None or any(node.args.get(a) for a in ("distinct", "having", "limit", "offset")):
            continue
        keys = _texts(group.expressions)
        grouped_plainly = not any(value for name, value in group.args.items() if name != "expressions")
        if not grouped_plainly or not _are_columns(node.expressions) or not _sort_keys(node) <= keys:
            continue
        if keys == _texts(node.expressions):
            node.set("group", None)
            node.set("distinct", exp.Distinct())
            yield copy


def _are_columns(nodes: list[exp.Expr]) -> bool:
    return all(isinstance(n, exp.Column) and not isinstance(n.this, exp.Star) for n in nodes)


def _texts(nodes: list[exp.Expr]) -> set[str]:
    return {n.sql().lower() for n in nodes}


def _sort_keys(select: exp.Select) -> set[str]:
    order = select.args.get("order")
    return _texts([o.this for o in order.expressions]) if order else set()


def add_aliases(tree: exp.Query, mschema: MSchema) -> Iterator[exp.Query]:
    """``FROM orders JOIN …`` → ``FROM orders AS t1 JOIN …`` in a query without subqueries."""
    sources = _flat_sources(tree)
    names = {i.name.lower() for i in tree.find_all(exp.Identifier)}
    if len(sources) < 2 or any(s.alias for s in sources) or names & {f"t{n + 1}" for n in range(len(sources))}:
        return
    new = {source_name(s): exp.to_identifier(f"t{n + 1}") for n, s in enumerate(sources)}
    if len(new) == len(sources):
        copy = tree.copy()
        for table in list(copy.find_all(exp.Table)):
            table.set("alias", exp.TableAlias(this=new[table.name.lower()].copy()))
        yield _requalified(copy, new)


def drop_aliases(tree: exp.Query, mschema: MSchema) -> Iterator[exp.Query]:
    """``FROM orders AS o JOIN …`` → ``FROM orders JOIN …`` where every table is read once."""
    sources = _flat_sources(tree)
    aliased = {s.alias.lower(): s.this for s in sources if s.alias}
    if not aliased or len({s.name.lower() for s in sources}) != len(sources):
        return
    copy = tree.copy()
    for table in copy.find_all(exp.Table):
        table.set("alias", None)
    yield _requalified(copy, aliased)


def _flat_sources(tree: exp.Query) -> list[exp.Table]:
    """The base tables of a query that is one SELECT over base tables; else nothing."""
    if not isinstance(tree, exp.Select) or len(list(tree.find_all(exp.Query))) != 1:
        return []
    sources = sources_of(tree)
    return [s for s in sources if isinstance(s, exp.Table)] if all(isinstance(s, exp.Table) for s in sources) else []


def _requalified(tree: exp.Query, names: dict[str, exp.Identifier]) -> exp.Query:
    for column in tree.find_all(exp.Column):
        if column.table.lower() in names:
            column.set("table", names[column.table.lower()].copy())
    return tree


RULES: dict[str, Rule] = {
    rule.__name__: rule
    for rule in (
        between_to_comparisons,
        comparisons_to_between,
        in_list_to_or,
        or_to_in_list,
        in_query_to_exists,
        exists_to_in_query,
        swap_conjuncts,
        swap_key_sides,
        swap_joined_tables,
        count_forms,
        cte_to_subquery,
        subquery_to_cte,
        distinct_to_group_by,
        group_by_to_distinct,
        add_aliases,
        drop_aliases,
    )
}
"""Every rule by name, in the order in which they are tried."""
