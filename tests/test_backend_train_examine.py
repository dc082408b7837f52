"""The report of a checkpoint on a data set: by device and by sensor, by clip, and what was skipped."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from backend.checkpoint import Checkpoint
from backend.model.sensorlm import ModelConfig, Predictor, SensorModel
from backend.recipes import model_for
from backend.tasks import TASKS, Classification
from backend.train.evaluate import cut_all, decide, encode
from backend.train.examine import examine, examine_recordings, figures, in_words, summary
from backend.train.state import new_state
from broker.errors import DataError
from tests.small_runs import ACTIVITY, EVENT, motion_alone, tiny
from tests.small_sets import read, write_sp_sw_har, written


def test_shuffled_sensors_leave_only_chance(scenes):
    predictor = Predictor(Checkpoint(new_state(tiny()).model))
    encoded = encode(predictor, cut_all(scenes))
    plain, shuffled = decide(predictor, encoded, EVENT), decide(predictor, encoded, EVENT, shuffle=1)
    assert np.array_equal(plain.true, shuffled.true)
    assert not np.allclose(plain.said, shuffled.said, atol=1e-3)
    report = examine_recordings("synthetic", scenes, predictor)
    assert report["devices"].keys() == {"all", "watch", "phone", "strap", "earbud", "anklet"}
    assert set(report["tasks"]) == {EVENT}


def test_clips_are_decided_whole_and_by_sensor(tmp_path):
    """A clip is one decision of each choice of sensors, and one that has none of them is left out."""
    recordings = read(written(tmp_path, "utd_mhad"), "utd_mhad")
    torch.manual_seed(0)
    predictor = Predictor(Checkpoint(SensorModel(model_for("utd_mhad")).eval()))
    blind = [replace(r, tracks=r.tracks[:2]) for r in recordings[:2]]
    report = examine_recordings("utd_mhad", [*blind, *recordings[2:]], predictor)
    assert report["n"] == 6 and report["windows"]["n"] > 6
    assert {name: one["n"] for name, one in report["sensors"].items()} == {
        "imu": 6, "depth": 4, "skeleton": 6, "imu+depth": 6, "imu+skeleton": 6
    }  # fmt: skip
    assert report["tasks"]["pose-estimation"]["n"] > 6  # regressions stay by window
    together = summary("utd_mhad", {0: [report, report]})
    assert together["sensors"]["depth"]["accuracy"] == report["sensors"]["depth"]["accuracy"]


def test_every_metric_has_a_word():
    for task in (task for task in TASKS.values() if not isinstance(task, Classification)):
        report = {"task": task.name, "metric": task.metric, task.metric: 1.0, "n": 1, "interval": {}}
        assert "_" not in figures(report)


def test_answers_in_words_have_a_line_of_their_own():
    said = {"n": 8, "readable": 1.0, "off": {"x": 2.5, "y": 0.125}, "shuffled": {"off": {}}, "refused": 0.25}
    report = {"task": "gaze-estimation", "text": said | {"cannot_tell": 0.5}}
    assert in_words(report) == (
        "gaze-estimation in words: off by x 2.5 and y 0.125, with the sensors of other moments off by no number, "
        "readable 1.0000, cannot tell 0.2500 where sensors can, 0.5000 where nothing can, n 8"
    )
    assert in_words({"task": "gaze-estimation"}) is None
    assert in_words({"task": "gaze-estimation", "text": {"n": 0}}) is None


def test_what_was_skipped_is_in_the_report(tmp_path):
    write_sp_sw_har(tmp_path, people=2)
    cut, timeless, short = (
        tmp_path / f"DATA/s01/s01_0{run}_{device}.csv" for run, device in ((1, "sp"), (1, "sw"), (2, "sp"))
    )
    cut.write_text(cut.read_text().rstrip()[:-25])
    lines = timeless.read_text().splitlines()
    cells = lines[4].split(",")
    timeless.write_text("\n".join([*lines[:4], ",".join([*cells[:6], "", cells[7]]), *lines[5:]]) + "\n")
    for device in ("sp", "sw"):
        short.with_name(f"s01_02_{device}.csv").write_text("\n".join(lines[:30]) + "\n")
    config = motion_alone()
    report = examine("sp_sw_har", tmp_path, Checkpoint(new_state(config).model))
    assert report["skipped"] == {
        "count": 3,
        "first": ["s01_01_sw.csv sample 4 of 01_sw", "s01_01_sp.csv line 601", "s01_02 (shorter than a window)"],
    }


def test_a_set_that_nothing_is_measured_by_says_so(tmp_path):
    """The error was "the checkpoint has none of its tasks ()"."""
    with pytest.raises(DataError, match="fsdd: has no task to be measured by; choose one of synthetic, "):
        examine("fsdd", tmp_path, Checkpoint(SensorModel(ModelConfig(("imu",), (ACTIVITY,))).eval()))


def test_labels_that_a_checkpoint_does_not_know_are_named(tmp_path):
    recordings = read(written(tmp_path, "utd_mhad"), "utd_mhad")
    torch.manual_seed(0)

    def knowing(*labels):
        config = ModelConfig(("imu",), (ACTIVITY,), outputs={ACTIVITY: labels})
        return Predictor(Checkpoint(SensorModel(config).eval()))

    with pytest.raises(DataError, match=f"utd_mhad: the checkpoint knows none of its labels or points of {ACTIVITY}"):
        examine_recordings("utd_mhad", recordings, knowing("WALKING", "SEATED"))
    report = examine_recordings("utd_mhad", recordings, knowing("WALKING", "wave", "clap"))
    assert len(report["windows"]["never_said"]) == 25 and "wave" not in report["windows"]["never_said"]
