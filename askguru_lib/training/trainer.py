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

from askguru_lib.errors import TrainingError
from askguru_lib.training.encoding import IGNORED
from askguru_lib.training.sharing import RowLayout


class DeepCustomTrainer(SFTTrainer):
    """Supervised fine-tuning on completions, for any causal language model.

    Two of TRL's methods are replaced; a third, the model card of every checkpoint, is dropped. ``compute_loss`` asks
    the model for logits at answer positions only: the prompt is twenty times as long as the answer, so most of a
    vocabulary-wide projection would be thrown away. ``_get_train_sampler`` batches samples of similar length in an
    order that depends on seed and epoch alone, so that a resumed run sees what an unbroken one would have seen.
    """

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
            TrainingError: the loss is not a finite number (the step is named).
        """
        segments = inputs.pop("segments", None)
        if (return_outputs and segments is None) or self.aux_loss_enabled or self._is_sharded():
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        targets = inputs["labels"][:, 1:]
        trained = (targets != IGNORED).any(dim=0).nonzero()[:, 0]
        inputs = {k: v for k, v in inputs.items() if k not in ("labels", "attention_mask")}
        if segments is not None:
            inputs["rows"] = [RowLayout.of(row) for row in segments]
        outputs = model(**inputs, logits_to_keep=trained, use_cache=False)
        logits = outputs.logits
        targets = targets[:, trained].flatten()
        total = cross_entropy(logits.float().flatten(0, 1), targets, ignore_index=IGNORED, reduction="sum")
        count = (targets != IGNORED).sum() if num_items_in_batch is None else num_items_in_batch
        loss = total / count
        if self.args.average_tokens_across_devices and num_items_in_batch is not None:
            loss = loss * self.accelerator.num_processes
        if not torch.isfinite(loss):
            raise TrainingError(
                f"the loss is {loss.item()}",
                where=f"step {self.state.global_step + 1}",
                hint="lower training.learning_rate or training.max_grad_norm, or train with bf16: false",
            )
        return (loss, outputs) if return_outputs else loss

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
        sampler = LengthBatches(dataset["length"], self.args.train_batch_size, self.args.seed)
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
