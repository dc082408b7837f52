"""Questions about recordings: what is known at a moment, and answers that anybody can compute again."""

import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from typer.testing import CliRunner

from backend.cli import app
from backend.data import synthetic
from backend.data.observed import Observed
from backend.data.questions import labels_of_set, lines_of
from backend.data.recording import sequence
from backend.dialogue.programs import program_from
from backend.dialogue.situation import from_json
from backend.tasks import TASKS
from edge.clock import SECOND
from edge.facts import FACTS


@pytest.fixture(scope="module")
def home():
    return synthetic.scene_recording(20_001, 12, senses=("imu", "audio", "thermal"))


def test_what_is_known_is_what_came_before(home):
    one = sequence(home)
    observed, labels = Observed(one), labels_of_set("synthetic")
    situation = observed.at(12, labels)
    assert situation.now == (one.slot + 14) * one.hop_ns
    assert max(r.t0 for r in situation.readings) == (one.slot + 12) * one.hop_ns
    assert {sensor.modality for sensor in situation.sensors.values()} == {"imu", "audio", "thermal"}
    assert all(fact in FACTS for r in situation.readings for fact in r.facts)
    assert all(h.ended <= situation.now for h in situation.happenings)
    index = one.majority("activity-recognition")[12]
    assert situation.decided["activity-recognition"] == TASKS["activity-recognition"].labels[index]
    covered = [h for h in situation.happenings if h.task == "activity-recognition"]
    assert covered[-1].label == situation.decided["activity-recognition"]
    assert all(b.began >= a.ended for a, b in pairwise(covered))


def test_a_window_of_noise_has_other_facts(home):
    """Facts are of the samples: a stream that is twice as strong has twice the movement."""
    one = sequence(home)
    series = next(s for s in one.series if s.modality == "imu")
    louder = replace(series, values=series.values * 2)
    before, after = (
        Observed(replace(one, series=(s,))).at(6, {}).values(next(iter(Observed(one).sensors.values())), "imu.rms")
        for s in (series, louder)
    )
    assert [v for _, v in after] == pytest.approx([2 * v for _, v in before], rel=1e-4)
    assert len(before) == series.present[6::-2].sum() and before[1][0] - before[0][0] == SECOND


def test_every_answer_follows_from_the_facts_beside_it(home):
    lines = list(lines_of(home, np.random.default_rng(0), moments=4, asked=30, held_out=False))
    assert len(lines) == 4
    count = 0
    for line in lines:
        kept = json.loads(json.dumps(line))
        situation = from_json(kept["situation"])
        for item in kept["items"]:
            count += 1
            statement = program_from(item["program"]).evaluate(situation)
            assert statement is not None and statement.text.casefold() in item["answer"].casefold()
        assert {"kind", "question", "answer", "program", "facts"} <= kept["items"][0].keys()
    assert count > 100


def test_the_command_writes_them_and_says_how_many(tmp_path):
    out = tmp_path / "q.jsonl"
    known = CliRunner().invoke(app, ["data", "instructions", "nowhere", "--out", str(out)])
    assert known.exit_code != 0 and "nowhere" in str(known.exception)
    assert not out.exists()
