"""Greedy, beam and sampling decoding of a batch in the same forward passes, from shared keys and values."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from transformers import DynamicCache, PreTrainedModel

from askguru_lib.inference.attention import ATTENTION, Context

SHORTEST_PREFIX = 32
NEVER = float("-inf")
LOOP_TOKENS, LOOP_PERIOD = 32, 8
"""An answer whose last 32 tokens repeat a piece of at most 8 tokens does not end by itself: it is stopped."""
LIKELY = 64
"""Tokens that are looked at first when one is drawn: nearly always, all of the nucleus is among them."""
PATIENCE, LEEWAY = 1.25, 8
"""Once half of a question's answers have ended, the others may become a quarter longer, and 8 tokens more."""


class RowConstraint(Protocol):
    """What decoding asks of a constraint: a state per row, the tokens it allows, the state after a token."""

    def start(self) -> Any: ...

    def mask(self, state: Any) -> Tensor: ...

    def advance(self, state: Any, token: int) -> Any: ...


@dataclass(frozen=True)
class Hypothesis:
    """One decoded sequence; ``logprob`` is the model's own, before any constraint or temperature."""

    tokens: tuple[int, ...]
    logprob: float
    source: str
    finished: bool


@dataclass(frozen=True)
class Batch:
    """Indices of prompts decoded together, and how many of their first tokens they all share."""

    indices: tuple[int, ...]
    prefix: int


def plan_batches(prompts: Sequence[Sequence[int]], batch_size: int) -> list[Batch]:
    """Group prompts by shared beginning, sort each group by length, cut it into batches.

    Prompts belong together as long as what they share is at least half of the shortest of them.
    """
    order = sorted(range(len(prompts)), key=lambda i: list(prompts[i]))
    groups: list[tuple[list[int], int]] = []
    for i in order:
        if groups:
            members, shared = groups[-1]
            common = min(shared, common_prefix(prompts[members[-1]], prompts[i]), len(prompts[i]) - 1)
            shortest = min(len(prompts[i]), *(len(prompts[m]) for m in members))
            if common >= max(SHORTEST_PREFIX, shortest // 2):
                groups[-1] = ([*members, i], common)
                continue
        groups.append(([i], len(prompts[i]) - 1))
    batches, lonely = [], []
    for members, shared in groups:
        if len(members) == 1 and len(groups) > 1:
            lonely += members
            continue
        members.sort(key=lambda i: len(prompts[i]))
        batches += [Batch(tuple(members[j : j + batch_size]), shared) for j in range(0, len(members), batch_size)]
    lonely.sort(key=lambda i: len(prompts[i]))
    batches += [Batch(tuple(lonely[j : j + batch_size]), 0) for j in range(0, len(lonely), batch_size)]
    return batches


def common_prefix(a: Sequence[int], b: Sequence[int]) -> int:
    """Number of leading tokens that two sequences share."""
    n = min(len(a), len(b))
    differs = np.flatnonzero(np.asarray(a[:n]) != np.asarray(b[:n]))
    return int(differs[0]) if differs.size else n


class SharedDecoder:
    """Greedy, beam and sampling decoding of a batch, all in the same forward passes.

    Args:
        model: a causal language model; while it decodes, its attention is :func:`.attention.shared_attention`.
        eos: ids that end an answer.
        prefix_cache_mb: keys and values of shared beginnings are kept between calls up to this size, until a weight
            changes or an adapter is switched.
    """

    def __init__(self, model: PreTrainedModel, eos: Sequence[int], prefix_cache_mb: int = 256) -> None:
        self.model = model
        self.eos = torch.tensor(sorted(eos), device=model.device)
        self.capacity = prefix_cache_mb * 2**20
        self.prefixes: OrderedDict[tuple[int, ...], Context] = OrderedDict()
        self.version: tuple[Any, ...] = ()

    @contextmanager
    def _ready(self) -> Iterator[None]:
        """The model in evaluation mode with shared attention; afterwards it is as it was."""
        attention, training = self.model.config._attn_implementation, self.model.training
        # Layers of PEFT say so by attributes; a whole model has methods of the same names.
        adapters = [(m.disable_adapters, *m.active_adapters) for m in self.model.modules()  # type: ignore[misc]
                    if isinstance(getattr(m, "disable_adapters", None), bool)]  # fmt: skip
        version = (sum(weight._version for weight in self.model.parameters()), *adapters)
        if version != self.version:
            self.prefixes.clear()
            self.version = version
        self.model.set_attn_implementation(ATTENTION)
        self.model.eval()
        try:
            with torch.inference_mode():
                yield
        finally:
            self.model.set_attn_implementation(attention)
            self.model.train(training)

    def _forward(
        self, ids: Tensor, positions: Tensor, cache: DynamicCache, contexts: Sequence[Context], **options: Any
    ) -> Tensor:
        return self.model(
            input_ids=ids, position_ids=positions, past_key_values=cache, use_cache=True, contexts=contexts, **options
        ).logits

    def _prefix(self, tokens: tuple[int, ...]) -> Context:
        """Keys and values of a shared beginning, from the cache as far as one there begins alike."""
        best = max(self.prefixes, key=lambda known: common_prefix(known, tokens), default=())
        shared = common_prefix(best, tokens)
        # What follows a known beginning is computed with a dense mask, so it must be the smaller part.
        known = self.prefixes[best].slice(shared) if shared >= max(SHORTEST_PREFIX, len(tokens) // 2) else None
        if known is not None:
            self.prefixes.move_to_end(best)
            if shared == len(tokens):
                return known
        done = known.length if known else 0
        cache, device = DynamicCache(), self.model.device
        rest = torch.tensor([tokens[done:]], device=device)
        positions = torch.arange(done, len(tokens), device=device)[None]
        mask = None
        if known:
            mask = torch.full((1, 1, rest.shape[1], rest.shape[1]), NEVER, device=device).triu(1).to(self.model.dtype)
        self._forward(rest, positions, cache, [known] if known else [], attention_mask=mask, logits_to_keep=1)
        new = Context.of(cache)
        self.prefixes[tokens] = known.extend(new) if known else new
        size = sum(2 * k.numel() * k.element_size() for c in self.prefixes.values() for k in c.keys)
        while size > self.capacity and len(self.prefixes) > 1:
            _, old = self.prefixes.popitem(last=False)
            size -= sum(2 * k.numel() * k.element_size() for k in old.keys)
        return self.prefixes[tokens]

    def prefill(self, prompts: Sequence[Sequence[int]], prefix: int) -> tuple[list[Context], Tensor, Tensor]:
        """Run the prompts once (within :meth:`_ready`).

        Returns:
            Contexts to decode from, next-token logits ``[questions, vocabulary]``, next positions ``[questions]``.
        """
        device = self.model.device
        contexts = [self._prefix(tuple(prompts[0][:prefix]))] if prefix else []
        lengths = torch.tensor([len(p) - prefix for p in prompts], device=device)
        width = int(lengths.max())
        ids = torch.zeros(len(prompts), width, dtype=torch.long, device=device)
        for row, prompt in enumerate(prompts):
            ids[row, width - len(prompt) + prefix :] = torch.tensor(prompt[prefix:], device=device)
        real = torch.arange(width, device=device)[None] >= (width - lengths)[:, None]
        positions = (real.cumsum(-1) - 1).clamp(min=0) + prefix
        causal = torch.ones(width, width, dtype=torch.bool, device=device).tril()
        # A padding position looks at itself, so that its softmax is never over nothing.
        seen = (causal & real[:, None, :]) | torch.eye(width, dtype=torch.bool, device=device)
        low = torch.finfo(self.model.dtype).min
        mask = torch.zeros(seen.shape, dtype=self.model.dtype, device=device).masked_fill(~seen, low)[:, None]
        cache = DynamicCache()
        logits = self._forward(ids, positions, cache, contexts, attention_mask=mask, logits_to_keep=1)[:, -1]
        if len(prompts) == 1 and contexts:  # all rows read the same keys: one block is read faster than two
            return [contexts[0].extend(Context.of(cache))], logits.float(), lengths + prefix
        padding = torch.zeros(real.shape, dtype=self.model.dtype, device=device).masked_fill(~real, low)
        contexts.append(Context.of(cache, padding[:, None, None, :]))
        return contexts, logits.float(), lengths + prefix

    def score(self, prompts: Sequence[Sequence[int]], prefix: int, options: Sequence[Sequence[int]]) -> Tensor:
        """Log-probability of each option (a few tokens) after each prompt, ``[questions, options]``."""
        with self._ready():
            return self._score(prompts, prefix, options)

    def _score(self, prompts: Sequence[Sequence[int]], prefix: int, options: Sequence[Sequence[int]]) -> Tensor:
        contexts, logits, positions = self.prefill(prompts, prefix)
        first = torch.tensor([o[0] for o in options], device=logits.device)
        total = logits.log_softmax(-1)[:, first]
        width = max(len(o) for o in options) - 1
        if not width:
            return total.cpu()
        n = len(options)
        padded = torch.zeros(n, width + 1, dtype=torch.long, device=logits.device)
        real = torch.zeros(n, width, device=logits.device)
        for row, option in enumerate(options):
            padded[row, : len(option)] = torch.tensor(option)
            real[row, : len(option) - 1] = 1
        mask = torch.full((1, 1, width, width), torch.finfo(self.model.dtype).min, device=logits.device).triu(1)
        steps = positions.repeat_interleave(n)[:, None] + torch.arange(width, device=logits.device)
        out = self._forward(
            padded[:, :-1].repeat(len(prompts), 1), steps, DynamicCache(), contexts,
            attention_mask=mask.to(self.model.dtype),
        )  # fmt: skip
        chosen = out.float().log_softmax(-1).view(len(prompts), n, width, -1)
        gathered = chosen.gather(-1, padded[:, 1:].expand(len(prompts), -1, -1)[..., None])[..., 0]
        return (total + (gathered * real).sum(-1)).cpu()

    def decode(
        self,
        prompts: Sequence[Sequence[int]],
        prefix: int,
        *,
        beams: int,
        samples: int,
        max_new_tokens: int,
        enough: int | None = None,
        temperature: float = 1.0,
        top_p: float = 1.0,
        seeds: Sequence[int] | None = None,
        constraints: Sequence[RowConstraint | None] | None = None,
    ) -> list[list[Hypothesis]]:
        """Decode ``beams + samples`` answers per prompt; one beam and no sample is greedy decoding.

        Beams come first, most probable first; then the samples in the order drawn. A question has fewer beams than
        asked for only if a constraint leaves it fewer continuations. With ``enough``, a question is done when so many
        different answers have ended, the likeliest beam among them. A sample's draws depend on its prompt's seed
        alone, not on the batch that it is decoded in.
        """
        with self._ready():
            contexts, logits, positions = self.prefill(prompts, prefix)
            search = _Search(self, contexts, positions, beams, samples, max_new_tokens, constraints)
            search.temperature, search.top_p, search.enough = temperature, top_p, enough or beams + samples
            if samples:
                own = [torch.Generator().manual_seed(seed) for seed in (seeds or range(len(prompts)))]
                draws = torch.stack([torch.rand(samples, max_new_tokens, generator=g) for g in own])
                search.draws = draws.to(logits.device)
            return search.run(logits)


class _Search:
    """State of one batch while it is decoded: ``[questions, beams + samples]`` rows, compacted as questions finish."""

    def __init__(
        self,
        decoder: SharedDecoder,
        contexts: list[Context],
        positions: Tensor,
        beams: int,
        samples: int,
        limit: int,
        constraints: Sequence[RowConstraint | None] | None,
    ) -> None:
        self.decoder, self.contexts, self.positions = decoder, contexts, positions
        self.beams, self.samples, self.rows, self.limit = beams, samples, beams + samples, limit
        questions, device = len(positions), positions.device
        self.where = torch.arange(questions, device=device)
        self.tokens = torch.zeros(questions, self.rows, limit, dtype=torch.long, device=device)
        self.lengths = torch.zeros(questions, self.rows, dtype=torch.long, device=device)
        self.scores = torch.zeros(questions, self.rows, device=device)
        self.done = torch.zeros(questions, self.rows, dtype=torch.bool, device=device)
        self.cut = torch.zeros_like(self.done)
        self.cache = DynamicCache()
        self.draws = torch.empty(questions, 0, limit, device=device)
        self.temperature = self.top_p = 1.0
        self.enough = self.rows
        self.constraints = list(constraints) if constraints else [None] * questions
        self.states = [[c.start() if c else None] * self.rows for c in self.constraints]
        self.results: list[list[Hypothesis]] = [[] for _ in range(questions)]

    def run(self, logits: Tensor) -> list[list[Hypothesis]]:
        logits = logits[:, None].expand(-1, self.rows, -1)
        for step in range(self.limit):
            self._step(step, logits)
            if step + 1 == self.limit or not self._compact(step):
                break
            ids = self.tokens[:, :, step].reshape(-1, 1)
            positions = (self.positions[:, None] + step).expand(-1, self.rows).reshape(-1, 1)
            out = self.decoder._forward(ids, positions, self.cache, self.contexts)
            logits = out[:, -1].float().view(len(self.where), self.rows, -1)
        self._collect(torch.arange(len(self.where)))
        return self.results

    def _step(self, step: int, logits: Tensor) -> None:
        logprobs = logits.log_softmax(-1)
        if any(self.constraints):
            logits = self._constrain(logits)
            logprobs = logprobs.masked_fill(logits == NEVER, NEVER)
        chosen = torch.empty_like(self.lengths)
        parents = torch.arange(self.rows, device=logits.device).repeat(len(self.where), 1)
        if self.beams:
            chosen[:, : self.beams], parents[:, : self.beams], scores = self._extend_beams(step, logprobs)
        if self.samples:
            chosen[:, self.beams :] = self._draw(step, logits[:, self.beams :])
        if self.beams > 1 and step:
            self._reorder(parents)
        live = ~self.done
        gained = logprobs[torch.arange(len(self.where), device=logits.device)[:, None], parents, chosen]
        self.scores = self.scores + gained.masked_fill(~live, 0)
        if self.beams:
            self.scores[:, : self.beams] = scores
        self.tokens[:, :, step] = chosen * live
        ended = torch.isin(chosen, self.decoder.eos) | (self.scores == NEVER)
        self.lengths += (live & ~ended).long()
        self._advance(chosen, live & ~ended)
        self.done = self.done | ended
        self.cut |= ~self.done & (self._loops(step) | self._outlived(step) | self._served())
        self.done = self.done | self.cut

    def _loops(self, step: int) -> Tensor:
        if step + 1 < LOOP_TOKENS:
            return torch.zeros_like(self.done)
        last = self.tokens[:, :, step + 1 - LOOP_TOKENS : step + 1]
        return torch.stack([(last[..., p:] == last[..., :-p]).all(-1) for p in range(1, LOOP_PERIOD + 1)]).any(0)

    def _ended(self) -> Tensor:
        """Rows with a whole answer: neither cut off nor left without a continuation; ``[questions, rows]``."""
        return self.done & ~self.cut & (self.scores != NEVER)

    def _outlived(self, step: int) -> Tensor:
        """Rows far longer than the half of their question's that have ended; ``[questions, rows]``."""
        ended = self._ended()
        longest = self.lengths.masked_fill(~ended, 0).amax(-1)
        late = (2 * ended.sum(-1) >= self.rows) & (step + 1 > PATIENCE * longest + LEEWAY)
        return late[:, None].expand_as(self.done)

    def _served(self) -> Tensor:
        """Questions that have as many different answers as are wanted, the likeliest beam's too; ``[questions, 1]``."""
        ended = self._ended()
        served = (ended.sum(-1) >= self.enough) & ~self.done.all(-1)
        if self.beams:
            likeliest = self.scores[:, : self.beams].argmax(-1, keepdim=True)
            served &= ended.gather(1, likeliest)[:, 0]
        for q in served.nonzero().flatten().tolist():
            rows = ended[q].nonzero().flatten().tolist()
            texts = {tuple(self.tokens[q, r, : int(self.lengths[q, r])].tolist()) for r in rows}
            served[q] = len(texts) >= self.enough
        return served[:, None]

    def _constrain(self, logits: Tensor) -> Tensor:
        masks: list[Tensor | None] = []
        for constraint, states, done in zip(self.constraints, self.states, self.done.tolist(), strict=True):
            masks += [constraint.mask(s) if constraint and not d else None for s, d in zip(states, done, strict=True)]
        known = next((m for m in masks if m is not None), None)
        if known is None:
            return logits
        free = torch.ones_like(known)
        allowed = torch.stack([free if m is None else m for m in masks])
        # A model may have more logits than its tokenizer has tokens.
        allowed = functional.pad(allowed, (0, logits.shape[-1] - allowed.shape[-1]))
        return logits.masked_fill(~allowed.view(len(self.where), self.rows, -1).to(logits.device), NEVER)

    def _extend_beams(self, step: int, logprobs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The best continuations of all beams; a finished beam competes unchanged with those that go on."""
        own, vocabulary = logprobs[:, : self.beams].clone(), logprobs.shape[-1]
        if step == 0:
            own[:, 1:] = NEVER
        finished = self.done[:, : self.beams, None]
        stay = torch.full((vocabulary,), NEVER, device=own.device)
        stay[0] = 0.0
        total = self.scores[:, : self.beams, None] + torch.where(finished, stay, own)
        best, flat = total.flatten(1).topk(self.beams, dim=-1)
        return flat % vocabulary, flat // vocabulary, best

    def _draw(self, step: int, logits: Tensor) -> Tensor:
        probabilities = (logits / self.temperature).softmax(-1)
        likely, order = probabilities.topk(min(LIKELY, logits.shape[-1]), dim=-1)
        wide = likely.sum(-1) < self.top_p
        if wide.any():  # of these rows the nucleus is larger: all tokens are sorted
            rest = (0, logits.shape[-1] - likely.shape[-1])
            likely, order = functional.pad(likely, rest), functional.pad(order, rest)
            likely[wide], order[wide] = probabilities[wide].sort(-1, descending=True)
        probabilities = likely
        before = probabilities.cumsum(-1) - probabilities
        probabilities = probabilities.masked_fill(before >= self.top_p, 0.0)
        cumulative = probabilities.cumsum(-1)
        target = self.draws[:, :, step, None] * cumulative[..., -1:]
        index = torch.searchsorted(cumulative, target, right=True).clamp(max=order.shape[-1] - 1)
        # A draw at the very end of the line must not land on a token of probability nought.
        last = (probabilities > 0).sum(-1, keepdim=True) - 1
        return order.gather(-1, torch.minimum(index, last))[..., 0]

    def _reorder(self, parents: Tensor) -> None:
        if torch.equal(parents, torch.arange(self.rows, device=parents.device).expand_as(parents)):
            return
        flat = (torch.arange(len(self.where), device=parents.device)[:, None] * self.rows + parents).flatten()
        self.cache.reorder_cache(flat)  # type: ignore[arg-type]
        self.tokens = self.tokens.gather(1, parents[..., None].expand_as(self.tokens))
        self.lengths, self.done = self.lengths.gather(1, parents), self.done.gather(1, parents)
        self.cut = self.cut.gather(1, parents)
        self.states = [[s[p] for p in row] for s, row in zip(self.states, parents.tolist(), strict=True)]

    def _advance(self, chosen: Tensor, live: Tensor) -> None:
        if not any(self.constraints):
            return
        rows = zip(self.constraints, self.states, chosen.tolist(), live.tolist(), strict=True)
        for constraint, states, tokens, alive in rows:
            if constraint:
                states[:] = [
                    constraint.advance(s, t) if a else s for s, t, a in zip(states, tokens, alive, strict=True)
                ]

    def _compact(self, step: int) -> bool:
        """Set finished questions aside once they are half of the batch; False when all are finished."""
        finished = self.done.all(-1)
        if finished.all():
            return False
        if finished.sum() * 2 < len(finished) or len(finished) == 1:
            return True
        self._collect(finished.nonzero().flatten())
        keep = (~finished).nonzero().flatten()
        self.contexts = [c.select(keep) if c.keys[0].shape[0] > 1 else c for c in self.contexts]
        rows = (keep[:, None] * self.rows + torch.arange(self.rows, device=keep.device)).flatten()
        if step:
            self.cache.batch_select_indices(rows)
        for name in ("where", "tokens", "lengths", "scores", "done", "cut", "positions", "draws"):
            setattr(self, name, getattr(self, name)[keep])
        self.constraints = [self.constraints[i] for i in keep.tolist()]
        self.states = [self.states[i] for i in keep.tolist()]
        return True

    def _collect(self, questions: Tensor) -> None:
        for q in questions.tolist():
            found = []
            for row in range(self.rows):
                score, length = float(self.scores[q, row]), int(self.lengths[q, row])
                if score == NEVER:
                    continue
                source = "sample" if row >= self.beams else "greedy" if self.beams == 1 else "beam"
                tokens = tuple(self.tokens[q, row, :length].tolist())
                ended = bool(self.done[q, row] and not self.cut[q, row])
                found.append(Hypothesis(tokens, score, source, ended))
            self.results[int(self.where[q])] = found
