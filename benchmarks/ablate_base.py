"""What made the base model learn: the same training with one thing taken away, each on the same number of tokens.

    python benchmarks/ablate_base.py [--tokens 3000000] [--arms everything "no packing"] [--out ablation.json]

Small schemas, new weights, one process. Every arm reads documents until a step has the same number of tokens, and stops
after the same number in all, so what differs is the arm alone:

- *everything*: the recipe of the base model's first part;
- *no induction circuit*: the weights start at random;
- *no packing*: a document is a schema and one question, as an ordinary training set has it;
- *no schema links*: prompts say nothing of what the question's words are called, in training and when asked;
- *one way of saying it*: one opening for each kind of question, every table and column called by its name or, where it
  has no words of its own, its comment; no fillers and no slips. Conditions are still said in all their ways.

All are asked the same questions on databases that none has read: freely phrased and packed. Answers that are right to
the letter, with their Wilson interval, and the loss of an answer's token.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest.mock import patch

import measure
import torch
from torch.nn.functional import cross_entropy
from transformers import AutoTokenizer

from askguru_lib.data import grammar
from askguru_lib.evaluation.metrics import Proportion
from askguru_lib.training.base_model import build_model, parameter_groups
from askguru_lib.training.corpus import Document, random_document
from askguru_lib.training.curriculum import BaseRecipe
from askguru_lib.training.document_loss import document_loss, exact_match, read_document

ARMS = ("everything", "no induction circuit", "no packing", "no schema links", "one way of saying it")
STEP_TOKENS = 3000
TOKENIZER = "models/askguru-tiny"


def drawn(seed: str, tokenizer: Any, questions: int, links: bool) -> Document:
    return random_document(tokenizer, random.Random(seed), questions=questions, tables=(1, 3), shares=(0, 0),
                           links=float(links))  # fmt: skip


def steps(
    tokenizer: Any, recipe: BaseRecipe, questions: int, budget: int, links: bool
) -> Iterator[tuple[float, list[Document]]]:
    """Share of the budget read so far, and the documents of the next step."""
    number = read = 0
    while read < budget:
        documents: list[Document] = []
        while sum(len(d.ids) for d in documents) < STEP_TOKENS:
            documents.append(drawn(f"{recipe.seed}/{number}", tokenizer, questions, links))
            number += 1
        yield read / budget, documents
        read += sum(len(d.ids) for d in documents)


def plainly(rng: random.Random, openings: Sequence[str], phrase: str) -> str:
    """The one way of saying it."""
    text = openings[0].format(x=phrase)
    return text[:1].upper() + text[1:]


def narrowed() -> ExitStack:
    stack = ExitStack()
    whole = grammar.Grammar
    columns, tables = whole._column_phrases, whole._table_phrases
    stack.enter_context(patch.object(grammar, "say", plainly))
    stack.enter_context(patch.object(whole, "_column_phrases", lambda self, *names: columns(self, *names)[:1]))
    stack.enter_context(patch.object(whole, "_table_phrases", lambda self, *names: tables(self, *names)[:1]))
    return stack


@torch.no_grad()
def answer_loss(model: Any, documents: list[Document]) -> float:
    total = count = 0.0
    for document in documents:
        hidden, targets, weights = read_document(model, document, "cpu")
        answers = weights >= 1
        losses = cross_entropy(model.lm_head(hidden[answers]).float(), targets[answers], reduction="none")
        total, count = total + float(losses.sum()), count + len(losses)
    return total / count


def train(arm: str, budget: int, questions: int) -> dict[str, Any]:
    torch.set_num_threads(1)
    tokenizer = AutoTokenizer.from_pretrained(TOKENIZER)
    recipe = BaseRecipe(induction=arm != "no induction circuit")
    links = arm != "no schema links"
    asked = [
        drawn(f"held out/{i}", tokenizer, recipe.questions_per_document, links)
        for i in range(questions // recipe.questions_per_document)
    ]
    model = build_model(recipe, tokenizer)
    optimizer = torch.optim.AdamW(parameter_groups(model, recipe), lr=recipe.learning_rate, betas=(0.9, 0.98))
    began, count, read, lessons = time.perf_counter(), 0, 0, 0
    with narrowed() if arm == "one way of saying it" else ExitStack():
        each = 1 if arm == "no packing" else recipe.questions_per_document
        for share, documents in steps(tokenizer, recipe, each, budget, links):
            rate = min(1, (count + 1) / recipe.warmup_steps, max((1 - share) / recipe.decay_share, 0.05))
            for group in optimizer.param_groups:
                group["lr"] = recipe.learning_rate * rate
            for document in documents:
                (document_loss(model, document) / len(documents)).backward()
                read, lessons = read + len(document.ids), lessons + int(document.segments.max())
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            count += 1
            if count % 100 == 0:
                print(f"{arm}: {share:.0%}, {answer_loss(model, asked):.3f}", flush=True)
    seconds, n = time.perf_counter() - began, sum(int(d.segments.max()) for d in asked)
    right = Proportion(round(exact_match(model, asked) * n), n)
    return {
        "arm": arm,
        "right to the letter": repr(right),
        "loss of an answer's token": round(answer_loss(model, asked), 3),
        "questions read": lessons,
        "tokens": read,
        "steps": count,
        "seconds": round(seconds),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=3_000_000, help="read by each arm")
    parser.add_argument("--arms", nargs="*", default=list(ARMS), choices=ARMS)
    parser.add_argument("--questions", type=int, default=600, help="asked at the end")
    parser.add_argument("--out", type=Path, help="write the rows as JSON")
    args = parser.parse_args()
    measure.report([train(arm, args.tokens, args.questions) for arm in args.arms], args.out)


if __name__ == "__main__":
    main()
