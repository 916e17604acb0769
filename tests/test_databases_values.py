"""Values of the data that a question says."""

import pytest
import sqlalchemy as sa

from askguru_lib.databases.schema_engine import SchemaEngine
from askguru_lib.databases.values import ValueIndex


@pytest.fixture(scope="module")
def engine(tmp_path_factory) -> sa.Engine:
    engine = sa.create_engine(f"sqlite:///{tmp_path_factory.mktemp('values')}/d.sqlite")
    with engine.begin() as db:
        db.execute(sa.text('CREATE TABLE "the cities" (id INTEGER, "city name" TEXT, code VARCHAR(9), rank INTEGER)'))
        db.execute(sa.text("CREATE TABLE notes (city TEXT, body TEXT)"))
        rows = [(1, "New York", "NY", 10), (2, "York", "12", 11), (3, "Sankt Gallen", None, 12), (4, " Oslo ", "OS", 1)]
        for row in rows:
            db.execute(sa.text('INSERT INTO "the cities" VALUES (:a, :b, :c, :d)'), dict(zip("abcd", row, strict=True)))
        for n in range(30):
            db.execute(sa.text("INSERT INTO notes VALUES ('York', :b)"), {"b": f"word{n} ending"})
        db.execute(sa.text("INSERT INTO notes VALUES ('x', :b)"), {"b": "long " * 40})
    return engine


@pytest.fixture(scope="module")
def index(engine: sa.Engine) -> ValueIndex:
    return ValueIndex.read(SchemaEngine(engine, "d"), max_values=20)


@pytest.mark.parametrize(
    ("question", "said", "places"),
    [
        ("Who lives in sankt gallen?", "sankt gallen", [["the cities", "city name", "Sankt Gallen"]]),
        ("Anything from York, please", "York", [["notes", "city", "York"], ["the cities", "city name", "York"]]),
        ("code 'NY'", "NY", [["the cities", "code", "NY"]]),
        ("to Oslo", "Oslo", [["the cities", "city name", " Oslo "]]),
    ],
)
def test_values_are_found_as_the_question_says_them(index: ValueIndex, question: str, said: str, places: list):
    assert index.mentioned(question)[said] == places


def test_a_name_is_not_the_word_that_it_is_spelt_like(engine: sa.Engine, index: ValueIndex):
    assert index.mentioned("the york rose") == {}
    assert index.mentioned("new york")["new york"] == [["the cities", "city name", "New York"]]


def test_all_spellings_of_a_column_and_marks_in_values_are_known():
    index = ValueIndex([("t", "c", "Apple"), ("t", "c", "APPLE"), ("t", "c", "Acme Inc."), ("t", "d", "in")])
    found = index.mentioned("Apple or APPLE, Acme Inc. in it")
    assert {said: places[0][2] for said, places in found.items()} == {
        "Apple": "Apple", "APPLE": "APPLE", "Acme Inc": "Acme Inc.",
    }  # fmt: skip


@pytest.mark.parametrize("said", ["poetry", "Poetry", "students", "Students"])
def test_a_value_in_small_letters_may_be_said_as_several_or_begin_a_sentence(said: str):
    index = ValueIndex([("t", "kind", "poetry"), ("t", "kind", "student"), ("t", "name", "Thing")])
    [[_, _, value]] = index.mentioned(f"{said} in it")[said]
    assert value == ("poetry" if said.lower() == "poetry" else "student")
    assert index.mentioned("things, Things and the bus") == {}


def test_a_code_in_capitals_is_a_value_and_a_word_that_looks_like_one_in_quotes_alone():
    index = ValueIndex([("t", "kind", "B"), ("t", "kind", "A"), ("t", "kind", "q"), ("t", "grade", "1")])
    assert index.mentioned("kind B or b, A list, q and 1") == {"B": [["t", "kind", "B"]]}
    assert index.mentioned("kind = 'A'") == {"A": [["t", "kind", "A"]]}
    assert index.mentioned("grade B-, B+, the O'B one, 'A new kind, B-side") == {}
    index = ValueIndex([("t", "dept", "IT"), ("t", "grade", "A+")])
    assert index.mentioned("people in IT") == {"IT": [["t", "dept", "IT"]]}
    assert index.mentioned("IT IS A, IN IT") == index.mentioned("GRADE 'A' IN IT") == {}


def test_views_and_secrets_are_not_searched(tmp_path):
    engine = sa.create_engine(f"sqlite:///{tmp_path}/s.sqlite")
    with engine.begin() as db:
        db.execute(sa.text("CREATE TABLE people (name TEXT, password TEXT)"))
        db.execute(sa.text("INSERT INTO people VALUES ('Ann Lee', 'open sesame')"))
        db.execute(sa.text("CREATE VIEW seen AS SELECT name AS who FROM people"))
    found = ValueIndex.read(SchemaEngine(engine, "s"), 20).mentioned("Ann Lee said open sesame")
    assert found == {"Ann Lee": [["people", "name", "Ann Lee"]]}


def test_numbers_parts_of_words_and_long_texts_are_no_values(index: ValueIndex):
    assert index.mentioned("12 Yorkers wrote long long long") == {}


def test_of_a_column_no_more_than_so_many_values_are_kept(engine: sa.Engine):
    schema = SchemaEngine(engine, "d")
    said = " ".join(f"word{i} ending;" for i in range(30))
    assert [len(ValueIndex.read(schema, n).mentioned(said)) for n in (5, 100)] == [5, 30]
    assert ValueIndex.read(schema, 0).mentioned("York") == {}


def test_a_column_that_cannot_be_read_is_a_warning(engine: sa.Engine):
    schema = SchemaEngine(engine, "d")
    schema.mschema.add_field("notes", "gone", "TEXT")
    index = ValueIndex.read(schema, 20)
    assert [w.split(":")[0] for w in index.warnings] == ["notes.gone"]
    assert "York" in index.mentioned("York")
