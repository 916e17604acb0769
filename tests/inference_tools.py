"""A model and tokenizers small enough to be made inside a test."""

from __future__ import annotations

from functools import cache

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import MistralConfig, MistralForCausalLM, PreTrainedTokenizerFast

from askguru_lib.config import RunConfig
from askguru_lib.databases.m_schema import MSchema
from askguru_lib.inference.generation import Generator

TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'user' %}[INST]{{ m['content'] }}[/INST]"
    "{% else %}{{ m['content'] }}{{ eos_token }}{% endif %}{% endfor %}"
)
SPECIAL = ["<unk>", "<s>", "</s>", "[INST]", "[/INST]"]


def shop() -> MSchema:
    schema = MSchema("shop")
    tables = {
        "customers": ["id", "name", "city", "joined_on"],
        "orders": ["id", "customer_id", "total", "status"],
        "order lines": ["id", "Unit Price"],
        "staff": ["id", "name", "boss_id"],
    }
    for table, columns in tables.items():
        schema.add_table(table)
        for column in columns:
            schema.add_field(table, column, "TEXT", examples=["x"])
    return schema


QUERIES = [
    "SELECT name FROM customers WHERE city = 'Zürich' AND joined_on > '2023-01-01'",
    "SELECT customers.name, SUM(orders.total) AS spent FROM customers JOIN orders ON orders.customer_id = customers.id "
    "GROUP BY customers.name ORDER BY spent DESC LIMIT 3",
    "SELECT COUNT(*) FROM orders WHERE status = 'it''s open' AND total > 5.5",
    'SELECT "Unit Price" FROM "order lines"',
]


def wrap(tokenizer: Tokenizer) -> PreTrainedTokenizerFast:
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>")
    fast.chat_template = TEMPLATE
    return fast


@cache
def byte_level(vocab_size: int = 400) -> PreTrainedTokenizerFast:
    """Byte-level BPE, as GPT-2, Llama 3 and tekken have it."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=vocab_size, special_tokens=SPECIAL, initial_alphabet=alphabet)
    tokenizer.train_from_iterator([*QUERIES, shop().to_mschema()], trainer)
    return wrap(tokenizer)


@cache
def sentence_piece() -> PreTrainedTokenizerFast:
    """BPE over words that begin with ▁, unknown characters as bytes, as Llama 2 and Mistral 7B have it."""
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokens = [*SPECIAL, *(f"<0x{b:02X}>" for b in range(256))]
    trainer = trainers.BpeTrainer(vocab_size=600, special_tokens=tokens)
    plain = [q.replace("ü", "u") for q in QUERIES]
    tokenizer.train_from_iterator(plain, trainer)
    loaded = wrap(tokenizer)
    return loaded


@cache
def small_model(vocab_size: int = 400, seed: int = 0) -> MistralForCausalLM:
    torch.manual_seed(seed)
    config = MistralConfig(
        vocab_size=vocab_size, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, sliding_window=None, initializer_range=0.3, bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    return MistralForCausalLM(config).eval()


def small_config(**inference: object) -> RunConfig:
    return RunConfig.build({"inference": {"max_new_tokens": 24, "batch_size": 4, **inference}})


def small_generator(**inference: object) -> Generator:
    return Generator(small_model(), byte_level(), small_config(**inference))


def records(n: int) -> list[dict[str, str]]:
    schema = shop().to_mschema()
    return [
        {"id": f"q{i}", "db_name": "shop", "question": f"What is {'so ' * (i % 5)}{i}?", "evidence": "",
         "db_schema": schema, "sql": "SELECT 1"}
        for i in range(n)
    ]  # fmt: skip
