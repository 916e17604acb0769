"""Training throughput on this machine: attention, precision, our loss against TRL's, length batches against packing.

    python benchmarks/bench_sft.py [--threads 2] [--steps 6] [--tokens 900] [--out results.json]

A random Mistral model of the shipped base's size and random conversations, so that nothing has to be downloaded or
built first. CPU seconds are printed beside wall time: they hold when other programs want the cores too.
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
from peft import LoraConfig
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import MistralConfig, MistralForCausalLM, PreTrainedTokenizerFast, TrainerCallback
from trl import SFTConfig, SFTTrainer

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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--tokens", type=int, default=900, help="longest sample")
    parser.add_argument("--out", type=Path, help="write the rows as JSON")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    variants = [
        *product([SFTTrainer, DeepCustomTrainer], ["sdpa", "eager"], [False, True], [False]),
        (DeepCustomTrainer, "sdpa", False, True),
    ]
    rows = []
    for kind, attention, bf16, packing in variants:
        rows.append(measure(kind, attention, bf16, packing, args.steps, args.tokens))
        print(rows[-1], flush=True)
    table = pd.DataFrame(rows).sort_values("CPU s per 1000 tokens")
    print("\n" + table.to_string(index=False))
    if args.out:
        args.out.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
