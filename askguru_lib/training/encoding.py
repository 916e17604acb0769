"""Conversations to token ids: tokenised once, by the tokenizer's chat template, with labels on the answer only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from askguru_lib.data.files import iter_values
from askguru_lib.errors import DataError, TrainingError

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerBase

Conversation = list[dict[str, str]]

IGNORED = -100
"""Label of a token that is read but not learnt."""

_HINT = "one of conversations, messages or prompt + completion, ending with a non-empty assistant turn"


@dataclass(frozen=True)
class Encoded:
    """Token ids ready for the trainer.

    Attributes:
        dataset: columns ``input_ids``, ``labels`` and ``length``; in rows of several samples, also ``position_ids`` and
            ``segments`` (:mod:`askguru_lib.training.sharing`).
        samples: how many the rows hold.
        set_aside: samples longer than the limit, left out rather than cut.
        tokens: tokens in ``dataset``.
        answer_tokens: those of them that are learnt.
    """

    dataset: Dataset
    samples: int
    set_aside: int
    tokens: int
    answer_tokens: int


def read_conversations(path: str | Path) -> list[Conversation]:
    """Training samples of a JSON or JSON Lines file, each as a list of turns.

    Understands ``conversations``, Hugging Face ``messages``, and ``prompt`` with ``completion`` (texts or turns).

    Raises:
        DataError: no such file, malformed JSON, or a record that is none of these (named by line and id).
    """
    conversations = []
    for index, (line, record) in enumerate(iter_values(path)):
        try:
            conversations.append(_turns(record))
        except ValueError as e:
            place = f"{path}:{line}" if line else f"{path}, record {index}"
            name = f" (id {record['id']!r})" if isinstance(record, dict) and "id" in record else ""
            raise DataError(str(e), where=place + name, hint=_HINT) from None
    return conversations


def _turns(record: Any) -> Conversation:
    if not isinstance(record, dict):
        raise ValueError(f"expected an object, found {type(record).__name__}")
    turns = record.get("conversations", record.get("messages"))
    if turns is None:
        if "prompt" not in record or "completion" not in record:
            raise ValueError(f"no conversation among its fields ({', '.join(record) or 'none'})")
        turns = _side(record["prompt"], "user") + _side(record["completion"], "assistant")
    if not isinstance(turns, list) or len(turns) < 2:
        raise ValueError("a conversation needs at least two turns")
    for number, turn in enumerate(turns):
        for field in ("role", "content"):
            if not isinstance(turn, dict) or not isinstance(turn.get(field), str):
                raise ValueError(f"turn {number}: '{field}' must be a text")
    if turns[-1]["role"] != "assistant" or not turns[-1]["content"].strip():
        raise ValueError(f"the last turn ({turns[-1]['role']}) is not an assistant's answer")
    return [{"role": turn["role"], "content": turn["content"]} for turn in turns]


def _side(value: Any, role: str) -> list[Any]:
    return value if isinstance(value, list) else [{"role": role, "content": value}]


def encode(tokenizer: PreTrainedTokenizerBase, conversation: Conversation) -> tuple[list[int], list[int]]:
    """Token ids and labels of one conversation.

    The prompt is rendered alone and as part of the whole; the answer begins where the first ends. Nothing is searched
    for in the text, so an answer that also stands inside the prompt is not mistaken for it.

    Returns:
        ``(input_ids, labels)``, of equal length; labels are :data:`IGNORED` up to the first token of the answer
        and behind the token that ends it.

    Raises:
        TrainingError: the chat template renders the prompt differently in the two cases, or never ends the answer.
    """
    prompt = _render(tokenizer, conversation[:-1], add_generation_prompt=True)
    if (
        type(tokenizer).__name__ == "MistralCommonBackend"
    ):  # refuses an assistant's closing turn, but will go on with it
        whole = [*_render(tokenizer, conversation, continue_final_message=True), tokenizer.eos_token_id]
    else:
        whole = _render(tokenizer, conversation)
    start = len(prompt)
    if whole[:start] != prompt:
        raise TrainingError(
            f"the prompt's last tokens change when the answer follows: {tokenizer.decode(prompt[-8:])!r} becomes "
            f"{tokenizer.decode(whole[start - 8 : start])!r}",
            where="the tokenizer's chat template",
            hint="render the prompt alike with and without the answer",
        )
    if tokenizer.eos_token_id not in whole[start:]:
        raise TrainingError(
            f"the answer is not closed by {tokenizer.eos_token!r}, so the model would never learn to stop",
            where="the tokenizer's chat template",
            hint="end the assistant's turn with the end-of-sequence token",
        )
    end = whole.index(tokenizer.eos_token_id, start) + 1  # some templates set a line break behind it
    return whole, [IGNORED] * start + whole[start:end] + [IGNORED] * (len(whole) - end)


def _render(tokenizer: PreTrainedTokenizerBase, conversation: Conversation, **options: bool) -> list[int]:
    rendered: Any = tokenizer.apply_chat_template(conversation, tokenize=True, return_dict=True, **options)  # type: ignore[arg-type]
    return list(rendered["input_ids"])


def encode_all(
    tokenizer: PreTrainedTokenizerBase,
    conversations: Sequence[Conversation],
    max_length: int,
    where: str,
    samples_per_row: int = 1,
    seed: int = 0,
) -> Encoded:
    """Encode samples; those longer than ``max_length`` tokens are set aside and counted, never cut.

    Args:
        where: the file they came from, for messages.
        samples_per_row: samples that may share the reading of a common beginning, by ``seed``.

    Raises:
        TrainingError: nothing is left to train on, or see :func:`encode`.
    """
    from datasets import Dataset
    from tqdm.auto import tqdm

    rows: list[dict[str, Any]] = []
    longest = 0
    for conversation in tqdm(conversations, desc="tokenising", unit="sample", mininterval=1, leave=False):
        ids, labels = encode(tokenizer, conversation)
        longest = max(longest, len(ids))
        if len(ids) <= max_length:
            rows.append({"input_ids": ids, "labels": labels, "length": len(ids)})
    if not rows:
        found = f"the shortest of {len(conversations)} samples is longer" if conversations else "the file has no sample"
        raise TrainingError(
            f"nothing to train on: {found} than training.max_length ({max_length})" if conversations else found,
            where=where,
            hint=f"raise training.max_length to {longest}" if conversations else "assemble the training set first",
        )
    samples = len(rows)
    if samples_per_row > 1:
        from askguru_lib.training.sharing import share_prefixes

        rows = share_prefixes(rows, samples_per_row, max_length, seed)
    return Encoded(
        dataset=Dataset.from_list(rows),
        samples=samples,
        set_aside=len(conversations) - samples,
        tokens=sum(row["length"] for row in rows),
        answer_tokens=sum(label != IGNORED for row in rows for label in row["labels"]),
    )
