"""DeepCustomTrainer: TRL's SFTTrainer with a loss that scores answers only, and batches of equal lengths."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from datasets import Dataset
from torch.nn.functional import cross_entropy
from torch.utils.data import Sampler
from transformers import TrainerCallback
from trl import SFTTrainer

from askguru_lib.training.encoding import IGNORED
from askguru_lib.training.execution import ExecutionAccuracy
from askguru_lib.training.failures import Watch
from askguru_lib.training.sharing import RowLayout
from askguru_lib.training.throughput import Cost


class DeepCustomTrainer(SFTTrainer):
    """Supervised fine-tuning on completions, for any causal language model.

    ``compute_loss`` asks the model for logits at answer positions only: the prompt is twenty times as long as the
    answer, so most of a vocabulary-wide projection would be thrown away. ``_get_train_sampler`` batches samples of
    similar length in an order that depends on seed and epoch alone, so that a resumed run sees what an unbroken one
    would have seen. ``evaluation_loop`` adds execution accuracy; the model card of every checkpoint is dropped.

    Args:
        watch: is told every micro batch and its loss.
        execution: answers and executes some questions at every evaluation.
        order_batch: samples that the order groups by length, where it is not the micro batch (a resumed run keeps the
            order that it was started with).
    """

    def __init__(
        self,
        *args: Any,
        watch: Watch | None = None,
        execution: ExecutionAccuracy | None = None,
        order_batch: int | None = None,
        **options: Any,
    ) -> None:
        self.watch, self.execution, self.order_batch = watch, execution, order_batch
        self.flops = 0.0
        super().__init__(*args, **options)
        self.cost = Cost.of(self.model)

    @property
    def _mode(self) -> str:
        return "train" if self.model is not None and self.model.training else "eval"

    def record(self, name: str, value: float | torch.Tensor) -> None:
        """A figure of this micro batch; the log gets the mean since its last line (as ``eval_…`` in evaluation)."""
        self._metrics[self._mode][name].append(value.detach() if isinstance(value, torch.Tensor) else value)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Reports the means of what was recorded."""
        for values in self._metrics[self._mode].values():
            values[:] = [v.item() if isinstance(v, torch.Tensor) else v for v in values]
        super().log(logs, start_time)

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        """Mean cross-entropy of the answer tokens.

        Batches are padded on the right and attention is causal, so no answer ever sees padding: the attention mask is
        left out, which lets every backend take its faster causal path. Rows of several samples bring ``segments``,
        from which :func:`askguru_lib.training.sharing.row_attention` knows who sees whom.

        Raises:
            TrainingError: the loss is not a finite number (the step is named, its batch is saved).
        """
        segments = inputs.pop("segments", None)
        ids = inputs["input_ids"]
        if self.watch and model.training:
            self.watch.reads(ids)
        if (return_outputs and segments is None) or self.aux_loss_enabled or self._is_sharded():
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        targets = inputs["labels"][:, 1:]
        trained = (targets != IGNORED).any(dim=0).nonzero()[:, 0]
        inputs = {k: v for k, v in inputs.items() if k not in ("labels", "attention_mask")}
        if segments is not None:
            inputs["rows"] = [RowLayout.of(row) for row in segments]
        outputs = model(**inputs, logits_to_keep=trained, use_cache=False)
        logits = outputs.logits.float().flatten(0, 1)
        targets = targets[:, trained].flatten()
        answers = targets != IGNORED
        total = cross_entropy(logits, targets, ignore_index=IGNORED, reduction="sum")
        with torch.no_grad():
            self.record("token_accuracy", ((logits.argmax(-1) == targets) & answers).sum() / answers.sum().clamp(min=1))
        count = answers.sum() if num_items_in_batch is None else num_items_in_batch
        loss = total / count
        if self.args.average_tokens_across_devices and num_items_in_batch is not None:
            loss = loss * self.accelerator.num_processes
        if model.training:
            self._count(inputs.get("rows"), ids, len(targets))
            if self.watch:
                self.watch.learnt(ids, loss.detach())
        return (loss, outputs) if return_outputs else loss

    def _count(self, rows: list[RowLayout] | None, ids: torch.Tensor, heads: int) -> None:
        """Arithmetic of a micro batch; positions that only fill it up are counted as the device counts them."""
        length = ids.shape[1]
        seen = sum(row.seen for row in rows) if rows else len(ids) * length * (length + 1) / 2
        self.flops += self.cost.flops(ids.numel(), seen, heads)

    def evaluation_loop(self, *args: Any, **options: Any) -> Any:
        """The loss, and with ``execution`` the share of questions that are answered correctly."""
        output = super().evaluation_loop(*args, **options)
        if self.execution and output.metrics is not None:
            prefix = options.get("metric_key_prefix", "eval")
            place = self.accelerator.process_index, self.accelerator.num_processes
            network = self.accelerator.unwrap_model(self.model)
            counts = torch.tensor(self.execution.score(network, self.processing_class, *place), device=self.args.device)
            right, asked = self.accelerator.reduce(counts, "sum").tolist()
            output.metrics.update({f"{prefix}_ex": right / asked, f"{prefix}_ex_n": asked})
        return output

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        """A resumed run may lower its learning rate: the schedule's shape is restored, its height is the argument's."""
        super()._load_optimizer_and_scheduler(checkpoint)
        schedule, optimizer = self.lr_scheduler, self.optimizer
        bases = getattr(schedule, "base_lrs", None)
        if checkpoint is None or schedule is None or optimizer is None or not bases:
            return
        factor = self.args.learning_rate / bases[0]
        if factor == 1:
            return
        schedule.base_lrs = [base * factor for base in bases]
        schedule._last_lr = [rate * factor for rate in schedule.get_last_lr()]
        for group in optimizer.param_groups:
            group["lr"] *= factor
            group["initial_lr"] = group.get("initial_lr", bases[0]) * factor

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """Checkpoints carry no card of their own."""

    def _is_sharded(self) -> bool:
        """Whether one sequence is spread over several devices."""
        plan = self.accelerator.parallelism_config
        return plan is not None and (plan.sp_enabled or plan.cp_enabled or plan.tp_enabled)

    def _get_train_sampler(self, train_dataset: Dataset | None = None) -> Sampler | None:
        dataset = train_dataset if train_dataset is not None else self.train_dataset
        if not isinstance(dataset, Dataset) or "length" not in dataset.column_names:
            return super()._get_train_sampler(train_dataset)
        sampler = LengthBatches(dataset["length"], self.order_batch or self.args.train_batch_size, self.args.seed)
        self.add_callback(_TellEpoch(sampler))
        return sampler


class LengthBatches(Sampler[int]):
    """Shuffled indices in which each run of ``batch_size`` has samples of similar length.

    Args:
        lengths: tokens of each sample.
        batch_size: samples that will be padded to a common length.
        seed: the order is a function of this and of the epoch.
    """

    POOL = 32  # batches among which samples are sorted: shorter padding against more chance

    def __init__(self, lengths: Sequence[int], batch_size: int, seed: int) -> None:
        self.lengths, self.batch_size, self.seed, self.epoch = list(lengths), batch_size, seed, 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        chance = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        order = torch.randperm(len(self), generator=chance).tolist()
        pool = self.POOL * self.batch_size
        for start in range(0, len(order), pool):
            order[start : start + pool] = sorted(order[start : start + pool], key=self.lengths.__getitem__)
        full = len(order) // self.batch_size
        batches = [order[i * self.batch_size : (i + 1) * self.batch_size] for i in range(full)]
        for i in torch.randperm(full, generator=chance).tolist():
            yield from batches[i]
        yield from order[full * self.batch_size :]


class _TellEpoch(TrainerCallback):
    def __init__(self, sampler: LengthBatches) -> None:
        self.sampler = sampler

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.sampler.set_epoch(int(state.epoch or 0))
