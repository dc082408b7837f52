"""The paper's own numbers (IoT-LM, 2024), by table and row: shown beside ours, never claimed.

They come from other data, larger models and other splits. Columns are in the order of `columns.TASK_NAMES`: gaze cm,
depth mm, gesture %, pose cm, touch %, events %, activity %, 3D mm; None where the paper has none.
"""

from __future__ import annotations

from backend.train.tables.columns import TASK_NAMES

Row = tuple[float | None, ...]

TABLE_1: dict[str, Row] = {
    "domain-specific": (3.76, 40.9, 68.2, 10.86, 52.6, 59.3, 48.5, 35.6),
    "unimodal": (2.26, 20.7, 97.3, 6.49, 88.0, 86.9, 79.2, 22.2),
    "unimodal adapter": (2.05, 18.6, 97.6, 5.75, 88.7, 87.5, 82.3, 21.3),
    "unimodal multi-task": (1.95, 18.2, 98.2, 5.36, 89.3, 88.1, 82.5, 20.5),
    "multisensory": (1.79, 17.3, 98.7, 4.62, 91.2, 89.1, 83.5, 19.6),
    "multisensory multi-task": (1.08, 13.6, 99.3, 3.85, 93.8, 92.7, 87.5, 17.5),
    "IoT-LM": (0.95, 11.5, 99.6, 3.24, 94.6, 93.8, 89.2, 16.3),
}

TABLE_2: dict[str, Row] = {
    "single": (1.38, 15.1, 98.1, 5.07, 91.9, 91.8, 86.3, 18.7),
    "25 %": (1.25, 14.3, 98.4, 4.63, 92.5, 92.2, 86.7, 18.3),
    "50 %": (1.12, 13.2, 98.9, 4.15, 93.2, 92.5, 87.2, 17.9),
    "all": (1.08, 12.9, 99.2, 3.76, 93.5, 92.9, 88.1, 17.5),
}

TABLE_3: dict[str, Row] = {
    "single": (1.38, 15.1, 98.1, 5.07, 91.9, 91.8, 86.3, 18.7),
    "25 %": (1.29, 14.5, 98.3, 4.86, 92.2, 92.1, 86.7, 18.4),
    "50 %": (1.22, 13.8, 98.6, 4.52, 92.6, 92.5, 87.2, 18.0),
    "all": (1.13, 13.1, 99.1, 4.23, 93.1, 92.8, 87.8, 17.5),
}


def _gaze_and_touch(gaze: float, touch: float) -> Row:
    return (gaze, None, None, None, touch, None, None, None)


TABLE_4: dict[str, Row] = {
    "multisensory, trained on it": _gaze_and_touch(1.08, 93.5),
    "multi-task, trained on it": _gaze_and_touch(1.03, 94.1),
    "IoT-LM, 0 shots": _gaze_and_touch(1.25, 92.3),
    "IoT-LM, 5 shots": _gaze_and_touch(1.21, 92.5),
    "IoT-LM, 10 shots": _gaze_and_touch(1.13, 92.9),
    "IoT-LM, 20 shots": _gaze_and_touch(1.06, 93.6),
}

TABLE_5: dict[str, Row] = {
    "7 B": (1.03, 12.7, 99.4, 3.56, 94.1, 93.1, 88.3, 17.1),
    "13 B": (0.98, 11.3, 99.5, 3.42, 94.3, 93.3, 88.5, 16.6),
    "70 B": (0.95, 11.5, 99.6, 3.24, 94.6, 93.8, 89.2, 16.3),
}
"""By parameters of the language model: 7 to 70 billion."""

PAPER: dict[str, dict[str, Row]] = {"1": TABLE_1, "2": TABLE_2, "3": TABLE_3, "4": TABLE_4, "5": TABLE_5}


def value(table: str, row: str, task: str) -> float | None:
    """The paper's number for a task, in its unit (cm, mm, per cent), or None."""
    numbers = PAPER.get(table, {}).get(row)
    return None if numbers is None else numbers[list(TASK_NAMES).index(task)]
