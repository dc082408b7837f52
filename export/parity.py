"""The proof that exported encoders equal the originals: on windows, torch beside ONNX; on decisions, the task's metric.

float32 must agree number by number. int8 cannot, and tokens are no use to anybody by themselves: it is judged by what
the adapter decides from them, through the same `Predictor`, `History` and `decide` that measure a checkpoint, with
tokens made by the device's own `edge.encoder`. This module knows nothing of files or of how a model was exported.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
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
from backend.model.sensorlm import Predictor, SensorModel
from backend.model.trunk import Encoder, fitted
from backend.moment import StreamWindow
from backend.tasks import TASKS, Regression, Task
from backend.train.evaluate import Decided, Encoded, cut_all, decide, encode, headline
from broker.errors import CheckpointError, DataError
from broker.modalities import MODALITIES
from edge.encoder import Encoder as DeviceEncoder
from edge.windows import Stream

BATCH = 64
MOST = 4
"""Simulated people and places of each scene that a proof takes: there is no end of them, and a proof takes minutes."""
EQUAL = 0.05
"""Estimates that are no further apart than this part of their task's scale count as the same."""


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


def gather(checkpoint: Checkpoint, data: Path | None, tell: Callable[[str], None] = lambda text: None) -> Findings:
    """Recordings for every modality of the checkpoint: those under `data`, simulated ones for what is missing there.

    People that the training did not see are preferred. `tell` hears of each dataset before its turn.
    Raises DataError if a modality is left without a window.
    """
    found = Findings()
    wanted = set(checkpoint.model.config.modalities) & set(MODALITIES)
    recorded = [name for name, dataset in DATASETS.items() if dataset.unseen is None and data is not None]
    for name in recorded + [name for name, dataset in DATASETS.items() if dataset.unseen is not None]:
        tasks = _decidable(name, checkpoint.model)
        if not tasks or not wanted & set(DATASETS[name].modalities):
            continue
        tell(f"looking for recordings of {name}")
        try:
            one = _evidence(name, tasks, checkpoint, data or Path())
        except DataError as error:
            found.unused[name] = str(error)
            continue
        found.evidence.append(one)
        wanted -= {series.modality for sequence in one.sequences for series in sequence.series}
    if wanted:
        raise DataError(f"no windows of {', '.join(sorted(wanted))} to prove on, neither recorded nor simulated")
    return found


def _decidable(name: str, model: SensorModel) -> tuple[str, ...]:
    """The tasks that a dataset is measured by and of whose outputs there the model has at least one."""
    measured = DATASETS[name].tasks
    return tuple(
        task
        for task, mine in model.tasks.items()
        if task in measured and (not measured[task] or set(measured[task]) & set(mine.outputs))
    )


def _evidence(name: str, tasks: tuple[str, ...], checkpoint: Checkpoint, root: Path) -> Evidence:
    dataset = DATASETS[name]
    seen = set(checkpoint.record.get("people", {}).get(name, {}).get("train", []))
    recordings = (dataset.unseen or dataset.read)(root)
    chosen: list[Recording] = [r for r in recordings if r.person not in seen] or recordings
    if dataset.unseen is not None:
        chosen = chosen[:MOST]
    people = {r.person for r in chosen}
    people_are = f"{dataset.unit}s {'of the training' if people & seen else 'not seen in training'}: {len(people)}"
    on_grid = (on_grids(recording, checkpoint.model) for recording in chosen)
    return Evidence(name, people_are, tasks, cut_all([recording for recording in on_grid if recording.tracks]))


def on_grids(recording: Recording, model: SensorModel) -> Recording:
    """The tracks that the model has encoders for, to be cut as a device with these encoders cuts them."""
    known = [track for track in recording.tracks if track.stream.modality in model.encoders]
    return replace(
        recording,
        tracks=tuple(
            replace(track, stream=_grid(track.stream, model.encoder(track.stream.modality))) for track in known
        ),
    )


def _grid(stream: Stream, encoder: Encoder) -> Stream:
    in_time = (encoder.rate, encoder.window_s, encoder.hop_s)
    return Stream(stream.name, stream.modality, stream.placement, *in_time, size=encoder.size)


def compare(encoder: Encoder, payload: bytes, sequences: Iterable[Sequence]) -> Difference:
    """Torch beside ONNX Runtime on every window of the encoder's modality."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(payload, options, providers=["CPUExecutionProvider"])
    windows, tokens, squares, quality = 0, 0.0, 0.0, 0.0
    for values in batches(encoder.modality, sequences):
        x = fitted(torch.from_numpy(values), encoder.channels)
        with torch.inference_mode():
            wanted_BKd, wanted_B = (y.numpy() for y in encoder(x))
        found_BKd, found_B = session.run(["tokens", "quality"], {"x": x.numpy()})
        gap_BKd = np.abs(found_BKd - wanted_BKd)
        windows += len(x)
        tokens, quality = max(tokens, float(gap_BKd.max())), max(quality, float(np.abs(found_B - wanted_B).max()))
        squares += float(np.square(gap_BKd).mean()) * len(x)
    rms = (squares / max(windows, 1)) ** 0.5
    return Difference(windows, *(float(f"{value:.3g}") for value in (tokens, rms, quality)))


def batches(modality: str, sequences: Iterable[Sequence]) -> Iterator[NDArray[np.float32]]:
    """All windows of a modality, (B, T, C), (B, H, W, C) or (B, T, H, W, C) in its units, B up to 64."""
    for sequence in sequences:
        for series in sequence.series:
            if series.modality != modality:
                continue
            there = np.flatnonzero(series.present)
            for at in range(0, len(there), BATCH):
                yield series.values[there[at : at + BATCH]].astype(np.float32) * np.float32(series.scale)


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
        if window.modality not in self._on_device:
            return window
        encoder = self._on_device[window.modality]
        assert window.values is not None
        tokens, quality = encoder.encode(window.values)
        return replace(window, values=None, tokens=tokens, quality=window.quality * quality, encoder=encoder.digest)


def judge(
    checkpoint: Checkpoint,
    evidence: Many[Evidence],
    files: Mapping[str, Mapping[str, bytes]],
    tell: Callable[[str], None] = lambda text: None,
) -> list[dict[str, Any]]:
    """The task's metric from raw windows through torch, and its change with the tokens of each set of files.

    `files`: by precision and modality. One row per dataset and task; `same` is the share of equal decisions.
    `tell` hears of each dataset before its turn.
    """
    original = Predictor(checkpoint)
    devices = {precision: DevicePredictor(checkpoint, of) for precision, of in files.items()}
    rows = []
    for one in evidence:
        tell(f"deciding on {one.dataset}: {', '.join(one.tasks)}")
        raw_windows = encode(original, one.sequences)
        of_devices = {precision: encode(device, one.sequences) for precision, device in devices.items()}
        for task in one.tasks:
            raw = _decide(original, raw_windows, one, task)
            score = headline(original.tasks[task], raw)
            row = {
                "dataset": one.dataset,
                "task": task,
                "n": len(raw.true),
                "metric": TASKS[task].metric,
                "torch": score,
            }
            found = {precision: _decide(original, tokens, one, task) for precision, tokens in of_devices.items()}
            rows.append(
                row | {precision: _change(raw, score, of, original.tasks[task]) for precision, of in found.items()}
            )
    return rows


def _change(raw: Decided, score: float, found: Decided, task: Task) -> dict[str, float]:
    """The new score, what was gained (of an error: the share that it shrank by), and the share of equal answers."""
    new = headline(task, found)
    if isinstance(task, Regression):
        gained = (score - new) / max(score, 1e-9)
        same = float((task.apart(found.said, raw.said) <= EQUAL).mean())
    else:
        gained, same = new - score, float((found.said.argmax(-1) == raw.said.argmax(-1)).mean())
    return {"score": new, "change": round(gained, 4), "same": round(same, 4)}


def _decide(predictor: Predictor, encoded: Encoded, one: Evidence, task: str) -> Decided:
    decided = decide(predictor, encoded, task)
    if not len(decided.true):
        raise CheckpointError(f"{one.dataset}: no window of {task!r} can be decided; nothing proves the export")
    return decided
