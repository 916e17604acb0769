"""What the small base model's weights are before its first step: a circuit that copies, or a smaller model, grown."""

from __future__ import annotations

from collections import Counter

import torch
from transformers import MistralConfig, MistralForCausalLM, PreTrainedTokenizerBase

NARROWEST_HEAD = 16
"""A head of the circuit tells the position before by so many dimensions."""
SPARE_WIDTH = 16
"""Dimensions of the residual stream that the circuit leaves free, but for the constant."""


def has_room(layers: int, hidden: int, heads: int) -> bool:
    """Whether the circuit fits into a model of this size, whose heads divide its width."""
    head = hidden // heads
    return layers > 1 and head >= NARROWEST_HEAD and hidden - head - SPARE_WIDTH >= 2 * head


@torch.no_grad()
def write_induction_circuit(
    model: MistralForCausalLM, tokenizer: PreTrainedTokenizerBase, seed: int, rope_theta: float
) -> None:
    """Initialise the embedding, one head of layer 0 and two heads of layer 1 so that the model can copy at once.

    Of the residual stream, the first dimensions hold what a token is, a head's width behind them what the previous
    token was, and the last dimension a constant, from which the attention's fixed queries and keys are read. Tokens
    that differ only in case start close together.
    """
    generator = torch.Generator().manual_seed(seed)
    width, head = model.config.hidden_size, model.config.hidden_size // model.config.num_attention_heads
    content = width - head - SPARE_WIDTH

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    embedding = model.model.embed_tokens.weight
    embedding.copy_(normal(*embedding.shape) * 0.01)
    stems: dict[str, torch.Tensor] = {}
    for token, row in sorted(tokenizer.get_vocab().items(), key=lambda item: item[1]):
        stem = stems.setdefault(token.lower(), normal(content))
        embedding[row, :content] = 0.07 * (0.85 * stem + 0.53 * normal(content))
    embedding[:, width - 1] = 0.12

    frequency = rope_theta ** (-torch.arange(0, head, 2) / head)
    half = head // 2
    identity = torch.linalg.qr(normal(content, content))[0]
    first, second = model.model.layers[0].self_attn, model.model.layers[1].self_attn

    # Layer 0, head 0: attends to the position before, writes the token there behind the content dimensions.
    fast = torch.arange(8)
    for projection, angle in ((first.q_proj, -frequency[fast]), (first.k_proj, torch.zeros(8))):
        projection.weight[:head] = 0
        projection.weight[fast, width - 1] = 3.4 * torch.cos(angle)
        projection.weight[half + fast, width - 1] = 3.4 * torch.sin(angle)
    first.v_proj.weight[:head] = 0
    first.v_proj.weight[:head, :content] = identity[:head]
    first.o_proj.weight[:, :head] = 0
    first.o_proj.weight[content : content + head, :head] = 0.06 * torch.eye(head)

    # Layer 1, heads 0 and 1: where was the token before the same as this one? Copy what stands there.
    slow = torch.cat([torch.arange(half // 2, half), torch.arange(half + half // 2, head)])
    for number in range(2):
        rows = slice(number * head, (number + 1) * head)
        part = torch.arange(number * len(slow), (number + 1) * len(slow))
        for projection in (second.q_proj, second.k_proj, second.v_proj):
            projection.weight[rows] = 0
        second.q_proj.weight[number * head + slow, :content] = 1.5 * identity[part]
        second.k_proj.weight[number * head + slow, content + part] = 1.5
        copied = identity[content - (number + 1) * head : content - number * head]
        second.v_proj.weight[rows, :content] = copied
        second.o_proj.weight[:, rows] = 0
        second.o_proj.weight[:content, rows] = 0.15 * copied.T


@torch.no_grad()
def grow(model: MistralForCausalLM, layers: int, feed_forward: int, seed: int) -> MistralForCausalLM:
    """A deeper and wider model that computes exactly what this one does.

    Every new layer is a copy of the one below it whose two output projections are zero, so that it adds nothing yet
    (block expansion, Wu et al. 2024, arXiv 2401.02415); the new layers are spread over the upper ones, as the first two
    hold the copy circuit. New units of the feed-forward layers have random inputs and outputs of zero.

    Raises:
        ValueError: the model is larger than what it is to become.
    """
    before = model.config
    if layers < before.num_hidden_layers or feed_forward < before.intermediate_size:
        raise ValueError(f"{before.num_hidden_layers} layers with feed-forward layers of {before.intermediate_size} "
                         f"cannot grow to {layers} and {feed_forward}")  # fmt: skip
    torch.manual_seed(seed)
    sizes = {"num_hidden_layers": layers, "intermediate_size": feed_forward}
    same = {k: v for k, v in before.to_dict().items() if k not in ("layer_types", *sizes)}
    grown = MistralForCausalLM(MistralConfig.from_dict(same | sizes))
    grown.load_state_dict({k: v for k, v in model.state_dict().items() if ".layers." not in k}, strict=False)
    new, low = layers - before.num_hidden_layers, min(2, before.num_hidden_layers - 1)
    copies = Counter(low + i * (before.num_hidden_layers - low) // new for i in range(new))
    at = iter(grown.model.layers)
    for place, layer in enumerate(model.model.layers):
        for copy in range(1 + copies[place]):
            here = next(at)
            for name, target in here.named_parameters():
                source = layer.get_parameter(name)
                if name == "mlp.down_proj.weight":
                    target.zero_()
                target[tuple(map(slice, source.shape))] = source
            if copy:
                here.self_attn.o_proj.weight.zero_()
                here.mlp.down_proj.weight.zero_()
    return grown
