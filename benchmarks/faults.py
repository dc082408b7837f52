"""Processes killed at random: is every window committed once, and no event seen twice? `make faults` runs this.

    python -m benchmarks.faults --windows 20000 --devices 8 --backend-kills 10 --broker-kills 10 --device-kills 5

Real mosquitto, `backend serve` and `edge run` processes; SIGKILL at seeded random moments of the run's progress, a
random pause, the same command again. The recordings are known, so what must be committed is known beforehand. The
first two devices are one group and the last one has two streams; their recordings begin seconds apart, so that moments
wait for what is behind, and windows of one device are committed out of order. The model is untrained: delivery does not
depend on what it says, and noise raises more events than sense does. They must equal those of an offline run of the
same engine over the moments as committed, from which only windows of a killed device's group may be missing (late).
The naive client of `benchmarks.naive` gets the same treatment, to prove that the harness can fail. Writes
benchmarks/results/faults.json; the exit status tells whether all held.
"""

import argparse
import asyncio
import json
import random
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry

from backend.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from backend.metrics import Metrics
from backend.model.sensorlm import ModelConfig, Predictor, SensorModel
from backend.moment import Moment, StreamWindow
from backend.serve.align import HOP_NS, Closed, GroupKey
from backend.serve.engine import Engine
from benchmarks.processes import Process, free_port, mosquitto, python, wait_listening
from benchmarks.recordings import HOP_S, windows_of, write_recording
from broker import topics
from broker.link import MqttLink
from broker.messages import decode_event
from edge.windows import Window

RESULT = Path(__file__).parent / "results" / "faults.json"
SITE = "faults"
UPDATE_S = 10.0
PAIR = "pair"  # the group of the first two devices
APART = 10  # hops between the beginnings of recordings that are fused
_IN_TIME = "\"by\" NOT IN ('late', 'unusable')"


@dataclass(frozen=True)
class Plan:
    """How much, how often, and the seed of all randomness."""

    windows: int = 20_000
    devices: int = 8
    backend_kills: int = 10
    broker_kills: int = 10
    device_kills: int = 5
    seed: int = 1
    timeout_s: float = 900.0

    def schedule(self) -> list[tuple[float, str]]:
        """Share of the run at which each kill happens, in order, and whom it hits."""
        chance = random.Random(self.seed)
        kinds = ["backend"] * self.backend_kills + ["broker"] * self.broker_kills + ["device"] * self.device_kills
        return sorted((chance.uniform(0.03, 0.85), kind) for kind in kinds)


@dataclass(frozen=True)
class Recording:
    """One stream's recording and the event times of the windows in it."""

    group: str
    device: str
    stream: str
    path: Path
    t0s: tuple[int, ...]

    @property
    def name(self) -> str:
        """Of the stream, unlike any other's."""
        return f"{self.device}.{self.stream}"


def prepare(plan: Plan, folder: Path) -> list[Recording]:
    """Write the recordings and the untrained checkpoint."""
    import torch

    torch.manual_seed(plan.seed)
    model = SensorModel(ModelConfig(modalities=("imu",), tasks=("activity-recognition",), layers=1))
    for name, weight in model.heads.named_parameters():
        if name.endswith("weight"):  # confident noise: labels change and cross the thresholds
            torch.nn.init.normal_(weight, std=2.0)
    save_checkpoint(Checkpoint(model), folder / "checkpoint")
    streams = [(i, "imu", APART * (i == 1)) for i in range(plan.devices)] + [(plan.devices - 1, "hip", 2 * APART)]
    each = -(-(plan.windows + 3 * APART) // len(streams))
    recordings = []
    for n, (i, stream, skip) in enumerate(streams):
        device, path = f"device-{i}", folder / f"device-{i}.{stream}.csv"
        write_recording(path, each, plan.seed * 100 + n, skip)
        group = PAIR if i < 2 else device
        recordings.append(Recording(group, device, stream, path, tuple(window.t0 for window in windows_of(path))))
    return recordings


def by_device(recordings: Sequence[Recording]) -> dict[str, list[Recording]]:
    """The recordings of each device's streams."""
    found: dict[str, list[Recording]] = {}
    for recording in recordings:
        found.setdefault(recording.device, []).append(recording)
    return found


class Chaos:
    """Kills by schedule, as the run makes progress, and starts again what it killed."""

    def __init__(self, plan: Plan, backend: Process, broker: Process, devices: Sequence[Process]) -> None:
        self._schedule = plan.schedule()
        self._chance = random.Random(plan.seed + 1)
        self._backend, self._broker, self._devices = backend, broker, devices
        self.kills: Counter[str] = Counter()
        self.hit: set[str] = set()

    async def step(self, progress: float) -> None:
        """One kill, if it is due."""
        if not self._schedule or progress < self._schedule[0][0]:
            return
        _, kind = self._schedule.pop(0)
        process = self._choose(kind)
        if process is None:
            return
        await asyncio.sleep(self._chance.uniform(0.0, 0.3))
        process.kill()
        await asyncio.sleep(self._chance.uniform(0.05, 1.0))
        process.start()
        self.kills[kind] += 1
        self.hit.add(process.name)

    def _choose(self, kind: str) -> Process | None:
        running = [device for device in self._devices if device.status is None]
        if kind == "device":
            return self._chance.choice(running) if running else None
        return self._backend if kind == "backend" else self._broker


class Subscriber:
    """A live subscriber to all events."""

    def __init__(self, port: int) -> None:
        self._link = MqttLink("127.0.0.1", port, "subscriber", backoff=(0.05, 0.2))
        self.ids: Counter[str] = Counter()

    async def run(self) -> None:
        """Listen until cancelled."""
        async with self._link as link:
            await link.subscribe(topics.EVENTS_ALL)
            async for message in link.messages():
                self.ids[decode_event(message.payload).id] += 1


async def run_ours(plan: Plan, recordings: Sequence[Recording], folder: Path) -> dict[str, Any]:
    """The protocol under fire; what was committed, what was told."""
    port, database = free_port(), folder / "backend.db"
    broker = mosquitto(folder, port)
    backend = Process("backend", _serve_command(folder, port, database), folder)
    devices = [Process(name, _edge_command(rs, folder, port), folder) for name, rs in by_device(recordings).items()]
    chaos, subscriber, out_of_order = Chaos(plan, backend, broker, devices), Subscriber(port), 0
    total, begun = sum(len(r.t0s) for r in recordings), time.monotonic()
    with ExitStack() as stack:
        for process in (broker, backend, *devices):
            stack.callback(process.stop)
        broker.start()
        wait_listening(port)
        listening = asyncio.create_task(subscriber.run())
        for process in (backend, *devices):
            process.start()
        while any(device.status is None for device in devices):
            _check(devices, backend, begun, plan)
            await chaos.step(_count(database, "windows") / total)
            out_of_order += _count(database, "receivers WHERE done != '[]'") > 0
            await asyncio.sleep(0.05)
        seconds = time.monotonic() - begun
        await asyncio.sleep(1.0)  # the last events reach the subscriber
        listening.cancel()
    return {
        "seconds": round(seconds, 1),
        "kills": dict(chaos.kills),
        "device_exits": sorted({device.status for device in devices if device.status is not None}),
        **judge_windows(recordings, _read(database, "SELECT device || '.' || stream, t0 FROM windows")),
        **judge_moments(recordings, database, chaos.hit),
        "looks_that_saw_commits_out_of_order": out_of_order,
        **judge_events(recordings, folder, database, subscriber.ids),
    }


def _serve_command(folder: Path, port: int, database: Path) -> list[str]:
    settings = folder / "serve.toml"
    settings.write_text(
        f'checkpoint = "{folder / "checkpoint"}"\nlateness_s = 20.0\nidle_s = 60.0\nupdate_s = {UPDATE_S}\n'
        f'[groups]\n{PAIR} = ["device-0", "device-1"]\n[broker]\nport = {port}\n'
        f'[store]\nurl = "sqlite:///{database}"\n[http]\nport = {free_port()}\n'
    )
    return python("backend.cli", "serve", "--config", str(settings))


def _edge_command(recordings: Sequence[Recording], folder: Path, port: int) -> list[str]:
    device = recordings[0].device
    settings = folder / f"{device}.toml"
    streams = [
        f'[[streams]]\nname = "{r.stream}"\nsensor = "replay"\nmodality = "imu"\nplacement = "wrist"\n'
        f'options = {{ path = "{r.path}", speed = 0.0 }}\n'
        for r in recordings
    ]
    settings.write_text(
        f'site = "{SITE}"\ndevice = "{device}"\n[broker]\nport = {port}\n'
        f'[spool]\npath = "{folder / device}.spool"\n{"".join(streams)}'
    )
    return python("edge.cli", "run", "--config", str(settings))


def _check(devices: Sequence[Process], backend: Process, begun: float, plan: Plan) -> None:
    """Raise RuntimeError when something ended that nobody killed, or when it takes too long."""
    for process in (*devices, backend):
        if process.status not in (None, 0) or (process is backend and process.status == 0):
            raise RuntimeError(f"{process.name} ended with status {process.status}: {process.last_words()}")
    if time.monotonic() - begun > plan.timeout_s:
        raise RuntimeError(f"not done after {plan.timeout_s:g} s: {backend.last_words()}")


def _read(database: Path, query: str) -> list[tuple[Any, ...]]:
    try:
        with sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=10) as db:
            return db.execute(query).fetchall()
    except sqlite3.OperationalError:  # not created yet
        return []


def _count(database: Path, table: str) -> int:
    rows = _read(database, f"SELECT count(*) FROM {table}")
    return int(rows[0][0]) if rows else 0


def judge_windows(recordings: Sequence[Recording], rows: Sequence[tuple[Any, ...]]) -> dict[str, int]:
    """Produced against committed: a row is a stream's name and a time."""
    produced = {(r.name, t0) for r in recordings for t0 in r.t0s}
    committed = Counter(rows)
    return {
        "windows_produced": len(produced),
        "windows_committed": len(committed),
        "windows_lost": len(produced - committed.keys()),
        "windows_invented": len(committed.keys() - produced),
        "windows_twice": sum(n - 1 for n in committed.values()),
    }


def judge_moments(recordings: Sequence[Recording], database: Path, hit: set[str]) -> dict[str, Any]:
    """What was fused, and what came too late: in a group of which no device was killed, nothing may."""
    group_of = {r.device: r.group for r in recordings}
    disturbed = {group_of[device] for device in hit & group_of.keys()}
    late = [group_of[device] for (device,) in _read(database, f"SELECT device FROM windows WHERE NOT {_IN_TIME}")]
    places = Counter((group_of[device], t0) for device, t0 in _read(database, _in_time("device, t0")))
    return {
        "devices_killed": sorted(hit & group_of.keys()),
        "groups_undisturbed": len(set(group_of.values()) - disturbed),
        "moments_fused": sum(n > 1 for n in places.values()),
        "windows_late": len(late),
        "windows_late_without_a_kill": sum(group not in disturbed for group in late),
    }


def _in_time(columns: str) -> str:
    return f"SELECT {columns} FROM windows WHERE {_IN_TIME}"


def judge_events(recordings: Sequence[Recording], folder: Path, database: Path, live: Counter[str]) -> dict[str, int]:
    """Events in the store against those of an offline run, and against what the subscriber saw."""
    rows = _read(database, 'SELECT id, "offset" FROM events ORDER BY "offset"')
    stored, offsets = Counter(row[0] for row in rows), [row[1] for row in rows]
    expected = offline_events(recordings, folder, database)
    return {
        "events_stored": len(rows),
        "events_twice": sum(n - 1 for n in stored.values()),
        "event_offset_holes": sum(a != b for a, b in zip(offsets, range(1, len(offsets) + 1), strict=True)),
        "events_expected_offline": len(expected),
        "events_other_than_offline": len(expected ^ stored.keys()),
        "events_live": len(live),
        "events_live_twice": sum(n - 1 for n in live.values()),
        "events_live_unknown": len(live.keys() - stored.keys()),
    }


def offline_events(recordings: Sequence[Recording], folder: Path, database: Path) -> set[str]:
    """Ids of the events that the same engine raises when it gets every moment in order, with what was in time."""
    in_time = set(_read(database, _in_time("device || '.' || stream, t0")))
    moments: dict[tuple[str, int], list[StreamWindow]] = {}
    for r in recordings:
        for window in windows_of(r.path):
            if (r.name, window.t0) in in_time:
                moments.setdefault((r.group, window.t0), []).append(stream_window(r.device, r.stream, window))
    model = Predictor(load_checkpoint(folder / "checkpoint"))
    engine = Engine(model, {}, Metrics(CollectorRegistry()), hop_ns=HOP_NS, update_s=UPDATE_S)
    closed = [moment_of(group, moments[group, t0]) for group, t0 in sorted(moments)]
    return {event.id for i in range(0, len(closed), 64) for event in engine.process(closed[i : i + 64]).events}


def stream_window(device: str, stream: str, window: Window) -> StreamWindow:
    """A window as the backend gets it."""
    values, quality = window.values, window.quality
    return StreamWindow(device, stream, "imu", "wrist", window.t0, window.rate, quality=quality, values=values)


def moment_of(group: str, windows: Sequence[StreamWindow]) -> Closed:
    """The moment of a group's windows of one time, as the aligner would close it."""
    ordered, t0 = tuple(sorted(windows, key=lambda window: window.key)), windows[0].t0
    return Closed(GroupKey(SITE, group), Moment(SITE, group, t0 // HOP_NS, t0, ordered), (), "complete")


async def run_naive(plan: Plan, recordings: Sequence[Recording], folder: Path, seconds: float) -> dict[str, Any]:
    """The same kills, and about the same time, for a client that trusts the broker's acknowledgement."""
    port, database = free_port(), folder / "naive.db"
    broker = mosquitto(folder, port)
    backend = Process("naive-backend", python("benchmarks.naive", "store", str(port), str(database)), folder)
    period, start = seconds / max(len(r.t0s) for r in recordings), time.time() + 3.0
    devices = [
        Process(
            f"naive-{r.name}",
            python("benchmarks.naive", "send", str(r.path), str(port), r.name, str(start), str(period)),
            folder,
        )
        for r in recordings
    ]
    chaos = Chaos(plan, backend, broker, devices)
    with ExitStack() as stack:
        for process in (broker, backend, *devices):
            stack.callback(process.stop)
            process.start()
        while any(device.status is None for device in devices):
            await chaos.step((time.time() - start) / seconds)
            await asyncio.sleep(0.05)
        await asyncio.sleep(2.0)
    return {"kills": dict(chaos.kills), **judge_windows(recordings, _read(database, "SELECT device, t0 FROM windows"))}


def failures(plan: Plan, result: dict[str, Any]) -> list[str]:
    """What did not hold, in words; empty if all did."""
    ours, found = result["ours"], []
    ends = ("_lost", "_invented", "_twice", "_holes", "_unknown", "_without_a_kill")
    must_be_zero = [name for name in ours if name.endswith(ends)]
    found += [f"{name} is {ours[name]}" for name in [*must_be_zero, "events_other_than_offline"] if ours[name]]
    must_happen = ("moments_fused", "looks_that_saw_commits_out_of_order", "events_stored", "groups_undisturbed")
    found += [f"{name} is 0: the harness proves nothing" for name in must_happen if not ours[name]]
    if ours["device_exits"] != [0]:
        found.append(f"devices ended with {ours['device_exits']}")
    wanted = {"backend": plan.backend_kills, "broker": plan.broker_kills, "device": plan.device_kills}
    if ours["kills"] != {kind: n for kind, n in wanted.items() if n}:
        found.append(f"kills were {ours['kills']}, wanted {wanted}")
    if "naive" in result and not result["naive"]["windows_lost"]:
        found.append("the naive client lost nothing: the harness proves nothing")
    return found


async def run(plan: Plan, folder: Path, say: Callable[[str], None], *, naive: bool = True) -> dict[str, Any]:
    """Both runs; the result as it is written."""
    recordings = prepare(plan, folder)
    say(f"{sum(len(r.t0s) for r in recordings)} windows of {plan.devices} devices, {HOP_S} s apart")
    result: dict[str, Any] = {"plan": asdict(plan), "ours": await run_ours(plan, recordings, folder)}
    say(f"ours: {result['ours']}")
    if naive:
        result["naive"] = await run_naive(plan, recordings, folder, result["ours"]["seconds"])
        say(f"naive: {result['naive']}")
    result["failures"] = failures(plan, result)
    return result


def main() -> None:
    """Run with the arguments of the command line; exit status 1 when something did not hold."""
    parser = argparse.ArgumentParser(description="Kill processes at random and count what is lost.")
    for name, default in asdict(Plan()).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(default), default=default)
    parser.add_argument("--no-naive", action="store_true", help="leave the naive client out")
    arguments = vars(parser.parse_args())
    naive = not arguments.pop("no_naive")
    with tempfile.TemporaryDirectory(prefix="iotlm-faults-") as folder:
        result = asyncio.run(run(Plan(**arguments), Path(folder), print, naive=naive))
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    for failure in result["failures"]:
        print("FAILED:", failure)
    sys.exit(1 if result["failures"] else 0)


if __name__ == "__main__":
    main()
