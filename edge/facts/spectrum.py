"""The power spectrum that facts of motion and of sound are read from."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

TINY = 1e-12
"""Power below this is none."""


def power_spectrum(x: Floats, rate: float) -> tuple[Floats, Floats]:
    """(frequencies, power) of a signal under a Hann window; the mean is taken out first."""
    spectrum = np.fft.rfft((x - x.mean()) * np.hanning(len(x) + 2)[1:-1])
    frequency: Floats = np.fft.rfftfreq(len(x), 1.0 / rate).astype(np.float64)
    return frequency, spectrum.real**2 + spectrum.imag**2
