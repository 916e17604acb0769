"""Schema-constrained decoding: a token that starts an identifier which does not exist is never generated.

The vocabulary is kept as tries of byte strings. Inside a word, the words that may stand there lead through the trie;
for tokens that cross a word's end, the trie is walked with :mod:`askguru_lib.inference.sql_scanner` and every branch is
cut where it says no. What remains are masks over the vocabulary, which positions that look alike share, in any question
on the schema. The idea is PICARD's (arXiv 2109.05093), before the choice in place of after it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import reduce
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from transformers import LogitsProcessor, PreTrainedTokenizerBase

from askguru_lib.databases.m_schema import MSchema
from askguru_lib.inference.sql_scanner import Scanner
from askguru_lib.inference.sql_state import (
    ALIASABLE,
    DIGITS,
    FORWARD_ALIAS,
    INSIDE_WORD,
    LETTERS,
    LONGEST_NAME,
    OPERANDS,
    SPELLINGS,
    State,
    Words,
    spelling,
)
from askguru_lib.inference.sql_words import RESERVED

UNSEEN = "\x00"
MASK_BYTES = 128 * 2**20
"""What the masks of one schema may take in memory: a few hundred at a vocabulary of 131,072."""
_BYTE_TOKEN = re.compile(r"<0x([0-9A-Fa-f]{2})>")
_vocabularies: WeakKeyDictionary[PreTrainedTokenizerBase, Vocabulary] = WeakKeyDictionary()


class Node:
    """A place in a trie of tokens: tokens that end here, and what may follow."""

    __slots__ = ("children", "tokens")

    def __init__(self) -> None:
        self.children: dict[str, Node] = {}
        self.tokens: list[int] = []

    def add(self, text: str, token: int) -> None:
        node = self
        for char in text:
            node = node.children.setdefault(char, Node())
        node.tokens.append(token)

    def along(self, text: str) -> list[int]:
        """Tokens that are a beginning of ``text``."""
        node: Node | None = self
        found: list[int] = []
        for char in text:
            node = node.children.get(char) if node else None
            if node is None:
                break
            found += node.tokens
        return found


class Vocabulary:
    """A tokenizer's tokens as byte strings, read once per tokenizer.

    Attributes:
        texts: bytes of every token as a latin-1 string; None for special tokens.
        words: trie of the tokens that are letters and digits only, in lower case.
        others, quoting: tries of the remaining tokens, and of those among them with a single quote.
        inside, start, digits: masks of the tokens that are ASCII letters and digits, that also begin with a letter,
            that are digits; ``lengths`` are theirs.
        without_quote: mask of the tokens that leave a string literal open.
        spelt: by how a word is written so far, mask of the tokens after which it is not in mixed case.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        size = len(tokenizer)
        try:
            added = dict(tokenizer.added_tokens_decoder).items()
        except (NotImplementedError, TypeError):  # mistral-common's tokenizers: nothing can be added to them
            added = {}.items()
        special = {i for i, t in added if t.special and not _BYTE_TOKEN.fullmatch(t.content)}
        special |= set(tokenizer.all_special_ids)
        self.texts = [None if i in special else _token_bytes(tokenizer, i) for i in range(size)]
        self.words, self.quoting, self.others = Node(), Node(), Node()
        self._short: list[tuple[str, int]] = []
        self._aliases: dict[str, Tensor] = {}
        masks = torch.zeros(5, size, dtype=torch.bool)
        self.none, self.inside, self.start, self.digits, self.without_quote = masks
        self.lengths = torch.zeros(size, dtype=torch.long)
        self.spelt = {style: self.none.clone() for style in SPELLINGS}
        for token, text in enumerate(self.texts):
            if not text:
                continue
            self.without_quote[token] = "'" not in text
            if not INSIDE_WORD.issuperset(text):
                self.others.add(text, token)
                if "'" in text:
                    self.quoting.add(text, token)
                continue
            self.words.add(text.lower(), token)
            for style, mask in self.spelt.items():
                mask[token] = reduce(spelling, text, style) != "mixed"
            self.lengths[token], self.digits[token] = len(text), DIGITS.issuperset(text)
            self.inside[token] = text.isascii()
            self.start[token] = text.isascii() and text[0] in LETTERS
            if len(text) <= 4:
                self._short.append((text.lower(), token))

    def short_aliases(self, word: str) -> Tensor:
        """Mask of the tokens with which a word goes on as, or ends, a letter with or without a number."""
        if word not in self._aliases:
            mask = self.none.clone()
            mask[[t for text, t in self._short if FORWARD_ALIAS.fullmatch(word + text)]] = True
            self._aliases[word] = mask
        return self._aliases[word]

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


class SchemaConstraint(LogitsProcessor):
    """Allows only tokens after which every identifier can still be one of the schema's.

    It is narrower than SQL, where wider would let a model that has lost its way go on without end. Refused are:

    - all columns (``*``, ``t.*``) but as items of SELECT and in COUNT, and in PostgreSQL as a whole row;
    - keywords in mixed case, and a string or a quoted name directly behind a word;
    - windows with a name (``OVER w``);
    - brackets more than six deep, three aggregates in each other, and two common table expressions of one name;
    - in one FROM more than ten tables, or a table twice while another is missing;
    - a FROM that begins without any of the columns named bare before it (``SELECT name FROM orders JOIN customers …``);
    - a join condition of which the second table is not the one just joined;
    - in SQLite calls without an argument, ``rowid``, and ``MIN`` and ``MAX`` of several values outside of SELECT,
      HAVING and ORDER BY.

    Used by :class:`~askguru_lib.inference.generation.Generator` through :meth:`start`, :meth:`mask`, :meth:`advance`,
    and by transformers' ``generate`` as a logits processor (then one prompt length for all rows, padding included).

    Args:
        tokenizer: any tokenizer; it is read once.
        schema: the prompt's schema.
        dialect: an SQL dialect.
        prompt_length: tokens before the answer; for ``generate`` only, by default those of the first call.
        eos: tokens that may end an answer; by default the tokenizer's own.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        schema: MSchema,
        dialect: str = "sqlite",
        prompt_length: int | None = None,
        eos: Sequence[int] | None = None,
    ) -> None:
        self.vocabulary = Vocabulary.of(tokenizer)
        self.eos = list(eos) if eos else [i for i in [tokenizer.eos_token_id] if i is not None]
        self.scanner = Scanner(schema, dialect)
        self.prompt_length = prompt_length
        self._masks: dict[State, Tensor] = {}
        self._words: dict[tuple[Words, str], Tensor] = {}
        self._boundaries: dict[tuple[Any, ...], Tensor] = {}
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
        known = self._masks.get(state)
        if known is None:
            known = self._with_boundary(state) | self._inside_word(state)
            if self.scanner.is_complete(state) or not known.any():
                known[self.eos] = True
            self._keep(self._masks, state, known)
        return known

    def _inside_word(self, state: State) -> Tensor:
        """Tokens of letters and digits only: those along which an allowed word goes on."""
        vocabulary, place, word = self.vocabulary, state.place, state.word
        if state.mode == "number":
            return vocabulary.digits
        if state.mode in ("string", "quoted", "end"):
            return vocabulary.none
        if state.mode == "string_end":
            place = self.scanner.after_string(state).place
        if place.want == "name":
            fits = vocabulary.lengths <= LONGEST_NAME - len(word)
            return fits & (vocabulary.inside if word else vocabulary.start)
        keywords, *names = place.lexicon.begin
        mask = self._along(keywords, word) & vocabulary.spelt[state.quote]
        for group in names:
            mask |= self._along(group, word)
        if place.forward and len(word) < 4:
            mask |= vocabulary.short_aliases(word)
            for alias in place.top.exposed[:-1] if place.want in ALIASABLE else ():
                # A shorter one that is taken can still become another one by going on.
                if len(alias) == 3 and FORWARD_ALIAS.fullmatch(alias) and alias.startswith(word):
                    rest = alias[len(word) :]
                    mask[[t for t in vocabulary.words.along(rest) if vocabulary.lengths[t] == len(rest)]] = False
        if state.mode != "word" and place.want in OPERANDS and not place.qualifier:
            mask |= vocabulary.digits
        return mask

    def _along(self, group: Words, word: str) -> Tensor:
        key = (group, word)
        if key not in self._words:
            mask = self.vocabulary.none.clone()
            if not word or word in group.beginnings:
                mask[[t for rest in group.after(word) for t in self.vocabulary.words.along(rest)]] = True
            self._keep(self._words, key, mask)
        return self._words[key]

    def _with_boundary(self, state: State) -> Tensor:
        """Tokens that hold a blank, a mark or a quote: found by walking their trie with the scanner."""
        naming = state.place.want == "name" and state.mode == "word" and len(state.word) < LONGEST_NAME // 2
        taken = {*state.place.top.exposed, *(name for name, kind in state.place.names if kind == "cte")}
        special = state.word in taken or any(r.startswith(state.word) for r in RESERVED)
        if naming and not special:
            # Which name it is that ends does not matter: nothing in the same token can refer to it.
            state = state._replace(word=UNSEEN, quote="")
        key = (state.mode, state.word, state.quote, state.last, state.place.view)
        if key not in self._boundaries:
            self._keep(self._boundaries, key, self._walk(state))
        return self._boundaries[key]

    def _keep(self, kind: dict[Any, Tensor], key: Any, mask: Tensor) -> None:
        """Remember a mask; all are forgotten once they take more than :data:`MASK_BYTES`."""
        if (len(self._masks) + len(self._words) + len(self._boundaries)) * mask.numel() > MASK_BYTES:
            for known in (self._masks, self._words, self._boundaries):
                known.clear()
        kind[key] = mask

    def _walk(self, state: State) -> Tensor:
        vocabulary, step = self.vocabulary, self.scanner.step
        if state.mode == "string":
            mask, stack = vocabulary.without_quote.clone(), [(vocabulary.quoting, state)]
        else:
            mask, stack = vocabulary.none.clone(), [(vocabulary.others, state)]
            if state.mode == "quoted":
                stack.append((vocabulary.words, state))
        allowed: list[int] = []
        while stack:
            node, here = stack.pop()
            allowed += node.tokens
            for char, child in node.children.items():
                after = step(here, char)
                if after is not None:
                    stack.append((child, after))
        mask[allowed] = True
        return mask

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
