"""utd_mhad: a small copy in both layouts, and the recordings at hand."""

import numpy as np
import pytest
import scipy.io

from backend.data import (
    files,
    utd_mhad,
)
from backend.data.files import ORIGIN, Lazy
from backend.tasks import TASKS
from backend.tasks.reconstruction import BODY
from broker.errors import DataError
from broker.modalities import JOINTS
from edge.clock import SECOND
from tests.small_sets import one, read, touch, written


def test_utd_mhad_is_turned_and_timed_as_it_says(tmp_path):
    folder = written(tmp_path, "utd_mhad")
    found = read(tmp_path, "utd_mhad")
    assert [r.name for r in found[:3]] == ["a1_s1_t1", "a22_s1_t1", "a3_s1_t2"]
    assert [r.person for r in found] == ["s1"] * 3 + ["s2"] * 3
    assert [r.tracks[0].stream.placement for r in found[:3]] == ["wrist", "thigh", "wrist"]
    clip = found[1]
    imu, pose, depth, film = clip.tracks
    assert np.allclose(imu.values[0], [0, 0, 9.80665, np.pi, 0, 0], atol=1e-5)
    assert imu.t[0] == pose.t[0] == ORIGIN and np.array_equal(pose.t[:-2], depth.t)
    assert (pose.t[-1] - ORIGIN) / 49 == pytest.approx(130 / 50 / 50 * SECOND)
    raw = files.read_npz(folder / "s1_imu_skeleton.npz", "skeleton")[0][57:107] * (-1, -1, 1)
    body = dict(zip(BODY, raw.swapaxes(0, 1), strict=True))
    joints = dict(zip(JOINTS, pose.values.reshape(50, 24, 3).swapaxes(0, 1), strict=True))
    assert np.allclose(joints["left_wrist"], body["l_wrist"]) and np.allclose(joints["neck"], body["shoulder_center"])
    assert np.allclose(joints["right_collar"], (body["shoulder_center"] + body["r_shoulder"]) / 2, atol=1e-6)
    assert np.allclose(joints["spine3"] - joints["spine2"], joints["neck"] - joints["spine3"], atol=1e-6)
    truth = clip.labels["pose-estimation"].values.reshape(50, 24, 3)
    assert np.allclose(truth[:, 0], 0) and np.allclose(truth[:, 15], joints["head"] - joints["pelvis"], atol=1e-6)
    assert {JOINTS[i] for i in np.flatnonzero(np.isnan(truth[0, :, 0]))} == set(utd_mhad.BETWEEN)
    recon = clip.labels["3d-reconstruction"].values.reshape(50, 41, 3)
    assert np.isnan(recon[:, :21]).all() and np.allclose(recon[:, 21:], raw)
    assert TASKS["3d-reconstruction"].outputs[21:] == BODY
    assert depth.values[0, :, 159, 0].tolist() == [1059] * 120  # two frames late and not depth.values[0, :, 0].any()
    assert depth.scale == 1e-3 and isinstance(depth.values, Lazy)
    # The film is about the person, who stays where they are in it however the camera saw them: here a wall at the edge.
    shown = film.values[np.array([0, 47])] * film.scale
    assert np.allclose(shown[:, :, 56, 1], 1.0) and not shown[:, :, :56].any() and not shown[..., 2].any()
    assert np.allclose(shown[:, 0, 56, 0], [0.5, 0.5 - 47 / 1000], atol=1 / 255)
    assert clip.labels["activity-recognition"].index.tolist() == [TASKS["activity-recognition"].outputs.index("jog")]


def test_utd_mhad_layouts_agree_and_a_part_of_the_set_is_read(tmp_path):
    folder = written(tmp_path, "utd_mhad")
    packed = read(folder, "utd_mhad")[:3]
    published = tmp_path / "published"
    for kind in ("Inertial", "Skeleton", "Depth"):
        (published / kind).mkdir(parents=True)
    imu, skeleton = files.read_npz(folder / "s1_imu_skeleton.npz", "imu", "skeleton")
    (depth,) = files.read_npz(folder / "s1_depth.npz", "depth")
    for clip, a, b, c, d in (
        ("a1_s1_t1", 0, 150, 0, 57),
        ("a3_s1_t2", 280, 480, 107, 183),
        ("a22_s1_t1", 150, 280, 57, 107),
    ):
        scipy.io.savemat(published / f"Inertial/{clip}_inertial.mat", {"d_iner": imu[a:b].astype(float)})
        mats = {"d_skel": skeleton[c:d].transpose(1, 2, 0).astype(float)}
        scipy.io.savemat(published / f"Skeleton/{clip}_skeleton.mat", mats)
        large = depth[c:d].repeat(2, 1).repeat(2, 2).transpose(1, 2, 0)
        scipy.io.savemat(published / f"Depth/{clip}_depth.mat", {"d_depth": large})
    again = read(published, "utd_mhad")
    assert sorted(r.name for r in again) == sorted(r.name for r in packed)
    for a in packed:
        for x, y in zip(a.tracks, one(again, a.name).tracks, strict=True):
            assert np.array_equal(x.t, y.t) and np.allclose(x.values[:], y.values[:], atol=1e-5)
    (published / "Depth/a1_s1_t1_depth.mat").unlink()
    (published / "Skeleton/a3_s1_t2_skeleton.mat").unlink()
    part = read(published, "utd_mhad")
    assert len(part.skipped) == 2
    assert [t.stream.name for t in one(part, "a1_s1_t1").tracks] == ["imu", "pose"]
    assert set(one(part, "a3_s1_t2").labels) == {"activity-recognition"}
    (published / "Depth/a22_s1_t1_depth.mat").write_bytes(b"MATLAB 5.0")
    with pytest.raises(DataError, match=r"a22_s1_t1_depth\.mat: cannot be read as MAT"):
        touch(read(published, "utd_mhad"))
    (folder / "s2_depth.npz").unlink()
    assert read(folder, "utd_mhad").skipped == (str(folder / "s2_depth.npz"),)


def on_surface(depth, hand, frames, lag):
    """Share of the frames in which the hand lies within 10 cm of the depth that is shown `lag` frames later."""
    frames = frames[(frames + lag >= 0) & (frames + lag < len(depth.t))][::4]
    x, y, z = hand[frames].T
    column, row = (
        np.rint(80 + 142.8 * x / z).astype(int).clip(0, 159),
        np.rint(60 + 142.8 * y / z).astype(int).clip(0, 119),
    )
    shown = [depth.values[i][r, c, 0] for i, r, c in zip(frames + lag, row, column, strict=True)]
    return np.mean(np.abs(np.array(shown) / 1000 - z) < 0.1) if len(frames) else np.nan


def test_utd_mhad_on_record(data_dir):
    """The IMU feels what the Kinect sees, and joints lie on the body in the turned pictures."""
    found = [r for r in read(data_dir, "utd_mhad") if r.person == "s1"]
    assert len(found) == 107
    g, agreement, on_body, by_lag = [], [], [], []
    for clip in found:
        imu, pose, depth, _ = clip.tracks
        g.append(np.linalg.norm(imu.values[:5, :3].mean(0)))
        ends = ("right_hip", "right_knee") if imu.stream.placement == "thigh" else ("right_elbow", "right_wrist")
        joints = pose.values.reshape(len(pose.t), 24, 3)
        limb = np.subtract(*(joints[:, JOINTS.index(end)] for end in ends))
        limb /= np.linalg.norm(limb, axis=1, keepdims=True)
        seen = np.linalg.norm(np.gradient(limb, axis=0), axis=1)
        felt = np.interp(pose.t, imu.t, np.convolve(np.linalg.norm(imu.values[:, 3:], axis=1), np.ones(5) / 5, "same"))
        agreement.append(np.corrcoef(seen, felt)[0, 1])
        x, y, z = joints[0].T
        column, row = np.rint(80 + 142.8 * x / z).astype(int), np.rint(60 + 142.8 * y / z).astype(int)
        inside = (column >= 0) & (column < 160) & (row >= 0) & (row < 120)
        on_body.append(np.mean(depth.values[0][row[inside], column[inside], 0] > 0))
        hand = joints[:, JOINTS.index("right_hand")]
        moving = np.flatnonzero(np.linalg.norm(np.gradient(hand, axis=0), axis=1) > 0.05)
        if imu.stream.placement == "wrist":
            by_lag.append([on_surface(depth, hand, moving, lag) for lag in (-2, -1, 0, 1, 2)])
    assert np.median(g) == pytest.approx(9.8, abs=0.6)
    assert np.median(agreement) > 0.7
    assert np.mean(on_body) > 0.9
    assert np.nanmean(by_lag, 0).argmax() == 2  # depth shows the skeleton of its own time


def test_utd_mhad_originals_are_the_same_clips(data_dir):
    if not (data_dir / "originals/utd_mhad").is_dir():
        pytest.skip("no originals of utd_mhad")
    packed = read(data_dir, "utd_mhad")
    for original in read(data_dir / "originals", "utd_mhad"):
        for x, y in zip(original.tracks, one(packed, original.name).tracks, strict=True):
            assert np.array_equal(x.t, y.t) and np.allclose(x.values[:], y.values[:], atol=1e-4)
