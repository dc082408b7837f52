"""Parts of a step, in one process or two: the same weights, saved and resumed; patience; parts that are frozen."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from typer.testing import CliRunner

from backend.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from backend.cli import app
from backend.data import DATASETS
from backend.model.sensorlm import ModelConfig
from backend.train.config import TrainConfig
from backend.train.folder import agree
from backend.train.held import Held, note
from backend.train.loop import run_steps, train_step
from backend.train.run import fit, loss_weights, train
from backend.train.source import Mixture, Source, Split, split_all, with_steps
from backend.train.state import METRICS, load_state, new_state, save_state
from broker.errors import CheckpointError, ConfigError, DataError
from tests.conftest import free_port
from tests.small_runs import ACTIVITY, QUIET, TINY, motion_alone, tiny
from tests.small_sets import write_sp_sw_har

WEIGHTS = {name: torch.ones(ModelConfig().task(name).size) for name in ModelConfig().tasks}
IMU = ModelConfig(modalities=("imu",), tasks=(ACTIVITY,), encoders={"imu": TINY["imu"]}, layers=1)


def small(**changes) -> TrainConfig:
    return tiny(**{"model": IMU, "steps": 6, "crops": 4, "device": "cpu", **changes})


@pytest.fixture(scope="module")
def motion(scenes):
    return [replace(r, tracks=r.tracks[:2], labels={ACTIVITY: r.labels[ACTIVITY]}) for r in scenes]


def go(state, config, recordings, folder, until=None, held=None) -> list[str]:
    """Run to the end, or as if interrupted when `until` steps are done; the lines of metrics.jsonl."""

    def report(line):
        if line["step"] == until:
            os.kill(os.getpid(), signal.SIGINT)

    mixture = Mixture({"synthetic": Source(recordings, config)}, config)
    assert run_steps(state, mixture, WEIGHTS, config, folder, report, held) == (until is None)
    return (folder / METRICS).read_text().splitlines()


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())


@pytest.mark.parametrize(
    "changes",
    [
        {"accumulate": 2},
        {"balance": "uncertainty", "model": ModelConfig(encoders=TINY, layers=1)},  # of two tasks
        {"patience": 2, "measure_every": 2, "accumulate": 2},
    ],
)
def test_resumed_is_uninterrupted(scenes, tmp_path, changes):
    config = small(**changes)
    held = Held({"synthetic": scenes[1:]}, config) if config.patience else None
    straight = new_state(config)
    whole = go(straight, config, scenes, tmp_path / "whole", held=held)
    go(new_state(config), config, scenes, tmp_path / "cut", until=3, held=held)
    cut = load_state(config, tmp_path / "cut")
    assert go(cut, config, scenes, tmp_path / "cut", held=held) == whole
    assert (
        same(straight.average, cut.average)
        and same(straight.best, cut.best)
        and same(straight.learned(), cut.learned())
    )
    assert cut.watch == straight.watch
    assert [("validation" in json.loads(line)) for line in whole] == [bool(held) and i % 2 == 1 for i in range(6)]
    assert bool(cut.best) == bool(held)
    if config.balance == "uncertainty":
        assert float(cut.balance.log_variance.detach().abs().min()) > 0
        assert not [name for name in Checkpoint(cut.model).weights() if "variance" in name]


def test_two_processes_are_one_and_resume_what_one_began(tmp_path):
    """Up to the order in which floating-point numbers are summed: 1e-5 of a loss, 1e-5 of a weight."""
    data, settings = tmp_path / "data", ["steps=4", "accumulate=2", "validation=0.3", "device=cpu"]
    write_sp_sw_har(data, people=4)
    config = motion_alone(*settings)
    alone = train(config, data, tmp_path / "one", QUIET)
    out = tmp_path / "two"
    agree(config, out)
    begun = new_state(config)
    splits = split_all(config, {"sp_sw_har": DATASETS["sp_sw_har"].read(data)})
    mixture = Mixture({name: Source(s.train, config) for name, s in splits.items()}, config)
    first = (tmp_path / "one" / METRICS).read_text().splitlines(keepends=True)[:1]
    weights = {name: torch.from_numpy(of) for name, of in loss_weights(splits, config).items()}
    assert train_step(begun, mixture, weights, config)["loss"] == pytest.approx(json.loads(first[0])["loss"])
    (out / METRICS).write_text(first[0])
    save_state(begun, out)
    many = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", str(free_port())]
    common = ["steps=4", "crops=4", "phases=1", f"model.encoders={json.dumps({'imu': TINY['imu']})}", *settings]
    command = ["-m", "backend.cli", "train", "--recipe", "sp-sw-har", "--data", str(data), "--out", str(out)]
    flags = [word for setting in common for word in ("--set", setting)]
    done = subprocess.run([*many, *command, *flags, "--resume"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("reading sp_sw_har") == done.stdout.count("checkpoint ") == 1  # one of them speaks
    lines = [[json.loads(x) for x in (tmp_path / run / METRICS).read_text().splitlines()] for run in ("one", "two")]
    assert len(lines[0]) == len(lines[1]) == 4
    for one, two in zip(*lines, strict=True):
        assert two == pytest.approx(one, rel=1e-5, abs=2e-6)
    together = load_checkpoint(out).weights()
    for name, value in alone.weights().items():
        torch.testing.assert_close(together[name], value, rtol=1e-5, atol=1e-5, msg=name)


def test_processes_that_cannot_share_evenly_are_told_how(tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    command = ["train", "--recipe", "sp-sw-har", "--data", str(tmp_path), "--out", str(tmp_path / "out")]
    with pytest.raises(
        ConfigError, match="accumulate is 1, which 2 processes cannot share evenly; use --set accumulate=2"
    ):
        CliRunner().invoke(app, command, catch_exceptions=False, standalone_mode=False)
    monkeypatch.setenv("RANK", "1")  # which leaves it to the first to say so
    assert CliRunner().invoke(app, command, standalone_mode=False).return_value == 1


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        (["crops=6", "accumulate=4"], "crops is 6 and accumulate 4; crops has to be a multiple"),
        (["patience=3", "validation=0"], "patience is 3 and validation 0; .*set validation"),
        (["balance=none"], "balance is 'none': choose one of ema, uncertainty, fixed"),
        (['frees=["heads", "heads"]'], "give each name once"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings, complaint):
    with pytest.raises(ConfigError, match=complaint):
        motion_alone(*settings)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_gpu_that_is_not_there_is_told():
    with pytest.raises(ConfigError, match="sees no GPU here; use --set device=cpu"):
        new_state(small(device="cuda"))


def test_patience_needs_people_held_out(tmp_path):
    write_sp_sw_har(tmp_path / "data", people=2)
    with pytest.raises(DataError, match=r"sp_sw_har hold out nobody.*--set patience=0"):
        train(motion_alone("patience=1"), tmp_path / "data", tmp_path / "out", QUIET)
    assert not (tmp_path / "out").exists()


def test_patience_stops_a_run_that_gets_worse_and_keeps_its_best_weights(motion, tmp_path):
    config = small(steps=40, patience=2, measure_every=1, learning_rate=3.0, warmup=0.0, schedule="constant", ema=0.0)
    splits = {"synthetic": Split(motion[:1], motion[1:], [])}
    state = new_state(config)
    checkpoint = fit(state, config, splits, tmp_path, QUIET)
    told = [json.loads(line)["validation"] for line in (tmp_path / METRICS).read_text().splitlines()]
    assert state.step == len(told) < 40
    assert told.index(min(told)) == len(told) - 3  # two measurements in vain after the best
    weights = Checkpoint(state.model).weights()
    assert any((state.best[name] != weights[name]).any() for name in weights)
    kept = checkpoint.weights()
    assert all(torch.equal(kept[name], state.best[name]) for name in kept if not name.startswith("heads."))


def test_a_measurement_is_the_mean_of_losses_as_shares_of_their_first():
    state, config = new_state(small()), small(patience=2)
    assert note(state, {"a": 2.0, "b": 100.0}) == 1.0
    assert note(state, {"a": 1.0, "b": 50.0}) == 0.5
    best = {name: value.clone() for name, value in state.average.items()}
    for value in state.average.values():
        value.add_(1)
    assert note(state, {"a": 2.0, "b": 50.0}) == 0.75 and not state.done(config)
    assert note(state, {"a": 2.0, "b": 100.0}) == 1.0 and state.done(config)
    assert same(state.weights(), best)


def test_what_is_frozen_does_not_change_by_a_bit(motion, tmp_path):
    save_checkpoint(Checkpoint(new_state(small(seed=5)).model), tmp_path / "start")
    start = load_checkpoint(tmp_path / "start")
    config = small(start=str(tmp_path / "start"), accumulate=2)
    state = new_state(config)
    assert state.start == start.digest
    before = {name: value.clone() for name, value in state.model.state_dict().items()}
    assert same({n: before[n] for n in start.weights()}, start.weights())
    lines = go(state, config, motion, tmp_path / "run")
    moved = {n.split(".")[0] for n, value in state.model.state_dict().items() if not torch.equal(value, before[n])}
    assert moved == {"adapter", "heads"}
    assert not [name for name in json.loads(lines[-1]) if "/" in name]  # unimodal heads are for the encoders' sake
    held = {id(p) for group in state.optimizer.param_groups for p in group["params"]}
    assert held == {id(p) for p in (*state.model.adapter.parameters(), *state.model.heads.parameters())}
    (tmp_path / "start" / "config.json").unlink()
    assert load_state(config, tmp_path / "run").start == start.digest  # a resumed run needs it no more
    with pytest.raises(CheckpointError, match=r"config\.json is missing"):
        new_state(config)


def test_a_run_is_started_from_a_model_like_its_own_or_told_what_differs(motion, tmp_path):
    save_checkpoint(Checkpoint(new_state(small()).model), tmp_path)
    start = str(tmp_path)
    everything = new_state(small(start=start, frees=("encoders", "adapter", "heads")))
    assert all(p.requires_grad for p in everything.model.unimodal.parameters())
    for changes, complaint in (
        ({"model": replace(IMU, layers=2)}, "another model.layers: 1; this run has 2"),
        ({"frees": ("wings",)}, "frees has 'wings', which is no part of the model; parts: encoders, adapter"),
        ({"frees": ()}, "leaves nothing to learn"),
    ):
        with pytest.raises(ConfigError, match=complaint):
            new_state(small(start=start, **changes))
    checkpoint = fit(
        new_state(small(start=start)), small(start=start), {"synthetic": Split(motion, [], [])}, tmp_path, QUIET
    )
    assert checkpoint.record["start"] == {"folder": start, "digest": load_checkpoint(tmp_path).digest, "people": {}}


def test_epochs_are_counted_in_steps(motion):
    """Two people of 24 s are 96 slots: 24 crops of 4 slots, six steps of 4 crops."""
    splits = {"synthetic": Split(motion, [], [])}
    config = with_steps(small(epochs=3), splits)
    assert (config.steps, config.measure_every) == (18, 6)
    assert with_steps(small(), splits) == small()


@pytest.mark.filterwarnings("ignore:.*torch.jit.script_method:DeprecationWarning")  # of the compiler's own code
def test_a_compiled_model_has_the_same_names_of_weights():
    assert new_state(small(compile=True)).model.state_dict().keys() == new_state(small()).model.state_dict().keys()
