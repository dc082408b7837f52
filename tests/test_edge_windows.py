"""Windows: the grid, the anti-aliasing, gaps, and the same windows however the samples came in."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.errors import ConfigError
from broker.modalities import MODALITIES
from edge.resample import even_out
from edge.sensors import Reading
from edge.windows import SECOND, Stream, WindowCutter, cut

IMU = Stream("imu", "imu", "wrist")
AUDIO = Stream("mic", "audio", "room")
T0 = 1_700_000_000 * SECOND


def times(rate: float, seconds: float, start: int = T0) -> np.ndarray:
    return start + np.rint(np.arange(round(seconds * rate)) * SECOND / rate).astype(np.int64)


def sine(t: np.ndarray, hertz: float, channels: int = 6) -> np.ndarray:
    wave = np.sin(2 * np.pi * hertz * (t - T0) / SECOND).astype(np.float32)
    return np.repeat(wave[:, None], channels, 1)


def amplitude(windows: list) -> float:
    return float(np.sqrt(2 * np.mean([w.values[:, 0] ** 2 for w in windows[1:-1]])))


def same(a: list, b: list) -> bool:
    return len(a) == len(b) and all(
        x.t0 == y.t0 and x.quality == y.quality and np.array_equal(x.values, y.values)
        for x, y in zip(a, b, strict=True)
    )


def test_windows_start_on_the_grid_since_1970_and_overlap_by_half():
    t = times(100, 4.0, T0 + 130_000_000)
    windows = cut(IMU, t, sine(t, 2))
    assert [w.t0 - T0 for w in windows] == [SECOND // 2 * k for k in range(1, 7)]
    assert all(w.values.shape == (50, 6) and w.values.dtype == np.float32 and w.quality == 1.0 for w in windows)


@pytest.mark.parametrize("rate", [50, 100, 104.4, 200, 1000])
@pytest.mark.parametrize("hertz", [1.0, 5.0, 10.0])
def test_a_sine_below_nyquist_survives_with_its_phase(rate, hertz):
    t = times(rate, 5.0)
    for window in cut(IMU, t, sine(t, hertz))[1:-1]:
        wanted = np.sin(2 * np.pi * hertz * (np.arange(50) / 50 + (window.t0 - T0) / SECOND))
        assert np.abs(window.values[:, 0] - wanted).max() < 0.06


@pytest.mark.parametrize("hertz", [32.0, 40.0, 47.0])
def test_a_sine_above_nyquist_is_attenuated(hertz):
    t = times(200, 5.0)
    assert amplitude(cut(IMU, t, sine(t, hertz))) < 0.02


@pytest.mark.parametrize("rate", [8000, 16000, 44100, 48000])
def test_sound_keeps_its_band_at_any_source_rate(rate):
    t = times(rate, 3.0)
    assert amplitude(cut(AUDIO, t, sine(t, 3000, 1))) == pytest.approx(1.0, abs=1e-3)


def test_sound_above_nyquist_is_gone():
    t = times(48000, 3.0)
    assert amplitude(cut(AUDIO, t, sine(t, 11000, 1))) < 1e-3


def test_sound_on_the_grid_is_passed_through_to_the_bit():
    t = times(16000, 2.5)
    values = sine(t, 440, 1)
    windows = cut(AUDIO, t, values)
    assert len(windows) == 4
    assert all(np.array_equal(w.values, values[i * 8000 : i * 8000 + 16000]) for i, w in enumerate(windows))


def test_sound_from_a_clock_that_is_a_little_off_has_no_clicks():
    t = times(16000.9, 3.0)
    for window in cut(AUDIO, t, sine(t, 100, 1))[1:-1]:
        assert np.abs(np.diff(window.values[:, 0])).max() < 1.1 * 2 * np.pi * 100 / 16000


def test_bunched_stamps_are_spread_out():
    """Samples measured every 10 ms but stamped three at a time, as phones deliver them."""
    measured = times(100, 6.0)
    stamped = measured[np.minimum(np.arange(len(measured)) // 3 * 3 + 2, len(measured) - 1)]
    true, bunched = (cut(IMU, t, sine(measured, 4)) for t in (measured, stamped))
    evened = even_out((stamped - T0) / SECOND, 0.12)
    assert np.abs(np.diff(evened) - 0.01).max() < 0.005
    late = np.mean(stamped - measured) / SECOND
    for a, b in zip(true[1:-1], bunched[1:-1], strict=True):
        assert np.abs(a.values - b.values).max() < 2 * np.pi * 4 * late + 0.1
        assert b.quality == 1.0


def test_jitter_of_delivery_makes_no_false_vibration():
    rng = np.random.default_rng(0)
    measured = times(100, 20.0)
    stamped = np.maximum.accumulate(measured + (rng.exponential(0.008, len(measured)) * SECOND).astype(np.int64))
    naive = np.interp(times(50, 18.0, T0 + SECOND), stamped, sine(measured, 3)[:, 0])
    ours = np.concatenate([w.values[:25, 0] for w in cut(IMU, stamped, sine(measured, 3))[2:-2]])

    def false_power(x: np.ndarray) -> float:
        power = np.abs(np.fft.rfft(x * np.hanning(len(x)))) ** 2
        return float(power[np.fft.rfftfreq(len(x), 1 / 50) > 5].sum() / power.sum())

    assert false_power(ours) < 0.2 * false_power(naive)


def test_a_short_gap_is_bridged_and_marked():
    t = times(100, 4.0)
    kept = (t < T0 + 1.2 * SECOND) | (t >= T0 + 1.6 * SECOND)
    quality = {w.t0 - T0: w.quality for w in cut(IMU, t[kept], sine(t[kept], 1))}
    assert quality[0] == 1.0
    assert quality[SECOND] == pytest.approx(0.6, abs=0.03)
    assert quality[2 * SECOND] == 1.0


def test_values_that_are_not_finite_count_as_missing():
    t = times(100, 4.0)
    values = sine(t, 1)
    values[120:160, 2] = np.nan
    kept = np.isfinite(values).all(1)
    assert same(cut(IMU, t, values), cut(IMU, t[kept], values[kept]))
    assert all(np.isfinite(w.values).all() for w in cut(IMU, t, values))


def test_a_gap_in_sound_is_silence_and_marked():
    t = times(16000, 2.0)
    kept = (t < T0 + 0.5 * SECOND) | (t >= T0 + 0.7 * SECOND)
    window = cut(AUDIO, t[kept], np.ones((kept.sum(), 1), np.float32))[0]
    assert window.quality == pytest.approx(0.8, abs=0.01)
    assert window.values[8100:11100].max() == 0.0
    assert window.values[11300:].min() == 1.0


def test_a_window_of_which_most_is_missing_is_not_made():
    t = times(100, 3.0)
    kept = (t < T0 + 1.1 * SECOND) | (t >= T0 + 1.9 * SECOND)
    assert [w.t0 - T0 for w in cut(IMU, t[kept], sine(t[kept], 1))] == [0, SECOND // 2, 3 * SECOND // 2, 2 * SECOND]


def test_a_long_pause_makes_no_windows_even_after_fifty_years():
    early, late = times(100, 2.0, 0), times(100, 2.0)
    t = np.concatenate([early, late])
    windows = cut(IMU, t, np.zeros((len(t), 6), np.float32))
    assert [w.t0 for w in windows] == [0, SECOND // 2, SECOND, T0, T0 + SECOND // 2, T0 + SECOND]


def test_a_clock_that_steps_back_starts_afresh():
    t = np.concatenate([times(100, 2.0, T0 + 100 * SECOND), times(100, 2.0)])
    windows = cut(IMU, t, np.zeros((len(t), 6), np.float32))
    assert [w.t0 // SECOND - T0 // SECOND for w in windows] == [100, 100, 101, 0, 0, 1]


@st.composite
def recordings(draw):
    """Jittery, bunched, broken, sometimes disordered samples, and where to break them into readings."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    rate = draw(st.sampled_from([25.0, 50.0, 100.0, 190.0]))
    n = draw(st.integers(1, int(5 * rate)))
    t = times(rate, n / rate, T0 + draw(st.integers(0, SECOND)))[:n]
    t = t + (rng.exponential(draw(st.sampled_from([0.0, 0.004, 0.03])), n) * SECOND).astype(np.int64)
    if draw(st.booleans()):
        t = np.maximum.accumulate(t)
    jump = draw(st.sampled_from([0, 300_000_000, 5 * SECOND, -5 * SECOND]))
    t[n // 2 :] += jump
    values = rng.standard_normal((n, 6)).astype(np.float32)
    values[rng.random(n) < draw(st.sampled_from([0.0, 0.1]))] = np.nan
    breaks = draw(st.lists(st.integers(0, n), max_size=30))
    return t, values, sorted({0, n, *breaks})


@settings(max_examples=150, deadline=None)
@given(recordings())
def test_windows_do_not_depend_on_how_the_samples_were_chunked(recording):
    t, values, breaks = recording
    cutter = WindowCutter(IMU)
    streamed = [w for i, j in pairwise(breaks) for w in cutter.push(Reading(t[i:j], values[i:j]))]
    streamed += cutter.flush()
    whole = cut(IMU, t, values)
    assert same(streamed, whole)
    assert all(0.5 <= w.quality <= 1.0 and np.isfinite(w.values).all() and w.t0 % IMU.hop_ns == 0 for w in whole)


@settings(max_examples=25, deadline=None)
@given(st.sampled_from([16000, 44100]), st.lists(st.integers(1, 9000), min_size=1, max_size=20), st.integers(0, SECOND))
def test_sound_does_not_depend_on_how_it_was_chunked(rate, sizes, offset):
    t = times(rate, 2.2, T0 + offset)
    values = np.random.default_rng(offset).standard_normal((len(t), 1)).astype(np.float32)
    cutter, streamed, at = WindowCutter(AUDIO), [], 0
    for size in [*sizes, len(t)]:
        streamed += cutter.push(Reading(t[at : at + size], values[at : at + size]))
        at += size
    assert same(streamed + cutter.flush(), cut(AUDIO, t, values))


def test_a_window_comes_as_soon_as_its_samples_are_certain():
    cutter, t = WindowCutter(IMU), times(100, 3.0)
    seen = [len(cutter.push(Reading(t[i : i + 1], np.zeros((1, 6), np.float32)))) for i in range(len(t))]
    first = (int(t[seen.index(1)]) - T0) / SECOND
    assert 1.0 < first <= 1.25


def test_memory_stays_bounded():
    cutter = WindowCutter(IMU)
    for k in range(100):
        t = times(100, 1.0, T0 + k * SECOND)
        cutter.push(Reading(t, np.zeros((len(t), 6), np.float32)))
    assert len(cutter._t) < 250


@pytest.mark.parametrize(
    "arguments, words",
    [
        ({"modality": "smell"}, "smell.* camera, lidar$"),
        ({"modality": "imu", "rate": 1.0}, "25..200"),
        ({"modality": "imu", "hop_s": 2.0}, "hop"),
        ({"modality": "imu", "window_s": -1.0}, "window"),
    ],
)
def test_streams_that_cannot_be_cut_say_why(arguments, words):
    with pytest.raises(ConfigError, match=words):
        Stream("x", placement="wrist", **arguments)


def test_pictures_are_not_cut():
    with pytest.raises(ConfigError, match="not a time series"):
        WindowCutter(Stream("camera", "image", "room"))


def test_a_wrong_number_of_channels_is_an_error():
    with pytest.raises(ConfigError, match="6 channels"):
        cut(IMU, times(100, 2.0), np.zeros((200, 3), np.float32))


@pytest.mark.parametrize("modality", [m for m, row in MODALITIES.items() if row.axes == ("time",)])
def test_every_series_modality_is_cut(modality):
    stream = Stream("s", modality, "room")
    t = times(stream.rate, 12.0)
    windows = cut(stream, t, np.ones((len(t), len(stream.row.channels)), np.float32))
    assert len(windows) >= 20
    assert all(np.allclose(w.values, 1.0, atol=1e-6) for w in windows)
