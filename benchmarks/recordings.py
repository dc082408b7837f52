"""Recordings of known content for benchmarks: a CSV of motion per device, and the windows that must come of it."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from broker.messages import Frame, encode_frame
from edge.sensors.replay import tracks
from edge.windows import Stream, Window, cut

T0 = 1_700_000_000_000_000_000  # ns UTC, a multiple of the hop
RATE, HOP_S = 50, 0.5
_LEVELS = (0.3, 3.0, 1.0, 9.0)  # m/s2: something changes every four seconds, so that there are events


def stream() -> Stream:
    """The one stream of such a device."""
    return Stream("imu", "imu", "wrist")


def write_recording(path: Path, windows: int, seed: int, skip: int = 0) -> None:
    """A CSV of about `windows` windows that depend on the seed only, less the first `skip`."""
    count = round(RATE * HOP_S) * (windows - skip + 1)
    rng = np.random.default_rng(seed)
    times = T0 + round(skip * HOP_S * 1e9) + np.arange(count, dtype=np.int64) * (1_000_000_000 // RATE)
    level = np.array(_LEVELS)[(np.arange(count) // (4 * RATE) + seed) % len(_LEVELS)]
    values = rng.normal(level[:, None], level[:, None], (count, 6)).round(4)
    lines = ["timestamp,acc_x,acc_y,acc_z,gyro_x,gyro_y,gyro_z"]
    lines += [f"{t},{','.join(map(str, row))}" for t, row in zip(times, values.tolist(), strict=True)]
    path.write_text("\n".join(lines) + "\n")


def windows_of(path: Path) -> list[Window]:
    """The windows of a recording, cut offline: all at once, by no agent."""
    (track,) = tracks(path)
    readings = list(track.chunks())
    return cut(stream(), np.concatenate([r.t for r in readings]), np.concatenate([r.values for r in readings]))


def frames_of(path: Path) -> Iterator[tuple[int, bytes]]:
    """Event time and payload of every window."""
    for seq, window in enumerate(windows_of(path), 1):
        frame = Frame("e", seq, 1, "imu", "wrist", "raw", window.t0, window.rate, window.values, quality=window.quality)
        yield window.t0, encode_frame(frame)
