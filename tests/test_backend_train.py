import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console
from scipy.stats import t
from sklearn.metrics import balanced_accuracy_score, confusion_matrix, f1_score
from typer.testing import CliRunner

from backend import recipes
from backend.checkpoint import Checkpoint, load_checkpoint
from backend.cli import app
from backend.data.files import throughout
from backend.data.recording import sequence
from backend.data.synthetic import TRAINING_SEEDS, scene_recording
from backend.model.sensorlm import ModelConfig, Predictor, SensorModel
from backend.recipes import TrainConfig, config_from_json, model_for, recipe, with_settings
from backend.tasks import TASKS, Classification
from backend.tasks.activity import MOBILITY
from backend.train import evaluate, loop, scores
from backend.train.augment import AUGMENTATIONS, AugmentConfig, GazeVariety
from backend.train.augment_frames import FrameVariety
from backend.train.batch import DropConfig, answer, assemble, crop, overlay
from backend.train.card import LIMITS, model_card
from backend.train.evaluate import BATCH, best_temperature, calibrate, cut_all, decide, encode, measure
from backend.train.examine import HEADLINE, STUDENT_T, examine, examine_recordings, figures, summary
from backend.train.loop import load_state, new_state, run_steps, save_state
from backend.train.run import FOLDS_FILES, _loss_weights, take_out_weights, train, train_folds
from backend.train.source import Mixture, Source, Split, chances
from broker.errors import CheckpointError, ConfigError, DataError
from tests.small_sets import read, written
from tests.test_backend_data import write_publishers

ACTIVITY, EVENT = "activity-recognition", "event-detection"
SP_SW_HAR = 'datasets={"sp_sw_har": 1}'
TINY = {"imu": {"width": 8, "blocks": 1}, "audio": {"width": 4, "bands": 32}}


def tiny(**changes) -> TrainConfig:
    config = TrainConfig(
        "tiny", {"synthetic": 1.0}, ModelConfig(encoders=TINY), steps=8, crops=3, slots=4, save_every=4
    )
    return replace(config, **changes)


@pytest.fixture(scope="module")
def scenes():
    return [scene_recording(seed, seconds=24, senses=("imu", "audio")) for seed in TRAINING_SEEDS[:2]]


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


def test_batches_decide_as_the_predictor_does(scenes):
    """Training's fused windows and serving's `History` give the same probabilities."""
    torch.manual_seed(0)
    config = tiny()
    model = new_state(config).model.eval()
    one = sequence(scenes[0])
    predictor = Predictor(Checkpoint(model))
    served = decide(predictor, encode(predictor, [one]), ACTIVITY)
    whole = crop(one, one.length, np.random.default_rng(0))
    batch = assemble([whole], one.length, config.model, np.random.default_rng(0))
    with torch.no_grad():
        answers = answer(model, batch)
    probs = answers.outputs.heads[ACTIVITY].softmax(-1).numpy()[: len(served.said)]
    assert np.allclose(probs, served.said, atol=5e-3)  # rows of a history are float16


def test_a_decision_sees_nothing_that_comes_later(scenes):
    predictor = Predictor(Checkpoint(new_state(tiny()).model))
    one = sequence(scenes[0])
    before = decide(predictor, encode(predictor, [one]), ACTIVITY)
    series = tuple(replace(s, values=np.concatenate([s.values[:20], s.values[20:][::-1]])) for s in one.series)
    after = decide(predictor, encode(predictor, [replace(one, series=series)]), ACTIVITY)
    assert np.allclose(before.said[:20], after.said[:20], atol=1e-6)
    assert not np.allclose(before.said[20:30], after.said[20:30], atol=1e-3)


def test_overlaid_crops_carry_both_labels(scenes):
    rng = np.random.default_rng(0)
    whole = crop(sequence(scenes[0]), 4, rng)
    motion = replace(
        whole, series=whole.series[:2], starts=whole.starts[:2], targets={ACTIVITY: whole.targets[ACTIVITY]}
    )
    sound = replace(whole, series=whole.series[2:3], starts=whole.starts[2:3], targets={EVENT: whole.targets[EVENT]})
    both = overlay(motion, sound)
    assert len(both.series) == 3
    assert set(both.targets) == {ACTIVITY, EVENT}
    batch = assemble([both, motion], 4, tiny().model, rng)
    assert batch.targets[EVENT][1].sum() == 0
    assert batch.present[1, :, 2].sum() == 0


def test_a_gaze_lies_elsewhere_in_all_windows_of_a_crop_alike_and_its_features_stay():
    x_LTC = np.random.default_rng(0).random((3, 30, 5), np.float32)
    config = AugmentConfig(frames=FrameVariety(noise=0.0), gaze=GazeVariety(shift=0.5, scale=0.3, turn=0.3))
    other = AUGMENTATIONS["gaze"](x_LTC, np.random.default_rng(1), config, False)
    assert np.array_equal(other[..., 2:], x_LTC[..., 2:])
    before, after = np.c_[x_LTC[..., :2].reshape(-1, 2), np.ones(90)], other[..., :2].reshape(-1, 2)
    affine, *_ = np.linalg.lstsq(before, after)
    assert np.allclose(before @ affine, after, atol=1e-5)
    assert np.abs(affine - np.eye(3, 2)).max(1).min() > 0.02
    still = AugmentConfig(frames=config.frames)
    assert np.allclose(AUGMENTATIONS["gaze"](x_LTC, np.random.default_rng(1), still, False), x_LTC)


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
    both = with_settings(recipe("bundled"), ['model.modalities=["imu"]', f'model.tasks=["{ACTIVITY}"]', SP_SW_HAR])
    assert (both.model.modalities, both.datasets) == (("imu",), {"sp_sw_har": 1.0})
    for wrong, complaint in (
        ("steps", "field=value"),
        ("stepz=1", "no field 'stepz'; fields: augment, "),
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


def test_train_and_eval_from_a_folder_of_strangers(tmp_path):
    write_publishers(tmp_path / "data", people=4)
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
        train(replace(config, steps=9), tmp_path / "data", out, QUIET, resume=True)


def motion_alone(*settings: str) -> TrainConfig:
    """A recipe that a folder of `write_publishers` trains in a second."""
    common = ["steps=3", "crops=4", "phases=1", f"model.encoders={json.dumps({'imu': TINY['imu']})}"]
    return with_settings(recipe("sp-sw-har"), [*common, *settings])


QUIET = Console(file=io.StringIO())


def test_folds_report_mean_interval_and_every_person(tmp_path):
    write_publishers(tmp_path / "data", people=4)
    config = motion_alone("validation=0.4", "folds=2")
    result = train_folds(config, tmp_path / "data", tmp_path / "cv", QUIET)["sp_sw_har"]
    assert set(result["by_person"]["accuracy"]) == {"s01", "s02", "s03", "s04"}
    assert len(result["per_fold"]) == result["split"]["folds"] == 2
    low, high = result["interval"]["accuracy"]
    assert low <= result["accuracy"] <= high
    again = train_folds(config, tmp_path / "data", tmp_path / "cv", QUIET, resume=True)["sp_sw_har"]
    assert again["accuracy"] == result["accuracy"]


def test_shuffled_sensors_leave_only_chance(scenes):
    predictor = Predictor(Checkpoint(new_state(tiny()).model))
    encoded = encode(predictor, cut_all(scenes))
    plain, shuffled = decide(predictor, encoded, EVENT), decide(predictor, encoded, EVENT, shuffle=1)
    assert np.array_equal(plain.true, shuffled.true)
    assert not np.allclose(plain.said, shuffled.said, atol=1e-3)
    report = examine_recordings("synthetic", scenes, predictor)
    assert report["devices"].keys() == {"all", "watch", "phone", "strap", "earbud", "anklet"}
    assert set(report["tasks"]) == {EVENT}


def test_windows_of_many_sequences_are_encoded_at_once_and_come_home(scenes, monkeypatch):
    predictor = Predictor(Checkpoint(new_state(tiny()).model))
    sequences = cut_all(scenes)
    alone = [encode(predictor, [one]).tokens[0] for one in sequences]
    sizes, plain = [], predictor.encode_windows
    monkeypatch.setattr(predictor, "encode_windows", lambda windows: sizes.append(len(windows)) or plain(windows))
    together = encode(predictor, iter(sequences))
    assert sizes[:-1] == [BATCH] * (len(sizes) - 1) and sum(sizes) == sum(map(len, alone))
    for one, tokens, kept in zip(alone, together.tokens, together.sequences, strict=True):
        assert [(t.key, t.slot) for t in tokens] == [(t.key, t.slot) for t in one]
        assert all(np.allclose(a.tokens, b.tokens, atol=0.01) for a, b in zip(tokens, one, strict=True))
        assert not any(series.values.size for series in kept.series)


def test_nothing_is_cut_or_drawn_again_that_no_figure_needs(scenes, monkeypatch):
    predictor = Predictor(Checkpoint(new_state(tiny()).model))
    unasked = replace(scenes[0], name="unasked", labels={"pose-estimation": scenes[0].labels["pose-estimation"]})
    cuts, draws, intervals = [], [], scores.intervals
    monkeypatch.setattr(evaluate, "sequence", lambda one: cuts.append(one.name) or sequence(one))
    monkeypatch.setattr(scores, "intervals", lambda *of: draws.append(of) or intervals(*of))
    calibrate(predictor, {"synthetic": [unasked, scenes[1]]})
    assert cuts == [scenes[1].name]
    assert set(predictor.temperatures) == {ACTIVITY, EVENT}
    report = measure(predictor, encode(predictor, cut_all(scenes)), ACTIVITY)
    assert len(draws) == len(report["devices"])  # one of all together, and one of each device alone


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


def test_a_body_that_is_varied_keeps_its_place_its_joints_and_its_proportions():
    x = np.random.default_rng(0).normal(0, 0.5, (2, 30, 24, 3)).astype(np.float32) + np.float32([0, 0, 3])
    x[:, :, 5] = 0.0
    still = AugmentConfig(turn=1.0, scale=0.3, frames=FrameVariety(noise=0.0))
    y = AUGMENTATIONS["pose"](x.reshape(2, 30, 72), np.random.default_rng(1), still, False).reshape(x.shape)
    assert not y[:, :, 5].any() and np.allclose(y[0, 0, 0], x[0, 0, 0], atol=1e-5)
    there = np.arange(24) != 5
    before, after = (a[:, :, there] - a[0, 0, 0] for a in (x, y))
    ratio = np.linalg.norm(after, axis=-1)[0, :, 1:] / np.linalg.norm(before, axis=-1)[0, :, 1:]
    assert np.allclose(ratio, ratio[0, 0], rtol=1e-3) and abs(ratio[0, 0] - 1) > 0.01
    assert np.allclose(after[..., 1], before[..., 1] * ratio[0, 0], atol=1e-4)  # about the vertical alone
    assert not np.allclose(after[..., 0], before[..., 0] * ratio[0, 0], atol=1e-2)


def test_every_metric_has_a_word():
    for task in (task for task in TASKS.values() if not isinstance(task, Classification)):
        report = {"task": task.name, "metric": task.metric, task.metric: 1.0, "n": 1, "interval": {}}
        assert "_" not in figures(report)


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


def test_a_task_of_which_nothing_counts_has_no_loss_and_a_step_without_any_changes_nothing(scenes):
    config = tiny()
    mixture = Mixture({"synthetic": Source(scenes, config)}, config)
    weights = {name: torch.ones(config.model.task(name).size) for name in config.model.tasks}
    state = new_state(config)
    batch = assemble(mixture.draw(np.random.default_rng(0)), config.slots, config.model, np.random.default_rng(0))
    unknown = {name: torch.full_like(of, TASKS[name].unknown) for name, of in batch.targets.items()}
    one, *_ = unknown
    some = replace(batch, targets={**batch.targets, one: unknown[one]})
    losses = loop.task_losses(answer(state.model, some), some, weights, config)
    assert losses and not [name for name in losses if name.startswith(one)]
    none = replace(batch, targets=unknown)
    assert not loop.task_losses(answer(state.model, none), none, weights, config)


def test_what_is_another_thing_in_a_mirror_is_mirrored_with_its_label_or_not_at_all(scenes):
    """A flick to the left that is mirrored is one to the right; where a gaze goes in a mirror nobody says."""
    gesture = TASKS["gesture-classification"]
    config = ModelConfig(("imu",), (ACTIVITY, gesture.name))
    plain = crop(cut_all(scenes)[0], 4, np.random.default_rng(1))
    plain = replace(plain, series=plain.series[:1], starts=plain.starts[:1])
    left, right = (gesture.labels.index(f"flick-{side}") for side in ("left", "right"))
    share = np.zeros((4, gesture.size), np.float32)
    share[:, left] = 1.0
    flick = replace(plain, targets={**plain.targets, gesture.name: share})

    def seen(one, mirror, asked=config):
        return assemble([one], 4, asked, np.random.default_rng(2), AugmentConfig(mirror=mirror, flip=0.0))

    as_it_is, mirrored = seen(flick, 0.0), seen(flick, 1.0)
    assert not torch.equal(as_it_is.windows["imu"].values, mirrored.windows["imu"].values)
    assert (as_it_is.targets[gesture.name].argmax(-1) == left).all()
    assert (mirrored.targets[gesture.name].argmax(-1) == right).all()
    assert torch.equal(as_it_is.targets[ACTIVITY], mirrored.targets[ACTIVITY])

    looked = replace(flick, targets={**flick.targets, "gaze-estimation": np.zeros((4, 2), np.float32)})
    asked = ModelConfig(("imu", "gaze"), (gesture.name, "gaze-estimation"))
    assert torch.equal(seen(looked, 1.0, asked).windows["imu"].values, seen(looked, 0.0, asked).windows["imu"].values)
    eyes = replace(flick, series=(*flick.series, replace(flick.series[0], modality="gaze")), starts=flick.starts * 2)
    for mirror in (0.0, 1.0):
        assert (seen(eyes, mirror, asked).targets[gesture.name].argmax(-1) == left).all()

    own = {plain.dataset: AugmentConfig(mirror=1.0, flip=0.0)}  # of this set alone
    batch = assemble([plain], 4, config, np.random.default_rng(2), AugmentConfig(mirror=0.0, flip=0.0), None, own)
    assert torch.equal(batch.windows["imu"].values, seen(plain, 1.0).windows["imu"].values)


def test_labels_in_a_mirror_are_labels_and_twice_mirrored_the_same():
    for task in TASKS.values():
        if isinstance(task, Classification):
            assert {*task.mirrored, *task.mirrored.values()} <= {*task.labels}
            assert (task.in_mirror[task.in_mirror] == np.arange(task.size)).all()
    sided = {name for name, task in TASKS.items() if any(w in o for o in task.outputs for w in ("left", "right"))}
    assert {name for name in sided if not TASKS[name].sided and not getattr(TASKS[name], "mirrored", {})} == set()


def test_a_mirror_turns_pictures_over_and_with_them_the_side_that_a_ray_goes_to():
    rng = np.random.default_rng(3)
    still = AugmentConfig(frames=FrameVariety(gain=0.0, noise=0.0, erased=0.0))
    picture = rng.random((2, 6, 8, 5), np.float32) + 0.1
    picture[..., 3:] = 0.0
    picture[..., 3] = np.linspace(-1, 1, 8)
    plain, mirrored = (AUGMENTATIONS["camera"](picture, np.random.default_rng(4), still, m) for m in (False, True))
    assert np.allclose(mirrored[..., :3], plain[..., ::-1, :3])
    assert np.allclose(mirrored[..., 3], plain[..., 3])
    warm = rng.random((2, 4, 4, 1), np.float32) + 290
    assert np.allclose(AUGMENTATIONS["thermal"](warm, rng, still, True), warm[..., ::-1, :])


def test_a_long_set_leaves_a_short_one_its_say(scenes):
    """Labels are evened out within each set, so that windows of both weigh the same on average, as drawn."""
    half = replace(scenes[1], labels={ACTIVITY: scenes[1].labels[ACTIVITY]})
    long = [replace(one, labels={ACTIVITY: throughout(one.tracks[0].t, 40 + i)}) for i, one in enumerate([half] * 9)]
    sets = {"synthetic": [scenes[0]], "utd_mhad": long}
    model = ModelConfig(("imu",), (ACTIVITY,), encoders={"imu": TINY["imu"]})
    config = replace(tiny(), datasets={"synthetic": 1.0, "utd_mhad": 1.0}, model=model)
    chance = chances(config, sets)
    both = ModelConfig(("imu", "audio"), (ACTIVITY, EVENT), encoders=TINY)
    events = replace(config, model=both)
    says = Mixture({name: Source(of, events) for name, of in sets.items()}, events).says
    assert says[ACTIVITY] / says[EVENT] == pytest.approx(4, rel=0.05)  # both sets teach it, and a quarter the other
    assert chance["utd_mhad"] / chance["synthetic"] == pytest.approx(3, rel=0.05)  # nine times as long
    weight = _loss_weights({name: Split(of, [], []) for name, of in sets.items()}, config)[ACTIVITY]
    assert np.allclose(weight[40:49], weight[40])
    share = np.bincount(scenes[0].labels[ACTIVITY].index, np.diff(scenes[0].labels[ACTIVITY].edges), len(weight))
    said = (weight * share).sum() / share.sum()
    assert said == pytest.approx(weight[40], rel=0.35)


def test_losses_are_balanced_by_their_running_means():
    running: dict[str, float] = {}
    big, small = torch.tensor(100.0, requires_grad=True), torch.tensor(0.1, requires_grad=True)
    loop._balanced({"a": big, "b": small}, running, {}).backward()
    assert running == {"a": 100.0, "b": pytest.approx(0.1)}
    assert float(big.grad * 100) == pytest.approx(float(small.grad * 0.1), rel=1e-4)
    big.grad = small.grad = None
    loop._balanced({"a": big, "b": small}, dict(running), {"a": 3.0}).backward()
    assert float(big.grad * 100) == pytest.approx(3 * float(small.grad * 0.1), rel=1e-4)


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
    common = ["train", "--recipe", "all-senses", "--data", str(tmp_path), "--out", str(tmp_path / "out")]
    error = CliRunner().invoke(app, [*common, "--set", setting]).exception
    assert isinstance(error, ConfigError)
    assert complaint in str(error)
    assert not (tmp_path / "out").exists()


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
    common = ["train", "--recipe", "all-senses", "--data", str(tmp_path), "--out", str(tmp_path / "out")]
    error = CliRunner().invoke(app, [*common, *flags]).exception
    assert isinstance(error, ConfigError)
    assert complaint in str(error)


def begun(folder: Path, config: TrainConfig) -> TrainConfig:
    """A run of that configuration, as if interrupted before its first step."""
    folder.mkdir(parents=True)
    (folder / "train.json").write_text(json.dumps(config.to_json()))
    save_state(new_state(config), folder)
    return config


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


def test_a_configuration_leaves_the_random_numbers_as_they_are():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    tiny()
    assert torch.equal(torch.get_rng_state(), before)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("begin", "there", "fold"), [(train, ".", -1), (train_folds, "fold-0", 0), (train_folds, "seed-7/fold-1", 1)]
)
def test_a_call_that_fails_leaves_everything_as_it_was(tmp_path, begin, there, fold):
    write_publishers(tmp_path / "data", people=2)
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
    write_publishers(tmp_path / "data", people=4)
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
    write_publishers(tmp_path / "data", people=3)
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


def test_calibration_on_those_it_learned_from_is_said_and_recorded(tmp_path):
    write_publishers(tmp_path / "data", people=2)
    for validation, role in (("0", "train"), ("0.5", "validation")):
        console, out = Console(file=io.StringIO(), width=200), tmp_path / role
        train(motion_alone(f"validation={validation}"), tmp_path / "data", out, console)
        told = [console.file.getvalue(), (out / "MODEL_CARD.md").read_text()]
        assert load_checkpoint(out).record["calibrated_on"] == {"sp_sw_har": role}
        assert ["those it learned from" in text for text in told] == [role == "train"] * 2
        assert "| nobody: " in told[1] or role != "train"


def test_a_card_tells_the_limits_of_what_was_learned_from_and_no_others():
    def card(name: str) -> str:
        people = {role: ["a", "b"] for role in ("train", "validation")}
        about = {"parameters": 1, "seconds": 60.0, "licences": {name: "free"}, "people": {name: people}}
        record = {"config": tiny().to_json(), "calibrated_on": {name: "validation"}, **about}
        limits = model_card(Checkpoint(model, record=record), {}).partition("## Limits")[2]
        assert limits.count("\n- ") == len(LIMITS[name])
        return " ".join(limits.split())

    model = SensorModel(ModelConfig(modalities=("imu",), tasks=("pose-estimation",), encoders={"imu": TINY["imu"]}))
    assert {name for of in recipes.RECIPES.values() for name in of().datasets} <= set(LIMITS)
    assert "front trouser pocket" in card("sp_sw_har")
    assert "freesound" in card("esc10") and "pocket" not in card("esc10")
    assert "has met no real sensor" in card("synthetic_touch") and "imulat" not in card("capcontact")


def test_what_was_skipped_is_in_the_report(tmp_path):
    write_publishers(tmp_path, people=2)
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


def fold_report(accuracy: float, person: str) -> dict:
    """What `summary` needs of a fold's report."""
    return {
        "task": ACTIVITY,
        "metric": "balanced_accuracy",
        "labels": ["A", "B"],
        "n": 10,
        **dict.fromkeys(HEADLINE[:5], accuracy),
        "confusion": [[4, 1], [2, 3]],
        "shuffled": {"accuracy": 0.5},
        "by_person": {"accuracy": {person: accuracy}},
    }


def test_students_t_is_what_it_should_be():
    assert [STUDENT_T[n] for n in range(1, 31)] == pytest.approx(t.ppf(0.975, np.arange(1, 31)), abs=0.006)
    row = np.linspace(0.5, 0.9, 40)
    error = t.ppf(0.975, 39) * row.std(ddof=1) / 40**0.5
    said = summary("esc10", {0: [fold_report(a, f"p{i}") for i, a in enumerate(row.tolist())]})
    assert error <= said["interval"]["accuracy"][1] - row.mean() < 1.02 * error
    assert said["split"]["kind"] == "40 folds, source recordings left out"


def test_seeds_are_no_units_of_the_interval():
    """Three folds and two seeds: Student's t has two degrees of freedom, and n counts a window once."""
    table_SF = np.array([[0.90, 0.80, 0.70], [0.94, 0.82, 0.70]])
    seeds = {s: [fold_report(a, f"p{i}") for i, a in enumerate(row)] for s, row in enumerate(table_SF.tolist())}
    said = summary("sp_sw_har", seeds)
    means_F = table_SF.mean(0)
    error = STUDENT_T[2] * means_F.std(ddof=1) / 3**0.5
    assert said["accuracy"] == pytest.approx(table_SF.mean(), abs=1e-4)
    assert said["interval"]["accuracy"] == pytest.approx([means_F.mean() - error, means_F.mean() + error], abs=2e-4)
    assert said["interval"]["units"] == said["split"]["folds"] == 3
    assert (said["split"]["kind"], said["split"]["seeds"]) == ("3 folds, people left out", 2)
    assert said["seeds"]["per_seed"][1]["accuracy"] == pytest.approx(0.82)
    assert said["seeds"]["spread"]["accuracy"] == pytest.approx(table_SF.mean(1).std(ddof=1), abs=1e-4)
    assert [row["accuracy"] for row in said["per_fold"]] == pytest.approx(means_F.tolist())
    assert said["by_person"]["accuracy"] == {"p0": 0.92, "p1": 0.81, "p2": 0.7}
    assert (said["n"], np.sum(said["confusion"])) == (30, 60)
    assert summary("sp_sw_har", {0: seeds[0]})["seeds"]["spread"] is None


def test_folds_of_other_seeds_are_taken_as_they_are(tmp_path):
    write_publishers(tmp_path / "data", people=4)
    config, out = motion_alone("validation=0.4", "folds=2"), tmp_path / "cv"
    apart = train_folds(replace(config, seed=1), tmp_path / "data", out / "seed-1", QUIET)["sp_sw_har"]
    tested = {path: path.stat().st_mtime_ns for path in (out / "seed-1").rglob("test.json")}
    result = train_folds(config, tmp_path / "data", out, QUIET, seeds=2, resume=True)["sp_sw_har"]
    assert len(tested) == 2
    (out / "fold-1" / "test.json").write_text('{"sp_sw')
    with pytest.raises(CheckpointError, match=r"fold-1/test\.json: damaged .*; remove it, and --resume"):
        train_folds(config, tmp_path / "data", out, QUIET, seeds=2, resume=True)
    (out / "fold-1" / "test.json").unlink()
    train_folds(config, tmp_path / "data", out, QUIET, seeds=2, resume=True)
    assert all(path.stat().st_mtime_ns == when for path, when in tested.items())
    assert {path.parent.name for path in out.glob("*/test.json")} == {"fold-0", "fold-1"}
    assert [(one["seed"], one["fold"]) for one in result["folds"]] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert result["seeds"]["per_seed"][1]["accuracy"] == apart["accuracy"]
    assert json.loads((out / "folds.json").read_text())["sp_sw_har"] == result
    with pytest.raises(ConfigError, match=f"steps differ from the run in {out}/fold-0"):
        train_folds(replace(config, steps=4), tmp_path / "data", out, QUIET, seeds=2, resume=True)


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


def test_ctrl_c_while_data_are_loaded_says_that_nothing_is_lost(tmp_path):
    """Simulated people take long to make."""
    one = ('datasets={"synthetic": 1}', 'model.tasks=["activity-recognition"]')
    command = backend_train("all-senses", tmp_path, tmp_path / "out", *one)
    assert interrupted(command, None) == f"interrupted; no step was saved; {GOES_ON}"
    assert set(contents(tmp_path / "out")) == {"train.json"}  # so that it does


@pytest.mark.parametrize("more", [[], ["--folds", "2"]])
def test_ctrl_c_before_a_run_is_overwritten_says_that_it_is_there(tmp_path, monkeypatch, more):
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    out = tmp_path / "out"
    begun(out / ("fold-0" if more else "."), motion_alone())
    before = contents(out)
    monkeypatch.setattr("backend.train.run.read_all", interrupt)
    command = [*backend_train("sp-sw-har", tmp_path, out, "model.fusion=late")[3:], "--overwrite", *more]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 130
    assert result.stderr.startswith(f"interrupted; the run in {out} is as it was")
    assert contents(out) == before


def test_ctrl_c_while_calibrating_keeps_every_step(tmp_path):
    write_publishers(tmp_path / "data", people=24)
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


def test_what_is_read_is_said_and_eval_needs_no_file(tmp_path):
    write_publishers(tmp_path / "data", people=4)
    said = Console(file=io.StringIO(), width=40)
    train(motion_alone("steps=2", "validation=0.3"), tmp_path / "data", tmp_path / "run", said)
    first, second = said.file.getvalue().splitlines()[:2]
    assert first == f"reading sp_sw_har in {tmp_path / 'data'} ..."
    assert re.fullmatch(r"\d+ recordings of sp_sw_har in \d+\.\d s", second)
    before = sorted(tmp_path.rglob("*"))
    flags = ["--dataset", "sp_sw_har", "--root", str(tmp_path / "data"), "--checkpoint", str(tmp_path / "run")]
    command = [sys.executable, "-m", "backend.cli", "eval", *flags]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert (done.returncode, done.stdout.count("\n")) == (0, 1), done.stderr
    assert done.stdout.startswith("sp_sw_har activity-recognition: accuracy ")
    assert done.stderr.startswith("reading sp_sw_har in ")
    assert sorted(tmp_path.rglob("*")) == before


def test_the_bar_begins_without_a_loss(tmp_path):
    write_publishers(tmp_path / "data", people=4)
    screen = Console(file=io.StringIO(), width=120, force_terminal=True)
    train(motion_alone("steps=2", "validation=0.3"), tmp_path / "data", tmp_path / "run", screen)
    assert "nan" not in screen.file.getvalue()
    assert re.search(r"loss \d\.\d{3}", screen.file.getvalue())
