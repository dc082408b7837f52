"""Parts of a step, in one process or two: the same weights, saved, resumed, interrupted; patience; frozen parts."""

import json
import os
import signal
from dataclasses import replace

import pytest
import torch

from backend.model.sensorlm import ModelConfig
from backend.recipes import TrainConfig
from backend.train.held import Held
from backend.train.loop import run_steps
from backend.train.source import Mixture, Source
from backend.train.state import load_state, new_state
from tests.small_runs import ACTIVITY, TINY, tiny

MOTION = ["imu"]
"""Of the model of these tests: quick, and with statistics of normalisation."""


def small(**changes) -> TrainConfig:
    model = ModelConfig(modalities=("imu",), tasks=(ACTIVITY,), encoders={"imu": TINY["imu"]}, layers=1)
    return tiny(**{"model": model, "steps": 6, "crops": 4, "device": "cpu", **changes})


@pytest.fixture(scope="module")
def motion(scenes):
    return [replace(r, tracks=r.tracks[:2], labels={ACTIVITY: r.labels[ACTIVITY]}) for r in scenes]


WEIGHTS = {ACTIVITY: torch.ones(ModelConfig().task(ACTIVITY).size)}


def go(state, config, recordings, folder, until=None, held=None) -> list[dict]:
    """Run to the end, or as if interrupted when `until` steps are done; the lines of metrics.jsonl."""

    def report(line):
        if line["step"] == until:
            os.kill(os.getpid(), signal.SIGINT)

    mixture = Mixture({"synthetic": Source(recordings, config)}, config)
    done = run_steps(state, mixture, WEIGHTS, config, folder, report, held)
    assert done == (until is None)
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("changes", [{"accumulate": 2}, {"balance": "uncertainty", "accumulate": 2}, {"patience": 2}])
def test_resumed_is_uninterrupted(motion, tmp_path, changes):
    tasks = (ACTIVITY, "3d-reconstruction")[: 1 + ("balance" in changes)]
    config = small(measure_every=2, **changes)
    if "balance" in changes:  # a balance of one task has nothing to learn
        model = ModelConfig(modalities=("imu", "audio"), encoders=TINY, layers=1)
        config = replace(config, model=model)
    del tasks
    held = Held({"synthetic": motion[1:]}, config) if config.patience else None
    weights = {name: torch.ones(config.model.task(name).size) for name in config.model.tasks}
    WEIGHTS.update(weights)
    straight, cut = new_state(config), new_state(config)
    whole = go(straight, config, motion, tmp_path / "whole", held=held)
    go(cut, config, motion, tmp_path / "cut", until=3, held=held)
    cut = load_state(config, tmp_path / "cut")
    assert go(cut, config, motion, tmp_path / "cut", held=held) == whole
    assert cut.watch == straight.watch and bool(cut.best) == bool(config.patience)
    for one, other in ((straight.average, cut.average), (straight.best, cut.best)):
        assert all(torch.equal(value, other[name]) for name, value in one.items())
    assert all(torch.equal(p, q) for p, q in zip(straight.learned().values(), cut.learned().values(), strict=True))
    if config.balance == "uncertainty":
        assert cut.balance.log_variance.abs().min() > 0
