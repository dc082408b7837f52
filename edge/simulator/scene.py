"""The home: one person in one room, rendered into what each sensor would have measured at any time.

A scene is a pure function of (seed, absolute time). A watch, a camera and a microphone that are separate processes
render the same scene when they share a seed, and so does whoever checks their results by `labels` and `truth`. What
is worn feels the same motion that is seen. It knows nothing of devices and their flaws (`edge.simulator.flaws`).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from broker.errors import ConfigError
from broker.modalities import MODALITIES
from edge.clock import SECOND
from edge.simulator import room, skeleton
from edge.simulator.body import Motion, pocket_imu, wrist_imu
from edge.simulator.sound import EVENTS, background, footstep, reverberate
from edge.simulator.stage import Source, Span
from edge.simulator.timeline import ACTIVITIES, ROUND_S, person, round_of
from edge.simulator.worn import MOUNTS, STEP_S, worn_imu

__all__ = ["ACTIVITY", "DEPTH", "DEPTH_MAP", "EVENT", "PLACEMENTS", "POSE", "ROOM", "SECOND", "Scene", "Span"]

Floats = NDArray[np.float64]
Values = NDArray[np.float32]
Times = NDArray[np.int64]

ACTIVITY, EVENT = "activity-recognition", "event-detection"
POSE, DEPTH = "pose-estimation", "depth-estimation"
NONE = "none"
PLACEMENTS = ("wrist", "pocket", *MOUNTS)
"""Where the person of the home wears inertial sensors."""
ROOM = "room"
"""The placement of all that watches and listens."""
DEPTH_MAP = (24, 32)
"""Cells of the depth map over the camera's view, rows and columns."""

_OWN = {"wrist": wrist_imu, "pocket": pocket_imu}  # fitted to recordings, with a limb of their own
_FRAMES: dict[str, Callable[[int, tuple[int, int], Floats], Floats]] = {
    "image": room.picture,
    "video": room.picture,
    "depth": room.depth,
    "thermal": room.thermal,
    "lidar": room.lidar,
}
_STREAMS: tuple[Source, ...] = (
    ("watch", "imu", "wrist"),
    ("phone", "imu", "pocket"),
    ("room", "audio", ROOM),
    ("strap", "imu", "chest"),
    ("earbud", "imu", "head"),
    ("anklet", "imu", "ankle"),
    ("camera", "image", ROOM),
    ("camera", "video", ROOM),
    ("camera", "depth", ROOM),
    ("camera", "pose", ROOM),
    ("thermometer", "thermal", ROOM),
    ("scanner", "lidar", ROOM),
)

_ROUND_NS = round(ROUND_S * SECOND)
_TURN_S = 16.0  # one sound event, or none, has this long
_TURN_NS = round(_TURN_S * SECOND)
_EVENT, _SOUND, _ROOM = 3, 4, 5  # one stream of random numbers each
_TAIL_S = 0.3  # what a room adds to a sound


class Scene:
    """Everything that a seed determines. Cheap to make; what has been rendered lately is kept."""

    tasks = (ACTIVITY, EVENT, POSE, DEPTH)

    def __init__(self, seed: int) -> None:
        if seed < 0:
            raise ConfigError(f"simulator: seed {seed} is negative; use 0 or more")
        self.seed = seed

    def streams(self) -> tuple[Source, ...]:
        """What can be rendered: device, modality, placement."""
        return _STREAMS

    def render(self, modality: str, placement: str, t_ns: Times) -> Values:
        """Values at times `t_ns` (n,), ns UTC, in the modality's units.

        `imu` (n, 6) m/s2 with gravity and rad/s; `pose` (n, 72) m, joints in the camera's axes (right, down, forward);
        `image` and `video` (n, H, W, 3) 0..1; `depth` (n, H, W, 1) m along the camera's axis, 0 beyond 8 m; `thermal`
        (n, H, W, 1) K; `lidar` (n, H, W, 2) range (m) and intensity (0..1). H and W are the modality's size. Raises
        ConfigError for what is not there; sound comes from `audio`.
        """
        t_ns = np.asarray(t_ns, np.int64)
        if modality == "imu" and placement in PLACEMENTS:
            return self.imu(placement, t_ns)
        if placement == ROOM and modality == "pose":
            return self._seen_joints(t_ns).reshape(-1, 72).astype(np.float32)
        if placement == ROOM and modality in _FRAMES:
            return self._frames(_FRAMES[modality], MODALITIES[modality].size, t_ns)
        known = ", ".join(f"{m} at {p}" for _, m, p in _STREAMS if m != "audio")
        raise ConfigError(f"simulator: the home has no {modality} at {placement!r}; it has {known}")

    def imu(self, placement: str, t_ns: Times) -> Values:
        """(n, 6) m/s2 with gravity and rad/s at times `t_ns` (n,), at one of PLACEMENTS."""
        if placement not in PLACEMENTS:
            raise ConfigError(f"simulator: no imu at {placement!r}; placements: {', '.join(PLACEMENTS)}")
        t_ns = np.asarray(t_ns, np.int64)
        out = np.empty((len(t_ns), 6), np.float32)
        if placement in MOUNTS:
            for now, posture in skeleton.postures(self.seed, t_ns, (0.0, -STEP_S, STEP_S)):
                out[now] = worn_imu(MOUNTS[placement], posture)
            return out
        numbers = t_ns // _ROUND_NS
        for number in np.unique(numbers):
            now = numbers == number
            u = (t_ns[now] - number * _ROUND_NS) / SECOND
            motion = Motion(person(self.seed), round_of(self.seed, int(number)))
            out[now] = _OWN[placement](motion, u)
        return out

    def audio(self, t0_ns: int, n: int, rate: float = 16000.0) -> Values:
        """(n,) full scale +-1: n samples from `t0_ns` at `rate` Hz, as the room's microphone hears them.

        Samples lie on a grid of the rate that is aligned to 1970; `t0_ns` counts as the nearest point of it.
        """
        rate_hz, per_turn = round(rate), round(_TURN_S * rate)
        first = (t0_ns * rate_hz + SECOND // 2) // SECOND
        pieces = []
        while n > 0:
            number, at = divmod(first, per_turn)
            pieces.append(_heard(self.seed, number, float(rate_hz))[at : at + n])
            first, n = first + len(pieces[-1]), n - len(pieces[-1])
        return np.concatenate(pieces) if pieces else np.zeros(0, np.float32)

    def truth(self, task: str, t_ns: Times) -> Values:
        """(n, D) what is true at times `t_ns` (n,), ns UTC.

        `pose-estimation`: (n, 72) m, where JOINTS are, from the pelvis, in the camera's axes: right, down, forward.
        `depth-estimation`: (n, 768) m along the camera's axis in the cells of DEPTH_MAP over its view, row by row, NaN
        beyond 8 m. Raises ConfigError for other tasks.
        """
        t_ns = np.asarray(t_ns, np.int64)
        if task == POSE:
            joints = self._seen_joints(t_ns)
            return (joints - joints[:, :1]).reshape(-1, 72).astype(np.float32)
        if task == DEPTH:
            depth = self._frames(room.depth, DEPTH_MAP, t_ns).reshape(len(t_ns), -1)
            return np.where(depth > 0, depth, np.float32(np.nan))
        raise ConfigError(f"simulator: the home has the truth of {POSE} and {DEPTH}, not of {task!r}")

    def labels(self, t_ns: int) -> dict[str, str]:
        """What is true at a time, by task."""
        return {task: next(self.spans(task, t_ns, t_ns + 1)).label for task in (ACTIVITY, EVENT)}

    def spans(self, task: str, start: int, end: int) -> Iterator[Span]:
        """The labels of a task over [start, end), ns UTC, in order and without holes."""
        periods = {ACTIVITY: _ROUND_NS, EVENT: _TURN_NS}
        if task not in periods:
            raise ConfigError(f"simulator: the home labels {ACTIVITY} and {EVENT}, not {task!r}")
        period = periods[task]
        for number in range(start // period, -(-end // period)):
            origin = number * period
            for low, high, label in self._round(number) if task == ACTIVITY else self._turn(number):
                s, e = max(origin + round(low * SECOND), start), min(origin + round(high * SECOND), end)
                if s < e:
                    yield Span(s, e, label)

    def _seen_joints(self, t_ns: Times) -> Floats:
        """(n, 24, 3) m in the camera's axes."""
        return room.camera(self.seed, MODALITIES["image"].size).seen(skeleton.joints(self.seed, t_ns))

    def _frames(
        self, draw: Callable[[int, tuple[int, int], Floats], Floats], size: tuple[int, int], t_ns: Times
    ) -> Values:
        frames = [draw(self.seed, size, joints).astype(np.float32) for joints in skeleton.joints(self.seed, t_ns)]
        return np.stack(frames) if frames else np.empty((0, *size, 1), np.float32)

    def _round(self, number: int) -> Iterator[tuple[float, float, str]]:
        act = round_of(self.seed, number)
        for i, activity in enumerate(act.index):
            yield float(act.edges[i]), float(act.edges[i + 1]), ACTIVITIES[activity]

    def _turn(self, number: int) -> Iterator[tuple[float, float, str]]:
        happening = _happening(self.seed, number)
        yield 0.0, happening.start, NONE
        yield happening.start, happening.end, happening.label
        yield happening.end, _TURN_S, NONE


@dataclass(frozen=True, slots=True)
class _Happening:
    """A sound event within its turn, seconds; level is its peak, full scale. No event has no length."""

    label: str
    start: float
    end: float
    level: float


@lru_cache(maxsize=256)
def _happening(seed: int, number: int) -> _Happening:
    rng = np.random.default_rng([seed, _EVENT, number])
    if rng.random() < 0.2:
        return _Happening(NONE, 0.0, 0.0, 0.0)
    start, seconds = rng.uniform(1.5, 6.0), rng.uniform(4.0, 8.0)
    label = list(EVENTS)[rng.integers(len(EVENTS))]
    return _Happening(label, start, start + seconds, float(10 ** (rng.uniform(-18, -2) / 20)))


@lru_cache(maxsize=4)
def _heard(seed: int, number: int, rate: float) -> Values:
    """(samples of a turn,) float32."""
    rng = np.random.default_rng([seed, _SOUND, number])
    sound = _dry(rng, seed, number, rate)
    room = np.random.default_rng([seed, _ROOM])
    sound = reverberate(room, sound, rate)
    quiet = 10 ** (room.uniform(-66, -48) / 20) * 10 ** (rng.uniform(-3, 3) / 20)
    heard = sound + quiet * background(rng, _TURN_S, rate) + _steps(rng, seed, number, rate)
    return np.clip(heard, -1.0, 1.0).astype(np.float32)


def _dry(rng: np.random.Generator, seed: int, number: int, rate: float) -> NDArray[np.float64]:
    sound = np.zeros(round(_TURN_S * rate))
    happening = _happening(seed, number)
    if happening.label == NONE:
        return sound
    event = EVENTS[happening.label](rng, happening.end - happening.start - _TAIL_S, rate)
    ramp = np.minimum(1.0, np.minimum(np.arange(len(event)), np.arange(len(event))[::-1]) / (0.02 * rate))
    first = round(happening.start * rate)
    sound[first : first + len(event)] = event * ramp * happening.level / max(float(np.abs(event).max()), 1e-9)
    return sound


def _steps(rng: np.random.Generator, seed: int, number: int, rate: float) -> NDArray[np.float64]:
    """The footsteps of the person whose wrist and pocket are measured, faint."""
    sound = np.zeros(round(_TURN_S * rate))
    origin = number * _TURN_NS
    act = round_of(seed, origin // _ROUND_NS)
    offset = (origin % _ROUND_NS) / SECOND
    on_foot = act.edges[2], act.edges[-3]
    level = 10 ** (rng.uniform(-48, -34) / 20)
    for at in np.arange(on_foot[0], on_foot[1], 0.5 / act.stride_hz) - offset:
        step = level * rng.uniform(0.5, 1.0) * footstep(rng, rate)
        first = round(at * rate)
        if 0 <= first < len(sound) - len(step):
            sound[first : first + len(step)] += step
    return sound
