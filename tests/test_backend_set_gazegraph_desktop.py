"""gazegraph_desktop: a small copy, and the recordings at hand."""

import pytest

from backend.data import (
    gazegraph_desktop,
)
from backend.tasks import TASKS
from edge.clock import SECOND
from tests.small_sets import read, written


def test_gazegraph_desktop_has_an_activity_a_recording(tmp_path):
    written(tmp_path, "gazegraph_desktop")
    found = read(tmp_path, "gazegraph_desktop")
    outputs = TASKS["activity-recognition"].outputs
    said = {r.name: outputs[int(r.labels["activity-recognition"].index[0])] for r in found}
    assert said == {f"P1_{name.removeprefix('desktop-')}": name for name in gazegraph_desktop.LABELS}
    points = {r.name: r.tracks[0].values[0].tolist() for r in found}
    where = {name: gazegraph_desktop.LABELS.index(label) for name, label in said.items()}
    assert points == {name: [at, 1 - at] for name, at in where.items()}  # the publishers' y goes up


def test_gazegraph_desktop_on_record(data_dir):
    found = read(data_dir, "gazegraph_desktop")
    assert len(found) == 6 * len({r.person for r in found})
    assert all((r.tracks[0].t[-1] - r.tracks[0].t[0]) / SECOND == pytest.approx(300, abs=1) for r in found)
