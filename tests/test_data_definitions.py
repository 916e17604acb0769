"""What an evidence defines."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from askguru_lib.data.definitions import Definition, definitions
from askguru_lib.data.linking import schema_links
from askguru_lib.databases.m_schema import MSchema

COLUMNS = {("Orders", "Status"): "category", ("Orders", "QTY"): "number", ("Orders", "PR_KG"): "number",
           ("deal", "term_mo"): "number", ("deal", "Minutes"): "number", ("deal", "price"): "number",
           ("Orders", "PaidOn"): "date", ("Orders", "DueOn"): "date"}  # fmt: skip


def read(question: str, evidence: str) -> list[tuple[str, str]]:
    text = f"{question}\n{evidence}"
    return [(text[slice(*d.term)], said(d)) for d in definitions(text, COLUMNS)]


def said(definition: Definition) -> str:
    return "".join(part if isinstance(part, str) else ".".join(filter(None, part)) for part in definition.sql)


@pytest.mark.parametrize(
    ("evidence", "found"),
    [
        ("Late means Status IS NULL", [("Late", "Status IS NULL")]),
        ("Land is Status = 'L', for sale is QTY = 2.", [("Land", "Status = 'L'"), ("sale", "QTY = 2")]),
        ("The value of a sale is the sum of QTY * PR_KG", [("value of a sale", "QTY * PR_KG")]),
        ("Sales are QTY * (1 - PR_KG), without cancelled ones (Status = 'X')",
         [("Sales", "QTY * (1 - PR_KG)"), ("cancelled ones", "Status = 'X'")]),
        ("call it big if QTY > 3 AND PR_KG <= 0.5; by month", [("big", "QTY > 3 AND PR_KG <= 0.5")]),
        ("Rate = lost ones (Status = 'L') * 100.0 / all kept (QTY = 1)",
         [("lost ones", "Status = 'L'"), ("kept", "QTY = 1")]),
        ("Only Status = 0", [("Status = 0", "Status = 0")]),
        ("Days: julianday(Status) - julianday(QTY)", [("Days", "julianday(Status) - julianday(QTY)")]),
        ("Either is Status IN ('A', 'B')", [("Either", "Status IN ('A', 'B')")]),
        ("Orders.Status = 'X' and nothing else", [("Orders.Status = 'X'", "Orders.Status = 'X'")]),
        ("x means Status = 'it''s so'", [("x", "Status = 'it''s so'")]),
        ("Age is (julianday(PaidOn) - julianday(DueOn)) / 365.25",
         [("Age", "(julianday(PaidOn) - julianday(DueOn)) / 365.25")]),
        ("Open is an invoice with PaidOn IS NULL", [("Open", "PaidOn IS NULL")]),
        ("rich is SUM(CASE WHEN QTY = 3 THEN 1 ELSE 0 END) * 100.0 / COUNT(*)",
         [("rich", "SUM(CASE WHEN QTY = 3 THEN 1 ELSE 0 END) * 100.0 / COUNT(*)")]),
        ("groups are 'small' (QTY < 3) and 'big'", [("small", "QTY < 3")]),
    ],
)  # fmt: skip
def test_a_term_is_defined_by_sql(evidence: str, found: list[tuple[str, str]]):
    assert read("How many?", evidence) == found


@pytest.mark.parametrize(
    ("evidence", "term", "meaning"),
    [
        ("open-ended has no term_mo", "open-ended", "term_mo IS NULL"),
        ("Short is Minutes up to 35", "Short", "Minutes <= 35"),
        ("Dear ones have a price above 30.5", "Dear ones", "price > 30.5"),
        ("Big is QTY above 5,000", "Big", "QTY > 5000"),
        ("Late: PaidOn is after DueOn", "Late", "PaidOn > DueOn"),
        ("In time means PaidOn is not after DueOn", "In time", "PaidOn <= DueOn"),
        ("Lost is Status 'X' or 'N'", "Lost", "Status IN ('X', 'N')"),
        ("Driven means that PaidOn is filled", "Driven", "PaidOn IS NOT NULL"),
        ("The delay is the days from DueOn to PaidOn", "delay", "julianday(PaidOn) - julianday(DueOn)"),
        ("Cost is QTY times PR_KG", "Cost", "QTY * PR_KG"),
    ],
)
def test_a_condition_or_a_formula_may_be_said_in_words(evidence: str, term: str, meaning: str):
    assert read("How many?", evidence) == [(term, meaning)]


def test_days_are_said_as_sqlite_has_them_and_nobody_else():
    assert definitions("?\nthe days from DueOn to PaidOn", COLUMNS, "postgresql") == []


@pytest.mark.parametrize(
    "evidence",
    ["Show Status and QTY", "QTY", "the price without a price", "Status, then price", "Status =", "3 * 4", "it's (QTY)",
     "price-list", "Status is new", "nothing (else)", "QTY is at least 95 percent", "PaidOn more than 50 days",
     "QTY * PR_KG less price", "from PaidOn to DueOn up to 90"],
)  # fmt: skip
def test_a_column_that_is_only_named_is_no_definition(evidence: str):
    assert read("How many?", evidence) == []


def test_parentheses_may_be_as_many_as_they_like():
    assert read("How many?", "(" * 500 + "QTY + 1" + ")" * 500) == [("QTY + 1", "QTY + 1")]


def test_only_the_evidence_defines():
    assert definitions("orders with QTY > 3", COLUMNS) == []


def test_a_term_stands_where_the_question_says_it():
    assert read("Which cancelled orders are dear?", "A cancelled order has Status = 'X'")[0][0] == "cancelled orders"


@given(st.text(alphabet=st.sampled_from("QTY = 'a'(\n)*,.-\"`<>IS NULL price 1"), max_size=80))
def test_any_evidence_is_read(evidence: str):
    text = f"How many?\n{evidence}"
    places = [d.place for d in definitions(text, COLUMNS)]
    assert all(0 < start < end <= len(text) for start, end in places)
    assert all(a[1] <= b[0] for a, b in pairwise(places))


@pytest.fixture(scope="module")
def shop() -> str:
    schema = MSchema("shop")
    schema.add_table("Orders", comment="orders")
    schema.add_field("Orders", "Status", "TEXT", examples=["X", "N"])
    schema.add_field("Orders", "Sum of it", "REAL", comment="amount")
    schema.add_table("lines")
    schema.add_field("lines", "QTY", "INTEGER")
    schema.add_field("lines", "UNIT", "REAL", comment="unit price")
    schema.add_table("people")
    schema.add_field("people", "Status", "TEXT")
    return schema.to_mschema()


@pytest.mark.parametrize(
    ("question", "evidence", "said"),
    [
        ("How many orders are cancelled?", "Cancelled means Status = 'X'.",
         ["orders = Orders", "cancelled: Orders.Status = 'X'"]),
        ("the value, please", "Value is QTY * UNIT; show UNIT", ["value: lines.QTY * lines.UNIT", "UNIT = lines.UNIT"]),
        ("the rate", "Rate is \"Sum of it\" / QTY", ['rate: Orders."Sum of it" / lines.QTY']),
        ("Who is gone?", "Gone is Status = 'G'", ["gone: Status = 'G'"]),
    ],
)  # fmt: skip
def test_a_defined_term_is_one_link_and_its_columns_none(shop: str, question: str, evidence: str, said: list[str]):
    assert [str(m) for m in schema_links(shop, f"{question}\n{evidence}").mentions] == said


def test_the_tables_of_a_definition_are_joined_and_their_columns_meant():
    schema = MSchema("s")
    for table in ("visit", "contract", "tool"):
        schema.add_table(table)
        schema.add_field(table, "id", "INTEGER", primary_key=True)
        schema.add_field(table, "name", "TEXT")
    schema.add_field("visit", "contract_id", "INTEGER")
    schema.add_field("visit", "hours", "REAL")
    schema.add_field("contract", "rate", "REAL")
    schema.add_foreign_key("visit", "contract_id", None, "contract", "id")
    links = schema_links(schema.to_mschema(), "turnover and name\nTurnover is hours * rate")
    assert links.joins == ("visit JOIN contract ON visit.contract_id = contract.id",)
    assert links.mentions[1].items == ("visit.name", "contract.name")


def test_numbers_and_dates_are_said_beside_what_is_mentioned(shop: str):
    links = schema_links(shop, "orders in May 2024 over five, 7\nBig is QTY > 3")
    assert links.literals == (("May 2024", "'2024-05'"), ("five", "5"), ("7", "7"))
    assert "\nMay 2024: '2024-05'\n" in str(links)
