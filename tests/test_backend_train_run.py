"""`backend train` from a folder of data to a checkpoint and its report, and what it says on the way."""

import io
import os
import re
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from rich.console import Console
from typer.testing import CliRunner

from backend.checkpoint import load_checkpoint
from backend.cli import app
from backend.model.sensorlm import ModelConfig
from backend.tasks import TASKS
from backend.tasks.activity import MOBILITY
from backend.train import run
from backend.train.examine import examine
from backend.train.run import take_out_weights, train
from backend.train.state import new_state
from broker.errors import ConfigError, DataError
from tests.small_runs import ACTIVITY, QUIET, TINY, motion_alone, tiny
from tests.small_sets import write_sp_sw_har


def test_train_and_eval_from_a_folder_of_strangers(tmp_path):
    write_sp_sw_har(tmp_path / "data", people=4)
    config = motion_alone("steps=6", "validation=0.3", "save_every=3")
    out = tmp_path / "run"
    train(config, tmp_path / "data", out, QUIET)
    made = {path.name for path in out.iterdir()}
    assert made >= {
        "model.safetensors",
        "config.json",
        "train.json",
        "metrics.jsonl",
        "state.safetensors",
        "curves.png",
    }
    assert "confusion-sp_sw_har-activity-recognition.png" in made
    checkpoint = load_checkpoint(out)
    people = checkpoint.record["people"]["sp_sw_har"]
    assert set(people["train"]) | set(people["validation"]) == {"s01", "s02", "s03", "s04"}
    report = examine("sp_sw_har", tmp_path / "data", checkpoint)
    assert {
        "accuracy",
        "balanced_accuracy",
        "macro_f1",
        "n",
        "split",
        "by_class",
        "by_person",
        "interval",
    } <= set(report)
    assert set(report["devices"]) == {"both", "watch", "phone"}
    assert {"ece", "majority", "shuffled"} <= set(report)
    with pytest.raises(ConfigError, match="steps differ"):
        train(replace(config, steps=9), tmp_path / "data", out, QUIET, resume=True)


def test_weights_of_the_loss_leave_no_trace_in_probabilities():
    """Fitted with weights to one logit per label, the share of each label comes back once they are taken out."""
    share = torch.tensor([0.05, 0.1, 0.5, 0.25, 0.1])
    weight = torch.from_numpy(TASKS[ACTIVITY].only(MOBILITY).weights(share.numpy()))
    fitted = (share * weight / (share * weight).sum()).log()
    model = new_state(tiny(model=ModelConfig(encoders=TINY, outputs={ACTIVITY: tuple(MOBILITY)}))).model
    with torch.no_grad():
        model.heads[ACTIVITY].weight.zero_()
        model.heads[ACTIVITY].bias.copy_(fitted)
        take_out_weights(model, {ACTIVITY: weight})
        logits = model.heads[ACTIVITY](torch.zeros(1, model.config.dim))
    assert torch.allclose(logits.softmax(-1)[0], share, atol=1e-6)


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        (["--folds", "1"], "folds is 1: "),
        (["--seeds", "2"], "--seeds 2: goes with --folds"),
        (["--folds", "2", "--seeds", "2", "--set", "seed=4294967295"], "--seeds 2 from seed 4294967295 on"),
        (["--resume", "--overwrite"], "choose one"),
    ],
)
def test_flags_that_make_no_sense_together_are_refused(tmp_path, flags, complaint):
    common = ["train", "--recipe", "bundled", "--data", str(tmp_path), "--out", str(tmp_path / "out")]
    error = CliRunner().invoke(app, [*common, *flags]).exception
    assert isinstance(error, ConfigError)
    assert complaint in str(error)


def test_calibration_on_those_it_learned_from_is_said_and_recorded(tmp_path):
    write_sp_sw_har(tmp_path / "data", people=2)
    for validation, role in (("0", "train"), ("0.5", "validation")):
        console, out = Console(file=io.StringIO(), width=200), tmp_path / role
        train(motion_alone(f"validation={validation}"), tmp_path / "data", out, console)
        told = [console.file.getvalue(), (out / "MODEL_CARD.md").read_text()]
        assert load_checkpoint(out).record["calibrated_on"] == {"sp_sw_har": role}
        assert ["those it learned from" in text for text in told] == [role == "train"] * 2
        assert "| nobody: " in told[1] or role != "train"


def test_what_is_read_is_said_and_eval_needs_no_file(tmp_path):
    write_sp_sw_har(tmp_path / "data", people=4)
    said = Console(file=io.StringIO(), width=40)
    train(motion_alone("steps=2", "validation=0.3"), tmp_path / "data", tmp_path / "run", said)
    first, second = said.file.getvalue().splitlines()[:2]
    assert first == f"reading sp_sw_har in {tmp_path / 'data'} ..."
    assert re.fullmatch(r"\d+ recordings of sp_sw_har in \d+\.\d s", second)
    before = sorted(tmp_path.rglob("*"))
    flags = ["--dataset", "sp_sw_har", "--root", str(tmp_path / "data"), "--checkpoint", str(tmp_path / "run")]
    command = [sys.executable, "-m", "backend.cli", "eval", *flags]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    measured, warning = done.stdout.splitlines()
    assert measured.startswith("sp_sw_har activity-recognition: accuracy ")
    assert re.match(r"sp_sw_har figures are optimistic: \d of \d people were in the training", warning)
    assert done.stderr.startswith("reading sp_sw_har in ")
    assert sorted(tmp_path.rglob("*")) == before


def test_the_bar_begins_without_a_loss(tmp_path):
    write_sp_sw_har(tmp_path / "data", people=4)
    screen = Console(file=io.StringIO(), width=120, force_terminal=True)
    train(motion_alone("steps=2", "validation=0.3"), tmp_path / "data", tmp_path / "run", screen)
    assert "nan" not in screen.file.getvalue()
    assert re.search(r"loss \d\.\d{3}", screen.file.getvalue())


def test_a_set_that_cannot_be_measured_costs_no_checkpoint(tmp_path, monkeypatch):
    write_sp_sw_har(tmp_path / "data", people=4)

    def unmeasurable(*_, **__):
        raise DataError("sp_sw_har: no labelled window")

    monkeypatch.setattr(run, "examine_recordings", unmeasurable)
    said = Console(file=io.StringIO(), width=200)
    made = train(motion_alone("steps=2", "validation=0.3"), tmp_path / "data", tmp_path / "run", said)
    assert load_checkpoint(tmp_path / "run").digest == made.digest
    assert "not measured on people held out: sp_sw_har: no labelled window" in said.file.getvalue()
    assert (tmp_path / "run" / "MODEL_CARD.md").is_file()


def test_a_training_is_the_same_in_every_process():
    """The order of a set of words changes from process to process, and sums with it."""
    script = """
import torch
from backend.data.synthetic import scene_recording
from backend.model.sensorlm import ModelConfig
from backend.train.loop import train_step
from backend.train.state import new_state
from backend.train.source import Mixture, Source
from tests.small_runs import tiny

torch.set_num_threads(1)
senses, task = ("imu", "gps", "audio"), "activity-recognition"
config = tiny(model=ModelConfig(senses, (task,)), datasets={"synthetic_drive": 1.0})
drive = scene_recording(10_000, seconds=16, scene="drive", senses=senses)
state, mixture = new_state(config), Mixture({"synthetic_drive": Source([drive], config)}, config)
for _ in range(3):
    line = train_step(state, mixture, {task: torch.ones(config.model.task(task).size)}, config)
print(line, [float(p.double().sum()) for p in state.model.parameters()])
"""
    said = set()
    for seed in "135":
        command, hashed = [sys.executable, "-c", script], {**os.environ, "PYTHONHASHSEED": seed}
        said.add(subprocess.run(command, env=hashed, capture_output=True, text=True, check=True).stdout)
    assert len(said) == 1
