"""A mosquitto, a `backend serve`, devices that send and people who ask: how long events take by how many people ask.

Devices send a window of motion twice a second each, by the wall clock, and people ask one question after another over
MQTT. Times are from the publication of a window to the arrival of its event and of its acknowledgement. Used by
`benchmarks.chatting`.
"""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from backend.serve.align import HOP_NS
from benchmarks.processes import Process, free_port, mosquitto, python, wait_listening
from benchmarks.recordings import stream, windows_of, write_recording
from benchmarks.throughput import wait_model
from broker import topics
from broker.link import Link, MqttLink
from broker.messages import (
    Answer,
    Ask,
    Frame,
    Status,
    StreamInfo,
    decode_ack,
    decode_answer,
    decode_event,
    encode_frame,
    encode_json,
)
from broker.modalities import MODALITIES
from edge.facts import facts

SITE, EPOCH = "bench", "e1"
ASKERS = (0, 1, 8, 32)
MOST = 64
"""Tokens of an answer at most."""
QUESTIONS = (
    "What is the person doing?",
    "What is the rms of the IMU on the wrist?",
    "Which sensors are there?",
    "What was the largest rms of the IMU on the wrist in the last 10 seconds?",
    "What happened in the last minute?",
    "How long was walking seen in the last minute?",
    "What is the speed of the GPS?",
    "When was the rms of the IMU on the wrist the largest?",
)
_SETTLE_S = 2.0  # of a stretch, before it counts
_PATIENCE_S = 60.0  # for an answer; one that takes longer is a failure of the whole


def quantiles(seconds: Sequence[float]) -> dict[str, float]:
    """Median and 95th percentile in milliseconds; nothing of nothing."""
    if not seconds:
        return {}
    p50, p95 = np.quantile(seconds, (0.5, 0.95)) * 1e3
    return {"p50": round(float(p50), 1), "p95": round(float(p95), 1)}


@dataclass
class Stretch:
    """What was measured while so many people asked, in seconds. A question that is refused has no answer."""

    seconds: float = 0.0
    events: list[float] = field(default_factory=list)
    commits: list[float] = field(default_factory=list)
    first_parts: list[float] = field(default_factory=list)
    answers: list[float] = field(default_factory=list)
    refused: int = 0

    def add(self, other: "Stretch") -> None:
        """Count another one of the same kind in."""
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)

    def figures(self) -> dict[str, Any]:
        """As they are written down."""
        return {
            "events": len(self.events),
            "event_ms": quantiles(self.events),
            "commit_ms": quantiles(self.commits),
            "answers_per_s": round(len(self.answers) / self.seconds, 1),
            "first_part_ms": quantiles(self.first_parts),
            "answer_ms": quantiles(self.answers),
            "refused": self.refused,
        }


class Home:
    """Devices that send, people who ask, and somebody who hears it all, in one event loop."""

    def __init__(self, link: Link, frames: Sequence[Frame], devices: int) -> None:
        self._link, self._frames = link, frames
        self._devices = [f"device-{n}" for n in range(devices)]
        self._sent: dict[tuple[str, int], float] = {}  # by device and slot
        self._slots: dict[tuple[str, int], int] = {}  # by device and number of its frame
        self._acked = dict.fromkeys(self._devices, 0)
        self._asked: dict[str, asyncio.Queue[Answer]] = {}
        self._numbers = itertools.count()
        self._stretch = Stretch()
        self._over = False

    async def announce(self) -> None:
        """Let the devices be known, and hear what is said of them."""
        await self._link.subscribe(
            topics.EVENTS_ALL, topics.ANSWERS_ALL, *(topics.acks(SITE, d) for d in self._devices)
        )
        row = MODALITIES["imu"]
        info = StreamInfo("imu", "imu", "wrist", row.units, stream().rate, row.window_s, row.hop_s)
        for device in self._devices:
            told = Status("online", EPOCH, (info,), "1", "2026-01-01T00:00:00Z")
            await self._link.publish(topics.status(SITE, device), encode_json(told), retain=True)

    async def send(self, device: str, phase_s: float) -> None:
        """A window each half second, as soon as it has been measured, without end."""
        window_ns = round(MODALITIES["imu"].window_s * 1e9)
        slot = time.time_ns() // HOP_NS
        for seq in itertools.count(1):
            await asyncio.sleep((slot * HOP_NS + window_ns) / 1e9 + phase_s - time.time())
            frame = replace(self._frames[seq % len(self._frames)], seq=seq, t0=slot * HOP_NS)
            self._slots[device, seq] = slot
            self._sent[device, slot] = time.perf_counter()
            await self._link.publish(topics.frames(SITE, device, "imu"), encode_frame(frame))
            slot += 1

    async def hear(self) -> None:
        """Note what arrives, without end."""
        async for message in self._link.messages():
            now, topic = time.perf_counter(), topics.parse(message.topic)
            if isinstance(topic, topics.EventTopic):
                event = decode_event(message.payload)
                ended = round(datetime.fromisoformat(event.time).timestamp() * 1e9)
                slot = (ended - round(MODALITIES["imu"].window_s * 1e9)) // HOP_NS
                if (topic.group, slot) in self._sent:
                    self._stretch.events.append(now - self._sent[topic.group, slot])
            elif isinstance(topic, topics.AckTopic):
                seq = decode_ack(message.payload).seq
                for number in range(self._acked[topic.device] + 1, seq + 1):
                    self._stretch.commits.append(now - self._sent[topic.device, self._slots[topic.device, number]])
                self._acked[topic.device] = max(seq, self._acked[topic.device])
            elif isinstance(topic, topics.AnswerTopic) and topic.id in self._asked:
                self._asked[topic.id].put_nowait(decode_answer(message.payload))

    async def ask(self, device: str) -> None:
        """One question after another, without a pause, until it is over."""
        while not self._over:
            n = next(self._numbers)
            name, parts = f"q{n}", asyncio.Queue[Answer]()
            self._asked[name] = parts
            began = time.perf_counter()
            question = QUESTIONS[n % len(QUESTIONS)]
            async with asyncio.timeout(_PATIENCE_S):
                await self._link.publish(topics.ask(SITE, device), encode_json(Ask(name, question, most=MOST)))
                part = await parts.get()
                first = time.perf_counter() - began
                while not part.done:
                    part = await parts.get()
            del self._asked[name]
            if part.error:
                self._stretch.refused += 1
            else:
                self._stretch.first_parts.append(first)
                self._stretch.answers.append(time.perf_counter() - began)

    async def while_asked(self, people: int, seconds: float) -> Stretch:
        """What is measured while so many ask; nobody waits for an answer any more when it is returned."""
        self._over = False
        async with asyncio.TaskGroup() as asking:
            for n in range(people):
                asking.create_task(self.ask(self._devices[n % len(self._devices)]))
            await asyncio.sleep(_SETTLE_S)
            self._stretch = found = Stretch(seconds)
            await asyncio.sleep(seconds)
            self._stretch, self._over = Stretch(), True
        return found

    @asynccontextmanager
    async def living(self) -> AsyncIterator[None]:
        """All devices send, and everything is heard; where one of it fails, so does all."""
        count = len(self._devices)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self.send(d, n / count * HOP_NS / 1e9)) for n, d in enumerate(self._devices)]
            tasks.append(group.create_task(self.hear()))
            yield
            for task in tasks:
                task.cancel()


def frames_of(folder: Path) -> list[Frame]:
    """Motion that changes every four seconds, as a device sends it, facts included."""
    write_recording(folder / "motion.csv", 64, 0)
    return [
        Frame(EPOCH, 1, 1, "imu", "wrist", "raw", w.t0, w.rate, w.values, facts=facts(w), quality=w.quality)
        for w in windows_of(folder / "motion.csv")
    ]


async def events(
    folder: Path, checkpoint: str, seconds: float, rounds: int, devices: int = 8, askers: Sequence[int] = ASKERS
) -> dict[str, Any]:
    """Latency of events by how many people ask, and beside nobody."""
    port, settings = free_port(), folder / "serve.toml"
    settings.write_text(f"update_s = {HOP_NS / 1e9}\nconsole = false\n")  # what goes on is an event in every slot
    serve = ["serve", "--config", str(settings), "--broker", f"127.0.0.1:{port}", "--store", str(folder / "s.db")]
    serve += ["--http-port", "0", *(["--checkpoint", checkpoint] if checkpoint else [])]
    broker, backend = mosquitto(folder, port), Process("backend", python("backend.cli", *serve), folder)
    found = {people: Stretch() for people in askers}
    with ExitStack() as stack:
        for process in (broker, backend):
            stack.callback(process.stop)
        broker.start()
        wait_listening(port)
        backend.start()
        await asyncio.to_thread(wait_model, backend)
        async with MqttLink("127.0.0.1", port, "home") as link:
            await link.wait_connected()
            home = Home(link, frames_of(folder), devices)
            await home.announce()
            async with home.living():
                await home.while_asked(max(askers), 1.0)  # what is computed once is computed before
                for turn in range(rounds):
                    for people in askers[:: 1 if turn % 2 == 0 else -1]:
                        found[people].add(await home.while_asked(people, seconds))
    figures = {str(people): one.figures() for people, one in found.items()}
    alone = found[askers[0]]
    for people, one in found.items():
        if one.events and alone.events:
            ratios = np.quantile(one.events, (0.5, 0.95)) / np.quantile(alone.events, (0.5, 0.95))
            figures[str(people)]["event_times"] = dict(zip(("p50", "p95"), map(float, ratios.round(2)), strict=True))
    return {"devices": devices, "windows_per_s": devices / (HOP_NS / 1e9), "by_askers": figures}
