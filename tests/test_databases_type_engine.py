import pytest

from askguru_lib.databases.type_engine import TypeEngine

TYPES = TypeEngine()


@pytest.mark.parametrize(
    ("family", "types"),
    [
        (
            "Number",
            "INTEGER; BIGINT; NUMERIC(10, 2); DECIMAL; DOUBLE PRECISION; REAL; NUMBER(8); BINARY_FLOAT; HUGEINT",
        ),
        ("String", "TEXT; VARCHAR(20); CHARACTER VARYING; NVARCHAR2(30); CLOB; ENUM('a','b'); UUID; ROWID"),
        ("DateTime", "DATE; TIME; TIMESTAMP; TIMESTAMP WITH TIME ZONE; DATETIME; INTERVAL; YEAR"),
        ("Bool", "BOOLEAN; BOOL; BIT; TINYINT(1)"),
        ("Other", "BLOB; BYTEA; JSON; JSONB; XML; POINT; GEOMETRY; INTEGER[]; VARBINARY(16); STRUCT(a INT); ANY"),
    ],
)
def test_family_of_a_type(family, types):
    assert {t: TYPES.field_category(t) for t in types.split("; ")} == dict.fromkeys(types.split("; "), family)


@pytest.mark.parametrize(
    ("category", "field_type", "name", "values"),
    [
        ("Measure", "NUMERIC(10, 2)", "amount", [1.5, 2.25]),
        ("Measure", "INTEGER", "seats", [100, 180]),
        ("Measure", "REAL", "grade", [1.3, 2.7]),
        ("Code", "INTEGER", "orderNo", [10, 11]),
        ("Code", "INTEGER", "POL_ID", []),
        ("Enum", "INTEGER", "priority", [1, 2, 3, 1]),
        ("DateTime", "INTEGER", "model_year", [1999, 2020]),
        ("DateTime", "DATE", "born", []),
        ("DateTime", "TEXT", "born", ["1999-01-31", "2001-05-06"]),
        ("DateTime", "TEXT", "departs", ["09:30", "17:05"]),
        ("Enum", "BOOLEAN", "active", [True, False]),
        ("Enum", "TEXT", "colour", ["red", "blue"] * 20),
        ("Enum", "CHAR(1)", "st", ["A", "B"]),
        ("Code", "TEXT", "EQUNR", ["EQ-0001", "EQ-0002"]),
        ("Code", "TEXT", "iata", ["MUC", "FRA"]),
        ("Text", "TEXT", "city", ["Berlin", "Paris"]),
        ("Text", "TEXT", "remark", []),
        ("Text", "JSON", "payload", []),
    ],
)
def test_category_of_a_column(category, field_type, name, values):
    assert TYPES.category(field_type, name, values) == category


def test_a_comment_speaks_for_a_cryptic_name():
    assert TYPES.category("INTEGER", "PRIOK", [3, 2, 1], comment="priority 1 most urgent") == "Enum"
    assert TYPES.category("INTEGER", "LABST", [20, 3], comment="stock level") == "Measure"


def test_a_key_is_a_code_whatever_it_holds():
    assert TYPES.category("INTEGER", "amount", [1, 2], is_key=True) == "Code"
    assert TYPES.category("DATE", "day", [], is_key=True) == "DateTime"


def test_only_measures_are_measures():
    assert TYPES.dim_or_meas("Measure") == "Measure"
    assert {TYPES.dim_or_meas(c) for c in ("Code", "Enum", "DateTime", "Text")} == {"Dimension"}
