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
    return ValueIndex(engine, SchemaEngine(engine, "d").mschema, max_values=20)


@pytest.mark.parametrize(
    ("question", "said", "places"),
    [
        ("Who lives in sankt gallen?", "sankt gallen", [["the cities", "city name"]]),
        ("Anything from York, please", "York", [["notes", "city"], ["the cities", "city name"]]),
        ("code 'NY'", "NY", [["the cities", "code"]]),
        ("to Oslo", "Oslo", [["the cities", "city name"]]),
    ],
)
def test_values_are_found_as_the_question_says_them(index: ValueIndex, question: str, said: str, places: list):
    assert index.mentioned(question)[said] == places


def test_a_name_is_not_the_word_that_it_is_spelt_like(engine: sa.Engine, index: ValueIndex):
    assert index.mentioned("the york rose") == {}
    assert index.mentioned("new york")["new york"] == [["the cities", "city name"]]


def test_numbers_parts_of_words_and_long_texts_are_no_values(index: ValueIndex):
    assert index.mentioned("12 Yorkers wrote long long long") == {}


def test_of_a_column_no_more_than_so_many_values_are_kept(engine: sa.Engine):
    schema = SchemaEngine(engine, "d").mschema
    kept = [ValueIndex(engine, schema, n).mentioned(" ".join(f"word{i} ending;" for i in range(30))) for n in (5, 100)]
    assert [len(found) for found in kept] == [5, 30]
    assert ValueIndex(engine, schema, 0).mentioned("York") == {}


def test_a_column_that_cannot_be_read_is_a_warning(engine: sa.Engine):
    schema = SchemaEngine(engine, "d").mschema
    schema.add_field("notes", "gone", "TEXT")
    index = ValueIndex(engine, schema, 20)
    assert [w.split(":")[0] for w in index.warnings] == ["notes.gone"]
    assert "York" in index.mentioned("York")
