"""What conversations cost is measured on the real path: small runs of it, and that the figures are of what they say."""

import asyncio
from pathlib import Path

import pytest

from backend.checkpoint import load_checkpoint
from backend.model.sensorlm import Predictor
from benchmarks import askers, chatting
from benchmarks.askers import QUESTIONS, Home, Stretch, events, quantiles
from broker import topics
from broker.errors import MessageError
from broker.memory import MemoryBroker, MemoryLink
from broker.messages import Answer, decode_ask, encode_json
from tests.conftest import need
from tests.serving import imu_frame


def new_home() -> tuple[Home, MemoryLink, MemoryBroker]:
    """One device and those who ask, on a broker where nobody answers."""
    broker = MemoryBroker()
    link = MemoryLink(broker)
    return Home(link, [imu_frame(1, 0)], 1), link, broker


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


async def test_a_question_that_is_refused_has_no_answer(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(askers, "_SETTLE_S", 0.0)
    home, link, broker = new_home()

    async def refuse() -> None:
        async with MemoryLink(broker) as link:
            await link.subscribe(topics.ASK_ALL)
            async for message in link.messages():
                asked = decode_ask(message.payload)
                topic = topics.parse(message.topic)
                told = Answer(asked.id, 0, "", True, time="2026-01-01T00:00:00Z", error="busy")
                await asyncio.sleep(0.01)
                await link.publish(topics.answers(topic.site, topic.group, asked.id), encode_json(told))

    refusing = asyncio.create_task(refuse())
    async with link:
        await home.announce()
        async with home.living():
            figures = (await home.while_asked(2, 0.5)).figures()
    refusing.cancel()
    assert figures["refused"] > 0 == figures["answers_per_s"]
    assert figures["first_part_ms"] == figures["answer_ms"] == {}


async def test_an_answer_that_never_comes_ends_the_measurement(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(askers, "_PATIENCE_S", 0.2)
    home, link, _ = new_home()
    async with link:
        await home.announce()
        with pytest.raises(ExceptionGroup) as failed:
            async with home.living():
                await home.while_asked(1, 30.0)
    assert failed.group_contains(TimeoutError)


async def test_who_hears_no_more_ends_the_measurement():
    home, link, broker = new_home()
    async with link, MemoryLink(broker) as stranger:
        await home.announce()
        with pytest.raises(ExceptionGroup) as failed:
            async with home.living():
                await stranger.publish(topics.acks(askers.SITE, "device-0"), b"junk")
                await home.while_asked(1, 30.0)
    assert failed.group_contains(MessageError)


def test_stretches_of_one_kind_are_one():
    both = Stretch(2.0, events=[0.1], answers=[1.0])
    both.add(Stretch(2.0, events=[0.3], commits=[0.2], answers=[2.0, 3.0], refused=1))
    figures = both.figures()
    assert (figures["events"], figures["answers_per_s"], figures["refused"]) == (2, 0.8, 1)
    assert figures["event_ms"]["p50"] == pytest.approx(200.0)
    assert figures["first_part_ms"] == quantiles([]) == {}
