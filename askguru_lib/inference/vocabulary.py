"""What a constraint needs to know of a tokenizer: its tokens as bytes, in tries, read once."""

from __future__ import annotations

import re
from functools import reduce
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from askguru_lib.inference.sql_state import DIGITS, FORWARD_ALIAS, INSIDE_WORD, LETTERS, QUOTES, SPELLINGS, spelling

ATTACHED = INSIDE_WORD | QUOTES | {".", "("}
"""What can follow a word that a blank would not end."""
Mask = NDArray[np.bool_]
"""Which tokens of a vocabulary, ``[vocabulary]``."""
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


class WordTokens:
    """Tokens that are letters and digits only, behind a blank or behind nothing; masks are ``[vocabulary]``.

    Attributes:
        trie: their letters and digits, in lower case.
        inside, start, digits: masks of those that are ASCII, that also begin with a letter, that are digits.
        lengths: how many letters and digits each has.
        spelt: by how a word is written so far, mask of those after which it is not in mixed case.
    """

    def __init__(self, size: int) -> None:
        self.trie = Node()
        self.none, self.inside, self.start, self.digits = np.zeros((4, size), dtype=bool)
        self.lengths = np.zeros(size, dtype=np.int64)
        self.spelt = {style: self.none.copy() for style in SPELLINGS}
        self._short: list[tuple[str, int]] = []
        self._aliases: dict[str, Mask] = {}

    def add(self, text: str, token: int) -> None:
        self.trie.add(text.lower(), token)
        for style, mask in self.spelt.items():
            mask[token] = reduce(spelling, text, style) != "mixed"
        self.lengths[token], self.digits[token] = len(text), DIGITS.issuperset(text)
        self.inside[token] = text.isascii()
        self.start[token] = text.isascii() and text[0] in LETTERS
        if len(text) <= 4:
            self._short.append((text.lower(), token))

    def short_aliases(self, word: str) -> Mask:
        """Mask of the tokens with which a word goes on as, or ends, a letter with or without a number."""
        if word not in self._aliases:
            mask = self.none.copy()
            mask[[t for text, t in self._short if FORWARD_ALIAS.fullmatch(word + text)]] = True
            self._aliases[word] = mask
        return self._aliases[word]


class Vocabulary:
    """A tokenizer's tokens as byte strings, read once per tokenizer.

    Attributes:
        texts: bytes of every token as a latin-1 string; None for special tokens.
        words, spaced: the tokens that are letters and digits only, and those that are a blank and such a word.
        others, quoting, attached: tries of the remaining tokens, of those among them with a single quote, and of those
            that can follow a word that a blank would not end.
        none, without_quote: masks of no token, and of those that leave a string literal open.
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
        self.words, self.spaced = WordTokens(size), WordTokens(size)
        self.others, self.quoting, self.attached = Node(), Node(), Node()
        self.none, self.without_quote = np.zeros((2, size), dtype=bool)
        for token, text in enumerate(self.texts):
            if not text:
                continue
            self.without_quote[token] = "'" not in text
            if INSIDE_WORD.issuperset(text):
                self.words.add(text, token)
            elif text[0] == " " and len(text) > 1 and INSIDE_WORD.issuperset(text[1:]):
                self.spaced.add(text[1:], token)
            else:
                self.others.add(text, token)
                if "'" in text:
                    self.quoting.add(text, token)
                if text[0] in ATTACHED:
                    self.attached.add(text, token)

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
