"""Mutated messages against the backend's real front: nothing may crash it, stop it or fill its memory.

    python -m benchmarks.fuzz --frames 200000 --seed 1

Every payload goes through the path of a live one: topic, decoding, receiver, alignment; events and answers are decoded
as a subscriber does, and questions as whoever answers them. Honest devices send in between; that each of their windows
comes through, in order, is what "stops nothing" means. Prints one line of JSON and writes it to
benchmarks/results/fuzz.json.
"""

import argparse
import contextlib
import json
import random
import resource
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
from prometheus_client import CollectorRegistry

from backend.metrics import Metrics
from backend.moment import StreamWindow
from backend.serve.align import HOP_NS, Aligner, Closed, Grouping
from backend.serve.ingest import Ingest, Limits, Receipt, Verdict
from backend.serve.store import Commit, Store
from broker import topics
from broker.errors import MessageError
from broker.messages import (
    Answer,
    Ask,
    Event,
    Evidence,
    Frame,
    Status,
    StreamInfo,
    decode_answer,
    decode_ask,
    decode_event,
    decode_status,
    encode_frame,
    encode_json,
)

RESULT = Path(__file__).parent / "results" / "fuzz.json"
T0 = 1_700_000_000_000_000_000
_ODD: tuple[Any, ...] = (
    None, True, False, 0.5, 50, 0, 1, -1, 2**31, 2**63 - 1, 2**63, 2**64 - 1, -(2**63), 0.0, -0.0, 1e308, float("nan"),
    float("inf"), "", "x" * 300, "\0", "🦂", b"", b"\xff" * 40, [], [[]], [1] * 200, {}, {"a": {}}, {1: 2}, {"v": 1},
    "raw", "tokens", "f4", "audio", "imu",
)  # fmt: skip
_ODD_JSON: tuple[Any, ...] = (
    10**400, -(10**400), 10**4000, "\ud800", {"a": 10**400},
    *[odd for odd in _ODD if not isinstance(odd, bytes | dict)],
)  # fmt: skip


def honest_frame(seq: int, slot: int, epoch: str) -> Frame:
    """A good frame of motion."""
    data = np.full((50, 6), seq % 9, np.float32)
    return Frame(epoch, seq, 1, "imu", "wrist", "raw", T0 + slot * HOP_NS, 50.0, data, facts={"imu.rms": 1.0})


def honest_status(device: str) -> bytes:
    """A good word of a device on itself."""
    info = StreamInfo("imu", "imu", "wrist", ("m/s2",) * 6, 50.0, 1.0, 0.5)
    return encode_json(Status("online", f"{device}-epoch", (info,), "1", "2026-01-01T00:00:00Z"))


def honest_event(device: str) -> bytes:
    """A good event."""
    moments = ("2026-01-01T00:00:01Z", "2026-01-01T00:00:00Z", 1.0)
    weights, facts = {f"{device}/imu": 1.0}, {f"{device}/imu/imu.rms": 9.8}
    return encode_json(Event("i", 1, "s", device, "t", "start", "WALKING", 0.9, *moments, "i", weights, facts, "m"))


def honest_ask(device: str) -> bytes:
    """A good question."""
    return encode_json(Ask("q-1", "How long did I walk?", "s-1", (f"{device}/imu",), 64, "trace"))


def honest_answer(device: str) -> bytes:
    """A good last part of an answer."""
    moments, events = ("2026-01-01T00:00:00Z", "2026-01-01T00:00:01Z"), ("e1", "e2")
    claim = Evidence(
        "for a second", "duration", "supported", f"{device}/imu", "imu.rms", 1.0, "s", "", *moments, events
    )
    return encode_json(Answer("q-1", 1, "a second", True, (claim,), {f"{device}/imu": 1.0}, "m", moments[1], "", "so"))


class Mutator:
    """Ways to spoil a message, from single bits to whole structures. `chance` makes a run repeatable."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        coarse = [self._flip, self._cut, self._insert, self._noise, self._drop, self._nest, self._shape]
        self._ways: list[Callable[[bytes], bytes]] = [*coarse, *[self._field] * 8]  # most reach the last checks

    def spoil(self, payload: bytes) -> bytes:
        """One to three mutations of a payload."""
        for _ in range(self.chance.choice((1, 1, 1, 1, 2, 3))):
            payload = self.chance.choice(self._ways)(payload)
        return payload

    def spoil_json(self, payload: bytes) -> bytes:
        """A JSON message with one or two values replaced or missing at any depth, some with bytes spoiled, too."""
        body = json.loads(payload)
        for _ in range(self.chance.choice((1, 1, 2))):
            within = self._inner(body)
            key = self.chance.choice(list(within) if isinstance(within, dict) else range(len(within)))
            if self.chance.random() < 0.1:
                del within[key]
            else:
                within[key] = self.chance.choice(_ODD_JSON)
        spoiled = json.dumps(body).encode()
        return self.chance.choice((self._flip, self._cut))(spoiled) if self.chance.random() < 0.1 else spoiled

    def _inner(self, body: Any) -> Any:
        """The message or, as often as not, a list or map within it; never an empty one."""
        within = [value for value in (body.values() if isinstance(body, dict) else body) if value]
        deeper = [value for value in within if isinstance(value, dict | list)]
        return self._inner(self.chance.choice(deeper)) if deeper and self.chance.random() < 0.5 else body

    def _flip(self, payload: bytes) -> bytes:
        data = bytearray(payload)
        for _ in range(self.chance.choice((1, 2, 8)) if data else 0):
            data[self.chance.randrange(min(len(data), self.chance.choice((16, 200, 1 << 20))))] ^= (
                1 << self.chance.randrange(8)
            )
        return bytes(data)

    def _cut(self, payload: bytes) -> bytes:
        return payload[: self.chance.randrange(len(payload) + 1)]

    def _insert(self, payload: bytes) -> bytes:
        at = self.chance.randrange(len(payload) + 1)
        return payload[:at] + self.chance.randbytes(self.chance.choice((1, 4, 64))) + payload[at:]

    def _noise(self, _payload: bytes) -> bytes:
        return self.chance.randbytes(self.chance.choice((0, 1, 9, 300)))

    def _field(self, payload: bytes) -> bytes:
        return self._with(payload, lambda body, key: body.__setitem__(key, self.chance.choice(_ODD)))

    def _drop(self, payload: bytes) -> bytes:
        return self._with(payload, lambda body, key: body.__delitem__(key))

    def _nest(self, payload: bytes) -> bytes:
        return b"\x91" * self.chance.choice((3, 60, 3000)) + payload

    def _shape(self, payload: bytes) -> bytes:
        shapes = ([50, 7], [300], [50, 6, 1], [2**31, 2**31], [0], [1] * 9, [-50, -6], [300, 1], [25, 12])
        return self._with(payload, lambda body, _key: body.__setitem__("shape", self.chance.choice(shapes)))

    def _with(self, payload: bytes, change: Callable[[dict[Any, Any], Any], None]) -> bytes:
        try:
            body = msgpack.unpackb(payload, strict_map_key=False)
        except Exception:
            return self._noise(payload)
        if not isinstance(body, dict) or not body:
            return self._noise(payload)
        change(body, self.chance.choice(list(body)))
        try:
            packed: bytes = msgpack.packb(body)
        except (OverflowError, ValueError, UnicodeEncodeError):
            return self._noise(payload)
        return packed


class Front:
    """The real ingest, aligner and store; what closes is committed, a hundred windows at a time."""

    def __init__(self, store: Store) -> None:
        self.now = 0.0
        self.limits = Limits(devices=200, pending=5_000)
        self.ingest = Ingest({}, Metrics(CollectorRegistry()), _check, lambda: T0 + 10**13, self.limits)
        self.aligner = Aligner(
            Grouping({"home": ["watch", "phone"]}), {}, hop_ns=HOP_NS, lateness_s=1, idle_s=5, clock=lambda: self.now
        )
        self.store = store
        self.committed: list[Receipt] = []
        self._closed: list[tuple[Receipt, str]] = []

    def take(self, topic: str, payload: bytes) -> str:
        """What became of a message: a verdict, or why there is none."""
        self.now += 0.001
        try:
            parsed = topics.parse(topic)
            if isinstance(parsed, topics.StatusTopic):
                self._keep(self.aligner.status(parsed.site, parsed.device, decode_status(payload)))
                return "status"
            for kind, (name, decode) in _HEARD.items():
                if isinstance(parsed, kind):
                    decode(payload)
                    return name
        except MessageError as error:
            self.ingest.bury(topic, payload, error.reason, str(error))
            return "bad topic, status or event"
        if not isinstance(parsed, topics.FrameTopic):
            return "not for us"
        verdict, _, accepted = self.ingest.take(parsed, payload)
        if accepted is not None:
            self._keep(self.aligner.add(accepted))
        self._keep(self.aligner.tick())
        return "accepted, unusable" if accepted is not None and accepted.window is None else verdict

    def finish(self) -> None:
        """Let time pass, so that everything open closes, and commit it."""
        self.now += 60.0
        self._keep(self.aligner.tick())
        self._commit()

    def _keep(self, closed: list[Closed]) -> None:
        self._closed += [(receipt, c.by) for c in closed for receipt in c.receipts]
        if len(self._closed) >= 100:
            self._commit()

    def _commit(self) -> None:
        receipts = [receipt for receipt, _ in self._closed]
        settled = self.ingest.settle(receipts)
        marks = {sender: mark for sender, (_, mark) in settled.items()}
        self.store.commit(Commit(self._closed, marks=marks, forgotten=self.ingest.forgotten()), publish=True)
        self.ingest.confirm(settled)
        self.committed += receipts
        self._closed = []


_HEARD: dict[type[topics.Topic], tuple[str, Callable[[bytes], object]]] = {
    topics.EventTopic: ("event", decode_event),
    topics.AskTopic: ("ask", decode_ask),
    topics.AnswerTopic: ("answer", decode_answer),
}


def _check(window: StreamWindow) -> None:
    """As a model for motion alone would."""
    if window.modality != "imu" or window.values is None:
        raise MessageError("model", "takes raw motion only")


def fuzz(frames: int, seed: int) -> dict[str, Any]:
    """Send `frames` mutated messages; what became of them. Raises AssertionError when something was stopped."""
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder, contextlib.closing(Store(f"sqlite:///{folder}/fuzz.db")) as store:
        front = Front(store)
        outcomes, honest = _send(front, frames, random.Random(seed))
        front.finish()
    seqs = [receipt.seq for receipt in front.committed if receipt.sender.device == "honest"]
    assert seqs == list(range(1, honest + 1)), "an honest device was stopped"
    assert front.ingest.pending == 0, f"{front.ingest.pending} windows are still open"
    assert len(front.ingest.dead_letters) <= front.limits.dead_letters
    return {
        "frames": frames,
        "seed": seed,
        "seconds": round(time.perf_counter() - begun, 2),
        "outcomes": dict(outcomes.most_common()),
        "reasons": _reasons(front.ingest),
        "honest_windows": honest,
        "dead_letters_kept": len(front.ingest.dead_letters),
        "peak_rss_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }


def _send(front: Front, frames: int, chance: random.Random) -> tuple[Counter[str], int]:
    """Spoiled frames that would be next in their sequences, an honest one after every ten.

    Spoiled numbers lead a sequence astray; so each of the four devices begins a new one now and then.
    """
    mutator, outcomes, honest = Mutator(chance), Counter[str](), 0
    devices = ("watch", "phone", "x", "y")
    next_seq = dict.fromkeys(devices, 1)
    for i in range(frames):
        if i % 10 == 0:
            honest += 1
            frame = honest_frame(honest, honest, "honest")
            assert front.take("iotlm/frames/s/honest/imu", encode_frame(frame)) == Verdict.ACCEPTED
        if i % 100 == 0:
            next_seq = dict.fromkeys(devices, 1)
        device = chance.choice(devices)
        if chance.random() < 0.1:
            topic, payload = chance.choice(
                (
                    (topics.status("s", device), honest_status(device)),
                    (topics.events("s", device, "t"), honest_event(device)),
                    (topics.ask("s", device), honest_ask(device)),
                    (topics.answers("s", device, "q-1"), honest_answer(device)),
                )
            )
            outcomes[front.take(topic, mutator.spoil_json(payload))] += 1
            continue
        good = honest_frame(next_seq[device], i // 10 + chance.randrange(6), f"e{i // 100}")
        topic = f"iotlm/frames/s/{device}/imu"
        if chance.random() < 0.05:
            topic = mutator.spoil(topic.encode()).decode("utf-8", "replace")
        elif chance.random() < 0.05:
            topic = "iotlm/status/s/watch"
        outcome = front.take(topic, mutator.spoil(encode_frame(good)))
        outcomes[outcome] += 1
        next_seq[device] += outcome.startswith("accepted")
    return outcomes, honest


def _reasons(ingest: Ingest) -> dict[str, int]:
    samples = [sample for family in ingest.metrics.bad_frames.collect() for sample in family.samples]
    counts = {s.labels["reason"]: int(s.value) for s in samples if s.name.endswith("_total")}
    return dict(sorted(counts.items(), key=lambda item: -item[1]))


def main() -> None:
    """Run with the arguments of the command line, and write the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--frames", type=int, default=200_000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    result = fuzz(arguments.frames, arguments.seed)
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
