import io
import json
import os
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console
from sklearn.metrics import balanced_accuracy_score, confusion_matrix, f1_score

from backend import recipes
from backend.checkpoint import load_checkpoint
from backend.data.recording import sequence
from backend.data.synthetic import TRAINING_SEEDS, scene_recording
from backend.model.sensorlm import ModelConfig, Predictor
from backend.recipes import TrainConfig, config_from_json, recipe, with_settings
from backend.tasks import TASKS
from backend.train import loop, scores
from backend.train.batch import DropConfig, answer, assemble, crop, overlay
from backend.train.evaluate import best_temperature, cut_all, decide
from backend.train.examine import examine_recordings
from backend.train.loop import load_state, new_state, run_steps
from backend.train.run import take_out_weights, train, train_folds
from backend.train.source import Mixture, Source
from broker.errors import CheckpointError, ConfigError
from tests.test_backend_data import write_publishers

ACTIVITY, EVENT = "activity-recognition", "event-detection"
TINY = {"imu": {"width": 8, "blocks": 1}, "audio": {"width": 4, "bands": 32}}


def tiny(**changes) -> TrainConfig:
    config = TrainConfig(
        "tiny", {"synthetic": 1.0}, ModelConfig(encoders=TINY), steps=8, crops=3, slots=4, save_every=4
    )
    return replace(config, **changes)


@pytest.fixture(scope="module")
def scenes():
    return [scene_recording(seed, seconds=24) for seed in TRAINING_SEEDS[:2]]


@pytest.fixture(scope="module")
def mixture(scenes):
    return Mixture({"synthetic": Source(scenes, tiny())}, tiny())


WEIGHTS = {name: torch.ones(len(task.labels)) for name, task in TASKS.items()}


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


def test_batches_decide_as_the_predictor_does(scenes):
    """Training's fused windows and serving's `History` give the same probabilities."""
    torch.manual_seed(0)
    config = tiny()
    from backend.checkpoint import Checkpoint

    model = new_state(config).model.eval()
    one = sequence(scenes[0])
    predictor = Predictor(Checkpoint(model))
    served = decide(predictor, [one], ACTIVITY)
    whole = crop(one, one.length, np.random.default_rng(0))
    batch = assemble([whole], one.length, config.model, np.random.default_rng(0))
    with torch.no_grad():
        answers = answer(model, batch)
    probs = answers.outputs.logits[ACTIVITY].softmax(-1).numpy()[: len(served.probs)]
    assert np.allclose(probs, served.probs, atol=5e-3)  # rows of a history are float16


def test_a_decision_sees_nothing_that_comes_later(scenes):
    from backend.checkpoint import Checkpoint

    predictor = Predictor(Checkpoint(new_state(tiny()).model))
    one = sequence(scenes[0])
    before = decide(predictor, [one], ACTIVITY)
    series = tuple(replace(s, values=np.concatenate([s.values[:20], s.values[20:][::-1]])) for s in one.series)
    after = decide(predictor, [replace(one, series=series)], ACTIVITY)
    assert np.allclose(before.probs[:20], after.probs[:20], atol=1e-6)
    assert not np.allclose(before.probs[20:30], after.probs[20:30], atol=1e-3)


def test_overlaid_crops_carry_both_labels(scenes):
    rng = np.random.default_rng(0)
    whole = crop(sequence(scenes[0]), 4, rng)
    motion = replace(
        whole, series=whole.series[:2], starts=whole.starts[:2], targets={ACTIVITY: whole.targets[ACTIVITY]}
    )
    sound = replace(whole, series=whole.series[2:], starts=whole.starts[2:], targets={EVENT: whole.targets[EVENT]})
    both = overlay(motion, sound)
    assert len(both.series) == 3
    assert set(both.targets) == {ACTIVITY, EVENT}
    batch = assemble([both, motion], 4, tiny().model, rng)
    assert batch.targets[EVENT][1].sum() == 0
    assert batch.present[1, :, 2].sum() == 0


def test_scores_agree_with_scikit_learn():
    rng = np.random.default_rng(0)
    true, said = rng.integers(0, 4, 500), rng.integers(0, 4, 500)
    said = np.where(rng.random(500) < 0.6, true, said)
    table = scores.confusion(said, true, 4)
    assert np.array_equal(table, confusion_matrix(true, said))
    assert scores.macro_f1(table) == pytest.approx(f1_score(true, said, average="macro"))
    assert scores.balanced_accuracy(table) == pytest.approx(balanced_accuracy_score(true, said))
    person = np.array([f"p{n % 7}" for n in range(500)])
    limits = scores.intervals(said, true, person, 4)
    assert limits["accuracy"][0] < scores.accuracy(table) < limits["accuracy"][1]
    assert limits["units"] == 7


def test_temperature_undoes_overconfidence_and_keeps_decisions():
    rng = np.random.default_rng(1)
    logits = rng.normal(0, 1.5, (4000, 5))
    honest = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    true = np.array([rng.choice(5, p=p) for p in honest])
    loud = np.exp(2 * logits) / np.exp(2 * logits).sum(-1, keepdims=True)
    assert best_temperature(loud, true) == pytest.approx(2.0, rel=0.15)
    assert scores.calibration_error(honest, true) < 0.03 < scores.calibration_error(loud, true)


def test_the_event_threshold_keeps_silence_silent():
    rng = np.random.default_rng(2)
    true = rng.integers(0, 3, 600)
    sure = np.where(true == 0, rng.uniform(0.34, 0.6, 600), rng.uniform(0.65, 1.0, 600))
    said = np.where(true == 0, 1, true)
    probs = np.stack([(1 - sure) / 2] * 3, -1)
    probs[np.arange(600), said] = sure
    threshold = scores.best_threshold(probs, true, 0)
    assert 0.55 <= threshold <= 0.66
    assert scores.event_f1(probs, true, 0, threshold) > 0.99 > scores.event_f1(probs, true, 0, 0.2)


def test_settings_change_fields_and_name_mistakes():
    config = with_settings(
        recipe("bundled"), ["steps=7", "augment.tilt=0.5", "augment.sound.speed=0.1", "model.fusion=late", "clip=3"]
    )
    assert (config.steps, config.augment.tilt, config.augment.sound.speed) == (7, 0.5, 0.1)
    assert (config.model.fusion, config.clip) == ("late", 3.0)
    assert recipe("bundled").steps != 7
    for wrong, complaint in (("steps", "field=value"), ("stepz=1", "no field 'stepz'"), ("steps=many", "is no int")):
        with pytest.raises(ConfigError, match=complaint):
            with_settings(recipe("bundled"), [wrong])
    with pytest.raises(ConfigError, match="choose one of"):
        recipe("none")


@pytest.mark.parametrize("name", recipes.RECIPES)
def test_a_saved_configuration_comes_back(name):
    config = recipe(name)
    assert config_from_json(json.loads(json.dumps(config.to_json()))) == config


def test_train_and_eval_from_a_folder_of_strangers(tmp_path):
    write_publishers(tmp_path / "data", people=4)
    config = with_settings(recipe("sp-sw-har"), ["steps=6", "crops=4", "phases=1", "validation=0.3", "save_every=3"])
    config.model.encoders = {"imu": TINY["imu"]}
    console = Console(file=io.StringIO())
    out = tmp_path / "run"
    train(config, tmp_path / "data", out, False, console)
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
    report = examine_of(tmp_path / "data", checkpoint)
    assert {
        "accuracy",
        "balanced_accuracy",
        "macro_f1",
        "f1",
        "n",
        "split",
        "by_class",
        "by_person",
        "interval",
    } <= set(report)
    assert set(report["devices"]) == {"both", "watch", "phone"}
    assert {"ece", "majority", "shuffled"} <= set(report)
    with pytest.raises(ConfigError, match="steps differ"):
        train(replace(config, steps=9), tmp_path / "data", out, True, console)


def examine_of(root: Path, checkpoint):
    from backend.train.examine import examine

    return examine("sp_sw_har", root, checkpoint)


def test_folds_report_mean_interval_and_every_person(tmp_path):
    write_publishers(tmp_path / "data", people=4)
    config = with_settings(recipe("sp-sw-har"), ["steps=3", "crops=4", "phases=1", "validation=0.4", "folds=2"])
    config.model.encoders = {"imu": TINY["imu"]}
    console = Console(file=io.StringIO())
    result = train_folds(config, tmp_path / "data", tmp_path / "cv", False, console)["sp_sw_har"]
    assert set(result["by_person"]["accuracy"]) == {"s01", "s02", "s03", "s04"}
    assert len(result["per_fold"]) == result["split"]["folds"] == 2
    low, high = result["interval"]["accuracy"]
    assert low <= result["accuracy"] <= high
    again = train_folds(config, tmp_path / "data", tmp_path / "cv", True, console)["sp_sw_har"]
    assert again["accuracy"] == result["accuracy"]


def test_shuffled_sensors_leave_only_chance(scenes):
    from backend.checkpoint import Checkpoint

    predictor = Predictor(Checkpoint(new_state(tiny()).model))
    sequences = cut_all(scenes)
    plain, shuffled = decide(predictor, sequences, EVENT), decide(predictor, sequences, EVENT, shuffle=1)
    assert np.array_equal(plain.true, shuffled.true)
    assert not np.allclose(plain.probs, shuffled.probs, atol=1e-3)
    report = examine_recordings("synthetic", scenes, predictor)
    assert report["devices"].keys() == {"all", "watch", "phone"}
    assert set(report["tasks"]) == {EVENT}


def test_weights_of_the_loss_leave_no_trace_in_probabilities():
    """Fitted with weights to one logit per label, the share of each label comes back once they are taken out."""
    share = torch.tensor([0.05, 0.1, 0.5, 0.25, 0.1])
    weight = torch.from_numpy(TASKS[ACTIVITY].weights(share.numpy()))
    fitted = (share * weight / (share * weight).sum()).log()
    model = new_state(tiny()).model
    with torch.no_grad():
        model.heads[ACTIVITY].weight.zero_()
        model.heads[ACTIVITY].bias.copy_(fitted)
        take_out_weights(model, {ACTIVITY: weight})
        logits = model.heads[ACTIVITY](torch.zeros(1, model.config.dim))
    assert torch.allclose(logits.softmax(-1)[0], share, atol=1e-6)


def test_losses_are_balanced_by_their_running_means():
    running: dict[str, float] = {}
    big, small = torch.tensor(100.0, requires_grad=True), torch.tensor(0.1, requires_grad=True)
    loop._balanced({"a": big, "b": small}, running).backward()
    assert running == {"a": 100.0, "b": pytest.approx(0.1)}
    assert float(big.grad * 100) == pytest.approx(float(small.grad * 0.1), rel=1e-4)
