"""The command `edge`, as a person runs it: real processes, a real broker, real kills."""

import asyncio
import contextlib
import os
import pty
import re
import signal
import subprocess
import sys
import time
import urllib.request
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import soundfile

from broker.errors import DataError
from broker.link import MqttLink
from broker.messages import Frame, decode_frame, decode_status, encode_frame
from broker.topics import STATUS_ALL
from edge import cli
from edge.clock import ManualClock
from edge.progress import Standing, shown
from edge.recording import FrameWriter, RecordedDevice, read_frames, read_messages
from edge.replay import _one_after_the_other
from edge.sensors.listing import Available
from tests.conftest import free_port
from tests.test_edge_agent import Receiver
from tests.tiny_encoder import encoder_bytes

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


async def test_replay_sends_a_recording_and_ends(tmp_path, mosquitto):
    path = write_csv(tmp_path / "walk.csv", 20)
    arguments = [path, "--site", "lab", "--device", "watch", "--broker", f"127.0.0.1:{mosquitto.port}", "--speed", 0]
    async with backend(mosquitto.port) as receiver:
        process = await start("replay", *arguments)
        out, err = await asyncio.wait_for(process.communicate(), 30)
        assert (process.returncode, out, err) == (0, b"39 windows sent and acknowledged\n", b"")
        assert times(receiver) == [T0 + i * HOP for i in range(39)]


def frames_of(device: str, slots: range, path: Path) -> Path:
    with FrameWriter(path) as out:
        for i in slots:
            data = np.ones((50, 6), np.float32)
            frame = Frame("e", i + 1, 1, "imu", "wrist", "raw", T0 + i * HOP, 50.0, data)
            out.write(f"iotlm/frames/home/{device}/imu", encode_frame(frame))
    return path


@pytest.mark.parametrize("now", [[], ["--now"]])
async def test_a_folder_is_played_whole_tables_and_frames_alike(tmp_path, mosquitto, now):
    folder = tmp_path / "all"
    folder.mkdir()
    write_csv(folder / "one.csv", 5)
    write_csv(folder / "two.csv", 5, T0 + 3600 * 10**9)
    frames_of("watch", range(4), folder / "a.frames")
    frames_of("watch", range(4000, 4003), folder / "b.frames")
    frames_of("phone", range(1, 5), folder / "c.frames")
    arguments = [folder, "--broker", f"127.0.0.1:{mosquitto.port}", "--speed", 0, *now]
    async with backend(mosquitto.port) as receiver:
        process = await start("replay", *arguments)
        out, err = await asyncio.wait_for(process.communicate(), 30)
    assert (process.returncode, out, err) == (0, b"29 windows sent and acknowledged\n", b"")
    assert len(receiver.accepted) == 29
    if now:  # pauses are cut short
        assert max(times(receiver)) - min(times(receiver)) < 20 * 10**9


async def test_files_of_one_stream_and_one_time_are_told(tmp_path, mosquitto):
    for name in ("one", "two"):
        write_csv(tmp_path / f"{name}.csv", 5)
    arguments = [tmp_path, "--broker", f"127.0.0.1:{mosquitto.port}", "--speed", 0]
    async with backend(mosquitto.port):
        process = await start("replay", *arguments)
        _, err = await asyncio.wait_for(process.communicate(), 30)
    assert b"one and two are of the same time, and both are replay/imu" in err


@pytest.mark.parametrize("speed, seconds", [(1.0, 7.0), (2.0, 3.5), (0.0, 0.0)])
async def test_files_of_frames_keep_their_time_and_short_pauses(tmp_path, speed, seconds):
    spans = []
    for name, slots in (("a", range(4)), ("b", range(900, 906))):
        path = frames_of("watch", slots, tmp_path / f"{name}.frames")
        spans.append((T0 + slots[0] * HOP, T0 + slots[-1] * HOP, path))
    clock = ManualClock(5)
    device = RecordedDevice(_one_after_the_other(spans, None), "watch", clock, speed=speed)
    frames = [frame async for _, frame in device.frames(lambda stream: None)]
    assert [frame.t0 for frame in frames] == [T0 + i * HOP for i in (*range(4), *range(900, 906))]
    assert (clock.now() - 5) / 1e9 == pytest.approx(seconds, abs=0.01)


@pytest.mark.parametrize("terminal", [True, False])
async def test_replay_without_a_backend_says_so_on_a_terminal_and_in_a_pipe(tmp_path, mosquitto, terminal):
    path = write_csv(tmp_path / "walk.csv", 3)
    code = (
        "import asyncio, logging; from pathlib import Path; from edge.replay import Replay, replay; "
        "from edge.config import BrokerConfig; from edge.sender import Timing; logging.basicConfig(level='WARNING'); "
        f"order = Replay(Path({str(path)!r}), 'home', BrokerConfig(port={mosquitto.port}), speed=0, "
        "timing=Timing(silence_s=1.0)); asyncio.run(asyncio.wait_for(replay(order), 4))"
    )
    ours, theirs = pty.openpty() if terminal else os.pipe()
    with subprocess.Popen([sys.executable, "-c", code], stderr=theirs, env=os.environ | {"COLUMNS": "300"}) as process:
        os.close(theirs)
        said = b""
        with contextlib.suppress(OSError):
            while part := await asyncio.to_thread(os.read, ours, 4096):
                said += part
        os.close(ours)
    assert process.returncode == 1  # we gave up
    assert b"no backend has acknowledged home/replay for 1 s, 5 windows wait: start `backend serve`" in said


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


async def test_on_a_terminal_replay_shows_what_is_acknowledged_and_logs_above_it(tmp_path, mosquitto):
    path = write_csv(tmp_path / "walk.csv", 4)
    arguments = [path, "--device", "watch", "--broker", f"127.0.0.1:{mosquitto.port}"]

    async def cut():
        await asyncio.sleep(3.0)
        mosquitto.kill()
        mosquitto.start()

    async with backend(mosquitto.port):
        cutting = asyncio.create_task(cut())
        status, out, shown = await on_a_terminal("replay", *arguments)
        await cutting
    assert (status, out) == (0, "7 windows sent and acknowledged\n")
    assert "of about 8 windows acknowledged" in shown
    assert re.search(
        r"\r\x1b\[2K\d{4}-\d\d-\d\d \S+ WARNING broker\.link: lost the connection", shown
    )  # a line of its own


async def test_on_a_terminal_record_shows_seconds_and_windows(tmp_path):
    out = tmp_path / "a.frames"
    status, said, shown = await on_a_terminal("record", "-c", settings(tmp_path, 1), out, "--seconds", 3)
    assert status == 0
    assert said == f"{sum(1 for _ in read_frames(out))} windows in {out}\n"
    assert re.search(r"[12] of 3 s, \d+ windows in ", shown)


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


async def test_a_killed_replay_goes_on_at_the_times_it_had(tmp_path, mosquitto):
    path, state = write_csv(tmp_path / "walk.csv", 6), tmp_path / "state"
    arguments = [path, "--device", "watch", "--broker", f"127.0.0.1:{mosquitto.port}", "--spool", state, "--now"]
    before = time.time_ns()
    async with backend(mosquitto.port) as receiver:
        process = await start("replay", *arguments)
        while len(receiver.accepted) < 4:
            await asyncio.sleep(0.01)
        process.kill()
        await process.communicate()
        process = await start("replay", *arguments, "--speed", 0)
        await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 0
    assert times(receiver) == [times(receiver)[0] + i * HOP for i in range(11)]
    assert before <= times(receiver)[0] < before + 10**10
    assert list(state.iterdir()) == []  # what has ended leaves nothing


async def test_both_devices_of_a_person_are_played_together(tmp_path, mosquitto):
    folder = tmp_path / "s01"
    folder.mkdir()
    for device in ("sw", "sp"):
        write_csv(folder / f"s01_01_{device}.csv", 5)
    frames = []
    async with backend(mosquitto.port), MqttLink("127.0.0.1", mosquitto.port, "reader") as link:
        await link.subscribe("iotlm/frames/#")
        await link.wait_connected()
        process = await start("replay", folder, "--broker", f"127.0.0.1:{mosquitto.port}", "--speed", 0)
        frames = [await anext(link.messages()) for _ in range(18)]
        out, _ = await asyncio.wait_for(process.communicate(), 30)
    assert out == b"18 windows sent and acknowledged\n"
    assert {(m.topic, decode_frame(m.payload).placement) for m in frames} == {
        ("iotlm/frames/home/watch/imu", "wrist"),
        ("iotlm/frames/home/phone/imu", "pocket"),
    }


async def test_what_was_recorded_is_replayed_as_it_was(tmp_path, mosquitto):
    config = settings(tmp_path, mosquitto.port, f"{SIMULATED}\noptions = {OPTIONS % 5}")
    out = tmp_path / "walk.frames"
    done = edge("record", "-c", config, out)
    assert (done.returncode, done.stdout) == (0, f"9 windows in {out}\n")
    recorded = [frame for _, frame in read_frames(out)]
    async with backend(mosquitto.port), MqttLink("127.0.0.1", mosquitto.port, "reader") as link:
        await link.subscribe("iotlm/frames/#")
        await link.wait_connected()
        process = await start("replay", out, "--broker", f"127.0.0.1:{mosquitto.port}", "--speed", 0)
        sent = [await anext(link.messages()) for _ in range(9)]
        await asyncio.wait_for(process.communicate(), 30)
    frames = [decode_frame(message.payload) for message in sent]
    assert {message.topic for message in sent} == {"iotlm/frames/home/watch/imu"}
    kept = ("t0", "rate", "modality", "placement", "kind", "facts", "quality", "trace")
    for before, after in zip(recorded, frames, strict=True):
        assert [getattr(before, name) for name in kept] == [getattr(after, name) for name in kept]
        np.testing.assert_array_equal(before.data, after.data)
    assert {frame.epoch for frame in recorded}.isdisjoint({frame.epoch for frame in frames})


def test_record_stops_after_its_seconds(tmp_path):
    begun = time.monotonic()
    done = edge("record", "-c", settings(tmp_path, 1), tmp_path / "a.frames", "--seconds", 3)
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - begun < 10
    assert 2 <= sum(1 for _ in read_frames(tmp_path / "a.frames")) <= 5
    again = edge("record", "-c", settings(tmp_path, 1), tmp_path / "a.frames")
    assert (again.returncode, again.stderr.count("\n")) == (1, 1)
    assert "is there already" in again.stderr


def test_a_record_without_a_window_leaves_no_file_and_says_what_to_do(tmp_path):
    out, config = tmp_path / "a.frames", settings(tmp_path, 1)
    done = edge("record", "-c", config, out, "--seconds", 0.2)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"error: {out}: not written, no window was whole in 0.2 s; record longer, ")
    assert done.stderr.count("\n") == 1
    assert not out.exists()
    done = edge("record", "-c", config, out, "--seconds", 3)
    assert done.returncode == 0, done.stderr


def test_record_ended_by_ctrl_c_says_how_much_it_wrote(tmp_path):
    out = tmp_path / "a.frames"
    command = [sys.executable, "-m", "edge.cli", "record", "-c", str(settings(tmp_path, 1)), str(out)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            time.sleep(6.0)
            process.send_signal(signal.SIGINT)
            said = process.communicate(timeout=20)[0]
        finally:
            process.kill()
    written = sum(1 for _ in read_frames(out))
    assert (process.returncode, said) == (0, f"{written} windows in {out}\n")
    assert written >= 2


def test_a_recording_that_was_cut_off_gives_what_is_complete(tmp_path):
    path = tmp_path / "a.frames"
    with FrameWriter(path) as out:
        for i in range(3):
            out.write("iotlm/frames/home/watch/imu", bytes(10 + i))
    whole = path.read_bytes()
    for cut, count in ((len(whole), 3), (len(whole) - 1, 2), (len(whole) - 40, 2), (20, 0)):
        path.write_bytes(whole[:cut])
        assert len(list(read_messages(path))) == count
    path.write_bytes(b"RIFF something else")
    with pytest.raises(DataError, match="no recording of frames"):
        list(read_messages(path))


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


async def test_a_recording_of_which_no_window_could_be_cut_is_an_error(tmp_path, mosquitto):
    lines = write_csv(tmp_path / "walk.csv", 60).read_text().splitlines()
    kept = [line for i, line in enumerate(lines[1:]) if i % 100 < 30]  # 0.3 s of every second
    (tmp_path / "walk.csv").write_text("\n".join([lines[0], *kept]))
    arguments = [tmp_path / "walk.csv", "--broker", f"127.0.0.1:{mosquitto.port}", "--speed", 0]
    process = await start("replay", *arguments, "--spool", tmp_path / "state")
    out, err = await asyncio.wait_for(process.communicate(), 30)
    assert (process.returncode, out) == (1, b"")
    assert list((tmp_path / "state").iterdir()) == []  # nothing that the next replay would stumble over
    assert err.decode() == f"error: {tmp_path}/walk.csv: no window in it: samples cover less than half of every one\n"


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
