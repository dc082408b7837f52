"""What a replay keeps: its state over a kill, and little in memory."""

import logging
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from broker.messages import Frame, encode_frame
from edge.clock import ManualClock
from edge.config import BrokerConfig
from edge.recording import FrameWriter
from edge.replay import FrameRecording, Replay, _state

HOP = 500_000_000


def write_frames(path: Path, slots: range, order: int = 1) -> Path:
    """A watch's windows of these slots since 1970, written in steps of `order`, which takes them out of order."""
    data = np.zeros((50, 6), np.float32)
    with FrameWriter(path) as out:
        for i in (one for first in range(order) for one in slots[first::order]):
            frame = Frame("e", i + 1, 1, "imu", "wrist", "raw", i * HOP, 50.0, data)
            out.write("iotlm/frames/home/watch/imu", encode_frame(frame))
    return path


def recorded(*files: Path) -> FrameRecording:
    order = Replay(files[0].parent, "home", BrokerConfig())
    return FrameRecording(order, files, ManualClock(), None)


def test_a_long_recording_of_frames_takes_no_more_memory_than_a_short_one(tmp_path: Path):
    long = write_frames(tmp_path / "long.frames", range(3000))
    recorded(write_frames(tmp_path / "short.frames", range(10)))  # what the first call alone needs
    tracemalloc.start()
    try:
        assert recorded(long).windows == 3000
        assert tracemalloc.get_traced_memory()[1] < 64 * 1024
    finally:
        tracemalloc.stop()


def test_recordings_of_one_time_are_told_whatever_the_order_of_their_frames(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    first = write_frames(tmp_path / "a.frames", range(100, 120), order=3)
    second = write_frames(tmp_path / "b.frames", range(119, 140), order=2)
    with caplog.at_level(logging.WARNING):
        recorded(first, second)
    assert not caplog.text
    third = write_frames(tmp_path / "c.frames", range(110, 130), order=7)
    with caplog.at_level(logging.WARNING):
        assert recorded(first, third).windows == 40
    assert "a.frames and c.frames are of the same time, and both are watch/imu" in caplog.text


def test_a_kill_while_the_note_is_written_leaves_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Half a note would stand in the way of every later replay."""
    order, note = (
        Replay(tmp_path / "a.csv", "home", BrokerConfig(), folder=tmp_path),
        tmp_path / "replay" / "replay.json",
    )

    def killed(path: Path, _: str) -> None:
        path.write_bytes(b'{"path": "a')
        raise SystemExit

    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(Path, "write_text", killed)
        with _state(order, ManualClock()):
            pass
    assert not note.exists()
    with _state(order, ManualClock()) as (folder, now):
        assert note.exists()
    assert (folder, now) == (tmp_path / "replay", None)
    assert not note.parent.exists()
