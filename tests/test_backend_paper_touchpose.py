"""TouchPose in its publishers' layout, written small by hand and read back exactly."""

import numpy as np
import pytest

from backend.data.files import SLOT
from backend.data.paper import touchpose
from broker.errors import DataError
from tests.paper_sets import of, write_table


def touch_cells(subject):
    rng = np.random.default_rng(subject)
    return {
        "subject_id": [subject] * 5,
        "session_id": [1, 1, 2, 2, 2],
        "gesture_id": [65.0, 65.0, 65.0, 66.0, 66.0],
        "cap_img": [rng.integers(-50, 1500, (41, 72)).astype(float) for _ in range(5)],
        "depth_img": [np.full((41, 72), 20 * i, np.uint8) for i in range(5)],
    }


def test_touchpose(tmp_path, monkeypatch):
    cells = {subject: touch_cells(subject) for subject in (3, 11)}
    for subject, content in cells.items():
        write_table(tmp_path / "touchpose" / "data" / f"P{subject}.pkl", content, monkeypatch, old=subject == 3)
    found = touchpose.recordings(tmp_path)
    assert [r.person for r in found] == ["subject-3"] * 3 + ["subject-11"] * 3
    assert [r.name for r in found[:3]] == ["P3-3-1-65", "P3-3-2-65", "P3-3-2-66"]
    track, truth = of(found[2], "capacitance"), found[2].labels["depth-estimation"]
    assert (track.values.shape, track.values.dtype) == ((2, 32, 32, 1), np.float32)
    raw = np.clip(cells[3]["cap_img"][3] / 1400, 0, 1)
    assert abs(track.values[0].mean() - raw.mean()) < 0.01
    assert 0 <= track.values[:].min() <= track.values[:].max() <= 1
    assert np.allclose(truth.values[1], 0.08)
    assert np.isnan(found[0].labels["depth-estimation"].values[0]).all()  # level 0 is unknown
    assert (np.diff(track.t) == SLOT).all()
    constant = {**cells[3], "cap_img": [np.full((41, 72), 700.0)] * 5}
    write_table(tmp_path / "touchpose" / "data" / "P3.pkl", constant, monkeypatch)
    assert np.allclose(of(touchpose.recordings(tmp_path)[0], "capacitance").values[0], 0.5)
    for path in (tmp_path / "touchpose" / "data").glob("*.pkl"):
        path.write_bytes(b"garbage")
    for values in (track.values, truth.values):
        with pytest.raises(DataError, match=r"P3\.pkl"):
            values[0]


def test_touchpose_says_what_is_wrong(tmp_path, monkeypatch):
    cells, path = touch_cells(1), tmp_path / "P1.pkl"
    write_table(path, {name: column for name, column in cells.items() if name != "session_id"}, monkeypatch)
    with pytest.raises(DataError, match=r"P1\.pkl: column 'session_id' is missing"):
        touchpose.recordings(tmp_path)
    write_table(path, {**cells, "depth_img": [np.zeros((4, 7))] * 5}, monkeypatch)
    with pytest.raises(DataError, match=r"P1\.pkl: a frame is not 41 x 72 numbers"):
        of(touchpose.recordings(tmp_path)[0], "capacitance").values[0]
