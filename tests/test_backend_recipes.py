"""Recipes and settings: what a setting changes, what comes back from a file, what is refused before data are read."""

import json

import pytest
import torch
from typer.testing import CliRunner

from backend import recipes
from backend.cli import app
from backend.data import DATASETS
from backend.recipes import recipe
from backend.tasks import TASKS
from backend.train.config import config_from_json, with_settings
from broker.errors import ConfigError
from tests.small_runs import ACTIVITY, tiny

SP_SW_HAR = 'datasets={"sp_sw_har": 1}'


def test_settings_change_fields_and_name_mistakes():
    config = with_settings(
        recipe("bundled"), ["steps=7", "augment.tilt=0.5", "augment.sound.speed=0.1", "model.fusion=late", "clip=3"]
    )
    assert (config.steps, config.augment.tilt, config.augment.sound.speed) == (7, 0.5, 0.1)
    assert (config.model.fusion, config.clip) == ("late", 3.0)
    assert recipe("bundled").steps != 7
    both = with_settings(recipe("bundled"), ['model.modalities=["imu"]', f'model.tasks=["{ACTIVITY}"]', SP_SW_HAR])
    assert (both.model.modalities, both.datasets) == (("imu",), {"sp_sw_har": 1.0})
    for wrong, complaint in (
        ("steps", "field=value"),
        ("stepz=1", "no field 'stepz'; fields: accumulate, augment, "),
        ("seed.x=1", "no field 'x'"),
    ):
        with pytest.raises(ConfigError, match=complaint):
            with_settings(recipe("bundled"), [wrong])
    with pytest.raises(ConfigError, match="choose one of"):
        recipe("none")


@pytest.mark.parametrize("name", recipes.RECIPES)
def test_a_saved_configuration_comes_back(name):
    config = recipe(name)
    assert config_from_json(json.loads(json.dumps(config.to_json()))) == config


@pytest.mark.parametrize(
    ("setting", "complaint"),
    [
        ("model.fusion=xx", "model.fusion is 'xx': choose one of model, early, late"),
        ('model.modalities=["imu", "smell"]', "model.modalities.1 is 'smell': choose one of imu, "),
        ('model.tasks=["sleep"]', "model.tasks.0 is 'sleep': choose one of"),
        ('model.modalities=["capacitance"]', "but modalities has none of depth, gaze, image, imu"),
        ('model.encoders={"imu": {"wings": 2}}', "encoders.imu has no 'wings'; options: rate"),
        ('model.encoders={"audio": {"bands": 0}}', "model.encoders.audio is {'bands': 0}: it cannot be built: "),
        ('model.encoders={"audio": {"bands": 1}}', "model.encoders.audio is {'bands': 1}: it cannot be built: "),
        ('model.encoders={"imu": {"width": "x"}}', "model.encoders.imu is {'width': 'x'}: it cannot be built: "),
        ('model.encoders={"imu": {"tokens": 2}}', "imu is {'tokens': 2}: tokens of (2, 128), the model takes (4, 128)"),
        ("augment.sound.noise_db=[40, 5]", "augment.sound.noise_db is [40, 5]: give the lower end first"),
        ("augment.sound.quiet_db=[0, -1]", "augment.sound.quiet_db is [0, -1]: give the lower end first"),
        ("model.parts=3", "their product has to be 20"),
        ('varied={"moon": {}}', "varied.moon is 'moon': choose one of"),
        ('datasets={"moon": 1}', "datasets.moon is 'moon': choose one of synthetic, "),
        ('datasets={"esc10": 1}', "model.tasks has gaze-estimation, which no dataset here labels"),
        ("datasets={}", "datasets: "),
        ("steps=0", "steps is 0: "),
        ("steps=many", "steps is 'many': "),
        ("steps=true", "steps is True: "),
        ("slots=0", "slots is 0: "),
        ("crops=0", "crops is 0: "),
        ("validation=1", "validation is 1: Input should be less than 1"),
        ("validation=-0.1", "validation is -0.1: "),
        ("learning_rate=NaN", "learning_rate is nan: "),
        ("drop.whole=2", "drop.whole is 2: "),
        ("fold=5", "fold is 5 of 5 folds"),
    ],
)
def test_what_cannot_be_trained_is_refused_before_data_are_read(tmp_path, setting, complaint):
    common = ["train", "--recipe", "bundled", "--data", str(tmp_path), "--out", str(tmp_path / "out")]
    error = CliRunner().invoke(app, [*common, "--set", setting]).exception
    assert isinstance(error, ConfigError)
    assert complaint in str(error)
    assert not (tmp_path / "out").exists()


def test_what_is_simulated_needs_no_folder_and_what_is_recorded_asks_for_one(tmp_path):
    none = recipe("simulator").datasets
    assert none and all(DATASETS[name].unseen for name in none)
    assert set(recipe("simulator").model.tasks) == set(TASKS)
    result = CliRunner().invoke(app, ["train", "--recipe", "bundled", "--out", str(tmp_path / "out")])
    assert isinstance(result.exception, ConfigError)
    assert "--data: sp_sw_har is recorded; give its folder" in str(result.exception)
    assert not (tmp_path / "out").exists()


def test_a_configuration_leaves_the_random_numbers_as_they_are():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    tiny()
    assert torch.equal(torch.get_rng_state(), before)
