"""What a round with a phone is made of: which finger touches when, which gestures are made, where the eyes go.

Time since 1970 is divided into rounds of 32 s. In each, one hand comes to the phone, which lies on a table, touches its
screen with one finger after the other, and takes it up and moves it (the gestures of EyeMU, Kong et al. 2021: every one
goes out and comes back); then it leaves. Eyes are where the finger will be, some time before it is there. This module
knows nothing of sensors.
"""

from dataclasses import replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from edge.simulator.grip import ABOVE, BELOW, BESIDE, TABLE_M, UNDER, holding, off_table, taking
from edge.simulator.hand import MIRROR, TIPS, turned
from edge.simulator.session import (
    GESTURES,
    MARGIN_S,
    NOISE_HZ,
    NONE,
    ROUND_S,
    SCREEN_M,
    Contact,
    Gesture,
    Round,
    Sitter,
    sitter,
)

Floats = NDArray[np.float64]
Random = np.random.Generator

_ROUND = 32  # a stream of random numbers
_TURNS = {  # axis-angle directions in the phone's axes
    "flick-forward": (-1.0, 0.0, 0.0),
    "flick-left": (0.0, 0.0, 1.0),
    "flick-right": (0.0, 0.0, -1.0),
    "turn-left": (0.0, -1.0, 0.0),
    "turn-right": (0.0, 1.0, 0.0),
}
_SETTLED_S = 0.1  # the eyes have come to rest so long before a round ends
_CLEAR_M = 0.006  # what does not touch stays at least this far from the screen


@lru_cache(maxsize=32)
def round_of(seed: int, number: int) -> Round:
    """The round of that number (time since 1970 divided by ROUND_S) of the person of that seed."""
    rng, who = np.random.default_rng([seed, _ROUND, number]), sitter(seed)
    story = _Story(rng, who, float(rng.choice([-1.0, 1.0])))
    touching_s = float(rng.uniform(13.0, 15.0))
    at = float(rng.uniform(0.8, 1.3))
    if rng.random() < 0.5:
        at = story.touches(at, at + touching_s)
        story.holds(at, 30.9)
    else:
        at = story.holds(at, 31.2 - touching_s)
        story.touches(at, 31.2)
    story.leaves()
    act = Round(
        side=story.side,
        times=np.array(story.times),
        pose=np.array(story.poses),
        contacts=tuple(story.contacts),
        gestures=tuple(story.gestures),
        lift=story.lift,
        held=rng.normal((0.0, -0.02, 0.13), (0.02, 0.015, 0.015)),
        askew=float(rng.normal(0, 0.1)),
        fixations=_fixations(rng, story.looks, [_glance(seed, n) for n in (number, number + 1)]),
        edges=np.array(story.edges).reshape(-1, 5),
        noise=rng.standard_normal((int((ROUND_S + 2 * MARGIN_S) * NOISE_HZ) + 2, 14)),
        who=who,
    )
    return replace(act, held=act.held + np.array([0.0, 0.0, _higher(act)]))


def _higher(act: Round) -> float:
    """By how many metres a phone has to be held higher, so that no gesture brings the hand into the table."""
    u = np.arange(act.lift[0], act.lift[1] + 0.8, 0.05)
    up = act.lifted(u)
    u, up = u[up > 0.4], up[up > 0.4]
    lowest = (act.placed(u)[0][:, 1:, 2] - act.who.hand.thickness()).min(1)
    return max(float(((TABLE_M - lowest) / up).max()), 0.0)


class _Story:
    """A round as it is made up: what the hand, the eyes and the phone do, in order of time."""

    def __init__(self, rng: Random, who: Sitter, side: float) -> None:
        self.rng, self.who, self.side = rng, who, side
        self.times: list[float] = []
        self.poses: list[Floats] = []
        self.contacts: list[Contact] = []
        self.gestures: list[Gesture] = []
        self.looks: list[tuple[float, float, float, float]] = []  # from, until, x, y
        self.edges: list[tuple[float, float, float, float, float]] = []
        self.lift = (0.0, 0.0)
        away = np.array([0.13 * side, -0.36, 0.05, 0.2, 0.0, 0.1, *(0.0, 0.3, 0.4, 0.2) * 5])
        self._away = off_table(who.hand, away)
        self._key(0.0, self._away)

    def touches(self, start: float, end: float) -> float:
        """Fingers touch from `start` on; returns when the last is up again, at most `end`."""
        rng, last = self.rng, start
        contact = start + float(rng.uniform(0.7, 1.0))
        while True:
            kind = rng.choice(["tap", "hold", "drag"], p=[0.3, 0.35, 0.35])
            seconds = float(
                {"tap": rng.uniform(0.4, 0.8), "hold": rng.uniform(0.9, 2.0), "drag": rng.uniform(1.1, 2.4)}[kind]
            )
            if contact + seconds + 0.25 > end:
                return last
            self._touch(contact, contact + seconds, kind == "drag")
            last = contact + seconds + 0.25
            contact += seconds + float(rng.uniform(0.6, 0.95))

    def _touch(self, start: float, end: float, drags: bool) -> None:
        rng, hand = self.rng, self.who.hand
        finger = int(rng.integers(5))
        angles, course, tip = self._reaching(finger)
        low = np.array([-0.5, -0.5]) * SCREEN_M + 0.006
        place = rng.uniform(low, -low)
        to = place + (rng.uniform(-0.045, 0.045, 2) if drags else 0.0)
        to = np.clip(to, low, -low)

        def above(at: Floats, height: float) -> Floats:
            wrist = np.array([*at, hand.radii[finger] + height]) - tip
            return np.concatenate([wrist, course, angles.reshape(-1)])

        self._key(start - 0.18, above(place + rng.normal(0, 0.004, 2), float(rng.uniform(0.012, 0.028))))
        self._key(start, above(place, 0.0))
        self._key(end, above(to, 0.0))
        self._key(end + 0.2, above(to + rng.normal(0, 0.004, 2), float(rng.uniform(0.012, 0.028))))
        self.contacts.append(Contact(start, end, finger, float(rng.uniform(0.3, 1.0))))
        seen = [_share(at) + rng.normal(0, (0.04, 0.02)) for at in (place, to)]
        early, ahead = float(rng.uniform(0.4, 0.75)), start + float(rng.uniform(0.1, 0.3))
        self.looks.append((start - early, ahead if drags else start + 0.15, *seen[0]))
        if drags:
            self.looks.append((ahead, end - 0.1, *seen[1]))
        if rng.random() < 0.25:
            edge = self.side if rng.random() < 0.7 else -self.side
            rest = (
                start - 0.1,
                end + 0.1,
                edge * SCREEN_M[0] / 2,
                float(rng.uniform(-0.05, 0.0)),
                float(rng.uniform(0.01, 0.02)),
            )
            self.edges.append(rest)

    def _reaching(self, finger: int) -> tuple[Floats, Floats, Floats]:
        """Angles (5, 4), heading, pitch and roll (3,) of a hand whose one finger points at the screen, and where its
        tip is from the wrist (3,): nothing else comes near the screen.
        """
        rng, who = self.rng, self.who
        angles = np.zeros((5, 4))
        curl = who.curl + float(rng.normal(0, 0.1))
        angles[:, 1:] = np.array([0.0, 0.35, 0.2]) + curl * np.array([0.4, 0.5, 0.2])
        angles[0] = (0.3, -0.25, 0.15, 0.1)
        course = np.array([who.yaw, who.steep, 0.1 + 0.06 * finger if finger else -0.35]) + rng.normal(
            0, (0.12, 0.04, 0.06)
        )
        bent = (0.3, 0.4, 0.15) if finger else (0.15, 0.2, 0.1)
        angles[finger] = (0.0 if finger else 0.2, *(np.array(bent) + rng.normal(0, 0.06, 3)))
        idle = [f for f in range(1, 5) if f != finger]
        for attempt in range(25):
            if attempt:  # what is too low is lifted, and the finger that touches reaches farther down
                angles[idle, 1:] -= (0.06, 0.02, 0.01)
                angles[finger, 1:3] += 0.02
            axes = turned(*course[:, None])[0]
            joints = who.hand.joints(angles[None])[0] @ axes.T
            low = (joints[1:, 2] - np.repeat(who.hand.radii, 4)).reshape(5, 4)
            tip = low[finger, 3]
            low[finger] = np.inf
            if low.min() > tip + _CLEAR_M:
                break
        place = joints[TIPS[finger]]
        return angles, course, place * MIRROR if self.side < 0 else place

    def holds(self, start: float, end: float) -> float:
        """The phone is taken up at `start`, moved, and put down; returns when the hand lets go, `end`."""
        rng, hand = self.rng, self.who.hand
        above, beside = (off_table(hand, taking(hand, stance)) for stance in (ABOVE, BESIDE))
        below, under, around = taking(hand, BELOW), taking(hand, UNDER), holding(hand)
        for pose in (above, beside, below, under, around):
            pose[0] *= self.side
        self.lift = up, down = start + 0.9, end - 1.5
        # The hand goes under the phone once it has risen, and leaves before it is down.
        for after, pose in ((-0.5, above), (0.1, beside), (0.58, below), (0.88, under), (1.05, around)):
            self._key(up + after, pose)
        for after, pose in ((-0.1, around), (0.06, under), (0.3, below), (0.7, beside), (1.2, above)):
            self._key(down + after, pose)
        at, before = start + 1.5, ""
        while True:
            at += float(rng.uniform(0.45, 0.9))
            fidgets = rng.random() < 0.2
            label = NONE if fidgets else str(rng.choice([g for g in GESTURES if g != before]))
            gesture = self._gesture(at, label)
            if gesture.end > end - 1.6:
                return end
            self.gestures.append(gesture)
            cell = (rng.integers(2) * 0.5 + 0.25, rng.integers(4) * 0.25 + 0.125)  # EyeMU's grid of eight widgets
            seen = np.array(cell) + rng.normal(0, (0.05, 0.025))
            if not fidgets:
                self.looks.append((at - float(rng.uniform(0.25, 0.45)), gesture.end, *seen))
                before = label
            at = gesture.end

    def _gesture(self, start: float, label: str) -> Gesture:
        rng, vigour = self.rng, self.who.vigour
        turn, shift = rng.normal(0, 0.035, 3), rng.normal(0, 0.005, 3)
        if label == NONE:
            parts, rest = (float(rng.uniform(0.4, 0.8)), float(rng.uniform(0.4, 0.8))), float(rng.uniform(0.0, 0.4))
            turn, shift = rng.normal(0, 0.11, 3), rng.normal(0, 0.02, 3)
        elif label in _TURNS:
            wide = rng.uniform(0.6, 1.05) if label.startswith("flick") else rng.uniform(0.8, 1.3)
            turn += wide * vigour**0.5 * np.array(_TURNS[label])
            parts = (float(rng.uniform(0.28, 0.42)), float(rng.uniform(0.34, 0.52)))
            rest = float(rng.uniform(0.0, 0.15) if label.startswith("flick") else rng.uniform(0.15, 0.35))
        else:
            shift[2] += rng.uniform(0.075, 0.12) * (1.0 if label == "pull-close" else -1.0)
            parts, rest = (float(rng.uniform(0.3, 0.45)), float(rng.uniform(0.4, 0.6))), float(rng.uniform(0.1, 0.3))
        return Gesture(start, start + sum(parts) + rest, parts, turn, shift, label)

    def leaves(self) -> None:
        """The hand is gone when the round ends."""
        self._key(min(self.times[-1] + 0.8, ROUND_S - 0.1), self._away)
        self._key(ROUND_S, self._away)

    def _key(self, time: float, pose: Floats) -> None:
        self.times.append(time)
        self.poses.append(pose)


def _share(place: Floats) -> Floats:
    """(2,) shares of the screen from its top left corner of a place (2,) in the phone's axes."""
    return np.array([0.5 + place[0] / SCREEN_M[0], 0.5 - place[1] / SCREEN_M[1]])


def _glance(seed: int, number: int) -> Floats:
    """(2,) where the eyes are when the round begins and the one before ends."""
    return _anywhere(np.random.default_rng([seed, _ROUND, number, 1]))


def _anywhere(rng: Random) -> Floats:
    """(2,) a place on the screen that catches the eye."""
    return np.clip(rng.normal(0.5, (0.22, 0.24)), 0.02, 0.98)


def _fixations(rng: Random, looks: list[tuple[float, float, float, float]], ends: list[Floats]) -> Floats:
    """(f, 3) times and places: what is looked at on purpose, and in between whatever catches the eye.

    `ends` are the places at which the round begins and ends.
    """
    found, at = [], -1.0
    for start, until, x, y in [*sorted(looks), (ROUND_S + 1.0, ROUND_S + 1.0, 0.5, 0.5)]:
        while at < start - 0.15:
            found.append((at, *_anywhere(rng)))
            at += float(rng.uniform(0.2, 0.55))
        found.append((start, *np.clip((x, y), 0.0, 1.0)))
        at = max(until, start + 0.1)
    within = sorted(look for look in found if _SETTLED_S < look[0] < ROUND_S - 2 * _SETTLED_S)
    return np.array([(-1.0, *ends[0]), *within, (ROUND_S - _SETTLED_S, *ends[1])])
