"""Somebody with a phone: how hand, eyes and phone move in one round of 32 s, as functions of the time within it.

Lengths are metres in the phone's own axes: x right, y to its top, z out of the screen, from the screen's middle. The
hand's pose is told in these, so that it goes where the phone goes; the phone lies on a table or is held above it.
What happens in a round is made up elsewhere (`edge.simulator.story`). This module knows nothing of sensors.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from edge.simulator.body import smooth
from edge.simulator.geometry import rotation
from edge.simulator.hand import MIRROR, Hand, hand_of, turned

Floats = NDArray[np.float64]

ROUND_S = 32.0
CYCLE = 2 * np.pi / ROUND_S
"""rad/s: what sways at whole multiples of it goes on smoothly where rounds meet."""
SCREEN_M = (0.064, 0.128)
"""Width and height of the screen: EyeMU's phone."""
GESTURES = ("flick-forward", "flick-left", "flick-right", "pull-close", "push-away", "turn-left", "turn-right")
NONE = "none"
NOISE_HZ, MARGIN_S = 100.0, 0.5

_SITTER = 31  # a stream of random numbers
_PIVOT = np.array([0.0, -0.08, -0.02])  # the hand's joint that a held phone turns about
_SACCADE_S = 0.045


@dataclass(frozen=True, slots=True)
class Sitter:
    """What stays the same about a person: `yaw` and `steep` say how the hand comes in, `curl` how far idle fingers
    bend, 0..1; `tilt` how a phone is held; `bias` (2,) and `gain` (2,) what the gaze tracker makes of these eyes,
    `jitter` its noise, shares of the screen; `tremor` m; `skin` red, green, blue.
    """

    hand: Hand
    yaw: float
    steep: float
    curl: float
    tilt: float
    bias: Floats
    gain: Floats
    jitter: float
    tremor: float
    vigour: float
    skin: tuple[float, float, float]


@lru_cache(maxsize=64)
def sitter(seed: int) -> Sitter:
    """The person of a seed."""
    rng = np.random.default_rng([seed, _SITTER])
    light = rng.uniform(0.3, 1.0)
    return Sitter(
        hand=hand_of(rng),
        yaw=float(rng.uniform(0.2, 0.6)),
        steep=float(rng.uniform(0.0, 0.25)),
        curl=float(rng.uniform(0.0, 1.0)),
        tilt=float(rng.uniform(0.5, 0.8)),
        bias=rng.normal(0, (0.035, 0.03)),
        gain=rng.normal(1.0, 0.05, 2),
        jitter=float(rng.uniform(0.015, 0.035)),
        tremor=float(rng.uniform(0.5, 1.5)) * 1e-4,
        vigour=float(np.exp(rng.normal(0, 0.15))),
        skin=(0.92 * light, 0.72 * light, 0.6 * light),
    )


@dataclass(frozen=True, slots=True)
class Contact:
    """A finger (0..4) on the screen from `start` to `end`, s, pressed with `force` 0..1."""

    start: float
    end: float
    finger: int
    force: float


@dataclass(frozen=True, slots=True)
class Gesture:
    """A movement of the phone that takes from `start` to `end`, s: out in the first of `parts`, held, and back.

    `turn` (3,) is axis-angle, rad, `shift` (3,) m, both in the axes of the held phone. `label` is "none" for a fidget.
    """

    start: float
    end: float
    parts: tuple[float, float]
    turn: Floats
    shift: Floats
    label: str


@dataclass(frozen=True, slots=True)
class Round:
    """One round of one person. `side` is 1 for the right hand and -1 for the left.

    At `times` (k,) s the hand has `pose` (k, 26): wrist m, heading, pitch and roll of `hand.turned` for a right hand,
    and 20 angles; in between it moves as limbs do. `lift` is when the phone goes up and when down. `fixations` (f, 3)
    are times and places, shares of the screen from its top left corner. `edges` (e, 5) are palms that rest on an edge
    of the screen: start, end, x, y, half length. `noise` (samples, 14) is white, at NOISE_HZ.
    """

    side: float
    times: Floats
    pose: Floats
    contacts: tuple[Contact, ...]
    gestures: tuple[Gesture, ...]
    lift: tuple[float, float]
    held: Floats
    askew: float
    fixations: Floats
    edges: Floats
    noise: Floats
    who: Sitter

    def hand(self, u: Floats) -> tuple[Floats, Floats, Floats]:
        """Wrist (n, 3), axes (n, 3, 3) and joints (n, 21, 3) of the hand in the phone's axes."""
        pose = _between(self.times, self.pose, u)
        wrist = pose[:, :3] + (1 - self.touching(u, 0.18))[:, None] * self._tremor(u)
        axes = turned(pose[:, 3], pose[:, 4], pose[:, 5])
        joints = self.who.hand.joints(pose[:, 6:].reshape(-1, 5, 4)) @ axes.swapaxes(-1, -2)
        if self.side < 0:
            joints = joints * MIRROR
            axes = MIRROR[:, None] * axes * MIRROR
        return wrist, axes, joints + wrist[:, None]

    def phone(self, u: Floats) -> tuple[Floats, Floats]:
        """Place (n, 3) of the screen's middle and axes (n, 3, 3) of the phone above the table it lies on."""
        up = self.lifted(u)
        turn, shift = np.zeros((len(u), 3)), np.zeros((len(u), 3))
        for gesture in self.gestures:
            out, back = gesture.parts
            course = smooth((u - gesture.start) / out) - smooth((u - gesture.end + back) / back)
            turn += course[:, None] * gesture.turn
            shift += course[:, None] * gesture.shift
        turn += 0.02 * up[:, None] * self._sway(u)
        shift += up[:, None] * (0.001 * self._sway(u + 1.7) + 0.6 * self._tremor(u + 0.37))
        raised = rotation(up[:, None] * self.tilted)
        turned_too = rotation(turn)
        moved = _PIVOT - turned_too @ _PIVOT + shift
        return up[:, None] * self.held + (raised @ moved[..., None])[..., 0], raised @ turned_too

    def placed(self, u: Floats) -> tuple[Floats, Floats, Floats]:
        """Joints (n, 21, 3), wrist (n, 3) and axes (n, 3, 3) of the hand above the table: it goes with the phone."""
        wrist, axes, joints = self.hand(u)
        place, phone = self.phone(u)
        moved = joints @ phone.swapaxes(-1, -2) + place[:, None]
        return moved, (phone @ wrist[..., None])[..., 0] + place, phone @ axes

    @property
    def tilted(self) -> Floats:
        """(3,) axis-angle, rad: how the phone is held while nothing moves, at `held` (3,) m above where it lay."""
        return np.array([self.who.tilt, 0.0, self.askew])

    def lifted(self, u: Floats) -> Floats:
        """(n,) 0 while the phone lies, 1 while it is held, whatever is done with it."""
        return smooth((u - self.lift[0]) / 0.8) - smooth((u - self.lift[1]) / 0.8)

    def touching(self, u: Floats, ramp: float) -> Floats:
        """(n,) 1 while a finger touches, going up before and down after within `ramp` s."""
        touch = np.zeros_like(u)
        for contact in self.contacts:
            touch = np.maximum(touch, smooth((u - contact.start) / ramp + 1) - smooth((u - contact.end) / ramp))
        return touch

    def force(self, u: Floats) -> Floats:
        """(n, 5) how hard each finger presses, 0..1; 0 unless it touches."""
        force = np.zeros((len(u), 5))
        for c in self.contacts:
            press = smooth((u - c.start) / 0.08 + 0.3) * smooth((c.end - u) / 0.08 + 0.3)
            force[:, c.finger] += np.where((u >= c.start) & (u < c.end), c.force * press, 0.0)
        return force

    def knocks(self, u: Floats) -> Floats:
        """(n,) how contacts ring in whatever feels them, 1 for an ordinary one."""
        ring = np.zeros_like(u)
        for contact in self.contacts:
            since = np.clip(u - contact.start, 0.0, None)
            ring += (0.4 + contact.force) * np.exp(-since / 0.03) * np.sin(2 * np.pi * 18.0 * since)
        return ring

    def gaze(self, u: Floats) -> Floats:
        """(n, 2) where the eyes are, shares of the screen from its top left corner."""
        starts, place = self.fixations[:, 0], self.fixations[:, 1:]
        now = np.clip(np.searchsorted(starts, u, side="right") - 1, 0, len(starts) - 1)
        before = np.maximum(now - 1, 0)
        share = smooth((u - starts[now]) / _SACCADE_S)[:, None]
        v = CYCLE * u
        drift = np.stack([np.sin(11 * v) + np.sin(27 * v + 1), np.sin(9 * v + 2) + np.sin(21 * v)], -1)
        eyes: Floats = place[before] + (place[now] - place[before]) * share + 0.004 * drift
        return eyes

    def random(self, u: Floats, channel: int) -> Floats:
        """(n,) noise of about unit variance."""
        raw = self.noise[:, channel]
        return np.interp((u + MARGIN_S) * NOISE_HZ, np.arange(len(raw)), raw)

    def _tremor(self, u: Floats) -> Floats:
        phase = self.noise[0, :3] * 3
        waves = np.sin(2 * np.pi * np.array([8.3, 9.1, 10.2]) * u[:, None] + phase)
        return self.who.tremor * (waves + 1.5 * np.sin(2 * np.pi * np.array([3.1, 2.6, 3.7]) * u[:, None] + 2 * phase))

    def _sway(self, u: Floats) -> Floats:
        slow = np.sin(2 * np.pi * np.array([0.21, 0.33, 0.27]) * u[:, None] + self.noise[1, :3] * 3)
        sway: Floats = 2.0 * slow + np.sin(2 * np.pi * np.array([1.3, 0.9, 1.1]) * u[:, None] + self.noise[2, :3] * 3)
        return sway


def _between(times: Floats, values: Floats, u: Floats) -> Floats:
    """(n, C) between the rows of `values` (k, C) at `times` (k,), from rest to rest."""
    after = np.clip(np.searchsorted(times, u, side="right"), 1, len(times) - 1)
    start, end = times[after - 1], times[after]
    share = smooth((u - start) / np.maximum(end - start, 1e-9))[:, None]
    between: Floats = values[after - 1] + (values[after] - values[after - 1]) * share
    return between
