"""Schema linking: words of a question and the names in a schema that they stand for."""

import re
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from askguru_lib.config import RunConfig
from askguru_lib.data.linking import MOST_JOINS, MOST_MEANINGS, MOST_MENTIONS, Links, Mention, schema_links
from askguru_lib.data.prompts import TEMPLATES, build_prompt
from askguru_lib.data.schema_words import abbreviates
from askguru_lib.data.sources import DatasetEntry, Original
from askguru_lib.databases.executor import Result
from askguru_lib.databases.fitting import stem
from askguru_lib.databases.m_schema import MSchema
from askguru_lib.databases.values import ValueIndex
from askguru_lib.errors import DataError
from askguru_lib.inference.critic import SQLCritic
from askguru_lib.inference.predictions import question_prompt
from askguru_lib.inference.refinement import Attempt, refine_prompt


@pytest.fixture(scope="module")
def text() -> str:
    schema = MSchema("works")
    schema.add_table("WERK", comment="plants")
    schema.add_field("WERK", "WERKS", "TEXT", primary_key=True, comment="plant code")
    schema.add_field("WERK", "NAME1", "TEXT", comment="plant name", examples=["Hafen Works", "Sued"])
    schema.add_table("EQUI", comment="equipment")
    schema.add_field("EQUI", "EQUNR", "TEXT", primary_key=True, comment="equipment number")
    schema.add_field("EQUI", "EQKTX", "TEXT", comment="name", examples=["Pump 7"])
    schema.add_field("EQUI", "INBDT", "DATE", comment="start-up date", examples=["2001-02-03"])
    schema.add_field("EQUI", "order", "TEXT", comment="")
    schema.add_field("EQUI", "net value", "REAL", comment="")
    schema.add_field("EQUI", "odd.name", "REAL", comment="purchase price")
    schema.add_table("people", comment="")
    schema.add_field("people", "hire_date", "DATE", comment="")
    schema.add_field("people", "birth_date", "DATE", comment="")
    schema.add_table("category", comment="")
    schema.add_field("category", "statusCode", "TEXT", comment="")
    return schema.to_mschema()


def linked(text: str, question: str) -> dict[str, tuple[str, ...]]:
    return {mention.words: mention.items for mention in schema_links(text, question).mentions}


@pytest.mark.parametrize(
    ("question", "words", "item"),
    [
        ("Which plants are there?", "plants", "WERK"),
        ("What is the start-up date of each?", "start-up date", "EQUI.INBDT"),
        ("Show the START-UP DATES", "START-UP DATES", "EQUI.INBDT"),
        ("List all status codes", "status codes", "category.statusCode"),
        ("How many categories do we have?", "categories", "category"),
        ("the net value, please", "net value", 'EQUI."net value"'),
        ("its purchase price", "purchase price", 'EQUI."odd.name"'),
        ("What happened at hafen works?", "hafen works", "WERK.NAME1"),
        ("Is 'Pump 7' new?", "Pump 7", "EQUI.EQKTX"),
        ("the plant's name", "plant's name", "WERK.NAME1"),
        ("the name of the plant", "name of the plant", "WERK.NAME1"),
        ("Who was hired last?", "hired", "people.hire_date"),
        ("those hiring in May", "hiring", "people.hire_date"),
        ("When was Ann born?", "born", "people.birth_date"),
        ("Who is the oldest?", "oldest", "people.birth_date"),
        ("the least expensive one", "expensive", 'EQUI."odd.name"'),
    ],
)
def test_words_of_names_comments_and_values_are_linked(text: str, question: str, words: str, item: str):
    assert linked(text, question)[words][0] == item


def test_a_longer_phrase_wins_over_a_shorter_one(text: str):
    assert "date" not in linked(text, "the start-up date")


def test_of_columns_that_are_called_alike_those_of_a_named_table_are_meant(text: str):
    assert linked(text, "names")["names"] == ("EQUI.EQKTX",)
    assert "EQUI.EQKTX" in linked(text, "names of the equipment")["names"]


def test_where_no_table_is_named_a_name_is_that_of_the_tables_that_are_told():
    schema = MSchema("s")
    for table, column in (("client", "town"), ("agent", "grade"), ("site", "area")):
        schema.add_table(table)
        schema.add_field(table, "name", "TEXT", examples=["Ann"])
        schema.add_field(table, column, "TEXT", examples=["Oslo"])
    text = schema.to_mschema()
    assert linked(text, "names, please")["names"] == ("client.name", "agent.name", "site.name")
    assert linked(text, "names of those with a grade")["names"] == ("agent.name",)
    assert linked(text, "names of sites with a grade")["names"] == ("site.name",)


def test_an_unknown_word_and_a_function_word_are_linked_to_nothing(text: str):
    assert schema_links(text, "How many of the unicorns are there?") == Links(())
    assert str(Links(())) == "None"


def test_part_of_a_word_is_not_a_value(text: str):
    assert "Sued" not in linked(text, "Who pursued it?")
    assert not any(words.lower() == "sued" for words in linked(text, "Who pursued it?"))


def test_a_value_of_the_data_is_linked_to_the_columns_that_the_schema_shows(text: str):
    values = {"Bergen": [["WERK", "NAME1"], ["WERK", "gone"]], "Nord": [["gone", "x"]]}
    links = schema_links(text, "Is it in Bergen or Nord?", values)
    assert links.mentions == (Mention("Bergen", ("WERK.NAME1",), ("'Bergen'",)),)


def test_a_value_is_found_behind_a_word_that_holds_it(text: str):
    links = schema_links(text, "Any flights to NY?", {"NY": [["WERK", "NAME1", "New York"]]})
    assert links.mentions == (Mention("NY", ("WERK.NAME1",), ("'New York'",)),)


def test_a_function_word_is_not_a_name_that_comes_from_it():
    schema = MSchema("d")
    schema.add_table("listings")
    for name in ("tel", "note", "car", "plan", "bookings", "earnings"):
        schema.add_field("listings", name, "TEXT")
    text = schema.to_mschema()
    for question in (
        "Tell me a number",
        "List them",
        "Which are not active?",
        "who takes care",
        "on a plane",
        "costing 3",
    ):
        assert linked(text, question) == {}, question
    assert linked(text, "What is booked?") == {"booked": ("listings.bookings",)}
    schema.add_field("listings", "booked", "TEXT")  # the word itself comes before its relatives
    assert linked(schema.to_mschema(), "What is booked?") == {"booked": ("listings.booked",)}


@pytest.mark.parametrize(
    ("short", "word"),
    [("cust", "customer"), ("rtg", "rating"), ("acct", "account"), ("outg", "outage"), ("prop", "property"),
     ("shr", "share"), ("qty", "quantity"), ("inv", "invoice")],
)  # fmt: skip
def test_a_name_abbreviates_a_word(short: str, word: str):
    assert abbreviates(short, word)


@pytest.mark.parametrize(
    ("short", "word"),
    [("car", "carpet"), ("no", "note"), ("plays", "playlist"), ("rtg", "rat"), ("inv", "in"), ("mnt", "month"),
     ("abc", "alphabet"), ("member", "membership"), ("grade", "graduated"), ("cat", "cat")],
)  # fmt: skip
def test_a_word_or_other_letters_are_no_abbreviation(short: str, word: str):
    assert not abbreviates(short, word)


def test_abbreviated_names_are_linked():
    schema = MSchema("d")
    schema.add_table("PROP", comment="what is on offer")
    schema.add_field("PROP", "PR_TYP", "TEXT", comment="kind of property")
    schema.add_field("PROP", "rtg", "INTEGER")
    text = schema.to_mschema()
    assert linked(text, "Which properties are there?")["properties"][0] == "PROP"
    assert linked(text, "the ratings") == {"ratings": ("PROP.rtg",)}
    assert linked(text, "kind of property")["kind of property"] == ("PROP.PR_TYP",)


def test_phrases_end_with_the_sentence(text: str):
    assert "plant? name" not in linked(text, "Which plant? name it")


def test_singular_and_plural_are_one():
    for one, many in (
        ("movie", "movies"),
        ("category", "categories"),
        ("box", "boxes"),
        ("status", "statuses"),
        ("day", "days"),
    ):
        assert stem(one) == stem(many)


@pytest.mark.parametrize("values", [{"a": "WERK.NAME1"}, {"a": [["WERK"]]}, ["a"], {"a": [[1, 2]]}])
def test_malformed_values_are_named(text: str, values: object):
    with pytest.raises(DataError, match="values: expected"):
        schema_links(text, "a?", values)


def test_links_come_in_the_questions_order_and_once(text: str):
    assert list(linked(text, "start-up date and net value and start-up date")) == ["start-up date", "net value"]


def test_the_text_has_one_link_a_line():
    mentions = Mention("a", ("t.a", "u.a")), Mention("b", ("b",)), Mention("x", ("t.a", "u.a"), ("'x'", "'X'"))
    links = Links(mentions, ("t.name",), (("t.day", "t.year"),), ("t JOIN u ON t.a = u.a",))
    said = "a = t.a, u.a\nb = b\nx: t.a = 'x', u.a = 'X'\nrow = t.name\ntime = t.day, t.year\nt JOIN u ON t.a = u.a"
    assert str(links) == said


def test_a_table_inside_a_columns_words_is_named_and_not_the_reverse(text: str):
    found = linked(text, "the number of equipment")
    assert found == {"number of equipment": ("EQUI.EQUNR",), "equipment": ("EQUI",)}


def test_rows_and_joins_of_what_is_mentioned_are_said():
    schema = MSchema("shop")
    for table in ("customers", "orders", "lines", "colours"):
        schema.add_table(table)
        schema.add_field(table, "id", "INTEGER", primary_key=True)
    schema.add_field("customers", "full_name", "TEXT")
    schema.add_field("orders", "customer_id", "INTEGER")
    schema.add_field("lines", "order_id", "INTEGER")
    schema.add_foreign_key("orders", "customer_id", None, "customers", "id")
    schema.add_foreign_key("lines", "order_id", None, "orders", "id")
    links = schema_links(schema.to_mschema(), "lines of customers")
    assert links.rows == ("lines.id", "customers.full_name")
    on_the_way = {
        "orders JOIN customers ON orders.customer_id = customers.id",
        "lines JOIN orders ON lines.order_id = orders.id",
    }
    assert set(links.joins) == on_the_way
    assert schema_links(schema.to_mschema(), "lines and colours").joins == ()


def test_a_name_stands_for_a_row_before_a_key_does_and_half_a_key_or_a_first_name_does_not():
    schema = MSchema("school")
    schema.add_table("marks")
    schema.add_field("marks", "pupil", "INTEGER", primary_key=True)
    schema.add_field("marks", "subject", "INTEGER", primary_key=True)
    schema.add_table("pupils")
    schema.add_field("pupils", "id", "INTEGER", primary_key=True)
    schema.add_field("pupils", "first_name", "TEXT")
    schema.add_field("pupils", "last_name", "TEXT")
    assert schema_links(schema.to_mschema(), "marks of pupils").rows == ("pupils.last_name",)


@pytest.mark.parametrize(
    ("question", "times"),
    [
        ("How many loans are there?", ()),
        ("How many loans were there in 2023?", (("loans.made_on", "loans.due_on"),)),
        ("Which loan is the latest?", (("loans.made_on", "loans.due_on"),)),
        ("When did the book of a loan come out?", (("books.published_year",), ("loans.made_on", "loans.due_on"))),
    ],
)
def test_where_a_time_is_asked_for_the_times_of_rows_are_said(question: str, times: tuple):
    schema = MSchema("library")
    schema.add_table("loans")
    schema.add_field("loans", "id", "INTEGER", primary_key=True)
    schema.add_field("loans", "made_on", "DATE")
    schema.add_field("loans", "due_on", "DATE")
    schema.add_table("books")
    schema.add_field("books", "id", "INTEGER", primary_key=True)
    schema.add_field("books", "published_year", "INTEGER")
    schema.add_field("books", "pages", "INTEGER")
    assert schema_links(schema.to_mschema(), question).dates == times


@pytest.mark.parametrize(
    ("question", "said", "test"),
    [
        ("What was in order 1004?", "order 1004", '"Order Details"."Order" = 1004'),
        ("the total of order no. 1004", "order no. 1004", '"Order Details"."Order" = 1004'),
        ("clients number 7 and 8", "clients number 7", "clients.code = '7'"),
        ("orders 2023", "", ""),
        ("orders 3.5", "", ""),
        ("3 orders", "", ""),
    ],
)
def test_a_table_and_a_number_are_the_key_of_a_row(question: str, said: str, test: str):
    schema = MSchema("shop")
    schema.add_table("Order Details", comment="orders")
    schema.add_field("Order Details", "Order", "INTEGER", primary_key=True)
    schema.add_table("clients")
    schema.add_field("clients", "code", "TEXT", primary_key=True)
    found = [str(m) for m in schema_links(schema.to_mschema(), question).mentions if m.values]
    assert found == ([f"{said}: {test}"] if said else [])


def test_names_are_written_as_the_dialect_has_them():
    schema = MSchema("shop")
    schema.add_table("Order Details")
    schema.add_field("Order Details", "Group", "TEXT")
    said = {d: linked_in(schema, "order details by group", d) for d in ("sqlite", "mysql", "postgresql", "oracle")}
    assert said["sqlite"] == said["oracle"] == ['"Order Details"', '"Order Details"."Group"']
    assert said["mysql"] == ["`Order Details`", "`Order Details`.`Group`"]
    schema = MSchema("shop")
    schema.add_table("Orders")
    schema.add_field("Orders", "user", "TEXT")
    assert linked_in(schema, "user of orders", "postgresql") == ['"Orders"."user"', '"Orders"']
    assert linked_in(schema, "user of orders", "mysql") == ["Orders.user", "Orders"]


def linked_in(schema: MSchema, question: str, dialect: str) -> list[str]:
    links = schema_links(schema.to_mschema(), question, dialect=dialect)
    return [item for mention in links.mentions for item in mention.items]


def test_a_word_that_asks_is_not_part_of_a_name():
    schema = MSchema("d")
    schema.add_table("clients", comment="clients looking for a flat")
    schema.add_field("clients", "average_price", "REAL")
    schema.add_field("clients", "first_visit", "DATE")
    text = schema.to_mschema()
    assert linked(text, "Look up the average of the first five") == {}
    assert set(linked(text, "average price of the first visit")) == {"average price", "first visit"}
    schema.add_field("clients", "average", "REAL")
    assert linked(schema.to_mschema(), "the average") == {"average": ("clients.average",)}


@pytest.mark.parametrize(
    ("question", "named"),
    [("Name the plants", False), ("Hello. Name plants!", False), ("Name of the equipment", True), ("Names only", True),
     ("Give me the name, please", True), ("order equipment by it", False), ("the order of it", True),
     ("Order from Ann", True), ("Order having 3", True), ("Name which is missing", True)],
)  # fmt: skip
def test_a_word_that_says_what_to_do_is_no_name_where_it_begins_a_sentence(text: str, question: str, named: bool):
    columns = {item for items in linked(text, question).values() for item in items}
    assert bool(columns & {"EQUI.EQKTX", "EQUI.order", 'EQUI."order"'}) == named


def test_what_is_paid_per_year_is_no_year():
    schema = MSchema("s")
    schema.add_table("pay")
    schema.add_field("pay", "salary", "INTEGER", comment="gross per year", examples=[40000])
    schema.add_field("pay", "since", "INTEGER", comment="year of the contract", examples=[2020])
    assert schema_links(schema.to_mschema(), "pay in 2020").dates == (("pay.since",),)


def test_a_value_said_in_the_plural_is_none_where_a_table_is_called_so():
    index = ValueIndex([("people", "kind", "student"), ("people", "kind", "book")])
    schema = MSchema("d")
    schema.add_table("people")
    schema.add_field("people", "kind", "TEXT")
    schema.add_table("books")
    schema.add_field("books", "id", "INTEGER", primary_key=True)
    question = "students with books"
    links = schema_links(schema.to_mschema(), question, index.mentioned(question))
    assert [str(m) for m in links.mentions] == ["students: people.kind = 'student'", "books = books"]


def test_what_is_not_m_schema_is_refused(text: str):
    with pytest.raises(DataError, match="not M-Schema"):
        schema_links("CREATE TABLE t (a int)", "a?")


@pytest.mark.parametrize("order", ["schema_first", "question_first"])
@pytest.mark.parametrize("task", TEMPLATES)
def test_a_prompt_has_its_links_behind_the_evidence(text: str, task: str, order: str):
    given = {"db_schema": text, "question": "Which plants?", "evidence": "By start-up date.", "order": order}
    without, with_links = build_prompt(task, **given), build_prompt(task, links=True, **given)
    block = (
        "\n【Links】\nplants = WERK\nstart-up date = EQUI.INBDT\nrow = WERK.NAME1\nrow = EQUI.EQKTX\ntime = EQUI.INBDT"
    )
    if task == "nl2postgresql":  # which takes capitals for small letters where they are not quoted
        block = re.sub(r"\b[A-Z0-9]{4,}\b", r'"\g<0>"', block)
    assert with_links.replace(block, "") == without
    assert f"By start-up date.{block}" in with_links


def test_another_schema_format_has_no_links():
    given = {"db_schema": "(:Person)-[:KNOWS]->(:Person)", "question": "Who knows whom?"}
    assert build_prompt("nl2cypher", links=True, **given) == build_prompt("nl2cypher", **given)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=200))
def test_any_question_is_read(question: str):
    schema = MSchema("d")
    schema.add_table("Ünits", comment="İ things, of 5")
    schema.add_field("Ünits", "a_b", "TEXT", comment="first a", examples=["İx", "b c"])
    links = schema_links(schema.to_mschema(), question)
    assert len(links.mentions) <= MOST_MENTIONS
    assert len(links.joins) <= MOST_JOINS
    for mention in links.mentions:
        assert 0 < len(mention.items) <= MOST_MEANINGS
        assert mention.words in " ".join(question.split())


def test_training_and_use_show_the_same_links(text: str):
    record = {
        "db_name": "works", "db_schema": text, "question": "Is it in Bergen?", "evidence": "", "sql_type": "sqlite",
        "values": {"Bergen": [["WERK", "NAME1"]]}, "pred_sql_res": ["SELECT 1", "1"], "answer": 0,
        "candidates": [{"sql": "SELECT 1", "result": "1"}, {"sql": "SELECT 2", "result": "2"}],
    }  # fmt: skip
    config = RunConfig.build({"model": {"schema_links": True}})
    generator = SimpleNamespace(config=config)
    results = [Result(columns=("x",), rows=((n,),), elapsed_ms=1.0) for n in (1, 2)]
    item = {**record, "candidates": ["SELECT 1", "SELECT 2"], "results": results, "dialect": "sqlite"}
    used = {
        "nl2sqlite": question_prompt(record, config),
        "self_refine": refine_prompt(record, Attempt("SELECT 1", None, "1"), generator),
        "sql_select": SQLCritic(generator, enabled=True).prompt(item, [0, 1]),
    }
    for task, prompt in used.items():
        entry = DatasetEntry(data_path="x.jsonl", task_name=task)
        original = Original("x", 0, entry, "sqlite", record, ("works", ""), ("works", ""))
        taught = original.turns(text, "SELECT 1", "schema_first", links=True)[0]["content"]
        assert "\nBergen: WERK.NAME1 = 'Bergen'\n" in prompt
        assert prompt.split("【Links】")[1].split("\n【")[0] == taught.split("【Links】")[1].split("\n【")[0]
