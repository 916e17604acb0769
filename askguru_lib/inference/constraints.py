"""Schema-constrained decoding: a token that starts an identifier which does not exist is never generated.

The vocabulary is kept as tries of byte strings. For tokens of one word, with or without a blank before it, the words
that may stand there lead through the trie; for the others it is walked with
:mod:`askguru_lib.inference.sql_scanner` and every branch is cut where it says no. What remains are masks over the
vocabulary, which positions that look alike share, in any question on the schema. The idea is PICARD's (arXiv
2109.05093), before the choice in place of after it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import LogitsProcessor, PreTrainedTokenizerBase

from askguru_lib.databases.m_schema import MSchema
from askguru_lib.inference.sql_scanner import Scanner
from askguru_lib.inference.sql_state import (
    ALIASABLE,
    FORWARD_ALIAS,
    LONGEST_NAME,
    OPERANDS,
    State,
    Words,
)
from askguru_lib.inference.sql_words import RESERVED
from askguru_lib.inference.vocabulary import Mask, Vocabulary, WordTokens

UNSEEN = "\x00"
MASK_BYTES = 128 * 2**20
"""What the masks of one schema may take in memory: a few hundred at a vocabulary of 131,072."""


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
        self._words: dict[tuple[WordTokens, Words, str], Mask] = {}
        self._boundaries: dict[tuple[Any, ...], Mask] = {}
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
            return torch.ones(len(self.vocabulary.texts), dtype=torch.bool)
        known = self._masks.get(state)
        if known is None:
            allowed = self._with_boundary(state) | self._inside_word(state, self.vocabulary.words)
            if self.scanner.is_complete(state) or not allowed.any():
                allowed[self.eos] = True
            known = torch.from_numpy(allowed)
            self._keep(self._masks, state, known)
        return known

    def _inside_word(self, state: State, tokens: WordTokens) -> Mask:
        """Of tokens of one word, those along which an allowed word goes on."""
        if state.mode == "closed":
            state = self.scanner.column(state, state.word)
        place, word = state.place, state.word
        if state.mode == "number":
            return tokens.digits
        if state.mode in ("string", "quoted", "end"):
            return tokens.none
        if state.mode == "string_end":
            place = self.scanner.after_string(state).place
        if place.want == "name":
            fits = tokens.lengths <= LONGEST_NAME - len(word)
            return fits & (tokens.inside if word else tokens.start)
        keywords, *names = place.lexicon.begin
        mask = self._along(tokens, keywords, word) & tokens.spelt[state.quote]
        for group in names:
            mask |= self._along(tokens, group, word)
        if place.forward and len(word) < 4:
            mask |= tokens.short_aliases(word)
            for alias in place.top.exposed[:-1] if place.want in ALIASABLE else ():
                # A shorter one that is taken can still become another one by going on.
                if len(alias) == 3 and FORWARD_ALIAS.fullmatch(alias) and alias.startswith(word):
                    rest = alias[len(word) :]
                    mask[[t for t in tokens.trie.along(rest) if tokens.lengths[t] == len(rest)]] = False
        if state.mode != "word" and place.want in OPERANDS and not place.qualifier:
            mask |= tokens.digits
        return mask

    def _along(self, tokens: WordTokens, group: Words, word: str) -> Mask:
        key = (tokens, group, word)
        if key not in self._words:
            mask = tokens.none.copy()
            if not word or word in group.beginnings:
                mask[[t for rest in group.after(word) for t in tokens.trie.along(rest)]] = True
            self._keep(self._words, key, mask)
        return self._words[key]

    def _with_boundary(self, state: State) -> Mask:
        """Tokens that hold a blank, a mark or a quote, and all inside a quoted name. Those of a blank and a word are
        told by the word, the others are found by walking their trie with the scanner."""
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

    def _keep(self, kind: dict[Any, Any], key: Any, mask: Mask | Tensor) -> None:
        """Remember a mask; all are forgotten once they take more than :data:`MASK_BYTES`."""
        if (len(self._masks) + len(self._words) + len(self._boundaries)) * len(mask) > MASK_BYTES:
            for known in (self._masks, self._words, self._boundaries):
                known.clear()
        kind[key] = mask

    def _walk(self, state: State) -> Mask:
        vocabulary, step = self.vocabulary, self.scanner.step
        spaced = step(state, " ")
        if state.mode == "string":
            mask, stack = vocabulary.without_quote.copy(), [(vocabulary.quoting, state)]
        else:
            mask, stack = vocabulary.none.copy(), [(vocabulary.others, state)]
            if state.mode == "quoted":
                stack.append((vocabulary.words.trie, state))
                stack += [(vocabulary.spaced.trie, spaced)] if spaced else []
            elif spaced:
                mask |= self._inside_word(spaced, vocabulary.spaced)
            elif state.mode == "word":  # most are unfinished: only a token that goes on with them is worth a look
                stack = [(vocabulary.attached, state)]
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
