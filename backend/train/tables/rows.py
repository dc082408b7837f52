"""The rows of the tables: each a function from one base configuration to what its model is trained with.

Baselines are recipes of the same loop (section 4.1, Appendix B): they differ in senses, tasks and stages, and in
nothing else. Steps go with the number of sets, since one crop teaches all tasks of its set: a model of many tasks sees
each set as often as a model of one. It knows nothing of tables or files.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from collections.abc import Sequence as Many
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from backend.model.encoders import ENCODERS
from backend.model.sensorlm import ModelConfig
from backend.recipes import VARIED
from backend.tasks import TASKS
from backend.train.batch import DropConfig
from backend.train.config import TrainConfig
from backend.train.tables.columns import Column, of_world, senses_of, sets_of, told_by
from backend.train.tables.people import Amount

FOLDS = 3
"""The test people of seed s are fold s of three: three seeds leave out everybody once."""
RATIOS = {"25 %": 0.25, "50 %": 0.5}
LONGER = 4
"""So many times the steps of Table 1 learn rows that are to show whether their steps were enough."""


@dataclass(frozen=True)
class Size:
    """How large everything is. `encoding` steps of the encoders, of `most` streams of a crop, `steps` of a row above
    them and `second` of stage 2 for each set; `adapting` of few `shots`. A crop has `slots` slots, and a decision sees
    as many.

    `sets` are those that are measured at all; none given: all that there are.
    """

    name: str
    amount: Amount
    seeds: int
    encoding: int
    steps: int
    second: int
    adapting: int
    dim: int
    crops: int
    slots: int
    most: int
    shots: tuple[int, ...] = (0, 5, 10, 20)
    sets: tuple[str, ...] = ()
    encoders: Mapping[str, dict[str, Any]] = field(default_factory=dict)

    def columns(self, world: str) -> tuple[Column, ...]:
        """The columns of a world that are measured; raises ConfigError for an unknown one."""
        return tuple(one for one in of_world(world) if one.dataset in self.sets or not self.sets)


NARROW: dict[str, dict[str, Any]] = {
    "audio": {"bands": 32, "width": 8},
    "image": {"size": [32, 32], "width": 8},
    "video": {"size": [24, 24], "width": 8},
    "depth": {"size": [24, 32], "width": 8},
    "thermal": {"size": [24, 32], "width": 8},
    "capacitance": {"width": 8},
    "camera": {"size": [24, 48], "width": 8},
    "lidar": {"size": [16, 64], "width": 8},
}
"""Encoders of pictures and sound, at about a third of the usual cost."""
FULL = Size(
    "full", Amount(42, 32, 240), seeds=3, encoding=600, steps=300, second=120, adapting=25, dim=64, crops=12, slots=4,
    most=3, encoders=NARROW,
)  # fmt: skip
SMOKE = Size(
    "smoke", Amount(6, 8, 16), seeds=1, encoding=2, steps=2, second=1, adapting=1, dim=16, crops=2, slots=2, most=3,
    shots=(0, 5), sets=("synthetic_touch", "eyemu_gaze", "capfingerid"),
    encoders={name: {**options, "width": 4} for name, options in NARROW.items()},
)  # fmt: skip


def base(size: Size, columns: Many[Column], senses: Iterable[str], seed: int) -> TrainConfig:
    """What every row is derived from: a model of these senses that answers these columns."""
    sets, asked = sets_of(columns), set(senses)
    tasks = tuple(name for name in TASKS if any(one.task == name for one in columns))
    outputs = {}
    for task in tasks:
        named = [one.outputs for one in columns if one.task == task]
        if all(named):
            outputs[task] = tuple(name for name in TASKS[task].outputs if any(name in names for names in named))
    model = ModelConfig(
        modalities=tuple(m for m in ENCODERS if m in asked),
        tasks=tasks,
        dim=size.dim,
        slots=size.slots - 1,  # a crop shows no row older than that: how one bears on now would not be learned
        outputs=outputs,
        encoders={m: options for m, options in size.encoders.items() if m in asked},
        focused=True,
    )
    return TrainConfig(
        "tables",
        dict.fromkeys(sets, 1.0),
        model,
        steps=size.steps * len(sets),
        crops=size.crops,
        slots=size.slots,
        smoothing=0.05,
        auxiliary=0.0,
        folds=FOLDS,
        fold=seed % FOLDS,
        seed=seed,
        save_every=100,
        bf16=False,
        device="cpu",
        varied={name: varied for name, varied in VARIED.items() if name in sets},
        drop=DropConfig(most=99),  # of a dozen streams, three would seldom be the task's own
    )


def encoders(size: Size, columns: Many[Column], seed: int) -> TrainConfig:
    """All tasks from all senses, for the encoders' sake: each sense answers for itself at every slot, all at a few."""
    config = base(size, columns, senses_of(columns), seed)
    decisions, drop = size.crops * size.slots // 3, DropConfig(most=size.most)
    return replace(config, steps=size.encoding * len(config.datasets), auxiliary=1.0, decisions=decisions, drop=drop)


def unimodal(size: Size, column: Column, seed: int) -> TrainConfig:
    """One task from its main sense (B.1)."""
    return base(size, (column,), (column.main,), seed)


def unimodal_multitask(size: Size, column: Column, columns: Many[Column], seed: int) -> TrainConfig:
    """All tasks that the column's main sense is enough for, from that sense (B.3)."""
    return base(size, told_by(column.main, columns), (column.main,), seed)


def multisensory(size: Size, column: Column, seed: int) -> TrainConfig:
    """One task from all its senses (B.4)."""
    return base(size, (column,), column.senses, seed)


def multisensory_multitask(size: Size, columns: Many[Column], seed: int, steps: int = 0) -> TrainConfig:
    """All tasks from all senses (B.5), with `steps` for each set, or those of every row."""
    config = base(size, columns, senses_of(columns), seed)
    return replace(config, steps=steps * len(sets_of(columns))) if steps else config


def some_senses(size: Size, column: Column, ratio: float, seed: int) -> TrainConfig:
    """One task from a share of its senses: the main one and others in an order drawn by seed, so that shares nest."""
    rng = np.random.default_rng([seed, 81, *column.name.encode()])
    order = (column.main, *rng.permutation(column.senses[1:]).tolist())
    return base(size, (column,), order[: max(1, round(ratio * len(order)))], seed)


def task_groups(columns: Many[Column], ratio: float, seed: int) -> list[tuple[Column, ...]]:
    """The columns in groups of about this share of them, in an order drawn by seed: groups of a half are two quarters.

    Every column is in one group, which keeps the number of models small.
    """
    order = np.random.default_rng([seed, 82]).permutation(len(columns))
    quarters = [chunk for chunk in np.array_split(order, 4) if len(chunk)]
    joined = (
        quarters
        if ratio <= RATIOS["25 %"]
        else [np.concatenate(quarters[i : i + 2]) for i in (0, 2) if quarters[i : i + 2]]
    )
    return [tuple(columns[i] for i in sorted(group.tolist())) for group in joined]


def some_tasks(size: Size, group: Many[Column], seed: int) -> TrainConfig:
    """Some tasks, each from all its senses."""
    return base(size, group, senses_of(group), seed)
