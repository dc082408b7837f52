"""`backend demo` as a user runs it: real processes and MQTT, events that fit the scene, estimates beside the truth."""

import asyncio
import contextlib
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import aiomqtt
import numpy as np
import psutil
import pytest
from rich.console import Console

from backend.checkpoint import load_checkpoint, save_checkpoint
from backend.demo.judge import Judge
from backend.demo.plan import plan
from backend.demo.run import _how_to, choose_port
from backend.demo.view import View, _plain
from backend.demo.words import said
from backend.model.sensorlm import ModelConfig
from backend.serve.events import iso
from backend.tasks import TASKS
from broker import topics
from broker.errors import ConfigError
from broker.link import Message
from broker.messages import Estimate, Event, Status, StreamInfo, encode_json
from edge.clock import SECOND
from tests.conftest import free_port, need
from tests.serving import T0, senses_checkpoint

SHOWN = {
    "home": ("pose-estimation", "depth-estimation"),
    "drive": ("depth-estimation",),
    "touch": ("gaze-estimation", "3d-reconstruction"),
}


@pytest.fixture(scope="module")
def senses(tmp_path_factory):
    """A model of every sense and task on disk, untrained."""
    folder = tmp_path_factory.mktemp("senses")
    save_checkpoint(senses_checkpoint(), folder)
    return folder


@pytest.fixture(scope="module")
def everything(senses):
    """Its configuration."""
    return load_checkpoint(senses).model.config


def start(*flags: str) -> "subprocess.Popen[str]":
    """The demo in a process of its own, its output as plain lines."""
    command = [sys.executable, "-m", "backend.cli", "demo", *flags]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def read(demo: "subprocess.Popen[str]", until: Callable[[str], bool]) -> list[str]:
    """The lines up to one, or to the end."""
    lines = []
    for line in demo.stdout:
        lines.append(line)
        if until(line):
            break
    return lines


def ended(demo: "subprocess.Popen[str]", lines: list[str]) -> str:
    """End it as a user does; these lines and all that came later."""
    demo.send_signal(signal.SIGINT)
    output = "".join(lines) + demo.communicate(timeout=60)[0]
    assert demo.returncode == 0, output
    return output


async def test_the_demo_publishes_events_that_agree_with_the_scene():
    need("mosquitto")
    port = free_port()
    demo = start("--port", str(port), "--http-port", str(free_port()))
    seen, lines = [], read(demo, lambda line: line.startswith("stop:"))

    async def listen() -> None:
        async with aiomqtt.Client("127.0.0.1", port) as client:
            await client.subscribe("iotlm/events/#")
            async for message in client.messages:
                seen.append(json.loads(message.payload))  # noqa: PERF401 (what came before the end must be kept)

    listening, judged = asyncio.create_task(listen()), iter(range(7))
    told = re.compile(r"\((as in the scene|scene: )")
    lines += await asyncio.to_thread(read, demo, lambda line: bool(told.search(line)) and next(judged, None) is None)
    output = ended(demo, lines)
    with pytest.raises(aiomqtt.MqttError):  # the broker leaves last, and ends the subscription
        await asyncio.wait_for(listening, 10)
    found = re.search(r"from (\d+) devices .*?; (\d+) of (\d+) starts agree", output.splitlines()[-1])
    devices, right, judged = map(int, found.groups())
    assert devices == len(plan("home", load_checkpoint().model.config).devices)
    assert judged >= 8
    assert right / judged >= 0.7, output
    assert len({event["id"] for event in seen}) == len(seen) >= 5
    assert {event["site"] for event in seen} == {"demo"}
    assert [event["offset"] for event in seen] == list(range(seen[0]["offset"], seen[0]["offset"] + len(seen)))


def test_a_port_that_is_named_and_taken_is_an_error_in_one_line(mosquitto):
    port = mosquitto.port
    for flag in ("--port", "--http-port"):
        demo = start(flag, str(port))
        said = demo.communicate(timeout=60)[0]
        assert (demo.returncode, said.count("\n")) == (1, 1)
        assert said.startswith(f"error: {flag} {port}: taken on 127.0.0.1; name another")
    assert choose_port("--port", None, port) != port
    free = free_port()
    assert choose_port("--port", None, free) == choose_port("--port", free, port) == free


def test_a_reader_that_has_enough_leaves_no_folder(tmp_path):
    need("mosquitto")
    command = [sys.executable, "-m", "backend.cli", "demo", "--http-port", str(free_port()), "--port", str(free_port())]
    env = os.environ | {"TMPDIR": str(tmp_path)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env) as demo:
        demo.stdout.readline()
        demo.stdout.close()
        assert demo.wait(timeout=60) == 0
        assert demo.stderr.read() == ""
    assert not list(tmp_path.glob("iotlm-demo-*"))


def test_ctrl_c_ends_everything_and_the_usual_port_may_be_taken():
    need("mosquitto")
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):  # if somebody has it, it is taken as well
            stack.enter_context(socket.create_server(("127.0.0.1", 1883)))
        demo = start("--http-port", str(free_port()))
        lines = read(demo, lambda line: "start" in line and "%" in line)
        demo.send_signal(signal.SIGINT)
        time.sleep(0.5)
        demo.send_signal(signal.SIGINT)  # an impatient user leaves nothing behind either
        output = "".join(lines) + demo.communicate(timeout=60)[0]
        assert demo.returncode == 0, output
        assert "port 1883 was taken" in output
        assert "\nmosquitto broker on 127.0.0.1:" in output
        assert "Traceback" not in output
        own = re.search(r"broker on 127\.0\.0\.1:(\d+)", output).group(1)
        running = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
        assert not [line for line in running.splitlines() if f"--port {own}" in line]


def test_recordings_can_be_played_instead(data_dir, tmp_path):
    need("mosquitto")
    person = tmp_path / "person"
    person.mkdir()
    (person / "s01.parquet").symlink_to(Path(data_dir) / "sp_sw_har" / "s01.parquet")
    demo = start("--replay", str(person), "--port", str(free_port()), "--http-port", str(free_port()))
    output = ended(demo, read(demo, lambda line: "activity-recognition  start" in line))
    assert "activity-recognition  start" in output


def test_one_device_is_one_device():
    assert View([]).summary().startswith("0 windows and 0 events from 0 devices in ")
    view = View([])
    view.take(Message("iotlm/frames/s/watch/imu", b""))
    assert view.summary().startswith("1 window and 0 events from 1 device in ")


def test_without_mosquitto_the_first_line_says_embedded(monkeypatch):
    monkeypatch.setattr("backend.demo.run.find_mosquitto", lambda: None)
    assert _how_to(1883, 8600, 1883, estimates=False)[0].startswith("embedded broker on 127.0.0.1:1883, ")


def test_a_missing_recording_is_one_line():
    demo = start("--replay", "nowhere")
    assert demo.communicate(timeout=60)[0].splitlines() == ["error: --replay nowhere: no such file or folder"]
    assert demo.returncode == 1


@pytest.mark.parametrize("scene", SHOWN)
async def test_a_scene_shows_estimates_beside_their_truth_and_ctrl_c_ends_it(scene, senses):
    need("mosquitto")
    port = free_port()
    demo = start("--scene", scene, "--checkpoint", str(senses), "--port", str(port), "--http-port", str(free_port()))
    lines, began, published = [], None, set()
    for line in demo.stdout:
        lines.append(line)
        if began is None and any(f"  {task}  " in line for task in SHOWN[scene]):
            began = time.monotonic()
        judged = [task for task in SHOWN[scene] if any(f"  {task}  " in line and "(off by" in line for line in lines)]
        if len(judged) == len(SHOWN[scene]) and sum(SHOWN[scene][0] in line for line in lines) >= 2:
            break  # of what is out of view, as a hand may be, there is no truth yet
    seconds = time.monotonic() - began
    async with asyncio.timeout(30), aiomqtt.Client("127.0.0.1", port) as client:
        await client.subscribe("iotlm/estimates/#")
        async for message in client.messages:
            topic = topics.parse(str(message.topic))
            assert (topic.site, topic.group) == ("demo", scene)
            assert topic.task in SHOWN[scene]
            published.add(topic.task)
            if published >= set(SHOWN[scene]):
                break
    started = psutil.Process(demo.pid).children(recursive=True)
    demo.send_signal(signal.SIGINT)
    output = "".join(lines) + demo.communicate(timeout=60)[0]
    assert demo.returncode == 0, output
    assert "Traceback" not in output
    assert len(started) >= 3
    assert not psutil.wait_procs(started, timeout=5)[1]
    assert "-t 'iotlm/estimates/#'" in output
    *_, last = output.splitlines()
    for task in SHOWN[scene]:
        told = [line for line in lines if f"  {task}  " in line]
        assert 1 <= len(told) <= seconds / 5 + 2, output
        assert re.search(rf"{task} off by [\d.]+ (mm|cm) on average \(a constant answer [\d.]+ (mm|cm)\)", last)
    count = len(plan(scene, load_checkpoint(senses).model.config).devices)
    assert f"from {count} device{'s' * (count != 1)} in " in last
    others = set(TASKS) - set(plan(scene, load_checkpoint(senses).model.config).tasks)
    assert not [line for line in lines if any(task in line for task in others)], output


def test_what_a_model_cannot_show_is_one_line():
    for flags, words in (
        (["--scene", "moon"], "error: --scene moon: no such scene; there are home, drive, touch"),
        (["--scene", "touch", "--replay", "."], "error: --scene touch: goes without --replay"),
        (["--checkpoint", "nowhere"], "error: checkpoint nowhere:"),
    ):
        demo = start(*flags)
        (line,) = demo.communicate(timeout=60)[0].splitlines()
        assert line.startswith(words)
        assert demo.returncode == 1


def test_a_scene_without_a_task_that_the_model_knows_is_refused():
    moves = ModelConfig(outputs={"activity-recognition": ("SEATED", "WALKING")})
    assert list(plan("home", moves).devices) == ["watch", "phone", "microphone"]
    for scene in ("drive", "touch"):  # a car neither sits nor walks
        with pytest.raises(ConfigError, match=f"--scene {scene}: the model can do none of"):
            plan(scene, moves)


def test_what_holds_the_answer_is_not_sent(everything):
    for scene, names in SHOWN.items():
        shown = plan(scene, everything)
        sent = [source for streams in shown.devices.values() for source in streams.values()]
        assert set(shown.tasks) == set(shown.stage.tasks)
        for name in names:
            assert TASKS[name].asks(sent)
    assert plan("touch", everything).devices["phone"]["image"] == ("image", "face")


def event(task: str, label: str, end: int) -> Event:
    about = {"facts": {}, "attribution": {"watch/imu": 1.0}, "model": "m", "episode": "e"}
    return Event("e", 1, "demo", "x", task, "start", label, 0.9, iso(end), iso(end), 1.0, **about)


def estimate(task: str, values: np.ndarray, end: int, points: tuple[str, ...] = ()) -> Estimate:
    it = TASKS[task].only(points) if points else TASKS[task]
    told = tuple(map(float, np.nan_to_num(values)))
    at = {"unit": it.unit, "shape": it.shape, "names": it.names, "axes": it.axes, "attribution": {"rig/image": 1.0}}
    return Estimate("e", "demo", "x", task, iso(end), values=told, model="m", **at)


@pytest.mark.parametrize("scene", SHOWN)
def test_the_truth_is_off_by_nothing_and_a_metre_by_a_metre(scene, everything):
    shown = plan(scene, everything)
    judge, seen = Judge(shown.stage, shown.others, shown.tasks), 0
    constants: list[float] = []  # at a moment the mean may happen to be right
    for name in SHOWN[scene]:
        task = shown.tasks[name]
        for k in range(40):
            end = T0 + k * SECOND // 2
            at = end - (SECOND // 20 if task.names else SECOND // 4)
            true = shown.stage.truth(name, np.array([at]))[0][TASKS[name].columns(task.outputs)]
            error = judge.error(estimate(name, true, end, task.outputs))
            if np.isnan(true).all():  # the hand is out of view
                assert error is None
                continue
            seen += 1
            assert error.off == pytest.approx(0.0, abs=0.01 if task.unit == "cm" else 0.1)
            constants.append(error.constant)
            step = np.tile(np.eye(len(task.axes))[0], len(task.points))
            moved = judge.error(estimate(name, true + step, end, task.outputs))
            assert moved.off == pytest.approx(task.metric_scale, rel=0.01)
    assert seen > 10
    assert np.mean(constants) > 0.1


def test_an_event_is_judged_by_what_covers_its_window(everything):
    shown = plan("touch", everything)
    judge = Judge(shown.stage, shown.others, shown.tasks)
    spans = list(shown.stage.spans("gesture-classification", T0, T0 + 300 * SECOND))
    made = next(span for span in spans if span.label != "none" and span.end - span.start > SECOND // 5)
    quiet = next(span for span in spans if span.label == "none" and span.end - span.start > 2 * SECOND)
    # A gesture that has just begun is a gesture: the window is its, however much of it is quiet.
    assert judge.label(event("gesture-classification", "none", made.start + SECOND // 5)) == made.label
    assert judge.label(event("gesture-classification", "none", quiet.start + 2 * SECOND)) == "none"
    assert judge.label(event("event-detection", "rain", T0)) is None
    assert judge.label(event("gaze-estimation", "rain", T0)) is None


def test_the_view_counts_what_it_can_read_and_fits_a_hundred_columns(everything):
    shown = plan("touch", everything)
    view = View(["stop: Ctrl-C"], Judge(shown.stage, shown.others, shown.tasks))
    for device, streams in shown.devices.items():
        infos = tuple(StreamInfo(n, m, p, (), 2.0, 1.0, 0.5) for n, (m, p) in streams.items())
        online = Status("online", "e1", infos, "0", iso(T0))
        view.take(Message(topics.status("demo", device), encode_json(online)))
    good = estimate("gaze-estimation", np.array([1.0, 2.0]), T0)
    told = event("gesture-classification", "flick-forward", T0)
    for name, message in (
        ("gaze-estimation", good),
        ("gaze-estimation", replace(good, time="noon")),
        ("gaze-estimation", replace(good, values=(1.0,))),
        ("pose-estimation", good),  # no task of the scene
        (
            "3d-reconstruction",
            estimate("3d-reconstruction", np.zeros(63), T0, shown.tasks["3d-reconstruction"].outputs),
        ),
    ):
        view.take(Message(topics.estimates("demo", "touch", name), encode_json(message)))
    noons = [replace(told, time="noon", phase=phase) for phase in ("start", "update")]
    for message in (told, *noons, replace(told, time="0001-01-01"), replace(told, label="driving-straight")):
        view.take(Message(topics.events("demo", "touch", told.task), encode_json(message)))
    assert view.counts["events"] == 2
    assert {name: row.count for name, row in view.estimates.items()} == {"gaze-estimation": 1, "3d-reconstruction": 1}
    screen = io.StringIO()
    console = Console(file=screen, width=100, height=30, force_terminal=True, color_system=None, highlight=False)
    console.print(view._render(console))
    lines = screen.getvalue().splitlines()
    assert max(map(len, lines)) == 100
    assert len(lines) < 30
    (gaze,) = (line for line in lines if "gaze-estimation" in line)
    off = view.estimates["gaze-estimation"].off
    assert "x 1.0, y 2.0 cm" in gaze
    assert f"{off:.2f} cm" in gaze
    (phone,) = (line for line in lines if " phone " in line and "online" in line)
    assert "imu@phone, gaze@screen, capacitance@panel, image+depth@face" in phone


def test_words_off_the_wire_are_no_markup():
    view, rude = View([]), "[/x]\n\x1b[2J[red]"
    online = Status("online", "e1", (StreamInfo("imu", "imu", rude, (), 2.0, 1.0, 0.5),), "0", iso(T0))
    view.take(Message(topics.status("demo", "phone"), encode_json(online)))
    told = replace(event("touch", "x", T0), label=rude, attribution={rude: 1.0})
    one = replace(estimate("gaze-estimation", np.ones(2), T0), unit=rude, attribution={rude: 1.0})
    lines = [
        view._news(view.take(Message(topics.events("demo", "g", "touch"), encode_json(told)))),
        view._news(view.take(Message(topics.estimates("demo", "g", "gaze-estimation"), encode_json(one)))),
    ]
    screen = io.StringIO()
    console = Console(file=screen, width=200, force_terminal=True, color_system=None)
    console.print(view._render(console))
    for line in lines:
        console.print(_plain(line), soft_wrap=True)
    shown = "[/x]??[2J[red]"
    assert screen.getvalue().count(shown) == 9
    assert "\x1b[2J" not in screen.getvalue()


def test_words_for_estimates():
    flat = estimate("depth-estimation", np.linspace(2.0, 4.0, 768), T0)
    assert said(flat) == "nearest 2.0, median 3.0 m"
    pair = estimate("3d-reconstruction", np.array([0, 0, 0, 0.1, 0.2, 0.0]), T0, ("wrist", "thumb1"))
    assert said(pair) == "2 joints over 0.20 m"
    assert said(replace(flat, shape=(0,), values=())) == "nothing"
