"""How a car drives a town's loop, and what an inertial sensor in it measures.

Time since 1970 is divided into laps of 96 s, each of which begins and ends at rest at the same place. A lap is laid
out once, at LAP_HZ: speed from bends, bumps and stops; the body's pitch and roll on its springs; the engine's turns.
Yaw rate is speed times curvature, acceleration the derivative of speed, and gravity turns with the body, so that all
channels agree with the path. This module knows nothing of cameras or of the wire.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from edge.simulator.body import GRAVITY
from edge.simulator.town import PATH_STEP_M, Town, town

Floats = NDArray[np.float64]

DRIVING = ("driving-straight", "driving-turn", "driving-stop")
LAP_S = 96.0
LAP_HZ = 200
_STRAIGHT, _TURN, _STOP = range(3)
_CAR, _LAP = 12, 13  # one stream of random numbers each
_SMOOTH_S = 0.9  # a foot on a pedal moves no faster than this
_REST_S = 1.2  # at least this long at both ends of a lap
_TURNING, _STANDING = 0.12, 0.15  # rad/s and m/s that tell a turn and a stop
_SHORTEST_S = 0.5  # an activity that lasts less belongs to the one before
_AXLE_M = 1.3  # from the middle of the car to an axle
_GEARS_M = (0.08, 0.15, 0.23, 0.31)  # metres that a turn of the engine moves the car, gear by gear


@dataclass(frozen=True, slots=True)
class Car:
    """What stays the same about a car: `eye` and `roof` are the heights of camera and LiDAR, m; `focal` the camera's
    focal length in widths of its picture; `tilt` how far it looks down, rad. `spring_hz` and `damping` are those of its
    springs, `squat` and `lean` rad per m/s2; `idle_hz` the engine's turns per second at rest, `shake` its vibration and
    `rough` the street's at 10 m/s, m/s2. `headway` is what it keeps to the car ahead, s.
    `acceleration`, `braking` and `cornering` are as much as its driver likes, m/s2.
    """

    eye: float
    roof: float
    focal: float
    tilt: float
    spring_hz: float
    damping: float
    squat: float
    lean: float
    idle_hz: float
    shake: float
    rough: float
    headway: float
    acceleration: float
    braking: float
    cornering: float


@lru_cache(maxsize=64)
def car_of(seed: int) -> Car:
    """The car of a seed. A large one sits high, idles low, springs slowly and hurries less."""
    rng = np.random.default_rng([seed, _CAR])
    large = float(rng.uniform(0.0, 1.0))
    eye = 1.15 + 0.85 * large + float(rng.normal(0, 0.03))
    return Car(
        eye=eye,
        roof=eye + 0.45,
        focal=float(rng.uniform(0.5, 0.72)),
        tilt=float(rng.normal(0.05, 0.015)),
        spring_hz=1.9 - 0.7 * large + float(rng.normal(0, 0.05)),
        damping=float(rng.uniform(0.25, 0.4)),
        squat=0.006 + 0.004 * large,
        lean=0.008 + 0.008 * large,
        idle_hz=14.5 - 4.0 * large + float(rng.normal(0, 0.3)),
        shake=float(rng.uniform(0.05, 0.1)) * (1 + large),
        rough=float(rng.uniform(0.35, 0.7)),
        headway=float(rng.uniform(1.2, 1.8)),
        acceleration=2.3 - 0.7 * large,
        braking=2.8 - 0.6 * large,
        cornering=2.9 - 0.7 * large,
    )


@dataclass(frozen=True, slots=True)
class Lap:
    """One lap at LAP_HZ, each array (samples,): `s` m along the path, `speed` m/s, `pitch` nose up and `roll` left side
    up, rad, `heave` m, `turns` of the engine since the lap began, `throttle` 0..1. `felt` (samples, 6) is what the
    inertial sensor measures. Activity `index[i]` lasts from `edges[i]` to `edges[i + 1]`, s. `waits` (k, 2) are when
    and how long the car stands, s. `follows` says whether a car drives ahead.
    """

    s: Floats
    speed: Floats
    pitch: Floats
    roll: Floats
    heave: Floats
    turns: Floats
    throttle: Floats
    felt: Floats
    edges: Floats
    index: NDArray[np.int64]
    waits: Floats
    follows: bool

    def at(self, name: str, u: Floats) -> Floats:
        """(n,) or (n, C): the array of that name at `u` (n,) seconds within the lap."""
        values: Floats = getattr(self, name)
        place = np.clip(u * LAP_HZ, 0, len(values) - 1)
        low = np.minimum(place.astype(np.int64), len(values) - 2)
        share = place - low
        if values.ndim == 2:
            share = share[:, None]
        found: Floats = values[low] * (1 - share) + values[low + 1] * share
        return found


@lru_cache(maxsize=16)
def lap_of(seed: int, number: int) -> Lap:
    """The lap of that number (time since 1970 divided by LAP_S) of the car and the town of a seed."""
    rng = np.random.default_rng([seed, _LAP, number])
    place, car = town(seed), car_of(seed)
    vigour = float(np.exp(rng.normal(0, 0.08)))
    s, waits = _travel(rng, place, car, vigour)
    speed, s = _eased(s, place.path.length)
    thrust = np.gradient(speed) * LAP_HZ
    bend = place.path.bend(s)
    yaw_rate, aside = bend * speed, bend * speed**2
    over = [_bump(place, s + ahead) for ahead in (_AXLE_M, -_AXLE_M)]
    front, rear, squat, lean = (_sprung(car, x) for x in (*over, car.squat * thrust, car.lean * aside))
    pitch, heave = (front - rear) / (2 * _AXLE_M) + squat, (front + rear) / 2
    turns, throttle = _engine(car, speed, thrust)
    edges, index = _activities(speed, yaw_rate)
    felt = _felt(thrust, aside, yaw_rate, pitch, lean, heave)
    return Lap(
        s=s,
        speed=speed,
        pitch=pitch,
        roll=lean,
        heave=heave,
        turns=turns,
        throttle=throttle,
        felt=felt + _shaken(rng, car, speed, turns, throttle),
        edges=edges,
        index=index,
        waits=waits,
        follows=bool(rng.random() < 0.5),
    )


def _travel(rng: np.random.Generator, place: Town, car: Car, vigour: float) -> tuple[Floats, Floats]:
    """How far the car is at LAP_HZ, m, and when and how long it stands (k, 2), s."""
    n = round(place.path.length / PATH_STEP_M)
    s = np.arange(n + 1) * PATH_STEP_M
    limit = np.full(n + 1, place.limit * vigour)
    bend = np.abs(place.path.curvature)
    limit = np.minimum(limit, np.sqrt(car.cornering * vigour / np.maximum(bend, 1e-4)))
    for bump in place.bumps:
        limit[np.abs(s - bump) < 3.0] = 3.6
    halts = np.rint(np.append(place.stops, place.path.length) / PATH_STEP_M).astype(np.int64)
    limit[halts] = 0.0
    square = (limit**2).tolist()
    for i in range(1, n + 1):
        square[i] = min(square[i], square[i - 1] + 2 * car.acceleration * vigour * PATH_STEP_M)
    for i in range(n - 1, -1, -1):
        square[i] = min(square[i], square[i + 1] + 2 * car.braking * vigour * PATH_STEP_M)
    fast = np.sqrt(square)
    step = 2 * PATH_STEP_M / (fast[1:] + fast[:-1])
    driven = np.concatenate([[0.0], np.cumsum(step)])
    rest = LAP_S - driven[-1]
    share = rng.uniform(0.5, 1.5, len(halts))
    share[[0, -1]] *= 0.5  # the end of one lap and the beginning of the next are one halt
    least = _REST_S * len(halts)
    waits = _REST_S + (rest - least) * share / share.sum()
    arrivals = driven.copy()
    for halt, wait in zip(halts, waits, strict=True):
        arrivals[halt + 1 :] += wait
    when = np.insert(arrivals, halts + 1, arrivals[halts] + waits)
    where = np.insert(s, halts + 1, s[halts])
    samples = np.arange(round(LAP_S * LAP_HZ) + 1) / LAP_HZ
    return np.interp(samples, when, where), np.stack([arrivals[halts], waits], -1)


def _eased(s: Floats, length: float) -> tuple[Floats, Floats]:
    """Speed (m/s) without jerks, and the way (m) that it adds up to: the same from rest to rest."""
    width = round(_SMOOTH_S * LAP_HZ)
    bell = np.hanning(width + 2)
    raw = np.diff(s, prepend=s[:1]) * LAP_HZ
    speed = np.maximum(np.convolve(raw, bell / bell.sum(), "same"), 0.0)
    speed[speed < 1e-6] = 0.0
    way = np.cumsum((speed + np.concatenate([[0.0], speed[:-1]])) / 2) / LAP_HZ
    scale = length / way[-1]
    return speed * scale, way * scale


def _bump(place: Town, s: Floats) -> Floats:
    """(n,) m: how high the street is."""
    height = np.zeros_like(s)
    for bump in place.bumps:
        x = np.clip((s - bump) / 1.5, -1.0, 1.0)
        height += 0.035 * (1 + np.cos(np.pi * x))
    return height


def _sprung(car: Car, x: Floats) -> Floats:
    """What springs make of a motion: a damped oscillator follows it."""
    t = np.arange(3 * LAP_HZ) / LAP_HZ
    w = 2 * np.pi * car.spring_hz
    fast = w * np.sqrt(1 - car.damping**2)
    response = w * w / fast * np.exp(-car.damping * w * t) * np.sin(fast * t)
    size = 1 << (len(x) + len(response)).bit_length()
    followed: Floats = np.fft.irfft(np.fft.rfft(x, size) * np.fft.rfft(response / response.sum(), size), size)[: len(x)]
    return followed


def _engine(car: Car, speed: Floats, thrust: Floats) -> tuple[Floats, Floats]:
    """Turns of the engine since the lap began, and throttle 0..1; a lap is a whole number of turns."""
    turning = np.maximum(speed[:, None] / np.array(_GEARS_M), car.idle_hz)
    gear = np.searchsorted((3.0, 6.0, 9.5), speed)
    rate = turning[np.arange(len(speed)), gear]
    bell = np.hanning(round(0.3 * LAP_HZ) + 2)
    padded = np.pad(rate, len(bell) // 2, mode="edge")
    rate = np.convolve(padded, bell / bell.sum(), "same")[len(bell) // 2 :][: len(speed)]
    turns = np.concatenate([[0.0], np.cumsum((rate[1:] + rate[:-1]) / 2)]) / LAP_HZ
    throttle = np.clip(thrust / car.acceleration + speed / 40.0, 0.0, 1.0)
    return turns * np.round(turns[-1]) / turns[-1], throttle


def _felt(thrust: Floats, aside: Floats, yaw: Floats, pitch: Floats, roll: Floats, heave: Floats) -> Floats:
    """(n, 6) acceleration with gravity (m/s2) and turn rate (rad/s): x forward, y left, z up in the car."""
    up = GRAVITY + np.gradient(np.gradient(heave)) * LAP_HZ**2
    sp, cp, sr, cr = np.sin(pitch), np.cos(pitch), np.sin(roll), np.cos(roll)
    x, z = cp * thrust + sp * up, cp * up - sp * thrust
    nodding, leaning = -np.gradient(pitch) * LAP_HZ, np.gradient(roll) * LAP_HZ
    turned = cp * yaw
    return np.stack(
        [
            x,
            cr * aside + sr * z,
            cr * z - sr * aside,
            leaning + sp * yaw,
            cr * nodding + sr * turned,
            cr * turned - sr * nodding,
        ],
        -1,
    )


def _shaken(rng: np.random.Generator, car: Car, speed: Floats, turns: Floats, throttle: Floats) -> Floats:
    """(n, 6) what the street, the engine and the sensor itself add."""
    n = len(speed)
    street = rng.standard_normal((n, 6))
    bell = np.hanning(8)
    street = np.stack([np.convolve(x, bell / np.sqrt((bell**2).sum()), "same") for x in street.T], -1)
    roughness = car.rough * (speed / 10.0)[:, None] * (0.5, 0.6, 1.0, 0.02, 0.025, 0.006)
    # A four-stroke engine of four cylinders fires twice a turn.
    firing = 4 * np.pi * turns
    strength = car.shake * (1 + 1.5 * throttle)
    shake = strength[:, None] * np.stack([0.4 * np.sin(firing + 1), 0.6 * np.sin(firing / 2), np.sin(firing)], -1)
    noise = rng.standard_normal((n, 6)) * (0.02, 0.02, 0.02, 0.0015, 0.0015, 0.0015)
    shaken = street * roughness + noise
    shaken[:, :3] += shake
    return shaken


def _activities(speed: Floats, yaw_rate: Floats) -> tuple[Floats, NDArray[np.int64]]:
    """Edges (k + 1,) s and index (k,) of what the car does; what is too short to tell joins what was before."""
    doing = np.where(np.abs(yaw_rate) > _TURNING, _TURN, _STRAIGHT)
    doing = np.where(speed < _STANDING, _STOP, doing)
    starts = np.concatenate([[0], np.flatnonzero(np.diff(doing)) + 1])
    kept = [0]
    for start, end in zip(starts[1:], np.append(starts[2:], len(doing)), strict=True):
        if end - start >= _SHORTEST_S * LAP_HZ and doing[start] != doing[kept[-1]]:
            kept.append(int(start))
    return np.append(np.array(kept) / LAP_HZ, LAP_S), doing[kept].astype(np.int64)
