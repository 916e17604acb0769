"""Training throughput on this machine: attention, precision, our loss against TRL's, length batches against packing.

    python benchmarks/bench_sft.py [--threads 2] [--steps 6] [--tokens 900] [--plain] [--out results.json]

A random Mistral model of the shipped base's size and random conversations, so that nothing has to be downloaded or
built first. With ``--plain``: useful tokens per second of our fine-tuning, one sample or eight a row, against a padded
``transformers.Trainer`` on the same samples; useful are the tokens of samples, padding is not. CPU seconds are printed
beside wall time: they hold when other programs want the cores too, best with ``--threads 1``.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
import warnings
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from datasets import Dataset
from peft import LoraConfig, get_peft_model
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import (
    DataCollatorForSeq2Seq,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedTokenizerFast,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)
from trl import SFTConfig, SFTTrainer

from askguru_lib.training.sharing import ROWS, SharedRowCollator, share_prefixes
from askguru_lib.training.trainer import DeepCustomTrainer

VOCABULARY = 2048
TARGETS = r".*\.(q|k|v|o|gate|up|down)_proj"


def model(attention: str) -> MistralForCausalLM:
    torch.manual_seed(0)
    config = MistralConfig(
        vocab_size=VOCABULARY,
        hidden_size=192,
        intermediate_size=480,
        num_hidden_layers=5,
        num_attention_heads=4,
        num_key_value_heads=4,
        tie_word_embeddings=True,
        max_position_embeddings=4096,
        sliding_window=None,
    )
    config._attn_implementation = attention
    return MistralForCausalLM(config)


def conversations(n: int, tokens: int) -> Dataset:
    """Random samples of 0.7 to 1 times ``tokens``, the last 40 of each an answer."""
    rng = random.Random(0)
    rows = []
    for _ in range(n):
        length = rng.randint(int(0.7 * tokens), tokens)
        ids = [rng.randrange(4, VOCABULARY) for _ in range(length)]
        rows.append({"input_ids": ids, "labels": [-100] * (length - 40) + ids[-40:], "length": length})
    return Dataset.from_list(rows)


class Clock(TrainerCallback):
    """Wall and CPU seconds from the end of the first step (warm caches) to the end of the last."""

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        now = (time.perf_counter(), time.process_time(), state.num_input_tokens_seen)
        if state.global_step == 1:
            self.first = now
        self.last = now

    def figures(self) -> tuple[float, float]:
        wall, cpu, tokens = (b - a for a, b in zip(self.first, self.last, strict=True))
        return tokens / wall, 1000 * cpu / tokens


def measure(
    kind: type[SFTTrainer], attention: str, bf16: bool, packing: bool, steps: int, tokens: int
) -> dict[str, Any]:
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(WordLevel({"<pad>": 0, "<s>": 1, "</s>": 2})), pad_token="<pad>", eos_token="</s>"
    )
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = kind(
            model=model(attention),
            args=SFTConfig(
                output_dir=folder,
                max_length=2 * tokens if packing else None,
                packing=packing,
                max_steps=steps,
                per_device_train_batch_size=4 if packing else 8,
                gradient_checkpointing=False,
                bf16=bf16,
                use_cpu=True,
                save_strategy="no",
                report_to="none",
                disable_tqdm=True,
                include_num_input_tokens_seen="all" if packing else "non_padding",
            ),
            train_dataset=conversations(8 * (steps + 1), tokens),
            processing_class=tokenizer,
            peft_config=LoraConfig(r=32, lora_alpha=32, target_modules=TARGETS),
            callbacks=[clock],
        )
        trainer.train()
    rate, cost = clock.figures()
    return {
        "trainer": kind.__name__,
        "attention": attention,
        "precision": "bf16 autocast" if bf16 else "fp32",
        "batches": "packed" if packing else "padded",
        "tokens/s": round(rate),
        "CPU s per 1000 tokens": round(cost, 3),
    }


def alike(schemas: int, tokens: int) -> list[dict[str, Any]]:
    """Eight samples on each schema: a long common beginning, a question of its own, 40 tokens of answer."""
    rng = random.Random(1)
    rows = []
    for _ in range(schemas):
        shared = [rng.randrange(4, VOCABULARY) for _ in range(rng.randint(int(0.6 * tokens), tokens - 80))]
        for _ in range(8):
            own = [rng.randrange(4, VOCABULARY) for _ in range(rng.randint(50, 80))]
            ids = shared + own
            rows.append({"input_ids": ids, "labels": [-100] * (len(ids) - 40) + own[-40:], "length": len(ids)})
    return rows


def against_plain(system: str, steps: int, tokens: int) -> dict[str, Any]:
    """Eight samples a step, each sample once; the model, the adapter and the samples are those of the other systems."""
    rows = alike(steps, tokens)
    useful = sum(row["length"] for row in rows)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(WordLevel({"<pad>": 0, "<s>": 1, "</s>": 2})), pad_token="<pad>", eos_token="</s>"
    )
    lora = LoraConfig(r=32, lora_alpha=32, target_modules=TARGETS)
    several = system == "ours, 8 samples a row"
    network = model("sdpa")
    if several:
        network.set_attn_implementation(ROWS)
        rows = share_prefixes(rows, 8, 9 * tokens, seed=0)
    common: dict[str, Any] = {
        "per_device_train_batch_size": 1 if several else 8, "num_train_epochs": 1, "use_cpu": True,
        "save_strategy": "no", "report_to": "none", "disable_tqdm": True,
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if system == "plain Trainer":
            plain = [{k: row[k] for k in ("input_ids", "labels")} for row in rows]
            trainer: Trainer = Trainer(
                model=get_peft_model(network, lora), args=TrainingArguments(folder, **common),
                train_dataset=Dataset.from_list(plain), data_collator=DataCollatorForSeq2Seq(tokenizer),
            )  # fmt: skip
        else:
            settings = SFTConfig(folder, max_length=None, gradient_checkpointing=False, bf16=False,
                                 remove_unused_columns=not several, **common)  # fmt: skip
            trainer = DeepCustomTrainer(
                model=network, args=settings, train_dataset=Dataset.from_list(rows), processing_class=tokenizer,
                peft_config=lora, data_collator=SharedRowCollator(0) if several else None,
            )  # fmt: skip
        wall, cpu = time.perf_counter(), time.process_time()
        trainer.train()
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    assert trainer.state.global_step == steps
    return {"system": system, "steps": steps, "useful tokens": useful, "useful tokens/s": round(useful / wall),
            "CPU s per 1000 useful tokens": round(1000 * cpu / useful, 3)}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--tokens", type=int, default=900, help="longest sample")
    parser.add_argument("--plain", action="store_true", help="compare with a padded transformers Trainer")
    parser.add_argument("--out", type=Path, help="write the rows as JSON")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.plain:
        systems = ("plain Trainer", "ours, 1 sample a row", "ours, 8 samples a row")
        rows = [against_plain(system, args.steps, args.tokens) for system in systems]
        for row in rows:
            row["times plain, by CPU"] = round(
                rows[0]["CPU s per 1000 useful tokens"] / row["CPU s per 1000 useful tokens"], 2
            )
        print(pd.DataFrame(rows).to_string(index=False))
    else:
        rows = variants(args.steps, args.tokens)
    if args.out:
        args.out.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


def variants(steps: int, tokens: int) -> list[dict[str, Any]]:
    """Attention, precision, trainer and packing against each other."""
    kinds = [
        *product([SFTTrainer, DeepCustomTrainer], ["sdpa", "eager"], [False, True], [False]),
        (DeepCustomTrainer, "sdpa", False, True),
    ]
    rows = []
    for kind, attention, bf16, packing in kinds:
        rows.append(measure(kind, attention, bf16, packing, steps, tokens))
        print(rows[-1], flush=True)
    table = pd.DataFrame(rows).sort_values("CPU s per 1000 tokens")
    print("\n" + table.to_string(index=False))
    return rows


if __name__ == "__main__":
    main()
