"""The command `edge`, as a person runs it: real processes, a real broker, real kills."""

import asyncio
import re
import signal
import subprocess
import sys
import urllib.request
from importlib.metadata import version

import numpy as np
import pytest
import soundfile

from broker.link import MqttLink
from broker.messages import decode_frame, decode_status
from broker.topics import STATUS_ALL
from edge import cli
from edge.progress import Standing, shown
from edge.sensors.listing import Available
from tests.conftest import free_port
from tests.edge_commands import (
    HOP,
    OPTIONS,
    SIMULATED,
    backend,
    edge,
    settings,
    start,
    times,
    write_csv,
)
from tests.tiny_encoder import encoder_bytes


async def test_run_ends_when_its_sensors_have_ended_and_all_is_acknowledged(tmp_path, mosquitto):
    config = settings(tmp_path, 1, f"{SIMULATED}\noptions = {OPTIONS % 6}")
    async with backend(mosquitto.port) as receiver:
        process = await start("run", "-c", config, "--broker", f"127.0.0.1:{mosquitto.port}", "--quiet")
        out, err = await asyncio.wait_for(process.communicate(), 30)
    assert (process.returncode, out, err) == (0, b"", b"")
    assert times(receiver) == [times(receiver)[0] + i * HOP for i in range(11)]


async def test_run_tells_its_life_in_a_few_lines(tmp_path, mosquitto):
    """What it is; connected, acknowledged, lost, back; at the end what became of the windows."""
    config = settings(tmp_path, mosquitto.port)
    async with backend(mosquitto.port) as receiver:
        process = await start("run", "-c", config)
        told = [await asyncio.wait_for(process.stderr.readline(), 20) for _ in range(3)]
        mosquitto.kill()
        await asyncio.sleep(0.5)
        mosquitto.start()
        seen = len(receiver.accepted)
        while len(receiver.accepted) < seen + 3:
            await asyncio.sleep(0.05)
        process.send_signal(signal.SIGINT)
        out, err = await asyncio.wait_for(process.communicate(), 10)
    where, spool = f"127.0.0.1:{mosquitto.port}", tmp_path / "watch.db"
    lines = b"".join([*told, err]).decode().splitlines()
    for line, words in zip(
        lines,
        [
            f"INFO edge.run: home/watch: imu (simulator at wrist) to {where}; 0 windows wait in {spool}",
            f"INFO broker.link: connected to {where} as home.watch",
            "INFO edge.sender: a backend acknowledges what home/watch sends",
            f"WARNING broker.link: lost the connection to {where}: ",
            f"INFO broker.link: connected to {where} as home.watch, after ",
            "INFO edge.run: ",
        ],
        strict=True,
    ):
        assert words in line
    assert (process.returncode, out) == (0, b"")
    end = re.search(rf"(\d+) windows measured, (\d+) acknowledged; (\d+) wait in {re.escape(str(spool))}", lines[-1])
    measured, acknowledged, waiting = map(int, end.groups())
    assert acknowledged <= len(receiver.accepted) <= measured == acknowledged + waiting
    assert acknowledged >= 1


async def test_killed_again_and_again_it_sends_every_window_once(tmp_path, mosquitto):
    config = settings(tmp_path, mosquitto.port, f"{SIMULATED}\noptions = {OPTIONS % 200}")
    rng = np.random.default_rng(3)
    async with backend(mosquitto.port) as receiver:
        for _ in range(4):
            process = await start("run", "-c", config)
            seen = len(receiver.accepted)
            while len(receiver.accepted) == seen and process.returncode is None:
                await asyncio.sleep(0.01)
            await asyncio.sleep(rng.uniform(0.0, 0.1))
            assert process.returncode is None, await process.communicate()
            process.kill()
            await process.communicate()
        process = await start("run", "-c", config)
        await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0
    assert times(receiver) == [times(receiver)[0] + i * HOP for i in range(399)]
    assert [seq for _, seq, _, _ in receiver.accepted] == list(range(1, 400))


async def test_stopped_it_says_goodbye_and_keeps_what_waits(tmp_path, mosquitto):
    port = free_port()
    config = settings(tmp_path, mosquitto.port, SIMULATED, f"[metrics]\nport = {port}")
    process = await start("run", "-c", config)
    async with MqttLink("127.0.0.1", mosquitto.port, "reader") as link:
        await link.subscribe(STATUS_ALL)
        messages = link.messages()
        status = decode_status((await anext(messages)).payload)
        assert (status.state, [stream.name for stream in status.streams]) == ("online", ["imu"])
        await asyncio.sleep(2.2)
        page = await asyncio.to_thread(lambda: urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics").read())
        process.terminate()
        _, err = await asyncio.wait_for(process.communicate(), 10)
        assert process.returncode == 0
        assert decode_status((await anext(messages)).payload).state == "offline"
    values = dict(line.rsplit(" ", 1) for line in page.decode().splitlines() if not line.startswith("#"))
    made, waiting = (float(values[f"iotlm_edge_{name}"]) for name in ("windows_total", "waiting_frames"))
    assert made - waiting in (0, 1) and made >= 1  # a window is counted, and then written
    from edge.spool import Spool

    spool = Spool(tmp_path / "watch.db")
    assert spool.waiting >= 1
    assert f"0 acknowledged; {spool.waiting} wait in {tmp_path / 'watch.db'} for the next start" in err.decode()
    spool.close()


async def test_a_killed_device_is_declared_offline_by_its_will(tmp_path, mosquitto):
    process = await start("run", "-c", settings(tmp_path, mosquitto.port))
    async with MqttLink("127.0.0.1", mosquitto.port, "reader") as link:
        await link.subscribe(STATUS_ALL)
        messages = link.messages()
        assert decode_status((await anext(messages)).payload).state == "online"
        process.kill()
        assert decode_status((await asyncio.wait_for(anext(messages), 10)).payload).state == "offline"
    await process.communicate()


async def test_with_an_encoder_tokens_travel(tmp_path, mosquitto):
    (tmp_path / "imu.onnx").write_bytes(encoder_bytes())
    config = settings(tmp_path, mosquitto.port, f'{SIMULATED}\nencoder = "imu.onnx"\noptions = {OPTIONS % 3}')
    frames = []
    async with backend(mosquitto.port), MqttLink("127.0.0.1", mosquitto.port, "reader") as link:
        await link.subscribe("iotlm/frames/#")
        await link.wait_connected()
        process = await start("run", "-c", config)
        frames = [decode_frame((await anext(link.messages())).payload) for _ in range(5)]
        await asyncio.wait_for(process.communicate(), 30)
    assert {(f.kind, f.encoder, f.data.shape, f.data.dtype.str) for f in frames} == {("tokens", "d1", (4, 8), "<f2")}
    assert all(frame.facts and frame.quality == 0.5 for frame in frames)


def test_the_help_of_timeout_says_what_it_covers():
    done = edge("replay", "--help", env={"COLUMNS": "200", "PATH": ""})
    assert "a backend is waited for" in " ".join(done.stdout.split())


@pytest.mark.parametrize("program", ["broker", "edge", "backend"])
def test_every_program_tells_its_version(program):
    command = [sys.executable, "-m", f"{program}.cli", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"iotlm {version('iotlm')}\n", "")


async def test_a_device_that_already_runs_is_named(tmp_path, mosquitto):
    config = settings(tmp_path, mosquitto.port)
    process = await start("run", "-c", config)
    await asyncio.wait_for(process.stderr.readline(), 20)
    second = await asyncio.to_thread(edge, "run", "-c", config)
    process.terminate()
    await process.communicate()
    words = f"home/watch already runs here (its spool {tmp_path / 'watch.db'} is in use); end that one, or give another"
    assert second.returncode == 1 and words in second.stderr


async def test_in_a_pipe_progress_is_plain_lines_and_few(capsys):
    async with shown(lambda: Standing("3 of 8 windows", 3, 8), every_s=0.2):
        await asyncio.sleep(0.5)
    assert capsys.readouterr() == ("", "3 of 8 windows\n" * 2)


@pytest.mark.parametrize(("total", "wanted"), [(None, [10, 20, 40, 80]), (8, [10, 10, 10, 10])])
async def test_of_work_without_an_end_lines_come_ever_more_rarely(capsys, monkeypatch, total, wanted):
    waits, sleep = [], asyncio.sleep

    async def at_once(seconds: float) -> None:
        waits.append(seconds)
        await sleep(0)

    monkeypatch.setattr(asyncio, "sleep", at_once)
    async with shown(lambda: Standing("some windows", 3, total)):
        while len(waits) < 20:
            await sleep(0)
    assert waits[:4] == wanted
    assert max(waits) == (3600 if total is None else 10)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("replay", "none.csv"), "none.csv: no such file"),
        (("replay", "walk.csv", "--broker", "nowhere:port"), "write HOST:PORT"),
        (("replay", "walk.csv", "--site", "My Home"), "--site"),
        (("replay", "walk.csv", "--broker", "127.0.0.1:{port}", "--timeout", "0.3"), "no broker at 127.0.0.1"),
        (("replay", "broken.frames"), "no recording of frames"),
        (("replay", "empty.frames"), "empty.frames: no frames in it"),
        (("replay", "empty.csv"), "empty.csv: an empty file"),
        (("replay", "short.csv"), "short.csv: no window in it: 0.49 s of imu are shorter than one window of 1 s"),
        (("replay", "empty.wav"), "empty.wav: no window in it: 0 s of audio are shorter"),
        (("replay", "clips"), "clips: no window in it: 0.25 s of audio are shorter"),
        (("replay", "notes"), "notes: no recordings; expected .frames, .csv, "),
        (("replay", "notes/a.txt"), "a.txt: not a recording; expected a folder, .frames, .csv, "),
        (("run",), "edge.toml: No such file"),
        (("run", "-c", "other.toml"), "other.toml: stream imu: sensor 'nose' is none of simulator"),
        (("run", "-c", "encoder.toml"), "encoder.toml: none.onnx: "),
        (("run", "-c", "option.toml"), "option.toml: sensor simulator: unknown option 'sed'"),
        (("replay", "labelled"), "Folders below it are not looked into, and labelled/walking has .frames; give that"),
        (("record", "a.frames"), "edge.toml: No such file"),
        (("record", "x.csv"), "x.csv: frames are known by their name; end it in .frames, as x.frames"),
        (("record", "walk"), "walk: frames are known by their name; end it in .frames, as walk.frames"),
        (("record", "a.frames", "-c", "other.toml", "--seconds", "0"), "--seconds 0: no window is that short"),
    ],
)
def test_every_error_is_one_line_and_a_status(tmp_path, arguments, words):
    write_csv(tmp_path / "walk.csv", 3)
    (tmp_path / "broken.frames").write_text("broken")
    (tmp_path / "empty.frames").write_text("iotlm-frames-1\n")
    (tmp_path / "empty.csv").write_text("")
    write_csv(tmp_path / "short.csv", 0.5)
    soundfile.write(tmp_path / "empty.wav", np.zeros(0), 16000)
    (tmp_path / "clips").mkdir()
    soundfile.write(tmp_path / "clips" / "short.wav", np.zeros(4000), 16000)
    (tmp_path / "labelled" / "walking").mkdir(parents=True)
    (tmp_path / "labelled" / "walking" / "monday.frames").write_text("iotlm-frames-1\n")
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").write_text("no recording")
    for name, stream in (
        ("other", SIMULATED.replace("simulator", "nose")),
        ("encoder", f'{SIMULATED}\nencoder = "none.onnx"'),
        ("option", f"{SIMULATED}\noptions = {{ sed = 1 }}"),
    ):
        settings(tmp_path, 1, stream).rename(tmp_path / f"{name}.toml")
    done = edge(*(a.format(port=free_port()) for a in arguments), cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert words in errors[0]
    assert "Traceback" not in done.stderr


def test_a_command_that_is_none_is_answered_by_those_that_are(tmp_path):
    done = edge("walk", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: No such command 'walk'. Commands: run, sensors, record, replay.\n"


def test_sensors_says_what_is_here_and_why_not():
    done = edge("sensors")
    assert done.returncode == 0
    assert all(name in done.stdout for name in ("simulator", "replay", "microphone", "accelerometer"))
    *table, last = done.stdout.splitlines()
    assert not [row for row in table if row.split()[:1] == ["host"]]
    assert last.startswith("facts of the device, which any stream may carry (host_facts = true): ")


def test_names_of_devices_and_what_to_install_are_shown_as_they_are(monkeypatch, capsys):
    rows = [
        Available("microphone", ("audio",), False, "pip install '.[microphone]' in the clone"),
        Available("accelerometer", ("imu",), True, "[bold]chip[/bold] :smile:"),
    ]
    monkeypatch.setattr("edge.sensors.listing.available", lambda: rows)
    monkeypatch.setenv("COLUMNS", "160")
    cli.sensors()
    shown = capsys.readouterr().out
    assert all(row.detail in shown for row in rows)


def test_starting_takes_no_second():
    code = "import time; t = time.perf_counter(); import edge.cli; print(time.perf_counter() - t)"
    seconds = [
        float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
        for _ in range(3)
    ]
    assert min(seconds) < 1.0
