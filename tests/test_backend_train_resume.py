"""What a run's folder holds already: Ctrl-C keeps it, --resume goes on with it, --overwrite alone removes it."""

import json
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from typer import Abort
from typer.testing import CliRunner

from backend.checkpoint import load_checkpoint
from backend.cli import app
from backend.model.language import LanguageConfig
from backend.model.sensorlm import ModelConfig
from backend.recipes import recipe
from backend.train.config import TrainConfig, with_settings
from backend.train.folder import FOLDS_FILES
from backend.train.run import train, train_folds
from backend.train.state import new_state, save_state
from broker.errors import CheckpointError, ConfigError, DataError
from tests.small_runs import ACTIVITY, EVENT, QUIET, motion_alone, tiny
from tests.small_sets import write_sp_sw_har


def begun(folder: Path, config: TrainConfig) -> TrainConfig:
    """A run of that configuration, as if interrupted before its first step."""
    folder.mkdir(parents=True)
    (folder / "train.json").write_text(json.dumps(config.to_json()))
    save_state(new_state(config), folder)
    return config


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def interrupted(command: list[str], when: Path | None) -> str:
    """Start it, press Ctrl-C once that file is there, or it has said a line, and return what it said on stderr."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            end = time.monotonic() + 120
            if when is None:
                process.stdout.readline()
            while when and not when.exists():
                assert process.poll() is None and time.monotonic() < end
                time.sleep(0.002)
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=120)
        finally:
            process.kill()
    assert process.returncode == 130, said
    return said


def backend_train(name: str, data: Path, out: Path, *settings: str) -> list[str]:
    command = [sys.executable, "-m", "backend.cli", "train", "--recipe", name, "--data", str(data), "--out", str(out)]
    return [*command, *(word for setting in settings for word in ("--set", setting))]


GOES_ON = "the same command with --resume goes on\n"


def test_what_cannot_be_resumed_is_named_before_data_are_read(tmp_path):
    nowhere = tmp_path / "no data"
    config, state = begun(tmp_path / "a", tiny()), tmp_path / "a" / "state.safetensors"
    whole = state.read_bytes()
    other = tiny(model=ModelConfig(encoders={"imu": {"width": 16}}))
    begun(tmp_path / "b", other)
    for damaged, complaint in (
        (whole[: len(whole) // 2], "damaged"),
        (b"", "damaged"),
        ((tmp_path / "b" / "state.safetensors").read_bytes(), "another shape"),
    ):
        state.write_bytes(damaged)
        with pytest.raises(CheckpointError, match=f"{state}: .*{complaint}.*--overwrite") as found:
            train(config, nowhere, tmp_path / "a", QUIET, resume=True)
        assert "\n" not in str(found.value)
    for text in ('{"recipe": "ti', "[]", "{}", '{"recipe": "tiny", "datasets": {"synthetic": 1}, "wings": 2}'):
        (tmp_path / "a" / "train.json").write_text(text)
        with pytest.raises(CheckpointError, match=r"train\.json: .*--overwrite"):
            train(config, nowhere, tmp_path / "a", QUIET, resume=True)
    (tmp_path / "a" / "train.json").unlink()
    with pytest.raises(ConfigError, match="nothing to resume"):
        train(config, nowhere, tmp_path / "a", QUIET, resume=True)


def test_settings_that_differ_are_told_with_both_values(tmp_path):
    config = begun(tmp_path / "run", tiny(steps=9))
    for changed, told in (
        (replace(config, steps=4, seed=7), "steps, seed differ from .* (steps is 9 there and 4 here, seed is 0 there"),
        (replace(config, model=replace(config.model, dim=64)), "(model.dim is 128 there and 64 here)"),
        (replace(config, datasets={"synthetic": 2.0}), "(datasets.synthetic is 1.0 there and 2.0 here)"),
        (
            replace(config, model=replace(config.model, language=LanguageConfig("words"))),
            "model.language.llm is None there and words here, ",
        ),
    ):
        words = re.escape(told).replace(r"\.\*", ".*")
        with pytest.raises(ConfigError, match=f"{words}.*; resume with the same settings$") as found:
            train(changed, tmp_path / "no data", tmp_path / "run", QUIET, resume=True)
        assert "\n" not in str(found.value)


@pytest.mark.parametrize(
    ("begin", "there", "fold"), [(train, ".", -1), (train_folds, "fold-0", 0), (train_folds, "seed-7/fold-1", 1)]
)
def test_a_call_that_fails_leaves_everything_as_it_was(tmp_path, begin, there, fold):
    write_sp_sw_har(tmp_path / "data", people=2)
    out, fresh = tmp_path / "out", tmp_path / "fresh"
    begun(out / there, motion_alone(f"fold={fold}"))
    before = contents(out)
    for config, data, complaint in (
        (motion_alone(), "no data", "no sp_sw_har recordings"),
        (motion_alone("folds=3", "fold=0"), "data/DATA/s01", "no person is left|has 1 person; use fewer folds"),
    ):
        for where in (out, fresh):
            with pytest.raises((ConfigError, DataError), match=complaint):
                begin(config, tmp_path / data, where, QUIET, overwrite=where is out)
        assert contents(out) == before
        assert not fresh.exists()


def test_overwriting_removes_what_runs_have_written_and_nothing_else(tmp_path):
    write_sp_sw_har(tmp_path / "data", people=4)
    out, config = tmp_path / "out", motion_alone("validation=0.4", "folds=2")
    mine = ["config.json", "seed-a/fold-0/test.json", "fold-old/train.json", "fold-1/notes.txt", "confusion-mine.png"]
    theirs = ["folds.json", "errors-utd_mhad-pose-estimation.png", "seed-3/fold-0/curves.png", "seed-3/folds.json"]
    for name in mine + theirs:
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_text(name)
    begun(out / "fold-0", replace(config, fold=0, seed=9))
    (out / "seed-3/fold-0/train.json").touch()
    train_folds(config, tmp_path / "data", out, QUIET, overwrite=True)
    assert [(out / name).read_text() for name in mine] == mine
    assert [name for name in theirs if (out / name).exists()] == ["folds.json"]
    assert (out / f"confusion-sp_sw_har-{ACTIVITY}.png").is_file()
    assert {path.name for path in out.glob("*.png")} <= {*FOLDS_FILES, "confusion-mine.png"}
    assert "sp_sw_har" in json.loads((out / "folds.json").read_text())
    with pytest.raises(ConfigError, match=r"config\.json is in the way, and no run's"):
        train(config, tmp_path / "data", out, QUIET, overwrite=True)
    with pytest.raises(ConfigError, match=r"nothing to resume.*it holds folds: name --folds, too"):
        train(config, tmp_path / "data", out, QUIET, resume=True)


@pytest.mark.parametrize("there", ["train.json", "state.safetensors", "fold-0/train.json", "seed-1/fold-0/train.json"])
def test_a_run_is_not_overwritten_by_mistake(tmp_path, there):
    path = tmp_path / "out" / there
    path.parent.mkdir(parents=True)
    path.touch()
    for begin in (train, train_folds)["/" in there :]:
        with pytest.raises(ConfigError, match=f"out: holds a run .{there}.*--resume.*--out.*--overwrite"):
            begin(tiny(), tmp_path / "no data", tmp_path / "out", QUIET)
    assert path.exists()


def test_an_overwritten_run_leaves_nothing_behind(tmp_path):
    write_sp_sw_har(tmp_path / "data", people=3)
    out = tmp_path / "out"
    begun(out, motion_alone("steps=9", "seed=4"))
    left = [out / n for n in ("test.json", f"confusion-esc10-{EVENT}.png", "fold-0/train.json", "mine.txt")]
    for path in left:
        path.parent.mkdir(exist_ok=True)
        path.touch()
    train(motion_alone(), tmp_path / "data", out, QUIET, overwrite=True)
    assert [path.name for path in left if path.exists()] == ["train.json", "mine.txt"]
    assert len((out / "metrics.jsonl").read_text().splitlines()) == 3
    assert load_checkpoint(out).record["config"]["seed"] == 0


def test_ctrl_c_while_data_are_loaded_leaves_nothing_to_go_on_from(tmp_path):
    """Simulated people take long to make."""
    one = ('datasets={"synthetic": 1}', 'model.tasks=["activity-recognition"]')
    command = backend_train("bundled", tmp_path, tmp_path / "out", *one)
    assert interrupted(command, None) == "interrupted; no step was saved; run it again\n"
    assert not (tmp_path / "out").exists()  # so that it may be


@pytest.mark.parametrize("more", [[], ["--folds", "2"]])
def test_ctrl_c_before_a_run_is_overwritten_says_that_it_is_there(tmp_path, monkeypatch, more):
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    out = tmp_path / "out"
    begun(out / ("fold-0" if more else "."), motion_alone())
    before = contents(out)
    monkeypatch.setattr("backend.train.run.read_all", interrupt)
    command = [*backend_train("sp-sw-har", tmp_path, out, "model.fusion=late")[3:], "--overwrite", *more]
    stopped = CliRunner().invoke(app, command, standalone_mode=False).exception
    assert isinstance(stopped, Abort)
    assert str(stopped).startswith(f"the run in {out} is as it was")
    assert contents(out) == before


def test_ctrl_c_while_calibrating_keeps_every_step(tmp_path):
    write_sp_sw_har(tmp_path / "data", people=24)
    settings, out = ("steps=2", "phases=1", "validation=0.9"), tmp_path / "out"
    out.mkdir()  # as if interrupted before the first step
    (out / "train.json").write_text(json.dumps(with_settings(recipe("sp-sw-har"), settings).to_json()))
    resume = [*backend_train("sp-sw-har", tmp_path / "data", out, *settings), "--resume"]
    state = out / "state.safetensors"
    assert interrupted(resume, state) == f"interrupted; 2 steps kept in {out}; {GOES_ON}"
    assert not (out / "model.safetensors").exists()
    before = state.stat().st_mtime_ns
    done = subprocess.run(resume, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "validation sp_sw_har" in done.stdout and "loss" not in done.stdout
    assert state.stat().st_mtime_ns == before
    assert len((out / "metrics.jsonl").read_text().splitlines()) == 2
    assert load_checkpoint(out).record["config"]["steps"] == 2
