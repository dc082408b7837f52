"""A checkpoint's encoders as a folder of files: built, proven, and only then written.

What a file must equal and how that is measured is `parity`'s business; how to export and to quantise is `onnx`'s
and `quantize`'s.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from backend.checkpoint import Checkpoint
from backend.model.trunk import Encoder
from broker.errors import CheckpointError, ConfigError
from broker.modalities import MODALITIES
from export.onnx import describe, to_bytes, to_onnx
from export.parity import Findings, compare, judge
from export.quantize import to_int8

FP32, INT8 = "fp32", "int8"
LARGEST_INT8 = 2_000_000
"""Bytes: what the design grants an encoder on a device."""
REPORT = "parity.json"

Files = dict[str, dict[str, bytes]]
"""The bytes of every file by precision and modality."""


@dataclass(frozen=True)
class Bounds:
    """`tokens`: largest absolute difference of fp32 from torch; `loss`: largest loss of a task's metric by int8."""

    tokens: float = 1e-4
    loss: float = 0.02


def build(checkpoint: Checkpoint, tell: Callable[[str], None] = lambda text: None) -> Files:
    """Every encoder in both precisions; raises CheckpointError for one that cannot be exported or is too large.

    `tell` hears of each as it is done.
    """
    files: Files = {FP32: {}, INT8: {}}
    for modality, encoder in checkpoint.model.encoders.items():
        assert isinstance(encoder, Encoder)
        if modality not in MODALITIES:
            continue  # no device sends such windows
        model = to_onnx(encoder)
        int8 = to_int8(model, fixed={name for name, _ in encoder.named_buffers()})
        describe(int8, encoder, INT8)
        files[FP32][modality], files[INT8][modality] = to_bytes(model), to_bytes(int8)
        if len(files[INT8][modality]) > LARGEST_INT8:
            size = len(files[INT8][modality])
            raise CheckpointError(
                f"encoder of {modality!r}: int8 has {size} bytes, at most {LARGEST_INT8}; make it smaller"
            )
        sizes = ", ".join(f"{precision} {len(of[modality]) / 1e6:.2f} MB" for precision, of in files.items())
        tell(f"built {modality}: {sizes}")
    if not files[FP32]:
        raise CheckpointError(f"the checkpoint has encoders of {', '.join(checkpoint.encoders)}, which no device sends")
    return files


def prove(
    checkpoint: Checkpoint,
    files: Files,
    found: Findings,
    bounds: Bounds,
    tell: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """The report on all files; `failures` lists in words what is out of bounds (empty: proven).

    `tell` hears of each encoder and dataset before its turn.
    """
    sequences = [sequence for one in found.evidence for sequence in one.sequences]
    encoders: dict[str, Any] = {}
    for modality in files[FP32]:
        encoder = checkpoint.model.encoder(modality)
        encoders[modality] = {"digest": encoder.digest()}
        tell(f"comparing {modality} with torch")
        for precision, of in files.items():
            about = {"file": file_name(modality, precision), "bytes": len(of[modality])}
            encoders[modality][precision] = about | asdict(compare(encoder, of[modality], sequences))
    tasks = judge(checkpoint, found.evidence, files, tell)
    return {
        "format": 1,
        "checkpoint": checkpoint.digest,
        "windows": {one.dataset: one.people for one in found.evidence},
        "unused": found.unused,
        "bounds": asdict(bounds),
        "versions": {name: version(name) for name in ("torch", "onnx", "onnxruntime")},
        "encoders": encoders,
        "tasks": tasks,
        "failures": [*_unequal(encoders, bounds), *_worse(tasks, bounds)],
    }


def require_room(out: Path, modalities: Mapping[str, object], force: bool) -> None:
    """Make the folder; raise ConfigError if it cannot be written to, or holds files of ours and `force` is not set."""
    names = [file_name(m, p) for m in modalities for p in (FP32, INT8)] + [REPORT]
    there = [name for name in names if (out / name).exists()]
    if there and not force:
        raise ConfigError(f"{out}: {', '.join(there)} would be replaced; give another folder or --force")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{out}: cannot be made ({error.strerror}); give another folder") from error
    if not os.access(out, os.W_OK | os.X_OK):
        raise ConfigError(f"{out}: cannot be written to; give another folder")


def write(files: Files, report: Mapping[str, Any], out: Path) -> None:
    """Put everything into `out`, each file complete or not at all; raises CheckpointError for a report of failures."""
    if report["failures"]:
        raise CheckpointError(f"not exported: {'; '.join(report['failures'])}")
    payloads = {file_name(m, p): payload for p, of in files.items() for m, payload in of.items()}
    payloads[REPORT] = (json.dumps(report, indent=1) + "\n").encode()
    for name, payload in payloads.items():
        part = out / f"{name}.part"
        part.write_bytes(payload)
        part.replace(out / name)


def file_name(modality: str, precision: str) -> str:
    """`imu.onnx` in float32, `imu.int8.onnx` in int8."""
    return f"{modality}.onnx" if precision == FP32 else f"{modality}.{precision}.onnx"


def _unequal(encoders: Mapping[str, Any], bounds: Bounds) -> Iterator[str]:
    for about in encoders.values():
        largest = max(about[FP32]["tokens"], about[FP32]["quality"])
        if not largest <= bounds.tokens:  # and not `>`: a NaN fails, too
            yield f"{about[FP32]['file']} differs from torch by {largest:.3g}, bound {bounds.tokens:g}"


def _worse(tasks: Iterable[Mapping[str, Any]], bounds: Bounds) -> Iterator[str]:
    for row in tasks:
        if row[INT8]["change"] < -bounds.loss:
            lost = f"int8 changes {row['metric']} of {row['task']} by {row[INT8]['change']:+g}"
            yield f"{lost} on {row['dataset']}, bound {-bounds.loss:g}"
