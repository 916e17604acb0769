"""Execution accuracy while training: the loss says how surprised the model is, this whether its queries are right."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from askguru_lib.config import RunConfig
from askguru_lib.data.files import read_json, read_records
from askguru_lib.databases.connection import DatabaseConnections
from askguru_lib.databases.executor import Executor
from askguru_lib.errors import TrainingError
from askguru_lib.evaluation.matching import ex


class ExecutionAccuracy:
    """A few validation questions, answered and executed at every evaluation.

    Attributes:
        records: the questions, equally many of each database as far as there are, drawn by the run's seed.
        dropped: questions whose gold query fails; they are never charged to the model.

    Args:
        validation_path: training-format samples with ``task`` and ``db_name``; those that ask for SQL are used.
        connections: where their databases are.
        config: ``training.execution_eval_samples`` says how many; ``inference`` and ``execution`` say how.

    Raises:
        TrainingError: no sample of the file can be used.
    """

    def __init__(self, validation_path: Path, connections: DatabaseConnections, config: RunConfig) -> None:
        self.config, self.connections = config, connections
        usable = [
            record
            for record in read_records(validation_path)
            if str(record.get("task", "")).startswith("nl2") and record.get("db_name") in connections.db_ids
        ]
        drawn = stratified(usable, config.training.execution_eval_samples, config.seed)
        gold = self._run([(r["db_name"], r["conversations"][-1]["content"]) for r in drawn]) if drawn else []
        kept = [(record, result) for record, result in zip(drawn, gold, strict=True) if result.ok]
        if not kept:
            raise TrainingError(
                "no sample that asks for SQL on a known database and whose gold runs, so nothing can be executed",
                where=str(validation_path),
                hint="set training.execution_eval_samples to 0",
            )
        self.records, self.gold = [r for r, _ in kept], [g for _, g in kept]
        self.dropped = len(drawn) - len(kept)

    def _run(self, queries: Sequence[tuple[str, str]]) -> list[Any]:
        with Executor.from_config(self.connections, self.config.execution) as executor:
            return list(executor.run_many(queries))

    def score(self, model: Any, tokenizer: Any, rank: int = 0, world: int = 1) -> tuple[int, int]:
        """How many questions the model, with its adapter as it is now, answers correctly, and of how many.

        Args:
            rank, world: of several processes, each answers its share.
        """
        from askguru_lib.inference.generation import Generator

        mine = slice(rank, None, world)
        records, wanted = self.records[mine], self.gold[mine]
        if not records:
            return 0, 0
        network: PreTrainedModel = model.get_base_model() if hasattr(model, "get_base_model") else model
        training, network_cache = network.training, network.config.use_cache
        network.eval()
        network.config.use_cache = True
        try:
            generator = Generator(network, tokenizer, self.config)
            answers = [a.sql for [a] in generator.generate([r["conversations"][0]["content"] for r in records])]
        finally:
            network.train(training)
            network.config.use_cache = network_cache
        found = self._run([(r["db_name"], sql) for r, sql in zip(records, answers, strict=True)])
        right = [
            ex(result, gold, record["conversations"][-1]["content"], self.connections.dialect)
            for result, gold, record in zip(found, wanted, records, strict=True)
        ]
        return sum(right), len(right)


def stratified(records: Sequence[Mapping[str, Any]], count: int, seed: int) -> list[Mapping[str, Any]]:
    """``count`` records, in turn from every database, in each of them by chance."""
    strata: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for record in records:
        strata[str(record["db_name"])].append(record)
    queues = [random.Random(f"{seed}/{name}").sample(strata[name], len(strata[name])) for name in sorted(strata)]
    turns = [queue[i] for i in range(max(map(len, queues), default=0)) for queue in queues if i < len(queue)]
    return turns[:count]


def refuse_sharded_weights(config: RunConfig, root: Path) -> None:
    """Generation asks one process for a whole model, which none has under ZeRO-3."""
    if config.training.deepspeed and config.training.execution_eval_samples:
        stage = read_json(root / config.training.deepspeed).get("zero_optimization", {}).get("stage")
        if stage == 3:
            raise TrainingError("queries cannot be generated while the weights are sharded (ZeRO stage 3)",
                                where="training.execution_eval_samples",
                                hint="set it to 0, or training.deepspeed to params/deepspeed/zero2.json")  # fmt: skip


class EarlyStop(TrainerCallback):
    """Stops when execution accuracy has not risen for so many evaluations; all it knows stands in the checkpoints."""

    def __init__(self, patience: int) -> None:
        self.patience = patience

    def on_evaluate(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        seen = [entry["eval_ex"] for entry in state.log_history if "eval_ex" in entry]
        if seen and len(seen) - 1 - seen.index(max(seen)) >= self.patience:
            control.should_training_stop = True
