"""From sources to a training set: the mix met, nothing twice, nothing too long, nothing from the tests."""

from __future__ import annotations

import hashlib
import json
import math
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from tqdm import tqdm

import askguru_lib
from askguru_lib.config import RunConfig, model_folder
from askguru_lib.data.augmentation import AugCompose, Sample, SQLRunner, read_schema
from askguru_lib.data.files import atomic, file_hash, read_json, read_records, write_json, write_jsonl, write_manifest
from askguru_lib.data.leakage import Leak, check_leakage, sql_key
from askguru_lib.data.measuring import Lengths, Tally, load_tokenizer, token_counter
from askguru_lib.data.prompts import PromptOrder
from askguru_lib.data.sources import GROUPS, Original, read_sources, split
from askguru_lib.databases.m_schema import MSchema
from askguru_lib.errors import DataError

__all__ = ["AssemblyReport", "Leak", "assemble_dataset", "check_leakage"]

BATCH = 256
REASONS = ("malformed", "duplicate", "over_long", "question_in_validation", "rewritten_into_test")
"""Why a record or a sample is left out."""

BARREN_ROUNDS = 3
"""Rounds without a new sample after which a source counts as exhausted."""


@dataclass(frozen=True)
class AssemblyReport:
    """What was assembled.

    Attributes:
        train, validation: JSON Lines of training samples.
        counts: samples by side and task group.
        set_aside: records and samples left out, by reason.
        card: the data card.
        shortages: in words, where the sources could not give what the parameters ask for.
    """

    train: Path
    validation: Path
    counts: dict[str, dict[str, int]]
    set_aside: dict[str, int]
    card: Path
    shortages: list[str] = field(default_factory=list)


def assemble_dataset(
    dataset_config_path: str | Path,
    save_path: str | Path,
    *,
    config: RunConfig,
    test_sets: Sequence[str | Path] | None = None,
    executor: SQLRunner | None = None,
    tokenizer: Any = None,
) -> AssemblyReport:
    """Write ``train.jsonl``, ``val.jsonl``, ``over_long.jsonl``, ``rejected.jsonl`` and ``data_card.json``.

    Does nothing when the same inputs, parameters and code have assembled it before.

    Args:
        dataset_config_path: ``datasets.json``; its fields are those of :class:`~askguru_lib.data.sources.DatasetEntry`.
        save_path: folder to write to.
        config: total, mix, replay, augmentation, longest sample, model (for its tokenizer) and seed.
        test_sets: files of processed records that training must not share a question, a query or an unseen database
            with; by default every ``test_*.jsonl`` beside a source.
        executor: proves each rewritten query on its database; without it the rules are trusted.
        tokenizer: the model's by default.

    Raises:
        DataError: a source is unreadable, a task of the mix has no source, or a test set leaks into training.
        MissingArtifactError: the model's tokenizer is not there.
    """
    started = time.time()
    folder = Path(save_path)
    sources = read_sources(dataset_config_path, config.seed, config.databases.engine)
    tests = _test_files(test_sets, sources.paths.values())
    inputs = [Path(dataset_config_path), *sources.paths.values(), *tests.values()]
    fingerprint = _fingerprint(inputs, config, executor is not None)
    if done := _finished(folder, fingerprint):
        return done
    test_records = {name: read_records(path) for name, path in tests.items()}
    _refuse(check_leakage(_flat(sources.originals), test_records, config.databases.unseen), dataset_config_path)

    shares = {g: getattr(config.assembly, g) for g in GROUPS if getattr(config.assembly, g) > 0}
    _refuse_missing_tasks(shares, sources.originals, dataset_config_path)
    wanted = {"validation": round(config.assembly.total * config.assembly.validation_share)}
    wanted["train"] = config.assembly.total - wanted["validation"]
    cells = {}
    for group, n in _by_share(wanted["validation"], shares).items():
        cells[group, True] = round(n * config.assembly.replay_fraction)
        cells[group, False] = n - cells[group, True]
    train, validation = split(
        sources.originals, cells, config.assembly.validation_share, config.seed, set(config.databases.training)
    )
    lengths = token_counter(tokenizer or load_tokenizer(config.model.name_or_path))
    files = {"train": folder / "train.jsonl", "validation": folder / "val.jsonl"}
    parts = {}
    with (
        atomic(folder / "over_long.jsonl") as over_long,
        tqdm(total=config.assembly.total, desc="assembling", unit="sample", delay=2, file=sys.stderr) as bar,
    ):
        builder = _Builder(config, executor, lengths, over_long)
        builder.forbidden = {sql_key(r) for records in test_records.values() for r in records}
        builder.set_aside.update(sources.reasons)
        builder.set_aside["question_in_validation"] += len(sources.originals) - len(train) - len(validation)
        for side, originals in (("validation", validation), ("train", train)):
            parts[side] = builder.side(side, originals, wanted[side], shares, files[side], bar)
    write_jsonl(folder / "rejected.jsonl", sources.rejected)
    write_manifest(folder, inputs=inputs, parameters=_decisive(config), seed=config.seed, started=started)
    card = {
        "fingerprint": fingerprint,
        "seed": config.seed,
        "requested": config.assembly.model_dump(),
        "tokenizer": config.model.name_or_path,
        "max_length": config.training.max_length,
        **parts,
        "sha256": {side: file_hash(path) for side, path in files.items()},
        "set_aside": dict(builder.set_aside),
        "shortages": builder.shortages,
        "leakage": {"test_sets": {name: len(r) for name, r in test_records.items()}, "leaks": 0},
    }
    write_json(folder / "data_card.json", card)
    return _report(folder, card)


def _flat(originals: Iterable[Original]) -> Iterator[dict[str, Any]]:
    for o in originals:
        yield {**o.record, "sql_type": o.dialect, "id": f"{o.source}, record {o.number}"}


def _refuse(leaks: list[Leak], where: str | Path) -> None:
    if leaks:
        kinds = Counter(leak.kind for leak in leaks)
        found = ", ".join(f"{n} by {kind}" for kind, n in kinds.items())
        shown = leaks[0]
        raise DataError(
            f"a test set leaks into training ({found}); first: {shown.train_id} and {shown.test_set} {shown.test_id} "
            f"share {shown.text[:120]!r}",
            where=str(where),
            hint="take these records out of the sources, or out of the test set",
        )


def _refuse_missing_tasks(shares: Mapping[str, float], originals: Sequence[Original], where: str | Path) -> None:
    present = {o.group for o in originals}
    if missing := [g for g in shares if g not in present]:
        raise DataError(
            f"the mix asks for {', '.join(f'{shares[g]:.0%} {g}' for g in missing)}, but no source has such records",
            where=str(where),
            hint=f"add a source, or set assembly.{missing[0]} to 0 and raise the others",
        )


# -- drawing ------------------------------------------------------------------------------------------------------


class _Builder:
    """Draws, renders and checks samples; keeps count of what it left out."""

    def __init__(self, config: RunConfig, executor: SQLRunner | None, lengths: Lengths, over_long: IO[str]) -> None:
        self.config = config
        self.lengths = lengths
        self.augment = AugCompose.from_config(config.augmentation, executor, config.seed)
        self.forbidden: set[tuple[str, str]] = set()
        self.set_aside: Counter[str] = Counter(dict.fromkeys(REASONS, 0))
        self.over_long = over_long
        self.shortages: list[str] = []
        self._seen: set[bytes] = set()
        self._drawn: Counter[str] = Counter()

    def side(
        self, side: str, originals: Sequence[Original], total: int, shares: Mapping[str, float], path: Path, bar: tqdm
    ) -> dict[str, Any]:
        """Draw one side, write it in random order, and return its part of the data card."""
        spool: IO[bytes]
        with tempfile.TemporaryFile(dir=path.parent) as spool:
            places: dict[str, list[tuple[int, int]]] = {}
            target = self._affordable(side, originals, total, shares)
            quotas = _by_share(target, shares)
            for group, quota in quotas.items():
                places[group] = self._group(side, group, [o for o in originals if o.group == group], quota, spool, bar)
            if any(len(places[g]) < quota for g, quota in quotas.items()):
                reached = min(int(len(places[g]) / share + 1e-9) for g, share in shares.items())
                self.shortages.append(f"{side}: {reached} of {target} samples, so that the mix stays as asked for")
                quotas = {g: min(n, len(places[g])) for g, n in _by_share(min(reached, target), shares).items()}
            order = [place for g, n in quotas.items() for place in places[g][:n]]
            random.Random(f"{self.config.seed}/{side}/order").shuffle(order)
            tally = Tally(self.config.databases.training)
            with atomic(path) as out:
                for start, size in order:
                    spool.seek(start)
                    line = spool.read(size).decode()
                    tally.add(json.loads(line))
                    out.write(line)
        return tally.card(shares)

    def _affordable(self, side: str, originals: Sequence[Original], total: int, shares: Mapping[str, float]) -> int:
        """The largest total, at most the one asked for, that no task group is too small for."""
        capacity: Counter[str] = Counter()
        limits: Counter[str] = Counter(o.source for o in originals)
        entries = {o.source: o.entry for o in originals}
        for source, entry in entries.items():
            again = side == "train" and entry.augmented_share > 0
            most = total if again else limits[source]
            capacity[entry.group] += most if entry.sum_num is None else min(most, entry.sum_num)
        for group, share in shares.items():
            if capacity[group] < math.floor(total * share):
                self.shortages.append(
                    f"{side}: {group} has {capacity[group]} records for {round(total * share)} samples"
                )
        return min([total, *(math.ceil(capacity[g] / s) for g, s in shares.items())])

    def _group(
        self, side: str, group: str, originals: list[Original], quota: int, spool: IO[bytes], bar: tqdm
    ) -> list[tuple[int, int]]:
        """Draw one task group: first the share from training-only databases, then the rest."""
        replayed = [o for o in originals if o.database in self.config.databases.training]
        others = [o for o in originals if o.database not in self.config.databases.training]
        replay = round(quota * self.config.assembly.replay_fraction) if others else quota
        places = self._draw(side, f"{group}/replay", replayed, replay, spool, bar)
        if len(places) < replay:
            self.shortages.append(f"{side}: {group} has {len(places)} of {replay} samples from training-only databases")
        places += self._draw(side, f"{group}/target", others, quota - len(places), spool, bar)
        if len(places) < quota and replayed:
            self.shortages.append(f"{side}: {group} lacks {quota - len(places)} samples from other databases")
            places += self._draw(side, f"{group}/replay", replayed, quota - len(places), spool, bar)
        # Trimming a group from its end must not trim one kind of database.
        random.Random(f"{self.config.seed}/{side}/{group}").shuffle(places)
        return places

    def _draw(
        self, side: str, cell: str, originals: Sequence[Original], quota: int, spool: IO[bytes], bar: tqdm
    ) -> list[tuple[int, int]]:
        """Every original once, in random order, then augmented copies, round by round until the quota is met."""
        places: list[tuple[int, int]] = []
        copy = barren = 0
        while len(places) < quota and barren < BARREN_ROUNDS:
            drawn = [o for o in originals if self._may_draw(o, side, copy)]
            random.Random(f"{self.config.seed}/{side}/{cell}/{copy}").shuffle(drawn)
            before, start = len(places), 0
            while len(places) < quota and start < len(drawn):
                size = min(BATCH, quota - len(places))
                places += self._accept(side, drawn[start : start + size], copy, spool)
                start += size
            bar.update(len(places) - before)
            barren = 0 if len(places) > before else barren + 1
            copy += 1
        return places

    def _may_draw(self, original: Original, side: str, copy: int) -> bool:
        limit = original.entry.sum_num
        open_ = limit is None or self._drawn[original.source] < limit
        return open_ and (copy == 0 or (side == "train" and original.entry.augmented_share > 0))

    def _accept(
        self, side: str, originals: Sequence[Original], copy: int, spool: IO[bytes]
    ) -> Iterator[tuple[int, int]]:
        samples = [s for o in originals if (s := self._sample(side, o, copy)) is not None]
        limits = {o.source: o.entry.sum_num for o in originals}
        for sample, length in zip(samples, self.lengths([s["conversations"] for s in samples]), strict=True):
            sample["tokens"] = length
            limit = limits[sample["source"]]
            if length > self.config.training.max_length:
                self.set_aside["over_long"] += 1
                self.over_long.write(json.dumps(sample, ensure_ascii=False) + "\n")
            elif limit is None or self._drawn[sample["source"]] < limit:
                self._drawn[sample["source"]] += 1
                yield _append(spool, sample)

    def _sample(self, side: str, original: Original, copy: int) -> dict[str, Any] | None:
        """The training sample, or None when it says what another one already says."""
        rng = random.Random(f"{self.config.seed}/{original.source}/{original.number}/{copy}")
        record = original.record
        db_schema, sql = record["db_schema"], record["sql"]
        augment = side == "train" and (rng.random() < original.entry.augmented_share or copy > 0)
        if augment and (mschema := _parsed(db_schema)) is not None:
            before = Sample(
                mschema, sql, record["question"], record.get("evidence") or "", original.dialect, original.database
            )
            after = self.augment(before, rng)
            db_schema, sql = after.db_schema, after.sql
            if sql != record["sql"] and sql_key({**record, "sql": sql, "sql_type": original.dialect}) in self.forbidden:
                self.set_aside["rewritten_into_test"] += 1
                return None
        order: PromptOrder = self.config.model.prompt_order
        turns = original.turns(db_schema, sql, order, self.config.model.schema_links)
        if (key := hashlib.sha256(repr(turns).encode()).digest()) in self._seen:
            return None
        self._seen.add(key)
        return {
            "id": f"{original.source}-{original.number}" + (f"-{copy}" if copy else ""),
            "conversations": turns,
            "sql_type": original.dialect,
            "task": original.entry.task_name,
            "db_name": original.database,
            "question": record["question"],
            "sql": sql,
            "difficulty": record.get("difficulty") or "",
            "source": original.source,
            "augmented": (db_schema, sql) != (record["db_schema"], record["sql"]),
        }


def _append(spool: IO[bytes], sample: Mapping[str, Any]) -> tuple[int, int]:
    start = spool.seek(0, 2)
    return start, spool.write(json.dumps(sample, ensure_ascii=False).encode() + b"\n")


def _parsed(db_schema: str) -> MSchema | None:
    """The M-Schema; None for another format, such as a graph's."""
    try:
        return read_schema(db_schema)
    except DataError:
        return None


def _by_share(total: int, shares: Mapping[str, float]) -> dict[str, int]:
    """Whole numbers in these proportions that sum to ``total`` (largest remainders)."""
    whole = sum(shares.values())
    exact = {g: total * s / whole for g, s in shares.items()}
    counts = {g: math.floor(e + 1e-9) for g, e in exact.items()}
    for g in sorted(shares, key=lambda g: counts[g] - exact[g])[: total - sum(counts.values())]:
        counts[g] += 1
    return counts


# -- what was done already ----------------------------------------------------------------------------------------


def _test_files(given: Sequence[str | Path] | None, sources: Iterable[Path]) -> dict[str, Path]:
    folders = dict.fromkeys(p.resolve().parent for p in sources)
    paths = (
        [Path(p) for p in given] if given is not None else [f for d in folders for f in sorted(d.glob("test_*.jsonl"))]
    )
    return {p.stem: p for p in paths}


def _decisive(config: RunConfig) -> dict[str, Any]:
    """The parameters that decide what is assembled."""
    full = config.dump()
    chosen = {name: full[name] for name in ("seed", "databases", "augmentation", "assembly")}
    model = {name: full["model"][name] for name in ("name_or_path", "prompt_order", "schema_links")}
    return {**chosen, "model": model, "training": {"max_length": full["training"]["max_length"]}}


def _fingerprint(inputs: Sequence[Path], config: RunConfig, verified: bool) -> str:
    folder = model_folder(config.model.name_or_path)
    tokenizer = [file_hash(p) for p in sorted(folder.glob("*token*"))] if folder else []
    hashes = [file_hash(p) for p in inputs]
    code = [file_hash(p) for p in sorted(Path(__file__).parent.glob("*.py"))]
    parts = [askguru_lib.__version__, code, hashes, tokenizer, _decisive(config), verified]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _finished(folder: Path, fingerprint: str) -> AssemblyReport | None:
    card_path = folder / "data_card.json"
    if not card_path.is_file() or (card := read_json(card_path)).get("fingerprint") != fingerprint:
        return None
    report = _report(folder, card)
    files = {"train": report.train, "validation": report.validation}
    whole = all(path.is_file() and file_hash(path) == card["sha256"][side] for side, path in files.items())
    return report if whole else None


def _report(folder: Path, card: Mapping[str, Any]) -> AssemblyReport:
    counts = {side: {"samples": card[side]["samples"], **card[side]["by_group"]} for side in ("train", "validation")}
    return AssemblyReport(
        folder / "train.jsonl",
        folder / "val.jsonl",
        counts,
        card["set_aside"],
        folder / "data_card.json",
        card["shortages"],
    )
