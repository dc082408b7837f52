import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from backend.data import DATASETS, sequence
from backend.data.recording import PARTS, Recording, Segments, Track, event_first
from backend.data.synthetic import TRAINING_SEEDS, UNSEEN_SEEDS, scene_recording
from backend.recipes import esc10, model_for, sp_sw_har
from backend.train.source import Source, check_folds, faster, split, split_all
from broker.errors import ConfigError, DataError
from edge.clock import SECOND
from edge.windows import Stream, cut
from tests.small_sets import write_sp_sw_har, write_sp_sw_har_parquet

ACTIVITY = "activity-recognition"


def test_both_layouts_give_the_same_recordings(tmp_path):
    write_sp_sw_har(tmp_path / "published")
    write_sp_sw_har_parquet(tmp_path / "sp_sw_har")
    read = DATASETS["sp_sw_har"].read
    first, second, parent = read(tmp_path / "published"), read(tmp_path / "sp_sw_har"), read(tmp_path)
    assert [r.name for r in first] == [r.name for r in second] == ["s01_01", "s01_02", "s02_01", "s02_02"]
    assert [r.person for r in parent] == ["s01", "s01", "s02", "s02"]
    for one, other in zip(first, second, strict=True):
        assert [(t.device, t.stream.placement) for t in one.tracks] == [("watch", "wrist"), ("phone", "pocket")]
        for a, b in zip(one.tracks, other.tracks, strict=True):
            assert np.array_equal(a.t, b.t)
            assert np.allclose(a.values, b.values, atol=1e-6)
        assert np.array_equal(one.labels[ACTIVITY].edges, other.labels[ACTIVITY].edges)


def test_unusable_folders_say_what_is_wanted(tmp_path):
    with pytest.raises(DataError, match="no sp_sw_har recordings"):
        DATASETS["sp_sw_har"].read(tmp_path)
    write_sp_sw_har(tmp_path, people=1)
    path = tmp_path / "DATA/s01/s01_01_sp.csv"
    text = path.read_text()
    path.write_text(text.replace("WALKING", "FLYING"))
    with pytest.raises(DataError, match=r"s01_01_sp\.csv: s01_01_sp: unknown labels \['FLYING'\]"):
        DATASETS["sp_sw_har"].read(tmp_path)
    path.write_text(text.replace("x_gyro", "x_wheel"))
    with pytest.raises(DataError, match="x_gyro"):
        DATASETS["sp_sw_har"].read(tmp_path)


def test_windows_are_the_devices_own(tmp_path):
    write_sp_sw_har(tmp_path, people=1)
    recording = DATASETS["sp_sw_har"].read(tmp_path)[0]
    one = sequence(recording)
    for series, track in zip(one.series, recording.tracks, strict=True):
        for window in cut(track.stream, track.t, track.values):
            assert np.array_equal(series.values[window.t0 // one.hop_ns - one.slot], window.values)
    moments = one.moments()
    assert all(len(m.windows) == 2 and m.t0 == m.slot * one.hop_ns for m in moments[1:-1])
    assert one.majority(ACTIVITY)[0] == 0
    assert one.majority(ACTIVITY)[-1] == 2


def test_shares_are_the_time_under_each_label():
    rng = np.random.default_rng(0)
    edges = np.cumsum(rng.integers(1, 400, 12)) * 1_000_000
    segments = Segments(edges, rng.integers(-1, 3, 11))
    wanted = np.arange(0, 4_000, 50) * 1_000_000
    shares = segments.shares(wanted, np.arange(3))
    ms = np.arange(4_000) * 1_000_000 + 500_000
    at = np.searchsorted(edges, ms, side="right") - 1
    label = np.where((at >= 0) & (at < 11), segments.index[np.clip(at, 0, 10)], -1)
    brute = np.stack([(label[: 79 * 50] == c).reshape(79, 50).mean(1) for c in range(3)], -1)
    assert np.allclose(shares, brute, atol=0.021)


def test_a_shifted_recording_is_cut_elsewhere_and_keeps_its_labels():
    recording = scene_recording(TRAINING_SEEDS[0], seconds=32, senses=("imu", "audio"))
    straight, shifted = sequence(recording), sequence(recording, shift_ns=500_000_000)
    assert straight.slot + 1 == shifted.slot
    assert np.allclose(straight.targets[ACTIVITY], shifted.targets[ACTIVITY])
    assert np.allclose(straight.series[0].values[5], shifted.series[0].values[5], atol=1e-4)
    assert not np.allclose(straight.series[0].values[5], sequence(recording, 170_000_000).series[0].values[5], atol=0.1)
    occurring = straight.parts[ACTIVITY].labels
    assert straight.parts[ACTIVITY].share.shape == (straight.length, PARTS, len(occurring))
    dense = straight.parts[ACTIVITY].dense(3, 7, 159)
    assert dense.shape == (4, PARTS, 159)
    assert np.array_equal(dense[..., occurring], straight.parts[ACTIVITY].share[3:7])
    assert dense.sum() == straight.parts[ACTIVITY].share[3:7].sum()


def test_none_gives_way_to_events():
    shares = np.float32([[0.9, 0.1, 0.0], [0.98, 0.02, 0.0], [0.0, 0.25, 0.75], [0, 0, 0]])
    wanted = [[0, 1, 0], [1, 0, 0], [0, 0.25, 0.75], [0, 0, 0]]
    assert np.allclose(event_first(shares, 0), wanted)
    assert event_first(shares, None) is shares


def test_synthetic_people_are_joint_and_never_meet():
    assert not set(TRAINING_SEEDS) & set(UNSEEN_SEEDS)
    one, again = (scene_recording(20_000, seconds=16, senses=("imu", "audio")) for _ in range(2))
    assert [t.stream.modality for t in one.tracks] == ["imu", "imu", "audio", "imu", "imu", "imu"]
    assert set(one.labels) == set(DATASETS["synthetic"].tasks)
    for a, b in zip(one.tracks, again.tracks, strict=True):
        assert np.array_equal(a.values, b.values)


def test_faster_motion_is_shorter_and_turns_quicker():
    stream = Stream("imu", "imu", "wrist")
    t = np.arange(300) * 10_000_000
    one = Recording(
        "r", "d", "p", (Track("watch", stream, t, np.ones((300, 6), np.float32)),),
        {ACTIVITY: Segments(np.array([0, 1_000_000_000, t[-1]]), np.array([0, 2]))},
    )  # fmt: skip
    quick = faster(one, 2.0)
    assert quick.tracks[0].t[-1] == t[-1] // 2
    assert quick.labels[ACTIVITY].edges[1] == 500_000_000
    assert quick.tracks[0].values[0].tolist() == [1, 1, 1, 2, 2, 2]
    kept = np.full((300, 9), 2, np.int16)
    turned = replace(one.tracks[0], values=kept, scale=0.5)
    drive = Track("car", Stream("gps", "gps", "car"), t, np.ones((300, 4), np.float32))
    turned, drive = faster(replace(one, tracks=(turned, drive)), 2.0).tracks
    assert turned.values[0].tolist() == [1, 1, 1, 2, 2, 2, 1, 1, 1]
    assert drive.values[0].tolist() == [1, 1, 1, 2]
    assert (kept == 2).all()


def test_a_source_cuts_what_the_model_senses_or_says_that_there_is_nothing():
    def recorded(modality, count, channels=1):
        t = np.arange(count) * (SECOND // 100)
        return Track("d", Stream(modality, modality, "wrist"), t, np.ones((count, channels), np.float32))

    both = Recording("r", "a set", "p", (recorded("imu", 500, 6), recorded("gaze", 500, 2)), {})
    heard = replace(sp_sw_har(), model=model_for("sp_sw_har"))
    assert Source([both], heard).motion
    t = np.arange(8_000) * (SECOND // 16_000)
    clip = Track("d", Stream("audio", "audio", "table"), t, np.ones((8_000, 1), np.int16))
    for track, config, held in (
        (recorded("imu", 50, 6), heard, "imu"),
        (clip, esc10(), "audio"),
    ):
        with pytest.raises(DataError, match=f"a set: 1 recordings to train on hold {held} and no whole window; take"):
            Source([replace(both, tracks=(track,))], config)
    known = {"activity-recognition": Segments(np.array([0, 5 * SECOND]), np.array([0]))}
    blind = replace(both, tracks=(recorded("gaze", 500, 2),), labels=known)
    with pytest.raises(DataError, match="sp_sw_har: nothing that it holds here is imu; take the set out"):
        split_all(heard, {"sp_sw_har": [blind, replace(blind, person="q"), replace(blind, person="r")]})


def test_splits_keep_a_person_on_one_side(tmp_path):
    write_sp_sw_har(tmp_path, people=9)
    recordings = DATASETS["sp_sw_har"].read(tmp_path)
    tested: list[str] = []
    for fold in range(3):
        config = replace(sp_sw_har(), folds=3, fold=fold)
        parts = split(recordings, config)
        people = [{r.person for r in part} for part in (parts.train, parts.validation, parts.test)]
        assert sum(map(len, people)) == len(set().union(*people)) == 9
        assert len(people[1]) >= 1
        tested += sorted(people[2])
    assert sorted(tested) == sorted({r.person for r in recordings})
    published = [replace(r, fold=int(r.person[1:]) % 2 + 1) for r in recordings]
    parts = split(published, replace(sp_sw_har(), fold=1))
    assert {r.fold for r in parts.test} == {2}


def test_damaged_files_are_named_and_a_cut_last_line_is_left_out(tmp_path):
    write_sp_sw_har(tmp_path)
    read, path = DATASETS["sp_sw_har"].read, tmp_path / "DATA" / "s01" / "s01_01_sp.csv"
    whole = path.read_text()
    count = len(read(tmp_path)[0].tracks[1].t)
    path.write_text(whole.rstrip()[:-25])
    cut = read(tmp_path)
    assert len(cut[0].tracks[1].t) == count - 1
    assert cut.skipped == ("s01_01_sp.csv line 601",)
    lines = whole.splitlines()
    unlabelled = lines[5].rsplit(",", 1)[0] + ","
    path.write_text("\n".join([*lines[:5], unlabelled, *lines[6:]]) + "\n")
    assert len(read(tmp_path)[0].tracks[1].t) == count
    for text in ("", lines[0] + "\n", whole.replace(lines[5].split(",")[0], "abc"), whole.replace(",17000", ",x17000")):
        path.write_text(text)
        with pytest.raises(DataError, match=r"s01_01_sp\.csv"):
            read(tmp_path)
    write_sp_sw_har_parquet(tmp_path / "sp_sw_har")
    (tmp_path / "sp_sw_har" / "s01.parquet").write_bytes(b"PAR1 no more")
    with pytest.raises(DataError, match=r"s01\.parquet"):
        read(tmp_path / "sp_sw_har")


def test_folds_that_cannot_be_are_refused_before_training(tmp_path):
    write_sp_sw_har(tmp_path, people=3)
    found = {"sp_sw_har": DATASETS["sp_sw_har"].read(tmp_path)}
    with pytest.raises(ConfigError, match="--folds 30: sp_sw_har has 3 person"):
        check_folds(replace(sp_sw_har(), folds=30), found)
    published = {"sp_sw_har": [replace(r, fold=int(r.person[1:])) for r in found["sp_sw_har"]]}
    with pytest.raises(ConfigError, match="comes in folds 1, 2, 3; use --folds 3"):
        check_folds(replace(sp_sw_har(), folds=2), published)


def test_rows_that_lack_a_number_are_skipped_and_named(tmp_path):
    write_sp_sw_har(tmp_path, people=1)
    path = tmp_path / "DATA" / "s01" / "s01_01_sp.csv"
    lines = path.read_text().splitlines()
    for line, column, text in ((3, 6, ""), (5, 6, "9" * 19), (7, 0, "nan"), (9, 2, "")):
        cells = lines[line].split(",")
        lines[line] = ",".join([*cells[:column], text, *cells[column + 1 :]])
    path.write_text("\n".join(lines) + "\n")
    found = DATASETS["sp_sw_har"].read(tmp_path)
    assert found.skipped == tuple(f"s01_01_sp.csv sample {n} of 01_sp" for n in (3, 5, 7, 9))
    track = found[0].tracks[1]
    assert len(track.t) == len(lines) - 1 - 4
    assert np.isfinite(track.values).all() and (np.diff(track.t) >= 0).all()


def test_a_second_is_defined_once():
    root = Path(__file__).parent.parent
    code = (path for top in ("broker", "edge", "backend", "export") for path in (root / top).rglob("*.py"))
    assert [str(p.relative_to(root)) for p in code if re.search(r"\b1_000_000_000\b", p.read_text())] == [
        "edge/clock.py"
    ]
