"""What does int8 cost and save? Size, latency of one window on one core, and the change of the task's metric.

Beside the files that `python -m export` makes stand two that it does not: `dynamic` (matrices only, convolutions as
they were) and `static` (the trunk's convolutions computed in int8, calibrated on some of the windows). All are timed in
turns in one process with one thread, so that a busy machine is busy for all of them.

    python benchmarks/int8.py --root DATA [CHECKPOINT]
"""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_dynamic, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from backend.checkpoint import Checkpoint, load_checkpoint
from backend.data.recording import Sequence as Windows
from edge.encoder import Encoder
from export.bundle import FP32, INT8, Files, build
from export.parity import batches, compare, gather, judge

CALIBRATION = 256
ROUNDS = 500


class Calibration(CalibrationDataReader):
    """Windows one by one, as the calibrator asks for them."""

    def __init__(self, windows: NDArray[np.float32]) -> None:
        self._windows = iter(windows)

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        """The next window as a batch of one; None at the end."""
        window = next(self._windows, None)
        return None if window is None else {"x": window[np.newaxis]}


def dynamic(payload: bytes) -> bytes:
    """MatMul and Gemm in int8 with scales per channel; convolutions as they were."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "dynamic.onnx"
        model = onnx.load_from_string(payload)
        kinds = ["MatMul", "Gemm"]
        quantize_dynamic(model, path, op_types_to_quantize=kinds, per_channel=True, weight_type=QuantType.QInt8)
        return path.read_bytes()


def static(payload: bytes, windows: NDArray[np.float32]) -> bytes:
    """Convolutions in int8 between QuantizeLinear and DequantizeLinear; the fixed spectrum stays as it was."""
    with tempfile.TemporaryDirectory() as folder:
        given, ready, done = (str(Path(folder) / name) for name in ("given.onnx", "ready.onnx", "done.onnx"))
        Path(given).write_bytes(payload)
        quant_pre_process(given, ready, skip_symbolic_shape=True)
        fixed = [n.name for n in onnx.load(ready).graph.node if n.op_type == "Conv" and "spectrum" in n.input[1]]
        quantize_static(
            ready,
            done,
            Calibration(fitted(windows, Encoder(payload).shape[-1])),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["Conv"],
            per_channel=True,
            activation_type=QuantType.QUInt8,  # measured 1.5 times faster than signed activations on this kind of CPU
            weight_type=QuantType.QInt8,
            nodes_to_exclude=fixed,
        )
        return Path(done).read_bytes()


def fitted(windows: NDArray[np.float32], channels: int) -> NDArray[np.float32]:
    """Windows as a device's encoder has them: channels that a series lacks are zero, further ones are cut."""
    there = min(windows.shape[-1], channels)
    out = np.zeros((*windows.shape[:-1], channels), np.float32)
    out[..., :there] = windows[..., :there]
    return out


def variants(checkpoint: Checkpoint, sequences: Sequence[Windows]) -> Files:
    """What export makes, and what it might have made."""
    files = build(checkpoint)
    files["dynamic"] = {m: dynamic(payload) for m, payload in files[FP32].items()}
    files["static"] = {m: static(payload, some_windows(m, sequences)) for m, payload in files[FP32].items()}
    return files


def some_windows(modality: str, sequences: Sequence[Windows], count: int = CALIBRATION) -> NDArray[np.float32]:
    """(count, T, C) windows of a modality, spread over all sequences."""
    x_BTC = np.concatenate(list(batches(modality, sequences)))
    return x_BTC[np.linspace(0, len(x_BTC) - 1, min(count, len(x_BTC))).astype(int)]


def latency(files: Mapping[str, bytes], windows: NDArray[np.float32], rounds: int) -> dict[str, dict[str, float]]:
    """Milliseconds per window of each file by the device's own encoder, in turns."""
    encoders = {name: Encoder(payload) for name, payload in files.items()}
    taken: dict[str, list[float]] = {name: [] for name in files}
    for i in range(rounds):
        for name, encoder in encoders.items():
            began = time.perf_counter()
            encoder.encode(windows[i % len(windows)])
            taken[name].append((time.perf_counter() - began) * 1e3)
    return {name: {"ms": round(float(np.median(ms)), 4), "ms_least": round(min(ms), 4)} for name, ms in taken.items()}


def measure(checkpoint: Checkpoint, root: Path | None, rounds: int) -> dict[str, Any]:
    """The whole report."""
    found = gather(checkpoint, root)
    sequences = [sequence for one in found.evidence for sequence in one.sequences]
    files = variants(checkpoint, sequences)
    encoders: dict[str, Any] = {}
    for modality, encoder in checkpoint.model.encoders.items():
        mine = {name: of[modality] for name, of in files.items()}
        times = latency(mine, some_windows(modality, sequences), rounds)
        encoders[modality] = {
            "parameters": sum(p.numel() for p in encoder.parameters()),
            "files": {
                name: {
                    "bytes": len(payload),
                    **times[name],
                    "tokens_rms": compare(encoder, payload, sequences).tokens_rms,
                }
                for name, payload in mine.items()
            },
        }
    return {
        "checkpoint": checkpoint.digest,
        "windows": {one.dataset: one.people for one in found.evidence},
        "unused": {name: why.removeprefix(f"{root}: ") for name, why in found.unused.items()},
        "machine": {"cpu": cpu(), "threads": 1, "rounds": rounds},
        "versions": {name: version(name) for name in ("torch", "onnx", "onnxruntime")},
        "encoders": encoders,
        "tasks": judge(checkpoint, found.evidence, files),
    }


def cpu() -> str:
    """The processor's name, as the system tells it."""
    info = Path("/proc/cpuinfo")
    names = [line for line in info.read_text().splitlines() if "model name" in line] if info.exists() else []
    return names[0].split(":")[1].strip() if names else platform.processor() or platform.machine()


SHOWN = (FP32, INT8, "dynamic", "static")


def table(report: Mapping[str, Any], shown: Collection[str] = SHOWN) -> Iterator[str]:
    """Markdown: one row per encoder and variant, then one per task and variant."""
    yield "| encoder | file | bytes | ms per window (median) | against fp32 | rms of tokens |"
    yield "|---|---|---:|---:|---:|---:|"
    for modality, about in report["encoders"].items():
        for name in shown:
            one = about["files"][name]
            ratio = one["ms"] / about["files"][FP32]["ms"]
            yield f"| {modality} | {name} | {one['bytes']} | {one['ms']:.3f} | {ratio:.2f} | {one['tokens_rms']:.2g} |"
    yield ""
    yield "| task on dataset (n) | metric through torch | file | metric | change | same decisions |"
    yield "|---|---:|---|---:|---:|---:|"
    for row in report["tasks"]:
        for name in shown:
            about = f"{row['task']} on {row['dataset']} ({row['n']}) | {row['metric']} {row['torch']:.4f}"
            one = row[name]
            yield f"| {about} | {name} | {one['score']:.4f} | {one['change']:+.4f} | {one['same']:.2%} |"


def main() -> None:
    """Measure, write JSON, show the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path, nargs="?", help="folder of a checkpoint; default: the bundled one")
    parser.add_argument("--root", type=Path, help="folder of real recordings; default: simulated ones")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "int8.json")
    options = parser.parse_args()
    report = measure(load_checkpoint(options.checkpoint), options.root, options.rounds)
    options.out.parent.mkdir(exist_ok=True)
    options.out.write_text(json.dumps(report, indent=1) + "\n")
    print("\n".join(table(report)))


if __name__ == "__main__":
    main()
