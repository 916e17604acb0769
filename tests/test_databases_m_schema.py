import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from askguru_lib.databases.m_schema import MSchema
from askguru_lib.errors import DataError

NAMES = st.text(min_size=1, max_size=12) | st.sampled_from(
    [
        "order",
        "order lines",
        "a.b",
        "x,y",
        "t(1)",
        "[id]",
        'say "hi"',
        "名前",
        "a=b",
        "a:b",
        "# Table: t",
        "】",
        "\n",
        " ",
    ]
)
TEXTS = st.text(max_size=30) | st.sampled_from(
    [
        "",
        "one, two",
        "Primary Key",
        "Examples: [1, 2]",
        "a),\n(b",
        '"quoted"',
        "[x]",
        "日本語、コメント",
        "line\nbreak",
        "-- no",
        "\\",
    ]
)
TYPES = st.sampled_from(
    ["INTEGER", "TEXT", "DATE", "VARCHAR(20)", "NUMERIC(10, 2)", "DOUBLE PRECISION", "", "ENUM('a,b','c')"]
)
VALUES = st.lists(TEXTS, max_size=4, unique=True)


@st.composite
def schemas(draw: st.DrawFn) -> MSchema:
    schema = MSchema(draw(NAMES), draw(st.none() | NAMES))
    for table in draw(st.lists(NAMES, max_size=3, unique=True)):
        schema.add_table(table, comment=draw(TEXTS))
        for column in draw(st.lists(NAMES, max_size=4, unique=True)):
            schema.add_field(
                table, column, draw(TYPES), draw(st.booleans()), comment=draw(TEXTS), examples=draw(VALUES)
            )
    columns = [(t, c) for t, c, _ in schema.columns()]
    if columns:
        for _ in range(draw(st.integers(0, 3))):
            (table, column), (ref_table, ref_column) = draw(st.sampled_from(columns)), draw(st.sampled_from(columns))
            ref_schema = draw(st.sampled_from([None, schema.schema]))
            if ref_schema is None and schema.schema is not None:
                ref_schema = schema.schema
            schema.add_foreign_key(table, column, ref_schema, ref_table, ref_column)
    return schema


def check_round_trip(schema: MSchema):
    for options in ({}, {"example_num": 0}, {"example_num": 5, "show_type_detail": True}):
        text = schema.to_mschema(**options)
        assert MSchema.from_text(text).to_mschema(**options) == text


@settings(max_examples=300, deadline=None)
@given(schemas())
def test_printed_text_reads_back_to_the_same_text(schema: MSchema):
    check_round_trip(schema)


@pytest.mark.slow
@settings(max_examples=10_000, deadline=None)
@given(schemas())
def test_ten_thousand_schemas_survive_the_round_trip(schema: MSchema):
    check_round_trip(schema)
    check_nothing_is_lost(schema)


@settings(max_examples=300, deadline=None)
@given(schemas())
def test_reading_back_loses_no_name_comment_value_or_key(schema: MSchema):
    check_nothing_is_lost(schema)


def check_nothing_is_lost(schema: MSchema):
    back = MSchema.from_text(schema.to_mschema(example_num=4, show_type_detail=True))
    assert back.db_id == schema.db_id
    assert back.foreign_keys == schema.foreign_keys
    assert {t: i["comment"] for t, i in back.tables.items()} == {t: i["comment"] for t, i in schema.tables.items()}
    for (table, column, read), (_, _, field) in zip(back.columns(), schema.columns(), strict=True):
        assert column in schema.tables[table]["fields"]
        assert (read["comment"], read["primary_key"]) == (field["comment"], field["primary_key"])
        assert read["examples"] == field["examples"][: len(read["examples"])]


@settings(max_examples=100, deadline=None)
@given(schemas())
def test_dump_reads_back_whole(schema: MSchema):
    assert MSchema.from_dict(json.loads(json.dumps(schema.dump()))) == schema


def shop() -> MSchema:
    schema = MSchema("shop")
    schema.add_table("customers", comment="who buys")
    schema.add_field("customers", "id", "INTEGER", True, examples=[1, 2, 3, 4])
    schema.add_field("customers", "name", "VARCHAR(20)", comment="full name", examples=["Ada", "Bob"])
    schema.add_table("orders")
    schema.add_field("orders", "placed", "DATE", examples=["2024-01-31", "2024-02-01"])
    schema.add_field("orders", "customer_id", "integer", comment="who, if known")
    schema.add_foreign_key("orders", "customer_id", None, "customers", "id")
    return schema


def test_the_format_is_the_published_one():
    assert shop().to_mschema() == (
        "【DB_ID】 shop\n"
        "【Schema】\n"
        "# Table: customers, who buys\n"
        "[\n"
        "(id:INTEGER, Primary Key, Examples: [1, 2, 3]),\n"
        "(name:VARCHAR, full name, Examples: [Ada, Bob])\n"
        "]\n"
        "# Table: orders\n"
        "[\n"
        "(placed:DATE, Examples: [2024-01-31]),\n"
        '(customer_id:INTEGER, "who, if known")\n'
        "]\n"
        "【Foreign keys】\n"
        "orders.customer_id=customers.id"
    )


def test_type_detail_and_number_of_examples_are_choices():
    text = shop().to_mschema(example_num=1, show_type_detail=True)
    assert "(name:VARCHAR(20), full name, Examples: [Ada])" in text
    assert "Examples" not in shop().to_mschema(example_num=0)


def test_selection_keeps_only_keys_whose_ends_are_shown():
    assert "Foreign keys" not in shop().to_mschema(selected_tables=["Customers"])
    both = shop().to_mschema(selected_columns=["customers.id", "ORDERS.customer_id"])
    assert both.endswith("orders.customer_id=customers.id")
    assert "placed" not in both


@pytest.mark.parametrize(
    ("kind", "examples", "shown"),
    [
        ("TEXT", ["a" * 20, "b"], "Examples: [" + "a" * 20 + ", b]"),
        ("TEXT", ["a" * 21, "b"], "Examples: [" + "a" * 21 + "]"),
        ("TEXT", ["a", "b" * 51], None),
        ("TIMESTAMP(6)", ["x", "y"], "Examples: [x]"),
        ("DATETIME", ["x", "y"], "Examples: [x]"),
        ("TIME", ["x", "y"], "Examples: [x]"),
    ],
)
def test_long_examples_and_dates_are_cut(kind, examples, shown):
    schema = MSchema("d")
    schema.add_table("t")
    schema.add_field("t", "c", kind, examples=examples)
    text = schema.to_mschema()
    assert (shown in text) if shown else ("Examples" not in text)


def test_a_schema_is_prefixed_only_when_it_is_not_the_default():
    schema = MSchema("erp", "gl")
    schema.add_table("lines", comment="general ledger")
    schema.add_field("lines", "party", "NUMBER")
    schema.add_foreign_key("lines", "party", "hz", "parties", "id")
    text = schema.to_mschema()
    assert "# Table: gl.lines, general ledger" in text
    assert text.endswith("lines.party=hz.parties.id")
    assert MSchema.from_text(text).foreign_keys == [["lines", "party", "hz", "parties", "id"]]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("【DB_ID】 d\n【Schema】\n(id:INTEGER)", 3),
        ("【DB_ID】 d\n【Schema】\n# Table: t\n[\n(id:INTEGER,\n]", 5),
        ("【DB_ID】 d\n【Schema】\nhello", 3),
        ('【DB_ID】 d\n【Schema】\n# Table: "t\n[\n]', 3),
        ("【DB_ID】 d\n【Schema】\n【Foreign keys】\nno key", 4),
    ],
)
def test_text_that_is_no_m_schema_is_refused_by_line(text: str, line: int):
    with pytest.raises(DataError) as error:
        MSchema.from_text(text)
    assert error.value.where == f"line {line}"


def test_saving_and_loading(tmp_path: Path):
    shop().save(tmp_path / "deep" / "shop.json")
    assert MSchema.load(tmp_path / "deep" / "shop.json") == shop()
    (tmp_path / "bad.json").write_text('{"tables": 1}')
    with pytest.raises(DataError, match="not a saved M-Schema"):
        MSchema.load(tmp_path / "bad.json")


# -- what the reference implementation gets wrong -------------------------------------------------------------------


@pytest.mark.parametrize(("schema", "comment"), [(None, "who buys"), ("public", ""), ("public", "who, and when")])
def test_reference_defect_foreign_keys_lost_by_comment_or_schema_prefix(schema, comment):
    original = shop()
    original.schema = schema
    original.tables["orders"]["comment"] = comment
    assert len(MSchema.from_text(original.to_mschema()).foreign_keys) == 1


def test_reference_defect_values_with_comma_newline_and_names_with_comma():
    schema = MSchema("d")
    schema.add_table("t, with comma")
    schema.add_field("t, with comma", "a, b", "TEXT", examples=["x),\n(y", "p, q"])
    schema.add_field("t, with comma", "c", "TEXT")
    back = MSchema.from_text(schema.to_mschema())
    assert list(back.tables["t, with comma"]["fields"]) == ["a, b", "c"]
    assert back.tables["t, with comma"]["fields"]["a, b"]["examples"] == ["x),\n(y", "p, q"]


def test_reference_defect_dotted_keys_crash_the_parser():
    schema = MSchema("d")
    schema.add_table("sales.orders")
    schema.add_field("sales.orders", "customer.id", "INTEGER")
    schema.add_foreign_key("sales.orders", "customer.id", None, "sales.orders", "customer.id")
    assert MSchema.from_text(schema.to_mschema()).foreign_keys == schema.foreign_keys


def test_reference_defect_date_column_without_examples():
    schema = MSchema("d")
    schema.add_table("t")
    schema.add_field("t", "day", "DATE")
    assert "(day:DATE)" in schema.to_mschema()
