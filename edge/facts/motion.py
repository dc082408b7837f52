"""Facts of motion: how strongly, how regularly and which way an inertial sensor moves and turns.

a_i is the acceleration with gravity (m/s2), w_i the turn rate (rad/s), n the number of samples, dt = 1 / rate, m(.) the
mean over the window, P(f) the power spectrum under a Hann window.
"""

from functools import cached_property

import numpy as np

from edge.facts.spectrum import TINY, Floats, power_spectrum
from edge.stream import Window


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
        return power_spectrum(self.size, self.rate)


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
    return float(f[power[1:].argmax() + 1]) if len(f) > 1 and power[1:].max() > TINY else 0.0


def imu_regularity(s: Motion) -> float:
    """Strength of the dominant frequency k: (P_k-1 + P_k + P_k+1) / sum(P), 0 to 1; 0 where nothing moves."""
    power = s.power[1][1:]
    if not len(power) or power.max() <= TINY:
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
    return float(np.degrees((s.gyro @ s.gravity).sum() / length / s.rate)) if length > TINY else 0.0
