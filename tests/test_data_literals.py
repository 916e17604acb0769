"""Dates and numbers in words and figures, as SQL has them."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from askguru_lib.data.literals import literals


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("on 1 September 2025", {"1 September 2025": "'2025-09-01'"}),
        ("on the 3rd of May 2024", {"3rd of May 2024": "'2024-05-03'"}),
        ("March 5, 2023 and Mar 2023", {"March 5, 2023": "'2023-03-05'", "Mar 2023": "'2023-03'"}),
        ("2023-05, then 2023-05-06", {"2023-05": "'2023-05'", "2023-05-06": "'2023-05-06'"}),
        ("a thousand or 1.5 million", {"a thousand": "1000", "1.5 million": "1500000"}),
        ("the five dearest of twenty", {"five": "5", "twenty": "20"}),
        ("over 1,200.50, and $40 or 3%", {"1,200.50": "1200.50", "40": "40", "3": "3"}),
        ("born in 1980, over 2000 net", {"1980": "'1980'", "2000": "2000"}),
        ("twenty-five, two hundred and fifty", {"twenty-five": "25", "two hundred and fifty": "250"}),
        ("in Q2 2024", {"Q2 2024": "'2024-04-01' AND '2024-06-30'"}),
        ("the fourth quarter of 2023", {"fourth quarter of 2023": "'2023-10-01' AND '2023-12-31'"}),
        ("the second half of 2024", {"second half of 2024": "'2024-07-01' AND '2024-12-31'"}),
        ("the 1st quarter of 2024", {"1st quarter of 2024": "'2024-01-01' AND '2024-03-31'"}),
        ("H3 2024", {"2024": "'2024'"}),
        ("by the end of 2023", {"end of 2023": "'2023-12-31'"}),
        ("from 55 to 65: the rates", {"55": "55", "65": "65"}),
        ("half a million", {"half a million": "500000"}),
        ("since May 2024, until June 2024", {"May 2024": "'2024-05-01'", "June 2024": "'2024-06-30'"}),
        ("by the end of june 2024", {"end of june 2024": "'2024-06-30'"}),
        ("from the first of October 2024", {"first of October 2024": "'2024-10-01'"}),
        ("on 30 February 2024", {"February 2024": "'2024-02'"}),
    ],
)
def test_dates_and_numbers_are_written_as_sql_has_them(text: str, said: dict[str, str]):
    assert {text[slice(*place)]: literal for place, literal in literals(text).items()} == said


@pytest.mark.parametrize(
    "text",
    ["B7", "each one", "at 12:30", "on 1/22", "1 January", "the month as 2024-01", "price * 100",
     "1.2.3", "the second one", "2024-13", "the two of them", "seven tenths", "class of '24", "01", "x2024-01-02x"],
)  # fmt: skip
def test_what_is_part_of_a_word_a_code_or_a_calculation_is_none(text: str):
    assert literals(text) == {}


@given(st.text(alphabet=st.sampled_from("0123456789 -,.MayJun%a"), max_size=60))
def test_places_are_in_order_and_apart(text: str):
    places = list(literals(text))
    assert all(start < end <= len(text) for start, end in places)
    assert all(a[1] <= b[0] for a, b in pairwise(places))
