"""The room of the home, and what cameras, a thermal array and a LiDAR in it see of the person and the furniture.

Walls, two seats that face each other, furniture, a window and what is warm follow from the seed; only the person moves.
Axes: as in `edge.simulator.skeleton`. It knows nothing of the wire and of sensors' flaws.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from edge.simulator.figure import figure
from edge.simulator.geometry import (
    Camera,
    Hits,
    Material,
    Shapes,
    attitude,
    cast,
    echoes,
    overlay,
    shade,
    sweep,
    warmth,
)
from edge.simulator.skeleton import SEAT_BACK_M, build

Floats = NDArray[np.float64]
Random = np.random.Generator

LIDAR_TOP, LIDAR_BOTTOM = 0.2, -0.7  # rad: the uppermost and the lowest ring
_ROOM_SEED = 8  # a stream of random numbers
_UNDER_HIPS_M = 0.085  # a seat's top lies this much below the hips of who sits on it
_DEPTH_REACH_M, _LIDAR_REACH_M = 8.0, 30.0
_WARM_SEAT = 1.5


@dataclass(frozen=True, slots=True)
class Room:
    """What stands still: its `shapes`, the camera's place `eye` and what it looks at, its focal length in picture
    widths; the LiDAR's place; from where `light` comes, and how bright it is.
    """

    shapes: Shapes
    eye: Floats
    target: Floats
    focal: float
    lidar: Floats
    light: Floats
    brightness: float


@dataclass(frozen=True, slots=True)
class View:
    """One sensor's rays in a room and what they meet when nobody is there."""

    origin: Floats
    directions: Floats
    still: Hits


@lru_cache(maxsize=64)
def room(seed: int) -> Room:
    """The room of a seed."""
    rng = np.random.default_rng([seed, _ROOM_SEED])
    kelvin = float(rng.uniform(291.0, 298.0))
    half = build(seed).way / 2
    left, right = -half - rng.uniform(0.85, 1.4), half + rng.uniform(0.85, 1.4)
    near, far = -rng.uniform(2.5, 3.1), rng.uniform(1.1, 1.9)
    top = rng.uniform(2.4, 2.8)
    paper, floor = _pale(rng), _wood(rng)
    shapes = Shapes.planes(
        [(1, 0, 0), (1, 0, 0), (0, 1, 0), (0, 1, 0), (0, 0, 1), (0, 0, 1)],
        [left, right, near, far, 0.0, top],
        [
            *[Material(_shade(paper, s), kelvin + float(rng.normal(0, 0.4)), 0.7) for s in rng.uniform(0.85, 1.0, 4)],
            Material(floor, kelvin - 0.8, 0.4),
            Material((0.9, 0.9, 0.9), kelvin + 0.8, 0.8),
        ],
    )
    cloth = _bright(rng)
    for side in (-1.0, 1.0):
        shapes += _seat(rng, side, half + SEAT_BACK_M, build(seed).seat - _UNDER_HIPS_M, Material(cloth, kelvin))
    shapes += _furniture(rng, left, right, far, kelvin)
    if rng.random() < 0.4:
        shapes += _low_table(rng, near, kelvin)
    eye = np.array([rng.uniform(-0.5, 0.5), near + 0.12, rng.uniform(1.35, 2.1)])
    target = np.array([0.25 * eye[0] + rng.uniform(-0.1, 0.1), 0.0, rng.uniform(0.75, 0.95)])
    beside = left + 0.12 if rng.random() < 0.5 else right - 0.12
    place = np.array([beside, rng.uniform(near + 0.5, -0.9), rng.uniform(1.0, 1.6)])
    light = np.array([rng.normal(0, 0.5), rng.uniform(-1.0, 0.2), rng.uniform(0.8, 1.6)])
    return Room(shapes, eye, target, rng.uniform(0.66, 0.74), place, light, float(rng.uniform(0.95, 1.45)))


def _seat(rng: Random, side: float, x: float, height: float, cloth: Material) -> Shapes:
    """A chair that faces the middle of the room."""
    deep, wide, tall = 0.42, rng.uniform(0.42, 0.5), rng.uniform(0.35, 0.5)
    wood = Material(_wood(rng), cloth.kelvin, 0.5)
    warm = Material(cloth.colour, cloth.kelvin + _WARM_SEAT, 0.5)
    centre = np.array([side * x, 0.0, height - 0.03])
    back = np.array([side * (x + deep / 2 + 0.02), 0.0, height + tall / 2])
    seat = Shapes.boxes([centre, back], [(deep, wide, 0.06), (0.04, wide, tall)], [warm, cloth])
    corners = np.array([(a * (deep / 2 - 0.03), b * (wide / 2 - 0.03), 0.0) for a in (-1, 1) for b in (-1, 1)])
    feet = np.array([side * x, 0.0, 0.02]) + corners
    return seat + Shapes.capsules(feet, feet + np.array([0.0, 0.0, height - 0.08]), 0.018, wood)


def _furniture(rng: Random, left: float, right: float, far: float, kelvin: float) -> Shapes:
    """What stands along the far wall, side by side, and hangs there; a rug."""
    shapes = Shapes.boxes(
        [(0.0, rng.uniform(-0.3, 0.2), 0.004)], [(rng.uniform(1.0, 2.0), 1.2, 0.008)], _matt(rng, kelvin)
    )
    x = left + 0.1
    for kind in rng.permutation(["shelf", "table", "window", "lamp", "picture", "cupboard"]):
        wide = min(rng.uniform(0.5, 1.1), right - 0.1 - x)
        if wide < 0.35:
            break
        shapes += _piece(rng, str(kind), x + wide / 2, wide, far, kelvin)
        x += wide + rng.uniform(0.05, 0.4)
    return shapes


def _piece(rng: Random, kind: str, x: float, wide: float, far: float, kelvin: float) -> Shapes:
    if kind == "shelf":
        high, rows = rng.uniform(1.3, 2.0), 3
        case = Shapes.boxes([(x, far - 0.14, high / 2)], [(wide, 0.28, high)], Material(_wood(rng), kelvin, 0.5))
        places = [(x + rng.uniform(-0.1, 0.1), far - 0.3, high * (0.2 + 0.3 * i)) for i in range(rows)]
        books = [Material(_bright(rng), kelvin, 0.6) for _ in range(rows)]
        return case + Shapes.boxes(places, [(0.6 * wide, 0.06, 0.2)] * rows, books)
    if kind == "table":
        high, deep = rng.uniform(0.68, 0.78), rng.uniform(0.4, 0.55)
        wood = Material(_wood(rng), kelvin, 0.5)
        legs = np.array(
            [(x + a * (wide / 2 - 0.05), far - 0.05 - b * (deep - 0.1), 0.0) for a in (-1, 1) for b in (0, 1)]
        )
        shapes = Shapes.boxes([(x, far - deep / 2, high)], [(wide, deep, 0.04)], wood)
        shapes += Shapes.capsules(legs, legs + np.array([0, 0, high]), 0.02, wood)
        cup = (x + rng.uniform(-0.2, 0.2), far - deep / 2, high + 0.06)
        return shapes + Shapes.spheres([cup], 0.05, Material(_bright(rng), kelvin + rng.uniform(0, 25), 0.6))
    if kind == "window":  # with a radiator below it: the sun may stand in it, the heating may be on
        glass = Material((0.8, 0.9, 1.0), kelvin - rng.uniform(-3, 9), 0.1)
        hot = Material((0.9, 0.9, 0.88), kelvin + rng.uniform(0, 22), 0.7)
        return Shapes.boxes(
            [(x, far, 1.6), (x, far - 0.05, 0.45)], [(wide, 0.04, 1.0), (wide, 0.1, 0.55)], [glass, hot]
        )
    if kind == "lamp":
        high = rng.uniform(1.3, 1.7)
        foot, head = np.array([x, far - 0.25, 0.0]), np.array([x, far - 0.25, high])
        pole = Shapes.capsules([foot], [head], 0.015, Material((0.2, 0.2, 0.2), kelvin, 0.6))
        return pole + Shapes.spheres([head], 0.13, Material((1.0, 0.95, 0.75), kelvin + rng.uniform(2, 16), 0.6))
    high = rng.uniform(0.7, 1.1) if kind == "cupboard" else 0.5
    middle = high / 2 if kind == "cupboard" else 1.55
    deep = 0.4 if kind == "cupboard" else 0.04
    return Shapes.boxes([(x, far - deep / 2, middle)], [(wide, deep, high)], _matt(rng, kelvin))


def _low_table(rng: Random, near: float, kelvin: float) -> Shapes:
    """Between camera and person: it hides feet at times."""
    centre = (rng.uniform(-1.0, 1.0), rng.uniform(near + 1.2, -0.8), rng.uniform(0.3, 0.42))
    return Shapes.boxes([centre], [(rng.uniform(0.5, 0.9), 0.4, 0.05)], Material(_wood(rng), kelvin, 0.5))


def _matt(rng: Random, kelvin: float) -> Material:
    return Material(_bright(rng), kelvin, float(rng.uniform(0.3, 0.8)))


def _pale(rng: Random) -> tuple[float, float, float]:
    red, green, blue = rng.uniform(0.62, 0.92) + rng.uniform(-0.1, 0.08, 3)
    return float(red), float(green), float(blue)


def _wood(rng: Random) -> tuple[float, float, float]:
    dark = rng.uniform(0.3, 1.0)
    return _shade((0.72, 0.55, 0.38), float(dark))


def _bright(rng: Random) -> tuple[float, float, float]:
    red, green, blue = rng.uniform(0.08, 0.92, 3)
    return float(red), float(green), float(blue)


def _shade(colour: tuple[float, float, float], share: float) -> tuple[float, float, float]:
    return colour[0] * share, colour[1] * share, colour[2] * share


@lru_cache(maxsize=64)
def camera(seed: int, size: tuple[int, int]) -> Camera:
    """The room's camera with (H, W) pixels; its field of view is as wide for any size."""
    place = room(seed)
    return Camera.looking(place.eye, place.target, place.focal * size[1], size)


@lru_cache(maxsize=64)
def camera_view(seed: int, size: tuple[int, int]) -> View:
    """What the camera's pixels, (H, W) of them, see of the empty room."""
    eye = camera(seed, size)
    directions = eye.rays().reshape(-1, 3)
    return View(eye.position, directions, cast(eye.position, directions, room(seed).shapes))


@lru_cache(maxsize=16)
def lidar_view(seed: int, size: tuple[int, int]) -> View:
    """What the LiDAR's rings and azimuths see of the empty room; it stands at a side wall and faces the middle."""
    place = room(seed)
    towards = np.arctan2(-place.lidar[1], -place.lidar[0])
    directions = sweep(size, LIDAR_TOP, LIDAR_BOTTOM).reshape(-1, 3) @ attitude(towards, 0.0, 0.0).T
    return View(place.lidar, directions, cast(place.lidar, directions, place.shapes))


def _met(seed: int, view: View, joints: Floats) -> Hits:
    return overlay(view.still, view.origin, view.directions, figure(seed).shapes(joints))


def picture(seed: int, size: tuple[int, int], joints: Floats) -> Floats:
    """(H, W, 3) red, green, blue, 0..1, with the person's joints (24, 3) where they are."""
    place = room(seed)
    seen = shade(_met(seed, camera_view(seed, size), joints), place.light)
    lit: Floats = np.clip(place.brightness * seen, 0.0, 1.0).reshape(*size, 3)
    return lit


def depth(seed: int, size: tuple[int, int], joints: Floats) -> Floats:
    """(H, W, 1) m along the camera's axis; 0 beyond 8 m."""
    away = camera(seed, size).depth(_met(seed, camera_view(seed, size), joints))
    return np.where(away <= _DEPTH_REACH_M, away, 0.0)


def thermal(seed: int, size: tuple[int, int], joints: Floats) -> Floats:
    """(H, W, 1) K."""
    return warmth(_met(seed, camera_view(seed, size), joints)).reshape(*size, 1)


def lidar(seed: int, size: tuple[int, int], joints: Floats) -> Floats:
    """(H, W, 2) range (m) and intensity (0..1)."""
    view = lidar_view(seed, size)
    return echoes(_met(seed, view, joints), view.directions, _LIDAR_REACH_M).reshape(*size, 2)
