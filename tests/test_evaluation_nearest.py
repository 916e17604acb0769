"""The nearest-neighbour control copies, and does nothing else."""

from __future__ import annotations

from askguru_lib.evaluation.nearest import nearest_neighbour

TRAINING = [
    {"db_name": "shop", "question": "How many orders are there?", "sql": "SELECT COUNT(*) FROM orders"},
    {"db_name": "shop", "question": "List the names of customers in Bonn.", "sql": "SELECT name FROM customers"},
    {"db_name": "zoo", "question": "How many animals are there?", "sql": "SELECT COUNT(*) FROM animals"},
]


def copied(question: str, db_name: str = "shop") -> dict:
    (prediction,) = nearest_neighbour([{"id": "q", "db_name": db_name, "question": question}], TRAINING)
    return prediction


def test_a_training_question_gets_its_own_sql() -> None:
    for record in TRAINING:
        prediction = copied(record["question"], record["db_name"])
        assert (prediction["sql"], prediction["similarity"]) == (record["sql"], 1.0)


def test_rare_words_decide() -> None:
    assert copied("Are there customers in Bonn?")["sql"] == "SELECT name FROM customers"


def test_the_same_database_comes_first() -> None:
    assert copied("How many animals are there?", "shop")["sql"] == "SELECT COUNT(*) FROM orders"
    assert copied("How many animals are there?", "unseen")["sql"] == "SELECT COUNT(*) FROM animals"


def test_nothing_in_common_is_no_answer() -> None:
    assert copied("xyzzy")["sql"] == ""
    assert nearest_neighbour([{"id": "q", "db_name": "shop", "question": "How many?"}], [])[0]["sql"] == ""
