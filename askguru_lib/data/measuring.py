"""How long samples are, and how many of which kind there are: the numbers of a data card."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from askguru_lib.config import model_folder
from askguru_lib.data.sources import GROUPS
from askguru_lib.errors import MissingArtifactError

Lengths = Callable[[Sequence[list[dict[str, str]]]], list[int]]
COUNTED = {
    "by_task": "task",
    "by_dialect": "sql_type",
    "by_database": "db_name",
    "by_difficulty": "difficulty",
    "by_source": "source",
}


class Tally:
    """Counts of one side for the data card."""

    def __init__(self, replayed: Sequence[str]) -> None:
        self.replayed = set(replayed)
        self.counts: dict[str, Counter[str]] = {name: Counter() for name in COUNTED}
        self.groups: Counter[str] = Counter()
        self.tokens: list[int] = []
        self.augmented = self.replay = 0

    def add(self, sample: Mapping[str, Any]) -> None:
        """Count one training sample."""
        for name, key in COUNTED.items():
            self.counts[name][sample[key] or "unknown"] += 1
        self.groups[sample["task"] if sample["task"] in GROUPS else "nl2sql"] += 1
        self.tokens.append(sample["tokens"])
        self.augmented += sample["augmented"]
        self.replay += sample["db_name"] in self.replayed

    def card(self, groups: Iterable[str]) -> dict[str, Any]:
        """What was counted, JSON-ready; ``by_group`` lists these task groups even where there is none."""
        lengths = sorted(self.tokens) or [0]
        quantiles = {f"p{q}": lengths[(len(lengths) - 1) * q // 100] for q in (50, 95)}
        return {
            "samples": len(self.tokens),
            "by_group": {g: self.groups[g] for g in groups},
            **{name: dict(sorted(c.items())) for name, c in self.counts.items()},
            "augmented": self.augmented,
            "replay": self.replay,
            "tokens": {"total": sum(self.tokens), "min": lengths[0], **quantiles, "max": lengths[-1]},
        }


def load_tokenizer(name_or_path: str) -> Any:
    """The tokenizer of a model folder (also relative to the project's root) or of a hub name.

    Raises:
        MissingArtifactError: there is none.
    """
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(str(model_folder(name_or_path) or name_or_path))
    except (OSError, ValueError) as e:
        raise MissingArtifactError(
            f"cannot load the tokenizer ({str(e).splitlines()[0]})",
            where=f"model.name_or_path: {name_or_path}",
            hint="give the folder of a model, or a name that the model hub knows",
        ) from e


def token_counter(tokenizer: Any) -> Lengths:
    """Tokens of whole conversations, as the chat template renders them for training."""
    # Mistral's own tokenizer refuses an assistant's closing turn, but goes on with one: the end token is added then.
    own = type(tokenizer).__name__ == "MistralCommonBackend"
    options: dict[str, Any] = {"continue_final_message": True} if own else {}

    def lengths(conversations: Sequence[list[dict[str, str]]]) -> list[int]:
        if not conversations:
            return []
        ids = tokenizer.apply_chat_template(list(conversations), tokenize=True, return_dict=False, **options)
        return [len(i) + own for i in ids]

    return lengths
