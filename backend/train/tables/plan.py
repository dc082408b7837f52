"""What cells cost, before they are done: minutes on one core, from a cost for each window, decision and word.

The numbers were measured at the size "full" on one thread of a shared two-core machine; trust their ratios. How long
the rest of a run takes is corrected by how long its first cells took.
"""

from __future__ import annotations

from collections.abc import Iterable

from backend.data import DATASETS
from backend.train.config import TrainConfig
from backend.train.tables.cells import Cell
from backend.train.tables.columns import sets_of
from backend.train.tables.perturb import CONTEXT, LATE, NOISE

WINDOW_MS = {
    "imu": 0.5, "gps": 0.5, "gaze": 0.8, "pose": 1.0, "audio": 2.2, "image": 1.1, "video": 4.5, "depth": 1.0,
    "thermal": 1.0, "capacitance": 1.6, "camera": 1.2, "lidar": 1.5, "features": 0.5,
}  # fmt: skip
"""Of learning from one window; measuring costs a third."""
DECISION_MS, TASK_MS, ROW_MS = 0.27, 0.05, 0.27
"""Of fusing for one decision, for each of its tasks, and for each stream beyond the first."""
STEP_MS, SENSE_MS, LIGHT_MS = 40.0, 18.0, 9.0
"""Of a step, and of each sense's weights in it, since averages and the optimiser go tensor by tensor; of a step where
all windows are tokens already.
"""
STREAMS = {
    "synthetic": {"imu": 5},
    "synthetic_touch": {"imu": 2, "image": 2, "depth": 2},
    "sp_sw_har": {"imu": 2},
}
"""Streams of a sense, where it has several."""
KEPT = 0.7
"""Share of streams that modality dropout leaves."""
READ_S = {"synthetic": 2.2, "synthetic_touch": 1.7, "synthetic_drive": 1.6, "utd_mhad": 60.0, "capfingerid": 60.0}
"""Of a simulated person, or a recorded set."""
PARAMETER_US = 0.12e-3
"""Of one parameter of a language model for one token, learning."""
TOKENS_MS = 0.03
"""Of one window that is tokens already."""
BEGIN_S = 2.0
"""Of building a model and reading windows."""


def minutes(cell: Cell) -> float:
    """What a cell is expected to take on one core."""
    return _seconds(cell) / 60


def _seconds(cell: Cell) -> float:
    options = cell.options or {}
    if cell.kind == "prepare":
        return READ_S.get(options["dataset"], 20.0) * float(options["last"] - options["first"])
    config = cell.config or (cell.base.config if cell.base else None)
    assert config is not None
    if cell.kind == "domain":
        return BEGIN_S + (14.0 if DATASETS[cell.columns[0].dataset].unseen else 3.0)
    seen, shown = cell.seen_by is not None, _measuring(cell, config, True)
    if cell.kind == "encode":
        return BEGIN_S + (_measuring(cell, config, False) - shown) / TESTED
    if cell.kind == "disturb":
        senses = len(config.model.modalities)
        rounds = 1 + len(CONTEXT) + len(LATE) + (senses if senses > 1 else 0) / 2
        return BEGIN_S + (rounds * shown + len(NOISE) * _measuring(cell, config, False)) / 2
    measuring = BEGIN_S + (shown if seen else _measuring(cell, config, False))
    if cell.config is None:
        return measuring
    return measuring + config.steps * step_ms(config, sets_of(cell.columns), seen) / 1000


TESTED = 0.45
"""Share of the people who are measured: those of the test, and those who calibrate."""


def _measuring(cell: Cell, config: TrainConfig, seen: bool) -> float:
    """Seconds of measuring the test people, and those who calibrate."""
    total = 0.0
    for name in sets_of(cell.columns):
        simulated = DATASETS[name].unseen is not None
        people = cell.amount.people * TESTED if simulated else 8
        slots = 2 * cell.amount.seconds if simulated else cell.amount.slots
        window = sum(_streams(config, name, seen))
        total += people * slots * (window / 3 + _decision_ms(config, 3.0) / 2) / 1000
    return total * (2 if (cell.options or {}).get("floors") else 1)


def _streams(config: TrainConfig, dataset: str, seen: bool) -> list[float]:
    """The cost of each stream's window; `seen`: an encoder has made tokens of it."""
    held = [m for m in DATASETS[dataset].modalities if m in config.model.modalities]
    return [TOKENS_MS if seen else WINDOW_MS[m] for m in held for _ in range(STREAMS.get(dataset, {}).get(m, 1))]


def _decision_ms(config: TrainConfig, rows: float) -> float:
    tasks = len(config.model.tasks)
    found = DECISION_MS + TASK_MS * tasks + ROW_MS * (rows - 1)
    language = config.model.language
    if language is not None:
        words = tasks + 1 + (config.model.soft_tokens if language.conditioning == "soft" else 0)
        found += PARAMETER_US * parameters(language.architecture) / 1000 * words
    return found


def parameters(architecture: dict[str, object]) -> float:
    """Parameters of the layers of a language model, about: word embeddings cost nothing here."""
    width, layers = (float(str(architecture.get(k, 0))) for k in ("hidden_size", "num_hidden_layers"))
    inner = float(str(architecture.get("intermediate_size", 4 * width)))
    return layers * (4 * width * width + 3 * width * inner)


def step_ms(config: TrainConfig, sets: Iterable[str], seen: bool = False) -> float:
    """Milliseconds of one step of training; `seen`: all windows are tokens already."""
    each, slots = [], config.crops * config.slots
    for name in sets:
        streams = _streams(config, name, seen)
        mean = sum(streams) / max(len(streams), 1)
        kept = 1.0 + (min(len(streams), config.drop.most) - 1) * KEPT
        each.append(slots * mean * kept + (config.decisions or slots) * _decision_ms(config, kept))
    mean = sum(each) / max(len(each), 1)
    return mean + (LIGHT_MS if seen else STEP_MS + SENSE_MS * len(config.model.modalities))
