"""Rows of several samples: nothing is lost, and each sample is learnt as if it stood alone."""

from __future__ import annotations

import random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from test_training_sft import StopAt, byte_tokenizer, config, samples, save_random_model, weights, write
from transformers import AutoModelForCausalLM

from askguru_lib.errors import ConfigError
from askguru_lib.training.encoding import IGNORED, encode
from askguru_lib.training.sft import train
from askguru_lib.training.sharing import ROWS, RowLayout, SharedRowCollator, share_prefixes


def rows_on(schemas: list[str], questions: int) -> list[dict]:
    tokenizer = byte_tokenizer()
    found = []
    for schema in schemas:
        for i in range(questions):
            talk = [{"role": "user", "content": f"{schema} question {i}?"}, {"role": "assistant", "content": f"Q{i}"}]
            ids, labels = encode(tokenizer, talk)
            found.append({"input_ids": ids, "labels": labels})
    return found


def taken_apart(packed: list[dict]) -> list[tuple[list[int], list[int], list[int]]]:
    """Tokens, labels and positions of every sample in every row."""
    found = []
    for row in packed:
        for number in range(1, max(row["segments"]) + 1):
            here = [i for i, s in enumerate(row["segments"]) if s in (0, number)]
            found.append(tuple([row[k][i] for i in here] for k in ("input_ids", "labels", "position_ids")))
    return found


@given(
    prompts=st.lists(st.lists(st.integers(1, 3), min_size=2, max_size=12), min_size=1, max_size=12),
    size=st.integers(1, 5),
    limit=st.integers(20, 40),
)
def test_every_sample_is_in_one_row_token_for_token(prompts, size, limit):
    rows = [{"input_ids": [*p, 9, 2], "labels": [IGNORED] * len(p) + [9, 2]} for p in prompts]
    packed = share_prefixes(rows, size, limit, seed=1)
    assert sorted((a, b) for a, b, _ in taken_apart(packed)) == sorted((r["input_ids"], r["labels"]) for r in rows)
    assert all(positions == list(range(len(positions))) for _, _, positions in taken_apart(packed))
    assert all(len(r["input_ids"]) == r["length"] <= limit and max(r["segments"]) <= size for r in packed)


def test_a_schema_is_read_once_for_its_questions():
    rows = rows_on(["schema one " * 20, "another schema " * 20], 8)
    packed = share_prefixes(rows, 8, 2048, seed=0)
    assert len(packed) == 2
    assert sum(r["length"] for r in packed) < sum(len(r["input_ids"]) for r in rows) / 4


def test_rows_and_blocks_have_few_different_shapes():
    """A CPU compiles a kernel for every new one."""
    shapes = set()
    for words in range(5, 60):
        batch = SharedRowCollator(pad_token_id=0)(share_prefixes(rows_on(["a schema " * words], 3), 3, 2048, seed=0))
        layouts = [RowLayout.of(segments) for segments in batch["segments"]]
        shapes |= {(batch["input_ids"].shape[1] % 64, g.longest % 32) for row in layouts for g in row.groups}
    assert shapes == {(0, 0)}


def test_loss_and_gradient_are_those_of_the_samples_alone(tmp_path):
    model = AutoModelForCausalLM.from_pretrained(save_random_model(tmp_path), dtype=torch.float64)
    rows = rows_on(["a schema " * 5, "b schema " * 4], 3)
    rows += rows_on(["a schema " * 5 + "and much more " * 5], 1)
    random.Random(0).shuffle(rows)
    collate = SharedRowCollator(pad_token_id=0)

    def gradient(batches):
        model.zero_grad()
        total = 0.0
        for batch in batches:
            logits = model(input_ids=batch["input_ids"], position_ids=batch["position_ids"],
                           rows=[RowLayout.of(row) for row in batch["segments"]]).logits[:, :-1]  # fmt: skip
            loss = torch.nn.functional.cross_entropy(
                logits.flatten(0, 1), batch["labels"][:, 1:].flatten(), ignore_index=IGNORED, reduction="sum"
            )
            loss.backward()
            total += loss.item()
        return total, torch.cat([p.grad.flatten() for p in model.parameters()])

    alone = gradient(collate([row]) for row in share_prefixes(rows, 1, 512, seed=0))
    model.set_attn_implementation(ROWS)
    together = gradient([collate(share_prefixes(rows, 3, 512, seed=0))])
    assert together[0] == pytest.approx(alone[0], rel=1e-6)
    # The model's norms count in float32, whatever its weights are.
    assert (together[1] - alone[1]).norm() < 1e-5 * alone[1].norm()


@pytest.mark.slow
def test_training_on_shared_rows_can_be_killed_and_resumed(tmp_path):
    base = save_random_model(tmp_path / "base")
    data = write(tmp_path / "train.jsonl", samples(24)), write(tmp_path / "val.jsonl", samples(4))
    run = config(base, {"dropout": 0.0}, samples_per_row=4, max_steps=6, save_steps=3, eval_steps=3)
    whole = train(run, *data, tmp_path / "whole")
    assert whole.metrics["rows"] < whole.metrics["samples"] == 24
    assert whole.metrics["eval_loss"] > 0
    with pytest.raises(KeyboardInterrupt):
        train(run, *data, tmp_path / "broken", callbacks=[StopAt(4)])
    resumed = train(run, *data, tmp_path / "broken")
    a, b = weights(whole.adapter), weights(resumed.adapter)
    assert all(torch.equal(a[k], b[k]) for k in a)


def test_two_ways_to_fill_a_row_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="choose one"):
        config(tmp_path, packing=True, samples_per_row=4)
