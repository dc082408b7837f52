"""The training loop: losses that fall, are balanced or are none, and a resumed run like an uninterrupted one."""

import os
import signal
from dataclasses import replace

import numpy as np
import pytest
import torch

from backend.model.sensorlm import ModelConfig
from backend.tasks import TASKS
from backend.train.batch import DropConfig, answer, assemble
from backend.train.loop import run_steps
from backend.train.losses import task_losses
from backend.train.source import Mixture, Source
from backend.train.state import load_state, new_state
from broker.errors import CheckpointError
from tests.small_runs import ACTIVITY, TINY, tiny


@pytest.fixture(scope="module")
def mixture(scenes):
    return Mixture({"synthetic": Source(scenes, tiny())}, tiny())


WEIGHTS = {name: torch.ones(ModelConfig().task(name).size) for name in ModelConfig().tasks}


def steps(state, mixture, config, folder, until=None) -> list[float]:
    """Run to the end, or as if interrupted when `until` steps are done; returns the losses."""
    losses = []

    def report(line):
        losses.append(line["loss"])
        if line["step"] == until:
            os.kill(os.getpid(), signal.SIGINT)

    done = run_steps(state, mixture, WEIGHTS, config, folder, report)
    assert done == (until is None)
    return losses


def test_a_resumed_run_goes_on_as_if_uninterrupted(mixture, tmp_path):
    config = tiny()
    straight = new_state(config)
    whole = steps(straight, mixture, config, tmp_path / "whole")
    first = steps(new_state(config), mixture, config, tmp_path / "cut", until=5)
    resumed = load_state(config, tmp_path / "cut")
    rest = steps(resumed, mixture, config, tmp_path / "cut")
    assert first + rest == whole
    for name, value in straight.average.items():
        assert torch.equal(value, resumed.average[name]), name
    one, other = ((tmp_path / run / "metrics.jsonl").read_text() for run in ("whole", "cut"))
    assert one == other
    assert len(one.splitlines()) == 8


def test_lines_after_the_saved_step_are_forgotten(mixture, tmp_path):
    config = tiny()
    steps(new_state(config), mixture, config, tmp_path, until=5)
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 6, "loss": 99}\n')
    load_state(config, tmp_path)
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 5
    with pytest.raises(CheckpointError, match="without --resume"):
        load_state(config, tmp_path / "nowhere")


def test_training_lowers_the_loss(scenes, tmp_path):
    config = tiny(steps=30, crops=8, learning_rate=5e-3, drop=DropConfig(0, 0, 0, 0))
    config.model = ModelConfig(modalities=("imu",), tasks=(ACTIVITY,), encoders={"imu": TINY["imu"]})
    motion = [replace(r, tracks=r.tracks[:2], labels={ACTIVITY: r.labels[ACTIVITY]}) for r in scenes]
    losses = steps(new_state(config), Mixture({"synthetic": Source(motion, config)}, config), config, tmp_path)
    assert np.mean(losses[-8:]) < 0.75 * np.mean(losses[:4])


def test_a_task_of_which_nothing_counts_has_no_loss_and_a_step_without_any_changes_nothing(scenes):
    config = tiny()
    mixture = Mixture({"synthetic": Source(scenes, config)}, config)
    weights = {name: torch.ones(config.model.task(name).size) for name in config.model.tasks}
    state = new_state(config)
    batch = assemble(
        mixture.draw(np.random.default_rng(0), config.crops), config.slots, config.model, np.random.default_rng(0)
    )
    unknown = {name: torch.full_like(of, TASKS[name].unknown) for name, of in batch.targets.items()}
    one, *_ = unknown
    some = replace(batch, targets={**batch.targets, one: unknown[one]})
    losses = task_losses(state.model, answer(state.model, some), some, weights, config)
    assert losses and not [name for name in losses if name.startswith(one)]
    none = replace(batch, targets=unknown)
    assert not task_losses(state.model, answer(state.model, none), none, weights, config)
