"""The command `edge` as a person runs it, for several files of tests: a process, its settings, a recording to play."""

import asyncio
import contextlib
import os
import pty
import subprocess
import sys
from pathlib import Path

import numpy as np

from broker.link import MqttLink
from tests.test_edge_agent import Receiver

HOP = 500_000_000


T0 = 1_700_000_000_000_000_000


SIMULATED = 'sensor = "simulator"\nmodality = "imu"\nplacement = "wrist"'


OPTIONS = '{ seed = 1, start = "2026-01-01T00:00:00Z", seconds = %g, speed = 0.0 }'


def edge(*arguments, **more):
    return subprocess.run(
        [sys.executable, "-m", "edge.cli", *map(str, arguments)],
        capture_output=True, text=True, timeout=60, check=False, **more,
    )  # fmt: skip


async def start(*arguments):
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "edge.cli", *map(str, arguments), stdout=-1, stderr=-1
    )


def settings(folder: Path, port: int, stream: str = SIMULATED, extra: str = "") -> Path:
    path = folder / "edge.toml"
    path.write_text(
        f'site = "home"\ndevice = "watch"\n[broker]\nport = {port}\n[spool]\npath = "watch.db"\n{extra}\n'
        f"[[streams]]\n{stream}\n"
    )
    return path


def write_csv(path: Path, seconds: float, t0: int = T0) -> Path:
    times = t0 + np.arange(round(seconds * 100)) * 10_000_000
    values = np.random.default_rng(5).normal([0, 0, 9.8, 0, 0, 0], size=(len(times), 6)).round(3)
    lines = ["timestamp,acc_x,acc_y,acc_z,gyro_x,gyro_y,gyro_z"]
    lines += [f"{t},{','.join(map(str, row))}" for t, row in zip(times, values.tolist(), strict=True)]
    path.write_text("\n".join(lines) + "\n")
    return path


@contextlib.asynccontextmanager
async def backend(port):
    """The receiving end of the protocol on the real broker."""
    async with MqttLink("127.0.0.1", port, "receiver", backoff=(0.05, 0.2)) as link:
        receiver = Receiver(link)
        task = asyncio.create_task(receiver.run())
        await link.wait_connected()
        await asyncio.sleep(0.1)
        yield receiver
        task.cancel()


def times(receiver, stream="imu"):
    return [t0 for _, _, name, t0 in receiver.accepted if name == stream]


async def on_a_terminal(*arguments):
    """Status, stdout, and what a terminal at stderr would show."""
    terminal, theirs = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "edge.cli", *map(str, arguments)),
        stdout=-1,
        stderr=theirs,
        env=os.environ | {"TERM": "xterm", "COLUMNS": "160"},
    )
    os.close(theirs)

    def read():
        shown = b""
        with contextlib.suppress(OSError):  # the other end has closed
            while part := os.read(terminal, 4096):
                shown += part
        os.close(terminal)
        return shown.decode()

    shown = await asyncio.wait_for(asyncio.to_thread(read), 60)
    out, _ = await process.communicate()
    return process.returncode, out.decode(), shown
