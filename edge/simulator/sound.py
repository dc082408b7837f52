"""Ten kinds of sound event, synthesised, and the quiet room around them.

Each event is a function of (random numbers, seconds, rate in Hz) to a waveform of any level; what it shares with the
real thing is told in one line. The recipes keep to what makes an ear, and a log-mel spectrogram, take the one for the
other. This module knows nothing of when events happen.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Random = np.random.Generator


def _times(seconds: float, rate: float) -> Floats:
    return np.arange(round(seconds * rate)) / rate


def shaped_noise(rng: Random, n: int, rate: float, points: list[tuple[float, float]]) -> Floats:
    """(n,) noise of unit RMS; its spectrum runs straight between `points` (Hz, dB) over the logarithm of frequency."""
    hertz, decibel = np.array(points).T
    spectrum = np.fft.rfft(rng.standard_normal(n))
    f = np.log(np.maximum(np.fft.rfftfreq(n, 1 / rate), 1.0))
    spectrum *= 10 ** (np.interp(f, np.log(hertz), decibel) / 20)
    noise = np.fft.irfft(spectrum, n)
    unit: Floats = noise / max(float(np.sqrt(np.mean(noise**2))), 1e-12)
    return unit


def _harmonics(f0: Floats, rate: float, formants: Sequence[tuple[float, float, float]], tilt: float) -> Floats:
    """A voice: partials of a gliding pitch (n,) Hz, under resonances (Hz, width Hz, gain), weaker by k**-tilt."""
    phase = 2 * np.pi * np.cumsum(f0) / rate
    out = np.zeros_like(f0)
    for k in range(1, max(2, min(40, int(0.46 * rate / max(float(f0.max()), 40.0))))):
        f = k * f0
        gain = sum(g / (1 + ((f - centre) / width) ** 2) for centre, width, g in formants)
        out += k**-tilt * (gain + 0.02) * np.sin(k * phase)
    return out


def _envelope(n: int, attack: float, release: float, rate: float) -> Floats:
    i = np.arange(n) / rate
    return np.minimum(1.0, i / attack) * np.minimum(1.0, (n / rate - i) / release)


def _place(out: Floats, at: float, piece: Floats, rate: float) -> None:
    start = round(at * rate)
    piece = piece[: max(len(out) - start, 0)]
    out[start : start + len(piece)] += piece


def _slow(rng: Random, t: Floats, hertz: float) -> Floats:
    """(n,) a slow random curve of about unit variance."""
    knots = rng.standard_normal(int(t[-1] * hertz) + 4)
    x = t * hertz + rng.random()
    i = x.astype(np.int64)
    blend = (1 - np.cos(np.pi * (x - i))) / 2
    curve: Floats = knots[i] * (1 - blend) + knots[i + 1] * blend
    return curve


def dog_bark(rng: Random, seconds: float, rate: float) -> Floats:
    """Bursts of 0.1 to 0.25 s, a pitch that rises and falls around 500 Hz, with breath in it."""
    out, at = np.zeros(round(seconds * rate)), 0.0
    pitch, size = rng.uniform(280, 750), rng.uniform(0.1, 0.24)
    while at < seconds - size:
        u = _times(size * rng.uniform(0.85, 1.2), rate)
        x = u / u[-1]
        f0 = pitch * rng.uniform(0.92, 1.08) * (0.75 + 0.5 * np.sin(np.pi * x**0.7))
        voice = _harmonics(f0, rate, [(1.5 * pitch, 350, 1.0), (2.8 * pitch, 600, 0.7)], 0.4)
        breath = 0.25 * shaped_noise(rng, len(u), rate, [(50, -40), (600, 0), (1800, 0), (5000, -18), (8000, -25)])
        _place(out, at, (voice + breath * np.abs(voice).max()) * _envelope(len(u), 0.012, 0.09, rate), rate)
        at += len(u) / rate + rng.choice([rng.uniform(0.08, 0.3), rng.uniform(0.3, 0.6)])
    return out


def rain(rng: Random, seconds: float, rate: float) -> Floats:
    """Steady broad noise of a thousand drops, and some near ones."""
    n = round(seconds * rate)
    middle = rng.uniform(1000, 4000)
    curve = [(40, rng.uniform(-18, -2)), (300, -6), (middle, 0), (8000, rng.uniform(-12, 2))]
    drops = np.zeros(n)
    where = rng.integers(0, n, int(seconds * rng.uniform(40, 250)))
    np.add.at(drops, where, rng.exponential(1.0, len(where)))
    click = np.exp(-np.arange(60) / 12) * np.sin(2 * np.pi * rng.uniform(1500, 5000) * np.arange(60) / rate)
    return shaped_noise(rng, n, rate, curve) + rng.uniform(0.3, 1.2) * np.convolve(drops, click)[:n]


def sea_waves(rng: Random, seconds: float, rate: float) -> Floats:
    """Low noise that swells and breaks over seconds, brighter as it does."""
    t = _times(seconds, rate)
    swell = 0.5 + 0.5 * np.sin(2 * np.pi * t / rng.uniform(3.5, 8.0) + rng.uniform(0, 6.3)) + 0.1 * _slow(rng, t, 2)
    swell = np.clip(swell, 0.05, None)
    roar = shaped_noise(rng, len(t), rate, [(30, -8), (150, 0), (700, 0), (2000, -16), (8000, -38)])
    foam = shaped_noise(rng, len(t), rate, [(100, -30), (800, -4), (2500, 0), (8000, -10)])
    return roar * (0.35 + 0.65 * swell) + rng.uniform(0.12, 0.4) * foam * swell**2


def baby_cry(rng: Random, seconds: float, rate: float) -> Floats:
    """Cries of half a second to one and a half, 350 to 550 Hz, arched, full of harmonics up to 5 kHz."""
    out, at = np.zeros(round(seconds * rate)), 0.0
    pitch, formant = rng.uniform(340, 560), rng.uniform(1000, 1500)
    while at < seconds - 0.3:
        u = _times(min(rng.uniform(0.5, 1.5), seconds - at), rate)
        x = u / u[-1]
        arch = 0.8 + 0.25 * np.sin(np.pi * x ** rng.uniform(0.5, 1.0))
        f0 = pitch * arch * (1 + 0.015 * np.sin(2 * np.pi * rng.uniform(5, 8) * u) + 0.008 * _slow(rng, u, 25))
        voice = _harmonics(f0, rate, [(formant, 350, 1.0), (2.6 * formant, 700, 0.9), (4000, 900, 0.4)], 0.25)
        voice *= 1 + rng.uniform(0, 0.4) * np.sin(2 * np.pi * 70 * u)
        _place(out, at, voice * _envelope(len(u), 0.06, 0.12, rate), rate)
        at += len(u) / rate + rng.uniform(0.1, 0.4)
    return out


def clock_tick(rng: Random, seconds: float, rate: float) -> Floats:
    """A click of a few milliseconds, one to four times a second, exactly; every other one differs a little."""
    out, period = np.zeros(round(seconds * rate)), 1.0 / rng.choice([1.0, 2.0, 2.0, 3.0, 4.0])
    modes = rng.uniform(700, 6500, (2, 5))
    for k in range(int(seconds / period)):
        u = _times(0.05, rate)
        bank = modes[k % 2]
        click = sum(np.sin(2 * np.pi * f * u) * np.exp(-u / (0.002 + 4 / f)) for f in bank)
        knock = rng.standard_normal(len(u)) * np.exp(-u / 0.0015)
        _place(out, period * (k + 0.2), click * (1.0 if k % 2 else 0.7) + knock, rate)
    return out


def person_sneeze(rng: Random, seconds: float, rate: float) -> Floats:
    """A breath drawn in, then a voiced burst that turns into a hiss; again after a pause."""
    out, at = np.zeros(round(seconds * rate)), 0.0
    while at < seconds - 0.6:
        u = _times(rng.uniform(0.15, 0.3), rate)
        breath = shaped_noise(rng, len(u), rate, [(100, -30), (900, 0), (3000, -6), (8000, -20)]) * (u / u[-1]) ** 2
        _place(out, at, rng.uniform(0.05, 0.2) * breath, rate)
        at += len(u) / rate + 0.04
        u = _times(rng.uniform(0.25, 0.5), rate)
        x = u / u[-1]
        voice = _harmonics(rng.uniform(180, 420) * (1.15 - 0.5 * x), rate, [(800, 300, 1.0), (1600, 500, 0.6)], 0.3)
        hiss = shaped_noise(rng, len(u), rate, [(100, -24), (1000, -6), (2500, 0), (5000, 0), (8000, -8)])
        burst = voice / (np.abs(voice).max() + 1e-9) * np.exp(-x * 5) + 0.6 * hiss * np.exp(-((x - 0.2) ** 2) / 0.05)
        _place(out, at, burst * _envelope(len(u), 0.015, 0.15, rate), rate)
        at += len(u) / rate + rng.uniform(0.3, 0.7)
    return out


def helicopter(rng: Random, seconds: float, rate: float) -> Floats:
    """Noise, most of it below 500 Hz, chopped by blades 10 to 24 times a second, and a turbine's whine."""
    t = _times(seconds, rate)
    blades = 2 * np.pi * rng.uniform(10, 24) * t
    chop = np.clip(0.5 + 0.5 * np.cos(blades), 0, 1) ** rng.uniform(2, 6)
    low = shaped_noise(rng, len(t), rate, [(25, -4), (80, 0), (300, -4), (1000, -16), (4000, -30), (8000, -40)])
    high = shaped_noise(rng, len(t), rate, [(100, -30), (1500, 0), (8000, -6)])
    thump = sum(np.cos(k * blades) / k for k in range(2, 9))
    whine = np.sin(2 * np.pi * rng.uniform(500, 2600) * t)
    level = 1 + 0.15 * _slow(rng, t, 0.7)
    return level * (low * (0.45 + chop) + 0.5 * thump + rng.uniform(0.05, 0.2) * high * (0.3 + chop) + 0.02 * whine)


def chainsaw(rng: Random, seconds: float, rate: float) -> Floats:
    """A two-stroke engine: a buzz of 70 to 140 Hz with all its harmonics, revved up and down, rough."""
    t = _times(seconds, rate)
    revs = np.clip(1 + 0.22 * _slow(rng, t, rng.uniform(0.5, 1.5)), 0.6, 1.6)
    f0 = rng.uniform(70, 140) * revs * (1 + 0.01 * _slow(rng, t, 40))
    formants = [(300, 250, 1.0), (rng.uniform(800, 1400), 400, 0.9), (2600, 900, 0.6)]
    buzz = _harmonics(f0, rate, formants, 0.15)
    rough = shaped_noise(rng, len(t), rate, [(50, -20), (400, 0), (3000, -4), (8000, -14)])
    firing = 0.6 + 0.4 * np.sin(2 * np.pi * np.cumsum(f0) / rate)
    sawing: Floats = revs**2 * (buzz / (float(buzz.std()) + 1e-9) + rng.uniform(0.4, 1.0) * rough * firing)
    return sawing


def rooster(rng: Random, seconds: float, rate: float) -> Floats:
    """Cock-a-doodle-doo: four harmonic calls, 500 to 1100 Hz; the third rises, the last is long and falls."""
    out, at = np.zeros(round(seconds * rate)), 0.0
    pitch = rng.uniform(480, 720)
    while at < seconds - 0.8:
        for length, start, end in ((0.16, 0.8, 1.0), (0.14, 1.1, 1.2), (0.32, 1.25, 1.5), (0.75, 1.45, 0.85)):
            u = _times(min(length * rng.uniform(0.9, 1.25), max(seconds - at, 0.05)), rate)
            x = u / u[-1]
            f0 = pitch * (start + (end - start) * x + 0.1 * np.sin(np.pi * x)) * (1 + 0.01 * _slow(rng, u, 30))
            voice = _harmonics(f0, rate, [(1500, 400, 1.0), (2600, 600, 0.6), (4200, 900, 0.25)], 0.2)
            voice *= 1 + 0.15 * _slow(rng, u, 90)
            _place(out, at, voice * _envelope(len(u), 0.02, 0.07, rate), rate)
            at += len(u) / rate + 0.03
        at += rng.uniform(0.3, 0.8)
    return out


def fire_crackling(rng: Random, seconds: float, rate: float) -> Floats:
    """Sparse snaps of all sizes, without beat, over a faint low rumble."""
    n = round(seconds * rate)
    out = rng.uniform(0.01, 0.05) * shaped_noise(rng, n, rate, [(30, 0), (120, -3), (600, -20), (8000, -40)])
    out += rng.uniform(0.004, 0.015) * shaped_noise(rng, n, rate, [(100, -20), (2000, 0), (8000, -2)])
    for _ in range(rng.poisson(seconds * rng.uniform(8, 30))):
        u = _times(rng.uniform(0.004, 0.02), rate)
        snap = rng.standard_normal(len(u)) * np.exp(-u / rng.uniform(0.0008, 0.004))
        snap += 0.5 * np.sin(2 * np.pi * rng.uniform(800, 5000) * u) * np.exp(-u / 0.003)
        _place(out, rng.uniform(0, seconds), min(float(rng.pareto(1.6)) * 0.12, 1.2) * snap, rate)
    return out


Synthesis = Callable[[Random, float, float], Floats]

EVENTS: dict[str, Synthesis] = {
    "dog-bark": dog_bark,
    "rain": rain,
    "sea-waves": sea_waves,
    "baby-cry": baby_cry,
    "clock-tick": clock_tick,
    "person-sneeze": person_sneeze,
    "helicopter": helicopter,
    "chainsaw": chainsaw,
    "rooster": rooster,
    "fire-crackling": fire_crackling,
}


def background(rng: Random, seconds: float, rate: float) -> Floats:
    """A quiet room: falling noise, the mains' hum; RMS about 1."""
    t = _times(seconds, rate)
    noise = shaped_noise(rng, len(t), rate, [(20, 0), (100, -4), (1000, -24), (8000, -36)])
    hum = sum(np.sin(2 * np.pi * 50 * k * t + rng.uniform(0, 6.3)) / k for k in (1, 2, 3))
    return noise + rng.uniform(0, 0.4) * hum


def footstep(rng: Random, rate: float) -> Floats:
    """One step on a floor: a thud below 200 Hz and a scuff; peak about 1."""
    u = _times(0.16, rate)
    thud = np.sin(2 * np.pi * rng.uniform(60, 120) * u) * np.exp(-u / 0.03)
    scuff = shaped_noise(rng, len(u), rate, [(100, -20), (800, 0), (4000, -10), (8000, -20)]) * np.exp(-u / 0.05)
    step: Floats = thud + 0.12 * scuff
    return step


def reverberate(rng: Random, dry: Floats, rate: float) -> Floats:
    """The sound as it arrives in a furnished room: the direct part, and a tail that dies in a quarter of a second."""
    tail_s, wet = rng.uniform(0.05, 0.25), rng.uniform(0.05, 0.35)
    u = _times(tail_s * 1.5, rate)
    response = rng.standard_normal(len(u)) * np.exp(-6.9 * u / (2 * tail_s))
    response *= wet / np.sqrt(np.sum(response**2))
    response[0] += 1.0
    size = 1 << (len(dry) + len(response) - 1).bit_length()
    wet_sound: Floats = np.fft.irfft(np.fft.rfft(dry, size) * np.fft.rfft(response, size), size)[: len(dry)]
    return wet_sound
