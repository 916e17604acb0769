"""Judging one BIRD-CRITIC item inside a sandbox's process: set up, run the prediction, run the tests, clean up.

The flow and the functions that test cases may call are those of the official harness (``evaluation/src`` of
bird-bench/BIRD-CRITIC-1), written anew. As there:

- the prediction is run before the tests, whatever the item's category, and its last result is ``pred_query_result``;
  the default test, for items that bring none, then runs it again and compares it with the solution;
- an item with ``efficiency`` gives its tests the issue's SQL as ``pred_sqls`` and the prediction as ``sol_sqls``;
- a test fails by an exception, its return value is not looked at; dates lose their time of day when they are compared.

Where the official one goes by the text it goes by the tree here, so that no literal is changed: ``COUNT(DISTINCT x)``,
``DISTINCT ON`` and ``IS DISTINCT FROM`` stay. An explicit transaction works, because statements are not committed one
by one within it. In the default test the solution's rows are those from before the prediction, which could otherwise
change the tables until both agree. A test that fails after a time-out is a time-out. Preparations that fail are
reported instead of ignored. A later edition for PostgreSQL gives items of the category Query the default test even if
they bring their own; here their own are run.
"""

from __future__ import annotations

import datetime
import inspect
import json
import runpy
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from decimal import ROUND_HALF_UP, Context, Decimal
from pathlib import Path
from typing import Any

from askguru_lib.databases.sandbox_worker import TRANSACTION, Rows, Session, Tell, serve
from askguru_lib.databases.worker import first_word, one_line, unfit

MOST_STATEMENTS = 10
"""A phase has the time of so many statements at most."""
_DIALECTS = {"postgresql": "postgres"}
_EXACT = Context(prec=200_000)


class Helpers:
    """The functions that a test case finds in its namespace.

    ``db_name`` and ``conn`` are taken where the official harness takes them; there is only one database to run on.

    Attributes:
        overdue: some statement has been stopped at the time limit.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self.overdue = False

    def namespace(self) -> dict[str, Any]:
        run = self.perform_query
        named = (self.execute_queries, self.ex_base, self.performance_compare_by_qep, self.check_sql_function_usage)
        cleaning = (self.remove_comments, self.remove_distinct, self.remove_round, self.preprocess_results)
        return {
            **{function.__name__: function for function in (*named, *cleaning)},
            "perform_query_on_sqlite_databases": run,
            "perform_query_on_postgresql_databases": run,
            "datetime": datetime,
            "date": datetime.date,
        }

    def perform_query(self, query: str, db_name: Any = None, conn: Any = None, *_: Any, **__: Any) -> tuple[Any, Any]:
        """``(rows or None, connection)``; the driver's own error when the statement fails."""
        return self._execute(query), self._session.connection

    def _execute(self, sql: str) -> Rows | None:
        try:
            return self._session.execute(sql)
        except Exception as e:
            self.overdue |= self._session.timed_out(e)
            raise

    def execute_queries(
        self,
        queries: str | Sequence[str],
        db_name: Any = None,
        conn: Any = None,
        logger: Any = None,
        section_title: str = "",
        return_error: bool = False,
    ) -> tuple[Any, ...]:
        """``(rows of the last statement, failed, timed out)``, and the message if asked; stops at the first failure."""
        rows: Rows | None = None
        failed = overdue = False
        message = ""
        statements = [queries] if isinstance(queries, str) else queries
        number = 0
        try:
            for number, sql in enumerate(statements, 1):  # noqa: B007
                rows = self._execute(sql)
            self._session.connection.commit()  # where the statements have begun a transaction and not ended it
        except Exception as e:
            overdue = self._session.timed_out(e)
            failed = not overdue
            message = said(e) if len(statements) == 1 else f"statement {number}: {said(e)}"
            with suppress(Exception):  # a connection that is gone
                self._session.rollback()
        return (rows, failed, overdue, message) if return_error else (rows, failed, overdue)

    def ex_base(
        self, pred_sqls: Any, sol_sqls: Any, db_name: Any = None, conn: Any = None, conditions: Any = None
    ) -> int:
        """1 when both lists return equal rows: as sets, or in order if ``conditions["order"]``; empty gives 0."""
        if not pred_sqls or not sol_sqls:
            return 0
        pred, sol = (self.execute_queries(sqls)[0] for sqls in (pred_sqls, sol_sqls))
        return self.alike(pred, sol, conditions)

    def alike(self, pred: Rows | None, sol: Rows | None, conditions: Any = None) -> int:
        """``ex_base`` of results."""
        if not pred or not sol:
            return 0
        left, right = ([tuple(map(_comparable, row)) for row in self.preprocess_results(r)] for r in (pred, sol))
        ordered = isinstance(conditions, Mapping) and conditions.get("order")
        return int(left == right if ordered else set(left) == set(right))

    def cleaned(self, sqls: Sequence[str]) -> list[str]:
        """What the default test runs of the statements."""
        return self.remove_round(self.remove_distinct(self.remove_comments(sqls)))

    def foresee(self, sqls: Sequence[str]) -> Rows | None:
        """The last statement's rows, whose changes are taken back; None where that cannot be done."""
        if any(first_word(sql) in TRANSACTION for sql in sqls):
            return None
        rows: Rows | None = None
        try:
            self._session.execute("BEGIN")
            for sql in sqls:
                rows = self._execute(sql)
        except Exception:
            rows = None
        with suppress(Exception):
            self._session.rollback()
        return rows

    def performance_compare_by_qep(self, old_sqls: Any, sol_sqls: Any, db_name: Any = None, conn: Any = None) -> int:
        """1 when ``sol_sqls`` cost less than ``old_sqls``; what they change is taken back.

        The cost is the planner's on PostgreSQL. SQLite's plans have none, and the steps of its virtual machine are
        counted. A query that begins with WITH is measured like any other.
        """
        if not old_sqls or not sol_sqls:
            return 0
        return int(self._session.cost(sol_sqls) < self._session.cost(old_sqls))

    @staticmethod
    def check_sql_function_usage(sqls: Sequence[str], required_keywords: Sequence[str]) -> int:
        """1 when every keyword stands somewhere in the statements, in any letter case."""
        text = " ".join(sqls or ()).lower()
        return int(bool(sqls) and all(word.lower() in text for word in required_keywords))

    def remove_comments(self, sql_list: Sequence[str]) -> list[str]:
        """The statements without comments; literals stay as they are."""
        return [self._without_comments(sql) for sql in sql_list]

    def remove_distinct(self, sql_list: Sequence[str]) -> list[str]:
        """The statements with SELECT in place of SELECT DISTINCT, in subqueries too."""
        from sqlglot import exp

        def change(distinct: exp.Expression) -> None:
            if isinstance(distinct.parent, exp.Select) and not distinct.args.get("on"):
                distinct.pop()

        return [self._changed(sql, exp.Distinct, change) for sql in sql_list]

    def remove_round(self, sql_list: Sequence[str]) -> list[str]:
        """The statements with ``x`` in place of ``ROUND(x, n)``."""
        from sqlglot import exp

        def change(rounded: exp.Expression) -> None:
            inner = rounded.this
            rounded.replace(exp.paren(inner) if isinstance(inner, exp.Binary | exp.Unary) else inner)

        return [self._changed(sql, exp.Round, change) for sql in sql_list]

    @staticmethod
    def preprocess_results(results: Sequence[Sequence[Any]], decimal_places: int = 2) -> Rows:
        """Rows to compare: dates as ``YYYY-MM-DD``, numbers rounded, lists and objects as JSON."""
        return [tuple(_presented(value, decimal_places) for value in row) for row in results]

    def _changed(self, sql: str, kind: Any, change: Callable[[Any], object]) -> str:
        """The statement after ``change`` of its nodes of a kind; as it was when there are none or it is not parsed."""
        import sqlglot

        dialect = _DIALECTS.get(self._session.dialect, self._session.dialect)
        try:
            tree = sqlglot.parse_one(sql, read=dialect)
            before = tree.sql(dialect)
            for node in reversed(list(tree.find_all(kind))):  # the inner ones first
                change(node)
            return sql if tree.sql(dialect) == before else tree.sql(dialect)
        except (sqlglot.errors.SqlglotError, RecursionError):
            return sql

    def _without_comments(self, sql: str) -> str:
        import sqlglot

        try:
            tokens = sqlglot.tokenize(sql, read=_DIALECTS.get(self._session.dialect, self._session.dialect))
        except sqlglot.errors.SqlglotError:
            return sql
        kept, end = "", 0
        for token in tokens:
            gap = sql[end : token.start]
            kept += (gap if not gap.strip() else " ") + sql[token.start : token.end + 1]
            end = token.end + 1
        return kept.strip()


def _presented(value: Any, places: int) -> Any:
    value = _rounded(value, places)
    if isinstance(value, datetime.date):
        return value.strftime("%Y-%m-%d")
    return json.dumps(value, sort_keys=True, default=str) if isinstance(value, dict | list | tuple) else value


def _rounded(value: Any, places: int) -> Any:
    if isinstance(value, Decimal) and value.is_finite():
        return value.quantize(Decimal(1).scaleb(-places), rounding=ROUND_HALF_UP, context=_EXACT)
    if isinstance(value, float):
        return round(value, places)
    if isinstance(value, list | tuple):
        return type(value)(_rounded(v, places) for v in value)
    return {k: _rounded(v, places) for k, v in value.items()} if isinstance(value, dict) else value


def _comparable(value: Any) -> Any:
    """Numbers of the same value are one number, whatever their type, and NaN is one, which Python denies."""
    if isinstance(value, Decimal):
        value = int(value) if value.is_finite() and value == value.to_integral_value() else float(value)
    return "NaN" if isinstance(value, float) and value != value else value


def said(error: BaseException) -> str:
    """An error's message, whatever the error makes of it."""
    try:
        text = one_line(error)
    except Exception:
        text = "an error without a message"
    return text.encode("utf-8", "replace").decode()


def judge(task: Mapping[str, Any], session: Session, tell: Tell) -> None:
    """Judge ``task["pred_sqls"]``: each phase is announced by a message with ``phase``, the verdict has ``status``.

    Statuses: ``pass``, ``fail`` (an assertion), ``error``, ``timeout``, ``crashed`` (out of memory,
    or the connection is lost), and ``defective`` when what belongs to the item failed.
    """
    helpers, limit = Helpers(session), task["timeout_s"]

    def begin(phase: str, sqls: Sequence[str]) -> None:
        tell(phase=phase, timeout_s=limit * min(max(1, len(sqls)), MOST_STATEMENTS))

    def run(phase: str, sqls: Sequence[str]) -> tuple[Any, ...]:
        begin(phase, sqls)
        rows, failed, _, message = helpers.execute_queries(sqls, return_error=True)
        return rows, failure("error") if failed or helpers.overdue else None, message

    def failure(otherwise: str) -> str:
        if helpers.overdue:
            return "timeout"
        return "crashed" if getattr(session.connection, "closed", False) else otherwise

    _, broken, message = run("preprocess", task["preprocess_sql"])
    if broken:
        tell(status="defective", message=f"preprocess_sql fails ({broken}): {message}")
        return
    refused = next(filter(None, map(unfit, task["pred_sqls"])), None)
    if refused:
        tell(status="error", message=refused.message)
        return
    expected: Rows | None = None
    if not task["test_cases"]:
        begin("solution", task["sol_sql"])
        expected = helpers.foresee(helpers.cleaned(task["sol_sql"]))
        if helpers.overdue:
            tell(status="defective", message=f"the solution does not pass (timeout): stopped after {limit:g} s")
            return
    rows, broken, message = run("prediction", task["pred_sqls"])
    if broken:
        tell(status=broken, message=f"stopped after {limit:g} s" if broken == "timeout" else message)
        return
    given = (task["issue_sql"], task["pred_sqls"]) if task["efficiency"] else (task["pred_sqls"], task["sol_sql"])
    for number, code in enumerate(task["test_cases"] or [None], 1):
        tell(phase=f"test {number}", timeout_s=limit)
        try:
            if code is None:
                pred = helpers.execute_queries(helpers.cleaned(task["pred_sqls"]))[0]
                sol = expected or helpers.execute_queries(helpers.cleaned(task["sol_sql"]))[0]
                assert helpers.alike(pred, sol, task["conditions"]), "the results are not equal"
            else:
                _test(code, helpers, given, task, session, rows)
        except MemoryError:
            tell(status="crashed", message=f"test {number}: out of memory")
            return
        except AssertionError as e:
            tell(status=failure("fail"), message=f"test {number}: {said(e)}")
            return
        except BaseException as e:  # SystemExit and KeyboardInterrupt as well
            tell(status=failure("error"), message=f"test {number}: {type(e).__name__}: {said(e)}")
            return
    tell(status="pass", message="")
    run("clean up", task["clean_up_sql"])


def _test(
    code: str,
    helpers: Helpers,
    given: tuple[list[str], list[str]],
    task: Mapping[str, Any],
    session: Session,
    rows: Any,
) -> None:
    given_names = {**helpers.namespace(), "pred_query_result": rows, "conn": session.connection}
    file = Path("test_case.py")  # in the judge's own folder
    file.write_text(code, encoding="utf-8")
    try:
        names = runpy.run_path(str(file), init_globals=given_names, run_name="test_case")
    finally:
        file.unlink()
    if not callable(test := names.get("test_case")):
        raise NameError("the code defines no function test_case")
    taken = inspect.signature(test).parameters.values()
    wants = any(p.name == "conditions" or p.kind is p.VAR_KEYWORD for p in taken)
    arguments = [list(given[0]), list(given[1]), task["db_name"], session.connection]
    test(*arguments, **({"conditions": dict(task["conditions"])} if wants else {}))


if __name__ == "__main__":
    serve(judge)
