"""Measuring: decisions that see nothing later, windows encoded together, temperatures, no work without a figure."""

from dataclasses import replace

import numpy as np
import pytest

from backend.checkpoint import Checkpoint
from backend.data.recording import sequence
from backend.model.sensorlm import Predictor
from backend.tasks import TASKS
from backend.train import evaluate, scores
from backend.train.evaluate import (
    BATCH,
    best_temperature,
    calibrate,
    cut_all,
    cut_each,
    decide,
    encode,
    headline,
    measure,
)
from backend.train.state import new_state
from tests.small_runs import ACTIVITY, EVENT, tiny


def test_a_decision_sees_nothing_that_comes_later(scenes):
    predictor = Predictor(Checkpoint(new_state(tiny()).model))
    one = sequence(scenes[0])
    before = decide(predictor, encode(predictor, [one]), ACTIVITY)
    series = tuple(replace(s, values=np.concatenate([s.values[:20], s.values[20:][::-1]])) for s in one.series)
    after = decide(predictor, encode(predictor, [replace(one, series=series)]), ACTIVITY)
    assert np.allclose(before.said[:20], after.said[:20], atol=1e-6)
    assert not np.allclose(before.said[20:30], after.said[20:30], atol=1e-3)


def test_temperature_undoes_overconfidence_and_keeps_decisions():
    rng = np.random.default_rng(1)
    logits = rng.normal(0, 1.5, (4000, 5))
    honest = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    true = np.array([rng.choice(5, p=p) for p in honest])
    loud = np.exp(2 * logits) / np.exp(2 * logits).sum(-1, keepdims=True)
    assert best_temperature(loud, true) == pytest.approx(2.0, rel=0.15)
    assert scores.calibration_error(honest, true) < 0.03 < scores.calibration_error(loud, true)


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


def test_what_was_read_is_not_kept(scenes):
    predictor = Predictor(Checkpoint(new_state(tiny()).model))
    kept = encode(predictor, cut_each(scenes[:1])).sequences[0]
    assert all(series.values.base is None for series in kept.series)


def test_the_figure_of_event_detection_is_that_of_windows_above_the_threshold(scenes):
    predictor = Predictor(Checkpoint(new_state(tiny()).model))
    encoded, task = encode(predictor, cut_all(scenes)), TASKS[EVENT]
    found = {}
    for threshold in (0.0, 2.0):  # whatever is most likely is told of, and nothing ever
        predictor.thresholds[EVENT] = threshold
        report, decided = measure(predictor, encoded, EVENT), decide(predictor, encoded, EVENT)
        assert report["metric"] == task.metric == "window_f1"
        assert report["window_f1"] == headline(task.only(decided.outputs), decided)
        assert report["threshold"] == threshold
        assert {"macro_f1", "window_f1"} <= report["interval"].keys() and "f1" not in report
        found[threshold] = report
    assert found[2.0]["window_f1"] == 0.0 < found[2.0]["macro_f1"] == found[0.0]["macro_f1"]
    assert "window_f1" not in measure(predictor, encoded, ACTIVITY)
