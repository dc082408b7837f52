"""Text over the wire is data: each field takes hundreds of strings as they are, or refuses them by its name.

A backend at a real broker is told them in every field of frames, statuses and questions. It tells nothing but on the
topics that are promised, keeps nothing but its store, and answers the next question as before.
"""

import asyncio
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import httpx
import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from broker import topics
from broker.errors import ConfigError, MessageError
from broker.link import MqttLink
from broker.messages import (
    Answer,
    Ask,
    decode_answer,
    decode_ask,
    decode_frame,
    decode_status,
    encode_frame,
    encode_json,
)
from tests.injections import INJECTIONS
from tests.serving import Device, imu_frame, status
from tests.test_serve_dialogue import a_backend, by_mqtt, wait_for

KNOWN = "Which facts does the IMU tell?"
LONGEST = 2_048  # bytes of what the backend takes in
PROMISED = re.compile(r"iotlm/(acks/s/watch|(events|estimates)/s/watch/[a-z0-9-]+|answers/s/[a-z0-9-]+/(q-\d+|[a-z]+))")
"""Where the backend may say something of its own accord."""


def taken(decode: Callable, body: Mapping[str, object], name: str, text: str) -> str | None:
    """What a field says when a message has been read; None where it was refused, which names the field."""
    try:
        return getattr(decode(json.dumps({**body, name: text}).encode()), name)
    except MessageError as error:
        assert error.reason == name or (name in str(error) and error.reason != "unexpected"), (name, text, error)
        return None


def test_a_field_of_a_question_is_taken_as_it_is_or_refused_by_name():
    body = json.loads(encode_json(Ask("q", "?", "s", ("watch/imu",), 8, "t")))
    for text in INJECTIONS:
        for name, rule in (("id", topics.ID), ("session", topics.ID), ("question", ".*"), ("trace", ".*")):
            read = taken(decode_ask, body, name, text)
            assert read is None or (read == text and re.fullmatch(rule, read, re.DOTALL))
        with pytest.raises(MessageError, match="sensors") as refused:
            decode_ask(json.dumps({**body, "sensors": ["watch/imu", text]}).encode())
        assert refused.value.reason == "sensors"


def test_an_answer_goes_nowhere_but_where_answers_may_go():
    for text in INJECTIONS:
        for topic in (text, f"iotlm/{text}", f"iotlm/answers/s/watch/{text}", f"$SYS/{text}", f"people/{text}"):
            try:
                reply = topics.check_reply(topic)
            except MessageError as error:
                assert error.reason == "response_topic"
                continue
            assert reply == topic and reply.isprintable() and not set("+#") & set(reply)
            ours = reply.split("/")[0] in ("iotlm", "$SYS")
            assert not ours or isinstance(topics.parse(reply), topics.AnswerTopic)


def test_no_name_of_a_topic_is_anything_but_a_name():
    for text in INJECTIONS:
        for build in (topics.status, topics.ask, topics.acks):
            try:
                topic = build(text, "watch")
            except ConfigError:
                with pytest.raises(MessageError):
                    topics.parse(f"iotlm/ask/{text}/watch")
                continue
            assert topics.check_name(text, "site") == text and topic.count("/") == 3


def test_a_field_of_a_frame_or_a_status_is_taken_as_it_is_or_refused_by_name():
    frame, word = imu_frame(1, 0), status()
    for text in INJECTIONS:
        for name in ("placement", "epoch", "encoder", "trace", "modality", "kind", "clock"):
            try:
                read = getattr(decode_frame(encode_frame(replace(frame, **{name: text}))), name)
            except MessageError as error:
                assert error.reason in (name, "encoding")  # msgpack is stopped at what is too long
                continue
            assert read == text and name in ("placement", "epoch", "encoder", "trace")
        for name in ("epoch", "version", "time", "state"):
            body = json.loads(encode_json(word))
            assert taken(decode_status, body, name, text) in (None, text)
        for name in ("name", "modality", "placement", "encoder"):
            told = replace(word, streams=(replace(word.streams[0], **{name: text}),))
            try:
                assert getattr(decode_status(encode_json(told)).streams[0], name) == text
            except MessageError as error:
                assert error.reason == name


# a backend at a real broker


def test_a_backend_that_is_told_all_of_it_says_what_is_promised_and_no_more(mosquitto, tmp_path: Path):
    (tmp_path / "serve.toml").write_text(f"[limits]\npayload = {LONGEST}\n")
    with a_backend(tmp_path, mosquitto.port, "--config", str(tmp_path / "serve.toml"), "--llm", "none") as url:
        there = {path.name for path in tmp_path.iterdir()}
        spy = Spy(mosquitto.port)
        asyncio.run(frames(mosquitto.port))
        before, _ = by_mqtt(mosquitto.port, Ask("before", KNOWN))
        happened, _ = by_mqtt(mosquitto.port, Ask("happened", "What happened in the last hour?"))
        assert len(encode_json(happened[-1])) > LONGEST  # what may be heard does not bound what is said
        statuses(spy)
        asked = questions(spy)
        after, _ = by_mqtt(mosquitto.port, Ask("after", KNOWN))
        assert "".join(one.text for one in after) == "".join(one.text for one in before)
        assert httpx.get(f"{url}/readyz").status_code == 200
        assert {letter["reason"] for letter in httpx.get(f"{url}/dead-letters").json()} <= {
            "response_topic", "topic", "session", "id", "encoding", "time", "name", "rate", "question", "units",
        }  # fmt: skip
        spy.close()
        assert {path.name for path in tmp_path.iterdir()} == there
    for topic, retained in spy.topics:
        ours = topic in {*spy.sent, *asked.values(), topics.status("s", "watch"), topics.frames("s", "watch", "imu")}
        assert (ours or PROMISED.fullmatch(topic)) and not retained, topic
    for number, topic in asked.items():
        parts = spy.answers[topic, number]
        assert [one.part for one in parts] == list(range(len(parts))) and parts[-1].done
        text = "".join(one.text for one in parts)
        assert text.isprintable() and not re.search(r"999|<\||burn|fire|://|\{\{", text), text
        assert text or parts[-1].error


class Spy:
    """A client of MQTT 5 that hears everything, and says what it is told to."""

    def __init__(self, port: int) -> None:
        self.topics: set[tuple[str, bool]] = set()
        self.sent: set[str] = set()
        self.answers: dict[tuple[str, str], list[Answer]] = {}
        self.client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
        self.client.on_message = self._hear
        heard: list[bool] = []
        self.client.on_subscribe = lambda *_: heard.append(True)
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()
        self.client.subscribe("#", 1)
        wait_for(lambda: bool(heard))

    def _hear(self, client, _, message) -> None:
        self.topics.add((message.topic, message.retain))
        correlation = getattr(message.properties, "CorrelationData", b"")
        if correlation and message.topic not in self.sent:
            part = decode_answer(message.payload)
            assert correlation.decode().startswith(part.id)
            self.answers.setdefault((message.topic, part.id), []).append(part)

    def say(self, topic: str, payload: bytes, reply: str = "", correlation: str = "") -> None:
        given = Properties(PacketTypes.PUBLISH)
        if reply:
            given.ResponseTopic = reply
        given.CorrelationData = correlation.encode()
        self.sent.add(topic)
        self._last = self.client.publish(topic, payload, 1, properties=given)

    def flush(self) -> None:
        """Return when the broker has it all."""
        self._last.wait_for_publish(20)

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


async def frames(port: int) -> None:
    """Motion, whose words are strange, from a device that waits until all of it is committed."""
    told = []
    for n, text in enumerate(INJECTIONS, 1):
        facts = {"imu.rms": 1.0, text[:40]: 1.0}
        told.append(replace(imu_frame(n, n), placement=text[:40], trace=text[:40], facts=facts))
    told.append(imu_frame(len(told) + 1, len(told) + 1))  # the last word is an honest one
    async with MqttLink("127.0.0.1", port, "watch") as link:
        await link.wait_connected()
        await asyncio.wait_for(Device(link, "s", "watch", told).run(), 60)


def statuses(spy: Spy) -> None:
    for text in INJECTIONS:
        stream = replace(status().streams[0], name=text, modality=text, placement=text, encoder=text, units=(text,))
        spy.say(topics.status("s", "stranger"), encode_json(replace(status(), version=text, streams=(stream,))))
        if sendable(text):
            spy.say(f"iotlm/ask/s/{text}", encode_json(Ask("q", KNOWN)))
    spy.flush()


def sendable(topic: str) -> bool:
    """Whether a broker lets it be published on: others end the connection of whoever tries."""
    plain = topic.isprintable() and not set("#+") & set(topic) and not topic.startswith("$")
    return plain and 0 < len(topic) < 1_000 and topic.count("/") < 60


def questions(spy: Spy) -> dict[str, str]:
    """Ask all; by id where the answer is to come."""
    waits: dict[str, str] = {}
    for n, text in enumerate(INJECTIONS):
        number = f"q-{n}"
        ask = Ask(number, text[:2000] if text.strip() else KNOWN, f"s{n % 5}", most=1, trace=text[:256])
        reply = f"people/{text}" if n % 2 else text
        reply = reply if sendable(reply) else ""
        try:
            waits[number] = topics.check_reply(reply)
        except MessageError:
            waits[number] = topics.answers("s", "watch", number)
        spy.say(topics.ask("s", "watch"), encode_json(ask), reply, f"{number} {text}"[:2000])
        spy.say(topics.ask("s", "watch"), json.dumps({"v": 1, "id": "x", "question": "?", "session": text}).encode())
        if n % 32 == 31 or n == len(INJECTIONS) - 1:  # no more than are answered at once
            wait_for(lambda: all(spy.answers.get((waits[one], one), [None])[-1] for one in waits), 60)
            wait_for(lambda: all(spy.answers[waits[one], one][-1].done for one in waits), 60)
    return waits
