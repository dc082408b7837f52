"""Is what is streamed what is measured offline? People left out of training, over real processes and a real broker.

    python -m benchmarks.streamed FOLDS --data DIR

FOLDS is what `backend train --recipe sp-sw-har --folds 5 --out FOLDS` wrote: one checkpoint per fold, each with the
people that it has never seen. Their recordings go through `edge replay` (both devices of a person in one group),
mosquitto and `backend serve`, as fast as acknowledgements allow. The committed decisions are compared, window by
window, with the offline evaluation of the same checkpoint. In a second part one device of a person dies in the middle.
"""

import argparse
import json
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import numpy as np

from backend.checkpoint import load_checkpoint
from backend.data import DATASETS
from backend.model.sensorlm import Predictor
from backend.train import scores
from backend.train.evaluate import Decided, cut_all, decide, encode
from backend.train.examine import STUDENT_T
from benchmarks.processes import Process, free_port, mosquitto, python, wait_listening

TASK, DATASET, GROUP = "activity-recognition", "sp_sw_har", "person"
DEVICES = ("watch", "phone")
RESULT = Path(__file__).parent / "results" / "streamed.json"
_REPLAY_S = 300.0
_DIE_AT_SPEED = 8.0  # times real time

Found = dict[tuple[str, int], list[float]]  # (person, slot) -> probability of each label


@dataclass(frozen=True)
class System:
    """A running broker and backend."""

    folder: Path
    port: int
    store: Path

    def replay(self, person: Path, *flags: str) -> Process:
        """Start to play a person's recordings at a site of that name."""
        where = ["--site", person.stem, "--broker", f"127.0.0.1:{self.port}", *flags]
        name = "-".join(["replay", person.stem, *[flag for flag in flags if flag in DEVICES]])
        return Process(name, python("edge.cli", "replay", str(person), *where), self.folder).start()

    def decisions(self) -> Found:
        """All that is committed so far."""
        query = 'SELECT site, slot, probs FROM decisions WHERE "group" = ? AND task = ?'
        with closing(sqlite3.connect(self.store)) as db:
            rows = db.execute(query, (GROUP, TASK)).fetchall()
        return {(site, slot): list(json.loads(probs).values()) for site, slot, probs in rows}


@contextmanager
def serving(checkpoint: Path, lateness_s: float = 5.0) -> Iterator[System]:
    """Broker and backend as processes of their own, ended afterwards."""
    with tempfile.TemporaryDirectory(prefix="iotlm-streamed-") as name:
        folder, port, http = Path(name), free_port(), free_port()
        broker = mosquitto(folder, port).start()
        wait_listening(port)
        flags = ["--broker", f"127.0.0.1:{port}", "--checkpoint", str(checkpoint), "--store", str(folder / "s.db")]
        group = f"{GROUP}={','.join(DEVICES)}"
        more = ["--group", group, "--http-port", str(http), "--lateness", str(lateness_s), "--idle", "20"]
        backend = Process("backend", python("backend.cli", "serve", *flags, *more), folder).start()
        try:
            _wait_ready(http)
            yield System(folder, port, folder / "s.db")
        finally:
            backend.stop()
            broker.stop()


def _wait_ready(http: int, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with suppress(OSError), urlopen(f"http://127.0.0.1:{http}/readyz", timeout=5):
            return
        time.sleep(0.1)
    raise TimeoutError(f"the backend is not ready after {seconds:g} s")


def stream(checkpoint: Path, people: Sequence[Path]) -> tuple[Found, float]:
    """Decisions about all recordings of these people, and the seconds that took."""
    with serving(checkpoint) as system:
        began = time.monotonic()
        for person in people:
            replaying = system.replay(person, "--speed", "0")
            if replaying.wait(_REPLAY_S):
                raise RuntimeError(f"{replaying.name} failed: {replaying.last_words()}")
        return system.decisions(), time.monotonic() - began


def offline(checkpoint: Path, people: Sequence[Path]) -> Decided:
    """The same windows, evaluated as `backend eval` does."""
    names = {path.stem for path in people}
    recordings = [r for r in DATASETS[DATASET].read(people[0].parent) if r.person in names]
    predictor = Predictor(load_checkpoint(checkpoint))
    return decide(predictor, encode(predictor, cut_all(recordings)), TASK)


def compare(streamed: Found, expected: Decided) -> dict[str, Any]:
    """Windows missing or different, and the streamed decisions scored against the true labels."""
    keys = list(zip(expected.person.tolist(), expected.slot.tolist(), strict=True))
    held = [n for n, key in enumerate(keys) if key in streamed]
    got = np.array([streamed[keys[n]] for n in held])
    want, true, person = expected.said[held], expected.true[held], expected.person[held]
    return {
        "windows": len(keys),
        "missing": len(keys) - len(held),
        "labels_that_differ": int((got.argmax(1) != want.argmax(1)).sum()),
        "largest_difference_of_a_probability": round(float(np.abs(got - want).max()), 6),
        "report": scores.report(got, true, person, expected.outputs),
        "offline_accuracy": round(float((expected.said.argmax(1) == expected.true).mean()), 4),
    }


def one_dies(checkpoint: Path, person: Path, dying: str) -> dict[str, Any]:
    """One device of a person is killed in the middle; what the other one's windows are worth from there on."""
    expected = offline(checkpoint, [person])
    with serving(checkpoint, lateness_s=2.0) as system:
        playing = {d: system.replay(person, "--device", d, "--speed", str(_DIE_AT_SPEED)) for d in DEVICES}
        before: set[tuple[str, int]] = set()
        while len(before) < len(expected.true) / 2 and playing[dying].status is None:
            time.sleep(0.2)
            before = set(system.decisions())
        playing[dying].kill()
        survivor = next(process for device, process in playing.items() if device != dying)
        if survivor.wait(_REPLAY_S):
            raise RuntimeError(f"{survivor.name} failed: {survivor.last_words()}")
        found = system.decisions()
    keys = list(zip(expected.person.tolist(), expected.slot.tolist(), strict=True))
    after = [n for n, key in enumerate(keys) if key not in before]
    held = [n for n in after if keys[n] in found]
    right = [int(np.argmax(found[keys[n]])) == expected.true[n] for n in held]
    return {
        "person": person.stem,
        "dies": dying,
        "windows_before": len(keys) - len(after),
        "windows_after": len(after),
        "decided_after": len(held),
        "accuracy_after": round(float(np.mean(right)), 4),
    }


def main() -> None:
    """Measure every fold, print a line each, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folds", type=Path, help="folder with fold-0, fold-1 ...")
    parser.add_argument("--data", type=Path, required=True, help="folder that holds sp_sw_har")
    options = parser.parse_args()
    root = options.data / DATASET
    results, everything = [], []
    for checkpoint in sorted(options.folds.glob("fold-*")):
        people = [root / f"{p}.parquet" for p in load_checkpoint(checkpoint).record["people"][DATASET]["test"]]
        streamed, seconds = stream(checkpoint, people)
        result = {"fold": checkpoint.name, "people": [p.stem for p in people], "seconds": round(seconds, 1)}
        result |= compare(streamed, offline(checkpoint, people))
        results.append(result)
        everything.append((checkpoint, people))
        print(
            f"{checkpoint.name}: {result['windows']} windows, {result['missing']} missing, "
            f"{result['labels_that_differ']} differ, accuracy {result['report']['accuracy']}, "
            f"macro-F1 {result['report']['macro_f1']}",
            flush=True,
        )
    dying = [one_dies(c, people[0], device) for (c, people), device in zip(everything, DEVICES, strict=False)]
    accuracy, f1 = ([r["report"][k] for r in results] for k in ("accuracy", "macro_f1"))
    summary = {
        "folds": results,
        "accuracy": _mean_and_interval(accuracy),
        "macro_f1": _mean_and_interval(f1),
        "one_device_dies": dying,
    }
    RESULT.write_text(json.dumps(summary, indent=1) + "\n")
    print(json.dumps({k: summary[k] for k in ("accuracy", "macro_f1", "one_device_dies")}, indent=1))
    if any(r["missing"] or r["labels_that_differ"] for r in results):
        sys.exit("streamed and offline results differ")


def _mean_and_interval(values: Sequence[float]) -> dict[str, Any]:
    """Mean over folds and its 95 % interval by Student's t."""
    mean = float(np.mean(values))
    error = STUDENT_T[len(values) - 1] * float(np.std(values, ddof=1)) / len(values) ** 0.5
    return {"mean": round(mean, 4), "interval": [round(mean - error, 4), round(mean + error, 4)]}


if __name__ == "__main__":
    main()
