"""The readers of real data sets: on small copies that say what they hold, damaged ones, and the recordings at hand."""

import pickle
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import scipy.io
from PIL import Image

from backend.data import (
    files,
    fsdd,
    gazegraph_desktop,
    thermal_d6t,
    utd_mhad,
)
from backend.data.files import ORIGIN, Lazy
from backend.data.recording import Recording, Recordings, Segments, Values, sequence
from backend.data.sound import RATE
from backend.tasks import TASKS
from backend.tasks.reconstruction import BODY
from broker.errors import DataError
from broker.modalities import JOINTS, READABLE
from edge.clock import SECOND
from edge.plane import local_plane
from tests.small_sets import SETS, one, read, write_npz, written

every_set = pytest.mark.parametrize("name", SETS)


def touch(recordings: Recordings) -> None:
    """Read every row, as training does."""
    for recording in recordings:
        for track in recording.tracks:
            assert np.asarray(track.values).shape[0] == len(track.t)


# --- what holds for each of them -------------------------------------------------------------------------------------


@every_set
def test_a_set_is_found_and_cut_into_windows_with_its_truth(tmp_path, name):
    folder = written(tmp_path, name)
    found = read(tmp_path, name)
    assert [r.name for r in found] == [r.name for r in read(folder, name)]
    assert len({r.name for r in found}) == len(found) > 0 and not found.skipped
    for recording in found:
        assert recording.dataset == name
        cut = sequence(recording)
        assert cut is not None and {s.modality for s in cut.series} == {t.stream.modality for t in recording.tracks}
        for track in recording.tracks:
            assert track.t.dtype == np.int64 and (np.diff(track.t) >= 0).all()
            assert READABLE[track.stream.modality].takes(track.values.shape[-1])
        for task, truth in recording.labels.items():
            known = np.isfinite if isinstance(truth, Values) else np.sign
            assert cut.targets[task].shape == (cut.length, TASKS[task].size)
            assert known(cut.targets[task]).any(-1).all()


@every_set
def test_a_set_that_is_not_there_says_where_it_is(tmp_path, name):
    with pytest.raises(DataError, match=rf"no files of {name} .*give its folder.* it is at https://.* \(.+\)"):
        read(tmp_path, name)


@every_set
def test_damaged_files_are_named(tmp_path, name):
    whole = written(tmp_path, name)
    for path in sorted(p for p in whole.rglob("*") if p.is_file()):
        data = path.read_bytes()
        for damaged in (b"", b"not what it says", data[: len(data) // 2]):
            if path.suffix in (".flac", ".wav") and len(damaged) > 100:
                continue  # a sound that was cut short is a shorter sound
            path.write_bytes(damaged)
            with pytest.raises(DataError, match=path.name.replace(".", r"\.")):
                touch(read(tmp_path, name))
        path.write_bytes(data)
    touch(read(tmp_path, name))


@every_set
def test_recordings_travel_to_other_processes(tmp_path, name):
    written(tmp_path, name)
    for recording in read(tmp_path, name):
        again = pickle.loads(pickle.dumps(recording.tracks))
        for a, b in zip(recording.tracks, again, strict=True):
            assert np.array_equal(a.values[-1:], b.values[-1:])


# --- utd_mhad --------------------------------------------------------------------------------------------------------


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


# --- gaze ------------------------------------------------------------------------------------------------------------


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


# --- touch -----------------------------------------------------------------------------------------------------------


def test_capfingerid_breaks_where_the_finger_changes_or_time_does_not_go_on(tmp_path):
    written(tmp_path, "capfingerid")
    found = read(tmp_path, "capfingerid")
    assert [(r.name.split("_")[2], len(r.tracks[0].t)) for r in found] == [
        ("right-thumb", 3), ("right-thumb", 2), ("left-little", 2), ("left-little", 2),
    ]  # fmt: skip
    last = found[-1]
    assert last.tracks[0].values[:, 0, 0, 0].tolist() == [7, 8] and last.tracks[0].values.dtype == np.int16
    assert last.tracks[0].t[0] == 1_508_000_004 * SECOND
    assert TASKS["touch-contact"].outputs[int(last.labels["touch-contact"].index[0])] == "left-little"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"finger": np.int8([7] * 9)}, "a finger is none of 0..4"),
        ({"finger": np.int8([0] * 8)}, "hand has 9 rows, not 8"),
        ({"time_s": np.full(9, np.nan)}, "a time is no number"),
        ({"image": np.zeros((9, 20, 15), np.int16)}, "image is 9 x 20 x 15 x 1, not n x 27 x 15 x 1"),
    ],
)
def test_capfingerid_that_contradicts_itself_is_refused(tmp_path, change, said):
    path = written(tmp_path, "capfingerid") / "P03.npz"
    names = ("image", "finger", "hand", "time_s")
    write_npz(path, **(dict(zip(names, files.read_npz(path, *names), strict=True)) | change))
    with pytest.raises(DataError, match=rf"P03\.npz: {said}"):
        read(tmp_path, "capfingerid")


def test_capfingerid_on_record(data_dir):
    found = read(data_dir, "capfingerid")
    assert len({r.person for r in found}) >= 13
    peaks = [
        np.percentile(track.values[:50].max((1, 2, 3)) * track.scale, 50) for r in found[::20] for track in r.tracks
    ]
    assert np.median(peaks) == pytest.approx(0.9, abs=0.2)


def test_capcontact_masks_belong_to_their_images(tmp_path):
    written(tmp_path, "capcontact")
    found = read(tmp_path, "capcontact")
    assert [(r.name, len(r.tracks[0].t)) for r in found] == [("P01_1", 2), ("P01_2", 3)]
    masks = found[1].masks["contact-mask"]
    assert masks.shape == (3, 328, 576) and masks.dtype == np.uint8
    assert [int(masks[i].sum()) for i in range(3)] == [0, 64, 0]
    assert masks[1][8:16, 16:24].all() and found[1].tracks[0].values[:, 0, 0, 0].tolist() == [2, 3, 4]


def test_capcontact_on_record(data_dir):
    recording = read(data_dir, "capcontact")[0]
    touched = recording.masks["contact-mask"][::20].reshape(-1, 41, 8, 72, 8).mean((2, 4)) > 0.5
    image = recording.tracks[0].values[::20][..., 0]
    assert image[touched].mean() > 10 * np.abs(image[~touched]).mean()


# --- thermal ---------------------------------------------------------------------------------------------------------


def test_thermal_d6t_is_in_kelvin_with_its_own_steps(tmp_path):
    written(tmp_path, "thermal_d6t")
    found = read(tmp_path, "thermal_d6t")
    assert [(r.name, r.person) for r in found] == [("b3", "B"), ("b8", "D")]
    track = found[0].tracks[0]
    assert track.values.dtype == np.uint16 and track.values.shape == (3, 4, 4, 1)
    assert track.values[0, 0, 1, 0] * track.scale == pytest.approx(273.15 + 20.2)
    assert ((track.t - track.t[0]) // 1_000_000).tolist() == [0, 500, 750]
    assert np.datetime64(int(track.t[0]), "ns") == np.datetime64("2016-06-13T21:05:41")
    outputs = TASKS["activity-recognition"].outputs
    said = [outputs[int(r.labels["activity-recognition"].index[0])] for r in found]
    assert said == ["lying-with-blanket", "nobody"]


def test_thermal_d6t_without_what_is_read_says_so(tmp_path):
    path = written(tmp_path, "thermal_d6t") / "d6t.parquet"
    table = pq.read_table(path)
    for column, value, said in (
        ("room", "bathroom", "no good rows of bedroom postures 1 to 8"),
        ("time", "yesterday", "time 'yesterday' is no date"),
        ("t3", 1e6, "b3.csv: a temperature is out of range"),
        ("dt_ms", float("nan"), "dt_ms is no positive number"),
    ):
        i = table.column_names.index(column)
        pq.write_table(table.set_column(i, column, pa.array([value] * len(table))), path)
        with pytest.raises(DataError, match=rf"d6t\.parquet: .*{said}"):
            read(tmp_path, "thermal_d6t")
    pq.write_table(table.drop_columns(["t7"]), path)
    with pytest.raises(DataError, match=r"columns \['t7'\] are missing"):
        read(tmp_path, "thermal_d6t")


def test_thermal_d6t_on_record(data_dir):
    found = read(data_dir, "thermal_d6t")
    outputs = TASKS["activity-recognition"].outputs
    warmest = {}
    for recording in found:
        label = outputs[int(recording.labels["activity-recognition"].index[0])]
        kelvin = recording.tracks[0].values * recording.tracks[0].scale
        assert kelvin.min() > 283 and kelvin.max() < 320
        warmest.setdefault(label, []).append((kelvin.max((1, 2, 3)) - np.median(kelvin, (1, 2, 3))).mean())
    assert set(warmest) == set(thermal_d6t.LABELS)
    assert np.mean(warmest["lying-on-bed"]) > 2 * np.mean(warmest["nobody"])


def test_thermal_rgb_pairs_are_pairs_by_place(tmp_path):
    folder = written(tmp_path, "thermal_rgb_pairs")
    found = read(tmp_path, "thermal_rgb_pairs")
    assert [(r.name, len(r.tracks[0].t)) for r in found] == [("llvip-01", 2), ("llvip-02", 1), ("roadscene", 1)]
    grey = np.zeros((100, 120), np.uint8)
    grey[:, 60:] = 255
    Image.fromarray(grey).save(folder / "roadscene_ir" / "FLIR_00006.jpg", quality=95)
    kelvin = found[2].tracks[1].values[0, ..., 0] * found[2].tracks[1].scale
    assert kelvin[:, :14] == pytest.approx(283.15, abs=0.5) and kelvin[:, 18:] == pytest.approx(313.15, abs=0.5)
    (folder / "llvip_vi" / "010002.jpg").unlink()
    part = read(tmp_path, "thermal_rgb_pairs")
    assert part.skipped == (str(folder / "llvip_ir/010002.jpg"),) and len(part[0].tracks[0].t) == 1
    shutil.rmtree(folder / "llvip_vi"), shutil.rmtree(folder / "roadscene_vi")
    with pytest.raises(DataError, match=r"010001\.jpg: has no visible half"):
        read(tmp_path, "thermal_rgb_pairs")


def test_thermal_rgb_pairs_on_record(data_dir):
    """Edges of a picture are edges of its own infrared half, rather than of another one."""
    found = one(read(data_dir, "thermal_rgb_pairs"), "roadscene")
    image, thermal = (track.values[:20].astype(np.float32).mean(-1) for track in found.tracks)
    image = image.reshape(20, 32, 2, 64)[:, :, :, ::2].mean(2)[:, ::4]  # 8 x 32
    thermal = thermal.reshape(20, 8, 3, 32).mean(2)
    own, other = [], []
    for i in range(20):
        for j in range(20):
            edges = (np.hypot(*np.gradient(x)).ravel() for x in (image[i], thermal[j]))
            (own if i == j else other).append(np.corrcoef(*edges)[0, 1])
    assert np.mean(own) > np.mean(other) + 0.05


# --- sound -----------------------------------------------------------------------------------------------------------


def test_fsdd_puts_a_short_word_in_the_middle_of_a_second(tmp_path):
    written(tmp_path, "fsdd")
    found = read(tmp_path, "fsdd")
    short, long = one(found, "3_theo_0"), one(found, "7_anna_12")
    assert (fsdd.digit(short), short.person, fsdd.digit(long), long.person) == (3, "theo", 7, "anna")
    assert len(short.tracks[0].t) == 16_000 and len(long.tracks[0].t) == pytest.approx(1.7 * 16_000, abs=2)
    loud = np.flatnonzero(np.abs(short.tracks[0].values[:, 0]) > 1000)
    assert (loud[0] + loud[-1]) / 2 == pytest.approx(8000, abs=100)
    assert len(sequence(short).series[0].present) == 1
    with pytest.raises(DataError, match="is no recording of fsdd"):
        fsdd.digit(Recording("x", "fsdd", "p", (), {}))


def test_fsdd_on_record(data_dir):
    found = read(data_dir, "fsdd")
    assert len(found) >= 400 and {fsdd.digit(r) for r in found} == set(range(10))
    assert all(len(r.tracks[0].t) == len(r.tracks[0].values) >= RATE and not r.labels for r in found)


# --- cameras ---------------------------------------------------------------------------------------------------------


def test_kitti_scans_are_projected_into_the_picture(tmp_path):
    folder = written(tmp_path, "kitti_samples")
    found = read(tmp_path, "kitti_samples")
    assert [(r.name, r.person, [t.stream.modality for t in r.tracks]) for r in found] == [
        ("object_000007", "object_000007", ["camera", "lidar"]),
        ("seq00_000000", "seq00", ["lidar"]),
        ("seq00_000094", "seq00", ["lidar"]),
    ]
    assert (np.diff(found[1].tracks[0].t) // 1_000_000).tolist() == [100]
    truth = found[0].labels["depth-estimation"].values.reshape(24, 32)
    assert truth[12, int(620 / 1242 * 32)] == 10.0  # of 10 and 12 m, the nearer is the lower median
    assert truth[12, int((620 - 700 * 6 / 20) / 1242 * 32)] == 20.0
    assert np.isfinite(truth).sum() == 2
    camera = found[0].tracks[0].values[0]
    assert camera.shape == (48, 96, 5) and camera[..., :3].min() >= 0 and camera[..., :3].max() <= 1
    assert camera[0, 0, 3] == pytest.approx(((0.5 * 1242 / 96 - 0.5) - 620) / 700)
    ranges = found[0].tracks[1].values[0, ..., 0]
    assert np.unique(ranges[ranges > 0]) == pytest.approx([5.0, 10.0, np.hypot(20, 6)])
    calib = folder / "object_000007_calib.txt"
    for damage in ("P2: 1 2 3", calib.read_text().replace("R0_rect", "R1")):
        calib.write_text(damage)
        with pytest.raises(DataError, match=r"object_000007_calib\.txt: cannot be read as KITTI's calibration"):
            read(tmp_path, "kitti_samples")


def test_kitti_on_record(data_dir):
    """The pedestrian whom the labels put 8.41 m away, at columns 712..811, is that far in the depth map."""
    recording = one(read(data_dir, "kitti_samples"), "object_000000")
    truth = recording.labels["depth-estimation"].values.reshape(24, 32)
    assert truth[13:16, 19] == pytest.approx(8.41, abs=0.3)  # pixels 727..765, 200..247; elsewhere walls behind prevail
    assert np.nanmedian(truth[:10]) > 1.5 * np.nanmedian(truth[22:])  # the ground before the car is near
    lidar = recording.tracks[1].values[0]
    assert (lidar[..., 0] > 0).mean() > 0.5 and lidar[..., 1].max() <= 1


def test_7scenes_truth_is_the_depth_of_the_picture_that_is_shown(tmp_path):
    folder = written(tmp_path, "rgbd_7scenes")
    (recording,) = read(tmp_path, "rgbd_7scenes")
    truth = recording.labels["depth-estimation"].values.reshape(3, 24, 32)
    assert np.isnan(truth[:, 0]).all() and np.isnan(truth[:, :, 0]).all()
    assert np.allclose(truth[:, 1:, 1:], np.float32([1.0, 1.01, 1.02])[:, None, None])
    depth = recording.tracks[1].values
    assert depth.shape == (3, 48, 64, 1) and depth[2, 40, 40, 0] == 1020 and not depth[:, 0].any()
    cut = sequence(recording)
    assert np.nanmax(cut.targets["depth-estimation"][:3], -1) == pytest.approx([1.0, 1.01, 1.02])
    assert cut.series[1].values[:3].max((1, 2, 3)).tolist() == [1000, 1010, 1020]
    (folder / "frame-000010.depth.png").unlink()
    assert read(tmp_path, "rgbd_7scenes").skipped == (str(folder / "frame-000010.color.jpg"),)
    Image.fromarray(np.zeros((480, 640), np.uint8)).save(folder / "frame-000000.depth.png")
    with pytest.raises(DataError, match=r"frame-000000\.depth\.png: is \(480, 640\) of uint8"):
        read(tmp_path, "rgbd_7scenes")


def test_7scenes_on_record(data_dir):
    (recording,) = read(data_dir, "rgbd_7scenes")
    truth = recording.labels["depth-estimation"].values
    depth = recording.tracks[1].values[::15][..., 0].reshape(-1, 24, 2, 32, 2).astype(float) * 1e-3
    shown = np.where(depth > 0, depth, np.nan).transpose(0, 1, 3, 2, 4).reshape(-1, 24 * 32, 4)
    both = np.isfinite(shown).any(-1) & np.isfinite(truth[::15])
    assert both.mean() > 0.8 and 0.8 < np.nanmedian(truth) < 3
    assert np.median(np.abs(np.nanmean(shown[both], -1) - truth[::15][both])) < 0.02


# --- drives ----------------------------------------------------------------------------------------------------------


def test_the_local_plane_is_in_metres():
    """A degree of latitude is 110.574 km at the equator and 111.694 km at a pole; of longitude 111.320 km (WGS 84)."""
    up = np.zeros(2)
    assert local_plane(np.array([0, 0.01]), np.array([179.995, -179.995]), up)[1] == pytest.approx(
        [1113.2, 1105.74, 0], abs=0.1
    )
    assert local_plane(np.array([89.99, 90.0]), np.zeros(2), np.array([5.0, 8]))[1] == pytest.approx(
        [0, 1116.94, 3], abs=0.1
    )


def test_drives_are_in_our_units_and_in_utc(tmp_path):
    written(tmp_path, "comma2k19_sample"), written(tmp_path, "vehicle_gps_imu")
    (recording,) = read(tmp_path, "comma2k19_sample")
    gps, imu = recording.tracks
    assert gps.t[0] == imu.t[0] == 1_001_000 * SECOND
    assert gps.values[-1] == pytest.approx([0, 1.9 * 1e-5 * 110_990, 0, 10], abs=1e-2)
    assert imu.values[100] == pytest.approx([0, 0, -9.8, 1001, -1001, 0])
    car, phone = read(tmp_path, "vehicle_gps_imu")
    gps, imu = car.tracks
    assert imu.values[0] == pytest.approx([0, 0, 9.8, 0, 0, np.pi / 2])
    assert imu.t[0] == 1_395_835_200 * SECOND and np.diff(imu.t) == pytest.approx(SECOND / 50, abs=1000)
    assert len(gps.t) == 19 and gps.values[0].tolist() == [0, 0, 0, 10]  # the first row has no altitude yet
    assert np.diff(gps.values[:, 1]) == pytest.approx(0.111, abs=2e-3)
    gps, imu = phone.tracks
    assert imu.values[5] == pytest.approx([0, 0, 9.80665, 0.5, 0.5, 0.5]) and imu.t[0] == 1_470_000_000 * SECOND
    assert gps.t.tolist() == [1_470_000_001 * SECOND] and gps.values[0, 3] == 2  # a speed of -1 is unknown


def test_drives_on_record(data_dir):
    """Speed is what the place changes by, and what gravity pulls at is 9.8 m/s2."""
    for recording in (*read(data_dir, "comma2k19_sample"), *read(data_dir, "vehicle_gps_imu")):
        gps, imu = recording.tracks
        assert np.linalg.norm(imu.values[:, :3].mean(0)) == pytest.approx(9.8, abs=2.5)
        span = max(1, round(len(gps.t) / ((gps.t[-1] - gps.t[0]) / SECOND)))  # fixes in a second
        passed = (gps.t[span:] - gps.t[:-span]) / SECOND
        moved = np.linalg.norm(gps.values[span:, :2] - gps.values[:-span, :2], axis=1) / passed
        said = (gps.values[span:, 3] + gps.values[:-span, 3]) / 2
        if (said > 3).sum() > 20:
            assert np.median(moved[said > 3] / said[said > 3]) == pytest.approx(1, abs=0.1)


# --- htad, room_occupancy --------------------------------------------------------------------------------------------


def test_htad_rows_are_recordings_in_blocks_by_label(tmp_path):
    path = written(tmp_path, "htad") / "htad.parquet"
    found = read(tmp_path, "htad")
    names = [r.name for r in found if r.name.startswith("sweep")]
    assert names == [f"sweep-{i}" for i in range(8)]
    assert [one(found, name).fold for name in names] == [0, 0, 1, 1, 2, 2, 3, 3]
    assert one(found, "sweep-7").person == "sweep-block3" and one(found, "wash-hands-0").fold == 0
    phone, bracelet = (track.values[0, 0, 0] for track in one(found, "sweep-2").tracks)
    wanted = ("mfcc_mean1", "mfcc_deviation1", "acc_mean_x")
    mean, deviation, worn = (READABLE["features"].channels.index(name) for name in wanted)
    assert phone[mean] == pytest.approx((121 - 122) / 9)  # seconds of 120, 121 and 122
    assert phone[deviation] == pytest.approx(2 * np.std([120, 121, 122]) / 9, abs=1e-5)
    assert bracelet[worn] == pytest.approx(0.1 / 0.4)
    assert not (phone[24:] != 0).any() and not (bracelet[:24] != 0).any() and (phone[:24] != 0).all()
    assert sequence(found[0]).length == 1  # no row is another one's past
    table = pq.read_table(path)
    pq.write_table(table.set_column(0, "class", pa.array(["fly"] * len(table))), path)
    with pytest.raises(DataError, match=r"htad\.parquet: 'fly' is no activity"):
        read(tmp_path, "htad")


def test_days_of_a_room_are_rows_one_a_slot(tmp_path):
    path = written(tmp_path, "room_occupancy") / "occupancy.parquet"
    first, second = read(tmp_path, "room_occupancy")
    assert (first.name, first.person, second.person) == ("2017-12-22", "2017-12-22", "2017-12-23")
    cut = sequence(first)
    assert cut.length == 4
    said = [TASKS["activity-recognition"].outputs[i] for i in cut.majority("activity-recognition")]
    assert said == ["nobody", "one-person", "two-people", "three-people"]
    names = READABLE["features"].channels
    row = dict(zip(names, cut.series[0].values[3, 0, 0].tolist(), strict=True))
    assert row["temperature4"] == pytest.approx(1.0) and row["light1"] == pytest.approx(np.log(101) / 2 - 1)
    assert (row["co2"], row["pir1"], row["pir2"], row["mfcc_mean1"]) == (1.5, 1, -1, 0)
    table = pq.read_table(path)
    counts = table.schema.get_field_index("Room_Occupancy_Count")
    pq.write_table(table.set_column(counts, "Room_Occupancy_Count", pa.array([4] * len(table))), path)
    with pytest.raises(DataError, match=r"occupancy\.parquet: .* a count none of 0 to 3"):
        read(tmp_path, "room_occupancy")


def test_htad_and_room_occupancy_on_record(data_dir):
    found = read(data_dir, "htad")
    assert len(found) > 1000 and {r.fold for r in found} == {0, 1, 2, 3} and len({r.person for r in found}) == 28
    light = READABLE["features"].channels.index("light1")
    for day in read(data_dir, "room_occupancy"):
        cut, nobody = sequence(day), TASKS["activity-recognition"].outputs.index("nobody")
        empty = cut.majority("activity-recognition") == nobody
        lit = cut.series[0].values[:, 0, 0, light] > 1  # 50 lux
        assert empty[lit].mean() < 0.2 < 0.9 < empty[~lit].mean() if lit.any() else empty.all()


# --- what training relies on -----------------------------------------------------------------------------------------


def test_labels_that_readers_give_are_the_tasks_own(tmp_path):
    for name in SETS:
        written(tmp_path, name)
        for recording in read(tmp_path, name):
            for task, truth in recording.labels.items():
                if isinstance(truth, Segments):
                    assert (truth.index >= 0).all() and (truth.index < TASKS[task].size).all()
                else:
                    assert truth.values.dtype == np.float32 and truth.values.shape[1] == TASKS[task].size
