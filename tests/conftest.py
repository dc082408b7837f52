"""What the tests share: real brokers on free ports, and the recordings that `IOTLM_DATA` points to."""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.processes import free_port, wait_listening

os.environ.setdefault("OMP_NUM_THREADS", "1")  # tests share few cores; spinning threads would starve each other
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def need(program: str) -> str:
    """Path of a program. Without it a test is skipped on a user's machine, and fails in CI."""
    path = shutil.which(program) or shutil.which(program, path="/usr/sbin:/usr/local/sbin")
    if path is None:
        message = f"{program} is not installed"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return path


class Mosquitto:
    """A real mosquitto on a free port of loopback, which can be killed and started again."""

    def __init__(self, folder: Path, extra: str = "") -> None:
        self.program = need("mosquitto")
        self.port = free_port()
        self._conf = folder / "mosquitto.conf"
        self._conf.write_text(
            f"listener {self.port} 127.0.0.1\nallow_anonymous true\nuser root\nset_tcp_nodelay true\n"
            f"max_queued_messages 100000\nmax_inflight_messages 1000\nlog_type none\n{extra}"
        )
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        """Start it and wait until it accepts connections."""
        self._process = subprocess.Popen(
            [self.program, "-c", str(self._conf)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        wait_listening(self.port)

    def kill(self) -> None:
        """End it as a power cut would."""
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Mosquitto]:
    """A real broker for one test."""
    folder = tmp_path / "mosquitto"
    folder.mkdir()
    broker = Mosquitto(folder)
    yield broker
    broker.kill()


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of recordings; tests that need it are skipped where `IOTLM_DATA` is not set."""
    folder = os.environ.get("IOTLM_DATA")
    if not folder:
        pytest.skip("IOTLM_DATA is not set: point it to a folder with sp_sw_har, esc10 ...")
    if not Path(folder).is_dir():
        pytest.fail(f"IOTLM_DATA={folder} is no folder")
    return Path(folder)
