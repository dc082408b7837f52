"""The proof that exported encoders equal the originals: on windows, torch beside ONNX; on decisions, the task's metric.

float32 must agree number by number. int8 cannot, and tokens are no use to anybody by themselves: it is judged by what
the adapter decides from them, through the same `Predictor`, `History` and `decide` that measure a checkpoint, with
tokens made by the device's own `edge.encoder`. This module knows nothing of files or of how a model was exported.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Sequence as Many
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray

from backend.checkpoint import Checkpoint
from backend.data import DATASETS
from backend.data.recording import Recording, Sequence
from backend.model.history import StreamTokens
from backend.model.sensorlm import Predictor
from backend.model.trunk import Encoder
from backend.moment import StreamWindow
from backend.tasks import TASKS
from backend.train import scores
from backend.train.evaluate import Decided, cut_all, decide
from broker.errors import CheckpointError, DataError
from edge.encoder import Encoder as DeviceEncoder

SIMULATED = "synthetic"
BATCH = 64


@dataclass(frozen=True)
class Evidence:
    """Recordings of one dataset to prove on. `people` says whose they are; `tasks` what may be decided from them."""

    dataset: str
    people: str
    tasks: tuple[str, ...]
    sequences: list[Sequence]


@dataclass
class Findings:
    """What `gather` found: evidence that covers every modality, and why other datasets were of no use."""

    evidence: list[Evidence] = field(default_factory=list)
    unused: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Difference:
    """How far ONNX is from torch over `windows` windows: largest absolute and root mean square difference."""

    windows: int
    tokens: float
    tokens_rms: float
    quality: float


def gather(checkpoint: Checkpoint, data: Path | None) -> Findings:
    """Recordings for every modality of the checkpoint: those under `data`, simulated ones for what is missing there.

    People that the training did not see are preferred. Raises DataError if a modality is left without a window.
    """
    found = Findings()
    wanted = set(checkpoint.model.config.modalities)
    for name in [n for n in DATASETS if n != SIMULATED and data is not None] + [SIMULATED]:
        if not wanted:
            break
        try:
            one = _evidence(name, checkpoint, data or Path())
        except DataError as error:
            found.unused[name] = str(error)
            continue
        if one.tasks:
            found.evidence.append(one)
            wanted -= {series.modality for sequence in one.sequences for series in sequence.series}
    if wanted:
        raise DataError(f"no windows of {', '.join(sorted(wanted))} to prove on, neither recorded nor simulated")
    return found


def _evidence(name: str, checkpoint: Checkpoint, root: Path) -> Evidence:
    dataset = DATASETS[name]
    seen = set(checkpoint.record.get("people", {}).get(name, {}).get("train", []))
    recordings = (dataset.unseen or dataset.read)(root)
    chosen: list[Recording] = [r for r in recordings if r.person not in seen] or recordings
    people = {r.person for r in chosen}
    people_are = f"{dataset.unit}s {'of the training' if people & seen else 'not seen in training'}: {len(people)}"
    tasks = tuple(task for task in dataset.tasks if task in checkpoint.model.config.tasks)
    return Evidence(name, people_are, tasks, cut_all(chosen))


def compare(encoder: Encoder, payload: bytes, sequences: Iterable[Sequence]) -> Difference:
    """Torch beside ONNX Runtime on every window of the encoder's modality."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(payload, options, providers=["CPUExecutionProvider"])
    windows, tokens, squares, quality = 0, 0.0, 0.0, 0.0
    for x_BTC in batches(encoder.modality, sequences):
        with torch.inference_mode():
            wanted_BKd, wanted_B = (y.numpy() for y in encoder(torch.from_numpy(x_BTC)))
        found_BKd, found_B = session.run(["tokens", "quality"], {"x": x_BTC})
        gap_BKd = np.abs(found_BKd - wanted_BKd)
        windows += len(x_BTC)
        tokens, quality = max(tokens, float(gap_BKd.max())), max(quality, float(np.abs(found_B - wanted_B).max()))
        squares += float(np.square(gap_BKd).mean()) * len(x_BTC)
    rms = (squares / max(windows, 1)) ** 0.5
    return Difference(windows, *(float(f"{value:.3g}") for value in (tokens, rms, quality)))


def batches(modality: str, sequences: Iterable[Sequence]) -> Iterator[NDArray[np.float32]]:
    """All windows of a modality, (B, T, C) in its units, B up to 64."""
    for sequence in sequences:
        for series in sequence.series:
            if series.modality == modality:
                x_LTC = series.values[series.present].astype(np.float32) * np.float32(series.scale)
                yield from (x_LTC[at : at + BATCH] for at in range(0, len(x_LTC), BATCH))


class DevicePredictor(Predictor):
    """A Predictor behind devices that encode: raw windows become the tokens that a device would have sent."""

    def __init__(self, checkpoint: Checkpoint, files: Mapping[str, bytes]) -> None:
        super().__init__(checkpoint)
        self._on_device = {modality: DeviceEncoder(payload) for modality, payload in files.items()}

    def encode_windows(self, windows: Many[StreamWindow], slot_ns: int = 500_000_000) -> list[StreamTokens]:
        """As Predictor does, over tokens."""
        return super().encode_windows([self.on_device(window) for window in windows], slot_ns)

    def on_device(self, window: StreamWindow) -> StreamWindow:
        """The window as a frame of tokens brings it: tokens in float16, quality of signal times that of the encoder."""
        encoder = self._on_device[window.modality]
        assert window.values is not None
        tokens, quality = encoder.encode(window.values)
        return replace(window, values=None, tokens=tokens, quality=window.quality * quality, encoder=encoder.digest)


def judge(
    checkpoint: Checkpoint, evidence: Many[Evidence], files: Mapping[str, Mapping[str, bytes]]
) -> list[dict[str, Any]]:
    """The task's metric from raw windows through torch, and its change with the tokens of each set of files.

    `files`: by precision and modality. One row per dataset and task; `same` is the share of equal decisions.
    """
    original = Predictor(checkpoint)
    devices = {precision: DevicePredictor(checkpoint, of) for precision, of in files.items()}
    rows = []
    for one in evidence:
        for task in one.tasks:
            raw = _decide(original, one, task)
            score = _score(raw, task)
            row = {
                "dataset": one.dataset,
                "task": task,
                "n": len(raw.true),
                "metric": TASKS[task].metric,
                "torch": score,
            }
            found = {precision: _decide(device, one, task) for precision, device in devices.items()}
            rows.append(row | {precision: _change(raw, score, of, task) for precision, of in found.items()})
    return rows


def _change(raw: Decided, score: float, found: Decided, task: str) -> dict[str, float]:
    same = float((found.probs.argmax(-1) == raw.probs.argmax(-1)).mean())
    return {"score": _score(found, task), "change": round(_score(found, task) - score, 4), "same": round(same, 4)}


def _decide(predictor: Predictor, one: Evidence, task: str) -> Decided:
    known = predictor.config.modalities
    decided = decide(predictor, one.sequences, task, keep=lambda window: window.modality in known)
    if not len(decided.true):
        raise CheckpointError(f"{one.dataset}: no window of {task!r} can be decided; nothing proves the export")
    return decided


def _score(decided: Decided, task: str) -> float:
    report = scores.report(decided.probs, decided.true, decided.person, TASKS[task].labels)
    return float(report[TASKS[task].metric])
