"""Questions put as nobody's grammar would: what matters stays, and nothing that matters comes in."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest
import sqlglot
from sqlglot import exp
from transformers import AutoTokenizer

from askguru_lib.data.grammar import Grammar, Pair
from askguru_lib.data.linking import schema_links
from askguru_lib.training import corpus
from askguru_lib.training.corpus import PRACTISED
from askguru_lib.training.curriculum import BaseRecipe, stream
from askguru_lib.training.hurried import CUES, GLUE, hurried
from askguru_lib.training.random_schemas import random_database


def drawn(seed: int):
    """A schema's text and twenty pairs of question and query on it."""
    rng = random.Random(seed)
    database = random_database(rng, (3, 5), 8)
    grammar = Grammar(database.schema, rng, database.meanings)
    pairs = [pair for _ in range(40) if (pair := grammar.draw(PRACTISED))]
    return database.schema.to_mschema(example_num=2), pairs[:20]


def words(text: str) -> list[str]:
    return re.findall(r"[a-z]+", text.lower())


@pytest.mark.parametrize("seed", range(6))
def test_what_matters_stays_in_its_order(seed):
    schema, pairs = drawn(seed)
    for pair in pairs:
        said = hurried(pair, schema, {}, random.Random(seed))
        before = schema_links(schema, f"{pair.question}\n{pair.evidence}")
        for mention in before.mentions:
            if re.search(rf"(?<!\w){re.escape(mention.words)}(?!\w)", pair.question):
                assert set(words(mention.words)) <= set(words(said)), (pair.question, said)
        kept = [w for w in pair.question.split() if w.lower() in CUES or any(c.isdigit() for c in w)]
        rest = iter(said.lower().split())
        assert all(any(w.lower().strip(".?!,:()") == other.strip(".?!,:()") for other in rest) for w in kept), said
        values = [v.name.strip("%") for v in pair.tree.find_all(exp.Literal) if v.is_string]
        values = [value for value in values if re.search(rf"(?<!\w){re.escape(value)}(?!\w)", pair.question)]
        assert all(value.lower() in said.lower() for value in values), (values, said)


def test_no_word_of_the_schema_or_the_evidence_comes_in():
    changed = 0
    for seed in range(12):
        schema, pairs = drawn(seed)
        known = set(words(schema))
        for pair in pairs:
            said = hurried(pair, schema, {}, random.Random(seed))
            new = set(words(said)) - set(words(pair.question))
            assert not new & known, (said, new & known)
            assert not new & (set(re.findall(r"\w{3,}", pair.evidence.lower())) - set(GLUE)), said
            changed += said != pair.question
    assert changed > 180, "of 240 questions hardly any is put differently"


@pytest.mark.parametrize(
    ("question", "sql", "stay"),
    [
        ("Show the cats of any colour but red", "SELECT a FROM cats WHERE colour <> 'red'", "any but red"),
        ("Give me those outside Oslo", "SELECT a FROM cats WHERE town <> 'Oslo'", "outside Oslo"),
        ("Who has a first name that starts with Rac?", "SELECT a FROM cats WHERE b LIKE 'Rac%'", "starts with Rac"),
        ("the cats of the greatest weight, all of them on a tie", "SELECT a FROM cats", "tie"),
        ("What do the fees come to together?", "SELECT SUM(a) FROM cats", "together"),
        ("cats where the colour is not known", "SELECT a FROM cats WHERE colour IS NULL", "not known"),
        ("cats that arrived in or after 2015", "SELECT a FROM cats", "arrived in or after 2015"),
        ("Do you know the rarest colour?", "SELECT a FROM cats", "rarest"),
    ],
)
def test_words_that_decide_the_query_stay(question, sql, stay):
    pair = Pair(question, "", sqlglot.parse_one(sql), "given", "simple")
    for seed in range(25):
        said = hurried(pair, EMPTY, {}, random.Random(seed))
        assert set(stay.lower().split()) <= set(re.findall(r"\w+", said.lower())), said


EMPTY = "【DB_ID】 zoo\n【Schema】\n# Table: animals\n[\n(tag:TEXT)\n]"


def test_documents_of_the_last_part_of_the_curriculum_hold_such_questions(monkeypatch):
    tokenizer = AutoTokenizer.from_pretrained(Path(__file__).parents[1] / "models" / "askguru-tiny")
    asked = []
    monkeypatch.setattr(corpus, "hurried", lambda pair, *rest: asked.append(pair) or hurried(pair, *rest))
    recipe = BaseRecipe(start="some model", questions_per_document=12)
    questions = sum(int(stream(recipe, tokenizer, step, 0).segments.max()) for step in range(12))
    assert 0.15 * questions < len(asked) < 0.6 * questions
