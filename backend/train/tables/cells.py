"""A cell: one thing to do for the tables, done once. It is trained or measured in a folder of its own, and resumable.

A cell is what it is made of: its digest covers its configuration, its columns, the people and the cell that it starts
from. A cell whose `result.json` has the same digest is not done again. What a row means is `rows`' business, which
cells there are that of `declared`.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Callable, Iterable, Mapping
from collections.abc import Sequence as Many
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from backend.checkpoint import load_checkpoint
from backend.data.recording import Sequence
from backend.model.sensorlm import SensorModel
from backend.train.config import TrainConfig
from backend.train.source import Split, split
from backend.train.state import METRICS, STATE
from backend.train.tables.columns import Column, sets_of
from backend.train.tables.domain import fitted
from backend.train.tables.learn import Report, keep, learn
from backend.train.tables.measure import (
    Calibration,
    Said,
    answers,
    by_person,
    calibrated,
    calibration_errors,
    constant,
    shuffled,
)
from backend.train.tables.people import Amount, People, files_of, heard, save, sensed, shots
from backend.train.tables.perturb import disturbances
from backend.train.tables.tokens import encoded
from broker.errors import CheckpointError

RESULT = "result.json"
CELLS = 3
"""Counts up where a cell of the same configuration would come to another result."""


@dataclass(frozen=True, eq=False)
class Cell:
    """`kind` is one of KINDS; `table`, `row`, `world`, `group` and `seed` say where its folder stands.

    `base` is the cell whose checkpoint it starts from or measures, `encoders` the one whose encoders it begins with;
    `options` are the kind's own, plain values.
    """

    kind: str
    table: str
    row: str
    world: str
    group: str
    seed: int
    columns: tuple[Column, ...]
    amount: Amount
    config: TrainConfig | None = None
    base: Cell | None = None
    options: Mapping[str, Any] | None = None
    encoders: Cell | None = None

    @property
    def seen_by(self) -> Cell | None:
        """The cell whose encoders make tokens of its windows; None where it sees windows."""
        if self.kind not in ("train", "few") or (self.options or {}).get("windows"):
            return None
        return self.encoders or (self.base.seen_by if self.base else None)

    @cached_property
    def digest(self) -> str:
        """What the result depends on; where the folder stands is no part of it."""
        config = None if self.config is None else self.config.to_json()
        if config and (language := config["model"].get("language")):
            language.pop("llm")  # its architecture and fingerprint say which it is, wherever it lies
        made = {
            "version": CELLS,
            "kind": self.kind,
            "config": config,
            "columns": [asdict(one) for one in self.columns],
            "amount": asdict(self.amount),
            "seed": self.seed,
            "base": None if self.base is None else self.base.digest,
            "encoders": None if self.encoders is None else self.encoders.digest,
            "options": dict(self.options or {}),
        }
        return hashlib.sha256(json.dumps(made, sort_keys=True).encode()).hexdigest()

    def folder(self, out: Path) -> Path:
        """Where it is done."""
        return out.joinpath("cells", *map(_slug, (self.table, self.row, self.world, self.group)), str(self.seed))

    @property
    def title(self) -> str:
        """What a line on the console says."""
        return f"table {self.table}, {self.row}, {self.world}, {self.group}, seed {self.seed}"

    def result(self, out: Path) -> dict[str, Any] | None:
        """What it came to, if it is done."""
        try:
            found: dict[str, Any] = json.loads((self.folder(out) / RESULT).read_text())
        except (OSError, ValueError):
            return None
        return found if found.get("digest") == self.digest else None


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9@_+]+", "-", name.lower()).strip("-") or "all"


@dataclass(frozen=True)
class Work:
    """What a process has to do cells with: the folder of the tables, and the people."""

    out: Path
    people: People


def do(cell: Cell, work: Work, report: Report) -> dict[str, Any]:
    """The cell's result, computed unless it is there. Raises KeyboardInterrupt where training is interrupted."""
    if (there := cell.result(work.out)) is not None:
        return there
    folder = cell.folder(work.out)
    folder.mkdir(parents=True, exist_ok=True)
    _forget_others(cell, folder)
    began = time.monotonic()
    cpu = time.process_time()
    result = {"digest": cell.digest, **KINDS[cell.kind](cell, work, report)}
    result |= {"minutes": round((time.monotonic() - began) / 60, 3), "cpu": round((time.process_time() - cpu) / 60, 3)}
    part = folder / f"{RESULT}.part"
    part.write_text(json.dumps(result) + "\n")
    part.replace(folder / RESULT)
    return result


def _forget_others(cell: Cell, folder: Path) -> None:
    """Remove what a cell of another digest has left in the folder: it would be resumed as if it were this one's."""
    mark = folder / "digest"
    if not mark.is_file() or mark.read_text() != cell.digest:
        for name in (STATE, METRICS, RESULT):
            (folder / name).unlink(missing_ok=True)
        mark.write_text(cell.digest)


def prepare(cell: Cell, work: Work, report: Report) -> dict[str, Any]:
    """Read or render some of a set's people, for the cells that use them."""
    assert cell.options is not None
    numbers = range(files_of(cell.options["dataset"], cell.amount))[cell.options["first"] : cell.options["last"]]
    for number in numbers:
        work.people.prepare(cell.options["dataset"], number)
    return {}


def encode(cell: Cell, work: Work, report: Report) -> dict[str, Any]:
    """A set as the base's encoders see it, for the cells that learn above them."""
    assert cell.base is not None
    (column,) = cell.columns
    sequences = encoded(_model_of(cell.base, work), work.people.of(column.dataset, column.variant))
    save(sequences, work.people.tokens(cell.base.digest, column.dataset, column.variant))
    return {}


def domain(cell: Cell, work: Work, report: Report) -> dict[str, Any]:
    """Hand-made statistics and a forest or a ridge, on one column."""
    (column,) = cell.columns
    of = _roles(cell, work, column.dataset)
    said, other = fitted(column, of.train, of.validation, of.test, cell.seed)
    calibration = Calibration() if other is None else calibrated(column, other)
    return {"columns": {column.name: {"people": by_person(column, said, calibration), "windows": len(said.true)}}}


def train(cell: Cell, work: Work, report: Report) -> dict[str, Any]:
    """Train on the columns' sets, and measure on the people left out."""
    assert cell.config is not None
    config, folder = cell.config, cell.folder(work.out)
    if cell.base is not None:
        config = replace(config, start=str(cell.base.folder(work.out)))
    cut = {name: _sensed(_roles(cell, work, name).train, config, cell.columns) for name in sets_of(cell.columns)}
    encoders = None if cell.encoders is None else _model_of(cell.encoders, work)
    model, seconds = learn(config, cut, folder, report, encoders)
    found = measured(cell, work, model)
    keep(model, config, folder)
    return {"columns": found, "seconds": round(seconds, 1), "steps": config.steps, **_size(model)}


def measured(cell: Cell, work: Work, model: SensorModel) -> dict[str, Any]:
    """By column, what a cell's model does on the people left out, calibrated on those of validation.

    Where a set is so small that validation has nobody, calibration uses those that it learned from, and says so.
    """
    assert cell.config is not None
    found: dict[str, Any] = {}
    for name in sets_of(cell.columns):
        of, mine = _roles(cell, work, name), [one for one in cell.columns if one.dataset == name]
        told = of.validation or of.train
        said = answers(model, _heard(told, cell.config, mine), mine)
        calibration = {c.name: calibrated(c, said[c.name]) if c.name in said else Calibration() for c in mine}
        test = _heard(of.test, cell.config, mine)
        said = answers(model, test, mine)
        for column in mine:
            if column.name in said and len(said[column.name].true):
                found[column.name] = _told(column, said[column.name], calibration[column.name])
                found[column.name]["calibrated_on"] = "validation" if of.validation else "train"
                found[column.name]["constant"] = constant(column, of.train, said[column.name])
        if (cell.options or {}).get("floors"):
            chance = answers(model, shuffled(test, cell.seed), mine)
            for column in mine:
                if column.name in found and column.name in chance:
                    people = by_person(column, chance[column.name], calibration[column.name])
                    found[column.name]["shuffled"] = people
    return found


def few(cell: Cell, work: Work, report: Report) -> dict[str, Any]:
    """A model that never saw the column's set (or device): as it is, or after a few labelled windows of it."""
    assert cell.base is not None and cell.base.config is not None
    (column,) = cell.columns
    of, count = _roles(cell, work, column.dataset), int((cell.options or {})["shots"])
    model = _model_of(cell.base, work)
    told: list[Sequence] = []
    if count:
        assert cell.config is not None
        config = replace(cell.config, start=str(cell.base.folder(work.out)))
        told = shots(_sensed(of.train, config, cell.columns), column.task, count, config.model.slots, cell.seed)
        model, _ = learn(config, {column.dataset: told}, cell.folder(work.out), report)
        (cell.folder(work.out) / STATE).unlink(missing_ok=True)
    test = _heard(of.test, cell.base.config, cell.columns)
    said = answers(model, test, cell.columns)
    found = {name: _told(column, one, Calibration()) for name, one in said.items() if len(one.true)}
    return {"columns": found, "windows": len(told)}


def disturb(cell: Cell, work: Work, report: Report) -> dict[str, Any]:
    """Appendix D, and the gate beside removal, of the base's checkpoint."""
    assert cell.base is not None and cell.base.config is not None
    model, kept = _model_of(cell.base, work), _kept(cell.base, work)
    conditions: dict[str, dict[str, Any]] = {}
    gates: dict[str, Any] = {}
    for name in sets_of(cell.columns):
        mine = [one for one in cell.columns if one.dataset == name]
        test = _heard(_roles(cell, work, name).test, cell.base.config, mine)
        found, told = disturbances(model, test, mine, kept, cell.seed)
        for condition, columns in found.items():
            conditions.setdefault(condition, {}).update(columns)
        gates |= told
    return {"conditions": conditions, "gate": gates}


def silence(cell: Cell, work: Work, report: Report) -> dict[str, Any]:
    """The base's checkpoint with its language model taken out, calibrated anew, on the same people."""
    assert cell.base is not None
    _done(cell.base, work)
    model = load_checkpoint(cell.base.folder(work.out), "none").model
    return {"columns": measured(cell.base, work, model), **_size(model), "learned": 0}


KINDS: dict[str, Callable[[Cell, Work, Report], dict[str, Any]]] = {
    "prepare": prepare,
    "encode": encode,
    "domain": domain,
    "train": train,
    "few": few,
    "disturb": disturb,
    "silence": silence,
}


def _roles(cell: Cell, work: Work, dataset: str) -> Split[Sequence]:
    config = cell.config or (cell.base.config if cell.base else None)
    assert config is not None
    (variant,) = {one.variant for one in cell.columns if one.dataset == dataset}
    if cell.seen_by is None:
        return split(work.people.of(dataset, variant), config)
    return split(work.people.seen_by(cell.seen_by.digest, dataset, variant), config)


def _sensed(sequences: Iterable[Sequence], config: TrainConfig, columns: Many[Column]) -> list[Sequence]:
    """With the senses that the model has and the truths of these columns of their set."""
    found = []
    for one in sequences:
        tasks = [column.task for column in columns if column.dataset == one.dataset]
        if (left := sensed(one, config.model.modalities, tasks)) is not None:
            found.append(left)
    return found


def _heard(sequences: Iterable[Sequence], config: TrainConfig, columns: Many[Column]) -> list[Sequence]:
    """As `_sensed`, to be measured on."""
    return _sensed((heard(one, columns) for one in sequences), config, columns)


def _size(model: SensorModel) -> dict[str, int]:
    """Parameters that answers go through, and those of them that learned."""
    used = [p for name, p in model.named_parameters() if not name.startswith("unimodal.")]
    return {
        "parameters": sum(p.numel() for p in used),
        "learned": sum(p.numel() for p in used if p.requires_grad),
    }


def _told(column: Column, said: Said, calibration: Calibration) -> dict[str, Any]:
    return {
        "people": by_person(column, said, calibration),
        "windows": len(said.true),
        "ece": calibration_errors(column, said, calibration),
        "calibration": asdict(calibration),
    }


def _kept(base: Cell, work: Work) -> dict[str, Calibration]:
    """By column, how the base was calibrated."""
    result = _done(base, work)
    return {name: Calibration(**one["calibration"]) for name, one in result["columns"].items()}


def _model_of(base: Cell, work: Work) -> SensorModel:
    _done(base, work)
    language = base.config.model.language if base.config else None  # it may lie elsewhere by now
    llm = None if language is None or language.kept else language.llm
    return load_checkpoint(base.folder(work.out), llm).model


def _done(base: Cell, work: Work) -> dict[str, Any]:
    if (found := base.result(work.out)) is None:
        raise CheckpointError(f"{base.folder(work.out)}: {base.title} is not done, and another cell starts from it")
    return found
