"""Real processes for benchmarks: start, SIGKILL, start again; mosquitto with the configuration of `broker run`."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from broker.server import ServerConfig, find_mosquitto, mosquitto_conf

ENVIRONMENT = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}  # spinning threads starve the other processes


class Process:
    """A program that can be killed and started again with the same arguments. What it says goes to a log file."""

    def __init__(
        self, name: str, command: Sequence[str], folder: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        self.name, self.command, self.log = name, list(command), folder / f"{name}.log"
        self._environment = {**os.environ, **ENVIRONMENT, **(environment or {})}
        self._running: subprocess.Popen[bytes] | None = None
        self.starts = 0

    def start(self) -> "Process":
        """Start it; the log is continued."""
        with self.log.open("ab") as log:
            self._running = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self._environment
            )
        self.starts += 1
        return self

    @property
    def pid(self) -> int:
        """Process id of the newest start."""
        assert self._running is not None, f"{self.name} was never started"
        return self._running.pid

    @property
    def status(self) -> int | None:
        """Exit status; None while it runs."""
        return None if self._running is None else self._running.poll()

    def kill(self) -> None:
        """End it as a power cut would."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End it politely; as a power cut after ten seconds."""
        self._end(signal.SIGTERM)

    def wait(self, seconds: float) -> int:
        """Exit status, within `seconds`; raises TimeoutError with the last words of the log."""
        assert self._running is not None
        try:
            return self._running.wait(seconds)
        except subprocess.TimeoutExpired:
            raise TimeoutError(f"{self.name} still runs after {seconds:g} s: {self.last_words()}") from None

    def last_words(self) -> str:
        """The end of its log."""
        return self.log.read_text(errors="replace")[-600:]

    def _end(self, number: signal.Signals) -> None:
        if self._running is None or self._running.poll() is not None:
            return
        self._running.send_signal(number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._running.wait(10)
            return
        self._running.kill()
        self._running.wait()


def python(module: str, *arguments: str) -> list[str]:
    """The command line of a module of ours."""
    return [sys.executable, "-m", module, *arguments]


def mosquitto(folder: Path, port: int) -> Process:
    """A mosquitto as `broker run` configures it, not yet started. Raises FileNotFoundError where there is none."""
    program = find_mosquitto()
    if program is None:
        raise FileNotFoundError("mosquitto is not installed; this benchmark needs the real one")
    state = folder / "mosquitto"
    state.mkdir(exist_ok=True)
    path = state / "mosquitto.conf"
    path.write_text(mosquitto_conf(ServerConfig(state, "127.0.0.1", port)))
    return Process("mosquitto", [program, "-c", str(path)], folder)


def free_port() -> int:
    """A TCP port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_listening(port: int, seconds: float = 30.0) -> None:
    """Return when something accepts connections; raises TimeoutError."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise TimeoutError(f"nothing listens on port {port} after {seconds:g} s")
