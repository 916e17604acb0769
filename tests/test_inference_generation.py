"""Generation: what is read out of an answer, that batching changes nothing, that a killed run goes on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from inference_tools import byte_level, records, shop, small_config, small_generator, small_model
from peft import LoraConfig, get_peft_model

from askguru_lib.config import RunConfig
from askguru_lib.databases.executor import Failure, Result
from askguru_lib.errors import InferenceError
from askguru_lib.inference.attention import shared_attention
from askguru_lib.inference.decoding import SharedDecoder, _Search, plan_batches
from askguru_lib.inference.generation import Generator, answer, fingerprint, load_model, question_prompt
from askguru_lib.inference.parsing import parse_sql


@pytest.mark.parametrize(
    ("text", "sql"),
    [
        ("SELECT 1", "SELECT 1"),
        ("  SELECT 1 ;  ", "SELECT 1"),
        ("```sql\nSELECT 1;\n```", "SELECT 1"),
        ("```\nSELECT 1\n```\nThis counts.", "SELECT 1"),
        ("```sqlite\nSELECT 1", "SELECT 1"),
        ("Here is the query:\n\n```sql\nSELECT a FROM t\n```\nIt selects a.", "SELECT a FROM t"),
        ("```python\nprint(1)\n```\n```sql\nSELECT 2\n```", "SELECT 2"),
        ("Sure! Here you go:\nSELECT a\nFROM t", "SELECT a\nFROM t"),
        ("The answer is SELECT a FROM t", "SELECT a FROM t"),
        ("I select the right column.\nselect a from t", "select a from t"),
        ("With pleasure.\nSELECT a FROM t", "SELECT a FROM t"),
        ("SELECT a FROM t; SELECT b FROM t", "SELECT a FROM t"),
        ("SELECT a FROM t; -- done\nDROP TABLE t;", "SELECT a FROM t"),
        ("SELECT ';' AS x FROM t;", "SELECT ';' AS x FROM t"),
        ("SELECT 'it''s; fine' FROM t; x", "SELECT 'it''s; fine' FROM t"),
        ('SELECT "a;b" FROM t', 'SELECT "a;b" FROM t'),
        ("SELECT a -- x; y\nFROM t;", "SELECT a -- x; y\nFROM t"),
        ("SELECT a FROM t\n\nThis query lists a.", "SELECT a FROM t"),
        ("SELECT a\n\nFROM t\n\nWHERE a > 1", "SELECT a\n\nFROM t\n\nWHERE a > 1"),
        ("WITH c AS (SELECT 1) SELECT * FROM c;", "WITH c AS (SELECT 1) SELECT * FROM c"),
        ("with recursive n(i) as (select 1) select i from n", "with recursive n(i) as (select 1) select i from n"),
        ("UPDATE t SET a = 1;", "UPDATE t SET a = 1"),
        ("MATCH (n) RETURN n", "MATCH (n) RETURN n"),
        ("", ""),
        ("`SELECT 1`", "SELECT 1"),
        ("INSERT INTO x SELECT a FROM t", "INSERT INTO x SELECT a FROM t"),
        ("CREATE TABLE y AS SELECT a FROM t;", "CREATE TABLE y AS SELECT a FROM t"),
        ("EXPLAIN SELECT 1", "EXPLAIN SELECT 1"),
        ("DELETE FROM t WHERE a IN (SELECT id FROM u)", "DELETE FROM t WHERE a IN (SELECT id FROM u)"),
        ("```sql\nDROP TABLE t;\n```\nThen SELECT 1", "DROP TABLE t"),
        ("MATCH (n:P) WITH n AS p WHERE p.a = 1 RETURN p", "MATCH (n:P) WITH n AS p WHERE p.a = 1 RETURN p"),
        ("Update: the query is\nSELECT a FROM t", "SELECT a FROM t"),
        ("<think>First try:\n```sql\nSELECT 0\n```\n</think>\nSELECT 1", "SELECT 1"),
        ("SELECT [a;b] FROM t; SELECT 2", "SELECT [a;b] FROM t"),
    ],
)
def test_parse_sql(text: str, sql: str) -> None:
    assert parse_sql(text) == sql


def test_reference_defect_code_fences_never_stripped() -> None:
    assert parse_sql("```sql\nSELECT name FROM t\n```") == "SELECT name FROM t"


def slow_greedy(prompt: list[int], limit: int) -> tuple[int, ...]:
    """Greedy decoding without cache, batch or padding."""
    model, ids = small_model(), list(prompt)
    model.set_attn_implementation("eager")
    with torch.no_grad():
        while len(ids) < len(prompt) + limit:
            token = int(model(torch.tensor([ids])).logits[0, -1].argmax())
            if token == 2:
                break
            ids.append(token)
    return tuple(ids[len(prompt) :])


@pytest.fixture(scope="module")
def prompts() -> list[list[int]]:
    draw = torch.Generator().manual_seed(3)
    shared = torch.randint(5, 400, (40,), generator=draw).tolist()
    return [shared + torch.randint(5, 400, (n,), generator=draw).tolist() for n in (4, 9, 2, 6, 6)]


@pytest.mark.parametrize("prefix", [0, 33, 40])
def test_batches_padding_and_shared_prefixes_change_nothing(prompts: list[list[int]], prefix: int) -> None:
    expected = [slow_greedy(p, 16) for p in prompts]
    found = SharedDecoder(small_model(), [2]).decode(prompts, prefix, beams=1, samples=0, max_new_tokens=16)
    assert [h[0].tokens for h in found] == expected


def test_a_prefix_seen_before_is_reused_and_extended(prompts: list[list[int]]) -> None:
    decoder = SharedDecoder(small_model(), [2])
    expected = [slow_greedy(p, 8) for p in prompts]
    for prefix in (33, 40, 36):
        found = decoder.decode(prompts, prefix, beams=1, samples=0, max_new_tokens=8)
        assert [h[0].tokens for h in found] == expected
    assert len(decoder.prefixes) == 2
    small = Generator(small_model(), byte_level(), small_config(prefix_cache_mb=0)).decoder
    for prefix in (33, 40, 36):
        small.decode(prompts, prefix, beams=1, samples=0, max_new_tokens=1)
    assert len(small.prefixes) == 1


def test_prompts_are_grouped_by_shared_beginning_and_sorted_by_length() -> None:
    one, two = list(range(40)), list(range(100, 140))
    batches = plan_batches([[*one, 1], [*two, 1, 2], [*one, 7, 7, 7], [*two, 3], [*one, 2, 2]], batch_size=2)
    assert [(b.indices, b.prefix) for b in batches] == [((0, 4), 40), ((2,), 40), ((3, 1), 40)]


def test_a_chat_prompt_has_one_bos() -> None:
    """Rendering and tokenizing again would put a second one."""
    ids = small_generator().tokenize(["How many?"])[0]
    assert ids[0] == 1
    assert ids.count(1) == 1
    assert byte_level().decode(ids[-1]) == "[/INST]"


def test_answers_come_in_the_order_of_the_prompts() -> None:
    generator = small_generator()
    prompts = [question_prompt(r, generator.config) for r in records(9)]
    together = generator.generate(prompts)
    alone = [generator.generate([p])[0] for p in prompts]
    assert [a[0].text for a in together] == [a[0].text for a in alone]


def test_no_prompt_no_answer() -> None:
    assert small_generator().generate([]) == []


def test_greedy_gives_one_answer() -> None:
    with pytest.raises(InferenceError, match="one answer"):
        small_generator().generate(["a"], num_return=2)


def test_sampling_depends_on_seed_and_prompt_not_on_the_batch() -> None:
    generator = small_generator()
    together = generator.generate(["a b", "c d e", "f"], mode="sampling", num_return=3, seed=1)
    alone = generator.generate(["c d e"], mode="sampling", num_return=3, seed=1)
    other = generator.generate(["c d e"], mode="sampling", num_return=3, seed=2)
    assert [g.text for g in alone[0]] == [g.text for g in together[1]]
    assert [g.text for g in other[0]] != [g.text for g in together[1]]


def test_reference_defect_ten_new_tokens(tmp_path: Path) -> None:
    generator = small_generator(max_new_tokens=40, constrained=False)
    lines = answer(records(6), generator, tmp_path / "p.jsonl", generator.config)
    assert max(line["new_tokens"] for line in lines) > 10


def test_reference_defect_only_the_first_forty_rows(tmp_path: Path) -> None:
    generator = small_generator(max_new_tokens=2, batch_size=32, constrained=False)
    lines = answer(records(45), generator, tmp_path / "p.jsonl", generator.config)
    assert [line["id"] for line in lines] == [f"q{i}" for i in range(45)]


class Killed(Exception):
    pass


def killing(generator: Generator, after: int) -> Generator:
    """The same generator, which dies when it begins the batch after ``after``."""
    whole = generator.decoder.decode
    calls = iter(range(10_000))

    def decode(*args: object, **kwargs: object) -> object:
        if next(calls) == after:
            raise Killed
        return whole(*args, **kwargs)  # type: ignore[arg-type]

    generator.decoder.decode = decode  # type: ignore[method-assign, assignment]
    return generator


def test_reference_defect_last_partial_batch_lost_on_resume(tmp_path: Path) -> None:
    """Killed after two batches of four and resumed: the same file as unbroken, the last, partial batch included."""
    questions = records(11)
    config = small_config(constrained=False)
    unbroken = answer(questions, small_generator(constrained=False), tmp_path / "a.jsonl", config)
    with pytest.raises(Killed):
        answer(questions, killing(small_generator(constrained=False), 2), tmp_path / "b.jsonl", config)
    part = tmp_path / "b.jsonl.part"
    assert len(part.read_text().splitlines()) == 8
    with part.open("a") as file:
        file.write('{"id": "q9", "sq')
    resumed = answer(questions, small_generator(constrained=False), tmp_path / "b.jsonl", config)

    def timeless(lines: list[dict[str, object]]) -> list[dict[str, object]]:
        return [{k: v for k, v in line.items() if k not in ("elapsed_ms", "logprob")} for line in lines]

    assert timeless(resumed) == timeless(unbroken)
    # Other batches sum in another order, which some processors show in the last digit that is written.
    whole = [line["logprob"] for line in unbroken]
    assert [line["logprob"] for line in resumed] == pytest.approx(whole, abs=2e-4)
    assert len(resumed) == 11
    assert not part.exists()
    assert [json.loads(line) for line in (tmp_path / "b.jsonl").read_text().splitlines()] == resumed


def test_an_id_that_stands_twice_is_named(tmp_path: Path) -> None:
    twice = [*records(2), records(2)[0]]
    with pytest.raises(InferenceError, match=r"record 2.*'q0'|'q0'.*record 2"):
        answer(twice, small_generator(), tmp_path / "p.jsonl", small_config())


def test_a_file_that_holds_no_predictions_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    path.write_text('{"id": "q0", "note": "precious"}\n')
    with pytest.raises(InferenceError, match="nothing is overwritten"):
        answer(records(1), small_generator(), path, small_config())
    assert "precious" in path.read_text()


def test_a_part_of_the_test_set_leaves_the_other_lines(tmp_path: Path) -> None:
    config, path = small_config(constrained=False), tmp_path / "p.jsonl"
    whole = answer(records(5), small_generator(constrained=False), path, config)
    assert answer(records(2), killing(small_generator(constrained=False), 0), path, config) == whole[:2]
    assert answer(records(5), killing(small_generator(constrained=False), 0), path, config) == whole


def test_an_executor_that_comes_later_still_tells_failures(tmp_path: Path) -> None:
    class Engine:
        def run_many(self, items: list[tuple[str, str]]) -> list[Result]:
            return [Result(failure=Failure("syntax", sql)) for _, sql in items]

    config, path = small_config(constrained=False), tmp_path / "p.jsonl"
    assert "failure" not in answer(records(3), small_generator(constrained=False), path, config)[0]
    for _ in range(2):
        lines = answer(records(3), killing(small_generator(constrained=False), 0), path, config, Engine())  # type: ignore[arg-type]
        assert [line["failure"] for line in lines] == ["syntax"] * 3


def test_every_dialect_of_a_test_set_is_answered_as_its_own(tmp_path: Path) -> None:
    """A graph's questions have no SQL identifiers to be bound to, and do not keep the others from being bound."""
    mixed = [
        {**r, "sql_type": d} for r, d in zip(records(4), ["sqlite", "cypher", "sqlite", "postgresql"], strict=True)
    ]
    mixed[1]["db_schema"] = "(:Person {name})"
    generator, seen = small_generator(), []
    whole = generator.stream

    def stream(prompts: list[str], **options: Any) -> Any:
        seen.append((options["dialect"], len(prompts), options["schemas"] is not None))
        return whole(prompts, **options)

    generator.stream = stream  # type: ignore[method-assign, assignment]
    lines = answer(mixed, generator, tmp_path / "p.jsonl", small_config())
    assert [line["id"] for line in lines] == ["q0", "q1", "q2", "q3"]
    assert sorted(seen) == [("cypher", 1, False), ("postgresql", 1, True), ("sqlite", 2, True)]


class Circling:
    """A constraint that lets only one token through, always the same seven in a row."""

    def start(self) -> int:
        return 0

    def mask(self, state: int) -> torch.Tensor:
        return torch.arange(400) == 10 + state % 7

    def advance(self, state: int, token: int) -> int:
        return state + 1


def test_an_answer_that_runs_in_a_circle_is_stopped() -> None:
    decoder = small_generator().decoder
    [[found]] = decoder.decode([[5, 6, 7]], 0, beams=1, samples=0, max_new_tokens=200, constraints=[Circling()])
    assert len(found.tokens) == 32
    assert not found.finished
    found = decoder.decode([[5, 6, 7]], 0, beams=1, samples=0, max_new_tokens=31, constraints=[Circling()])[0][0]
    assert len(found.tokens) == 31


class Ending:
    """A constraint under which the answer ends after so many tokens that do not run in a circle."""

    def __init__(self, length: int) -> None:
        self.length = length

    def start(self) -> int:
        return 0

    def mask(self, state: int) -> torch.Tensor:
        return torch.arange(400) == (2 if state == self.length else 10 + state)

    def advance(self, state: int, token: int) -> int:
        return state + 1


def test_a_question_is_done_with_enough_different_answers_of_which_one_is_the_likeliest_beams() -> None:
    search = object.__new__(_Search)
    search.rows, search.beams, search.enough = 4, 2, 2
    search.tokens = torch.tensor([[[5, 6], [5, 7], [5, 6], [8, 8]]] * 4)
    search.lengths = torch.full((4, 4), 2)
    search.done = torch.tensor([[1, 0, 0, 1], [1, 0, 1, 0], [0, 1, 0, 1], [1, 0, 0, 1]]).bool()
    search.cut = torch.tensor([[0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 1]]).bool()
    search.scores = torch.tensor([[-1.0, -2.0, -3.0, -3.0]] * 4)
    # two different ones; twice the same; the likeliest beam goes on; one of the two was cut off
    assert search._served().flatten().tolist() == [True, False, False, False]
    search.scores[0, 3] = float("-inf")  # a row without a continuation has no answer
    assert search._served().flatten().tolist() == [False, False, False, False]


def test_drawing_looks_at_all_tokens_where_the_likely_ones_are_not_the_whole_nucleus() -> None:
    search = object.__new__(_Search)
    search.temperature, search.draws = 1.0, torch.tensor([[[0.999]]])
    flat, steep = torch.zeros(1, 1, 400), torch.zeros(1, 1, 400)
    steep[0, 0, 7] = 20.0
    search.top_p = 0.95
    assert int(search._draw(0, steep)) == 7
    reached = set()
    for draw in torch.linspace(0, 0.999, 300):
        search.draws = draw.view(1, 1, 1)
        reached.add(int(search._draw(0, flat)))
    assert len(reached) > 250  # 380 equally likely tokens are the nucleus


def test_an_answer_far_longer_than_those_that_ended_is_stopped() -> None:
    search = object.__new__(_Search)
    search.rows, search.lengths = 4, torch.tensor([[10, 20, 46, 46], [10, 46, 46, 46]])
    search.done = torch.tensor([[True, True, False, False], [True, False, False, False]])
    search.cut, search.scores = torch.zeros_like(search.done), torch.zeros(2, 4)
    assert search._outlived(32).tolist() == [[False] * 4, [False] * 4]  # 1.25 times 20, and 8, is 33
    assert search._outlived(33).tolist() == [[True] * 4, [False] * 4]  # of the second question too few have ended
    decoder = small_generator().decoder
    [[found]] = decoder.decode([[5, 6, 7]], 0, beams=1, samples=0, max_new_tokens=200, constraints=[Ending(90)])
    assert found.finished  # alone, no answer is too long
    assert len(found.tokens) == 90


def test_keys_are_not_reused_when_an_adapter_is_switched() -> None:
    torch.manual_seed(3)
    base = Generator(small_model(seed=5), byte_level(), small_config()).model
    model = get_peft_model(base, LoraConfig(r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False))
    generator = Generator(model, byte_level(), small_config(constrained=False))  # type: ignore[arg-type]
    prompts = [records(1)[0]["db_schema"] + end for end in (" a", " b")]
    on = [g[0].logprob for g in generator.generate(prompts)]
    with model.disable_adapter():
        off = [g[0].logprob for g in generator.generate(prompts)]
        generator.decoder.prefixes.clear()
        assert [g[0].logprob for g in generator.generate(prompts)] == pytest.approx(off)
    assert on != pytest.approx(off)


@pytest.mark.parametrize("what", [{"softcap": 30.0}, {"sliding_window": 2}, {"s_aux": torch.zeros(4)}])
def test_attention_that_would_be_another_is_refused(what: dict[str, Any]) -> None:
    q = k = v = torch.zeros(1, 4, 3, 8)
    module = torch.nn.Linear(1, 1)
    with pytest.raises(InferenceError, match="shared attention does not know"):
        shared_attention(module, q, k, v, None, **what)
    shared_attention(module, q, k, v, None, sliding_window=3)


def test_a_long_prompt_behind_a_short_known_beginning_is_read_anew() -> None:
    """What follows a known beginning is computed with a dense mask: it must not be most of a long prompt."""
    generator = small_generator(constrained=False)
    decoder, beginning = generator.decoder, list(range(5, 45))
    with decoder._ready():
        decoder._prefix(tuple(beginning))
        reads: list[int] = []
        forward = decoder._forward

        def counted(ids: torch.Tensor, *args: Any, **options: Any) -> torch.Tensor:
            reads.append(ids.shape[1])
            return forward(ids, *args, **options)

        decoder._forward = counted  # type: ignore[method-assign, assignment]
        decoder._prefix((*beginning, *range(50, 200)))
        decoder._prefix((*beginning, *range(50, 200), *range(200, 210)))
    assert reads == [190, 10]


def test_sampling_without_temperature_is_an_error() -> None:
    with pytest.raises(InferenceError, match="temperature"):
        small_generator().generate(["?"], mode="sampling", temperature=0.0)


def test_finished_predictions_are_not_made_again(tmp_path: Path) -> None:
    config = small_config(constrained=False)
    first = answer(records(5), small_generator(constrained=False), tmp_path / "p.jsonl", config)
    again = answer(records(5), killing(small_generator(constrained=False), 0), tmp_path / "p.jsonl", config)
    assert again == first


def test_predictions_of_another_model_or_setting_are_stale(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    config = small_config(constrained=False)
    old = answer(records(3), small_generator(constrained=False), tmp_path / "p.jsonl", config)
    other = Generator(small_model(seed=1), byte_level(), config)
    new = answer(records(3), other, tmp_path / "p.jsonl", config)
    assert [line["key"] for line in new] != [line["key"] for line in old]
    assert "3 predictions of another model" in caplog.text


def test_fingerprints_tell_models_apart() -> None:
    assert fingerprint(small_model()) == fingerprint(small_model())
    assert fingerprint(small_model()) != fingerprint(small_model(seed=1))


def test_option_scores_are_the_models_probabilities() -> None:
    generator = small_generator()
    prompt = "Which one? A or B"
    [scores] = generator.score_options([prompt], ["A", "BC"])
    ids = generator.tokenize([prompt])[0]
    tokens = generator._answer_tokens("BC")
    model = small_model()
    model.set_attn_implementation("eager")
    with torch.no_grad():
        logprobs = model(torch.tensor([ids + tokens])).logits.log_softmax(-1)[0]
    expected = sum(float(logprobs[len(ids) - 1 + i, t]) for i, t in enumerate(tokens))
    assert scores["BC"] == pytest.approx(expected, abs=1e-3)


def test_an_adapter_is_merged_on_loading(tmp_path: Path) -> None:
    base = tmp_path / "base"
    small_model().save_pretrained(base)
    byte_level().save_pretrained(base)
    model, tokenizer = load_model(base)
    adapted = get_peft_model(model, LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False))
    adapted.save_pretrained(tmp_path / "adapter")
    merged, _ = load_model(base, tmp_path / "adapter", RunConfig())
    plain, _ = load_model(base)
    assert not any("lora" in name for name, _ in merged.named_parameters())
    assert fingerprint(merged) != fingerprint(plain) == fingerprint(small_model())
    assert Generator(merged, tokenizer, small_config()).generate(["Hello"])[0]


def test_a_missing_model_is_named() -> None:
    with pytest.raises(InferenceError, match="no/such/model"):
        load_model("no/such/model")


def test_a_record_without_schema_is_named(tmp_path: Path) -> None:
    broken = [{**records(1)[0], "db_schema": shop().to_mschema() + "\nnonsense"}]
    with pytest.raises(InferenceError, match="q0"):
        answer(broken, small_generator(constrained=True), tmp_path / "p.jsonl", small_config(constrained=True))
