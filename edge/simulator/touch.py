"""The touch: a hand, a phone and a face, rendered into what each sensor measures at any time.

A pure function of (seed, absolute time): `edge.simulator.session` says what happens, here it is seen. The phone has a
capacitive screen, motion sensors, a gaze tracker and a front camera; a watch sits on the wrist of the hand in use; a
camera and a depth sensor look down on the table. No sensor tells everything: the screen feels neither gestures nor
which hand it is but by the lie of a fingertip, cameras do not see contact, motion not fingers. A touch is a fingertip
put on the screen: a hand that holds the phone, a palm that rests on its edge are none, though the screen may feel them,
faintly and at its edge. It knows nothing of devices and their flaws beyond each sensor's own noise.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from broker.errors import ConfigError
from edge.clock import SECOND
from edge.simulator.body import GRAVITY
from edge.simulator.face import Face, View, distances, face_of, picture
from edge.simulator.geometry import Camera, Hits, Material, Shapes, rotation, shade
from edge.simulator.grip import PHONE_M
from edge.simulator.hand import FINGERS, HAND_JOINTS, capsules
from edge.simulator.session import CYCLE, NONE, ROUND_S, SCREEN_M, Round, sitter
from edge.simulator.stage import Source, Span
from edge.simulator.story import round_of

Floats = NDArray[np.float64]
Values = NDArray[np.float32]
Times = NDArray[np.int64]

TOUCH, GESTURE, GAZE, RECONSTRUCTION = "touch-contact", "gesture-classification", "gaze-estimation", "3d-reconstruction"
JOINTS_3D = 41
"""Joints of 3d-reconstruction: the hand's 21, then 20 of a body that is not seen here."""
CELL_M = 0.004
"""Size of a cell of the capacitive grid; the screen covers its 16 middle columns, the rest of the grid is empty."""
GRID, IMAGE, DEPTH_SENSOR = (32, 32), (64, 64), (48, 64)

_ROUND_NS = round(ROUND_S * SECOND)
_RIG, _FACE, _CELLS, _PIXELS, _SPECKLE, _SELFIE, _DOTS, _ROWS, _HOLES = range(
    33, 42
)  # one stream of random numbers each
_H = 0.006  # seconds; derivatives are central differences over this
_WATCH_M = 0.035  # from the wrist to the watch
_FOCAL_PX = 98.0
_STREAMS: tuple[Source, ...] = (
    ("phone", "imu", "phone"),
    ("phone", "gaze", "screen"),
    ("phone", "capacitance", "panel"),
    ("phone", "image", "face"),
    ("phone", "depth", "face"),
    ("watch", "imu", "wrist"),
    ("rig", "image", "above"),
    ("rig", "depth", "above"),
)


class Touch:
    """Everything that a seed determines. Cheap to make; what has been rendered lately is kept."""

    tasks = (TOUCH, GESTURE, GAZE, RECONSTRUCTION)

    def __init__(self, seed: int) -> None:
        if seed < 0:
            raise ConfigError(f"simulator: seed {seed} is negative; use 0 or more")
        self.seed = seed

    def streams(self) -> tuple[Source, ...]:
        """What can be rendered: device, modality, placement."""
        return _STREAMS

    def render(self, modality: str, placement: str, t_ns: Times) -> Values:
        """Values at times `t_ns` (n,), ns UTC.

        `imu` (n, 6) m/s2 with gravity and rad/s: on the `phone` x right, y to its top, z out of the screen; at the
        `wrist` x to the hand, z out of the watch's face. `gaze` (n, 2) shares of the screen from its top left corner.
        `capacitance` (n, 32, 32, 1) 0..1, top row first. `image` (n, 64, 64, 3) and `depth` (n, 48, 64, 1), m, of the
        `face`, mirrored as front cameras show it, or of the hand from `above`. Raises ConfigError for anything else.
        """
        renders: dict[tuple[str, str], tuple[Callable[[Round, Floats, Times], Floats], tuple[int, ...]]] = {
            ("imu", "phone"): (self._phone_imu, (6,)),
            ("imu", "wrist"): (self._wrist_imu, (6,)),
            ("gaze", "screen"): (self._gaze, (2,)),
            ("capacitance", "panel"): (self._capacitance, (*GRID, 1)),
            ("image", "face"): (self._face, (*IMAGE, 3)),
            ("depth", "face"): (self._face_depth, (*DEPTH_SENSOR, 1)),
            ("image", "above"): (self._above, (*IMAGE, 3)),
            ("depth", "above"): (self._above_depth, (*DEPTH_SENSOR, 1)),
        }
        if (modality, placement) not in renders:
            known = ", ".join(f"{m} at {p}" for m, p in renders)
            raise ConfigError(f"simulator: the touch has no {modality} at {placement!r}; it has {known}")
        rendered, shape = renders[modality, placement]
        t_ns = np.asarray(t_ns, np.int64)
        parts = [rendered(act, u, t).astype(np.float32) for act, u, t in self._rounds(t_ns)]
        return np.concatenate(parts) if parts else np.empty((0, *shape), np.float32)

    def spans(self, task: str, start: int, end: int) -> Iterator[Span]:
        """The labels of `touch-contact` or `gesture-classification` over [start, end), ns UTC, without holes."""
        if task not in {TOUCH, GESTURE}:
            raise ConfigError(f"simulator: the touch labels {TOUCH} and {GESTURE}, not {task!r}")
        for number in range(start // _ROUND_NS, -(-end // _ROUND_NS)):
            act, origin, at = round_of(self.seed, number), number * _ROUND_NS, 0.0
            side = "right" if act.side > 0 else "left"
            if task == TOUCH:
                found = [(c.start, c.end, f"{side}-{FINGERS[c.finger]}") for c in act.contacts]
            else:
                found = [(g.start, g.end, g.label) for g in act.gestures if g.label != NONE]
            for low, high, label in [*found, (ROUND_S, ROUND_S, NONE)]:
                for a, b, name in ((at, low, NONE), (low, high, label)):
                    s, e = max(origin + round(a * SECOND), start), min(origin + round(b * SECOND), end)
                    if s < e:
                        yield Span(s, e, name)
                at = high

    def truth(self, task: str, t_ns: Times) -> Values:
        """(n, 2) cm from the screen's top left corner for `gaze-estimation`; (n, 123) m in the axes of the camera above
        for `3d-reconstruction`: 21 joints of the hand, NaN while it is out of view, then 20 that are NaN.
        """
        t_ns = np.asarray(t_ns, np.int64)
        if task == GAZE:
            eyes = [act.gaze(u) for act, u, _ in self._rounds(t_ns)]
            screen = 100 * np.array(SCREEN_M)
            looked: Values = (np.concatenate([*eyes, np.empty((0, 2))]) * screen).astype(np.float32)
            return looked
        if task != RECONSTRUCTION:
            raise ConfigError(f"simulator: the touch has the truth of {GAZE} and {RECONSTRUCTION}, not of {task!r}")
        camera, out = self._camera(IMAGE), np.full((len(t_ns), JOINTS_3D, 3), np.nan, np.float32)
        at = 0
        for act, u, _ in self._rounds(t_ns):
            joints = act.placed(u)[0]
            column, row, _ = np.moveaxis(camera.project(joints), -1, 0)
            # Half of the hand in view is enough to know where the rest is.
            seen = ((np.abs(column - 31.5) < 32) & (np.abs(row - 31.5) < 32)).mean(1) >= 0.5
            out[at : at + len(u), : len(HAND_JOINTS)] = np.where(seen[:, None, None], camera.seen(joints), np.nan)
            at += len(u)
        return out.reshape(len(t_ns), -1)

    def _rounds(self, t_ns: Times) -> Iterator[tuple[Round, Floats, Times]]:
        """The round, the seconds within it and the times themselves, for times in order, split where a round ends."""
        numbers = t_ns // _ROUND_NS
        for part in np.split(t_ns, np.flatnonzero(np.diff(numbers)) + 1):
            if len(part):
                number = int(part[0] // _ROUND_NS)
                yield round_of(self.seed, number), (part - number * _ROUND_NS) / SECOND, part

    def _rng(self, purpose: int, t: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, purpose, t])

    def _grain(self, purpose: int, t_ns: Times, shape: tuple[int, ...]) -> Floats:
        """(n, *shape) white noise that belongs to the times."""
        return np.array([self._rng(purpose, int(t)).standard_normal(shape) for t in t_ns])

    def _phone_imu(self, act: Round, u: Floats, _: Times) -> Floats:
        place, axes = zip(*(act.phone(u + d) for d in (-_H, 0.0, _H)), strict=True)
        knock = act.knocks(u)[:, None] * (0.15, 0.15, 0.9)
        return _felt(place, axes, knock) + _noise(act, u, 0, 0.03, 0.004)

    def _wrist_imu(self, act: Round, u: Floats, _: Times) -> Floats:
        wrist, axes = zip(*(act.placed(u + d)[1:] for d in (-_H, 0.0, _H)), strict=True)
        # A watch's x is the hand's y, its y the hand's -x.
        own = [a @ np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]) for a in axes]
        place = [w - _WATCH_M * a[..., 0] for w, a in zip(wrist, own, strict=True)]
        knock = act.knocks(u)[:, None] * (0.3, 0.2, 0.6)
        return _felt(place, own, knock) + _noise(act, u, 6, 0.05, 0.012)

    def _gaze(self, act: Round, u: Floats, _: Times) -> Floats:
        who = act.who
        noise = np.stack([act.random(u, 12), act.random(u, 13)], -1) * who.jitter * (1.0, 0.8)
        return 0.5 + (act.gaze(u) - 0.5) * who.gain + who.bias + noise

    def _capacitance(self, act: Round, u: Floats, t_ns: Times) -> Floats:
        """Every part of the hand near the screen takes charge from the cells about it, less with distance."""
        joints, force, radii = act.hand(u)[2], act.force(u), act.who.hand.radii
        ends = joints[:, 1:].reshape(-1, 5, 4, 3)
        share = np.array([0.0, 0.2, 0.4, 0.6, 0.8])[:, None]
        # Points along the last bone of each finger from its tip, and in the middle of the one before.
        last = ends[:, :, 3, None] + (ends[:, :, 2] - ends[:, :, 3])[:, :, None] * share
        points = np.concatenate([last, (ends[:, :, 1, None] + ends[:, :, 2, None]) / 2], axis=2)
        height = points[..., 2]
        gap = np.maximum(np.maximum(height - radii[:, None], -height), 0.0)  # below are the phone and its holder
        weight = np.exp(-gap / 0.004) * np.array([1.0, 0.8, 0.7, 0.6, 0.5, 0.6])
        weight[..., 0] *= 1 + 1.5 * force
        wide = 0.0042 * (radii[:, None] / 0.008) * (1 + 0.25 * force[..., None]) + 0.3 * gap
        x = (np.arange(GRID[1]) - (GRID[1] - 1) / 2) * CELL_M
        y = ((GRID[0] - 1) / 2 - np.arange(GRID[0])) * CELL_M
        across = np.exp(-0.5 * ((x - points[..., 0, None]) / wide[..., None]) ** 2)
        down = np.exp(-0.5 * ((y - points[..., 1, None]) / wide[..., None]) ** 2)
        flat = (len(u), -1)
        charge = (weight.reshape(*flat, 1) * down.reshape(*flat, GRID[0])).swapaxes(1, 2) @ across.reshape(
            *flat, GRID[1]
        )
        for start, end, ex, ey, half in act.edges:
            rests = np.clip(1 + np.minimum(u - start, end - u) / 0.15, 0, 1) * ((u > start - 0.15) & (u < end + 0.15))
            palm = np.exp(-0.5 * ((x - ex) / 0.005) ** 2) * np.exp(-0.5 * ((y - ey) / half) ** 4)[:, None]
            charge += 0.7 * rests[:, None, None] * palm
        rows = self._grain(_ROWS, t_ns, (GRID[0], 1))  # they are read out one after the other
        charge[:, :, np.abs(x) > SCREEN_M[0] / 2] = 0.0
        # Cells beside the screen have noise as well: without it half of the grid would say that there is none.
        image: Floats = 1 - np.exp(-1.1 * charge) + 0.008 * self._grain(_CELLS, t_ns, GRID) + 0.004 * rows
        image = np.clip(image, -0.1, 1.0)
        return image[..., None]

    def _seen_face(self, act: Round, u: Floats, size: tuple[int, int]) -> tuple[Face, View, Floats, Floats]:
        """The face, where the front camera has it, and the directions of gaze and nose (n, 2)."""
        rng = np.random.default_rng([self.seed, _FACE])
        face = face_of(rng, sitter(self.seed).skin)
        place, axes = act.phone(u)
        up, v = act.lifted(u)[:, None], CYCLE * u
        sway = np.stack([np.sin(2 * v + rng.uniform(0, 6)), np.sin(v + rng.uniform(0, 6)), 0 * u], -1)
        # People bend over a phone that lies before them.
        low, high = np.array([rng.normal(0, 0.015), -0.16, 0.3]), np.array([rng.normal(0, 0.015), -0.22, 0.42])
        head = low + (high - low) * up
        own = ((head + 0.004 * sway - place)[:, None] @ axes)[:, 0]
        away, slope = _towards(own)
        # The picture is cut where the head is while nothing moves: the cut follows no gesture.
        resting = [_towards(head_at[None])[1] for head_at in (low, (high - act.held) @ rotation(act.tilted))]
        expected = resting[0] + (resting[1] - resting[0]) * up
        focal = 165.0 * size[1] / 64
        middle = np.array([(size[1] - 1) / 2, 0.42 * size[0]]) + rng.normal(0, 2.0, 2) + focal * (slope - expected)
        roll = np.arctan2(axes[:, 1, 0], axes[:, 0, 0])
        view = View(middle, focal / away, roll, away)
        target = (act.gaze(u) - 0.5) * SCREEN_M * (1.0, -1.0)
        eyes = (target - own[:, :2]) / away[:, None] * (1.0, -1.0) + slope
        turn = 0.3 * eyes + rng.normal(0, 0.05, 2) + 0.04 * np.sin(3 * v[:, None] + (0.0, 2.0))
        return face, view, eyes, turn

    def _face(self, act: Round, u: Floats, t_ns: Times) -> Floats:
        face, view, eyes, turn = self._seen_face(act, u, IMAGE)
        blink = np.sin(np.pi * np.clip((np.mod(u + 3 * act.noise[0, 0], 3.7) - 3.5) / 0.2, 0, 1))
        image = picture(face, view, eyes, turn, blink, IMAGE)
        return np.clip(image + 0.012 * self._grain(_SELFIE, t_ns, (*IMAGE, 3)), 0.0, 1.0)

    def _face_depth(self, act: Round, u: Floats, t_ns: Times) -> Floats:
        face, view, _, turn = self._seen_face(act, u, DEPTH_SENSOR)
        far = distances(face, view, turn, DEPTH_SENSOR) + 0.003 * self._grain(_DOTS, t_ns, DEPTH_SENSOR)
        return far[..., None]

    def _camera(self, size: tuple[int, int]) -> Camera:
        rng = np.random.default_rng([self.seed, _RIG])
        place = np.array([0.0, -0.09, 0.44]) + rng.normal(0, (0.015, 0.015, 0.02))
        target = (place[0] + rng.normal(0, 0.008), place[1] + 0.06, 0.0)
        return Camera.looking(place, target, _FOCAL_PX, size)

    def _cast(self, act: Round, u: Floats, size: tuple[int, int]) -> Iterator[tuple[Camera, Hits]]:
        """What is seen from above at each time."""
        camera, who = self._camera(size), act.who
        rng = np.random.default_rng([self.seed, _RIG, 1])
        table = tuple(np.clip(rng.uniform(0.25, 0.75) + rng.normal(0, 0.08, 3), 0.1, 0.9))
        case, sleeve = tuple(rng.uniform(0.05, 0.2, 3)), tuple(rng.uniform(0.05, 0.8, 3))
        # What the screen shows belongs to the round: noise that is there anyway serves as its hue.
        glow = tuple(np.clip(0.5 + 0.2 * act.noise[3, :3], 0.1, 1.0))
        still = Shapes.planes((0.0, 0.0, 1.0), -PHONE_M[2], Material(table))
        joints, wrist, axes = act.placed(u)
        place, turned = act.phone(u)
        elbow = wrist - 0.23 * axes[..., 1] * (1.0, 1.0, 0.0) + (0.03 * act.side, -0.02, 0.0)
        elbow[:, 2] = np.maximum(0.06, 0.6 * wrist[:, 2])
        skin = Material(who.skin, 306.0)
        sizes = [[*PHONE_M[:2], PHONE_M[2] - 0.001], [*SCREEN_M, 0.0008]]
        for i in range(len(u)):
            middles = place[i] - np.array([[PHONE_M[2] / 2 + 0.0005], [0.0004]]) * turned[i, :, 2]
            phone = Shapes.boxes(middles, sizes, [Material(case), Material(glow)], turned[i])
            cuff = wrist[i] + 0.25 * (elbow[i] - wrist[i])
            arm = Shapes.capsules([wrist[i], cuff], [cuff, elbow[i]], [0.024, 0.034], [skin, Material(sleeve)])
            yield camera, camera.cast(still + phone + arm + capsules(who.hand, joints[i], skin))

    def _above(self, act: Round, u: Floats, t_ns: Times) -> Floats:
        rng = np.random.default_rng([self.seed, _RIG, 2])
        light, ambient = (*rng.uniform(-0.8, 0.8, 2), 1.0), float(rng.uniform(0.35, 0.6))
        image = np.array([shade(hits, light, ambient).reshape(*IMAGE, 3) for _, hits in self._cast(act, u, IMAGE)])
        return np.clip(image + 0.015 * self._grain(_PIXELS, t_ns, (*IMAGE, 3)), 0.0, 1.0)

    def _above_depth(self, act: Round, u: Floats, t_ns: Times) -> Floats:
        depth = np.array([camera.depth(hits) for camera, hits in self._cast(act, u, DEPTH_SENSOR)])
        depth += 0.002 * self._grain(_SPECKLE, t_ns, (*DEPTH_SENSOR, 1))
        lost = np.array([self._rng(_HOLES, int(t)).random((*DEPTH_SENSOR, 1)) < 0.02 for t in t_ns])
        return np.where(lost, 0.0, depth)


def _towards(own: Floats) -> tuple[Floats, Floats]:
    """How far (n,) places (n, 3) in the phone's axes are from its front camera, and slopes (n, 2) right and down."""
    from_camera = own - np.array([0.0, SCREEN_M[1] / 2, 0.0])  # it sits at the screen's top
    away = np.maximum(from_camera[:, 2], 0.12)
    return away, from_camera[:, :2] / away[:, None] * (1.0, -1.0)


def _felt(place: Sequence[Floats], axes: Sequence[Floats], jolt: Floats) -> Floats:
    """(n, 6) acceleration with gravity and turn rate in a thing's own axes.

    From its places (n, 3) and axes (n, 3, 3) at three times _H apart; `jolt` (n, 3) is acceleration that no place
    explains, in the thing's axes.
    """
    moved = (place[2] - 2 * place[1] + place[0]) / _H**2
    moved[:, 2] += GRAVITY
    spin = axes[1].swapaxes(-1, -2) @ (axes[2] - axes[0]) / (2 * _H)
    rate = np.stack([spin[:, 2, 1], spin[:, 0, 2], spin[:, 1, 0]], -1)
    rate = (rate - np.stack([spin[:, 1, 2], spin[:, 2, 0], spin[:, 0, 1]], -1)) / 2
    return np.concatenate([(moved[:, None] @ axes[1])[:, 0] + jolt, rate], axis=1)


def _noise(act: Round, u: Floats, first: int, acceleration: float, rate: float) -> Floats:
    scale = np.array([acceleration] * 3 + [rate] * 3)
    noise: Floats = np.stack([act.random(u, first + k) for k in range(6)], -1) * scale
    return noise
