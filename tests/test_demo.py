"""`backend demo` as a user runs it: real processes, real MQTT, the bundled checkpoint, events that fit the scene."""

import asyncio
import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import aiomqtt
import pytest

from backend.demo.run import _how_to
from backend.demo.view import View
from broker.link import Message
from tests.conftest import free_port, need


def start(*flags: str) -> "subprocess.Popen[str]":
    """The demo in a process of its own, its output as plain lines."""
    command = [sys.executable, "-m", "backend.cli", "demo", *flags]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


async def test_the_demo_publishes_events_that_agree_with_the_scene():
    need("mosquitto")
    port = free_port()
    demo = start("--port", str(port), "--http-port", str(free_port()), "--seconds", "30")
    seen = []
    try:
        for line in demo.stdout:
            if line.startswith("stop:"):
                break
        with pytest.raises((aiomqtt.MqttError, TimeoutError)):  # the broker leaves last, and ends the subscription
            async with asyncio.timeout(100), aiomqtt.Client("127.0.0.1", port) as client:
                await client.subscribe("iotlm/events/#")
                async for message in client.messages:
                    seen.append(json.loads(message.payload))  # noqa: PERF401 (what came before the end must be kept)
    finally:
        output = demo.communicate(timeout=60)[0]
    assert demo.returncode == 0, output
    found = re.search(r"from 3 devices .*; (\d+) of (\d+) starts agree", output.splitlines()[-1])
    right, judged = map(int, found.groups())
    assert judged >= 5
    assert right / judged >= 0.7, output
    assert len({event["id"] for event in seen}) == len(seen) >= 5
    assert {event["site"] for event in seen} == {"demo"}
    assert [event["offset"] for event in seen] == list(range(seen[0]["offset"], seen[0]["offset"] + len(seen)))


def test_ctrl_c_ends_everything_and_a_taken_port_is_no_error(mosquitto):
    demo = start("--port", str(mosquitto.port), "--http-port", str(free_port()))
    lines = []
    for line in demo.stdout:
        lines.append(line)
        if "start" in line and "%" in line:
            break
    demo.send_signal(signal.SIGINT)
    time.sleep(0.5)
    demo.send_signal(signal.SIGINT)  # an impatient user leaves nothing behind either
    output = "".join(lines) + demo.communicate(timeout=60)[0]
    assert demo.returncode == 0, output
    assert f"port {mosquitto.port} was taken" in output
    assert output.startswith("mosquitto broker on 127.0.0.1:")
    assert "Traceback" not in output
    own = re.search(r"broker on 127\.0\.0\.1:(\d+)", output).group(1)
    running = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert not [line for line in running.splitlines() if f"--port {own}" in line]


def test_recordings_can_be_played_instead(data_dir, tmp_path):
    need("mosquitto")
    person = tmp_path / "person"
    person.mkdir()
    (person / "s01.parquet").symlink_to(Path(data_dir) / "sp_sw_har" / "s01.parquet")
    flags = ["--port", str(free_port()), "--http-port", str(free_port()), "--seconds", "15"]
    demo = start("--replay", str(person), *flags)
    output = demo.communicate(timeout=120)[0]
    assert demo.returncode == 0, output
    assert "activity-recognition  start" in output


def test_one_device_is_one_device():
    assert View([]).summary().startswith("0 windows and 0 events from 0 devices in ")
    view = View([])
    view.take(Message("iotlm/frames/s/watch/imu", b""))
    assert view.summary().startswith("1 window and 0 events from 1 device in ")


def test_without_mosquitto_the_first_line_says_embedded(monkeypatch):
    monkeypatch.setattr("backend.demo.run.find_mosquitto", lambda: None)
    assert _how_to(1883, 8600, 1883)[0].startswith("embedded broker on 127.0.0.1:1883, ")


def test_a_missing_recording_is_one_line():
    demo = start("--replay", "nowhere")
    assert demo.communicate(timeout=60)[0].splitlines() == ["error: --replay nowhere: no such file or folder"]
    assert demo.returncode == 1
