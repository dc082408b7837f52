"""eyemu_gaze: a small copy, and the recordings at hand."""

import numpy as np

from edge.clock import SECOND
from tests.small_sets import read, written


def test_eyemu_gaze_leads_with_the_networks_answer_and_its_truth_is_in_cm(tmp_path):
    written(tmp_path, "eyemu_gaze")
    found = read(tmp_path, "eyemu_gaze")
    assert [(r.name, r.person, len(r.tracks[0].t)) for r in found] == [("p00_0", "p00", 20), ("p00_1", "p00", 20)]
    values = found[1].tracks[0].values
    assert values[3, :2].tolist() == [23, 23]  # as the file has it; the rest is seen from the round's mean
    assert np.allclose(values[:, 2:].mean(0), 0.0, atol=1e-5) and np.allclose(np.diff(values[:, 2:], axis=0), 1.0)
    assert np.diff(found[0].tracks[0].t).tolist() == [SECOND // 10] * 19
    assert np.allclose(found[0].labels["gaze-estimation"].values, [3.2, 3.2])


def test_eyemu_gaze_on_record(data_dir):
    found = read(data_dir, "eyemu_gaze")
    gap, constant = [], []
    for recording in found:
        truth = recording.labels["gaze-estimation"].values
        gap.append(np.linalg.norm(recording.tracks[0].values[:, :2] * (6.4, 12.8) - truth, axis=1).mean())
        constant.append(np.linalg.norm((3.2, 6.4) - truth, axis=1).mean())
    assert len(found) >= 35 and np.mean(gap) < 0.85 * np.mean(constant)
