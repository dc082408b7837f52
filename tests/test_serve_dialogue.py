"""Questions to a running backend, by every way in: the same answer, true, with what it rests on."""

import asyncio
import contextlib
import json
import re
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import openai
import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from prometheus_client import generate_latest

from backend.checkpoint import load_checkpoint
from backend.model.sensorlm import Predictor
from backend.model.talk import Saying, Talk
from backend.serve.align import GroupKey
from backend.serve.api import Parts, create_app
from backend.serve.config import load
from backend.serve.dialogue import FACTS_ALONE, Question, Told
from backend.serve.pipeline import Pipeline
from backend.serve.store import Store
from broker import topics
from broker.errors import MessageError
from broker.link import Link, Message, MqttLink
from broker.memory import MemoryBroker, MemoryLink
from broker.messages import Answer, Ask, decode_answer, encode_json
from tests.serving import Device, imu_frame, new_metrics, small_model

WATCH = GroupKey("s", "watch")
COUNT = 60
NEWEST = "What is the rms now?"
SENSORS = "Which sensors are there?"
DOING = "Which activity is it now?"


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return Predictor(load_checkpoint())


@pytest.fixture(scope="module")
def talk(predictor: Predictor) -> Iterator[Talk]:
    with Talk(predictor) as talk:
        yield talk


@contextlib.asynccontextmanager
async def serving(folder: Path, model: Predictor, talk: Talk | None, link: Link | None = None, **flags):
    """A pipeline that has seen half a minute of a watch."""
    broker = MemoryBroker()
    link = link or MemoryLink(broker)
    store = Store(f"sqlite:///{folder}/s.db")
    pipeline = Pipeline(load(None, {"idle_s": 1.0, **flags}), link, model, store, new_metrics(), talk=talk)
    running = asyncio.create_task(pipeline.run())
    try:
        async with MemoryLink(broker) as device:
            if isinstance(link, MemoryLink):
                await asyncio.wait_for(
                    Device(device, "s", "watch", [imu_frame(i + 1, i) for i in range(COUNT)]).run(), 60
                )
            yield pipeline, store, broker
    finally:
        running.cancel()
        await asyncio.wait({running})
        store.close()


async def ask(pipeline: Pipeline, text: str, **more) -> tuple[list[str], Told]:
    parts = [part async for part in pipeline.dialogue.answer(Question(WATCH, text, **more))]
    assert isinstance(parts[-1], Told)
    said = [part for part in parts if isinstance(part, str)]
    assert "".join(said) == parts[-1].text
    return said, parts[-1]


def metrics_of(pipeline: Pipeline) -> str:
    return generate_latest(pipeline._metrics.registry).decode()


async def test_what_is_told_is_true_and_carries_what_it_rests_on(tmp_path: Path):
    async with serving(tmp_path, small_model(), None) as (pipeline, store, _):
        _, told = await ask(pipeline, NEWEST)
        newest = store.readings(WATCH, 0, 1 << 62, 10_000)[-1]
        assert f"{newest.facts['imu.rms']:.2f} m/s2" in told.text
        (number,) = [one for one in told.evidence if one.kind == "number" and one.status == "supported"]
        assert (number.stream, number.fact, number.unit) == ("watch/imu", "imu.rms", "m/s2")
        assert number.value == newest.facts["imu.rms"]
        _, told = await ask(pipeline, DOING)
        (label,) = [one for one in told.evidence if one.kind == "label" and one.status == "supported"]
        assert label.label == pipeline.engine.newest[WATCH].decisions["activity-recognition"][0].label
        assert set(told.attribution) == {"watch/imu"}
        _, told = await ask(pipeline, "What happened in the last minute?")
        known = {event.id for event in store.events(0, 1000)}
        events = {event for one in told.evidence for event in one.events}
        assert events and events <= known
        _, told = await ask(pipeline, "How fast is it by the GPS?")
        assert told.text.startswith("I cannot tell: there is no GPS")
        text = metrics_of(pipeline)
        assert 'iotlm_questions_total{outcome="supported",way="http"} 4.0' in text
        assert "iotlm_answer_seconds_count 4.0" in text
        assert "iotlm_answer_first_part_seconds_count 4.0" in text


async def test_a_backend_without_a_language_model_answers_by_facts_and_says_so(tmp_path: Path):
    async with serving(tmp_path, small_model(), None) as (pipeline, store, _):
        _, told = await ask(pipeline, NEWEST)
        assert (told.model, told.standing, told.tokens) == (FACTS_ALONE, "supported", 0)
        assert f"{store.readings(WATCH, 0, 1 << 62, 10_000)[-1].facts['imu.rms']:.2f} m/s2" in told.text


async def test_a_session_is_continued_and_expires(tmp_path: Path):
    async with serving(tmp_path, small_model(), None, **{"dialogue.sessions": 2}) as (pipeline, _, _):
        now = time.monotonic()
        pipeline.dialogue._clock = lambda: now
        await ask(pipeline, "What is the mean rms in the last 20 seconds?", session="a")
        _, told = await ask(pipeline, "And the largest?", session="a")
        assert "largest rms" in told.text
        _, told = await ask(
            pipeline, "And the largest?", turns=(("What is the mean rms in the last 20 seconds?", "4"),)
        )
        assert "largest rms" in told.text
        _, told = await ask(pipeline, "And the largest?")
        assert "largest rms" not in told.text
        now += 901
        _, told = await ask(pipeline, "And the largest?", session="a")
        assert "largest rms" not in told.text
        for name in "bcd":
            await ask(pipeline, SENSORS, session=name)
        assert [name for _, name in pipeline.dialogue._sessions] == ["c", "d"]
        assert "iotlm_dialogue_sessions 2.0" in metrics_of(pipeline)


async def test_what_nobody_can_answer_is_refused(tmp_path: Path, predictor: Predictor, talk: Talk):
    async with serving(tmp_path, predictor, talk) as (pipeline, _, _):
        for question, reason, named in (
            (Question(GroupKey("s", "nobody"), NEWEST), "group", "known: s/watch"),
            (Question(WATCH, NEWEST, streams=("watch/gps",)), "sensors", "there: watch/imu"),
        ):
            with pytest.raises(MessageError, match=named) as refused:
                [part async for part in pipeline.dialogue.answer(question)]
            assert refused.value.reason == reason
        pipeline.dialogue._waiting = 0
        with pytest.raises(MessageError, match="ask again") as refused:
            await ask(pipeline, NEWEST)
        assert refused.value.reason == "busy"
        assert 'iotlm_questions_total{outcome="busy",way="http"} 1.0' in metrics_of(pipeline)


async def test_answers_from_named_streams_alone(tmp_path: Path):
    async with serving(tmp_path, small_model(), None) as (pipeline, _, _):
        _, told = await ask(pipeline, DOING, streams=("watch/imu",))
        assert set(told.attribution) == {"watch/imu"}


async def test_who_says_nothing_in_time_is_not_waited_for(tmp_path: Path, predictor: Predictor, talk: Talk):
    async with serving(tmp_path, predictor, talk, **{"dialogue.time_s": 1e-3}) as (pipeline, _, _):
        _, told = await ask(pipeline, NEWEST)
        assert told.model == FACTS_ALONE
        assert "rms" in told.text


async def test_the_length_limit_holds_and_half_a_sentence_is_not_told(tmp_path: Path, predictor: Predictor, talk: Talk):
    async with serving(tmp_path, predictor, talk) as (pipeline, _, _):
        _, told = await ask(pipeline, "What was the largest rms in the last 20 seconds?", most=2)
        assert told.tokens <= 2
        assert told.cut
        assert told.text.endswith(".")


class Scripted:
    """In place of `Talk`: says what it is told to, by pieces."""

    def __init__(self, way, *texts: str, ended: str = "end") -> None:
        self.way, self.texts, self.ended, self.said = way, texts, ended, []

    def say(self, saying: Saying) -> None:
        self.said.append(saying)
        text = ""
        for piece in self.texts:
            text += piece
            saying.heard(text, "")
        saying.heard(text, self.ended)


async def test_sentences_are_told_as_they_are_checked_and_what_does_not_hold_is_not(
    tmp_path: Path, predictor: Predictor, talk: Talk
):
    async with serving(tmp_path, predictor, talk) as (pipeline, store, _):
        rms = f"{store.readings(WATCH, 0, 1 << 62, 10_000)[-1].facts['imu.rms']:.2f}"
        true = f"The rms of the IMU on the wrist is {rms} m/s2."
        dialogue = pipeline.dialogue
        dialogue._talk = Scripted(talk.way, true[:20], f"{true[20:]} The IMU is on ", "the wrist.")
        parts, told = await ask(pipeline, NEWEST)
        assert parts == [true, " The IMU is on the wrist."]
        assert told.standing == "supported"
        dialogue._talk = Scripted(talk.way, f"{true} The rms is 99.00 m/s2. The IMU is on the wrist.")
        parts, told = await ask(pipeline, NEWEST)
        assert (parts, told.standing) == ([true], "withheld")
        assert [(one.claim, one.status) for one in told.evidence if one.status != "supported"] == [
            ("99.00", "withheld")
        ]
        dialogue._talk = Scripted(talk.way, f"The rms is 99.00 m/s2. {true}")
        parts, told = await ask(pipeline, NEWEST)
        assert told.standing == "corrected"
        assert rms in told.text and "99" not in told.text
        assert ("99.00", "corrected") in [(one.claim, one.status) for one in told.evidence]
        dialogue._talk = Scripted(talk.way, true, ended="length")
        parts, told = await ask(pipeline, NEWEST)
        assert told.cut and rms in told.text
        dialogue._talk = Scripted(talk.way, "", ended="failed")
        parts, told = await ask(pipeline, NEWEST)
        assert told.model == FACTS_ALONE and rms in told.text


async def test_who_leaves_is_not_talked_to(tmp_path: Path, predictor: Predictor, talk: Talk):
    async with serving(tmp_path, predictor, talk) as (pipeline, store, _):
        rms = f"{store.readings(WATCH, 0, 1 << 62, 10_000)[-1].facts['imu.rms']:.2f}"
        scripted = Scripted(talk.way, f"The rms of the IMU on the wrist is {rms} m/s2. And", ended="")
        pipeline.dialogue._talk = scripted
        parts = pipeline.dialogue.answer(Question(WATCH, NEWEST))
        await anext(parts)
        await parts.aclose()
        assert scripted.said[0].gone
        assert pipeline.dialogue._on == 0
        assert 'outcome="gone"' in metrics_of(pipeline)


async def test_many_at_once_are_answered_as_each_alone(tmp_path: Path, predictor: Predictor, talk: Talk):
    questions = [NEWEST, SENSORS, "What can you tell?", "Which facts does the IMU tell?"] * 6
    async with serving(tmp_path, predictor, talk) as (pipeline, _, _):
        alone = {text: (await ask(pipeline, text))[1].text for text in dict.fromkeys(questions)}
        together = await asyncio.gather(*(ask(pipeline, text) for text in questions))
        assert [told.text for _, told in together] == [alone[text] for text in questions]


# over the wire


async def asked(link: Link, ask: Ask, group: str = "watch") -> list[Answer]:
    """All parts of an answer."""
    await link.subscribe(topics.answers("s", group, ask.id))
    await link.publish(topics.ask("s", group), encode_json(ask))
    parts = []
    async for message in link.messages():
        parts.append(decode_answer(message.payload))
        if parts[-1].done:
            return parts
    raise AssertionError


async def test_a_question_over_mqtt_is_answered_in_parts(tmp_path: Path, predictor: Predictor, talk: Talk):
    async with serving(tmp_path, predictor, talk) as (pipeline, _, broker), MemoryLink(broker) as person:
        _, told = await ask(pipeline, SENSORS)
        parts = await asyncio.wait_for(asked(person, Ask("q1", SENSORS, trace="t")), 20)
        assert [one.part for one in parts] == list(range(len(parts)))
        assert "".join(one.text for one in parts) == told.text
        assert (parts[-1].model, parts[-1].trace, parts[-1].error) == (predictor.digest, "t", "")
        assert parts[-1].evidence == told.evidence
        (only,) = await asyncio.wait_for(asked(person, Ask("q2", SENSORS), "nobody"), 20)
        assert only.error == "group: s/nobody is none that sensors have told of; known: s/watch"


async def test_what_is_no_question_is_a_dead_letter(tmp_path: Path, predictor: Predictor, talk: Talk):
    async with serving(tmp_path, predictor, talk) as (pipeline, _, broker), MemoryLink(broker) as person:
        await person.publish(topics.ask("s", "watch"), b"what?")
        await person.publish(topics.ask("s", "watch"), json.dumps({"v": 1, "id": "a/b", "question": "x"}).encode())
        await person.publish(
            topics.ask("s", "watch"), encode_json(Ask("q1", SENSORS)), response_topic="iotlm/frames/s/watch/imu"
        )
        await person.publish(topics.ask("s", "watch"), encode_json(Ask("q3", SENSORS)), retain=True)
        parts = await asyncio.wait_for(asked(person, Ask("q2", SENSORS)), 20)
        assert parts[-1].done
        reasons = [letter.reason for letter in pipeline.ingest.dead_letters]
        assert reasons == ["encoding", "id", "response_topic"]
        again = Message(topics.ask("s", "watch"), encode_json(Ask("q3", SENSORS)), retain=True)  # as after a reconnect
        pipeline.take(again)
        assert pipeline.ingest.dead_letters[-1].reason == "retained"


@contextlib.contextmanager
def a_backend(folder: Path, port: int, *flags: str) -> Iterator[str]:
    """`backend serve` with the bundled model; its address."""
    command = [sys.executable, "-m", "backend.cli", "serve", "--broker", f"127.0.0.1:{port}", "--http-port", "0"]
    command += ["--store", str(folder / "s.db"), "--idle", "1", *flags]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            address = re.match(r"(http://\S+)/ ", process.stdout.readline())
            assert address
            while "takes frames" not in process.stdout.readline():
                assert process.poll() is None
            yield address[1]
        finally:
            process.terminate()
            process.wait(20)


@pytest.fixture
async def home(mosquitto, tmp_path: Path) -> AsyncIterator[tuple[str, int]]:
    """A backend at a real broker that has seen half a minute of a watch: its address, and the broker's port."""
    with a_backend(tmp_path, mosquitto.port) as url:
        async with MqttLink("127.0.0.1", mosquitto.port, "watch") as link:
            await link.wait_connected()
            await asyncio.wait_for(Device(link, "s", "watch", [imu_frame(i + 1, i) for i in range(COUNT)]).run(), 60)
        yield url, mosquitto.port


def by_mqtt(port: int, question: Ask, *, version: int = mqtt.MQTTv311, reply: str = "") -> tuple[list[Answer], bytes]:
    """The parts of an answer, and the correlation data that came with the last."""
    parts, last = [], [b""]
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=version)

    def heard(client, _, message) -> None:
        parts.append(decode_answer(message.payload))
        last[0] = getattr(message.properties, "CorrelationData", b"")

    client.on_message = heard
    client.connect("127.0.0.1", port)
    client.loop_start()
    given, confirmed = None, []
    client.on_subscribe = lambda *_: confirmed.append(True)
    client.subscribe(reply or topics.answers("s", "watch", question.id), 1)
    wait_for(lambda: bool(confirmed))
    if reply:
        given = Properties(PacketTypes.PUBLISH)
        given.ResponseTopic, given.CorrelationData = reply, b"\x00mine"
    client.publish(topics.ask("s", "watch"), encode_json(question), 1, properties=given)
    wait_for(lambda: bool(parts) and parts[-1].done)
    client.disconnect()
    client.loop_stop()
    return parts, last[0]


def wait_for(condition, seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def by_command(url: str, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "backend.cli", "ask", "--url", url, *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


async def test_every_way_in_gives_the_same_answer(home: tuple[str, int]):
    await asyncio.to_thread(every_way, *home)


def every_way(url: str, port: int) -> None:
    plain, _ = by_mqtt(port, Ask("q-plain", NEWEST))
    five, correlation = by_mqtt(port, Ask("q-five", NEWEST), version=mqtt.MQTTv5, reply="people/anna/answers")
    said = "".join(one.text for one in plain)
    assert "".join(one.text for one in five) == said
    assert correlation == b"\x00mine"
    assert {one.id for one in five} == {"q-five"}
    with openai.OpenAI(base_url=f"{url}/v1", api_key="none") as client:
        assert [model.id for model in client.models.list()] == ["iotlm/s/watch"]
        assert client.models.retrieve("iotlm/s/watch").owned_by == "iotlm"
        messages = [{"role": "system", "content": "You are kind."}, {"role": "user", "content": NEWEST}]
        whole = client.chat.completions.create(model="iotlm/s/watch", messages=messages, temperature=0.7)
        assert whole.choices[0].message.content == said
        assert whole.choices[0].finish_reason == "stop"
        assert whole.usage is not None and whole.usage.total_tokens > 0
        about = whole.model_extra["iotlm"]
        assert [one["claim"] for one in about["evidence"]] == [one.claim for one in plain[-1].evidence]
        chunks = list(
            client.chat.completions.create(
                model="iotlm",
                messages=messages[1:],
                stream=True,
                stream_options={"include_usage": True},
                metadata={"site": "s", "group": "watch", "session": "x", "sensors": "watch/imu"},
            )
        )
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == said
        assert chunks[-1].usage is not None
        assert chunks[-2].choices[0].finish_reason == "stop"
        assert chunks[-2].model_extra["iotlm"]["session"] == "x"
        with pytest.raises(openai.NotFoundError, match="there: iotlm/s/watch"):
            client.chat.completions.create(model="gpt-9", messages=messages)
        with pytest.raises(openai.NotFoundError, match="known: s/watch"):
            client.chat.completions.create(model="iotlm/s/nobody", messages=messages)
        with pytest.raises(openai.BadRequestError, match="max_tokens: "):
            client.chat.completions.create(model="iotlm/s/watch", messages=messages, max_tokens=0)
    done = by_command(url, NEWEST)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{said}\n", "")
    done = by_command(url, NEWEST, "--site", "s", "--group", "watch", "--evidence")
    assert done.stdout.startswith(f"{said}\nanswered by ")
    assert "imu.rms of watch/imu is" in done.stdout
    body = json.loads(by_command(url, NEWEST, "--json", "--session", "y").stdout)
    assert (body["answer"], body["session"], body["group"]) == (said, "y", "watch")
    for words, status, named in (
        ((NEWEST, "--group", "nobody"), 1, "error: group: "),
        (("  ",), 1, "error: messages: "),
        ((), 2, "error: Missing argument"),
    ):
        done = by_command(url, *words)
        assert (done.returncode, done.stdout) == (status, "")
        assert done.stderr.startswith(named) and done.stderr.count("\n") == 1
    text = httpx.get(f"{url}/metrics").text
    assert 'way="mqtt"' in text and 'way="http"' in text


async def test_who_reads_nothing_or_goes_away_slows_nobody(home: tuple[str, int]):
    await asyncio.to_thread(with_bad_company, *home)


def with_bad_company(url: str, port: int) -> None:
    host, _, number = url.removeprefix("http://").partition(":")
    content = json.dumps({**body(stream=True), "messages": [{"role": "user", "content": "Describe it all. " * 100}]})
    request = (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
        f"content-length: {len(content)}\r\n\r\n{content}"
    )
    with contextlib.ExitStack() as stack:
        for n in range(20):
            idle = stack.enter_context(socket.create_connection((host, int(number))))
            idle.sendall(request.encode())
            if n % 2:
                idle.close()
        gone = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
        gone.connect("127.0.0.1", port)
        gone.loop_start()
        for n in range(20):
            gone.publish(topics.ask("s", "watch"), encode_json(Ask(f"gone-{n}", SENSORS)), 1).wait_for_publish(10)
        gone.disconnect()
        gone.loop_stop()
        parts, _ = by_mqtt(port, Ask("here", NEWEST))
        assert parts[-1].error == ""
        with openai.OpenAI(base_url=f"{url}/v1", api_key="none", timeout=20) as client:
            answer = client.chat.completions.create(model="iotlm", messages=[{"role": "user", "content": NEWEST}])
        assert answer.choices[0].message.content == "".join(one.text for one in parts)
        assert httpx.get(f"{url}/readyz").status_code == 200


def test_no_backend_and_one_that_says_nothing_are_a_line_each(mosquitto):
    done = by_command("http://127.0.0.1:1", NEWEST)
    assert done.returncode == 1
    assert done.stderr == "error: http://127.0.0.1:1: Connection refused; is `backend serve` running there?\n"
    done = by_command(f"127.0.0.1:{mosquitto.port}", NEWEST, "--timeout", "0.5")  # a broker is no backend
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert by_command("nowhere://x", NEWEST).stderr.startswith("error: --url 'nowhere://x'")


# the API itself


@contextlib.asynccontextmanager
async def api(pipeline: Pipeline | None, store: Store) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app(Parts(new_metrics().registry, store, None, pipeline))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://backend") as http:
        yield http


def body(**more) -> dict:
    return {"model": "iotlm/s/watch", "messages": [{"role": "user", "content": SENSORS}], **more}


async def test_errors_are_those_of_openai(tmp_path: Path, predictor: Predictor, talk: Talk):
    url = "/v1/chat/completions"
    async with serving(tmp_path, predictor, talk) as (pipeline, store, _):
        async with api(None, store) as http:
            early = await http.post(url, json=body())
            assert (early.status_code, early.json()["error"]["code"]) == (503, "starting")
            assert (await http.get("/v1/models")).json() == {"object": "list", "data": []}
        async with api(pipeline, store) as http:
            user = {"role": "user", "content": SENSORS}
            for change, status, code in (
                ({"model": "gpt"}, 404, "model"),
                ({"model": "iotlm/s/Nobody"}, 404, "group"),
                ({"messages": []}, 400, "messages"),
                ({"messages": [{"role": "system", "content": "x"}]}, 400, "messages"),
                ({"messages": [{"role": "user", "content": "x" * 2001}]}, 400, "messages"),
                ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, 400, "messages"),
                ({"max_completion_tokens": 0}, 400, "max_completion_tokens"),
                ({"n": 2}, 400, "n"),
                ({"metadata": {"sensors": "watch/imu,+/#"}}, 400, "sensors"),
                ({"metadata": {"session": "a b"}}, 400, "session"),
                ({"model": "iotlm", "metadata": {"site": "t"}}, 404, "group"),
            ):
                refused = await http.post(url, json=body(**change))
                error = refused.json()["error"]
                assert (refused.status_code, error["code"]) == (status, code), error
                assert set(error) == {"message", "type", "param", "code"}
            assert (await http.post(url, content=b"{", headers={"content-type": "application/json"})).status_code == 400
            assert (await http.post(url, content=json.dumps(body()))).json()["error"]["code"] == "content-type"
            large = await http.post(url, json=body(messages=[user, {"role": "user", "content": "x" * (1 << 20)}]))
            assert large.json()["error"]["code"] == "size"
            pipeline.dialogue._waiting = 0
            busy = await http.post(url, json=body(stream=True))
            assert (busy.status_code, busy.headers["retry-after"]) == (429, "2")


async def test_which_group_is_asked_can_be_said_in_three_ways(tmp_path: Path, predictor: Predictor, talk: Talk):
    async with serving(tmp_path, predictor, talk) as (pipeline, store, _), api(pipeline, store) as http:
        system = {"role": "system", "content": "Be brief.\nsite: s\ngroup = watch\nsensors: watch/imu"}
        user = {"role": "user", "content": [{"type": "text", "text": SENSORS}]}
        for change in (
            {},
            {"model": "iotlm"},
            {"model": "iotlm", "metadata": {"site": "s", "group": "watch"}},
            {"model": "iotlm", "messages": [system, user]},
        ):
            answer = await http.post("/v1/chat/completions", json=body(**change))
            assert answer.status_code == 200
            assert (answer.json()["model"], answer.json()["iotlm"]["group"]) == ("iotlm/s/watch", "watch")


async def test_an_earlier_turn_of_the_messages_is_continued(tmp_path: Path):
    async with serving(tmp_path, small_model(), None) as (pipeline, store, _), api(pipeline, store) as http:
        turns = ["What is the mean rms in the last 20 seconds?", "It is 4 m/s2.", "And the largest?"]
        roles = ["user", "assistant", "user"]
        messages = [{"role": role, "content": text} for role, text in zip(roles, turns, strict=True)]
        answer = (await http.post("/v1/chat/completions", json=body(messages=messages))).json()
        assert "largest rms" in answer["choices"][0]["message"]["content"]
