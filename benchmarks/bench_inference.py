"""What candidates, the choice among them and the schema constraint cost, against one greedy answer.

    python benchmarks/bench_inference.py [--questions 24] [--model models/askguru-tiny] [--dtype float32]

Every question is timed alone and from the start: keys and values of earlier prompts are forgotten before each call.
Choosing is timed twice: right after the candidates, when the schema's keys and values are there, which is what it adds
to them, and from the start, as after a load of other questions. Among four means that four different results compete.
The constraint's masks are those that as many other questions on the same schemas have left behind, as in the midst of a
test set; a table of its own says what they cost at first. Prompts have at least ``--tokens`` tokens. A greedy answer
that runs to the limit is long and would flatter the ratios, so the questions whose greedy answer ends by itself stand
in a row of their own. The goals: five hybrid candidates at most 1.6 times one greedy answer and three times faster than
five separate calls; choosing at most 0.5 times; the constraint under 10 % of a step.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import measure
import torch
from transformers import DynamicCache

from askguru_lib.config import RunConfig
from askguru_lib.databases.connection import load_connections
from askguru_lib.databases.executor import Executor, Result
from askguru_lib.databases.m_schema import MSchema
from askguru_lib.databases.samples import bank, build_all
from askguru_lib.databases.schema_engine import SchemaEngine
from askguru_lib.databases.values import ValueIndex
from askguru_lib.inference import Generator, MultiCandidateInference, SQLCritic, load_model
from askguru_lib.inference.predictions import question_prompt

DATABASES = ("plant", "claims", "airline", "retail")
DISTINCT = 4


def questions(folder: Path, count: int, least: int, generator: Generator) -> tuple[Any, list[dict[str, Any]]]:
    """Hand-written questions with their schemas, as processed records, by turns from each database."""
    connections = load_connections(build_all(folder, DATABASES, "sqlite"))
    records: list[dict[str, Any]] = []
    for place, name in enumerate(DATABASES):
        engine = SchemaEngine(engine=connections.engine(name), db_name=name)
        schema, values = engine.mschema, ValueIndex.read(engine, generator.config.schema_.max_values)
        for number, item in enumerate(bank(name)):
            record = {
                "id": f"{name}/{number}", "db_name": name, "question": item["question"], "order": (number, place),
                "evidence": item.get("evidence") or "", "db_schema": schema.to_mschema(), "sql": item["SQL"],
                "values": values.mentioned(f"{item['question']}\n{item.get('evidence') or ''}"),
            }  # fmt: skip
            if len(generator.tokenize([question_prompt(record, generator.config)])[0]) >= least:
                records.append(record)
    return connections, sorted(records, key=lambda r: r["order"])[:count]


def seconds(work: Callable[[], Any]) -> tuple[float, Any]:
    began = time.perf_counter()
    found = work()
    return time.perf_counter() - began, found


def per_question(generator: Generator, records: list[dict[str, Any]], executor: Executor) -> list[dict[str, Any]]:
    several, critic = MultiCandidateInference(generator), SQLCritic(generator, enabled=True)
    generator._constraints.clear()
    measured, others = records[: len(records) // 2], records[len(records) // 2 :]
    for record in others:
        schema = [MSchema.from_text(record["db_schema"])]
        several.generate([question_prompt(record, generator.config)], 5, method="hybrid", schemas=schema)
    rows = []
    for record in measured:
        prompt, schemas = question_prompt(record, generator.config), [MSchema.from_text(record["db_schema"])]

        def fresh(work: Callable[[], Any]) -> tuple[float, Any]:
            generator.decoder.prefixes.clear()
            return seconds(work)

        greedy, [[answer]] = fresh(partial(generator.generate, [prompt], schemas=schemas))

        def candidates(p: str = prompt, s: list[MSchema] = schemas) -> list[Any]:
            return several.generate([p], 5, method="hybrid", schemas=s)

        hybrid, [found] = fresh(candidates)
        separate = sum(
            fresh(partial(generator.generate, [prompt], mode="sampling", schemas=schemas, seed=i))[0] for i in range(5)
        )
        item = {**record, "candidates": [c.sql for c in found]}
        item["results"] = executor.run_many([(record["db_name"], c.sql) for c in found])
        # The worst case: every candidate the critic may see returns something else.
        apart = [Result(("n",), ((i,),)) for i in range(DISTINCT)] + [item["results"][-1]]
        times = {}
        for name, results in (("choosing", item["results"]), ("choosing among four", apart)):
            asked = [{**item, "results": results}]
            generator.decoder.prefixes.clear()
            candidates()
            times[name], _ = seconds(partial(critic.select_many, asked))
            times[f"{name}, from the start"], _ = fresh(partial(critic.select_many, asked))
        rows.append({"finished": answer.finished, "greedy": greedy, "five hybrid": hybrid, "five calls": separate,
                     **times})  # fmt: skip
    return rows


def constraint(generator: Generator, records: list[dict[str, Any]]) -> dict[str, Any]:
    """Time of the constraint per token of the gold query, cold and warm, and of the model's own step."""
    generator._constraints.clear()
    times: dict[str, list[float]] = {"cold": [], "warm": []}
    for kind in times:
        for record in records:
            bound = generator.constraint(MSchema.from_text(record["db_schema"]))
            state = bound.start()
            for token in generator.tokenizer(record["sql"], add_special_tokens=False)["input_ids"]:
                spent, _ = seconds(partial(bound.mask, state))
                moved, state = seconds(partial(bound.advance, state, token))
                times[kind].append(spent + moved)
    ids = generator.tokenize([question_prompt(records[0], generator.config)])
    with generator.decoder._ready():
        contexts, logits, positions = generator.decoder.prefill(ids, 0)
        token = logits.argmax(-1)[:, None]
        steps = [
            seconds(lambda: generator.decoder._forward(token, positions[:, None], DynamicCache(), contexts))[0]
            for _ in range(60)
        ]
    step = statistics.median(steps)
    return {"step ms": round(1000 * step, 2)} | {
        f"constraint {kind}, share of a step": f"{statistics.mean(t) / step:.1%}" for kind, t in times.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--questions", type=int, default=24)
    parser.add_argument("--tokens", type=int, default=600, help="least tokens of a prompt")
    parser.add_argument("--model", default="models/askguru-tiny")
    parser.add_argument("--adapter", help="folder of a LoRA adapter on the model")
    parser.add_argument("--dtype", default="float32", help="of the weights: float32 or bfloat16")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, help="write the rows as JSON")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    config = RunConfig.build({"inference": {"num_candidates": 5}, "model": {"schema_links": True, "dtype": args.dtype}})
    generator = Generator(*load_model(args.model, args.adapter, config), config)
    with tempfile.TemporaryDirectory() as folder:
        connections, records = questions(Path(folder), 2 * args.questions, args.tokens, generator)
        with Executor.from_config(connections, config.execution) as executor:
            bound = constraint(generator, records[: args.questions])
            rows = per_question(generator, records, executor)
    results = []
    for name, chosen in (("all", rows), ("greedy ends by itself", [r for r in rows if r["finished"]])):
        if not chosen:
            continue
        middle = {k: statistics.median(r[k] for r in chosen) for k in chosen[0] if k != "finished"}
        ratios = {f"{k} / greedy": round(statistics.median(r[k] / r["greedy"] for r in chosen), 2)
                  for k in middle if k != "greedy"}  # fmt: skip
        results.append({"questions": name, "n": len(chosen), "greedy ms": round(1000 * middle["greedy"], 1), **ratios})
    measure.report(results, args.out)
    measure.report([bound])


if __name__ == "__main__":
    main()
