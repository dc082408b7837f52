"""What the tests share: real brokers on free ports, simulated scenes, recordings that `IOTLM_DATA` points to."""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from benchmarks.processes import free_port, wait_listening

if TYPE_CHECKING:
    from backend.data.recording import Recording

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


class Postgres:
    """A real PostgreSQL on a free port of loopback, with databases by the dozen."""

    def __init__(self, folder: Path) -> None:
        self._bin = _postgres_folder()
        self._folder, self.port, self._count = folder / "data", free_port(), 0
        folder.chmod(0o777)
        self._call("initdb", "-D", str(self._folder), "-A", "trust", "-U", "iotlm", "--no-sync")
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c fsync=off"
        log = str(self._folder / "log")
        self._call("pg_ctl", "-D", str(self._folder), "-o", options, "-l", log, "-w", "start")

    def new_database(self) -> str:
        """URL of an empty database."""
        self._count += 1
        where = ["-h", "127.0.0.1", "-p", str(self.port), "-U", "iotlm"]
        self._call("createdb", *where, f"test{self._count}")
        return f"postgresql+psycopg://iotlm@127.0.0.1:{self.port}/test{self._count}"

    def stop(self) -> None:
        """End it, whoever is connected."""
        self._call("pg_ctl", "-D", str(self._folder), "-m", "immediate", "-w", "stop")

    def _call(self, program: str, *arguments: str) -> None:
        command = [str(self._bin / program), *arguments]
        if os.getuid() == 0:  # it refuses to run as root
            command = ["runuser", "-u", "postgres", "--", *command]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/")


def _postgres_folder() -> Path:
    """Where PostgreSQL's programs are: Debian keeps them off the path, by version."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    return folders[-1] if folders else Path(need("initdb")).resolve().parent


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A real database server for all tests that want one."""
    folder = Path(tempfile.mkdtemp(prefix="iotlm-postgres-"))  # not below pytest's folders, which are root's alone
    server = Postgres(folder)
    yield server
    server.stop()
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def scenes() -> "list[Recording]":
    """Motion and sound of two simulated people, 24 s each."""
    from backend.data.synthetic import TRAINING_SEEDS, scene_recording

    return [scene_recording(seed, seconds=24, senses=("imu", "audio")) for seed in TRAINING_SEEDS[:2]]


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of recordings; tests that need it are skipped where `IOTLM_DATA` is not set."""
    folder = os.environ.get("IOTLM_DATA")
    if not folder:
        pytest.skip("IOTLM_DATA is not set: point it to a folder with sp_sw_har, esc10 ...")
    if not Path(folder).is_dir():
        pytest.fail(f"IOTLM_DATA={folder} is no folder")
    return Path(folder)
