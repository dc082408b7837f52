"""How well do sound events come out of a stream that never stops, and how often does silence raise one?

Clips that the checkpoint has not seen are strung together in random order with pauses between them, and long silence
follows: of digital zeros, and of a quiet room. The device's own cutter makes the windows, the model decides with its
context, and the rules of serving make the events, with the checkpoint's own threshold (chosen on validation clips when
it was trained). Which clips are unseen stands in its record.

    backend train --recipe esc10 --data DATA --out runs/esc10 --folds 4
    python benchmarks/event_stream.py --root DATA runs/esc10/fold-*
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.checkpoint import Checkpoint, load_checkpoint
from backend.data import DATASETS, Recording
from backend.data.recording import AUDIBLE_SHARE
from backend.model.history import History
from backend.model.sensorlm import Decision, Predictor
from backend.moment import StreamWindow
from backend.serve.engine import served_rule
from backend.serve.events import Track, step
from backend.tasks import EventRule
from backend.tasks.events import EVENTS as TASK
from backend.train.examine import STUDENT_T
from broker.errors import DataError
from edge.sensors import Reading
from edge.windows import Stream, WindowCutter

STREAM = Stream("audio", "audio", "room")
RATE, SECOND = round(STREAM.rate), 1_000_000_000
SPLIT_S = 2.0
"""A pause within a clip from which on what follows is an event of its own: the rule's cool-down."""
LATE_S = 2.0
"""An event may still be on this long after its sound: a decision sees two seconds back."""


@dataclass(frozen=True)
class Occurrence:
    """A sound in the stream, or an event that was found: seconds since the stream's start."""

    label: str
    start: float
    end: float


Piece = tuple[NDArray[np.float32], list[Occurrence]]
"""Samples, and the sounds in them by seconds since the piece's start."""


@dataclass
class Stretch:
    """Decisions about a piece of stream, with what really happened in it."""

    t0: list[int] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)
    truth: list[str] = field(default_factory=list)
    sounds: list[Occurrence] = field(default_factory=list)
    seconds: float = 0.0


def clip_stream(clips: Sequence[Recording], rng: np.random.Generator) -> Iterator[Piece]:
    """Pieces of stream with their sounds (times from the piece's start): pause, clip, pause, clip ..."""
    for i in rng.permutation(len(clips)):
        track = clips[i].tracks[0]
        pause = silence(rng.uniform(2.0, 6.0), "digital" if rng.random() < 0.5 else "room", rng)
        wave = np.asarray(track.values[:, 0], np.float32) * np.float32(track.scale)
        yield pause, []
        yield wave, audible(clips[i])


def audible(clip: Recording) -> list[Occurrence]:
    """The clip's parts that can be heard."""
    segments = clip.labels[TASK.name]
    spans = zip(segments.edges[:-1] / SECOND, segments.edges[1:] / SECOND, segments.index, strict=True)
    return [Occurrence(TASK.labels[i], float(a), float(b)) for a, b, i in spans if i != TASK.none_index]


def joined(sounds: Sequence[Occurrence]) -> list[Occurrence]:
    """What counts as one event: parts of one label with pauses shorter than the cool-down."""
    found = list[Occurrence]()
    for sound in sounds:
        if found and found[-1].label == sound.label and sound.start - found[-1].end < SPLIT_S:
            found[-1] = replace(found[-1], end=sound.end)
        else:
            found.append(sound)
    return found


def silence(seconds: float, kind: str, rng: np.random.Generator) -> NDArray[np.float32]:
    """Digital zeros, or the noise of a quiet room: power falling with frequency, -75 to -50 dB of full scale."""
    count = round(seconds * RATE)
    if kind == "digital":
        return np.zeros(count, np.float32)
    hertz = np.maximum(np.fft.rfftfreq(count, 1 / RATE), 20.0)
    shape = hertz ** (-rng.uniform(0.3, 1.0)) * np.exp(2j * np.pi * rng.random(len(hertz)))
    noise = np.fft.irfft(shape, count)
    return np.float32(10 ** (rng.uniform(-75, -50) / 20) / noise.std()) * noise.astype(np.float32)


def silent_stream(seconds: float, kind: str, rng: np.random.Generator) -> Iterator[Piece]:
    """Pieces of silence, each of another loudness where the kind is a room."""
    for _ in range(round(seconds / 30)):
        yield silence(30.0, kind, rng), []


def listen(predictor: Predictor, pieces: Iterator[Piece]) -> Stretch:
    """Cut, encode and decide, piece by piece, as a device and a backend would."""
    stretch, history, cutter, samples = Stretch(), History(predictor.slots), WindowCutter(STREAM), 0
    for wave, sounds in pieces:
        start = samples / RATE
        stretch.sounds += [replace(s, start=start + s.start, end=start + s.end) for s in sounds]
        t = (samples + np.arange(len(wave), dtype=np.int64)) * (SECOND // RATE)
        samples += len(wave)
        windows = cutter.push(Reading(t, wave[:, None]))
        about = ("microphone", STREAM.name, STREAM.modality, STREAM.placement)
        rows = predictor.encode_windows([StreamWindow(*about, w.t0, w.rate, w.quality, w.values) for w in windows])
        contexts = []
        for row in rows:
            history.add([row])
            contexts.append(history.at(row.slot))
        stretch.decisions += [decided[TASK.name] for decided in predictor.decide(contexts)]
        stretch.t0 += [w.t0 for w in windows]
    stretch.seconds = samples / RATE
    stretch.truth = [_truth(t0 / SECOND, stretch.sounds) for t0 in stretch.t0]
    return stretch


def _truth(start: float, sounds: Sequence[Occurrence]) -> str:
    """What sounds for at least a twentieth of the window; the longer where there are two."""
    end = start + STREAM.window_s
    shares: dict[str, float] = defaultdict(float)
    for sound in sounds:
        shares[sound.label] += max(min(sound.end, end) - max(sound.start, start), 0.0)
    best = max(shares, key=lambda label: shares[label], default="")
    return best if shares.get(best, 0.0) >= AUDIBLE_SHARE * STREAM.window_s else str(TASK.none_label)


def episodes(stretch: Stretch, rule: EventRule) -> list[Occurrence]:
    """The events that serving would raise."""
    track, found = Track(), list[Occurrence]()
    for t0, decision in zip(stretch.t0, stretch.decisions, strict=True):
        for change in step(track, rule, TASK.none_label, decision, t0, t0 + STREAM.window_ns, 0):
            if change.phase == "start":
                found.append(Occurrence(change.label, change.began / SECOND, stretch.seconds))
            elif change.phase == "end":
                found[-1] = replace(found[-1], end=change.time / SECOND)
    return found


def event_scores(stretch: Stretch, rule: EventRule) -> dict[str, float]:
    """F1 of events: one is right if it has the label of a sound that it overlaps, and each sound counts once."""
    found, sounds = episodes(stretch, rule), joined(stretch.sounds)
    open_sounds, hits = list(sounds), 0
    for event in found:
        match = next((s for s in open_sounds if s.label == event.label and _overlap(event, s)), None)
        if match is not None:
            open_sounds.remove(match)
            hits += 1
    scores = _f1(hits, len(found) - hits, len(open_sounds))
    return {**scores, "sounds": len(sounds), "events": len(found)}


def _overlap(event: Occurrence, sound: Occurrence) -> bool:
    return event.start < sound.end + LATE_S and sound.start < event.end


def window_scores(stretch: Stretch, threshold: float) -> dict[str, float]:
    """F1 of single decisions: below the threshold, and for the label none, there is no event."""
    kept = np.array([d.label if d.confidence >= threshold else TASK.none_label for d in stretch.decisions])
    truth = np.array(stretch.truth)
    by_label = {label: _agreement(kept, truth, (label,)) for label in TASK.labels if label != TASK.none_label}
    total = _agreement(kept, truth, tuple(by_label))
    return {**total, "macro_f1": float(np.mean([scores["f1"] for scores in by_label.values()])), "windows": len(truth)}


def _agreement(kept: NDArray[np.str_], truth: NDArray[np.str_], labels: tuple[str, ...]) -> dict[str, float]:
    said, real, same = np.isin(kept, labels), np.isin(truth, labels), kept == truth
    return _f1(int((said & same).sum()), int((said & ~same).sum()), int((real & ~same).sum()))


def _f1(hits: int, wrong: int, missed: int) -> dict[str, float]:
    precision, recall = hits / max(hits + wrong, 1), hits / max(hits + missed, 1)
    return {"f1": 2 * hits / max(2 * hits + wrong + missed, 1), "precision": precision, "recall": recall}


def measure(checkpoint: Checkpoint, clips: Sequence[Recording], silence_s: float, seed: int) -> dict[str, Any]:
    """All figures of one checkpoint on the clips that it was not trained on."""
    predictor = Predictor(checkpoint)
    people = checkpoint.record["people"]["esc10"]
    test = [clip for clip in clips if clip.person in set(people["test"])]
    if not test:
        raise DataError("the checkpoint's record names no clips for test; train it with --folds")
    rng = np.random.default_rng(seed)
    rule = served_rule(TASK.rule, checkpoint.thresholds[TASK.name])
    stretch = listen(predictor, clip_stream(test, rng))
    report: dict[str, Any] = {
        "clips": len(test),
        "rule": asdict(rule),
        "event": event_scores(stretch, rule),
        "window": window_scores(stretch, rule.on),
    }
    for kind in ("digital", "room"):
        quiet = listen(predictor, silent_stream(silence_s, kind, rng))
        report[f"false_per_hour_{kind}"] = len(episodes(quiet, rule)) / quiet.seconds * 3600
    return report


def summary(reports: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Mean of each figure over the checkpoints, with its 95 % interval by Student's t."""
    figures = {
        "event_f1": [r["event"]["f1"] for r in reports],
        "event_precision": [r["event"]["precision"] for r in reports],
        "event_recall": [r["event"]["recall"] for r in reports],
        "window_f1": [r["window"]["f1"] for r in reports],
        "window_macro_f1": [r["window"]["macro_f1"] for r in reports],
        "false_per_hour_digital": [r["false_per_hour_digital"] for r in reports],
        "false_per_hour_room": [r["false_per_hour_room"] for r in reports],
    }
    found: dict[str, Any] = {}
    for name, values in figures.items():
        mean = float(np.mean(values))
        found[name] = {"mean": round(mean, 4)}
        if len(values) > 1:
            error = STUDENT_T[len(values) - 1] * float(np.std(values, ddof=1)) / len(values) ** 0.5
            found[name]["interval"] = [round(mean - error, 4), round(mean + error, 4)]
    return found


def main() -> None:
    """Measure and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoints", type=Path, nargs="+", help="folders of checkpoints, one per fold")
    parser.add_argument("--root", type=Path, required=True, help="folder that holds esc10")
    parser.add_argument("--silence", type=float, default=3600.0, help="seconds of each kind of silence")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "event_stream.json")
    options = parser.parse_args()
    clips = DATASETS["esc10"].read(options.root)
    reports = [measure(load_checkpoint(c), clips, options.silence, options.seed) for c in options.checkpoints]
    result = {"silence_s": options.silence, "seed": options.seed, **summary(reports), "checkpoints": reports}
    options.out.parent.mkdir(exist_ok=True)
    options.out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(summary(reports), indent=1))


if __name__ == "__main__":
    main()
