"""`backend serve` as a process: it says what it does, answers, ends cleanly, and fails in one line."""

import contextlib
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from paho.mqtt import publish
from typer.testing import CliRunner

from backend.cli import app
from backend.serve.config import ServeConfig
from broker.messages import encode_frame
from tests.serving import imu_frame, save_small_checkpoint


def serve(*flags: str) -> list[str]:
    return [sys.executable, "-m", "backend.cli", "serve", *flags]


def wait_until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    """Return when it holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return save_small_checkpoint(tmp_path / "checkpoint")


def test_it_becomes_ready_and_ends_when_asked(mosquitto, tmp_path: Path, checkpoint: Path):
    flags = ["--broker", f"127.0.0.1:{mosquitto.port}", "--checkpoint", str(checkpoint), "--http-port", "0"]
    command = serve(*flags, "--store", str(tmp_path / "s.db"))
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            address = re.match(r"http://\S+/", process.stdout.readline())
            assert address
            assert "is loaded, the broker is looked for at" in process.stdout.readline()
            assert process.stdout.readline().startswith("takes frames from")
            url = address[0]
            wait_until(lambda: httpx.get(f"{url}readyz").status_code == 200)
            assert httpx.get(f"{url}healthz").json() == {"status": "alive"}
            wait_until(lambda: "iotlm_broker_connected 1.0" in httpx.get(f"{url}metrics").text)
            process.send_signal(signal.SIGTERM)
            out, err = process.communicate(timeout=20)
        finally:
            process.kill()
    assert (process.returncode, out) == (0, "")
    assert err.count("\n") == 1
    assert f"INFO broker.link: connected to 127.0.0.1:{mosquitto.port} as iotlm-backend-" in err


def test_it_tells_of_broker_and_devices_unless_it_is_quiet(mosquitto, tmp_path: Path, checkpoint: Path):
    """One line each: connected, first frames of a device, lost, back. No claim while the broker is away."""
    mosquitto.kill()
    common = ["--broker", f"127.0.0.1:{mosquitto.port}", "--checkpoint", str(checkpoint), "--http-port", "0"]
    files = {"loud": [], "quiet": ["--quiet"]}
    with contextlib.ExitStack() as stack:
        for name, more in files.items():
            command = serve(*common, "--store", str(tmp_path / f"{name}.db"), *more)
            out = stack.enter_context((tmp_path / f"{name}.log").open("w"))
            process = stack.enter_context(subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT))
            stack.callback(process.kill)

        def log(name: str) -> str:
            return (tmp_path / f"{name}.log").read_text()

        for name in files:
            wait_until(lambda name=name: "no connection to" in log(name), 60)
            assert "takes frames" not in log(name)
        mosquitto.start()
        for name in files:
            wait_until(lambda name=name: "takes frames from" in log(name))
        frames = [encode_frame(imu_frame(i + 1, i)) for i in range(3)]
        for payload in frames:
            publish.single("iotlm/frames/home/watch/imu", payload, qos=1, port=mosquitto.port)
        wait_until(lambda: "delivers" in log("loud"))
        mosquitto.kill()
        wait_until(lambda: "lost the connection" in log("loud"))
        mosquitto.start()
        wait_until(lambda: log("loud").count("INFO broker.link: connected to") == 2)
    assert log("loud").count("INFO backend.serve.ingest: home/watch delivers imu at wrist\n") == 1
    assert "INFO" not in log("quiet")


def test_two_backends_on_one_broker_leave_each_other_alone(mosquitto, tmp_path: Path, checkpoint: Path):
    """Under one client id they would throw each other out for ever."""
    common = ["--broker", f"127.0.0.1:{mosquitto.port}", "--checkpoint", str(checkpoint), "--http-port", "0"]
    with contextlib.ExitStack() as stack:
        urls = []
        for name in ("one", "two"):
            command = serve(*common, "--store", str(tmp_path / f"{name}.db"))
            process = stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
            stack.callback(process.kill)
            assert process.stdout is not None
            address = re.match(r"http://\S+/", process.stdout.readline())
            assert address
            urls.append(address[0])
        for url in urls:
            wait_until(lambda url=url: "iotlm_broker_connected 1.0" in httpx.get(f"{url}metrics").text)
        time.sleep(2.0)  # long enough for several rounds of being thrown out and coming back
        for url in urls:
            assert "iotlm_broker_sessions_total 1.0" in httpx.get(f"{url}metrics").text


def test_a_broker_of_ipv6_is_understood(tmp_path: Path, checkpoint: Path):
    command = serve("--broker", "[::1]:1", "--checkpoint", str(checkpoint), "--http-port", "0", "--store", ":memory:")
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        said = [process.stdout.readline() for _ in range(2)]
        process.kill()
    assert "looked for at ::1:1" in said[1]


def test_a_taken_port_and_a_missing_checkpoint_are_one_line_each(tmp_path: Path, checkpoint: Path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        for flags, named in (
            (["--http-port", port, "--checkpoint", str(checkpoint)], f"http.port {port}"),
            (["--http-port", "0", "--checkpoint", str(tmp_path / "none")], "none"),
            (["--http-port", "0", "--group", "home"], "--group 'home'"),
            (["--http-port", "0", "--checkpoint", str(checkpoint), "--task", "nap"], "tasks: the model knows no 'nap'"),
            (["--http-port", "0", "--checkpoint", str(checkpoint), "--device", "cuda:99"], "device 'cuda:99'"),
        ):
            command = serve(*flags, "--store", str(tmp_path / "s.db"))
            done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
            assert (done.returncode, done.stdout) == (1, "")
            assert named in done.stderr
            assert done.stderr.startswith("error: ")
            assert done.stderr.count("\n") == 1


def test_tasks_are_named_by_flags_too(monkeypatch: pytest.MonkeyPatch):
    async def serve(config: ServeConfig, announce: Callable[[str], None]) -> None:
        announce(f"publishes {config.tasks}")

    monkeypatch.setattr("backend.serve.server.serve", serve)
    for flags, tasks in (([], None), (["--task", "a", "--task", "b"], ["a", "b"])):
        assert CliRunner().invoke(app, ["serve", "--quiet", *flags]).stdout == f"publishes {tasks}\n"


def test_tls_files_are_relative_to_the_settings(tmp_path: Path, checkpoint: Path):
    settings = tmp_path / "serve.toml"
    settings.write_text('[broker]\nca = "ca.pem"\n')
    command = serve(
        "--config", str(settings), "--checkpoint", str(checkpoint), "--http-port", "0", "--store", ":memory:"
    )
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert str(tmp_path / "ca.pem") in done.stderr
