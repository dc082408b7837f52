"""DIP-IMU in its publishers' layout, written small by hand and read back exactly."""

import numpy as np
import pytest

from backend.data.files import ORIGIN
from backend.data.paper import dip_imu
from backend.data.recording import sequence
from broker.errors import DataError
from broker.modalities import JOINTS
from edge.clock import SECOND
from edge.simulator.geometry import rotation
from tests.paper_sets import dump

J = {name: i for i, name in enumerate(JOINTS)}


def dip_content(n=90, rate=(0.5, -0.2, 0.8)):
    """A suit that turns evenly, and is still."""
    turn = rotation(np.arange(n)[:, None] / 60 * np.array(rate))
    pose = np.zeros((n, 72))
    pose[:, 3 * J["left_elbow"] : 3 * J["left_elbow"] + 3] = (0, 0, np.pi / 2)
    return {"imu_ori": np.repeat(turn[:, None], 17, 1), "imu_acc": np.zeros((n, 17, 3)), "gt": pose, "sop": [1, 2]}


def test_dip_imu(tmp_path):
    content = dip_content()
    content["imu_acc"][:, 3] = (1.0, 2.0, 3.0)
    content["imu_ori"][5, 0] = np.nan
    for person, file in (("s_01", "01"), ("s_01", "02"), ("s_10", "05")):
        dump(tmp_path / "dip_imu" / "DIP_IMU" / person / f"{file}.pkl", content, protocol=2)
    found = dip_imu.recordings(tmp_path)
    assert [(r.name, r.person) for r in found] == [("s01-01", "s01"), ("s01-02", "s01"), ("s10-05", "s10")]
    tracks = found[0].tracks
    assert [track.stream.placement for track in tracks] == list(dip_imu.SENSORS)
    assert len({track.stream.name for track in tracks}) == 17
    still, pushed = tracks[1].values[:], tracks[3].values[:]
    turn = content["imu_ori"][:, 1]
    assert np.allclose(still[:, :3], turn.swapaxes(1, 2) @ (0, 9.80665, 0), atol=1e-5)
    assert np.allclose(still[:, 3:6], (0.5, -0.2, 0.8), atol=1e-5)
    assert np.allclose(rotation(still[:, 6:]), np.diag([1, -1, -1]) @ turn, atol=1e-5)
    assert np.allclose(pushed[:, :3], turn.swapaxes(1, 2) @ (1, 11.80665, 3), atol=1e-5)
    assert np.isnan(tracks[0].values[5, [0, 1, 2, 6, 7, 8]]).all()
    assert np.isnan(tracks[0].values[[4, 6], 3:6]).all()  # the turn rates beside what is missing
    assert tracks[0].t[60] - tracks[0].t[0] == SECOND
    cut = sequence(found[0])
    assert len(cut.series) == 17
    assert cut.targets["pose-estimation"].shape == (cut.length, 72)
    joints = found[0].labels["pose-estimation"].values[0].reshape(24, 3)
    # As a camera sees somebody who faces it: the left hand on the right, heads up, toes towards it.
    assert not joints[J["pelvis"]].any()
    assert joints[J["left_wrist"], 0] > 0.2 > -0.2 > joints[J["right_wrist"], 0]
    assert joints[J["head"], 1] < 0 < joints[J["left_foot"], 1]
    assert joints[J["left_foot"], 2] < joints[J["left_ankle"], 2]
    # The left elbow is bent upwards about the axis that points forward.
    forearm = joints[J["left_wrist"]] - joints[J["left_elbow"]]
    assert np.allclose(forearm / np.linalg.norm(forearm), (0, -1, 0), atol=1e-5)


def test_dip_imu_turns_the_whole_body_with_its_pelvis():
    pose = np.zeros((1, 72))
    pose[0, :3] = (0, np.pi / 2, 0)
    flat, turned = dip_imu.positions(np.zeros((1, 72)))[0], dip_imu.positions(pose)[0]
    world = np.diag([1, -1, -1])
    assert np.allclose(turned @ world, flat @ world @ rotation(pose[0, :3]).T, atol=1e-6)


def test_dip_imu_says_what_is_wrong(tmp_path):
    path = tmp_path / "s_01" / "01.pkl"
    dump(path, dip_content(), protocol=2)
    (recording,) = dip_imu.recordings(tmp_path)
    path.write_bytes(b"garbage")
    assert recording.tracks[0].values.shape == (90, 9)
    with pytest.raises(DataError, match=r"01\.pkl"):
        recording.tracks[0].values[:]
    with pytest.raises(DataError, match=r"01\.pkl"):
        recording.labels["pose-estimation"].newest(np.array([ORIGIN + 1]), SECOND)
    content = dip_content()
    for name, value in (("gt", np.zeros((90, 71))), ("imu_acc", np.zeros((89, 17, 3))), ("imu_ori", None)):
        dump(path, {**content, name: value})
        with pytest.raises(DataError, match=r"01\.pkl: has no .* numbers; get it again"):
            dip_imu.recordings(tmp_path)
