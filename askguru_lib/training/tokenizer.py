"""The small model's tokenizer: byte-level BPE made for schemas, questions and SQL.

Three decisions matter more than the merges, because the model answers by copying names out of the schema:
a space before a word is a token of its own, so that ``customer`` is the same token in a question and in a schema;
names split at ``_`` and at capitals, and a final ``s`` stands alone, so that ``customers`` shares its stem with
``customer``; and the fixed pieces of M-Schema, SQL and the prompts are one token each, which halves a prompt.
"""

from __future__ import annotations

from collections.abc import Iterable

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}"
    "[INST]{{ message['content'] }}[/INST]{% elif message['role'] == 'assistant' %}"
    "{% generation %}{{ message['content'] }}{{ eos_token }}{% endgeneration %}"
    "{% else %}{{ raise_exception('only user and assistant turns are supported') }}{% endif %}{% endfor %}"
)
SPECIAL = ("<pad>", "<s>", "</s>", "[INST]", "[/INST]")
FUNCTION_WORDS = (
    "the|of|a|an|with|whose|is|are|for|in|and|or|than|that|have|has|by|to|from|on|at|as|all|each|per|not|no|any|there|many|"
    "which|what|how|show|list|give|find|me|number|count|average|total|between|more|less|most|least|where|named|called|"
    "highest|lowest|before|after|without|having|their|they|it|its|was|were|do|does|did|we|our|you|can|please|who|name|names"
)
M_SCHEMA_PIECES = (
    "【DB_ID】 ", "\n【Schema】", "\n# Table: ", "\n[\n(", "),\n(", "]),\n(", ")\n]", "])\n]", "\n【Foreign keys】\n",
    ", Primary Key", ", Examples: [", ":TEXT", ":INTEGER", ":BIGINT", ":VARCHAR", ":DATE", ":REAL", ":DECIMAL",
    ":NUMERIC", ":BOOLEAN", ":TIMESTAMP", ":DATETIME", ":FLOAT", ":SMALLINT", ":CHAR", ", ", "\n",
)  # fmt: skip
PROMPT_PIECES = (
    "\n【Question】\n", "\n【Evidence】\n", "\n【Evidence】\nNone", "\n【Query】\n", "\n【Result】\n",
    *(f"\nWrite one {name} query that answers the question." for name in ("SQLite", "PostgreSQL", "MySQL", "DuckDB")),
    *(f"\nThe query is wrong. Write one corrected {n} query." for n in ("SQLite", "PostgreSQL", "MySQL", "DuckDB")),
    "\n【Candidate ", "\n【Result ", "】\n", "\nWhich of the ",
    " SQLite candidates answers the question? Answer with its letter: ",
    "Error: ", "no such column: ", "no such table: ", "(no rows)", " | ",
)  # fmt: skip
SQL_PIECES = (
    "SELECT ", "SELECT DISTINCT ", " FROM ", " WHERE ", " JOIN ", " ON ", " AND ", " OR ", " GROUP BY ", " ORDER BY ",
    " DESC", " ASC", " LIMIT ", "COUNT(*)", "COUNT(DISTINCT ", "COUNT(", "AVG(", "SUM(", "MAX(", "MIN(", " HAVING ",
    " IN (", " NOT IN (", " IS NULL", " IS NOT NULL", " BETWEEN ", " LIKE '", " = '", " = ", " > ", " < ", " >= ",
    " <= ", " <> ", " != ", " <> '", " != '", " > '", " < '", "strftime('%Y', ", ") = '", " AND '", "', '", "%'",
    "'%", "CASE WHEN ",
    " THEN ", " ELSE ", " END", "100.0 * ", " / ", " * ", " AS ", "(SELECT ", "DISTINCT ", " LEFT JOIN ", " UNION ",
    " EXISTS ", "WITH ", " OVER (", "PARTITION BY ", "ROUND(", "LENGTH(", "UPPER(", "LOWER(", "CAST(", " INTEGER)",
)  # fmt: skip
SPLIT = Regex(
    rf" (?:{FUNCTION_WORDS})(?![A-Za-z_])|[A-Z]?[a-z]+?(?=s(?![a-z]))|s(?![a-z])|[A-Z]?[a-z]+|[A-Z]+(?![a-z])|"
    r"[A-Z]|[0-9]|\s|[^\sA-Za-z0-9]"
)


def train_tokenizer(texts: Iterable[str], vocab_size: int = 2048) -> PreTrainedTokenizerFast:
    """Learn the merges from ``texts`` (an iterable of prompts and answers)."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(SPLIT, behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    pieces = list(dict.fromkeys([*PROMPT_PIECES, *M_SCHEMA_PIECES, *SQL_PIECES]))
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size - len(pieces), special_tokens=list(SPECIAL), show_progress=False, min_frequency=3,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )  # fmt: skip
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_tokens([AddedToken(p, normalized=False, special=False) for p in pieces])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", pad_token="<pad>", padding_side="left",
        chat_template=CHAT_TEMPLATE, clean_up_tokenization_spaces=False, model_max_length=4096,
    )  # fmt: skip
