"""Schema-constrained decoding: a token that starts an identifier which does not exist is never generated.

The vocabulary is a trie of byte strings; from the state of :mod:`askguru_lib.inference.sql_scanner` the trie is walked
once and every branch is cut where the scanner says no. What remains is a mask over the vocabulary, kept per state:
positions that look alike, in any question on the schema, share it. The idea is PICARD's (arXiv 2109.05093), with the
schema in place of a parser, and before the choice in place of after it.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from transformers import LogitsProcessor, PreTrainedTokenizerBase

from askguru_lib.databases.m_schema import MSchema
from askguru_lib.inference.sql_scanner import Scanner, State
from askguru_lib.inference.sql_words import RESERVED

_BYTE_TOKEN = re.compile(r"<0x([0-9A-Fa-f]{2})>")
_vocabularies: WeakKeyDictionary[PreTrainedTokenizerBase, Vocabulary] = WeakKeyDictionary()


class Node:
    """A place in the vocabulary's trie: tokens that end here, and what may follow."""

    __slots__ = ("children", "tokens")

    def __init__(self) -> None:
        self.children: dict[str, Node] = {}
        self.tokens: list[int] = []

    def add(self, text: str, token: int) -> None:
        node = self
        for char in text:
            node = node.children.setdefault(char, Node())
        node.tokens.append(token)


class Vocabulary:
    """A tokenizer's tokens as byte strings, once per tokenizer.

    Attributes:
        texts: bytes of every token as a latin-1 string; None for special tokens.
        plain, quoting: tries of the tokens without and with a single quote.
        without_quote: mask of the tokens that leave a string literal open.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        size = len(tokenizer)
        special = set(tokenizer.all_special_ids)
        self.eos = [i for i in [tokenizer.eos_token_id] if i is not None]
        self.texts = [None if i in special else _token_bytes(tokenizer, i) for i in range(size)]
        self.plain, self.quoting = Node(), Node()
        self.without_quote = torch.zeros(size, dtype=torch.bool)
        for token, text in enumerate(self.texts):
            if text:
                (self.quoting if "'" in text else self.plain).add(text, token)
                self.without_quote[token] = "'" not in text

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerBase) -> Vocabulary:
        if tokenizer not in _vocabularies:
            _vocabularies[tokenizer] = cls(tokenizer)
        return _vocabularies[tokenizer]


def _byte_letters() -> dict[str, int]:
    """The letters by which byte-level tokenizers write the 256 bytes (GPT-2)."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [b for b in range(256) if b not in printable]
    return {chr(b): b for b in printable} | {chr(256 + i): b for i, b in enumerate(others)}


_LETTERS = _byte_letters()


def _token_bytes(tokenizer: PreTrainedTokenizerBase, token: int) -> str | None:
    """Bytes that a token adds to a text, as a latin-1 string; None if it cannot be told."""
    anchor = tokenizer.encode("a", add_special_tokens=False)[-1:]
    before, after = str(tokenizer.decode(anchor)), str(tokenizer.decode([*anchor, token]))
    if after.startswith(before) and "\ufffd" not in after:
        return after[len(before) :].encode().decode("latin-1")
    piece = str(tokenizer.convert_ids_to_tokens(token))
    if match := _BYTE_TOKEN.fullmatch(piece):
        return chr(int(match[1], 16))
    if all(char in _LETTERS for char in piece):
        return bytes(_LETTERS[char] for char in piece).decode("latin-1")
    return None


class View(NamedTuple):
    """What of a state decides which tokens may follow; states with equal views share a mask."""

    mode: str
    word: str
    quote: str
    want: str
    qualifier: str
    last: str
    top: tuple[Any, ...]
    depth: int
    scope: tuple[str, ...] | None
    names: tuple[tuple[str, str], ...]


class SchemaConstraint(LogitsProcessor):
    """Allows only tokens after which every identifier can still be one of the schema's.

    Used by :class:`~askguru_lib.inference.generation.Generator` through :meth:`start`, :meth:`mask`, :meth:`advance`,
    and by transformers' ``generate`` as a logits processor (then one prompt length for all rows, padding included).

    Args:
        tokenizer: any tokenizer; it is read once.
        schema: the prompt's schema.
        dialect: an SQL dialect.
        prompt_length: tokens before the answer; for ``generate`` only, by default those of the first call.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        schema: MSchema,
        dialect: str = "sqlite",
        prompt_length: int | None = None,
    ) -> None:
        self.vocabulary = Vocabulary.of(tokenizer)
        self.scanner = Scanner(schema, dialect)
        self.prompt_length = prompt_length
        self._masks: dict[View, Tensor] = {}
        self._known: dict[State, Tensor] = {}
        self._after: dict[tuple[State, int], State | None] = {}

    def start(self) -> State:
        """State before the first token of an answer."""
        return self.scanner.initial

    def advance(self, state: State | None, token: int) -> State | None:
        """State after a token; None, under which everything is allowed, once a forbidden one was taken."""
        if state is None:
            return None
        key = (state, token)
        if key not in self._after:
            after: State | None = state
            for char in self.vocabulary.texts[token] or "":
                after = None if after is None else self.scanner.step(after, char)
            self._after[key] = after
        return self._after[key]

    def mask(self, state: State | None) -> Tensor:
        """Which tokens may follow, ``[vocabulary]``, True for allowed; the end of the answer if nothing else may."""
        if state is None:
            return torch.ones_like(self.vocabulary.without_quote)
        if state not in self._known:
            view = self._view(state)
            if view not in self._masks:
                self._masks[view] = self._walk(state)
            self._known[state] = self._masks[view]
        return self._known[state]

    def _walk(self, state: State) -> Tensor:
        vocabulary, step = self.vocabulary, self.scanner.step
        stack = [(vocabulary.quoting, state)]
        if state.mode == "string":
            mask = vocabulary.without_quote.clone()
        else:
            mask = torch.zeros_like(vocabulary.without_quote)
            stack.append((vocabulary.plain, state))
        allowed: list[int] = []
        while stack:
            node, here = stack.pop()
            allowed += node.tokens
            for char, child in node.children.items():
                after = step(here, char)
                if after is not None:
                    stack.append((child, after))
        mask[allowed] = True
        if self.scanner.is_complete(state) or not mask.any():
            mask[vocabulary.eos] = True
        return mask

    def _view(self, state: State) -> View:
        top, word = state.frames[-1], state.word
        if state.want == "name" and word and not any(r.startswith(word) for r in RESERVED):
            word = f"{len(word) // 8}" if state.mode == "word" else "…"
        unmet = self.scanner.unmet(state)
        # Before FROM it matters whether a need exists, not which: no token holds a whole FROM clause.
        shape = (top.kind, top.clause, top.resume, top.loose, bool(top.needs), unmet)
        scope = self.scanner.scope(state)
        return View(
            state.mode, word, state.quote, state.want, state.qualifier, state.last, shape, min(len(state.frames), 8),
            scope, state.names,
        )  # fmt: skip

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:  # type: ignore[override]
        """Forbid tokens in transformers' ``generate``."""
        if self.prompt_length is None:
            self.prompt_length = input_ids.shape[1]
        masks = []
        for row in input_ids[:, self.prompt_length :].tolist():
            state: State | None = self.scanner.initial
            for token in row:
                state = self.advance(state, token)
            masks.append(self.mask(state))
        allowed = torch.stack(masks).to(scores.device)
        if scores.shape[1] > allowed.shape[1]:
            allowed = torch.nn.functional.pad(allowed, (0, scores.shape[1] - allowed.shape[1]))
        return scores.masked_fill(~allowed, float("-inf"))
