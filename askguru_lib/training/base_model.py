"""Train the small base model from nothing: ``python -m askguru_lib.training.base_model --out models/askguru-tiny``.

A Mistral architecture of a few million parameters learns to read schemas it has never seen. What makes it learn within
minutes on two cores is the start: a previous-token head in layer 0 and matching heads that copy in layer 1, an
induction circuit (Elhage et al. 2021, Olsson et al. 2022) that is written into the weights instead of being waited for.

What it reads is in ``curriculum.py``, what it is scored by in ``document_loss.py``. A killed run goes on exactly where
its last checkpoint stands. On a GPU say ``--processes 1 --workers 8``; that way has only been run on CPUs.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import torch
import torch.distributed as dist
import typer
from filelock import FileLock, Timeout
from torch import nn
from tqdm import tqdm
from transformers import AutoTokenizer, MistralConfig, MistralForCausalLM, PreTrainedTokenizerBase

from askguru_lib.data.files import Journal, write_jsonl
from askguru_lib.errors import TrainingError
from askguru_lib.training.corpus import sample_texts
from askguru_lib.training.curriculum import BaseRecipe, Documents, held_out
from askguru_lib.training.document_loss import document_loss, exact_match
from askguru_lib.training.first_weights import grow, write_induction_circuit
from askguru_lib.training.sft import multiplies_bf16
from askguru_lib.training.sharing import ROWS, RowLayout
from askguru_lib.training.throughput import Cost, utilisation
from askguru_lib.training.tokenizer import train_tokenizer

MAY_GROW = ("layers", "feed_forward")
"""Of a model to start from."""


def sizes_of(model: str) -> dict[str, int]:
    """The sizes of a model in a folder, as a recipe has them."""
    has = MistralConfig.from_pretrained(model)
    return {"layers": has.num_hidden_layers, "hidden": has.hidden_size, "heads": has.num_attention_heads,
            "feed_forward": has.intermediate_size, "vocabulary": has.vocab_size}  # fmt: skip


def build_model(recipe: BaseRecipe, tokenizer: PreTrainedTokenizerBase) -> MistralForCausalLM:
    """The recipe's model before its first step: new, with the induction circuit, or the one to start from, grown.

    Raises:
        TrainingError: the one to start from is larger, or of another width.
    """
    torch.manual_seed(recipe.seed)
    if recipe.start:
        model = MistralForCausalLM.from_pretrained(recipe.start, dtype=torch.float32)
        has = sizes_of(recipe.start)
        asked = {k: getattr(recipe, k) for k in has}
        differ = [f"{k}: {n}, not {asked[k]}" for k, n in has.items() if n != asked[k] and k not in MAY_GROW]
        differ += [f"{k}: {has[k]}, more than {asked[k]}" for k in MAY_GROW if has[k] > asked[k]]
        if differ:
            raise TrainingError(f"the model to start from has another size ({', '.join(differ)})", where=recipe.start,
                                hint="leave the sizes as they are; layers and feed_forward may grow")  # fmt: skip
        if has != asked:
            model = grow(model, recipe.layers, recipe.feed_forward, recipe.seed)
        model.set_attn_implementation(ROWS)
        return model
    config = MistralConfig(
        vocab_size=recipe.vocabulary, hidden_size=recipe.hidden, intermediate_size=recipe.feed_forward,
        num_hidden_layers=recipe.layers, num_attention_heads=recipe.heads, num_key_value_heads=recipe.heads,
        head_dim=recipe.hidden // recipe.heads, max_position_embeddings=4096, sliding_window=None,
        rope_parameters={"rope_type": "default", "rope_theta": recipe.rope_theta}, tie_word_embeddings=True,
        initializer_range=0.02, bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    model = MistralForCausalLM(config)
    model.set_attn_implementation(ROWS)
    if recipe.induction:
        write_induction_circuit(model, tokenizer, recipe.seed, recipe.rope_theta)
    return model


def parameter_groups(model: nn.Module, recipe: BaseRecipe) -> list[dict[str, Any]]:
    matrices = [p for p in model.parameters() if p.ndim > 1]
    vectors = [p for p in model.parameters() if p.ndim == 1]
    return [{"params": matrices, "weight_decay": recipe.weight_decay}, {"params": vectors, "weight_decay": 0.0}]


def build_optimizers(model: MistralForCausalLM, recipe: BaseRecipe) -> list[torch.optim.Optimizer]:
    """AdamW for everything, or Muon for the matrices inside the layers and AdamW for the rest.

    Muon (Jordan et al. 2024) makes the update of a matrix orthogonal; scaled to the size of AdamW's updates (Liu et al.
    2025, arXiv 2502.16982) it takes the same learning rate.
    """
    groups, inner = parameter_groups(model, recipe), []
    if recipe.optimizer == "muon":
        embeddings = {id(p) for p in (model.get_input_embeddings().weight, model.get_output_embeddings().weight)}
        inner = [p for p in groups[0]["params"] if id(p) not in embeddings]
        groups[0]["params"] = [p for p in groups[0]["params"] if id(p) in embeddings]
    adamw = torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=(0.9, 0.98))
    muon = [
        torch.optim.Muon(inner, lr=recipe.learning_rate, weight_decay=recipe.weight_decay,
                         adjust_lr_fn="match_rms_adamw")
    ] if inner else []  # fmt: skip
    return [adamw, *muon]


def train_rank(
    rank: int, world: int, out: Path, recipe: BaseRecipe, checkpoint_every: int, rendezvous: str, workers: int = 0
) -> None:
    """One process of the training run: on the GPU if there is one and the process is the only one."""
    device = "cuda" if world == 1 and torch.cuda.is_available() else "cpu"
    if world > 1:
        torch.set_num_threads(1)
    parent = os.getppid()
    if world > 1:
        dist.init_process_group("gloo", init_method=rendezvous, rank=rank, world_size=world)
    tokenizer = AutoTokenizer.from_pretrained(out)
    model = build_model(recipe, tokenizer)
    nn.Module.to(model, device)
    optimizers = build_optimizers(model, recipe)
    start = _resume(out, model, optimizers)
    if rank == 0:
        _cut_log(out, start)
    checks = held_out(recipe, tokenizer, 12) if rank == 0 else []
    bar = tqdm(
        range(start, recipe.steps),
        initial=start,
        total=recipe.steps,
        desc="base model",
        disable=rank > 0,
        mininterval=5,
    )
    began, questions, smooth = time.perf_counter(), 0, float("nan")
    cost, flops = Cost.of(model), 0.0
    data = Documents(recipe, tokenizer, start, rank, world)
    documents = iter(data.loader(workers))
    for step in bar:
        if world > 1 and os.getppid() != parent:
            raise TrainingError("the process that started this one is gone", where=str(out), hint="start it again")
        for group in (group for optimizer in optimizers for group in optimizer.param_groups):
            group["lr"] = recipe.rate(step)
        total = torch.zeros((), device=device)
        for document in islice(documents, len(data.places)):
            loss = document_loss(model, document, device) / recipe.documents_per_step
            loss.backward()
            total += loss.detach()
            questions += int(document.segments.max()) * world
            length = len(document.ids)
            flops += cost.flops(length, RowLayout.of(torch.from_numpy(document.segments)).seen, length - 1)
        if world > 1:
            flat = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None] + [total[None]])
            dist.all_reduce(flat)
            _spread(flat, model)
            total = flat[-1]
        if not math.isfinite(float(total)):
            raise TrainingError(f"the loss is {float(total)}", where=f"step {step}", hint="lower learning_rate")
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        smooth = float(total) if math.isnan(smooth) else 0.98 * smooth + 0.02 * float(total)
        if rank == 0:
            last = step + 1 == recipe.steps
            if (step + 1) % 200 == 0 or last:
                exact = exact_match(model, checks, device)
                seconds = time.perf_counter() - began
                mfu = utilisation(flops, seconds, device, bf16=multiplies_bf16(device))
                _log(out, step + 1, smooth, recipe.rate(step), questions / seconds, exact, mfu)
                bar.set_postfix(loss=f"{smooth:.3f}", exact=f"{exact:.2f}")
            if (step + 1) % checkpoint_every == 0 or last:
                _checkpoint(out, model, optimizers, step + 1, recipe)
    if rank == 0:
        save_model(model, out)
    if world > 1:
        dist.destroy_process_group()


def _spread(flat: torch.Tensor, model: nn.Module) -> None:
    at = 0
    for p in model.parameters():
        if p.grad is not None:
            p.grad.copy_(flat[at : at + p.numel()].view_as(p))
            at += p.numel()


def save_model(model: MistralForCausalLM, out: Path) -> None:
    """Write the weights in bf16 beside the tokenizer, as standard Hugging Face files."""
    state = {k: v.to(torch.bfloat16) for k, v in model.state_dict().items() if k != "lm_head.weight"}
    model.config.dtype = torch.bfloat16
    model.save_pretrained(out, state_dict=state)


def _log(out: Path, step: int, loss: float, rate: float, speed: float, exact: float, mfu: float | None) -> None:
    record = {
        "step": step,
        "loss": round(loss, 4),
        "learning_rate": rate,
        "questions_per_s": round(speed, 1),
        "exact": exact,
        "mfu": None if mfu is None else round(mfu, 4),
    }
    with (out / "training_log.jsonl").open("a", encoding="utf-8") as f:
        f.write(json.dumps(record) + "\n")


def _checkpoint(
    out: Path, model: nn.Module, optimizers: Sequence[torch.optim.Optimizer], step: int, recipe: BaseRecipe
) -> None:
    path = out / "checkpoint.pt"
    part = path.with_suffix(".part")
    states = [optimizer.state_dict() for optimizer in optimizers]
    torch.save({"model": model.state_dict(), "optimizers": states, "step": step, "recipe": asdict(recipe)}, part)
    part.replace(path)


MAY_CHANGE = {"steps", "decay_share"}
"""Of a recipe, when a run goes on: how long it lasts and when its rate falls."""


def _refuse_another_recipe(path: Path, recipe: BaseRecipe) -> None:
    """A checkpoint goes on as it was begun, but for :data:`MAY_CHANGE`.

    Raises:
        TrainingError: names what differs.
    """
    if not path.exists():
        return
    before, now = torch.load(path, map_location="cpu", weights_only=True, mmap=True)["recipe"], asdict(recipe)
    before = {"optimizer": "adamw"} | before  # as it was before there was a choice
    differ = [k for k in now if k in before and k not in MAY_CHANGE and before[k] != now[k]]
    if differ:
        changes = ", ".join(f"{k}: {before[k]} → {now[k]}" for k in differ)
        raise TrainingError(f"checkpoint of another recipe ({changes})", where=str(path),
                            hint="delete it, or train into another folder")  # fmt: skip


def _resume(out: Path, model: nn.Module, optimizers: Sequence[torch.optim.Optimizer]) -> int:
    path = out / "checkpoint.pt"
    if not path.exists():
        return 0
    state = torch.load(path, map_location="cpu", weights_only=True)
    model.load_state_dict(state["model"])
    for optimizer, own in zip(optimizers, state.get("optimizers") or [state["optimizer"]], strict=True):
        optimizer.load_state_dict(own)
    return int(state["step"])


def _cut_log(out: Path, step: int) -> None:
    """Forget what was logged after the checkpoint: those steps are trained again."""
    log = out / "training_log.jsonl"
    if log.exists():
        write_jsonl(log, [record for record in Journal(log).records if record["step"] <= step])


def train_base_model(
    out: Path, recipe: BaseRecipe, processes: int = 2, checkpoint_every: int = 200, workers: int = 0
) -> None:
    """Train (or go on training) into ``out``; the tokenizer is made first if it is not there.

    Args:
        processes: data-parallel ones, on CPU cores; a single one takes the GPU if there is one.
        workers: further processes for each of them, which make documents ahead; a GPU is fed by several.

    Raises:
        TrainingError: another training writes into ``out``, or its checkpoint is of another recipe, or the loss is not
            finite.
    """
    out.mkdir(parents=True, exist_ok=True)
    lock = FileLock(out / "training.lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise TrainingError("another training writes into this folder", where=str(out),
                            hint="wait for it, or train into another folder") from None  # fmt: skip
    with lock:
        if not (out / "tokenizer.json").exists() and recipe.start:
            AutoTokenizer.from_pretrained(recipe.start).save_pretrained(str(out))
        elif not (out / "tokenizer.json").exists():
            train_tokenizer(sample_texts(recipe.seed, 2500), recipe.vocabulary).save_pretrained(str(out))
        _refuse_another_recipe(out / "checkpoint.pt", recipe)
        (out / "recipe.json").write_text(json.dumps(asdict(recipe), indent=1) + "\n", encoding="utf-8")
        rendezvous = (out / "rendezvous").absolute()
        rendezvous.unlink(missing_ok=True)
        run: Callable[..., None] = train_rank
        args = (processes, out, recipe, checkpoint_every, f"file://{rendezvous}", workers)
        if processes == 1:
            run(0, *args)
        else:
            torch.multiprocessing.spawn(run, args=args, nprocs=processes)
        rendezvous.unlink(missing_ok=True)
    lock.release(force=True)
    (out / "training.lock").unlink(missing_ok=True)


def main(
    out: Annotated[Path, typer.Option(help="Folder of the model; an unfinished run there is continued.")],
    steps: Annotated[int, typer.Option(help="Optimizer steps.")] = BaseRecipe.steps,
    processes: Annotated[int, typer.Option(help="Data-parallel processes, one thread each; 1 takes a GPU.")] = 2,
    workers: Annotated[int, typer.Option(help="Processes that make documents ahead, for each of these.")] = 0,
    learning_rate: Annotated[float, typer.Option(help="Peak learning rate.")] = BaseRecipe.learning_rate,
    seed: Annotated[int, typer.Option(help="Seed of data and weights.")] = BaseRecipe.seed,
    decay_share: Annotated[float, typer.Option(help="Share of the steps, at the end, in which the rate falls.")] = 0.3,
    induction: Annotated[bool, typer.Option(help="Write the copy circuit into the weights before training.")] = True,
    start: Annotated[
        str | None, typer.Option(help="Folder of a model to go on from; layers and feed-forward may grow.")
    ] = None,
    optimizer: Annotated[str, typer.Option(help="adamw, or muon for the matrices inside the layers.")] = "adamw",
    layers: Annotated[int | None, typer.Option(help="Layers; the copy circuit takes the first two.", min=1)] = None,
    hidden: Annotated[int | None, typer.Option(help="Width.")] = None,
    heads: Annotated[int | None, typer.Option(help="Attention heads; the width is divided among them.")] = None,
    feed_forward: Annotated[int | None, typer.Option(help="Width of the feed-forward layers.")] = None,
) -> None:
    """Train the small base model that the book fine-tunes.

    Sizes that are not given are those of the model to start from, or else those of the recipe's first part (5 layers of
    width 192).
    """
    given = {"layers": layers, "hidden": hidden, "heads": heads, "feed_forward": feed_forward}
    sizes = (sizes_of(start) if start else {}) | {k: n for k, n in given.items() if n is not None}
    recipe = BaseRecipe(steps=steps, learning_rate=learning_rate, seed=seed, decay_share=decay_share,
                        induction=induction, start=start, optimizer=optimizer, **sizes)  # fmt: skip
    train_base_model(out, recipe, processes, workers=workers)


if __name__ == "__main__":
    typer.run(main)
