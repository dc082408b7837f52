"""Starts and ends the processes of the demo: broker, backend and devices, each as a user would start it by hand.

Every process keeps its log in the demo's folder; one that dies ends the demo with the last line of its log. It
refuses to reach into them: all that is shown comes over MQTT.
"""

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from backend.demo.judge import Judge
from backend.demo.plan import SEED, Plan, plan
from backend.demo.view import View
from backend.tasks import TASKS, Regression
from broker.errors import ConfigError, IotlmError
from broker.link import MqttLink
from broker.server import find_mosquitto

SITE = "demo"
_MQTT, _HTTP = 1883, 8600  # ports, where they are free
_RECORDED = "home", ("watch", "phone", "microphone")  # what is fused when recordings are played
_GRACE_S = 8.0  # a process gets this long to end by itself


@dataclass
class Processes:
    """The processes of one demo, ended in the reverse order of their start."""

    folder: Path
    running: dict[str, "subprocess.Popen[bytes]"] = field(default_factory=dict)

    def start(self, name: str, *arguments: str) -> None:
        """Start `python -m ...` in a session of its own, so that Ctrl-C reaches only us and we end them in order."""
        with (self.folder / f"{name}.log").open("wb") as log:
            self.running[name] = subprocess.Popen(
                [sys.executable, "-m", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env=os.environ | {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"},
            )

    def any_ended(self) -> bool:
        """Whether a process has ended well, as a replay does; raises `ConfigError` with the words of a failed one."""
        for name, process in self.running.items():
            if process.poll() not in (None, 0):
                raise ConfigError(f"{name} ended with status {process.returncode}: {self.last_words(name)}")
        return any(process.returncode == 0 for process in self.running.values())

    def last_words(self, name: str) -> str:
        """The last line of a process's log."""
        lines = (self.folder / f"{name}.log").read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing"

    def stop(self) -> None:
        """End all, last started first; kill what does not listen."""
        for process in reversed(self.running.values()):
            process.send_signal(signal.SIGINT)
            try:
                process.wait(_GRACE_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


class Screen(Console):
    """Where the demo is shown. Once its reader has gone, as `| head` goes, it is quiet, and the demo ends."""

    def on_broken_pipe(self) -> None:
        """In place of an exit from the midst of things."""
        with contextlib.suppress(SystemExit):
            super().on_broken_pipe()


def choose_port(flag: str, wanted: int | None, usual: int) -> int:
    """The port of loopback that a flag names; if it names none the usual one, or a free one where that is taken.

    Raises:
        ConfigError: the port that is named is taken.
    """
    for port in (usual, 0) if wanted is None else (wanted,):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                return int(probe.getsockname()[1])
    if wanted is None:
        raise ConfigError("127.0.0.1 has no free port")
    raise ConfigError(f"{flag} {wanted}: taken on 127.0.0.1; name another, or none for one that is free")


@dataclass(frozen=True)
class Demo:
    """What is to be shown: a scene, simulated, or recordings; and by which model (None: the bundled one)."""

    show: Plan | Path
    checkpoint: Path | None
    estimates: bool  # whether the model gives any


def prepare(scene: str | None, replay: Path | None, checkpoint: Path | None) -> Demo:
    """The demo of a scene (None: the home) or of recordings.

    Raises:
        ConfigError: both are given, there is no such scene or recording, or the model can do nothing with the scene.
        CheckpointError: the model cannot be used.
    """
    if replay is not None and scene is not None:
        raise ConfigError(f"--scene {scene}: goes without --replay; recordings are not simulated")
    if replay is not None and not replay.exists():
        raise ConfigError(f"--replay {replay}: no such file or folder")
    from backend.checkpoint import load_checkpoint

    model = load_checkpoint(checkpoint).model.config
    show = replay or plan(scene or "home", model)
    tasks = show.tasks if isinstance(show, Plan) else model.tasks
    return Demo(show, checkpoint, any(isinstance(TASKS[name], Regression) for name in tasks))


def run(wanted: Demo, *, port: int | None, http_port: int | None, seconds: float | None, console: Console) -> str:
    """Run the demo until Ctrl-C, for `seconds`, or until the console is quiet; returns one line about what was seen.

    Ports are as in `choose_port`.

    Raises:
        ConfigError: a port is taken, or one of the processes failed.
    """
    mqtt, http = choose_port("--port", port, _MQTT), choose_port("--http-port", http_port, _HTTP)
    with _folder() as folder, _terminated_as_interrupted():
        processes, how_to = Processes(folder), _how_to(mqtt, http, port or _MQTT, wanted.estimates)
        show = wanted.show
        view = View(how_to, Judge(show.stage, show.others, show.tasks) if isinstance(show, Plan) else None)
        try:
            console.print("starting a broker, the backend and the devices ...")
            _start(processes, mqtt, http, wanted)
            for line in () if console.is_terminal else how_to:  # there the view shows them
                console.print(line, soft_wrap=True)
            asyncio.run(_watch(view, processes, mqtt, seconds, console))
        except KeyboardInterrupt:
            pass
        finally:
            signal.signal(
                signal.SIGINT, signal.SIG_IGN
            )  # ending takes a moment; a second Ctrl-C must not leave half of it
            console.print("ending the devices, the backend and the broker ...")
            processes.stop()
        return view.summary()


def _start(processes: Processes, mqtt: int, http: int, wanted: Demo) -> None:
    folder, show = processes.folder, wanted.show
    processes.start("broker", "broker.cli", "run", "--port", str(mqtt), "--directory", str(folder / "broker"))
    _wait_listening(processes, mqtt)
    group, devices = (show.scene, tuple(show.devices)) if isinstance(show, Plan) else _RECORDED
    settings = folder / "serve.toml"
    told = tuple(show.tasks) if isinstance(show, Plan) else None
    settings.write_text(_serve_toml(folder, mqtt, http, group, devices, told))
    model = [] if wanted.checkpoint is None else ["--checkpoint", str(wanted.checkpoint)]
    processes.start("backend", "backend.cli", "serve", "--config", str(settings), *model)
    if not isinstance(show, Plan):
        where = ["--site", SITE, "--broker", f"127.0.0.1:{mqtt}", "--now"]
        processes.start("replay", "edge.cli", "replay", str(show), *where)
        return
    for name, streams in show.devices.items():
        settings = folder / f"{name}.toml"
        settings.write_text(_edge_toml(folder, name, mqtt, show.scene, streams))
        processes.start(name, "edge.cli", "run", "--config", str(settings))


async def _watch(view: View, processes: Processes, mqtt: int, seconds: float | None, console: Console) -> None:
    async with MqttLink("127.0.0.1", mqtt, "demo-view") as link:
        following = asyncio.create_task(view.follow(link, console))

        def over() -> bool:
            unread = console.quiet and link.connected  # a client that is left while it connects complains on stderr
            return processes.any_ended() or following.done() or unread

        try:
            async with asyncio.timeout(seconds):
                while not over():  # noqa: ASYNC110 (processes are polled)
                    await asyncio.sleep(0.2)
        except TimeoutError:
            pass
        finally:
            following.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await following


def _serve_toml(
    folder: Path, mqtt: int, http: int, group: str, devices: tuple[str, ...], told: tuple[str, ...] | None
) -> str:
    """The backend's settings; `told` are the tasks of a scene, of recordings all are."""
    fused = ", ".join(f'"{name}"' for name in devices)
    tasks = "" if told is None else "tasks = [{}]\n\n".format(", ".join(f'"{name}"' for name in told))
    return f"""\
{tasks}\
[broker]
host = "127.0.0.1"
port = {mqtt}

[groups]
{group} = [{fused}]

[store]
url = "sqlite:///{(folder / "events.db").as_posix()}"

[http]
port = {http}
"""


def _edge_toml(folder: Path, name: str, mqtt: int, scene: str, streams: Mapping[str, tuple[str, str]]) -> str:
    device = f"""\
site = "{SITE}"
device = "{name}"

[broker]
host = "127.0.0.1"
port = {mqtt}

[spool]
path = "{(folder / name).as_posix()}.db"
"""
    return device + "".join(
        f"""
[[streams]]
name = "{stream}"
sensor = "simulator"
modality = "{modality}"
placement = "{placement}"
options = {{ scene = "{scene}", seed = {SEED} }}
"""
        for stream, (modality, placement) in streams.items()
    )


def _how_to(mqtt: int, http: int, wanted: int, estimates: bool) -> list[str]:
    kind = "mosquitto" if find_mosquitto() else "embedded"
    note = "" if mqtt == wanted else f" (port {wanted} was taken)"
    port = "" if mqtt == _MQTT else f" -p {mqtt}"
    return [
        f"{kind} broker on 127.0.0.1:{mqtt}{note}, console, metrics and events on http://127.0.0.1:{http}",
        f"subscribe:  mosquitto_sub{port} -t 'iotlm/events/#'",
        *([f"            mosquitto_sub{port} -t 'iotlm/estimates/#'"] if estimates else []),
        "stop:       Ctrl-C",
    ]


def _wait_listening(processes: Processes, port: int, seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        processes.any_ended()
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    words = processes.last_words("broker")
    raise ConfigError(f"the broker does not listen on port {port} after {seconds:.0f} s: {words}")


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    """A folder for state and logs, kept only when something went wrong."""
    folder = Path(tempfile.mkdtemp(prefix="iotlm-demo-"))
    try:
        yield folder
    except IotlmError as error:
        raise type(error)(f"{error} (logs: {folder})") from None
    except KeyboardInterrupt:  # before anything was started
        shutil.rmtree(folder, ignore_errors=True)
        raise
    shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """Let SIGTERM end the demo as Ctrl-C does: cleanly."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
