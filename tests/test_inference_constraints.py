"""Schema-constrained decoding: what exists passes, what does not is never generated, with any tokenizer."""

from __future__ import annotations

import copy
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from inference_tools import (
    QUERIES,
    byte_level,
    records,
    sentence_piece,
    shop,
    small_config,
    small_generator,
    small_model,
)
from transformers import AutoTokenizer, LogitsProcessorList, PreTrainedTokenizerFast

from askguru_lib.data.grammar import Grammar
from askguru_lib.data.patterns import PATTERNS
from askguru_lib.data.trees import render
from askguru_lib.databases import samples
from askguru_lib.databases.m_schema import MSchema
from askguru_lib.inference import constraints
from askguru_lib.inference.constraints import SchemaConstraint
from askguru_lib.inference.generation import Generator, question_prompt
from askguru_lib.inference.sql_scanner import Scanner
from askguru_lib.inference.vocabulary import Vocabulary
from askguru_lib.training.random_schemas import random_database

EXIST = """
SELECT name FROM customers
select NAME from Customers
SELECT COUNT(*) FROM orders WHERE status = 'open' AND total > 5.5
SELECT customers.name, SUM(orders.total) AS spent FROM customers JOIN orders ON orders.customer_id = customers.id \
GROUP BY customers.name ORDER BY spent DESC LIMIT 3
SELECT strftime('%Y', joined_on) AS year, COUNT(DISTINCT city) FROM customers GROUP BY year HAVING COUNT(*) > 2
Select Count(*) From customers c1, customers AS customers WHERE c1.name = customers.name
SELECT a.id FROM orders AS a WHERE a.id IN (SELECT a.id FROM customers AS a JOIN orders ON orders.id = a.id)
SELECT name FROM customers WHERE id IN (SELECT customer_id FROM orders WHERE total > (SELECT AVG(total) FROM orders))
SELECT name FROM customers WHERE NOT EXISTS (SELECT 1 FROM orders WHERE orders.customer_id = customers.id)
WITH big AS (SELECT customer_id, SUM(total) AS s FROM orders \
GROUP BY customer_id), c2 AS (SELECT 1 AS one) SELECT customers.name, big.s FROM big JOIN customers \
ON customers.id = big.customer_id WHERE big.s > 10
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5) SELECT i FROM n
SELECT name, total FROM orders JOIN customers ON customers.id = orders.customer_id
SELECT orders.id, name FROM orders JOIN customers ON customers.id = orders.customer_id
WITH spent AS (SELECT name FROM customers) SELECT name FROM spent
SELECT a.name, b.name FROM staff AS a JOIN staff AS b ON a.boss_id = b.id
SELECT T1.name FROM staff T1 INNER JOIN staff T2 ON T1.boss_id = T2.id
SELECT "Unit Price" FROM "order lines" WHERE "Unit Price" > 3
SELECT [Unit Price], "order lines"."id" FROM [order lines]
SELECT name, RANK() OVER (PARTITION BY city ORDER BY joined_on DESC) AS rk FROM customers
SELECT CAST(total AS REAL) / 2, CASE WHEN status = 'it''s' THEN 1 ELSE 0 END AS flag FROM orders ORDER BY 2
SELECT id FROM customers UNION SELECT customer_id FROM orders ORDER BY id
SELECT customers.* FROM customers LEFT JOIN orders ON customers.id = orders.customer_id \
AND orders.total > 2 WHERE orders.id IS NULL
SELECT AVG(total) FILTER (WHERE status = 'x') FROM orders
SELECT name FROM customers, orders WHERE customers.id = orders.customer_id
SELECT (SELECT COUNT(*) FROM orders WHERE orders.customer_id = customers.id) AS n, name FROM customers
WITH t AS NOT MATERIALIZED (SELECT id FROM orders) SELECT id FROM t
SELECT name, * FROM customers
SELECT DISTINCT customers.*, orders.id FROM customers JOIN orders ON orders.customer_id = customers.id
SELECT name FROM customers WHERE EXISTS (WITH t AS (SELECT * FROM orders) SELECT 1 FROM t WHERE t.id = customers.id)
SELECT * FROM customers WHERE id IN (SELECT id FROM orders UNION SELECT id FROM staff)
SELECT ROUND(CAST(SUM(CASE WHEN LENGTH(TRIM(status)) > 2 THEN 1 ELSE 0 END) AS REAL) * 100 / COUNT(*), 2) FROM orders
SELECT name FROM customers WHERE ((((((id = 3))))))
SELECT city || ' – x' FROM customers WHERE date(joined_on) BETWEEN '2020-01-01' AND '2021-01-01';
SELECT city, LAG(id) OVER (PARTITION BY city ORDER BY joined_on ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) \
FROM customers
SELECT city, COUNT(*) * 100.0 / SUM(COUNT(*)) OVER (), RANK() OVER (ORDER BY COUNT(*) DESC) FROM customers GROUP BY city
SELECT DISTINCT REPLACE(REPLACE(name, 'a', 'b'), 'c', 'd') FROM customers WHERE name = 'x' COLLATE NOCASE
SELECT COUNT(DISTINCT city), GROUP_CONCAT(DISTINCT name) FROM customers WHERE EXISTS(SELECT 1 FROM orders)
SELECT CAST(SUM(CASE WHEN status = 'open' THEN 1 ELSE 0 END) AS REAL) * 100 / COUNT(*) FROM orders WHERE total > -5
SELECT id FROM orders WHERE total=-5 OR total <> 3 - -2 ORDER BY total - 2 DESC, RTRIM(status)
SELECT c.name FROM orders o JOIN customers c ON o.customer_id = c.id AND o.total > 3 AND o.id <> c.id
SELECT c.name FROM customers c JOIN orders o ON (c.id = o.customer_id AND status = 'x')
SELECT a.name FROM staff a JOIN staff b ON a.boss_id = b.id JOIN customers ON customers.id = a.id
""".strip().split("\n")

DO_NOT_EXIST = {
    "unknown column": "SELECT nam FROM customers",
    "unknown table": "SELECT name FROM customer",
    "column of another table": "SELECT orders.name FROM orders",
    "column that FROM does not bring": "SELECT total FROM customers",
    "clause before FROM has brought the column": "SELECT total FROM customers WHERE id = 3",
    "table that FROM does not bring": "SELECT orders.total FROM customers",
    "column out of scope": "SELECT name FROM customers WHERE total > 3",
    "table out of scope": "SELECT name FROM customers WHERE orders.total > 3",
    "column of an alias's table": "SELECT name FROM customers AS c JOIN orders AS o ON c.total = o.id",
    "table twice without a name": "SELECT staff.name FROM staff JOIN staff ON staff.id = staff.boss_id",
    "column that no schema shows": "SELECT rowid FROM customers",
    "unknown function": "SELECT frobnicate(name) FROM customers",
    "bracket left open": "SELECT name FROM customers WHERE (id = 3",
    "bracket never opened": "SELECT name FROM customers)",
    "no FROM": "SELECT name",
    "no query": "DROP TABLE customers",
    "second statement": "SELECT id FROM customers; DROP TABLE customers",
    "unknown quoted name": 'SELECT "Price" FROM "order lines"',
    "chatter": "Sure! SELECT name FROM customers",
}

UNGRAMMATICAL = {
    "two operands side by side": "SELECT name city FROM customers",
    "operator without operand": "SELECT name FROM customers WHERE id =",
    "operator for an operand": "SELECT name FROM customers WHERE = 3",
    "operator in FROM": "SELECT name FROM customers c-08",
    "column behind an alias": 'SELECT c.name FROM customers c "name"',
    "keyword behind an alias": "SELECT c.name FROM customers c THEN 1",
    "empty item": "SELECT name, FROM customers",
    "empty WHERE": "SELECT name FROM customers WHERE GROUP BY name",
    "clauses in the wrong order": "SELECT name FROM customers LIMIT 1 WHERE id = 3",
    "FROM twice": "SELECT name FROM customers ORDER BY name FROM customers",
    "GROUP without BY": "SELECT name FROM customers GROUP name",
    "THEN without CASE": "SELECT name FROM customers WHERE id = 3 THEN 1",
    "CASE without END": "SELECT CASE WHEN id = 3 THEN 1 FROM customers",
    "two literals": "SELECT name FROM customers WHERE city = 'a' 'b'",
    "comma in WHERE": "SELECT name FROM customers WHERE id = 1, city = 'x'",
    "query without brackets in FROM": "SELECT id FROM SELECT id FROM customers",
    "LEFT twice": "SELECT name FROM customers LEFT LEFT JOIN orders ON customers.id = orders.customer_id",
    "OUTER twice": "SELECT name FROM customers LEFT OUTER OUTER JOIN orders ON customers.id = orders.customer_id",
    "query as a bare argument": "SELECT COALESCE(SELECT AVG(total) FROM orders) FROM customers",
    "ORDER BY among arguments": "SELECT LENGTH(name ORDER BY name) FROM customers",
    "number with two points": "SELECT name FROM orders WHERE total > 9.9.9",
    "endless calls": "SELECT " + "ABS(" * 9 + "total" + ")" * 9 + " FROM orders",
    "one alias twice": "SELECT a.id FROM orders AS a JOIN customers AS a ON a.id = a.id",
    "alias that is another table of the same FROM": "SELECT orders.id FROM orders JOIN customers orders ON 1 = 1",
    "FROM that begins without any of the columns": "SELECT name FROM orders JOIN customers ON customers.id = orders.id",
    "ON without JOIN": "SELECT name FROM customers ON customers.id = 3",
    "eleven tables": "SELECT name FROM customers, " + ", ".join(f"staff s{i}" for i in range(10)),
    "keyword in mixed case": "SELEct name FROM customers",
    "function in mixed case": "SELECT LOWEr(name) FROM customers",
    "LEFT without JOIN": "SELECT name FROM customers LEFT orders",
    "condition that leaves out the table just joined": "SELECT c.id FROM orders o JOIN customers c ON o.id = o.id",
    "table twice while another is missing": "SELECT orders.id, customers.name FROM orders JOIN orders o2 ON 1 = 1",
    "window function without OVER": "SELECT RANK() FROM customers",
    "window function in WHERE": "SELECT name FROM customers WHERE RANK() OVER (ORDER BY id) = 1",
    "window function in a call": "SELECT ABS(LAG(id)) FROM customers",
    "aggregate in WHERE": "SELECT name FROM customers WHERE COUNT(id) > 3",
    "aggregate in ON": "SELECT orders.id FROM orders JOIN customers ON SUM(orders.id) = customers.id",
    "aggregate in GROUP BY": "SELECT city FROM customers GROUP BY COUNT(*)",
    "three aggregates in each other": "SELECT SUM(SUM(SUM(total))) FROM orders",
    "call without argument": "SELECT SUM() FROM orders",
    "star for an argument": "SELECT LOWER(*) FROM orders",
    "EXISTS without a query": "SELECT name FROM customers WHERE EXISTS (id)",
    "NOT IN behind EXISTS": "SELECT name FROM customers WHERE EXISTS NOT IN (SELECT 1 FROM orders)",
    "ALL for an operand": "SELECT name FROM customers ORDER BY all",
    "DISTINCT in the middle": "SELECT name FROM customers WHERE distinct city = 'x'",
    "function's name for a column": "SELECT name FROM customers WHERE rtrim = 'x'",
    "collation for an operand": "SELECT name FROM customers WHERE nocase = 'x'",
    "CAST without a bracket": "SELECT CAST name FROM customers",
    "string directly behind a word": "SELECT name FROM customers WHERE case' THEN 1",
    "name directly behind a word": 'SELECT total FROM "order lines" WHERE total = cast"Unit Price"',
    "signs without end": "SELECT name FROM customers WHERE id = - - - 3",
    "comment": "SELECT name FROM customers WHERE id = 3--3",
    "window's words in a bracket": "SELECT name FROM customers WHERE ABS((order by id)) = 3",
    "query behind a bracket": "SELECT name FROM customers WHERE (id, city) SELECT name FROM customers",
    "LATERAL in SQLite": "SELECT name FROM customers JOIN LATERAL orders ON orders.id = customers.id",
    "OVER in a filter": "SELECT SUM(total) FILTER (ORDER BY id) FROM orders",
    "ROW for an operand": "SELECT name FROM customers WHERE row = 3",
    "window with a name": "SELECT RANK() OVER w FROM customers WINDOW w AS (ORDER BY id)",
    "WITH without AS": "SELECT name FROM customers WHERE EXISTS (WITH name)",
    "WITH and its query side by side": "WITH t SELECT name FROM customers",
    "WITH without its query": "SELECT name FROM customers WHERE id IN (WITH t AS (SELECT id FROM orders))",
    "columns of a WITH without AS": "WITH t(a) SELECT name FROM customers",
    "WITH of a number": "WITH t AS (3) SELECT name FROM customers",
    "WITH of a query without brackets": "WITH t AS SELECT name FROM customers",
    "AS twice": "WITH t AS AS (SELECT id FROM orders) SELECT id FROM t",
    "one name for two WITHs": "WITH t AS (SELECT 1 AS a), t AS (SELECT 2 AS b) SELECT a FROM t",
    "sum of all columns": "SELECT SUM(*) FROM orders",
    "all columns among arguments": "SELECT COUNT(*, 1) FROM orders",
    "different all columns": "SELECT COUNT(DISTINCT *) FROM orders",
    "all columns for an operand": "SELECT name FROM customers WHERE customers.* = 3",
    "all columns in an expression": "SELECT customers.* + 1 FROM customers",
    "all columns behind an operator": "SELECT 1 + * FROM customers",
    "all columns with a name": "SELECT * AS x FROM customers",
    "all columns of nothing": "SELECT *",
    "USING for an operand": "SELECT name FROM customers WHERE ABS((using)) = 3",
}


@pytest.fixture(scope="module")
def scanner() -> Scanner:
    return Scanner(shop())


@pytest.mark.parametrize("sql", EXIST)
def test_what_exists_passes(scanner: Scanner, sql: str) -> None:
    assert scanner.accepts(sql)


@pytest.mark.parametrize("case", DO_NOT_EXIST)
def test_what_does_not_exist_is_stopped(scanner: Scanner, case: str) -> None:
    assert not scanner.accepts(DO_NOT_EXIST[case])


@pytest.mark.parametrize("case", UNGRAMMATICAL)
def test_what_is_no_query_is_stopped(scanner: Scanner, case: str) -> None:
    assert not scanner.accepts(UNGRAMMATICAL[case])


def test_other_dialects_have_their_own_words() -> None:
    sql = "SELECT EXTRACT(YEAR FROM joined_on) FROM customers WHERE name ILIKE 'a%' AND joined_on > DATE '2020-01-01'"
    assert Scanner(shop(), "postgresql").accepts(sql)
    assert not Scanner(shop(), "sqlite").accepts(sql)


def test_a_schema_name_may_stand_before_a_table() -> None:
    schema = shop()
    schema.schema = "sales"
    assert Scanner(schema, "postgresql").accepts("SELECT name FROM sales.customers WHERE city = 'x'")
    assert not Scanner(schema, "postgresql").accepts("SELECT name FROM sale.customers")


TOKENIZERS = [byte_level, sentence_piece]


@pytest.mark.parametrize("tokenizer", [t() for t in TOKENIZERS], ids=["byte-level", "sentencepiece"])
class TestTokens:
    def test_tokens_are_read_as_the_bytes_they_write(self, tokenizer: PreTrainedTokenizerFast) -> None:
        texts = Vocabulary.of(tokenizer).texts
        for sql in QUERIES:
            ids = tokenizer.encode(sql, add_special_tokens=False)
            assert "".join(texts[i] or "?" for i in ids).encode("latin-1").decode().strip() == sql

    def test_no_token_of_a_good_query_is_forbidden(self, tokenizer: PreTrainedTokenizerFast) -> None:
        for sql in [*QUERIES, *EXIST]:
            assert forbidden_at(SchemaConstraint(tokenizer, shop()), tokenizer, sql) is None

    def test_some_token_of_a_bad_query_is_forbidden(self, tokenizer: PreTrainedTokenizerFast) -> None:
        for sql in DO_NOT_EXIST.values():
            assert forbidden_at(SchemaConstraint(tokenizer, shop()), tokenizer, sql) is not None

    def test_a_mask_is_what_the_scanner_says_of_each_token(self, tokenizer: PreTrainedTokenizerFast) -> None:
        constraint = SchemaConstraint(tokenizer, shop())
        texts = constraint.vocabulary.texts
        for sql in [*QUERIES, EXIST[7], EXIST[10]]:
            state = constraint.start()
            for token in tokenizer.encode(sql, add_special_tokens=False):
                mask = constraint.mask(state)
                for other in range(0, len(texts), 3):
                    if texts[other]:
                        after = state
                        for char in texts[other]:
                            after = after and constraint.scanner.step(after, char)
                        # A name that is just being given is not offered again within the same token.
                        stricter = state.place.want == "name" and not mask[other]
                        assert stricter or bool(mask[other]) == (after is not None), (sql, texts[other])
                state = constraint.advance(state, token)


def test_what_one_query_left_in_memory_changes_nothing_for_the_next(root: Path) -> None:
    """A token like `` WHERE `` ends a table's name and begins a clause: which columns wait for a table matters then."""
    tokenizer = AutoTokenizer.from_pretrained(root / "models" / "askguru-tiny")
    shared = SchemaConstraint(tokenizer, shop())
    deep = [f"SELECT id FROM orders {clause} ABS(ABS(ABS(SUM(total)))) > 3"
            for clause in ("ORDER BY", "WHERE", "GROUP BY id HAVING", "WHERE")]  # fmt: skip
    for sql in [*EXIST, *DO_NOT_EXIST.values(), *UNGRAMMATICAL.values(), *deep, *EXIST]:
        fresh = SchemaConstraint(tokenizer, shop())
        assert forbidden_at(shared, tokenizer, sql) == forbidden_at(fresh, tokenizer, sql)


def forbidden_at(constraint: SchemaConstraint, tokenizer: PreTrainedTokenizerFast, sql: str) -> str | None:
    """What was written when a token, or the end, was forbidden."""
    state = constraint.start()
    ids = tokenizer.encode(sql, add_special_tokens=False)
    for i, token in enumerate([*ids, tokenizer.eos_token_id]):
        if not constraint.mask(state)[token]:
            return tokenizer.decode(ids[:i])
        state = constraint.advance(state, token)
    return None


@pytest.mark.slow
@pytest.mark.parametrize("name", samples.NAMES)
def test_no_gold_of_the_banks_is_blocked(name: str) -> None:
    metadata = samples.definition(name).metadata
    schema = MSchema(name)
    for table in metadata.tables.values():
        schema.add_table(table.name)
        for column in table.columns:
            schema.add_field(table.name, column.name, str(column.type))
    constraint = SchemaConstraint(byte_level(), schema)
    blocked = {
        item["SQL"]: stop
        for item in samples.bank(name)
        if (stop := forbidden_at(constraint, byte_level(), item["SQL"])) is not None
    }
    assert not blocked


def test_constrained_answers_only_name_what_exists() -> None:
    generator = small_generator(max_new_tokens=40)
    prompts = [question_prompt(r, generator.config) for r in records(3)]
    schemas = [shop()] * len(prompts)
    scanner = Scanner(shop())
    for mode, n in (("greedy", 1), ("beam", 3), ("sampling", 3)):
        for answers in generator.generate(prompts, schemas=schemas, mode=mode, num_return=n):
            for answer in answers:
                assert scanner.scan(answer.text) is not None
                assert not answer.finished or scanner.accepts(answer.text)
    free = [a[0].text for a in generator.generate(prompts)]
    assert not any(scanner.scan(text) for text in free)


def test_it_is_a_logits_processor_of_transformers() -> None:
    constraint = SchemaConstraint(byte_level(), shop())
    prompt = torch.tensor([[1, 3, 50, 60, 4], [1, 3, 51, 61, 4]])
    out = small_model().generate(
        prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=20, num_beams=2, do_sample=False, pad_token_id=0,
        logits_processor=LogitsProcessorList([constraint]),
    )  # fmt: skip
    for row in out[:, 5:].tolist():
        assert Scanner(shop()).scan(byte_level().decode([t for t in row if t > 4])) is not None


def test_masks_are_shared_between_questions() -> None:
    """What costs is walking the vocabulary; on a second question there is little left to walk."""
    constraint = SchemaConstraint(byte_level(), shop())
    assert forbidden_at(constraint, byte_level(), EXIST[3]) is None
    walked = len(constraint._boundaries)
    assert forbidden_at(constraint, byte_level(), EXIST[3].replace("city", "name").replace("2", "3")) is None
    assert len(constraint._boundaries) - walked < walked / 10


def test_a_padded_vocabulary_is_no_obstacle() -> None:
    """A model often has more logits than its tokenizer has tokens."""
    constraint = SchemaConstraint(byte_level(), shop())
    scores = constraint(torch.tensor([[1, 2]]), torch.zeros(1, len(byte_level()) + 64))
    assert scores.shape[1] == len(byte_level()) + 64
    assert (scores[0, -64:] == float("-inf")).all()
    assert small_config().inference.constrained


class MistralCommonBackend:
    """Behaves where it matters as transformers' wrapper of mistral-common does, around a tokenizer made here."""

    def __init__(self) -> None:
        self.inner = byte_level()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def __len__(self) -> int:
        return len(self.inner)

    def added_tokens_decoder(self) -> None:
        raise NotImplementedError

    def apply_chat_template(self, talks: Any, continue_final_message: bool = False, **options: Any) -> Any:
        last = talks[-1] if isinstance(talks[-1], dict) else talks[-1][-1]
        if last["role"] == "assistant" and not continue_final_message:
            raise ValueError("Expected last role User or Tool for serving but got assistant")
        return self.inner.apply_chat_template(talks, **options)


def test_mistral_commons_tokenizer_is_read_as_any_other() -> None:
    """The tokenizer of Mistral-Small: nothing can be added to it, and it refuses a closing assistant's turn."""
    tokenizer: Any = MistralCommonBackend()
    theirs, ours = SchemaConstraint(tokenizer, shop()), SchemaConstraint(byte_level(), shop())
    assert torch.equal(theirs.mask(theirs.start()), ours.mask(ours.start()))
    generator = Generator(small_model(), tokenizer, small_config())
    assert generator._answer_tokens("A") == small_generator()._answer_tokens("A")


def test_every_end_token_of_the_model_may_end_a_query() -> None:
    model = copy.deepcopy(small_model())
    model.generation_config.eos_token_id = [2, 9]
    constraint = Generator(model, byte_level(), small_config()).constraint(shop())
    state: Any = constraint.start()
    for token in byte_level()("SELECT name FROM customers", add_special_tokens=False)["input_ids"]:
        state = constraint.advance(state, token)
    allowed = constraint.mask(state)
    assert allowed[2]
    assert allowed[9]
    assert not constraint.mask(constraint.start())[9]


def test_masks_take_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constraints, "MASK_BYTES", 20 * len(byte_level()))
    constraint, free = SchemaConstraint(byte_level(), shop()), SchemaConstraint(byte_level(), shop())
    for sql in QUERIES:
        state: Any = constraint.start()
        for token in byte_level()(sql, add_special_tokens=False)["input_ids"]:
            assert torch.equal(constraint.mask(state), free.mask(state))
            assert len(constraint._masks) + len(constraint._words) + len(constraint._boundaries) <= 21
            state = constraint.advance(state, token)


@pytest.mark.parametrize("dialect", ["sqlite", "postgresql"])
@pytest.mark.parametrize("tokenizer", ["byte level", "askguru-tiny"])
def test_whatever_was_allowed_can_be_finished(root: Path, tokenizer: str, dialect: str) -> None:
    """Blind walks over the masks never come to a place where nothing is allowed and the query is not complete, and
    never to a token that is allowed by the mask and refused by the scanner."""
    known = byte_level() if tokenizer == "byte level" else AutoTokenizer.from_pretrained(root / "models/askguru-tiny")
    constraint = SchemaConstraint(known, shop(), dialect)
    texts, rng = constraint.vocabulary.texts, random.Random(5)
    for _ in range(60):
        state, written = constraint.start(), ""
        for _ in range(60):
            mask = constraint.mask(state).clone()
            mask[constraint.eos] = False
            allowed = mask.nonzero()[:, 0].tolist()
            if not any(str(texts[t]).strip() for t in allowed):  # a blank may have to come first, but not for ever
                after = constraint.scanner.step(state, " ")
                mask = mask if after is None else constraint.mask(after).clone()
                mask[constraint.eos] = False
                state, allowed = after or state, [t for t in mask.nonzero()[:, 0].tolist() if str(texts[t]).strip()]
            if not allowed:
                assert constraint.scanner.is_complete(state), written
                break
            marks = [t for t in allowed if set(str(texts[t])) & set(" (.,)'")]
            token = rng.choice(marks if marks and rng.random() < 0.75 else allowed)
            written += str(texts[token])
            state = constraint.advance(state, token)
            assert state is not None, written


@pytest.mark.parametrize("dialect", ["sqlite", "postgresql"])
def test_six_brackets_deep_nothing_is_offered_that_needs_a_seventh(dialect: str) -> None:
    scanner = Scanner(shop(), dialect)
    deep = scanner.scan("SELECT name FROM customers WHERE ((((((")
    assert deep is not None
    words = deep.place.lexicon.words | deep.place.lexicon.functions
    assert {"null", "case"} <= words
    assert not words & {"exists", "cast", "lower", "extract", "any", "with"}
    behind = scanner.scan("SELECT name FROM customers WHERE ((((((id ")
    assert behind is not None
    assert "in" not in behind.place.lexicon.words
    assert "between" in behind.place.lexicon.words


def test_brackets_around_the_last_two_decide_what_a_token_may_close() -> None:
    """A token may hold several brackets, so places that differ in an outer one do not share their masks."""
    scanner = Scanner(shop())
    call, case = scanner.scan("SELECT (ABS(ABS(1 "), scanner.scan("SELECT CASE WHEN ABS(ABS(1 ")
    assert call is not None
    assert case is not None
    assert scanner.scan("SELECT (ABS(ABS(1 )))") is not None
    assert scanner.scan("SELECT CASE WHEN ABS(ABS(1 )))") is None
    assert call.place.view != case.place.view


def test_a_quoted_name_of_a_table_and_of_a_column_may_be_either():
    schema = MSchema("s")
    schema.add_table("order")
    schema.add_field("order", "code", "INTEGER", True)
    schema.add_table("note")
    schema.add_field("note", "order", "INTEGER")
    schema.add_foreign_key("note", "order", None, "order", "code")
    scanner = Scanner(schema)
    assert scanner.accepts('SELECT "order".code FROM note JOIN "order" ON note."order" = "order".code')
    assert scanner.accepts('SELECT "order" FROM note')
    assert not scanner.accepts('SELECT "order".order FROM "order"')
    assert not scanner.accepts('SELECT "order" FROM "order"')
    constraint = SchemaConstraint(byte_level(), schema)
    state = constraint.scanner.scan('SELECT "order"')
    assert state is not None
    mask = constraint.mask(state)
    for token, text in enumerate(constraint.vocabulary.texts):
        if text:
            after = state
            for char in text:
                after = after and constraint.scanner.step(after, char)
            assert bool(mask[token]) == (after is not None), text


@pytest.mark.parametrize("pattern", PATTERNS, ids=lambda p: p.__name__)
def test_what_the_question_grammar_writes_may_be_written(pattern) -> None:
    rng, accepted = random.Random(3), 0
    for _ in range(60):
        database = random_database(rng, (2, 4), 8)
        pair = Grammar(database.schema, rng, database.meanings).draw({pattern: 1.0})
        if pair:
            sql = render(pair.tree)
            assert Scanner(database.schema).accepts(sql), sql
            accepted += 1
    assert accepted


def test_of_words_only_the_grammars_are_aliases_before_they_are_given() -> None:
    scanner = Scanner(shop())
    assert scanner.accepts("SELECT one.name FROM customers AS one")
    assert not scanner.accepts("SELECT one.color FROM customers AS one")
    assert not scanner.accepts("SELECT two.name FROM customers AS two")


def test_the_mask_keeps_an_alias_from_being_given_twice() -> None:
    tokenizer = byte_level()
    constraint = SchemaConstraint(tokenizer, shop())
    state = constraint.start()
    for token in tokenizer.encode("SELECT a.id FROM orders AS a JOIN customers AS a", add_special_tokens=False):
        assert constraint.mask(state)[token]
        state = constraint.advance(state, token)
    texts = [constraint.vocabulary.texts[t] for t in constraint.mask(state).nonzero()[:, 0].tolist()]
    assert texts
    assert all(text[0].isalnum() or text[0] in "_$#" for text in texts if text), "only a longer name is left"
