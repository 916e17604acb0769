"""What the small base model reads, in which order: a recipe, a curriculum, and the documents of every step.

A document is a function of (seed, step, place): after a kill the same ones come again, whoever makes them.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

from torch.utils.data import DataLoader, Dataset
from transformers import PreTrainedTokenizerBase

from askguru_lib.errors import TrainingError
from askguru_lib.training.corpus import Document, random_document
from askguru_lib.training.first_weights import NARROWEST_HEAD, has_room
from askguru_lib.training.written import written_document

OPTIMIZERS = ("adamw", "muon")


@dataclass(frozen=True)
class BaseRecipe:
    """Everything that decides what the base model becomes; ``start`` is a model to go on from, of the same width."""

    hidden: int = 192
    layers: int = 5
    heads: int = 4
    feed_forward: int = 480
    vocabulary: int = 3072
    rope_theta: float = 1e5
    seed: int = 11
    steps: int = 3600
    documents_per_step: int = 4
    questions_per_document: int = 12
    learning_rate: float = 1.5e-3
    warmup_steps: int = 40
    decay_share: float = 0.3
    weight_decay: float = 0.05
    optimizer: str = "adamw"
    induction: bool = True
    start: str | None = None

    def __post_init__(self) -> None:
        """Refuse what no model can be built from.

        Raises:
            TrainingError: an unknown optimizer; a width that the heads do not divide, or in which the copy circuit has
                no room.
        """
        if self.optimizer not in OPTIMIZERS:
            raise TrainingError(f"unknown optimizer {self.optimizer!r}", hint=f"one of {', '.join(OPTIMIZERS)}")
        if self.heads < 1 or self.hidden % self.heads:
            raise TrainingError(f"a width of {self.hidden} cannot be divided among {self.heads} heads",
                                where="hidden, heads", hint="let one be a multiple of the other")  # fmt: skip
        if self.induction and not self.start and not has_room(self.layers, self.hidden, self.heads):
            head = self.hidden // self.heads
            raise TrainingError(
                f"{self.layers} layers of width {self.hidden} with heads of {head} have no room for the copy circuit",
                where="layers, hidden, heads",
                hint=f"take two layers or more, and heads of {NARROWEST_HEAD} to a third of the width",
            )

    def rate(self, step: int) -> float:
        """Learning rate at a step: warm-up, plateau, linear decay to a twentieth over the last ``decay_share``."""
        if step < self.warmup_steps:
            return self.learning_rate * (step + 1) / self.warmup_steps
        left = (self.steps - step) / max(self.decay_share * self.steps, 1)
        return self.learning_rate * max(min(1.0, left), 0.05)


@dataclass(frozen=True)
class Part:
    """A part of the curriculum.

    Attributes:
        until: the first step that no longer belongs to it.
        tables: least and most of a schema.
        columns: most of a table.
        shares: of refinements and of selections among the tasks.
        skip: most positions that are left out, see :func:`askguru_lib.training.corpus.pack`.
        by_comment: share of documents in the words of comments alone.
        elsewhere: share of documents in another dialect than SQLite.
        hurry: share of the questions with links that are put as nobody's grammar would.
        written: share of documents with hand-written questions.
        links: share of documents whose prompts link the question's words to the schema.
        tokens: most of a document: the longest that the part's schemas and questions make must fit, or the model never
            reads a long schema.
        alike: all documents of a step have the same number of tables, so that no process waits long for another.
    """

    until: float
    tables: tuple[int, int]
    columns: int
    shares: tuple[float, float] = (0.0, 0.0)
    skip: int = 0
    by_comment: float = 0.0
    links: float = 0.0
    elsewhere: float = 0.0
    hurry: float = 0.0
    written: float = 0.0
    tokens: int = 2400
    alike: bool = False


LINKED = 0.85
"""Share of documents whose prompts have links: the model is to read prompts without them, too."""
CURRICULUM = (
    Part(430, (1, 3), 6, links=LINKED),
    Part(1440, (2, 5), 8, (0.06, 0.03), 300, 0.2, links=LINKED, elsewhere=0.15, tokens=3200, alike=True),
    Part(3000, (3, 7), 9, (0.08, 0.04), 500, 0.2, links=LINKED, elsewhere=0.15, tokens=3400, alike=True),
    Part(
        math.inf,
        (4, 9),
        9,
        (0.08, 0.04),
        500,
        0.2,
        links=LINKED,
        elsewhere=0.15,
        hurry=0.25,
        written=0.5,
        tokens=3800,
        alike=True,
    ),
)
"""Small schemas until copying works, then schemas as long as real ones."""


def stream(recipe: BaseRecipe, tokenizer: PreTrainedTokenizerBase, step: int, place: int) -> Document:
    """Document ``place`` of ``step``: small schemas first, then longer ones, unless the model knows schemas already."""
    rng = random.Random(f"{recipe.seed}/{step}/{place}")
    part = CURRICULUM[-1] if recipe.start else next(p for p in CURRICULUM if step < p.until)
    if rng.random() < part.written:
        return written_document(tokenizer, rng, questions=recipe.questions_per_document, shares=part.shares,
                                max_skip=part.skip, links=part.links, max_tokens=part.tokens)  # fmt: skip
    tables = part.tables
    if part.alike:
        tables = (random.Random(f"{recipe.seed}/{step}").randint(*tables),) * 2
    return random_document(tokenizer, rng, questions=recipe.questions_per_document, tables=tables,
                           max_columns=part.columns, shares=part.shares, max_skip=part.skip,
                           by_comment=part.by_comment, links=part.links, elsewhere=part.elsewhere,
                           hurry=part.hurry, max_tokens=part.tokens)  # fmt: skip


class Documents(Dataset[Document]):
    """The documents of one process, in order; made where they are asked for, so that workers can make them ahead."""

    def __init__(
        self, recipe: BaseRecipe, tokenizer: PreTrainedTokenizerBase, first_step: int, rank: int = 0, world: int = 1
    ) -> None:
        self.recipe, self.tokenizer, self.first_step = recipe, tokenizer, first_step
        self.places = range(rank, recipe.documents_per_step, world)

    def __len__(self) -> int:
        return (self.recipe.steps - self.first_step) * len(self.places)

    def __getitem__(self, number: int) -> Document:
        step, place = divmod(number, len(self.places))
        return stream(self.recipe, self.tokenizer, self.first_step + step, self.places[place])

    def loader(self, workers: int) -> DataLoader[Document]:
        """Every document once, in order; ``workers`` processes make them ahead of their use."""
        return DataLoader(self, batch_size=None, num_workers=workers, prefetch_factor=8 if workers else None)


def held_out(recipe: BaseRecipe, tokenizer: PreTrainedTokenizerBase, count: int) -> list[Document]:
    """Documents that no training step draws."""
    return [
        random_document(
            tokenizer,
            random.Random(f"{recipe.seed}/held out/{i}"),
            tables=CURRICULUM[-1].tables,
            max_columns=CURRICULUM[-1].columns,
            shares=(0, 0),
            links=1.0,
            max_tokens=CURRICULUM[-1].tokens,
        )
        for i in range(count)
    ]
