"""A small town: the loop of street that a car drives, and what stands along it.

A town follows from its seed. The street is a polygon whose corners are rounded by bends of smooth curvature, so that
nothing jumps for whoever drives it; along it stand houses with windows, trees, lamps and parked cars, and a map says
what the ground is made of. Towns differ in scale: wide streets have a higher speed limit, larger houses and are driven
faster, which a camera alone cannot tell from narrow ones seen from lower down. This module knows nothing of time.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from edge.simulator.geometry import Material, Shapes, rotation

Floats = NDArray[np.float64]
Random = np.random.Generator

GRASS, PAVEMENT, ASPHALT, MARKING = range(4)
"""What the ground is made of: values of `Town.ground`."""

PATH_STEP_M = 0.2
_TOWN = 11  # a stream of random numbers
_CELL_M = 0.25
_MARGIN_M = 16.0
_BEND_M, _CORNER_M = 22.0, 25.0  # length of street that a slight bend and a corner take
_PARKING_M, _WALK_M = 2.1, 2.4


@dataclass(frozen=True, slots=True)
class Path:
    """The middle of the lane that the car drives, every PATH_STEP_M: `place` (n, 2) m, `heading` (n,) rad
    counter-clockwise from east and not wrapped, `curvature` (n,) 1/m, positive to the left. It ends where it begins.
    """

    place: Floats
    heading: Floats
    curvature: Floats

    @property
    def length(self) -> float:
        """Metres once around."""
        return (len(self.heading) - 1) * PATH_STEP_M

    def at(self, s: Floats, left: float | Floats = 0.0) -> tuple[Floats, Floats]:
        """Places (n, 2) and headings (n,) at `s` (n,) m along the path, `left` metres to the left of it."""
        at = np.mod(s, self.length) / PATH_STEP_M
        index = np.arange(len(self.heading))
        heading = np.interp(at, index, self.heading)
        place = np.stack([np.interp(at, index, self.place[:, 0]), np.interp(at, index, self.place[:, 1])], -1)
        aside = np.stack([-np.sin(heading), np.cos(heading)], -1)
        return place + aside * np.asarray(left, np.float64)[..., None], heading

    def bend(self, s: Floats) -> Floats:
        """(n,) curvature, 1/m, at `s` (n,) m along the path."""
        at = np.mod(s, self.length) / PATH_STEP_M
        bend: Floats = np.interp(at, np.arange(len(self.curvature)), self.curvature)
        return bend


@dataclass(frozen=True, slots=True)
class Town:
    """What a seed's town looks like.

    `lane` is a lane's width, m; `limit` the speed that is driven, m/s; `stops` (k,) m along the path where one waits
    (the first is 0), `bumps` (m,) where the street is raised. `standing` is what stands; its first `houses` boxes have
    windows, and storeys of `storey` m. `ground` (rows, columns) is a map of materials in cells from
    `corner` (2,) on, `colours` (4, 3) theirs. `light` (3,) points to the sun, `ambient` is the share of
    light from elsewhere, `haze` how far one sees, m.
    """

    path: Path
    lane: float
    limit: float
    stops: Floats
    bumps: Floats
    standing: Shapes
    houses: int
    storey: float
    ground: NDArray[np.uint8]
    corner: Floats
    colours: Floats
    light: Floats
    ambient: float
    haze: float
    sky: tuple[float, float, float]

    def material(self, place: Floats) -> NDArray[np.uint8]:
        """(n,) what the ground is made of at `place` (n, 2), m."""
        cell = np.floor((place - self.corner) / _CELL_M).astype(np.int64)
        inside = np.all((cell >= 0) & (cell < self.ground.shape), axis=-1)
        cell = np.where(inside[:, None], cell, 0)
        found: NDArray[np.uint8] = np.where(inside, self.ground[cell[:, 0], cell[:, 1]], GRASS).astype(np.uint8)
        return found


@lru_cache(maxsize=16)
def town(seed: int) -> Town:
    """The town of a seed."""
    rng = np.random.default_rng([seed, _TOWN])
    scale = float(rng.uniform(0.8, 1.25))
    lane = 3.1 * scale
    path, corners = _loop(rng)
    stops, bumps = _furniture(rng, path, corners)
    standing, houses = _along(rng, path, lane, scale, stops)
    ground, corner = _map(path, lane, stops)
    sun, height = rng.uniform(0, 2 * np.pi), rng.uniform(0.4, 1.1)
    clear = float(rng.uniform(0.0, 1.0))
    grey = rng.uniform(0.28, 0.42)
    colours = [
        rng.uniform((0.22, 0.3, 0.12), (0.45, 0.5, 0.25)),
        [grey + 0.22] * 3,
        [grey, grey, grey * 1.03],
        [0.88] * 3,
    ]
    return Town(
        path=path,
        lane=lane,
        limit=float(9.6 * scale**0.8 * np.exp(rng.normal(0, 0.04))),
        stops=stops,
        bumps=bumps,
        standing=standing,
        houses=houses,
        storey=3.0 * scale,
        ground=ground,
        corner=corner,
        colours=np.array(colours, np.float64),
        light=np.array([np.cos(sun) * np.cos(height), np.sin(sun) * np.cos(height), np.sin(height)]),
        ambient=0.75 - 0.3 * clear,
        haze=float(rng.uniform(90.0, 260.0)),
        sky=(0.72 - 0.27 * clear, 0.76 - 0.16 * clear, 0.8 + 0.1 * clear),
    )


def _loop(rng: Random) -> tuple[Path, list[tuple[float, float]]]:
    """The path, and (start, angle) of its bends, m and rad; it starts on a straight."""
    long, wide = rng.uniform(105.0, 125.0), rng.uniform(70.0, 85.0)
    if rng.random() < 0.5:  # a block, one side of which is not straight
        off = float(rng.choice([-1.0, 1.0]) * rng.uniform(9.0, 13.0))
        points = [(0.0, 0.0), (long, 0.0), (long, wide), (long / 2, wide + off), (0.0, wide)]
    else:  # two blocks at an angle
        deep, notch = rng.uniform(0.55, 0.62) * long, rng.uniform(48.0, 54.0)
        points = [(0.0, 0.0), (long, 0.0), (long, notch), (deep, notch), (deep, wide + 32.0), (0.0, wide + 32.0)]
    corners = np.array(points)
    if rng.random() < 0.5:  # clockwise
        corners = (corners * (1.0, -1.0))[[0, *range(len(corners) - 1, 0, -1)]]
    corners = corners @ rotation((0.0, 0.0, rng.uniform(0, 2 * np.pi)))[:2, :2].T
    sides = np.roll(corners, -1, axis=0) - corners
    heading = np.arctan2(sides[:, 1], sides[:, 0])
    angle = np.angle(np.exp(1j * (heading - np.roll(heading, 1))))  # the turn at each corner
    bend = np.where(np.abs(angle) > 1.0, _CORNER_M, _BEND_M)
    reach = np.array([_tangent(a, b) for a, b in zip(angle, bend, strict=True)])
    straight = np.linalg.norm(sides, axis=1) - reach - np.roll(reach, -1)
    first = int(straight.argmax())
    before = 0.45 * straight[first]
    curvature, starts, at = [np.zeros(round((straight[first] - before) / PATH_STEP_M))], [], straight[first] - before
    for i in (np.arange(len(corners)) + first + 1) % len(corners):
        n = round(bend[i] / PATH_STEP_M)
        curvature.append(angle[i] / bend[i] * (1 - np.cos(2 * np.pi * (np.arange(n) + 0.5) / n)))
        starts.append((float(at), float(angle[i])))
        length = before if i == first else straight[i]
        curvature.append(np.zeros(round(length / PATH_STEP_M)))
        at += bend[i] + length
    between = np.concatenate(curvature)
    headings = heading[first] + np.concatenate([[0.0], np.cumsum(between) * PATH_STEP_M])
    middle = (headings[1:] + headings[:-1]) / 2
    steps = PATH_STEP_M * np.stack([np.cos(middle), np.sin(middle)], -1)
    steps -= steps.mean(0)  # straights are rounded to whole steps: what that leaves open is spread over all of them
    place = np.concatenate([np.zeros((1, 2)), np.cumsum(steps, axis=0)])
    bent = np.concatenate([between[:1], (between[1:] + between[:-1]) / 2, between[:1]])
    return Path(place, headings, bent), starts


def _tangent(angle: float, length: float) -> float:
    """How far before its corner a bend of that angle (rad) and length (m) begins."""
    x = (np.arange(400) + 0.5) / 400
    heading = angle * (x - np.sin(2 * np.pi * x) / (2 * np.pi))
    chord = float(np.hypot(np.cos(heading).mean(), np.sin(heading).mean())) * length
    return chord / (2 * float(np.cos(angle / 2)))


def _furniture(rng: Random, path: Path, corners: list[tuple[float, float]]) -> tuple[Floats, Floats]:
    """Where one stops (the start, and before two corners) and where bumps are (in the middle of two straights)."""
    sharp = [start for start, angle in corners if abs(angle) > 1.0]
    chosen = rng.choice(len(sharp), 2, replace=False)
    stops = np.sort([0.0, *(sharp[i] - 3.0 for i in chosen)])
    flat = np.abs(path.curvature[:-1]) < 1e-9
    s = np.arange(len(flat)) * PATH_STEP_M
    clear = np.all(np.abs((s[:, None] - stops + path.length / 2) % path.length - path.length / 2) > 14.0, axis=1)
    bumps: list[float] = []
    for candidate in rng.permutation(s[flat & clear & (s > 20) & (s < path.length - 20)]):
        near = np.abs(s - candidate) < 9.0
        if flat[near].all() and all(abs(candidate - other) > 40.0 for other in bumps):
            bumps.append(float(candidate))
        if len(bumps) == 2:
            break
    return stops, np.sort(bumps)


def _along(rng: Random, path: Path, lane: float, scale: float, stops: Floats) -> tuple[Shapes, int]:
    """What stands along the street, and how many of its boxes, the first ones, are houses."""
    right, left = -(lane / 2 + _PARKING_M), 1.5 * lane + _PARKING_M
    sparse = path.place[:: round(1.0 / PATH_STEP_M)]
    houses, sizes, axes, paint = [], [], [], []
    tint = rng.uniform(0.55, 0.9, (6, 1)) * (1 + rng.uniform(-0.18, 0.12, (6, 3)))
    for side, kerb in ((-1.0, right), (1.0, left)):
        s = float(rng.uniform(0, 6))
        setback = scale * rng.uniform(0.5, 5.0)
        while s < path.length - 4:
            wide, deep = scale * rng.uniform(7.0, 19.0), scale * rng.uniform(7.0, 11.0)
            high = 3.0 * scale * rng.integers(1, 6) + rng.uniform(0.3, 1.0)
            off = kerb + side * (_WALK_M + setback + rng.uniform(0, 1.0) + deep / 2)
            place, heading = path.at(np.array([s + wide / 2]), off)
            turned = rotation((0.0, 0.0, heading[0]))
            foot = place[0] + np.array([[x * wide / 2, y * deep / 2] for x in (-1, 0, 1) for y in (-1, 0, 1)]) @ (
                turned[:2, :2].T
            )
            gap = np.sqrt(((foot[:, None] - sparse) ** 2).sum(-1)).min()
            if gap > min(abs(kerb), abs(left)) + (_WALK_M if gap < abs(kerb) + 3 else 0.5):
                houses.append([*place[0], high / 2])
                sizes.append([wide, deep, high])
                axes.append(turned)
                base = tint[rng.integers(len(tint))] * rng.uniform(0.85, 1.1)
                paint.append(Material(tuple(np.clip(base, 0, 1)), 288.0, float(rng.uniform(0.25, 0.6))))
            s += wide + float(rng.choice([0.3, 0.3, scale * 4.0, scale * 9.0]))
    built = Shapes.boxes(houses, sizes, paint, np.array(axes))
    parked = _parked(rng, path, right, left, stops)
    grown = _grown(rng, path, right, left, scale)
    everything = built + parked + grown + Shapes.planes((0.0, 0.0, 1.0), 0.0, Material((0.4, 0.4, 0.4), 290.0, 0.2))
    return everything, len(houses)


def car(place: Floats, heading: Floats, colours: Floats, sizes: Floats) -> Shapes:
    """Cars at `place` (n, 2) towards `heading` (n,): a body and a cabin each; `sizes` (n,) about 1."""
    turned = rotation(np.stack([np.zeros_like(heading), np.zeros_like(heading), heading], -1))
    ahead = np.stack([np.cos(heading), np.sin(heading)], -1) * sizes[:, None]
    paint = [Material(tuple(c), 295.0, 0.55) for c in colours]
    glass = [Material((0.1, 0.12, 0.15), 293.0, 0.15)] * len(colours)
    body = np.column_stack([place, 0.62 * sizes])
    cabin = np.column_stack([place - 0.25 * ahead, 1.22 * sizes])
    return Shapes.boxes(body, sizes[:, None] * (4.3, 1.75, 0.74), paint, turned) + Shapes.boxes(
        cabin, sizes[:, None] * (2.3, 1.55, 0.5), glass, turned
    )


def paints(rng: Random, n: int) -> Floats:
    """(n, 3) colours that cars have: mostly without hue."""
    grey = rng.choice([0.12, 0.3, 0.55, 0.7, 0.85], (n, 1)) * np.ones((1, 3))
    hue = rng.uniform(0.05, 0.8, (n, 3))
    colours: Floats = np.where(rng.random((n, 1)) < 0.6, grey, hue)
    return colours


def _parked(rng: Random, path: Path, right: float, left: float, stops: Floats) -> Shapes:
    places, headings = [], []
    for kerb, side, ahead in ((right, 1.0, 0.0), (left, -1.0, np.pi)):
        for s in np.arange(3.0, path.length - 6.0, 6.2):
            near_stop = np.min(np.abs((s - stops + path.length / 2) % path.length - path.length / 2)) < 10.0
            if rng.random() < 0.45 and not near_stop and abs(path.bend(np.array([s]))[0]) < 0.01:
                place, heading = path.at(np.array([s + rng.uniform(-0.4, 0.4)]), kerb + side * 1.05)
                places.append(place[0])
                headings.append(heading[0] + ahead)
    n = len(places)
    return car(np.array(places), np.array(headings), paints(rng, n), rng.choice([0.9, 1.0, 1.0, 1.15, 1.5], n))


def _grown(rng: Random, path: Path, right: float, left: float, scale: float) -> Shapes:
    """Lamps and trees at the kerbs."""
    lamp, bark = Material((0.25, 0.27, 0.28), 288.0, 0.5), Material((0.3, 0.22, 0.16), 288.0, 0.3)
    found = Shapes()
    for kerb, side in ((right, -1.0), (left, 1.0)):
        at = np.arange(rng.uniform(4, 14), path.length - 3.0, scale * rng.uniform(17.0, 26.0))
        place, _ = path.at(at, kerb + side * 0.5)
        foot, top = np.column_stack([place, np.zeros(len(at))]), np.column_stack([place, np.full(len(at), 6.0 * scale)])
        tree = rng.random(len(at)) < 0.55
        found += Shapes.capsules(foot[~tree], top[~tree], 0.1, lamp)
        foot, top = foot[tree], top[tree] * (1.0, 1.0, 0.5)
        found += Shapes.capsules(foot, top, 0.14 * scale, bark)
        green = [
            Material(tuple(c), 289.0, 0.4) for c in rng.uniform((0.1, 0.22, 0.05), (0.3, 0.45, 0.16), (len(foot), 3))
        ]
        crown = rng.uniform(1.1, 1.9, len(foot)) * scale
        found += Shapes.spheres(top + np.column_stack([np.zeros((len(foot), 2)), crown * 0.6]), crown, green)
    return found


def _map(path: Path, lane: float, stops: Floats) -> tuple[NDArray[np.uint8], Floats]:
    """The ground, cell by cell, and the corner that it starts from; later strips cover earlier ones."""
    corner = path.place.min(0) - _MARGIN_M
    ground = np.zeros(np.ceil((path.place.max(0) + _MARGIN_M - corner) / _CELL_M).astype(np.int64), np.uint8)
    right, left = -(lane / 2 + _PARKING_M), 1.5 * lane + _PARKING_M
    s = np.arange(0.0, path.length, 0.6 * _CELL_M)

    def strip(low: float, high: float, material: int, along: Floats) -> None:
        across = np.arange(low, high, 0.6 * _CELL_M)
        place = path.at(np.repeat(along, len(across)), np.tile(across, len(along)))[0]
        cell = np.floor((place - corner) / _CELL_M).astype(np.int64)
        ground[cell[:, 0], cell[:, 1]] = material

    strip(right - _WALK_M, left + _WALK_M, PAVEMENT, s)
    strip(right, left, ASPHALT, s)
    strip(lane / 2 - 0.1, lane / 2 + 0.1, MARKING, s[s % 6.0 < 3.0])
    for kerb, inwards in ((right, _PARKING_M), (left, -_PARKING_M)):
        strip(kerb + inwards - 0.08, kerb + inwards + 0.08, MARKING, s)
    for stop in stops:  # a zebra crossing ahead of whoever waits
        for bar in np.arange(right + 0.3, left - 0.6, 1.1):
            strip(bar, bar + 0.55, MARKING, stop + np.arange(3.6, 6.6, 0.6 * _CELL_M))
    return ground, corner
