"""Calls of `backend data`, and recordings made by hand, for the tests of its commands."""

import numpy as np
from typer.testing import CliRunner

from backend.cli import app
from backend.data import DATASETS, Recording, Segments, Track
from backend.data.files import one_a_slot
from backend.tasks import TASKS
from edge.clock import SECOND
from edge.simulator import SCENES
from edge.windows import Stream

SIMULATED = dict(zip(("synthetic", "synthetic_drive", "synthetic_touch"), SCENES, strict=True))


def call(*arguments):
    return CliRunner().invoke(app, ["data", *map(str, arguments)], env={"COLUMNS": "300"})


def track(modality, values, rate, device="d", scale=1.0):
    t = np.arange(len(values), dtype=np.int64) * SECOND // rate + SECOND
    return Track(device, Stream(modality, modality, "room"), t, values, scale)


def watch(unit=9.81, seconds=20, person="a", **changes):
    """Somebody whose watch lies still, and who is seated, walks, and so on through all labels of sp_sw_har."""
    values = np.tile(np.float32([0, 0, unit, 0.1, 0, 0]), (seconds * 100, 1))
    labels = list(DATASETS["sp_sw_har"].tasks["activity-recognition"])
    index = np.array([TASKS["activity-recognition"].outputs.index(label) for label in labels])
    edges = SECOND + np.arange(len(labels) + 1, dtype=np.int64) * (seconds * SECOND // len(labels))
    about = {"name": f"{person}_1", "dataset": "sp_sw_har", "person": person, "tracks": (track("imu", values, 100),)}
    return Recording(**{**about, "labels": {"activity-recognition": Segments(edges, index)}, **changes})


def touched(masks):
    """A panel of 5 x 6 cells with a mask for each frame."""
    frames = np.full((len(masks), 5, 6, 1), 300, np.int16)
    stream = Stream("capacitance", "capacitance", "table", size=(5, 6))
    panel = Track("panel", stream, one_a_slot(len(masks)), frames, 1 / 512)
    return Recording("a", "capcontact", "a", (panel,), {}, masks={"contact-mask": masks})
