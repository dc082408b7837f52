"""Measuring on whole people: the same answers as one decision after another, and floors that are floors."""

from dataclasses import replace

import numpy as np
import pytest

from backend.checkpoint import Checkpoint
from backend.model.sensorlm import Predictor, SensorModel
from backend.tasks import TASKS
from backend.train.evaluate import decide, encode, headline
from backend.train.tables import domain, measure
from backend.train.tables.columns import of_world
from backend.train.tables.domain import fitted
from backend.train.tables.measure import (
    Calibration,
    Said,
    answers,
    by_person,
    calibrated,
    constant,
    probabilities,
    task_of,
)
from backend.train.tables.people import heard, sensed
from backend.train.tables.perturb import gate, seeing, without
from backend.train.tables.rows import SMOKE, base
from backend.train.tables.tokens import encoded
from tests.small_tables import COLUMNS, SENSES, small_model, two_people


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    return two_people(tmp_path_factory.mktemp("people"))


@pytest.fixture(scope="module")
def model():
    return small_model()


def test_answers_are_those_of_one_decision_after_another(people, model):
    said = answers(model, people, COLUMNS)
    predictor = Predictor(Checkpoint(model))
    seen = encode(predictor, people)
    for column in COLUMNS:
        one, other = said[column.name], decide(predictor, seen, column.task, column.outputs)
        assert len(one.true) == len(other.true) > 0
        mine = probabilities(one, 1.0) if column.task in ("touch-contact", "gesture-classification") else one.said
        order = np.argsort([f"{r}/{s:05d}" for r, s in zip(other.recording, other.slot, strict=True)])
        again = np.argsort([f"{at.rpartition('/')[0]}/{int(at.rpartition('/')[2]):05d}" for at in one.at])
        assert np.allclose(mine[again], other.said[order], atol=2e-2)  # tokens of serving have half the digits
        assert np.array_equal(one.true[again], other.true[order], equal_nan=one.true.dtype.kind == "f")


def test_a_person_is_measured_by_the_tasks_own_metric(people, model):
    said = answers(model, people, COLUMNS)
    predictor = Predictor(Checkpoint(model))
    for column in COLUMNS:
        task = TASKS[column.task].only(column.outputs) if column.outputs else TASKS[column.task]
        for one in people:
            other = decide(predictor, encode(predictor, [one]), column.task, column.outputs)
            mine = by_person(column, said[column.name], Calibration())[one.person]
            assert mine == pytest.approx(headline(task, other), abs=0.35 if task.metric == "epe_mm" else 2e-2)


def test_all_rows_of_a_column_answer_the_windows_of_its_main_sense(people, model):
    column = next(one for one in COLUMNS if one.task == "gaze-estimation")
    (sense,) = (s for s in people[0].series if s.modality == column.main)
    silent = replace(sense, present=sense.present & (np.arange(people[0].length) % 3 > 0))
    gappy = replace(people[0], series=tuple(silent if s is sense else s for s in people[0].series))
    every = answers(model, [gappy], [column])[column.name]
    mine = answers(model, [heard(gappy, [column])], [column])[column.name]
    assert {at for at in every.at if int(at.rpartition("/")[2]) % 3} == {*mine.at} < {*every.at}
    assert {f"{gappy.name}/{slot}" for slot in np.flatnonzero(silent.present)} >= {*mine.at}
    alone = sensed(heard(gappy, [column]), (column.main,), [column.task])
    assert {at for *_, at in domain.rows([alone], column, [sense.key])} == {*mine.at}


def test_an_f1_is_of_people_with_events():
    column = next(one for one in of_world("simulator") if one.task == "event-detection")
    none = task_of(column).none_index
    true = np.array([none, none + 1, none, none])
    said = Said(
        np.eye(task_of(column).size)[true] * 9.0,
        true,
        np.array(["a", "a", "b", "b"]),
        np.array(["a/0", "a/1", "b/0", "b/1"]),
    )
    assert by_person(column, said, Calibration(threshold=0.5)) == {"a": 1.0}


def test_the_temperature_and_the_constant_answer(people, model):
    column = next(one for one in COLUMNS if one.task == "touch-contact")
    said = answers(model, people, [column])[column.name]
    sure = replace(said, said=np.eye(11)[said.true] * 2.0)  # always right, and not sure enough of it
    assert calibrated(column, sure).temperature < 0.5
    label = np.concatenate([one.majority("touch-contact") for one in people])
    common = np.bincount(label[label >= 0]).argmax()
    for person, accuracy in constant(column, people, said).items():
        assert accuracy == pytest.approx((said.true[said.person == person] == common).mean(), abs=1e-4)


def test_shuffled_sensors_keep_every_window_and_no_place(people):
    mixed = measure.shuffled(people, seed=0)
    for m, series in enumerate(people[0].series):
        before = np.concatenate([one.series[m].values for one in people])
        after = np.concatenate([one.series[m].values for one in mixed])
        assert not np.array_equal(before, after)
        assert np.array_equal(np.sort(before.ravel()), np.sort(after.ravel())), series.key


def test_shuffled_tokens_take_their_trust_with_them(people, model):
    seen = encoded(model, people)
    mixed = measure.shuffled(seen, seed=0)
    for m, series in enumerate(seen[0].series):
        there = {
            (*w.values[i].ravel()[:4].tolist(), float(w.quality[i]))
            for w in (one.series[m] for one in seen)
            for i in np.flatnonzero(w.present)
        }
        for w in (one.series[m] for one in mixed):
            for i in np.flatnonzero(w.present):
                assert (*w.values[i].ravel()[:4].tolist(), float(w.quality[i])) in there, series.key


def test_a_number_that_hardly_varied_leads_a_ridge_nowhere(people, monkeypatch):
    gaze = next(one for one in COLUMNS if one.task == "gaze-estimation")
    rows = domain.rows

    def with_a_stray(sequences, column, keys):
        for n, (numbers, *rest) in enumerate(rows(sequences, column, keys)):
            yield [*numbers, 1e-6 * (n % 2) if sequences is people else 1.0], *rest

    others = list(people)
    calm = by_person(gaze, fitted(gaze, people, [], others, seed=0)[0], Calibration())
    monkeypatch.setattr(domain, "rows", with_a_stray)
    led = by_person(gaze, fitted(gaze, people, [], others, seed=0)[0], Calibration())
    assert np.mean(list(led.values())) < 5 * np.mean(list(calm.values()))


def test_less_of_the_past_is_seen_and_the_model_stays(people, model):
    column = COLUMNS[0]
    whole, none = (answers(m, people, [column])[column.name] for m in (model, seeing(model, 0)))
    assert model.config.slots == SMOKE.slots - 1 > 0 and not np.allclose(whole.said, none.said)
    first = [n for n, at in enumerate(whole.at) if at.endswith("/0")]
    assert np.allclose(whole.said[first], none.said[first], atol=1e-5)


def test_the_gate_is_beside_what_removal_costs(people, model):
    column = next(one for one in COLUMNS if one.task == "gaze-estimation")
    whole = answers(model, people, [column])[column.name]
    total = np.sum(list(whole.gate.values()), 0)
    assert np.allclose(total, 1.0, atol=1e-4)
    lost = {m: answers(model, without(people, m), [column]) for m in ("gaze", "depth", "imu")}
    told = gate(column, whole, lost, Calibration())
    assert set(told["modalities"]) == {"gaze", "depth", "imu"} and told["pairs"] == 6
    same = gate(column, whole, {m: {column.name: whole} for m in lost}, Calibration())
    assert all(one["removal"] == 0 for one in same["modalities"].values())


def test_hand_made_statistics_learn_what_a_forest_can(people):
    column = next(one for one in COLUMNS if one.task == "touch-contact")
    said, nobody = fitted(column, people, [], people, seed=0)
    assert isinstance(said, Said) and nobody is None
    assert np.mean(list(by_person(column, said, Calibration()).values())) > 0.8  # of the people that it learned from
    gaze = next(one for one in COLUMNS if one.task == "gaze-estimation")
    said, other = fitted(gaze, people, people, people, seed=0)
    assert other is not None and np.array_equal(said.said, other.said)
    own = by_person(gaze, said, Calibration())
    always = constant(
        gaze, people, answers(SensorModel(base(SMOKE, (gaze,), SENSES, 0).model).eval(), people, [gaze])[gaze.name]
    )
    assert np.mean(list(own.values())) < np.mean(list(always.values()))
