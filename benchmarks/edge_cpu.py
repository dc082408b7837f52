"""What does a window cost a device? CPU time by stage, and the memory of a running client.

    python -m benchmarks.edge_cpu

Stages are timed one after the other in this process, on windows of the simulator, with one thread; the shares are what
to trust. Memory is that of a real `edge run` process per configuration, some seconds after its start, against a broker
that does not answer, so that its spool fills as it would on the road. Writes benchmarks/results/edge_cpu.json.
"""

import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from backend.checkpoint import load_checkpoint
from benchmarks.processes import Process, free_port, python
from broker.messages import encode_frame
from edge.clock import ManualClock, SystemClock
from edge.encoder import Encoder
from edge.facts import facts
from edge.sensors import SENSORS, Reading
from edge.simulator import Scene
from edge.sources import SensorSource
from edge.spool import Spool
from edge.windows import SECOND, Stream, Window, WindowCutter
from export.bundle import FP32, INT8, Files, build

RESULT = Path(__file__).parent / "results" / "edge_cpu.json"
WINDOWS = 300
_SETTLE_S = 12.0
_STREAMS = {"imu": ("wrist", 100.0), "audio": ("room", 16_000.0)}  # placement, rate of the source in Hz


def cpu_ms(work: Callable[[Any], object], items: list[Any]) -> float:
    """Median CPU milliseconds of one call."""
    spent = []
    for item in items:
        began = time.process_time()
        work(item)
        spent.append(time.process_time() - began)
    return round(float(np.median(spent)) * 1e3, 3)


def readings(modality: str, seconds: float) -> list[Reading]:
    """The simulated scene, half a second at a time, which is one window each."""
    placement, rate = _STREAMS[modality]
    scene, step = Scene(7), SECOND // 2
    found = []
    for t0 in range(0, round(seconds * SECOND), step):
        t = t0 + (np.arange(round(rate / 2)) * SECOND / rate).astype(np.int64)
        values = scene.imu(placement, t) if modality == "imu" else scene.audio(t0, len(t), rate)
        found.append(Reading(t, np.asarray(values, np.float32).reshape(len(t), -1)))
    return found


def stages(modality: str, files: Files, folder: Path) -> dict[str, float]:
    """CPU milliseconds per window of every stage."""
    stream = Stream(modality, modality, _STREAMS[modality][0])
    cutter, windows = WindowCutter(stream), list[Window]()
    found = readings(modality, WINDOWS / 2)
    result = {"cut": cpu_ms(lambda reading: windows.extend(cutter.push(reading)), found)}
    result["facts"] = cpu_ms(facts, windows)
    for precision in (FP32, INT8):
        encoder = Encoder(files[precision][modality])
        result[f"encode_{precision}"] = cpu_ms(lambda window, run=encoder.encode: run(window.values), windows)
        source = _source(stream, encoder)
        frames = [source.frame(window) for window in windows]
        result[f"bytes_tokens_{precision}"] = len(encode_frame(frames[0]))
    raw = [_source(stream, None).frame(window) for window in windows]
    result["bytes_raw"] = len(encode_frame(raw[0]))
    for name, some in (("raw", raw), ("tokens", frames)):
        spool = Spool(folder / f"{modality}-{name}.db")
        result[f"spool_{name}"] = cpu_ms(lambda frame, to=spool: to.append(modality, frame), some)
        spool.close()
    return result


def memory_mb(modality: str, encoder: bytes | None, folder: Path) -> float:
    """Resident memory of `edge run` with one simulated stream, in MB."""
    name = f"{modality}-{'raw' if encoder is None else 'tokens'}"
    line = ""
    if encoder is not None:
        (folder / f"{name}.onnx").write_bytes(encoder)
        line = f'encoder = "{name}.onnx"\n'
    path = folder / f"{name}.toml"
    path.write_text(
        f'site = "bench"\ndevice = "{name}"\n[broker]\nport = {free_port()}\n[spool]\npath = "{name}.db"\n'
        f'[[streams]]\nsensor = "simulator"\nmodality = "{modality}"\nplacement = "{_STREAMS[modality][0]}"\n{line}'
    )
    process = Process(name, python("edge.cli", "run", "-c", str(path)), folder).start()
    try:
        time.sleep(_SETTLE_S)
        return round(psutil.Process(process.pid).memory_info().rss / 1e6, 1)
    finally:
        process.stop()


def _source(stream: Stream, encoder: Encoder | None) -> SensorSource:
    sensor = SENSORS["simulator"]({"seed": 7}, stream, ManualClock())
    return SensorSource("bench", "device", stream, sensor, SystemClock(), encoder=encoder)


def main() -> None:
    """Measure both modalities, print and write the figures."""
    files = build(load_checkpoint())
    result: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="iotlm-edge-") as name:
        for modality in _STREAMS:
            result[modality] = stages(modality, files, Path(name))
            result[modality]["memory_raw_mb"] = memory_mb(modality, None, Path(name))
            result[modality]["memory_tokens_mb"] = memory_mb(modality, files[INT8][modality], Path(name))
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
