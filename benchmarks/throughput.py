"""Windows per second through the whole pipeline, beside what the broker and a plain client can carry at all.

    python -m benchmarks.throughput --windows 20000 --devices 4

Three measurements with the same mosquitto, payload and QoS, one after the other in the same run:

* raw: a paho publisher and a paho subscriber, each a process, neither does anything with the payload;
* pipeline: `edge run` processes that send full spools, `backend serve` that decodes, aligns, encodes, decides,
  commits and acknowledges; with batches, with one moment at a time, and with batches by the adapter alone, without
  the checkpoint's language model (`--llm none`);
* engine: the model and the rules alone, in this process, batched and one by one, and batched by the adapter alone.

Rates are taken between the first and the last thousandth of the windows, as committed (or received). CPU seconds of
the backend tell what one core could do. Writes benchmarks/results/throughput.json.
"""

import argparse
import json
import multiprocessing
import os
import sqlite3
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from multiprocessing.synchronize import Event as Flag
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
import psutil
from paho.mqtt.enums import CallbackAPIVersion
from prometheus_client import CollectorRegistry

from benchmarks.faults import moment_of, stream_window
from benchmarks.processes import Process, free_port, mosquitto, python, wait_listening
from benchmarks.recordings import frames_of, stream, windows_of, write_recording
from broker.messages import decode_frame
from edge.spool import Spool

RESULT = Path(__file__).parent / "results" / "throughput.json"
SITE = "bench"
_TOPIC = "raw/frames"


def raw_rate(port: int, payload: bytes, count: int) -> float:
    """Messages per second from a paho publisher to a paho subscriber at QoS 1, each in a process of its own."""
    context = multiprocessing.get_context("spawn")
    ready, rates = context.Event(), context.Queue()
    subscriber = context.Process(target=_subscribe, args=(port, count, ready, rates))
    publisher = context.Process(target=_publish, args=(port, payload, count, ready))
    for process in (subscriber, publisher):
        process.start()
    rate = float(rates.get(timeout=300))
    for process in (subscriber, publisher):
        process.join(30)
    return rate


def _subscribe(port: int, count: int, ready: Flag, rates: "multiprocessing.Queue[float]") -> None:
    seen, begun = 0, 0.0
    client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="raw-subscriber")

    def on_message(*_: Any) -> None:
        nonlocal seen, begun
        seen += 1
        if seen == 1:
            begun = time.perf_counter()
        if seen == count:
            rates.put((count - 1) / (time.perf_counter() - begun))
            client.disconnect()

    client.on_message = on_message
    client.on_subscribe = lambda *_: ready.set()
    client.connect("127.0.0.1", port)
    client.subscribe(_TOPIC, 1)
    client.loop_forever()


def _publish(port: int, payload: bytes, count: int, ready: Flag) -> None:
    client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="raw-publisher")
    client.max_inflight_messages_set(1000)
    client.connect("127.0.0.1", port)
    client.loop_start()
    ready.wait(30)
    sent = [client.publish(_TOPIC, payload, qos=1) for _ in range(count)]
    sent[-1].wait_for_publish(300)
    client.disconnect()
    client.loop_stop()


def fill_spools(recordings: Sequence[Path], folder: Path) -> None:
    """Spools that hold every window of their recordings, as an agent without a broker leaves them."""
    for recording in recordings:
        spool = Spool(folder / f"{recording.stem}.spool")
        for _, payload in frames_of(recording):
            spool.append("imu", decode_frame(payload))
        spool.close()


def pipeline_rate(
    recordings: Sequence[Path], folder: Path, checkpoint: str, batch: int, *more: str
) -> dict[str, float]:
    """Committed windows per second, and per CPU second of the backend and of one device."""
    folder.mkdir()
    fill_spools(recordings, folder)
    port, database = free_port(), folder / "backend.db"
    broker = mosquitto(folder, port)
    serve = ["serve", "--broker", f"127.0.0.1:{port}", "--store", str(database), "--http-port", str(free_port())]
    serve += ["--batch", str(batch), *(["--checkpoint", checkpoint] if checkpoint else []), *more]
    backend = Process("backend", python("backend.cli", *serve), folder)
    devices = [Process(r.stem, _edge_command(r, folder, port), folder) for r in recordings]
    total = sum(len(windows_of(recording)) for recording in recordings)
    with ExitStack() as stack:
        for process in (broker, backend, *devices):
            stack.callback(process.stop)
        broker.start()
        wait_listening(port)
        backend.start()
        wait_model(backend)
        idle_cpu = _cpu(backend)
        for device in devices:
            device.start()
        rate = _watch(database, total)
        cpu = _cpu(backend) - idle_cpu
        for device in devices:
            device.wait(60)
    return {"batch": batch, "windows": total, "per_s": round(rate), "per_backend_cpu_s": round(total / cpu)}


def _edge_command(recording: Path, folder: Path, port: int) -> list[str]:
    settings = folder / f"{recording.stem}.toml"
    settings.write_text(
        f'site = "{SITE}"\ndevice = "{recording.stem}"\n[broker]\nport = {port}\n'
        f'[spool]\npath = "{folder / recording.stem}.spool"\n'
        f'[[streams]]\nname = "imu"\nsensor = "replay"\nmodality = "imu"\nplacement = "wrist"\n'
        f'options = {{ path = "{recording}", speed = 0.0 }}\n'
    )
    return python("edge.cli", "run", "--config", str(settings))


def wait_model(backend: Process) -> None:
    """Return when the backend says that it takes frames."""
    end = time.monotonic() + 120
    while "takes frames" not in backend.log.read_text():
        if backend.status is not None or time.monotonic() > end:
            raise RuntimeError(f"the backend did not start: {backend.last_words()}")
        time.sleep(0.1)


def _cpu(process: Process) -> float:
    times = psutil.Process(process.pid).cpu_times()
    return float(times.user + times.system)


def _watch(database: Path, total: int) -> float:
    """Windows per second between the first and the last that were seen committed."""
    begun, first, end = 0.0, 0, time.monotonic() + 600
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=10) as db:
        while (count := db.execute("SELECT count(*) FROM windows").fetchone()[0]) < total:
            if time.monotonic() > end:
                raise TimeoutError(f"{count} of {total} windows after 600 s")
            if count > total // 1000 and not begun:
                begun, first = time.perf_counter(), count
            time.sleep(0.02)
    return float((total - first) / (time.perf_counter() - begun))


def engine_rate(recording: Path, checkpoint: str, batch: int, llm: str | None = None) -> float:
    """Windows per second through model and rules alone, on this thread."""
    import torch

    from backend.checkpoint import load_checkpoint
    from backend.metrics import Metrics
    from backend.model.sensorlm import Predictor
    from backend.serve.align import HOP_NS
    from backend.serve.engine import Engine

    torch.set_num_threads(1)
    model = Predictor(load_checkpoint(checkpoint or None, llm))
    engine = Engine(model, {}, Metrics(CollectorRegistry()), hop_ns=HOP_NS, update_s=10.0)
    closed = [moment_of("device", [stream_window("device", "imu", w)]) for w in windows_of(recording)[:2000]]
    engine.process(closed[:batch])
    begun = time.perf_counter()
    for i in range(batch, len(closed), batch):
        engine.process(closed[i : i + batch])
    return (len(closed) - batch) / (time.perf_counter() - begun)


def measure(windows: int, devices: int, checkpoint: str, folder: Path) -> dict[str, Any]:
    """All measurements, one after the other."""
    recordings = [folder / f"device-{i}.csv" for i in range(devices)]
    for i, recording in enumerate(recordings):
        write_recording(recording, -(-windows // devices), i)
    payload = next(frames_of(recordings[0]))[1]
    port = free_port()
    (folder / "raw").mkdir()
    broker = mosquitto(folder / "raw", port).start()
    wait_listening(port)
    try:
        raw = raw_rate(port, payload, windows)
    finally:
        broker.stop()
    batched = pipeline_rate(recordings, folder / "batched", checkpoint, 64)
    alone = pipeline_rate(recordings, folder / "alone", checkpoint, 64, "--llm", "none")
    few = [r.with_name(f"few-{r.name}") for r in recordings]
    for i, recording in enumerate(few):
        write_recording(recording, -(-windows // devices // 8), i)
    return {
        "cores": os.cpu_count(),
        "load_before": [round(load, 1) for load in os.getloadavg()],
        "payload_bytes": len(payload),
        "samples_per_window": stream().length,
        "devices": devices,
        "raw_paho_per_s": round(raw),
        "pipeline_batched": batched,
        "pipeline_one_by_one": pipeline_rate(few, folder / "single", checkpoint, 1),
        "pipeline_without_language_model": alone,
        "pipeline_share_of_raw": round(batched["per_s"] / raw, 3),
        "pipeline_share_of_raw_without_language_model": round(alone["per_s"] / raw, 3),
        "engine_batched_per_s": round(engine_rate(recordings[0], checkpoint, 64)),
        "engine_without_language_model_per_s": round(engine_rate(recordings[0], checkpoint, 64, "none")),
        "engine_one_by_one_per_s": round(engine_rate(recordings[0], checkpoint, 1)),
    }


def main() -> None:
    """Run with the arguments of the command line, and write the result."""
    parser = argparse.ArgumentParser(description="Throughput of the pipeline beside that of bare MQTT.")
    parser.add_argument("--windows", type=int, default=20_000)
    parser.add_argument("--devices", type=int, default=4)
    parser.add_argument("--checkpoint", default="", help="folder of a model; the bundled one if left out")
    arguments = vars(parser.parse_args())
    with tempfile.TemporaryDirectory(prefix="iotlm-throughput-") as folder:
        result = measure(**arguments, folder=Path(folder))
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
