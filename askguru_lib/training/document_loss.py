"""Loss and exact answers of packed documents: what the small base model is trained on and judged by."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from transformers import MistralForCausalLM

from askguru_lib.training.corpus import Document
from askguru_lib.training.sft import multiplies_bf16
from askguru_lib.training.sharing import RowLayout, rounded


def document_loss(model: MistralForCausalLM, document: Document, device: str = "cpu") -> torch.Tensor:
    """Summed weighted loss ÷ summed weights."""
    hidden, targets, weights = read_document(model, document, device)
    with torch.autocast(device, dtype=torch.bfloat16, enabled=multiplies_bf16(device)):
        total: torch.Tensor = WeightedLoss.apply(hidden, model.lm_head.weight, targets, weights)
    return total / weights.sum()


class WeightedLoss(torch.autograd.Function):
    """Summed weighted cross-entropy of an output layer ``[vocabulary, width]``, some hundred positions at a time.

    The gradient is made on the way, so the probabilities are computed once and never lie in memory as a whole; with a
    vocabulary sixteen times as wide as the model that is what the output layer costs.
    """

    ROWS = 512

    @staticmethod
    def forward(
        ctx: Any, hidden: torch.Tensor, head: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor
    ) -> torch.Tensor:
        device = hidden.device.type
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else hidden.dtype
        states, matrix = hidden.to(dtype), head.to(dtype)
        of_states, of_head = torch.empty_like(states), torch.zeros_like(head)
        total = torch.zeros((), device=hidden.device, dtype=torch.promote_types(dtype, torch.float32))
        for start in range(0, len(states), WeightedLoss.ROWS):
            here = slice(start, start + WeightedLoss.ROWS)
            scores = torch.mm(states[here], matrix.T).to(total.dtype)
            scores -= scores.amax(-1, keepdim=True)
            chosen = scores.gather(1, targets[here, None])[:, 0]
            sums = scores.exp_().sum(-1)
            total += torch.dot(weights[here].to(total.dtype), sums.log() - chosen)
            scores *= (weights[here] / sums)[:, None]
            gradient = scores.scatter_add_(1, targets[here, None], -weights[here, None].to(total.dtype)).to(dtype)
            of_states[here] = torch.mm(gradient, matrix)
            of_head += torch.mm(gradient.T, states[here])
        ctx.save_for_backward(of_states.to(hidden.dtype), of_head)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, None, None]:
        of_states, of_head = ctx.saved_tensors
        return gradient * of_states, gradient * of_head, None, None


def read_document(
    model: MistralForCausalLM, document: Document, device: str
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Last hidden states, next tokens and their weights (0 where a document is filled up)."""
    length = len(document.ids)
    filled = (0, rounded(length) - length)
    ids = torch.from_numpy(np.pad(document.ids, filled)).to(device)[None]
    positions = torch.from_numpy(np.pad(document.positions, filled)).to(device)[None]
    rows = [RowLayout.of(torch.from_numpy(document.segments).to(device))]
    with torch.autocast(device, dtype=torch.bfloat16, enabled=multiplies_bf16(device)):
        hidden = model.model(input_ids=ids, position_ids=positions, rows=rows, use_cache=False).last_hidden_state[0]
    weights = torch.from_numpy(np.pad(document.weights, filled)).to(device)
    return hidden, ids[0].roll(-1), weights.roll(-1)


@torch.no_grad()
def exact_match(model: MistralForCausalLM, documents: list[Document], device: str = "cpu") -> float:
    """Share of held-out answers of which every token is the likeliest: what greedy decoding would write to the
    letter."""
    right = count = 0
    for document in documents:
        hidden, targets, weights = read_document(model, document, device)
        with torch.autocast(device, dtype=torch.bfloat16, enabled=multiplies_bf16(device)):
            likeliest = model.lm_head(hidden).argmax(-1)
        wrong = ((likeliest != targets) & (weights >= 1)).cpu().numpy()[: len(document.ids) - 1]
        count += int(document.segments.max())
        right += int(document.segments.max()) - len(set(document.segments[1:][wrong].tolist()))
    return right / max(count, 1)
