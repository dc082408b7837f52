"""Facts of sound: how loud it is, how high, how rough, and whether something begins in it.

x_i is the sound (full scale 1), n the number of samples, dt = 1 / rate, m(.) the mean over the window, P(f) the power
spectrum under a Hann window.
"""

from functools import cached_property

import numpy as np

from edge.facts.spectrum import TINY, Floats, power_spectrum
from edge.stream import Window

_SILENCE_DB = -120.0
_FRAME_S = 0.02  # sound levels over time are taken over frames of this
_ONSET_DB = 6.0
_PITCH_HZ = (60.0, 1500.0)
_VOICED = 0.3


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
        f, found = power_spectrum(self.x, self.rate)
        return f[1:], found[1:]

    @cached_property
    def total(self) -> float:
        """Sum of the spectrum; at least a tiny number, so that silence divides."""
        return max(float(self.power[1].sum()), TINY)

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
        if high - low < 3 or energy[-1] <= TINY:
            return 0.0, 0.0
        size = 1 << (2 * len(x) - 1).bit_length()
        spectrum = np.fft.rfft(x, size)
        raw = np.fft.irfft(spectrum * spectrum.conj(), size)
        lags = np.arange(low, high + 1)
        overlap = np.sqrt(energy[len(x) - lags] * (energy[-1] - energy[lags]))
        height = raw[lags] / np.maximum(overlap, TINY)
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
    return float(20 * np.log10(np.abs(s.x).max() / s.rms)) if s.rms > TINY else 0.0


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
    if s.total <= TINY:
        return 0.0
    return float(f[np.searchsorted(np.cumsum(power), 0.85 * power.sum())])


def audio_flatness(s: Sound) -> float:
    """Noise or tone: exp(m(ln P)) / m(P); 1 is white, 0 one tone or silence."""
    power = s.power[1]
    if s.total <= TINY:
        return 0.0
    return float(np.exp(np.mean(np.log(power + TINY * s.total))) / np.mean(power + TINY * s.total))


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
