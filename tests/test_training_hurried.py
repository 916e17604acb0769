"""Questions put as nobody's grammar would: what matters stays, and nothing that matters comes in."""

from __future__ import annotations

import random
import re

import pytest
from sqlglot import exp

from askguru_lib.data.grammar import Grammar
from askguru_lib.data.linking import schema_links
from askguru_lib.training.curriculum import CURRICULUM
from askguru_lib.training.hurried import CUES, GLUE, hurried
from askguru_lib.training.random_schemas import random_database


def drawn(seed: int):
    """A schema's text and twenty pairs of question and query on it."""
    rng = random.Random(seed)
    database = random_database(rng, (3, 5), 8)
    grammar = Grammar(database.schema, rng, database.meanings)
    pairs = [pair for _ in range(40) if (pair := grammar.draw())]
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
            if mention.words in pair.question:
                assert set(words(mention.words)) <= set(words(said)), (pair.question, said)
        kept = [w for w in pair.question.split() if w.lower() in CUES or any(c.isdigit() for c in w)]
        rest = iter(said.lower().split())
        assert all(any(w.lower().strip(".?!,") == other.strip(".?!,()") for other in rest) for w in kept), said
        values = [v.name for v in pair.tree.find_all(exp.Literal) if v.is_string and v.name in pair.question]
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


def test_the_last_part_of_the_curriculum_reads_such_questions():
    assert 0.2 < CURRICULUM[-1].hurry < 0.5
