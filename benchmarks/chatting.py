"""What do conversations cost, and what do they cost events? Latencies with nobody asking, and with up to 32 people.

    python -m benchmarks.chatting [--seconds 20] [--rounds 3] [--checkpoint RUN]

* events: a mosquitto and `backend serve`, devices that send a window of motion twice a second, and people who ask
  over MQTT without a pause, 0, 1, 8 or 32 at a time, in turns within one run. From the publication of a window to the
  arrival of its event and of its acknowledgement; what those who ask wait is beside it.
* answers: `Dialogue` and `Talk` in this process, about a simulated home whose clock stands still: time to the first
  token and tokens per second of one answer, and what several at once take of the time of one.

Writes benchmarks/results/chatting.json. Times of a machine that does anything else mean nothing; ratios within one run
mean a little more.
"""

import argparse
import asyncio
import itertools
import json
import os
import tempfile
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from prometheus_client import CollectorRegistry

from backend.answer import Answer
from backend.checkpoint import load_checkpoint
from backend.data.recording import sequence
from backend.data.synthetic import scene_recording
from backend.metrics import Metrics
from backend.model.history import Context
from backend.model.sensorlm import Predictor
from backend.model.talk import Ended, Saying, Talk
from backend.serve.align import HOP_NS, Closed, GroupKey
from backend.serve.dialogue import Dialogue, Question, Told
from backend.serve.engine import Engine
from backend.serve.situations import Situations
from backend.serve.store import Commit, Store
from benchmarks.askers import MOST, QUESTIONS, events, quantiles
from benchmarks.int8 import cpu

RESULT = Path(__file__).parent / "results" / "chatting.json"
TOGETHER = 8
GOALS = {"first_token_ms": 300.0, "tokens_per_s": 30.0, "together": 3.0}
"""At most, at least, and less than."""
_SEED, _SECONDS = 30_000, 24
_SHOWN = ("event_ms", "event_times", "answer_ms")


@dataclass
class Timing:
    """When an answer in words was begun, when its first and its newest token came, and how many there were."""

    began: float
    first: float = 0.0
    last: float = 0.0
    tokens: int = 0


class Timed(Talk):
    """A `Talk` whose answers are timed."""

    def __init__(self, predictor: Predictor) -> None:
        super().__init__(predictor)
        self.said: list[Timing] = []

    def say(self, saying: Saying) -> None:
        """Begin an answer, and note when its tokens come."""
        timing, heard = Timing(time.perf_counter()), saying.heard
        self.said.append(timing)

        def hear(text: str, why: Ended) -> None:
            if len(saying.ids) > timing.tokens:
                timing.last = time.perf_counter()
                timing.first = timing.first or timing.last
                timing.tokens = len(saying.ids)
            heard(text, why)

        saying.heard = hear
        super().say(saying)

    def take(self) -> list[Timing]:
        """The answers since the last call of which anything was said."""
        said, self.said = self.said, []
        return [one for one in said if one.tokens]


def known(predictor: Predictor, store: Store, metrics: Metrics, seconds: int) -> tuple[Situations, GroupKey]:
    """What is known of a simulated home at the end of so many seconds, where time stands still."""
    cut = sequence(scene_recording(_SEED, seconds, senses=("imu", "audio")))
    assert cut is not None
    moments = list(cut.moments())
    key = GroupKey(moments[0].site, moments[0].group)
    engine = Engine(predictor, {}, metrics, hop_ns=HOP_NS, update_s=10.0, clock=lambda: 0.0)
    outcome = engine.process([Closed(key, moment, (), "complete") for moment in moments])
    store.commit(Commit(events=outcome.events, groups=outcome.groups, measured=outcome.measured), publish=True)
    situations = Situations(
        store, engine, predictor.tasks, minutes=10.0, hours=1.0, hop_ns=HOP_NS, zone="UTC", clock=lambda: 0.0
    )
    return situations, key


async def answered(dialogue: Dialogue, key: GroupKey, question: str) -> tuple[float, float, Told]:
    """Seconds to the first sentence and to the end of an answer, and what it was."""
    began, first = time.perf_counter(), 0.0
    async for part in dialogue.answer(Question(key, question, most=MOST)):
        first = first or time.perf_counter() - began
        if isinstance(part, Told):
            return first, time.perf_counter() - began, part
    raise AssertionError("an answer has an end")


async def _nobody(_: Context) -> Mapping[str, Answer]:
    """Nobody asks of single streams here."""
    raise NotImplementedError


async def answers(predictor: Predictor, folder: Path, rounds: int, seconds: int = _SECONDS) -> dict[str, Any]:
    """Times of answers one by one, and of several at once beside them."""
    metrics = Metrics(CollectorRegistry())
    said: list[Timing] = []
    single: list[tuple[float, float, Told]] = []
    several: list[tuple[float, float, Told]] = []
    ratios: list[float] = []
    with closing(Store(f"sqlite:///{folder}/answers.db")) as store, Timed(predictor) as talk:
        situations, key = known(predictor, store, metrics, seconds)
        dialogue = Dialogue(
            situations, talk, _nobody, predictor.digest, metrics, time_s=60.0, waiting=64, session_s=60.0, sessions=64
        )

        async def all_at_once() -> list[tuple[float, float, Told]]:
            return await asyncio.gather(*(answered(dialogue, key, question) for question in asked))

        asked = list(itertools.islice(itertools.cycle(QUESTIONS), TOGETHER))
        with closing(dialogue):
            await all_at_once()  # what is computed once is computed before
            for _ in range(rounds):
                talk.take()
                alone = [await answered(dialogue, key, question) for question in asked]
                said += talk.take()
                began = time.perf_counter()
                several += await all_at_once()
                ratios.append((time.perf_counter() - began) / float(np.mean([each for _, each, _ in alone])))
                single += alone
    spoken = sum(one.last - one.first for one in said)
    return {
        "answers": len(single),
        "tokens_per_answer": round(float(np.mean([told.tokens for *_, told in single])), 1),
        "prompt_tokens": round(float(np.mean([told.prompt for *_, told in single])), 1),
        "told_as_said": sum(told.standing == "supported" and told.tokens > 0 for *_, told in single),
        "first_token_ms": quantiles([one.first - one.began for one in said]),
        "tokens_per_s": round(sum(one.tokens - 1 for one in said) / spoken, 1) if spoken else 0.0,
        "first_part_ms": quantiles([first for first, *_ in single]),
        "answer_ms": quantiles([each for _, each, _ in single]),
        "together": {
            "people": len(asked),
            "answer_ms": quantiles([each for _, each, _ in several]),
            "times_of_one": round(float(np.median(ratios)), 2),
            "range": [round(float(f(ratios)), 2) for f in (np.min, np.max)],
        },
    }


def met(found: dict[str, Any]) -> dict[str, bool]:
    """Which goals the answers meet."""
    return {
        "first_token_ms": found["first_token_ms"].get("p95", np.inf) <= GOALS["first_token_ms"],
        "tokens_per_s": found["tokens_per_s"] >= GOALS["tokens_per_s"],
        "together": found["together"]["times_of_one"] < GOALS["together"],
    }


def measure(checkpoint: str, seconds: float, rounds: int) -> dict[str, Any]:
    """Everything."""
    about = {
        "cpu": cpu(),
        "cores": os.cpu_count(),
        "load_before": [round(load, 1) for load in os.getloadavg()],
        "rounds": rounds,
    }
    predictor = Predictor(load_checkpoint(checkpoint or None))
    assert predictor.model.language is not None
    about["language_parameters"] = sum(one.numel() for one in predictor.model.language.llm.parameters())
    with tempfile.TemporaryDirectory(prefix="iotlm-chatting-") as folder:
        told = asyncio.run(answers(predictor, Path(folder), rounds))
        path = asyncio.run(events(Path(folder), checkpoint, seconds, rounds))
    return {**about, "answers": told, "goals": GOALS, "met": met(told), "events": path}


def table(found: dict[str, Any]) -> list[str]:
    """Markdown: one row for so many who ask."""
    rows = [
        "| people who ask | event, ms | times of nobody asking | answers per second | answer, ms |",
        "|---:|---:|---:|---:|---:|",
    ]
    for people, row in found["events"]["by_askers"].items():
        event, times, answer = (" / ".join(f"{v:g}" for v in row.get(k, {}).values()) for k in _SHOWN)
        rows.append(f"| {people} | {event} | {times} | {row['answers_per_s']} | {answer} |")
    return rows


def main() -> None:
    """Measure, write, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", default="", help="folder of a checkpoint; the bundled one if left out")
    parser.add_argument("--seconds", type=float, default=20.0, help="of each number of people, in each round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=RESULT)
    options = parser.parse_args()
    found = measure(options.checkpoint, options.seconds, options.rounds)
    options.out.write_text(json.dumps(found, indent=1) + "\n")
    print("\n".join(table(found)))
    print(json.dumps(found["answers"]), json.dumps(found["met"]))


if __name__ == "__main__":
    main()
