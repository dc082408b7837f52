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

from tests.serving import save_small_checkpoint


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
            assert "takes frames from" in process.stdout.readline()
            url = address[0]
            wait_until(lambda: httpx.get(f"{url}readyz").status_code == 200)
            assert httpx.get(f"{url}healthz").json() == {"status": "alive"}
            wait_until(lambda: "iotlm_broker_connected 1.0" in httpx.get(f"{url}metrics").text)
            process.send_signal(signal.SIGTERM)
            out, err = process.communicate(timeout=20)
        finally:
            process.kill()
    assert (process.returncode, out, err) == (0, "", "")


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
    assert "takes frames from ::1:1," in said[1]


def test_a_taken_port_and_a_missing_checkpoint_are_one_line_each(tmp_path: Path, checkpoint: Path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        for flags, named in (
            (["--http-port", port, "--checkpoint", str(checkpoint)], f"http.port {port}"),
            (["--http-port", "0", "--checkpoint", str(tmp_path / "none")], "none"),
            (["--http-port", "0", "--group", "home"], "--group 'home'"),
            (["--http-port", "0", "--checkpoint", str(checkpoint), "--device", "cuda:99"], "device 'cuda:99'"),
        ):
            command = serve(*flags, "--store", str(tmp_path / "s.db"))
            done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
            assert done.returncode == 1
            assert named in done.stderr
            assert done.stderr.startswith("error: ")
            assert done.stderr.count("\n") == 1


def test_tls_files_are_relative_to_the_settings(tmp_path: Path, checkpoint: Path):
    settings = tmp_path / "serve.toml"
    settings.write_text('[broker]\nca = "ca.pem"\n')
    command = serve(
        "--config", str(settings), "--checkpoint", str(checkpoint), "--http-port", "0", "--store", ":memory:"
    )
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert str(tmp_path / "ca.pem") in done.stderr
