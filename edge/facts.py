"""What arithmetic can tell of a window: named numbers with units, computed on the device and sent with the frame.

Every fact is a function of the window alone, with its formula in its docstring: the same samples give the same
number anywhere. What a fact means for the person is none of this module's business.

Notation: a_i acceleration with gravity (m/s2), w_i turn rate (rad/s), x_i sound (full scale 1), n samples,
dt = 1 / rate, m(.) the mean over the window, P(f) the power spectrum under a Hann window.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from edge.windows import Window

Floats = NDArray[np.float64]

_TINY = 1e-12
_SILENCE_DB = -120.0
_FRAME_S = 0.02  # sound levels over time are taken over frames of this
_ONSET_DB = 6.0
_PITCH_HZ = (60.0, 1500.0)
_VOICED = 0.3


def _power(x: Floats, rate: float) -> tuple[Floats, Floats]:
    """(frequencies, power) of a signal under a Hann window; the mean is taken out first."""
    spectrum = np.fft.rfft((x - x.mean()) * np.hanning(len(x) + 2)[1:-1])
    frequency: Floats = np.fft.rfftfreq(len(x), 1.0 / rate).astype(np.float64)
    return frequency, spectrum.real**2 + spectrum.imag**2


class Motion:
    """An imu window's signals, each computed once."""

    def __init__(self, window: Window) -> None:
        values = window.values.astype(np.float64)
        self.acc, self.gyro, self.rate = values[:, :3], values[:, 3:6], window.rate

    @cached_property
    def size(self) -> Floats:
        """(n,) |a_i|."""
        length: Floats = np.linalg.norm(self.acc, axis=1)
        return length

    @cached_property
    def gravity(self) -> Floats:
        """(3,) m(a)."""
        mean: Floats = self.acc.mean(0)
        return mean

    @cached_property
    def power(self) -> tuple[Floats, Floats]:
        """Spectrum of |a_i|."""
        return _power(self.size, self.rate)


def imu_rms(s: Motion) -> float:
    """Moving acceleration: sqrt(m(|a_i - m(a)|^2))."""
    return float(np.sqrt(np.mean(np.sum((s.acc - s.gravity) ** 2, axis=1))))


def imu_peak(s: Motion) -> float:
    """Greatest acceleration: max |a_i|."""
    return float(s.size.max())


def imu_peak_time(s: Motion) -> float:
    """When the greatest acceleration was, from the window's start: dt * argmax |a_i|."""
    return float(s.size.argmax() / s.rate)


def imu_jerk(s: Motion) -> float:
    """How suddenly acceleration changes: sqrt(m(|a_i+1 - a_i|^2)) / dt."""
    return float(np.sqrt(np.mean(np.sum(np.diff(s.acc, axis=0) ** 2, axis=1))) * s.rate) if len(s.acc) > 1 else 0.0


def imu_frequency(s: Motion) -> float:
    """Dominant frequency of motion: argmax P(f) of |a_i|, f > 0; 0 where nothing moves."""
    f, power = s.power
    return float(f[power[1:].argmax() + 1]) if len(f) > 1 and power[1:].max() > _TINY else 0.0


def imu_regularity(s: Motion) -> float:
    """Strength of the dominant frequency k: (P_k-1 + P_k + P_k+1) / sum(P), 0 to 1; 0 where nothing moves."""
    power = s.power[1][1:]
    if not len(power) or power.max() <= _TINY:
        return 0.0
    k = int(power.argmax())
    return float(power[max(k - 1, 0) : k + 2].sum() / power.sum())


def imu_tilt(s: Motion) -> float:
    """Angle between the device's z axis and the vertical: acos(m(a)_z / |m(a)|); 0 lying face up, 180 face down."""
    return float(np.degrees(np.arctan2(np.hypot(s.gravity[0], s.gravity[1]), s.gravity[2])))


def imu_turn_rms(s: Motion) -> float:
    """Turning in any direction: sqrt(m(|w_i|^2))."""
    return float(np.sqrt(np.mean(np.sum(s.gyro**2, axis=1))))


def imu_turn_peak(s: Motion) -> float:
    """Fastest turning: max |w_i|."""
    return float(np.linalg.norm(s.gyro, axis=1).max())


def imu_turned(s: Motion) -> float:
    """Angle turned about the vertical, counter-clockwise from above: sum(w_i . m(a) / |m(a)|) dt."""
    length = float(np.linalg.norm(s.gravity))
    return float(np.degrees((s.gyro @ s.gravity).sum() / length / s.rate)) if length > _TINY else 0.0


class Sound:
    """An audio window's signals, each computed once."""

    def __init__(self, window: Window) -> None:
        self.x, self.rate = window.values[:, 0].astype(np.float64), window.rate

    @cached_property
    def rms(self) -> float:
        """sqrt(m(x_i^2))."""
        return float(np.sqrt(np.mean(self.x**2)))

    @cached_property
    def power(self) -> tuple[Floats, Floats]:
        """Spectrum of the sound, f > 0."""
        f, power = _power(self.x, self.rate)
        return f[1:], power[1:]

    @cached_property
    def total(self) -> float:
        """Sum of the spectrum; at least a tiny number, so that silence divides."""
        return max(float(self.power[1].sum()), _TINY)

    @cached_property
    def levels(self) -> Floats:
        """(frames,) level of each 20 ms in dB of full scale."""
        step = max(1, round(_FRAME_S * self.rate))
        frames = self.x[: len(self.x) // step * step].reshape(-1, step)
        return _decibel(np.sqrt(np.mean(frames**2, axis=1)))

    @cached_property
    def echo(self) -> tuple[float, float]:
        """(lag in samples, height 0 to 1) of the highest peak of the autocorrelation between the pitch limits.

        The sum at each lag is over the samples that overlap, divided by their own energies; peaks at multiples of the
        lag are as high, so the first one within a tenth of the highest counts.
        """
        low, high = round(self.rate / _PITCH_HZ[1]), min(round(self.rate / _PITCH_HZ[0]), len(self.x) // 2)
        x = self.x - self.x.mean()
        energy = np.concatenate([[0.0], np.cumsum(x**2)])
        if high - low < 3 or energy[-1] <= _TINY:
            return 0.0, 0.0
        size = 1 << (2 * len(x) - 1).bit_length()
        spectrum = np.fft.rfft(x, size)
        raw = np.fft.irfft(spectrum * spectrum.conj(), size)
        lags = np.arange(low, high + 1)
        overlap = np.sqrt(energy[len(x) - lags] * (energy[-1] - energy[lags]))
        height = raw[lags] / np.maximum(overlap, _TINY)
        left, inner, right = height[:-2], height[1:-1], height[2:]
        at = np.flatnonzero((inner >= left) & (inner > right) & (inner > 0))
        if not len(at):
            return 0.0, 0.0
        bend = left[at] - 2 * inner[at] + right[at]  # a parabola through three points finds the peak between samples
        aside = 0.5 * (left[at] - right[at]) / bend
        peak = inner[at] - 0.25 * (left[at] - right[at]) * aside
        first = int(np.flatnonzero(peak >= 0.9 * peak.max())[0])
        return float(lags[at[first] + 1] + aside[first]), float(np.clip(peak[first], 0.0, 1.0))


def _decibel(amplitude: Floats) -> Floats:
    decibel: Floats = 20 * np.log10(np.maximum(amplitude, 10 ** (_SILENCE_DB / 20)))
    return decibel


def audio_level(s: Sound) -> float:
    """Loudness: 20 log10 sqrt(m(x_i^2)), at least -120."""
    return float(_decibel(np.array(s.rms)))


def audio_peak(s: Sound) -> float:
    """Greatest amplitude: max |x_i|."""
    return float(np.abs(s.x).max())


def audio_crest(s: Sound) -> float:
    """How much it sticks out: 20 log10(max |x_i| / sqrt(m(x_i^2))); 0 in silence. A sine has 3.01."""
    return float(20 * np.log10(np.abs(s.x).max() / s.rms)) if s.rms > _TINY else 0.0


def audio_zero_crossings(s: Sound) -> float:
    """Changes of sign per second: count(x_i x_i+1 < 0) / (n dt)."""
    return float(np.count_nonzero(s.x[:-1] * s.x[1:] < 0) * s.rate / len(s.x))


def audio_centroid(s: Sound) -> float:
    """Middle of the spectrum: sum(f P) / sum(P); 0 in silence."""
    f, power = s.power
    return float((f @ power) / s.total)


def audio_bandwidth(s: Sound) -> float:
    """Width of the spectrum: sqrt(sum((f - centroid)^2 P) / sum(P))."""
    f, power = s.power
    return float(np.sqrt(((f - audio_centroid(s)) ** 2 @ power) / s.total))


def audio_rolloff(s: Sound) -> float:
    """Frequency below which 85 % of the power lies: min f with sum(P up to f) >= 0.85 sum(P); 0 in silence."""
    f, power = s.power
    if s.total <= _TINY:
        return 0.0
    return float(f[np.searchsorted(np.cumsum(power), 0.85 * power.sum())])


def audio_flatness(s: Sound) -> float:
    """Noise or tone: exp(m(ln P)) / m(P); 1 is white, 0 one tone or silence."""
    power = s.power[1]
    if s.total <= _TINY:
        return 0.0
    return float(np.exp(np.mean(np.log(power + _TINY * s.total))) / np.mean(power + _TINY * s.total))


def audio_onsets(s: Sound) -> float:
    """Sounds that begin: count(L_j >= L_j-1 + 6 and L_j >= median(L) + 6) over the levels L of 20 ms frames, dB."""
    if len(s.levels) < 2:
        return 0.0
    rises = np.diff(s.levels) >= _ONSET_DB
    return float(np.count_nonzero(rises & (s.levels[1:] >= np.median(s.levels) + _ONSET_DB)))


def audio_pitch(s: Sound) -> float:
    """Pitch, 60 to 1500 Hz: rate / lag of the highest normalised autocorrelation; 0 where that is below 0.3."""
    lag, height = s.echo
    return s.rate / lag if height >= _VOICED else 0.0


def audio_voicing(s: Sound) -> float:
    """How truly it repeats, at the pitch's lag L: sum(x_i x_i+L) / sqrt(sum(x_i^2) sum(x_i+L^2)), 0 to 1."""
    return s.echo[1]


S = TypeVar("S")


@dataclass(frozen=True, slots=True)
class Fact(Generic[S]):
    """One fact: its unit ("1" for a share, "count" for a number of things) and how it is computed."""

    unit: str
    of: Callable[[S], float]


IMU: dict[str, Fact[Motion]] = {
    "imu.rms": Fact("m/s2", imu_rms),
    "imu.peak": Fact("m/s2", imu_peak),
    "imu.peak_time": Fact("s", imu_peak_time),
    "imu.jerk": Fact("m/s3", imu_jerk),
    "imu.frequency": Fact("Hz", imu_frequency),
    "imu.regularity": Fact("1", imu_regularity),
    "imu.tilt": Fact("deg", imu_tilt),
    "imu.turn_rms": Fact("rad/s", imu_turn_rms),
    "imu.turn_peak": Fact("rad/s", imu_turn_peak),
    "imu.turned": Fact("deg", imu_turned),
}

AUDIO: dict[str, Fact[Sound]] = {
    "audio.level": Fact("dB", audio_level),
    "audio.peak": Fact("full scale", audio_peak),
    "audio.crest": Fact("dB", audio_crest),
    "audio.zero_crossings": Fact("1/s", audio_zero_crossings),
    "audio.centroid": Fact("Hz", audio_centroid),
    "audio.bandwidth": Fact("Hz", audio_bandwidth),
    "audio.rolloff": Fact("Hz", audio_rolloff),
    "audio.flatness": Fact("1", audio_flatness),
    "audio.onsets": Fact("count", audio_onsets),
    "audio.pitch": Fact("Hz", audio_pitch),
    "audio.voicing": Fact("1", audio_voicing),
}

HOST = {"host.temperature": "degC", "host.fan": "rpm", "host.battery": "%"}

FACTS: dict[str, str] = {name: fact.unit for table in (IMU, AUDIO) for name, fact in table.items()} | HOST
"""Unit of every fact there is, by name."""


def facts(window: Window) -> dict[str, float]:
    """All facts of the window's modality, finite numbers in the units of FACTS; empty for a modality without any."""
    if window.stream.modality == "imu":
        motion = Motion(window)
        return {name: fact.of(motion) for name, fact in IMU.items()}
    if window.stream.modality == "audio":
        sound = Sound(window)
        return {name: fact.of(sound) for name, fact in AUDIO.items()}
    return {}
