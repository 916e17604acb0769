"""The grammar writes questions that its queries answer; mutations make wrong queries; nothing repeats."""

from __future__ import annotations

import random
import re
import sqlite3
from collections import Counter

import pytest
import sqlglot

from askguru_lib.data.grammar import Grammar, NotHere
from askguru_lib.data.mutations import MUTATIONS, corrupt
from askguru_lib.data.patterns import PATTERNS
from askguru_lib.data.patterns.compared import beyond_row, in_both, own_parent
from askguru_lib.data.patterns.computed import best_of_group, days_between, product, running_total
from askguru_lib.data.patterns.derived import classes, initials, text_form
from askguru_lib.data.patterns.groups import beyond_average, busiest_time, grouping, share, two_measures
from askguru_lib.data.patterns.joins import (
    childless,
    different_parents,
    join_grouping,
    join_measure,
    latest_of,
    parent_having,
    top_parent,
    with_none,
)
from askguru_lib.data.patterns.one_table import COUNT_THEM, counting, listing
from askguru_lib.data.patterns.ordering import top_k
from askguru_lib.data.phrasing import TERMS, humanize, participle, plural, say, says_no_name, singular, spoken
from askguru_lib.data.synthesis import normalize_question, normalize_sql, refine_samples, selection_samples, synthesize
from askguru_lib.data.trees import render
from askguru_lib.databases.executor import Failure, Result
from askguru_lib.databases.m_schema import MSchema
from askguru_lib.training.corpus import PaperDatabase
from askguru_lib.training.random_schemas import random_database


@pytest.fixture
def shop() -> MSchema:
    schema = MSchema("shop")
    schema.add_table("customers")
    schema.add_field("customers", "id", "INTEGER", True, examples=[1, 2, 3])
    schema.add_field("customers", "name", "TEXT", examples=["Ann", "Bo", "Cy"])
    schema.add_field("customers", "city", "TEXT", examples=["Oslo", "Rome", "Oslo"])
    schema.add_table("orders")
    schema.add_field("orders", "id", "INTEGER", True, examples=[1, 2, 3])
    schema.add_field("orders", "customer_id", "INTEGER", examples=[1, 2, 2])
    schema.add_field("orders", "price", "REAL", examples=[10.5, 20, 35])
    schema.add_field("orders", "order", "DATE", examples=["2023-01-02", "2024-05-06"])
    schema.add_foreign_key("orders", "customer_id", None, "customers", "id")
    return schema


class PaperExecutor:
    """Runs queries on the schema's own example values."""

    def __init__(self, schema: MSchema) -> None:
        self.connection = PaperDatabase(schema).connection

    def run_many(self, items, desc=None):
        return [self.run(sql) for _, sql in items]

    def run(self, sql: str) -> Result:
        try:
            cursor = self.connection.execute(sql)
            return Result(tuple(d[0] for d in cursor.description), tuple(cursor.fetchall()), 0.1, False, None)
        except sqlite3.Error as e:
            return Result((), (), 0.1, False, Failure("other", str(e)))


def test_every_pattern_parses_and_runs_on_random_databases():
    seen = set()
    for i in range(60):
        rng = random.Random(i)
        database = random_database(rng)
        grammar, paper = Grammar(database.schema, rng, database.meanings), PaperDatabase(database.schema)
        for _ in range(30):
            if pair := grammar.draw():
                sql = render(pair.tree)
                sqlglot.parse_one(sql, dialect="sqlite")
                paper.connection.execute(sql).fetchall()
                assert pair.question.strip()
                seen.add(pair.pattern)
    assert len(seen) >= len(PATTERNS)


def test_reserved_words_and_odd_names_are_quoted(shop):
    rng = random.Random(1)
    texts = [render(p.tree) for _ in range(300) if (p := Grammar(shop, rng).draw())]
    assert any('"order"' in t for t in texts)
    assert not any(" order " in t for t in texts)


def test_people_write_is_not_null_and_not_in(shop):
    tree = sqlglot.parse_one("SELECT a FROM t WHERE NOT b IS NULL AND NOT c IN (SELECT d FROM e)", dialect="sqlite")
    assert render(tree) == "SELECT a FROM t WHERE b IS NOT NULL AND c NOT IN (SELECT d FROM e)"


@pytest.fixture
def staff() -> MSchema:
    schema = MSchema("staff")
    schema.add_table("employees")
    schema.add_field("employees", "id", "INTEGER", True, examples=[1, 2, 3])
    schema.add_field("employees", "name", "TEXT", nullable=False, examples=["Ann", "Bo", "Cy"])
    schema.add_field("employees", "hire_date", "DATE", nullable=False, examples=["2020-05-06", "2021-07-08"])
    schema.add_field("employees", "exit_date", "DATE", nullable=True, examples=["2022-01-02"])
    schema.add_field("employees", "hours", "INTEGER", nullable=False, examples=[20, 30, 40])
    schema.add_field("employees", "wage", "REAL", nullable=False, examples=[10.5, 12.0, 14.0])
    schema.add_field("employees", "team", "TEXT", nullable=False, examples=["A", "B"])
    schema.add_field("employees", "is_manager", "INTEGER", nullable=False, examples=[0, 1])
    schema.add_table("trips")
    schema.add_field("trips", "id", "INTEGER", True, examples=[1, 2, 3])
    schema.add_field("trips", "employee_id", "INTEGER", examples=[1, 2])
    schema.add_field("trips", "city", "TEXT", examples=["Oslo", "Rome"])
    schema.add_field("trips", "days", "INTEGER", nullable=False, examples=[2, 30])
    schema.add_field("trips", "return_date", "DATE", nullable=True, examples=["2022-01-02", "2023-02-03"])
    schema.add_foreign_key("trips", "employee_id", None, "employees", "id")
    return schema


def drawn(schema: MSchema, pattern, n: int = 400) -> list[tuple[str, str, str]]:
    """Questions, evidence and queries of one pattern."""
    grammar = Grammar(schema, random.Random(5))
    pairs = [p for _ in range(n) if (p := grammar.draw({pattern: 1.0}))]
    return [(p.question.lower(), p.evidence, render(p.tree)) for p in pairs]


def test_half_of_a_key_and_a_first_name_stand_for_no_row():
    schema = MSchema("school")
    schema.add_table("grades")
    schema.add_field("grades", "pupil_id", "INTEGER", True, examples=[1, 2])
    schema.add_field("grades", "course_id", "INTEGER", True, examples=[1, 2])
    schema.add_field("grades", "mark", "INTEGER", examples=[1, 2, 5])
    schema.add_table("pupils")
    schema.add_field("pupils", "number", "INTEGER", True, examples=[1, 2])
    schema.add_field("pupils", "first_name", "TEXT", examples=["Ann", "Bo"])
    schema.add_field("pupils", "last_name", "TEXT", examples=["Ek", "Fox"])
    grammar = Grammar(schema, random.Random(1))
    with pytest.raises(NotHere):
        grammar._label("grades")
    assert grammar._label("pupils").name == "last_name"


def test_a_chain_is_taken_only_where_no_other_way_leads_there(shop):
    shop.add_table("stores")
    shop.add_field("stores", "id", "INTEGER", True, examples=[1, 2])
    shop.add_field("customers", "store_id", "INTEGER", examples=[1, 2])
    shop.add_foreign_key("customers", "store_id", None, "stores", "id")
    [(lower, upper)] = Grammar(shop, random.Random(1)).chains
    assert (lower.child, lower.parent, upper.parent) == ("orders", "customers", "stores")
    shop.add_field("orders", "store_id", "INTEGER", examples=[1, 2])
    shop.add_foreign_key("orders", "store_id", None, "stores", "id")
    assert Grammar(shop, random.Random(1)).chains == [], "the order's own store, or its customer's?"


def test_a_date_is_asked_for_by_what_happened_on_it(staff):
    found = drawn(staff, listing) + drawn(staff, counting)
    hired = [(q, s) for q, _, s in found if re.search(r"\bhired (in|before|after|since)", q)]
    assert hired
    assert all("hire_date" in s for _, s in hired)
    missing = [s for q, _, s in found if re.search(r"not (yet )?(been )?returned|never returned|not returned yet", q)]
    assert missing
    assert all("return_date IS NULL" in s for s in missing)
    one = [(q, s) for q, e, s in found if not e and " AND " not in s and " OR " not in s and "is_manager =" in s]
    managers = [(q, s) for q, s in one if re.search(r"\bmanager\b", q) and "is manager" not in q]
    assert len({s[-1] for _, s in managers}) == 2
    assert all(("= 0" in s) == (re.search(r"\bnot manager\b", q) is not None) for q, s in managers)


def test_a_year_that_bounds_a_date_is_a_day(staff):
    before = [
        (q, s) for q, _, s in drawn(staff, counting, 1500) if re.search(r"hired before (the year )?2020\b(?!-)", q)
    ]
    assert before
    assert all("hire_date < '2020-01-01'" in s for _, s in before)


def test_a_word_that_the_question_makes_up_is_defined_by_the_evidence(staff):
    terms = [(q, e, s) for q, e, s in drawn(staff, counting, 1500) if e and e not in COUNT_THEM]
    assert len(terms) > 20
    for question, evidence, sql in terms:
        defined = re.findall(r"[a-z]+", evidence.lower())
        said = ["".join(sorted(word)) for word in re.findall(r"[a-z]+", question)]  # a slip swaps letters
        assert any(t in defined and "".join(sorted(t)) in said for t in TERMS), (question, evidence)
        assert "WHERE" in sql


def test_what_the_evidence_says_to_show_is_what_is_selected(staff):
    told = [(e, s) for _, e, s in drawn(staff, beyond_average, 600) if "enough" in e or "how " in e.lower()]
    assert len({s.split()[1] for _, s in told}) == 2
    assert all(s.split()[1] in e.lower() for e, s in told)


def test_the_rows_of_an_owner_are_those_joined_to_its_name(staff):
    owned = [
        (q, s) for q, _, s in drawn(staff, join_measure) if re.search(r"\b(of|for|by|at|from) (the \w+ )?ann\b", q)
    ]
    assert owned
    assert all("JOIN employees" in s and "employees.name = 'Ann'" in s for _, s in owned)


def test_patterns_that_compute_give_the_right_numbers(staff):
    db = sqlite3.connect(":memory:")
    db.executescript("""
        CREATE TABLE employees (id INTEGER, name TEXT, hire_date TEXT, exit_date TEXT, hours INTEGER, wage REAL,
                                team TEXT, is_manager INTEGER);
        INSERT INTO employees VALUES (1, 'Ann', '2020-05-06', '2020-05-16', 20, 10.0, 'A', 1),
                                     (2, 'Bo', '2021-07-08', NULL, 30, 12.0, 'B', 0),
                                     (3, 'Cy', '2021-08-08', NULL, 40, 14.0, 'B', 0);
        CREATE TABLE trips (id INTEGER, employee_id INTEGER, city TEXT, days INTEGER, return_date TEXT);
        INSERT INTO trips VALUES (1, 1, 'Oslo', 2, '2022-01-02'), (2, 1, 'Rome', 30, NULL);
    """)

    def answers(pattern, part: str, n: int = 1500) -> set:
        queries = {s for _, _, s in drawn(staff, pattern, n) if part in s}
        assert queries, part
        return {tuple(map(tuple, db.execute(s).fetchall())) for s in queries}

    assert answers(product, "SELECT SUM(hours * wage) FROM employees") >= {((1120.0,),)}
    assert ((10.0,),) in answers(days_between, "SELECT AVG(julianday(exit_date) - julianday(hire_date)) FROM employees")
    assert (("Ann", 2), ("Bo", 0), ("Cy", 0)) in answers(with_none, "LEFT JOIN")
    assert (("2020", 1), ("2021", 3)) in answers(running_total, "SELECT year, SUM(n) OVER")
    assert ((1,),) in answers(different_parents, "COUNT(DISTINCT employee_id)")
    assert (("A", "Ann"), ("B", "Cy")) in answers(best_of_group, "one.wage = (SELECT MAX(other.wage)")
    assert {(("Oslo",),), (("Rome",),)} <= answers(latest_of, "SELECT trips.city")
    assert ((10.0, 14.0),) in answers(two_measures, "SELECT MIN(wage), MAX(wage) FROM employees")
    assert (("ANN",), ("BO",), ("CY",)) in answers(text_form, "SELECT UPPER(name) FROM employees")
    assert ((0,),) in answers(text_form, "SELECT COUNT(*) FROM employees WHERE LENGTH(name) > 4")
    assert (("A", 1), ("B", 1), ("C", 1)) in answers(initials, "SELECT substr(name, 1, 1), COUNT(*) FROM employees")
    years = answers(busiest_time, "SELECT strftime('%Y', hire_date) FROM employees GROUP BY")
    assert years == {(("2021",),), (("2020",),)}  # the most, and the fewest
    assert answers(share, "WHERE team = 'B'") >= {((0.0,),), ((100.0,),)}
    best = "SELECT one.city, one.id FROM trips AS one WHERE one.return_date = (SELECT MAX(other.return_date)"
    assert not [s for _, _, s in drawn(staff, best_of_group) if best in s]  # a date that may be missing decides nothing


def test_the_evidence_says_which_class_is_which(staff):
    staff.tables["employees"]["fields"]["hours"]["examples"] = ["20", "30", "40", "50", "60"]
    db = sqlite3.connect(":memory:")
    db.execute("CREATE TABLE employees AS SELECT 'x' AS name, column1 AS hours FROM (VALUES (20), (30), (50), (60))")
    kinds = set()
    for question, evidence, sql in drawn(staff, classes, 1500):
        if "CASE WHEN hours" not in sql or " WHERE " in sql or not sql.startswith("SELECT CASE"):
            continue
        counts = dict(db.execute(sql).fetchall())
        assert set(counts) <= set(re.findall(r"[a-z]+", evidence)), (question, evidence, sql)
        below, *above = re.findall(r"(\w+) is (?:below|under|less than) 30 |(\w+) is (?:at least |from )?50", evidence)
        assert counts[below[0]] == 1
        assert [counts[name] for _, name in above] in ([], [2])
        kinds.add(len(counts))
    assert kinds == {2, 3}


def test_a_share_of_a_part_tests_different_columns_and_is_said_in_whole_sentences(staff):
    parts = [(question, sql) for question, _, sql in drawn(staff, share, 1500) if " WHERE " in sql]
    assert len(parts) > 50
    for question, sql in parts:
        tested, where = sql.split(" THEN ")[0], sql.split(" WHERE ")[1]
        assert not {c for c in staff.tables["employees"]["fields"] if f" {c} " in tested and f"{c} " in where}, sql
        assert re.search(r"what (percentage|share)|among|of those", question), question


def test_an_aggregate_of_a_column_that_is_called_a_count_is_no_count(staff):
    staff.add_field("trips", "stop_count", "INTEGER", nullable=False, examples=[1, 2, 3])
    for question, _, sql in drawn(staff, grouping, 1500):
        if "COUNT(*)" not in sql:
            assert re.search(r"stop|count|days|wage|h[ours]{4}", question), (question, sql)


def test_values_with_braces_are_said_as_they_are(shop):
    shop.tables["customers"]["fields"]["name"]["examples"] = ["Ann {x}", "A {", "B }"]
    said = {q for pattern in PATTERNS for q, _, _ in drawn(shop, pattern, 150)}
    assert any("ann {x}" in q for q in said)
    assert any("a {" in q for q in said)


def test_what_happens_is_said_of_dates_only(staff):
    staff.add_field("employees", "top_speed", "INTEGER", nullable=False, examples=[1, 2, 3])
    staff.add_field("employees", "delivery_fee", "INTEGER", nullable=False, examples=[1, 2, 3])
    staff.add_field("employees", "birth_weight", "INTEGER", nullable=False, examples=[1, 2, 3])
    for question, _, sql in drawn(staff, top_k, 1500):
        if re.search("top_speed|delivery_fee|birth_weight", sql.split("ORDER BY")[1]):
            assert not re.search(r"delivered|(first|last|earliest|latest) (top )?speed|youngest|oldest", question), (
                question
            )


def test_synthesis_repeats_nothing_and_excludes_what_it_is_told(shop):
    pairs = synthesize(shop, 120, seed=3)
    assert len({normalize_sql(p["SQL"]) for p in pairs}) == len(pairs) == 120
    assert len({normalize_question(p["question"]) for p in pairs}) == len(pairs)
    known = {normalize_sql(p["SQL"]) for p in pairs}
    again = synthesize(shop, 60, seed=4, exclude=known)
    assert not known & {normalize_sql(p["SQL"]) for p in again}


def test_synthesis_is_the_same_for_the_same_seed_and_keeps_only_what_answers(shop):
    executor = PaperExecutor(shop)

    def execute(sqls):
        return executor.run_many([("shop", s) for s in sqls])

    first = synthesize(shop, 50, seed=3, execute=execute)
    assert first == synthesize(shop, 50, seed=3, execute=execute)
    assert all(any(v is not None for row in executor.run(p["SQL"]).rows for v in row) for p in first)


@pytest.mark.parametrize(
    ("said", "happened"),
    [("hire date", "hired"), ("opened on", "opened"), ("birth date", "born"), ("date", None), ("need", None),
     ("date of payment", "paid")],
)  # fmt: skip
def test_what_happened_on_a_date(said, happened):
    assert participle(said) == happened


@pytest.mark.parametrize("kind", MUTATIONS)
def test_each_kind_of_mutation_changes_the_query(kind, shop):
    sql = (
        "SELECT customers.name, SUM(orders.price) FROM orders JOIN customers ON orders.customer_id = customers.id "
        "WHERE strftime('%Y', orders.\"order\") = '2023' AND orders.price > 5 GROUP BY customers.name "
        "ORDER BY SUM(orders.price) DESC LIMIT 3"
    )
    tree = sqlglot.parse_one(sql, dialect="sqlite")
    broken = [t for i in range(20) if MUTATIONS[kind][0](t := tree.copy(), shop, random.Random(i))]
    assert broken
    assert all(render(t) != render(tree) for t in broken)


def test_refine_samples_differ_from_gold_and_carry_what_the_engine_said(shop):
    records = _processed(shop)
    samples = refine_samples(records, PaperExecutor(shop), seed=1, n=40, preview_rows=3)
    assert len(samples) == 40
    for s in samples:
        wrong, said = s["pred_sql_res"]
        assert normalize_sql(wrong) != normalize_sql(s["sql"])
        assert said
    assert any(s["pred_sql_res"][1].startswith("Error: ") for s in samples)


def test_selection_samples_hold_the_gold_once_and_its_place_varies(shop):
    samples = selection_samples(_processed(shop), PaperExecutor(shop), seed=1, n=60, preview_rows=3)
    assert {s["answer"] for s in samples} >= {0, 1, 2}
    for s in samples:
        assert s["candidates"][s["answer"]]["sql"] == s["sql"]
        results = [c["result"] for c in s["candidates"]]
        assert len(set(results)) == len(results) >= 2
        assert not any(r.startswith("Error: ") or "(no rows)" in r for r in results), "a critic never meets those"
    for size in {len(s["candidates"]) for s in samples}:
        places = Counter(s["answer"] for s in samples if len(s["candidates"]) == size)
        assert max(places.values()) - min(places[p] for p in range(size)) <= 1, "a letter is favoured"


def test_unparseable_sql_is_not_corrupted(shop):
    assert corrupt("SELEC nothing FRM", shop, random.Random(1)) is None


@pytest.mark.parametrize("pattern", [join_grouping, top_parent, parent_having, with_none])
def test_rows_are_counted_for_each_parent_and_not_for_its_name(shop, pattern):
    queries = {sql for _, _, sql in drawn(shop, pattern, 200)}
    assert queries
    assert all("GROUP BY customers.id" in sql for sql in queries)
    if pattern in (join_grouping, with_none):
        db = sqlite3.connect(":memory:")
        db.executescript("""
            CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT, city TEXT);
            INSERT INTO customers VALUES (1, 'Ann', 'Oslo'), (2, 'Ann', 'Rome');
            CREATE TABLE orders (id INTEGER, customer_id INTEGER, price REAL, "order" TEXT);
            INSERT INTO orders VALUES (1, 1, 1, '2023-01-02'), (2, 2, 2, '2023-01-02'), (3, 2, 3, '2023-01-02');
        """)
        counted = [sql for sql in queries if "COUNT(" in sql and " WHERE " not in sql]
        assert counted
        assert all(sorted(db.execute(sql)) == [("Ann", 1), ("Ann", 2)] for sql in counted)


def test_what_is_missing_is_found_where_a_reference_is_empty(shop):
    queries = {sql for _, _, sql in drawn(shop, childless, 200)}
    assert queries
    db = sqlite3.connect(":memory:")
    db.executescript("""
        CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT, city TEXT);
        INSERT INTO customers VALUES (1, 'Ann', 'Oslo'), (2, 'Bo', 'Rome');
        CREATE TABLE orders (id INTEGER, customer_id INTEGER, price REAL, "order" TEXT);
        INSERT INTO orders VALUES (1, 1, 1, '2023-01-02'), (2, NULL, 2, '2023-01-02');
    """)
    assert {sql for sql in queries if " price " not in sql}
    for sql in queries:
        rows = db.execute(sql).fetchall()
        assert rows, sql
        assert rows[-1][0] in ("Bo", "Rome", 2, 1), sql


@pytest.mark.parametrize(
    ("name", "said"),
    [("order_Date", "order date"), ("tbl_customer", "customer"), ("CustomerID", "customer id"), ("t", "t")],
)
def test_names_become_words(name, said):
    assert humanize(name) == said


@pytest.mark.parametrize(
    ("one", "many"),
    [("city", "cities"), ("status", "statuses"), ("box", "boxes"), ("person", "people"),
     ("day of cancellation", "days of cancellation"), ("property we offer", "properties we offer"),
     ("date it must be back", "dates it must be back"), ("check in date", "check in dates"), ("course", "courses"),
     ("warehouse", "warehouses"), ("shelf in the shop", "shelves in the shop"), ("boss", "bosses"),
     ("class", "classes"), ("movement", "movements"), ("series", "series")],
)  # fmt: skip
def test_plurals(one, many):
    assert plural(one) == many
    assert plural(many) == many
    assert one == "person" or singular(many) == one


def test_a_clause_has_no_plural_and_is_no_name_of_rows():
    assert plural("why the line was dead") == singular("why the line was dead") == "why the line was dead"
    schema = MSchema("s")
    schema.add_table("atd", comment="who was on which course")
    schema.add_field("atd", "dur", "INTEGER", comment="empty while still out", examples=[1, 2])
    table = Grammar(schema, random.Random(1)).tables["atd"]
    assert (table.phrases, table.columns[0].phrases) == (("atd",), ("dur",))


@pytest.mark.parametrize(
    ("comment", "names"),
    [("empty weight", True), ("empty", False), ("not in use", True), ("not known", False),
     ("1 lowest to 8 highest", False), ("is active", True), ("full time is 38", False),
     ("missing for a few", False), ("missing parts", True)],
)  # fmt: skip
def test_what_is_said_of_values_is_no_name(comment, names):
    assert says_no_name(comment) != names


def test_articles_before_vowels_and_none_within_values():
    rng = random.Random(1)
    said = {say(rng, ("{x}",), "with a owner") for _ in range(50)}
    assert any("with an owner" in s for s in said)
    assert not any("with a owner" in s for s in said)
    assert not any(" an " in say(rng, ("{x}",), "kind is a or b, a unit, a one, a of it") for _ in range(100))


@pytest.fixture
def no_slips(monkeypatch):
    monkeypatch.setattr("askguru_lib.data.phrasing.slip", lambda rng, text: text)


def test_rows_are_compared_with_one_that_is_called_by_its_name(staff, no_slips):
    pairs = drawn(staff, beyond_row, 300)
    assert any(" > (SELECT" in s for _, _, s in pairs)
    assert any(" IN (SELECT" in s and "<>" in s for _, _, s in pairs)
    for question, _, sql in pairs:
        more = re.search(r"later|after|higher|larger|more|older|longer|heavier|taller", question)
        less = re.search(r"earlier|before|lower|smaller|fewer|less|younger|shorter|lighter", question)
        assert ("<>" in sql) == bool(re.search("other|share", question)), (question, sql)
        if " IN (" not in sql:
            assert (" > (SELECT" in sql) == bool(more) != bool(less), (question, sql)


def test_a_table_that_refers_to_itself_is_asked_about(no_slips):
    schema = MSchema("s")
    schema.add_table("unit")
    schema.add_field("unit", "unit_id", "INTEGER", True, examples=[1, 2, 3])
    schema.add_field("unit", "title", "TEXT", examples=["Alpha", "Beta", "Gamma"])
    schema.add_field("unit", "parent_id", "INTEGER", nullable=True, examples=[1])
    schema.add_foreign_key("unit", "parent_id", None, "unit", "unit_id")
    pairs = drawn(schema, own_parent, 300)
    for start in ("SELECT title FROM unit WHERE parent_id IN (SELECT unit_id",
                  "SELECT title FROM unit WHERE unit_id IN (SELECT parent_id",
                  "SELECT COUNT(*) FROM unit WHERE parent_id IS NULL", "SELECT one.title, other.title",
                  "SELECT other.title"):  # fmt: skip
        assert any(s.startswith(start) for _, _, s in pairs), start
    for question, _, sql in pairs:
        assert "parent" in question or "directly" in question, (question, sql)


def test_what_two_tables_have_in_common_is_asked_by_how_it_is_said(no_slips):
    schema = MSchema("s")
    for table, key in (("hotel", "hotel_id"), ("guest", "guest_id")):
        schema.add_table(table)
        schema.add_field(table, key, "INTEGER", True, examples=[1, 2])
        schema.add_field(table, "name", "TEXT", examples=["Ann", "Bo"])
        schema.add_field(table, "city", "TEXT", nullable=False, examples=["Oslo", "Rome"])
    kinds = Counter()
    for question, _, sql in drawn(schema, in_both, 300):
        kind = re.search("INTERSECT|EXCEPT|UNION|NOT IN| IN ", sql)[0]
        kinds[kind] += 1
        lacking = re.search(r"\bno\b(?! repeats)|not among|without", question)
        assert bool(lacking) == (kind in ("EXCEPT", "NOT IN")), (question, sql)
    assert set(kinds) == {"INTERSECT", "EXCEPT", "UNION", "NOT IN", " IN "}


def test_plural_of_a_plural_stays():
    assert plural("sales orders") == "sales orders"
    assert singular("sales orders") == "sales order"


def test_the_noun_phrase_of_a_comment():
    assert spoken("List of invoices (posted)") == "invoices"


def _processed(schema: MSchema) -> list[dict]:
    text = schema.to_mschema()
    return [
        {"db_name": "shop", "question": p["question"], "evidence": p["evidence"], "db_schema": text, "sql": p["SQL"],
         "sql_type": "sqlite"}
        for p in synthesize(schema, 60, seed=9)
    ]  # fmt: skip


@pytest.mark.parametrize("dialect", ["sqlite", "postgresql", "mysql", "duckdb", "oracle"])
def test_a_query_has_one_normal_form_whatever_its_spelling(dialect: str) -> None:
    one = normalize_sql("select  Name, COUNT(*) from Users -- all\nwhere City = 'New  York' group by name", dialect)
    assert one == normalize_sql("SELECT name, count(*) FROM users WHERE city = 'New  York' GROUP BY NAME", dialect)
    other = ("'new  york'", "'New York'", "'New\"York'")
    assert len({normalize_sql(f"SELECT a FROM b WHERE c = {v}", dialect) for v in (*other, "'New  York'")}) == 4


def test_what_cannot_be_parsed_keeps_its_literals() -> None:
    assert normalize_sql("SELEC  a FRM b WHERE c = 'X  y';") == normalize_sql("selec a frm  B where C = 'X  y'")
    assert normalize_sql("SELEC a FRM b WHERE c = 'X'") != normalize_sql("SELEC a FRM b WHERE c = 'x'")
