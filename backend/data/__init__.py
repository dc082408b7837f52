"""The datasets, written out: adding one is a file and a row here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from backend.data import esc10, sp_sw_har, synthetic
from backend.data.recording import Recording, Recordings, Sequence, Series, sequence


@dataclass(frozen=True)
class Dataset:
    """How a set of recordings is read, and what may be said of it.

    `read(root)` takes the set's folder or its parent, warns of what it skips, and raises DataError, which names the
    file, for what it cannot read; `unseen(root)` is what to measure on, for a set that makes its own people.
    `modalities` of its streams; `tasks`: what it is measured by; `unit` names what a "person" is; `pooled`: a whole
    recording is one decision.
    """

    modalities: tuple[str, ...]
    tasks: tuple[str, ...]
    read: Callable[[Path], Recordings]
    licence: str
    unit: str
    unseen: Callable[[Path], Recordings] | None = None
    pooled: bool = False


_ACTIVITY, _EVENTS = "activity-recognition", "event-detection"

DATASETS: dict[str, Dataset] = {
    "sp_sw_har": Dataset(("imu",), (_ACTIVITY,), sp_sw_har.recordings, "CC BY 4.0", "person"),
    "esc10": Dataset(("audio",), (_EVENTS,), esc10.recordings, "CC BY 3.0", "source recording", pooled=True),
    "synthetic": Dataset(
        ("imu", "audio"), (_ACTIVITY, _EVENTS), synthetic.training, "generated", "seed", synthetic.unseen
    ),
}

__all__ = ["DATASETS", "Dataset", "Recording", "Recordings", "Sequence", "Series", "sequence"]
