import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from backend.checkpoint import PRETRAINED, Checkpoint, load_checkpoint, save_checkpoint
from backend.cli import app
from backend.model.sensorlm import ModelConfig, SensorModel
from backend.tasks import TASKS, Classification
from broker.errors import CheckpointError
from broker.modalities import MODALITIES

SMALL = {"imu": {"width": 16, "blocks": 1}}


@pytest.fixture
def saved(tmp_path):
    torch.manual_seed(0)
    model = SensorModel(ModelConfig(modalities=("imu",), tasks=("activity-recognition",), encoders=SMALL))
    checkpoint = Checkpoint(model.eval(), {"activity-recognition": 1.2}, {"activity-recognition": 0.6}, {"note": "x"})
    save_checkpoint(checkpoint, tmp_path)
    return checkpoint, tmp_path


def test_what_is_loaded_is_what_was_saved(saved):
    checkpoint, folder = saved
    loaded = load_checkpoint(folder)
    assert loaded.digest == checkpoint.digest == json.loads((folder / "config.json").read_text())["digest"]
    assert loaded.encoders == checkpoint.encoders
    assert loaded.temperatures == checkpoint.temperatures
    assert loaded.record == {"note": "x"}
    assert not list(folder.glob("*.part"))


def test_the_digest_knows_weights_and_calibration(saved):
    checkpoint, folder = saved
    other = load_checkpoint(folder)
    other.temperatures["activity-recognition"] = 1.3
    assert other.digest != checkpoint.digest
    assert other.encoders == checkpoint.encoders
    other = load_checkpoint(folder)
    with torch.no_grad():
        next(other.model.encoders["imu"].parameters()).add_(1e-4)
    assert other.digest != checkpoint.digest
    assert other.encoders != checkpoint.encoders


def test_a_broken_checkpoint_says_what_is_wrong(saved, tmp_path):
    _, folder = saved
    config = json.loads((folder / "config.json").read_text())
    for change, complaint in (
        ({"format": 99}, "format 99, .*; train it again"),
        ({"model": {**config["model"], "outputs": {"activity-recognition": ["A"]}}}, "has 'A', which the task"),
        ({"model": {**config["model"], "dim": 64}}, "do not fit.*; get it again"),
        ({"model": {**config["model"], "wings": 2}}, "wings"),
        ({"model": {**config["model"], "fusion": "xx"}}, "fusion is 'xx': choose one of"),
    ):
        (folder / "config.json").write_text(json.dumps({**config, **change}))
        with pytest.raises(CheckpointError, match=complaint):
            load_checkpoint(folder)
    (folder / "config.json").write_text(json.dumps(config))
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match="unreadable"):
        load_checkpoint(folder)
    with pytest.raises(CheckpointError, match="missing"):
        load_checkpoint(tmp_path / "nowhere")
    with pytest.raises(CheckpointError, match="missing"):
        load_checkpoint(folder / "config.json")


def test_the_bundled_checkpoint_is_small_whole_and_described():
    checkpoint = load_checkpoint()
    assert set(checkpoint.model.config.tasks) == set(TASKS)
    assert set(checkpoint.model.config.modalities) == set(MODALITIES)
    classifications = {name for name, task in TASKS.items() if isinstance(task, Classification)}
    assert set(checkpoint.temperatures) == set(checkpoint.thresholds) == classifications & set(checkpoint.model.tasks)
    assert sum(path.stat().st_size for path in PRETRAINED.rglob("*") if path.is_file()) <= 32 * 2**20
    assert json.loads((PRETRAINED / "config.json").read_text())["digest"] == checkpoint.digest
    assert all(np.isfinite(v.numpy()).all() for v in checkpoint.model.state_dict().values())
    card = (PRETRAINED / "MODEL_CARD.md").read_text()
    for word in ("CC BY 4.0", "CC BY 3.0", checkpoint.digest[:12], "Limits"):
        assert word in card


def test_damaged_checkpoints_are_named(tmp_path):
    for text in ('{"format": 1}', "[]", "no json"):
        save_checkpoint(Checkpoint(SensorModel(ModelConfig())), tmp_path / "c")
        (tmp_path / "c" / "config.json").write_text(text)
        with pytest.raises(CheckpointError, match="checkpoint"):
            load_checkpoint(tmp_path / "c")
    save_checkpoint(Checkpoint(SensorModel(ModelConfig())), tmp_path / "c")
    weights = bytearray((tmp_path / "c" / "model.safetensors").read_bytes())
    weights[-3] ^= 0x40
    (tmp_path / "c" / "model.safetensors").write_bytes(weights)
    with pytest.raises(CheckpointError, match="changed after training"):
        load_checkpoint(tmp_path / "c")


def test_the_bundled_checkpoint_is_what_its_recipe_makes():
    """Stage 2 of it; but for how long, since stage 1 went on from an earlier checkpoint of the package."""
    from backend.recipes import bundled, instructed
    from backend.train.config import config_from_json

    made = config_from_json(load_checkpoint().record["config"])
    assert made.model.language is not None
    wanted = instructed(bundled(), made.start, made.model.language)
    long = {name: getattr(made, name) for name in ("steps", "learning_rate", "texts", "text_weight")}
    assert made == replace(wanted, **long)


def test_info_tells_a_newcomer_what_a_checkpoint_decides(saved):
    checkpoint, folder = saved
    shown = CliRunner().invoke(app, ["info"], env={"COLUMNS": "100"}).output
    bundled = load_checkpoint()
    words = {word.strip(",") for word in shown.split()}
    chosen = [task for task in bundled.model.tasks.values() if isinstance(task, Classification)]
    labels = {label for task in chosen for label in task.labels}
    assert labels | set(bundled.model.tasks) | set(bundled.encoders) <= words
    assert {f"{threshold:g}" for threshold in bundled.thresholds.values()} <= words
    assert {bundled.digest, "sp_sw_har", "esc10", "synthetic", "BY", "4.0"} <= words
    shown = CliRunner().invoke(app, ["info", str(folder)]).output
    assert checkpoint.digest in shown and "not recorded" in shown and "dog-bark" not in shown


def test_info_cuts_no_name_off_on_a_narrow_terminal():
    shown = CliRunner().invoke(app, ["info"], env={"COLUMNS": "80"}).output
    assert "…" not in shown
    cells = [[cell.strip() for cell in line.split("│")[1:-1]] for line in shown.splitlines() if line.startswith("│")]
    rows: list[list[str]] = []
    for line in cells:  # a row's further lines have no task
        if line[0]:
            rows.append(line)
        else:
            rows[-1] = [before + more for before, more in zip(rows[-1], line, strict=True)]
    told = {row[0]: row[-1].replace(" ", "").split(",") for row in rows}
    for name, task in load_checkpoint().model.tasks.items():
        if isinstance(task, Classification):
            assert told[name] == [label.replace(" ", "") for label in task.labels]
