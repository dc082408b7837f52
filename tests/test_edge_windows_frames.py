"""Windows of frames and clips: which frame each shows, however they came in, and what is read and kept for it."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.errors import ConfigError
from broker.modalities import MODALITIES
from edge.frames import show
from edge.sensors import Reading
from edge.windows import SECOND, ClipCutter, FrameCutter, Stream, WindowCutter, cut, cutter_for, windows_of

IMAGE = Stream("image", "image", "room", size=(8, 8))
VIDEO = Stream("video", "video", "room", size=(4, 6))
DEPTH = Stream("depth", "depth", "room", size=(8, 8))
T0 = 1_700_000_000 * SECOND
HALF = SECOND // 2


def times(rate: float, seconds: float, start: int = T0) -> np.ndarray:
    return start + np.rint(np.arange(round(seconds * rate)) * SECOND / rate).astype(np.int64)


def numbered(n: int, size: tuple[int, int] = (8, 8), channels: int = 3) -> np.ndarray:
    """Frames that all over have the value of their number."""
    return np.broadcast_to(np.arange(n, dtype=np.float32)[:, None, None, None], (n, *size, channels)).copy()


def same(a: list, b: list) -> bool:
    return len(a) == len(b) and all(
        x.t0 == y.t0 and x.quality == y.quality and np.array_equal(x.values, y.values)
        for x, y in zip(a, b, strict=True)
    )


class Reader:
    """Rows that are fetched when sliced, as from a file; it notes which."""

    def __init__(self, values: np.ndarray) -> None:
        self.values, self.shape, self.dtype = values, values.shape, values.dtype
        self.read: list[int] = []

    def __getitem__(self, rows: slice) -> np.ndarray:
        self.read += range(*rows.indices(len(self.values)))
        return self.values[rows]


def test_a_window_shows_the_newest_frame_within_it():
    t = times(10, 3.0, T0 + 50_000_000)
    windows = cut(IMAGE, t, numbered(30))
    assert [(w.t0 - T0) // HALF for w in windows] == [-1, 0, 1, 2, 3, 4, 5]
    assert [w.values[0, 0, 0] for w in windows] == [4, 9, 14, 19, 24, 29, 29]
    assert all(w.values.shape == (8, 8, 3) and w.values.dtype == np.float32 and w.rate == 2.0 for w in windows)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, SECOND - 1))
def test_quality_falls_with_the_age_of_the_frame(at):
    window = next(w for w in cut(IMAGE, np.array([T0 + at]), numbered(1)) if w.t0 == T0)
    assert window.quality == pytest.approx(1 - (SECOND - at) / SECOND / 2)
    assert 0.5 <= window.quality <= 1.0


def test_a_frame_in_a_longer_window_has_at_least_half_the_quality():
    stream = Stream("image", "image", "room", window_s=4.0, hop_s=4.0)
    (window,) = cut(stream, np.array([T0]), numbered(1))
    assert (window.t0, window.quality) == (T0, 0.5)


def test_a_window_without_a_frame_is_not_made_and_a_long_pause_costs_nothing():
    t = np.concatenate([[0], times(0.25, 12.0), [T0 + 10**18]])
    windows = cut(IMAGE, t, numbered(len(t)))
    wanted = sorted({start for moment in t for start in range(moment // HALF * HALF - HALF, moment + 1, HALF)})
    assert [w.t0 for w in windows] == wanted


def test_a_clock_that_steps_back_starts_afresh_and_a_late_frame_does_not():
    t = np.array([T0 + 100 * SECOND, T0 + 100 * SECOND + HALF, T0, T0 + HALF])
    shown = [((w.t0 - T0) // HALF, w.values[0, 0, 0]) for w in cut(IMAGE, t, numbered(4))]
    assert shown == [(199, 0), (200, 1), (201, 1), (-1, 2), (0, 3), (1, 3)]
    late = np.array([T0, T0 + HALF, T0 + HALF - 1000, T0 + SECOND])
    assert [w.values[0, 0, 0] for w in cut(IMAGE, late, numbered(4))] == [0, 2, 3, 3]


def test_a_clip_shows_the_frames_nearest_to_its_points_in_time():
    t = times(30, 3.0)
    windows = {(w.t0 - T0) // HALF: w for w in cut(VIDEO, t, numbered(90, (4, 6)))}
    assert windows[2].values.shape == (8, 4, 6, 3)
    assert windows[2].values[:, 0, 0, 0].tolist() == [30, 34, 37, 41, 45, 49, 52, 56]
    assert [w.quality for key, w in sorted(windows.items())][1:-1] == [1.0] * 5
    # Before the first frame and after the last one a clip may have half of its points.
    assert sorted(windows) == [-1, 0, 1, 2, 3, 4, 5]
    assert windows[-1].quality == 0.625
    assert windows[5].quality == 0.75
    assert windows[-1].values[:, 0, 0, 0].tolist() == [0, 0, 0, 0, 0, 4, 7, 11]


def test_the_points_of_a_clip_that_have_no_frame_are_marked_and_show_their_neighbour():
    t = times(16, 4.0)
    kept = (t < T0 + 1.25 * SECOND) | (t >= T0 + 1.75 * SECOND)
    window = next(w for w in cut(VIDEO, t[kept], numbered(64, (4, 6))[kept]) if w.t0 == T0 + SECOND)
    # The last frame before the gap is at 1.1875, the first one after it at 1.75: none is near enough to 1.5.
    assert window.values[:, 0, 0, 0].tolist() == [16, 18, 19, 19, 19, 28, 28, 30]
    assert window.quality == 0.875
    kept = (t < T0 + 1.1 * SECOND) | (t >= T0 + 1.75 * SECOND)
    window = next(w for w in cut(VIDEO, t[kept], numbered(64, (4, 6))[kept]) if w.t0 == T0 + SECOND)
    assert window.values[:, 0, 0, 0].tolist() == [16, 17, 17, 17, 28, 28, 28, 30]
    assert window.quality == 0.75


def test_a_clip_of_which_most_is_missing_is_not_made():
    t = times(8, 4.0)
    kept = (t < T0 + 1.0 * SECOND) | (t >= T0 + 2.0 * SECOND)
    starts = [(w.t0 - T0) / SECOND for w in cut(VIDEO, t[kept], numbered(32, (4, 6))[kept])]
    assert 1.0 not in starts
    assert {0.0, 0.5, 1.5, 2.0} <= set(starts)


def nearest_frames(t: np.ndarray, t0: int) -> tuple[list[int | None], float]:
    """What a clip from t0 on shows, by the rule and nothing else."""
    picks: list[int | None] = []
    for k in range(8):
        away = np.abs(t - (t0 + k * SECOND // 8))
        best = int(away.argmin())
        picks.append(best if away[best] <= 187_500_000 else None)
    return picks, sum(pick is not None for pick in picks) / 8


def is_slow(t: np.ndarray, i: int) -> bool:
    """Whether a frame comes more than a window after its predecessor, as that does after its own."""
    return bool(i >= 2 and (np.diff(t[i - 2 : i + 1]) > SECOND).all())


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([0.5, 2.0, 5.0, 12.0, 40.0]), st.integers(1, 60))
def test_frames_and_clips_are_those_of_the_rule(seed, rate, n):
    rng = np.random.default_rng(seed)
    t = T0 + np.cumsum(rng.exponential(SECOND / rate, n).astype(np.int64) + 1)
    starts = range(T0 - 2 * SECOND, int(t[-1]) + 2 * SECOND, HALF)
    frames = {w.t0: w for w in cut(IMAGE, t, numbered(n))}
    clips = {w.t0: w for w in cut(VIDEO, t, numbered(n, (4, 6)))}
    for t0 in starts:
        inside = np.flatnonzero((t >= t0) & (t < t0 + SECOND))
        assert (t0 in frames) == (len(inside) > 0)
        if len(inside):
            assert frames[t0].values[0, 0, 0] == next((i for i in inside if is_slow(t, i)), inside[-1])
        picks, quality = nearest_frames(t, t0)
        assert (t0 in clips) == (quality >= 0.5)
        if quality >= 0.5:
            assert clips[t0].quality == quality
            shown = clips[t0].values[:, 0, 0, 0].tolist()
            assert all(pick is None or pick == value for pick, value in zip(picks, shown, strict=True))
            assert set(shown) == {pick for pick in picks if pick is not None}
    assert set(frames) | set(clips) <= set(starts)


@st.composite
def recordings(draw):
    """Frames at uneven times, sometimes disordered, with pauses and steps of the clock, and where to break them up."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    rate = draw(st.sampled_from([0.3, 1.0, 4.0, 9.0, 30.0]))
    n = draw(st.integers(1, 80))
    t = times(rate, n / rate + 1, T0 + draw(st.integers(0, SECOND)))[:n]
    t = t + rng.normal(0, draw(st.sampled_from([0.0, 0.01, 0.2])) * SECOND, n).astype(np.int64)
    t[n // 2 :] += draw(st.sampled_from([0, 1_700_000_000, 50 * SECOND, -300_000_000, -50 * SECOND]))
    breaks = draw(st.lists(st.integers(0, n), max_size=30))
    return t, rng.random((n, 5, 7, 3), np.float32), sorted({0, n, *breaks})


@pytest.mark.parametrize("stream", [IMAGE, VIDEO, Stream("v", "video", "room", 12.5, 1.0, 0.3, size=(5, 4))])
@settings(max_examples=60, deadline=None)
@given(recordings())
def test_windows_do_not_depend_on_how_the_frames_were_chunked(stream, recording):
    t, values, breaks = recording
    values[values[..., 0, 0, 0] < 0.1] = np.nan
    cutter = cutter_for(stream)
    streamed = [w for i, j in pairwise(breaks) for w in cutter.push(Reading(t[i:j], values[i:j]))]
    streamed += cutter.flush()
    whole = cut(stream, t, values)
    assert same(streamed, whole)
    assert all(0.5 <= w.quality <= 1.0 and np.isfinite(w.values).all() and w.t0 % stream.hop_ns == 0 for w in whole)
    assert all(w.values.shape == stream.shape for w in whole)


@pytest.mark.parametrize(
    "stream, rate, latest",
    [(IMAGE, 10.0, 0.0), (VIDEO, 10.0, 0.0), (VIDEO, 30.0, -0.09)],
    ids=["frame", "clip", "fast"],
)
def test_a_window_comes_as_soon_as_a_frame_makes_it_certain(stream, rate, latest):
    cutter, t = cutter_for(stream), times(rate, 4.0, T0)
    for moment in t:
        for window in cutter.push(Reading(np.array([moment]), numbered(1))):
            after = (moment - window.t0) / SECOND - stream.window_s
            assert after <= latest + 1e-6
            assert after >= -1 / stream.rate


@pytest.mark.parametrize("every_s", [1.1, 2.0, 5.0, 600.0])
def test_each_frame_of_a_slow_camera_makes_its_windows_when_it_comes(every_s):
    cutter, t = cutter_for(IMAGE), times(1 / every_s, 6 * every_s, T0 + 100_000_000)
    for i, moment in enumerate(t):
        windows = cutter.push(Reading(np.array([moment]), numbered(6)[i : i + 1]))
        if i >= 2:  # two pauses running make a camera slow; by the third frame those before have theirs, too
            newest, windows = moment // HALF * HALF, windows[-2:] if i == 2 else windows
            assert [(w.t0, w.values[0, 0, 0]) for w in windows] == [(newest - HALF, i), (newest, i)]
            assert [w.quality for w in windows] == [1 - (w.t0 + SECOND - moment) / SECOND / 2 for w in windows]
    assert cutter.flush() == []


def test_frames_that_come_in_bursts_are_shown_as_before():
    """A pause before a burst makes no camera slow: windows wait for their newest frame."""
    t = np.concatenate([times(10, 1.0), times(10, 1.0, T0 + 5 * SECOND), times(10, 1.0, T0 + 10 * SECOND)])
    shown = {(w.t0 - T0) / SECOND: w.values[0, 0, 0] for w in cut(IMAGE, t, numbered(30))}
    assert [shown[start] for start in (0, 4.5, 5, 9.5, 10)] == [9, 14, 19, 24, 29]


def test_flush_gives_what_waits_and_a_new_run_may_start():
    for stream in (IMAGE, VIDEO):
        cutter = cutter_for(stream)
        t = times(10, 1.6)
        waited = cutter.push(Reading(t, numbered(16)))
        assert {w.t0 - T0 for w in waited}.isdisjoint({w.t0 - T0 for w in cutter.flush()})
        assert cutter.flush() == []
        again = cutter.push(Reading(t, numbered(16)))
        assert same(waited, again)


@pytest.mark.parametrize("modality, most", [("image", 1), ("video", 14)])
def test_memory_stays_bounded_and_frames_are_kept_as_they_came(modality, most):
    cutter = cutter_for(Stream("s", modality, "room"))
    frames = np.zeros((6, 30, 40, 3), np.uint8)
    for k in range(200):
        cutter.push(Reading(times(60, 0.1, T0 + k * SECOND // 10), frames))
        assert len(cutter._t) <= most
        assert len(cutter._kept) + len(cutter._shown) <= most
        assert {frame.dtype for frame in cutter._kept.values()} <= {np.dtype(np.uint8)}
        assert not any(np.shares_memory(frame, frames) for frame in cutter._kept.values())
    assert cutter._source.shape[0] == 0


@pytest.mark.parametrize("stream, most", [(IMAGE, 6), (VIDEO, 24)])
def test_only_frames_that_are_shown_are_read_from_a_file_and_each_of_them_once(stream, most):
    rng = np.random.default_rng(0)
    reader = Reader(rng.integers(0, 255, (180, 10, 12, 3)).astype(np.uint8))
    t = times(60, 3.0)
    windows = windows_of(stream, t, reader, 1 / 255)
    first = next(windows)
    assert len(reader.read) <= 8
    rest = list(windows)
    assert len(reader.read) == len(set(reader.read)) <= most + 2
    whole = cut(stream, t, reader.values.astype(np.float32) * np.float32(1 / 255))
    assert same([first, *rest], whole)


@settings(max_examples=20, deadline=None)
@given(st.sampled_from(["image", "video", "depth", "thermal"]), st.integers(0, 2**32))
def test_integers_with_a_scale_are_the_numbers_that_they_stand_for(modality, seed):
    rng = np.random.default_rng(seed)
    row = MODALITIES[modality]
    stream = Stream("s", modality, "room", size=(6, 5))
    values = rng.integers(0, 250, (20, 9, 11, len(row.channels))).astype("<" + row.dtype)
    t = times(7, 20 / 7)
    physical = values.astype(np.float32) * np.float32(row.scale)
    assert same(cut(stream, t, values, row.scale), cut(stream, t, physical))


def test_integers_of_a_series_are_scaled_and_read_in_pieces(monkeypatch):
    import edge.windows

    stream = Stream("mic", "audio", "room")
    samples = np.random.default_rng(1).integers(-9999, 9999, (40_000, 1)).astype(np.int16)
    t, scale = times(16000, 2.5), 1 / 32768
    whole = cut(stream, t, samples.astype(np.float32) * np.float32(scale))
    monkeypatch.setattr(edge.windows, "_CHUNK", 7001)
    reader = Reader(samples)
    windows = windows_of(stream, t, reader, scale)
    first = next(windows)
    assert len(reader.read) < 28_000
    assert same([first, *windows], whole)
    assert reader.read == list(range(40_000))


def test_holes_of_a_range_sensor_are_averaged_into_nothing():
    values = np.full((4, 20, 20, 1), 3.0, np.float32)
    values[:, ::2, :] = 0
    (window, *_) = cut(DEPTH, times(2, 2.0), values)
    assert set(np.unique(window.values)) <= {0.0, 3.0}
    grey = cut(IMAGE, times(2, 2.0), np.repeat(values, 3, -1))[0]
    assert np.median(grey.values) == 1.5


def test_a_frame_that_is_not_finite_is_none():
    values = numbered(4)
    values[1] = np.nan
    t = T0 + np.arange(4) * SECOND
    shown = [(w.t0 - T0) / SECOND for w in cut(IMAGE, t, values) if (w.t0 - T0) % SECOND == 0]
    assert shown == [0, 2, 3]
    clip = numbered(16, (4, 6))
    clip[9] = np.inf
    window = next(w for w in cut(VIDEO, times(8, 2.0), clip) if w.t0 == T0 + SECOND)
    assert window.quality == 0.875
    assert window.values[:, 0, 0, 0].tolist() == [8, 8, 10, 11, 12, 13, 14, 15]


def test_windows_share_no_memory():
    a, b, *_ = cut(IMAGE, np.array([T0 + HALF]), numbered(1))
    a.values[:] = 7
    assert b.values.max() == 0


@pytest.mark.parametrize("modality", [m for m, row in MODALITIES.items() if "height" in row.axes])
def test_every_modality_of_frames_is_cut_to_its_shape(modality):
    stream = Stream("s", modality, "room")
    row = MODALITIES[modality]
    assert stream.size == row.size
    assert stream.shape[-3:] == (*row.size, len(row.channels))
    frames = np.random.default_rng(0).uniform(0.1, 1.0, (24, 50, 70, len(row.channels))).astype(np.float32)
    windows = cut(stream, times(8, 3.0), frames)
    assert len(windows) >= 5
    assert all(w.values.shape == stream.shape and w.values.max() <= 1.0 for w in windows)
    values = show(frames[7], stream.size)
    if modality not in {"video", "depth", "lidar"}:
        assert np.array_equal(next(w for w in windows if w.t0 == T0).values, values)


@pytest.mark.parametrize("modality", MODALITIES)
def test_each_stream_has_the_cutter_of_its_kind(modality):
    axes = MODALITIES[modality].axes
    wanted = {1: WindowCutter, 2: FrameCutter, 3: ClipCutter}[len(axes)]
    assert type(cutter_for(Stream("s", modality, "room"))) is wanted
    for other in {WindowCutter, FrameCutter} - {wanted, *wanted.__mro__}:
        with pytest.raises(ConfigError, match="series"):
            other(Stream("s", modality, "room"))


@pytest.mark.parametrize("shape", [(3, 8, 8), (3, 8, 8, 4), (2, 8, 8, 3), (3, 0, 8, 3)])
def test_frames_of_a_wrong_shape_are_an_error(shape):
    with pytest.raises(ConfigError, match="3 channels"):
        cut(IMAGE, times(2, 1.5), np.zeros(shape, np.float32))


@pytest.mark.parametrize(
    "arguments, words",
    [
        ({"modality": "image", "size": (2, 64)}, "4..512"),
        ({"modality": "image", "size": (64, 513)}, "4..512"),
        ({"modality": "video", "size": (0, 64)}, "4..512"),
        ({"modality": "imu", "size": (8, 8)}, "series"),
        ({"modality": "imu", "channels": 5}, "6 channels, up to 9"),
        ({"modality": "image", "channels": 1}, "3 channels"),
    ],
)
def test_sizes_and_channels_that_cannot_be_cut_say_why(arguments, words):
    with pytest.raises(ConfigError, match=words):
        Stream("x", placement="room", **arguments)


def test_the_shape_of_windows_is_known_beforehand():
    assert Stream("s", "imu", "wrist").shape == (50, 6)
    assert Stream("s", "imu", "wrist", channels=9).shape == (50, 9)
    assert Stream("s", "image", "room", size=[16, 24]).shape == (16, 24, 3)
    assert Stream("s", "video", "room", rate=4.0).shape == (4, 32, 32, 3)
    assert Stream("s", "depth", "room", rate=0.1).shape == (48, 64, 1)


@pytest.mark.parametrize("channels", [6, 7, 9])
def test_a_series_takes_the_channels_that_the_sensor_brings(channels):
    stream = Stream("imu", "imu", "wrist")
    t = times(50, 3.0)
    windows = cut(stream, t, np.ones((len(t), channels), np.float32))
    assert len(windows) >= 4
    assert all(w.values.shape == (50, channels) for w in windows)


def test_another_number_of_channels_within_a_run_is_an_error_that_names_both():
    stream = Stream("imu", "imu", "wrist")
    t = times(50, 1.5)
    cutter = WindowCutter(stream)
    cutter.push(Reading(t, np.zeros((len(t), 6), np.float32)))
    with pytest.raises(ConfigError, match="9 channels after 6"):
        cutter.push(Reading(t + 2 * SECOND, np.zeros((len(t), 9), np.float32)))
    cutter.flush()
    assert cutter.push(Reading(t, np.zeros((len(t), 9), np.float32)))[0].values.shape == (50, 9)
    with pytest.raises(ConfigError, match="set to 6 channels"):
        cut(Stream("imu", "imu", "wrist", channels=6), t, np.zeros((len(t), 9), np.float32))
    with pytest.raises(ConfigError, match="up to 9"):
        cut(stream, t, np.zeros((len(t), 10), np.float32))
