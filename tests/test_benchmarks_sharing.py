"""One model of many sets beside one per set: the same people, the same metric, and what is not compared."""

import json
import sys

import pytest

from backend.checkpoint import Checkpoint, save_checkpoint
from benchmarks import sharing
from tests.serving import senses_checkpoint


def run(folder, held, reports):
    """A folder as `backend train` leaves it, with the people held out by set, and what was measured on them."""
    record = {"people": {name: {"train": ["a"], "validation": people, "test": []} for name, people in held.items()}}
    folder.mkdir()
    save_checkpoint(Checkpoint(senses_checkpoint().model, {}, {}, record), folder)
    (folder / "validation.json").write_text(json.dumps(reports))
    return str(folder)


def motion(accuracy):
    about = {"task": "activity-recognition", "metric": "balanced_accuracy", "n": 9, "balanced_accuracy": 0.1}
    return {**about, "accuracy": accuracy, "interval": {"accuracy": [0.5, 0.9]}, "majority": {"accuracy": 0.4}}


def gaze(error):
    about = {"task": "gaze-estimation", "metric": "error_cm", "n": 5, "interval": {}}
    return {**about, "error_cm": error, "constant": {"error_cm": 4.7}}


def test_gains_are_of_the_same_people_and_what_is_not_compared_is_said(tmp_path, monkeypatch, capsys):
    everyone = {"sp_sw_har": ["b"], "eyemu_gaze": ["P1"], "esc10": ["c"], "kitti_samples": []}
    both = run(tmp_path / "real", everyone, {"sp_sw_har": motion(0.7), "eyemu_gaze": gaze(1.5)})
    har = run(tmp_path / "har", {"sp_sw_har": ["b"]}, {"sp_sw_har": motion(0.8)})
    eyes = run(tmp_path / "eyes", {"eyemu_gaze": ["P1"]}, {"eyemu_gaze": gaze(1.7)})
    out = tmp_path / "sharing.json"
    monkeypatch.setattr(sys, "argv", ["sharing", both, har, eyes, "--out", str(out)])
    sharing.main()
    gains = {name: one["gain"] for name, one in json.loads(out.read_text()).items()}
    assert gains == {"sp_sw_har/activity-recognition": -0.1, "eyemu_gaze/gaze-estimation": 0.2}
    said = capsys.readouterr().out
    assert (
        "| sp_sw_har, activity-recognition | accuracy | 1, 9 | 0.4 | 0.7 [0.5, 0.9] | 0.8 [0.5, 0.9] | -0.1 |" in said
    )
    assert "kitti_samples/depth-estimation: not compared, nobody was held out" in said

    others = run(tmp_path / "others", {"sp_sw_har": ["x"]}, {"sp_sw_har": motion(0.8)})
    monkeypatch.setattr(sys, "argv", ["sharing", both, others, "--out", str(out)])
    with pytest.raises(SystemExit, match="held out"):
        sharing.main()
