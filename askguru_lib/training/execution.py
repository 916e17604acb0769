"""Execution accuracy while training: the loss says how surprised the model is, this whether its queries are right."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import PreTrainedModel, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from askguru_lib.config import RunConfig
from askguru_lib.data.files import read_records
from askguru_lib.databases.connection import DatabaseConnections
from askguru_lib.databases.executor import Executor
from askguru_lib.errors import TrainingError
from askguru_lib.evaluation.matching import ex


class ExecutionAccuracy(TrainerCallback):
    """Answers a few validation questions at every evaluation and adds ``eval_ex`` to its metrics.

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
        if not usable:
            raise TrainingError(
                "no sample that asks for SQL on a known database, so nothing can be executed",
                where=str(validation_path),
                hint="set training.execution_eval_samples to 0",
            )
        self.records = usable[: config.training.execution_eval_samples]

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        metrics: dict[str, float] | None = None,
        model: Any = None,
        processing_class: Any = None,
        **_: Any,
    ) -> None:
        if metrics is not None and state.is_world_process_zero:
            metrics["eval_ex"] = self.score(model, processing_class)

    def score(self, model: Any, tokenizer: Any) -> float:
        """Share of the questions that the model, with its adapter as it is now, answers correctly."""
        from askguru_lib.inference.generation import Generator

        network: PreTrainedModel = model.get_base_model() if hasattr(model, "get_base_model") else model
        training, network_cache = network.training, network.config.use_cache
        network.eval()
        network.config.use_cache = True
        try:
            turns = [record["conversations"] for record in self.records]
            generator = Generator(network, tokenizer, self.config)
            answers = [found[0].sql for found in generator.generate([t[0]["content"] for t in turns])]
        finally:
            network.train(training)
            network.config.use_cache = network_cache
        names = [record["db_name"] for record in self.records]
        gold = [t[-1]["content"] for t in turns]
        with Executor.from_config(self.connections, self.config.execution) as executor:
            results = executor.run_many([*zip(names, gold, strict=True), *zip(names, answers, strict=True)])
        right = sum(
            ex(found, wanted, sql, self.connections.dialect)
            for found, wanted, sql in zip(results[len(gold) :], results[: len(gold)], gold, strict=True)
        )
        return right / len(self.records)
