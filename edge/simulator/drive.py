"""The drive: a car on the loop of a small town, rendered into what each of its sensors measures at any time.

A pure function of (seed, absolute time), as the home is: `edge.simulator.town` says what stands there,
`edge.simulator.ride` how the car moves; traffic and people on foot are added here. How large everything is does not
follow from a picture: towns have a scale and cars a height of their own. Where speed and the car's shaking tell it,
they do so as in a real street: wide streets are driven faster, tall cars idle lower and sway more, who follows
keeps a distance in seconds. It knows nothing of devices and their flaws beyond each sensor's own noise.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from broker.errors import ConfigError
from edge.clock import SECOND
from edge.simulator.geometry import Camera, Hits, Material, Shapes, cast, echoes, rotation, shade, sweep
from edge.simulator.motor import sound_of
from edge.simulator.ride import DRIVING, LAP_S, Lap, car_of, lap_of
from edge.simulator.stage import Source, Span
from edge.simulator.town import Town, car, paints, town

Floats = NDArray[np.float64]
Values = NDArray[np.float32]
Times = NDArray[np.int64]

DEPTH, ACTIVITY = "depth-estimation", "activity-recognition"
DEPTH_MAP = (24, 32)
"""Cells of the depth map over the camera's view, rows and columns; each has 2 x 3 pixels of the camera's."""
DEPTH_REACH_M = 80.0
"""What is farther counts as sky."""
CAMERA, DEPTH_SENSOR, LIDAR = (48, 96), (48, 64), (32, 256)

_LAP_NS = round(LAP_S * SECOND)
_TRAFFIC, _PEOPLE, _FIX, _PIXELS, _ECHOES, _DOTS = 14, 15, 16, 17, 18, 19  # one stream of random numbers each
_VIEW_M, _LIDAR_M, _DEPTH_M = 110.0, 60.0, 45.0
_ONCOMING, _WALKERS = 6, 16
_SECTORS = 8
_STREAMS: tuple[Source, ...] = (
    ("car", "gps", "car"),
    ("car", "imu", "car"),
    ("car", "camera", "front"),
    ("car", "lidar", "roof"),
    ("car", "depth", "front"),
    ("car", "audio", "car"),
)


class Drive:
    """Everything that a seed determines. Cheap to make; what has been rendered lately is kept."""

    tasks = (DEPTH, ACTIVITY)

    def __init__(self, seed: int) -> None:
        if seed < 0:
            raise ConfigError(f"simulator: seed {seed} is negative; use 0 or more")
        self.seed = seed

    def streams(self) -> tuple[Source, ...]:
        """What can be rendered: device, modality, placement."""
        return _STREAMS

    def render(self, modality: str, placement: str, t_ns: Times) -> Values:
        """Values at times `t_ns` (n,), ns UTC.

        `gps` (n, 4) m east, north and up of where laps begin, and m/s; `imu` (n, 6) m/s2 with gravity and rad/s, x
        forward, y left, z up; `camera` (n, 48, 96, 5) red, green, blue and rays; `lidar` (n, 32, 256, 2) m and
        intensity; `depth` (n, 48, 64, 1) m at a few dots of the camera's view, 0 elsewhere. Raises ConfigError for
        anything else; sound comes from `audio`.
        """
        t_ns = np.asarray(t_ns, np.int64)
        frames = {"camera": self._camera, "lidar": self._lidar, "depth": self._dots}
        if ("car", modality, placement) not in _STREAMS or modality == "audio":
            known = ", ".join(f"{m} at {p}" for _, m, p in _STREAMS if m != "audio")
            raise ConfigError(f"simulator: the drive has no {modality} at {placement!r}; it has {known}")
        if modality == "imu":
            parts = [lap.at("felt", u) for _, lap, u in self._laps(t_ns)]
            return np.concatenate([*parts, np.empty((0, 6))], dtype=np.float32)
        if modality == "gps":
            return self._gps(t_ns)
        shapes = {"camera": (*CAMERA, 5), "lidar": (*LIDAR, 2), "depth": (*DEPTH_SENSOR, 1)}
        out = np.empty((len(t_ns), *shapes[modality]), np.float32)
        for i, t in enumerate(t_ns):
            out[i] = frames[modality](int(t))
        return out

    def audio(self, t0_ns: int, n: int, rate: float = 16000.0) -> Values:
        """(n,) full scale +-1: n samples from `t0_ns` at `rate` Hz, as a microphone in the car hears them."""
        return sound_of(self.seed, t0_ns, n, rate)

    def spans(self, task: str, start: int, end: int) -> Iterator[Span]:
        """The activities over [start, end), ns UTC, in order and without holes."""
        if task != ACTIVITY:
            raise ConfigError(f"simulator: the drive labels {ACTIVITY}, not {task!r}")
        for number in range(start // _LAP_NS, -(-end // _LAP_NS)):
            lap, origin = lap_of(self.seed, number), number * _LAP_NS
            for low, high, i in zip(lap.edges[:-1], lap.edges[1:], lap.index, strict=True):
                s, e = max(origin + round(low * SECOND), start), min(origin + round(high * SECOND), end)
                if s < e:
                    yield Span(s, e, DRIVING[i])

    def truth(self, task: str, t_ns: Times) -> Values:
        """(n, 768) m along the camera's axis in the cells of DEPTH_MAP, row by row; NaN for the sky."""
        if task != DEPTH:
            raise ConfigError(f"simulator: the drive has the truth of {DEPTH}, not of {task!r}")
        out = np.empty((len(t_ns), DEPTH_MAP[0] * DEPTH_MAP[1]), np.float32)
        for i, t in enumerate(t_ns):
            frame = _frame(self.seed, int(t))
            slopes = frame.camera.slopes.reshape(DEPTH_MAP[0], 2, DEPTH_MAP[1], 3, 2).mean((1, 3)).reshape(-1, 2)
            along = _along(frame.camera, slopes)
            hits = cast(frame.camera.position, along, frame.ahead)
            depth = hits.range * (along @ frame.camera.rotation[2])
            out[i] = np.where(depth <= DEPTH_REACH_M, depth, np.nan)
        return out

    def _laps(self, t_ns: Times) -> Iterator[tuple[int, Lap, Floats]]:
        """The number, the lap and the seconds within it for times in order, split where a lap ends."""
        numbers = t_ns // _LAP_NS
        for part in np.split(np.arange(len(t_ns)), np.flatnonzero(np.diff(numbers)) + 1):
            if len(part):
                number = int(numbers[part[0]])
                yield number, lap_of(self.seed, number), (t_ns[part] - number * _LAP_NS) / SECOND

    def _gps(self, t_ns: Times) -> Values:
        path, out = town(self.seed).path, []
        for _, lap, u in self._laps(t_ns):
            place, _ = path.at(lap.at("s", u))
            out.append(np.column_stack([place, np.zeros(len(u)), lap.at("speed", u)]))
        fixes: Floats = np.concatenate([*out, np.empty((0, 4))]) + _wandering(self.seed, t_ns)
        fixes[:, 3] = np.abs(fixes[:, 3])  # a receiver tells the size of a velocity
        return fixes.astype(np.float32)

    def _camera(self, t: int) -> Values:
        frame, place = _frame(self.seed, t), town(self.seed)
        rng = np.random.default_rng([self.seed, _PIXELS, t])
        hits = frame.camera.cast(frame.ahead)
        rays = frame.camera.rays().reshape(-1, 3)
        colour = _painted(hits, frame, place, rays)
        clear = np.exp(-np.where(hits.met, hits.range, 0.0) / place.haze)[:, None]
        brighter = 1.0 + 0.35 * np.clip(rays[:, 2:], 0.0, 1.0)  # the sky towards the zenith
        image = colour * clear + np.array(place.sky) * brighter * (1 - clear)
        image = np.where(hits.met[:, None], image, np.array(place.sky) * brighter)
        image = np.clip(image + 0.015 * rng.standard_normal(image.shape), 0.0, 1.0)
        return np.concatenate([image.reshape(*CAMERA, 3), frame.camera.slopes], -1).astype(np.float32)

    def _lidar(self, t: int) -> Values:
        frame = _frame(self.seed, t)
        rng = np.random.default_rng([self.seed, _ECHOES, t])
        directions = _own_sweep() @ frame.axes
        origin = frame.place + car_of(self.seed).roof * frame.axes[2]
        image = np.empty((*LIDAR, 2))
        for columns, shapes in _sectors(frame, origin):
            part = directions[:, columns].reshape(-1, 3)
            image[:, columns] = echoes(cast(origin, part, shapes), part, _LIDAR_M).reshape(LIDAR[0], -1, 2)
        found = image.reshape(-1, 2)
        # Faint echoes are lost, more of them the farther away.
        faint = 0.02 + 0.25 * np.clip(found[:, 0] / _LIDAR_M - found[:, 1], 0.0, 1.0)
        found[rng.random(len(found)) < faint] = 0.0
        found[:, 0] += np.where(found[:, 0] > 0, 0.02 * rng.standard_normal(len(found)), 0.0)
        return found.reshape(*LIDAR, 2).astype(np.float32)

    def _dots(self, t: int) -> Values:
        """A stereo sensor beside the camera: metres at one dot in sixteen, worse with the square of the distance."""
        frame = _frame(self.seed, t)
        rng = np.random.default_rng([self.seed, _DOTS, t])
        camera = replace(frame.camera, focal_px=frame.camera.focal_px * DEPTH_SENSOR[1] / CAMERA[1], size=DEPTH_SENSOR)
        out = np.zeros(DEPTH_SENSOR[0] * DEPTH_SENSOR[1])
        dots = np.flatnonzero(rng.random(len(out)) < 1 / 16)
        along = _along(camera, camera.slopes.reshape(-1, 2)[dots])
        depth = cast(camera.position, along, frame.ahead).range * (along @ camera.rotation[2])
        seen = depth <= _DEPTH_M
        depth = np.where(seen, depth, 0.0)
        out[dots] = np.maximum(depth + 0.0015 * depth**2 * rng.standard_normal(len(dots)), 0.0)
        return out.reshape(*DEPTH_SENSOR, 1).astype(np.float32)


def _along(camera: Camera, slopes: Floats) -> Floats:
    """(n, 3) unit directions of the place from what rays (n, 2) move right and down for each metre forward."""
    rays = np.concatenate([slopes, np.ones((len(slopes), 1))], -1)
    directions: Floats = rays / np.linalg.norm(rays, axis=1, keepdims=True) @ camera.rotation
    return directions


@lru_cache(maxsize=1)
def _own_sweep() -> Floats:
    return sweep(LIDAR, np.radians(3.0), np.radians(-25.0))


@dataclass(frozen=True, slots=True)
class _Frame:
    """The car at one time: `place` (3,) m, `axes` (3, 3) whose rows are forward, left and up; what stands and moves
    `around` it, and of that what may be `ahead` of its camera. Houses are the first `houses` boxes ahead.
    """

    place: Floats
    axes: Floats
    camera: Camera
    around: Shapes
    ahead: Shapes
    houses: int


@lru_cache(maxsize=8)
def _frame(seed: int, t: int) -> _Frame:
    number = t // _LAP_NS
    lap, u = lap_of(seed, number), np.array([(t - number * _LAP_NS) / SECOND])
    place, own = town(seed), car_of(seed)
    at, heading = place.path.at(lap.at("s", u))
    pitch, roll, heave = (float(lap.at(name, u)[0]) for name in ("pitch", "roll", "heave"))
    turned = rotation((0.0, 0.0, heading[0])) @ rotation((0.0, -pitch, 0.0)) @ rotation((roll, 0.0, 0.0))
    axes = turned.T
    centre = np.array([*at[0], heave])
    down = rotation((0.0, own.tilt, 0.0))
    looking = (turned @ down).T
    rows = np.stack([-looking[1], -looking[2], looking[0]])
    eye = centre + 0.4 * axes[0] + own.eye * axes[2]
    camera = Camera(eye, rows, own.focal * CAMERA[1], CAMERA)
    moving = _moving(seed, number, place, lap, float(u[0]))
    standing = place.standing
    around = _near(standing, centre, _LIDAR_M + 3.0) + moving
    slope = 1.02 / (2 * own.focal)
    ahead, houses = _ahead(standing, camera, slope, place.houses)
    return _Frame(centre, axes, camera, around, ahead + _ahead(moving, camera, slope, 0)[0], houses)


def _sectors(frame: _Frame, origin: Floats) -> Iterator[tuple[slice, Shapes]]:
    """Columns of the LiDAR's image, and what may be met there: fewer shapes for each ray make a faster cast."""
    shapes, forward = frame.around, np.arctan2(frame.axes[0, 1], frame.axes[0, 0])
    middle, half = (shapes.capsule[:, :3] + shapes.capsule[:, 3:6]) / 2, shapes.capsule[:, :3] - shapes.capsule[:, 3:6]
    balls = (
        (middle, np.hypot(half[:, 0], half[:, 1]) / 2 + shapes.capsule[:, 6]),
        (shapes.sphere, shapes.sphere[:, 3]),
        (shapes.box, np.hypot(shapes.box[:, 3], shapes.box[:, 4])),
    )
    seen = []
    for centre, radius in balls:
        away = centre[:, :2] - origin[:2]
        far = np.hypot(away[:, 0], away[:, 1])
        wide = np.where(far > radius, np.arcsin(np.clip(radius / np.maximum(far, 1e-9), 0.0, 1.0)), np.pi)
        seen.append((np.arctan2(away[:, 1], away[:, 0]) - forward, wide))
    columns = LIDAR[1] // _SECTORS
    reach = np.pi / _SECTORS + np.radians(8.0)  # the car's tilt shifts directions a little
    for i in range(_SECTORS):
        towards = np.pi * (1 - (2 * i + 1) / _SECTORS)
        capsule, sphere, box = (
            np.abs(np.mod(azimuth - towards + np.pi, 2 * np.pi) - np.pi) < wide + reach for azimuth, wide in seen
        )
        kept = replace(shapes, capsule=shapes.capsule[capsule], sphere=shapes.sphere[sphere], box=shapes.box[box])
        yield slice(i * columns, (i + 1) * columns), kept


def _near(shapes: Shapes, centre: Floats, reach: float) -> Shapes:
    return replace(
        shapes,
        capsule=shapes.capsule[np.hypot(*(shapes.capsule[:, :2] - centre[:2]).T) < reach],
        sphere=shapes.sphere[np.hypot(*(shapes.sphere[:, :2] - centre[:2]).T) < reach],
        box=shapes.box[np.hypot(*(shapes.box[:, :2] - centre[:2]).T) - np.hypot(*shapes.box[:, 3:5].T) < reach],
    )


def _ahead(shapes: Shapes, camera: Camera, slope: float, houses: int) -> tuple[Shapes, int]:
    """What may be in view, by balls about the shapes, and how many of the first `houses` boxes are."""

    def kept(centre: Floats, radius: Floats) -> NDArray[np.bool_]:
        right, _, forward = camera.seen(centre).T
        widened = radius * np.hypot(1.0, slope)
        within: NDArray[np.bool_] = (
            (forward > -radius) & (forward < _VIEW_M) & (np.abs(right) < slope * forward + widened)
        )
        return within

    ends = shapes.capsule[:, :3], shapes.capsule[:, 3:6]
    middle, half = (ends[0] + ends[1]) / 2, np.linalg.norm(ends[1] - ends[0], axis=1) / 2
    box = kept(shapes.box[:, :3], np.linalg.norm(shapes.box[:, 3:6], axis=1))
    left = replace(
        shapes,
        capsule=shapes.capsule[kept(middle, half + shapes.capsule[:, 6])],
        sphere=shapes.sphere[kept(shapes.sphere[:, :3], shapes.sphere[:, 3])],
        box=shapes.box[box],
    )
    return left, int(box[:houses].sum())


def _painted(hits: Hits, frame: _Frame, place: Town, rays: Floats) -> Floats:
    """(N, 3) what is seen in its own light: the ground by its map, houses with windows, everything else plain."""
    surface = hits.surface.copy()
    boxes = len(frame.ahead.capsule) + len(frame.ahead.sphere)
    ground = np.flatnonzero(hits.shape >= boxes + len(frame.ahead.box))
    point = frame.camera.position + hits.range[ground, None] * rays[ground]
    surface[ground, :3] = place.colours[place.material(point[:, :2])]
    wall = np.flatnonzero(
        (hits.shape >= boxes) & (hits.shape < boxes + frame.houses) & (np.abs(hits.normal[:, 2]) < 0.5)
    )
    house = frame.ahead.box[hits.shape[wall] - boxes]
    point = frame.camera.position + hits.range[wall, None] * rays[wall]
    side = np.stack([-hits.normal[wall, 1], hits.normal[wall, 0]], -1)
    across = ((point[:, :2] - house[:, :2]) * side).sum(1) / place.storey
    up = point[:, 2] / place.storey
    window = (np.abs(across % 0.8 - 0.4) < 0.2) & (np.abs(up % 1.0 - 0.55) < 0.22)
    sharp = np.clip(1.4 - hits.range[wall] / (9.0 * place.storey), 0.0, 1.0)[:, None]  # pixels blur what is far
    blend = np.where(window[:, None], sharp, 0.3 * (1 - sharp))
    surface[wall, :3] = surface[wall, :3] * (1 - blend) + np.array([0.16, 0.2, 0.26]) * blend
    return shade(replace(hits, surface=surface), place.light, place.ambient)


def _moving(seed: int, number: int, place: Town, lap: Lap, u: float) -> Shapes:
    """Cars that come towards one, the car ahead if there is one, and people on foot."""
    path, rng = place.path, np.random.default_rng([seed, _TRAFFIC])
    # Whole rounds in a lap: traffic goes on where it was when the next lap begins.
    rounds = rng.choice([1, 2, 2], _ONCOMING)
    s = rng.uniform(0, path.length, _ONCOMING) - rounds * path.length * u / LAP_S
    at, heading = path.at(s, place.lane)
    heading = heading + np.pi
    colours, sizes = paints(rng, _ONCOMING + 1), rng.choice([0.9, 1.0, 1.1, 1.5], _ONCOMING + 1)
    if lap.follows:
        leader = lap.at("s", np.array([min(u + car_of(seed).headway, LAP_S)])) + 4.5 * sizes[-1] + 2.0
        ahead, towards = path.at(leader)
        at, heading = np.concatenate([at, ahead]), np.concatenate([heading, towards])
    n = len(at)
    return car(at, heading, colours[:n], sizes[:n]) + _walking(seed, number, place, lap, u)


def _walking(seed: int, number: int, place: Town, lap: Lap, u: float) -> Shapes:
    """People on the pavements, and one who crosses ahead of whoever waits at a stop."""
    path, rng = place.path, np.random.default_rng([seed, _PEOPLE, number])
    kerbs = np.array([-(place.lane / 2 + 2.1), 1.5 * place.lane + 2.1])
    side, pace = rng.integers(0, 2, _WALKERS), rng.choice([-1.0, 1.0], _WALKERS) * rng.uniform(0.9, 1.6, _WALKERS)
    s = rng.uniform(0, path.length, _WALKERS) + pace * u
    left = kerbs[side] + np.where(side == 0, -1.0, 1.0) * rng.uniform(0.9, 2.0, _WALKERS)
    for stop, (since, wait) in zip(place.stops, lap.waits, strict=False):
        share = (u - since - 0.3) / max(wait - 0.6, 1.0)
        s, left = (
            np.append(s, stop + 5.0),
            np.append(left, kerbs[0] - 1.0 + (np.ptp(kerbs) + 2.0) * np.clip(share, 0, 1)),
        )
    foot, _ = path.at(s, left)
    tall, clothes = rng.normal(1.7, 0.09, len(s)), rng.uniform(0.08, 0.8, (len(s), 2, 3))
    skin = Material((0.75, 0.58, 0.47), 306.0, 0.4)

    def up(share: float) -> Floats:
        return np.column_stack([foot, share * tall])

    legs = [Material(tuple(c), 300.0, 0.3) for c in clothes[:, 0]]
    body = [Material(tuple(c), 301.0, 0.35) for c in clothes[:, 1]]
    return (
        Shapes.capsules(up(0.06), up(0.48), 0.13, legs)
        + Shapes.capsules(up(0.55), up(0.78), 0.2, body)
        + Shapes.spheres(up(0.93), 0.12, skin)
    )


def _wandering(seed: int, t_ns: Times) -> Floats:
    """(n, 4) what a receiver is wrong by: some metres that drift over minutes, more upwards, and a little noise."""
    rng = np.random.default_rng([seed, _FIX])
    period = np.concatenate([rng.uniform(70.0, 400.0, (4, 4)), rng.uniform(0.7, 6.0, (5, 4))])
    size = np.concatenate([np.full((4, 4), 1.3) * (1.0, 1.0, 2.0, 0.02), np.full((5, 4), 0.05) * (1.0, 1.0, 2.0, 0.8)])
    phase = rng.uniform(0, 2 * np.pi, period.shape)
    # Whole turns are taken off in integers: seconds since 1970 would cost a float its digits.
    turns = (t_ns[:, None, None] % np.rint(period * SECOND).astype(np.int64)) / (period * SECOND)
    error: Floats = (size * np.sin(2 * np.pi * turns + phase)).sum(1)
    return error
