"""`edge record` and `edge replay`, as a person runs them: what was recorded is played as it was, on a real broker."""

import asyncio
import contextlib
import os
import pty
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from broker.errors import DataError
from broker.link import MqttLink
from broker.messages import Frame, decode_frame, encode_frame
from edge.clock import ManualClock
from edge.recording import FrameWriter, RecordedDevice, read_frames, read_messages
from edge.replay import _one_after_the_other
from tests.edge_commands import (
    HOP,
    OPTIONS,
    SIMULATED,
    T0,
    backend,
    edge,
    on_a_terminal,
    settings,
    start,
    times,
    write_csv,
)


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
