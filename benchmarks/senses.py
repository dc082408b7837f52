"""What does each of the 12 senses cost a device and the wire? One row per modality.

    python -m benchmarks.senses [CHECKPOINT]

Encoders of the checkpoint, or of an untrained model of all senses, because neither size nor time depends on what the
weights are. Windows come from the simulator by way of the device's own code. Milliseconds are medians of one window at
a time through `edge.encoder` on one thread, fp32 and int8 in turns, so that a busy machine is busy for both. Bytes are
those of a whole message, facts included. Writes benchmarks/results/senses.json and prints the table of the README.
"""

import argparse
import asyncio
import json
import time
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from backend.checkpoint import Checkpoint, load_checkpoint
from backend.model.sensorlm import SensorModel
from backend.recipes import model_for
from benchmarks.int8 import cpu
from broker.messages import Frame, encode_frame
from broker.modalities import MODALITIES
from edge.clock import SystemClock
from edge.encoder import Encoder
from edge.facts import FAMILIES, facts
from edge.sensors import SENSORS
from edge.simulator import SCENES
from edge.sources import SensorSource, stream_for
from edge.windows import Window, cutter_for
from export.bundle import FP32, INT8, Files, build

RESULT = Path(__file__).parent / "results" / "senses.json"
SECONDS = 16.0
ROUNDS = 200
_OPTIONS = {"seed": 7, "start": "2026-01-01T00:00:00Z", "seconds": SECONDS, "speed": 0.0}


def everything() -> Checkpoint:
    """An untrained model of every sense that the simulator has, which is all of them."""
    return Checkpoint(SensorModel(model_for("synthetic", "synthetic_drive", "synthetic_touch")).eval())


def place(modality: str) -> tuple[str, str]:
    """A scene that has the modality, and the placement there."""
    found = [(scene, at) for scene, stage in SCENES.items() for _, of, at in stage(0).streams() if of == modality]
    return found[0]


def source_of(modality: str, encoder: Encoder | None) -> SensorSource:
    """The stream of a simulated sensor."""
    scene, placement = place(modality)
    stream = stream_for(modality, modality, placement, encoder)
    sensor = SENSORS["simulator"]({**_OPTIONS, "scene": scene}, stream, SystemClock())
    return SensorSource("bench", "device", stream, sensor, SystemClock(), encoder=encoder)


async def windows_of(modality: str) -> list[Window]:
    """What the device cuts of its sensor's readings."""
    source = source_of(modality, None)
    cutter, windows = cutter_for(source._stream), list[Window]()
    async for reading in source._sensor.readings():
        windows += cutter.push(reading)
    return windows + cutter.flush()


def latency(encoders: Mapping[str, Encoder], windows: list[Window], rounds: int) -> dict[str, float]:
    """Median milliseconds per window of each encoder, in turns."""
    taken: dict[str, list[float]] = {name: [] for name in encoders}
    for i in range(rounds):
        for name, encoder in encoders.items():
            began = time.perf_counter()
            encoder.encode(windows[i % len(windows)].values)
            taken[name].append((time.perf_counter() - began) * 1e3)
    return {name: round(float(np.median(ms)), 3) for name, ms in taken.items()}


def facts_ms(windows: list[Window]) -> float:
    """Median CPU milliseconds of a window's facts."""
    spent = []
    for window in windows:
        began = time.process_time()
        facts(window)
        spent.append((time.process_time() - began) * 1e3)
    return round(float(np.median(spent)), 3)


def measure(modality: str, checkpoint: Checkpoint, files: Files, rounds: int) -> dict[str, Any]:
    """The row of one modality."""
    windows = asyncio.run(windows_of(modality))
    encoders = {precision: Encoder(files[precision][modality]) for precision in (FP32, INT8)}
    ms = latency(encoders, windows, rounds)
    frames: dict[str, list[Frame]] = {
        name: [source_of(modality, encoder).frame(window) for window in windows]
        for name, encoder in (("raw", None), ("tokens", encoders[INT8]))
    }
    return {
        "shape": list(windows[0].values.shape),
        "parameters": sum(p.numel() for p in checkpoint.model.encoders[modality].parameters()),
        "facts": len(FAMILIES[modality].facts),
        "facts_ms": facts_ms(windows),
        "file_bytes": {precision: len(files[precision][modality]) for precision in (FP32, INT8)},
        "ms": ms,
        "wire_bytes": {
            name: round(float(np.median([len(encode_frame(f)) for f in some]))) for name, some in frames.items()
        },
    }


def table(report: Mapping[str, Any]) -> Iterator[str]:
    """Markdown: one row per modality."""
    yield "| sense | window | facts | parameters | file fp32 / int8, KB | ms fp32 / int8 | bytes raw / tokens |"
    yield "|---|---|---:|---:|---:|---:|---:|"
    for modality, row in report["senses"].items():
        shape = " × ".join(map(str, row["shape"]))
        size, ms, wire = row["file_bytes"], row["ms"], row["wire_bytes"]
        yield (
            f"| {modality} | {shape} | {row['facts']} | {row['parameters'] / 1e3:.0f} K "
            f"| {size[FP32] / 1e3:.0f} / {size[INT8] / 1e3:.0f} | {ms[FP32]:.2f} / {ms[INT8]:.2f} "
            f"| {wire['raw']} / {wire['tokens']} |"
        )


def main() -> None:
    """Measure, write JSON, show the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path, nargs="?", help="folder of a checkpoint; default: an untrained model")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--out", type=Path, default=RESULT)
    options = parser.parse_args()
    checkpoint = load_checkpoint(options.checkpoint) if options.checkpoint else everything()
    files = build(checkpoint)
    senses = [modality for modality in MODALITIES if modality in checkpoint.encoders]
    report = {
        "machine": {"cpu": cpu(), "threads": 1, "rounds": options.rounds},
        "versions": {name: version(name) for name in ("onnxruntime", "torch")},
        "senses": {modality: measure(modality, checkpoint, files, options.rounds) for modality in senses},
    }
    options.out.parent.mkdir(exist_ok=True)
    options.out.write_text(json.dumps(report, indent=1) + "\n")
    print("\n".join(table(report)))


if __name__ == "__main__":
    main()
