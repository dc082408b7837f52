"""Whether what is published agrees with the simulated scene: the label of an event's window, the error of an estimate.

Truth is taken as training takes it: the label that covers most of the deciding window, where an event stands before
none, and of numbers the newest in it. Beside an estimate's error stands that of a constant answer: the mean of the
truth over other scenes of the kind, for the model does not know this one either. It knows nothing of the wire and of
what is shown.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from backend.data.recording import event_first
from backend.tasks import TASKS, Classification, Regression, Task
from broker.messages import Estimate, Event
from edge.clock import SECOND
from edge.simulator import Stage

Floats = NDArray[np.floating]

_WINDOW_NS = SECOND  # of every modality
_FRAME_NS = SECOND // 4  # the newest picture in a window of the simulator's cameras is this old at its end
_POINT_NS = SECOND // 20  # and the newest of a series' truth, in training
_MOMENTS, _EVERY_NS = 12, 7_300_000_000  # for the constant answer; no multiple of what a scene repeats


@dataclass(frozen=True)
class Error:
    """How far an estimate is off, and how far the constant answer, in the metric's unit."""

    off: float
    constant: float


class Judge:
    """The truth of a scene for some tasks.

    Args:
        stage: the scene.
        others: scenes of the same kind and other seeds, for the constant answers.
        tasks: by name, over the outputs that the model has.
    """

    def __init__(self, stage: Stage, others: Iterable[Stage], tasks: Mapping[str, Task]) -> None:
        self._stage, self.tasks = stage, tasks
        then, others = time.time_ns() - _EVERY_NS * np.arange(_MOMENTS, 0, -1), tuple(others)
        self._constant = {
            name: _mean(np.concatenate([_truth(other, task, then) for other in others]))
            for name, task in tasks.items()
            if isinstance(task, Regression)
        }

    def label(self, event: Event) -> str | None:
        """The scene's label for the window that decided; None where the scene knows nothing of the task."""
        task = TASKS[event.task] if event.task in self.tasks else None
        if not isinstance(task, Classification):
            return None
        end = end_ns(event.time)
        start = end - _WINDOW_NS
        if task.told_by:  # what the newest frame shows
            start, end = end - _FRAME_NS, end - _FRAME_NS + 1
        share = np.zeros((1, task.size), np.float32)
        for span in self._stage.spans(task.name, start, end):
            share[0, task.labels.index(span.label)] += (span.end - span.start) / (end - start)
        return task.labels[int(event_first(share, task.none_index).argmax())]

    def error(self, estimate: Estimate) -> Error | None:
        """How far an estimate is off; None where the truth is unknown, as of a hand that is out of view."""
        task = self.tasks.get(estimate.task)
        if not isinstance(task, Regression) or len(estimate.values) != task.size:
            return None
        behind = _POINT_NS if estimate.names else _FRAME_NS  # a map is that of a picture
        true = _truth(self._stage, task, np.array([end_ns(estimate.time) - behind]))
        said = np.array([estimate.values, self._constant[task.name]])
        off, constant = task.distances(said, np.repeat(true, 2, axis=0))
        return Error(float(off), float(constant)) if np.isfinite([off, constant]).all() else None

    def metric(self, name: str) -> tuple[str, str]:
        """What an error of a task is called (empty: a distance), and its unit: MAE and mm."""
        kind, _, unit = self.tasks[name].metric.rpartition("_")
        return ("" if kind == "error" else kind.upper()), unit


def end_ns(text: str) -> int:
    """When a window ended, ns UTC, from a message's time. Raises ValueError for what is no time."""
    return round(datetime.fromisoformat(text).timestamp() * 1000) * 1_000_000


def _truth(stage: Stage, task: Task, t_ns: NDArray[np.int64]) -> Floats:
    """(n, size) over the outputs that the model has."""
    return stage.truth(task.name, t_ns)[:, TASKS[task.name].columns(task.outputs)]


def _mean(true_ND: Floats) -> Floats:
    """(D,) mean of what is known; NaN where nothing ever is."""
    known_ND = np.isfinite(true_ND)
    count_D = known_ND.sum(0)
    total_D = np.where(known_ND, true_ND, 0.0).sum(0)
    return np.where(count_D > 0, total_D / np.maximum(count_D, 1), np.nan)
