"""What conversations cost is measured on the real path: small runs of it, and that the figures are of what they say."""

from pathlib import Path

import pytest

from backend.checkpoint import load_checkpoint
from backend.model.sensorlm import Predictor
from benchmarks import chatting
from benchmarks.askers import QUESTIONS, Stretch, events, quantiles
from tests.conftest import need


async def test_answers_are_timed_alone_and_together(tmp_path: Path):
    found = await chatting.answers(Predictor(load_checkpoint()), tmp_path, 1, seconds=8)
    assert found["answers"] == found["together"]["people"] == len(QUESTIONS)
    assert 0 < found["first_token_ms"]["p50"] <= found["answer_ms"]["p95"]
    assert found["tokens_per_s"] > 0 < found["together"]["times_of_one"]
    assert found["prompt_tokens"] > found["tokens_per_answer"] > 1
    assert chatting.met(found).keys() == chatting.GOALS.keys()


async def test_events_are_timed_while_people_ask(tmp_path: Path):
    need("mosquitto")
    found = await events(tmp_path, "", 1.5, 1, devices=2, askers=(0, 2))
    nobody, two = (found["by_askers"][people] for people in ("0", "2"))
    assert nobody["event_ms"]["p50"] > 0 == nobody["answers_per_s"]
    assert two["answers_per_s"] > 0 == two["refused"]
    assert nobody["event_times"] == {"p50": 1.0, "p95": 1.0}
    lines = chatting.table({"events": found})
    assert len(lines) == 4 and lines[-1].startswith("| 2 | ")


def test_stretches_of_one_kind_are_one():
    both = Stretch(2.0, events=[0.1], answers=[1.0])
    both.add(Stretch(2.0, events=[0.3], commits=[0.2], answers=[2.0, 3.0], refused=1))
    figures = both.figures()
    assert (figures["events"], figures["answers_per_s"], figures["refused"]) == (2, 0.8, 1)
    assert figures["event_ms"]["p50"] == pytest.approx(200.0)
    assert figures["first_part_ms"] == quantiles([]) == {}
