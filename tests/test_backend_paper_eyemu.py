"""EyeMU in its publishers' layout, written small by hand and read back exactly."""

import numpy as np
import pytest

from backend.data.paper import eyemu
from backend.data.recording import sequence
from broker.errors import DataError
from edge.clock import SECOND
from edge.simulator.geometry import axis_angle, rotation
from tests.paper_sets import label, of, write_table


def eyemu_trials(m=30, n=180):
    rng = np.random.default_rng(2)
    gestures = [3, 0, 2, 8]
    features = [rng.normal(size=(length, 26)).round(3).tolist() for length in (m, m, m, 10)]
    return {
        "Subject": [0, 1, 1, 1],
        "Set": ["grid1_results"] * 4,
        "Gesture Target Name": ["Left flick"] * 4,
        "Timestamp": [1_616_861_680_190 + 5_000 * i for i in range(4)],
        "Target Gesture": gestures,
        "Embeddings Hist": features,
        "IMU Hist": [rng.normal(size=(3, 3, n)).tolist() for _ in range(4)],
        "Gaze Target XY": [[1 / 3, 0.375]] * 4,
    }


def test_eyemu_trials(tmp_path, monkeypatch, caplog):
    cells = eyemu_trials()
    write_table(tmp_path / "eyemu" / "flask2" / "data" / "gazeldataraw.pkl", cells, monkeypatch)
    found = eyemu.recordings(tmp_path)
    assert [r.person for r in found] == ["p00", "p01"]
    assert len(found.left_out) == 2 and not found.skipped  # a tilt, and a trial that ends before its gesture
    assert "2 left out" in caplog.text
    first = found[0]
    imu, gaze = of(first, "imu"), of(first, "gaze")
    end, raw = cells["Timestamp"][0] * 1_000_000, np.array(cells["IMU Hist"][0])
    start = end - round(179 / 60 * SECOND)
    assert (imu.t[0], imu.t[-1]) == (start, end)
    assert np.allclose(imu.values[:, :3], raw[0].T)
    assert np.allclose(imu.values[:, 3:6], np.radians(raw[1].T))
    a, b, c = np.radians(raw[2])
    z, x, y = (np.eye(3)[axis] for axis in (2, 0, 1))
    turned = rotation(a[:, None] * z) @ rotation(b[:, None] * x) @ rotation(c[:, None] * y)
    assert np.allclose(imu.values[:, 6:], axis_angle(turned), atol=1e-6)
    features = np.array(cells["Embeddings Hist"][0])
    assert np.allclose(gaze.values, np.concatenate([features[:, 12:14], features - features.mean(0)], 1), atol=1e-6)
    assert (gaze.t[0], gaze.t[1] - gaze.t[0]) == (start, 100_000_000)
    edges, labels = label(first, "gesture-classification")
    assert labels == ["none", "flick-left"]
    assert edges[:2] == [start, start + round(1.2 * SECOND)]
    assert edges[2] > end
    truth = first.labels["gaze-estimation"]
    assert np.allclose(truth.values, np.float32([6.4 / 3, 4.8]))
    assert np.array_equal(truth.t, gaze.t[:12])
    assert label(found[1], "gesture-classification")[1] == ["none", "flick-forward"]
    cut = sequence(first)
    assert cut.series[1].values.shape[-1] == 28


def test_eyemu_calibration_on_the_real_features(tmp_path, monkeypatch, data_dir):
    cells = {"Subject": [], "Embeddings Hist": [], "Gaze Target XY": []}
    kept = {}
    for subject in (0, 1):
        with np.load(data_dir / "eyemu_gaze" / f"p{subject:02d}.npz") as file:
            kept[subject] = file["features"][:40], file["target_xy"][:40]
        cells["Subject"] += [subject] * 40
        cells["Embeddings Hist"] += [[row.tolist()] for row in kept[subject][0]]
        cells["Gaze Target XY"] += [row.tolist() for row in kept[subject][1]]
    write_table(tmp_path / "calibdata.pkl", cells, monkeypatch, old=False)
    found = eyemu.recordings(tmp_path)
    assert [(r.name, r.person) for r in found] == [("p00-calibration", "p00"), ("p01-calibration", "p01")]
    for subject, recording in enumerate(found):
        gaze, truth = of(recording, "gaze"), recording.labels["gaze-estimation"]
        centred = kept[subject][0] - kept[subject][0].mean(0)
        assert np.allclose(gaze.values[:, 2:], centred, atol=1e-4)
        assert np.array_equal(gaze.values[:, :2], kept[subject][0][:, 12:14])
        assert np.allclose(truth.values, kept[subject][1] * (6.4, 12.8))
        assert gaze.t[10] - gaze.t[0] == SECOND
    write_table(tmp_path / "gazeldataraw.pkl", eyemu_trials(), monkeypatch)
    first = eyemu.recordings(tmp_path)[2]  # a trial is told from the mean of its subject's calibration, too
    features = np.array(eyemu_trials()["Embeddings Hist"][0])
    assert first.name == "p00-trial-0"
    assert np.allclose(of(first, "gaze").values[:, 2:], features - kept[0][0].mean(0), atol=1e-4)


def test_eyemu_says_what_is_wrong(tmp_path, monkeypatch):
    cells, path = eyemu_trials(), tmp_path / "gazeldataraw.pkl"
    write_table(
        path,
        {**cells, "Target Gesture": [3, 0, 2, 11], "Embeddings Hist": [cells["Embeddings Hist"][0]] * 4},
        monkeypatch,
    )
    with pytest.raises(DataError, match=r"gazeldataraw\.pkl: row 3: gesture 11"):
        eyemu.recordings(tmp_path)
    write_table(path, {**cells, "IMU Hist": [[[1.0]]] * 4}, monkeypatch)
    with pytest.raises(DataError, match="row 0: 'IMU Hist' is no 3 x 3 x n numbers"):
        eyemu.recordings(tmp_path)
    write_table(path, {name: column for name, column in cells.items() if name != "Timestamp"}, monkeypatch)
    with pytest.raises(DataError, match="column 'Timestamp' is missing"):
        eyemu.recordings(tmp_path)
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(DataError, match=r"gazeldataraw\.pkl: is (cut short|not read)"):
        eyemu.recordings(tmp_path)
