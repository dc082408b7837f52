"""Who does what when: a person's habits, and the rounds of sitting, walking and turning that fill absolute time.

Time since 1970 is divided into rounds of 32 s. What happens in a round follows from (seed, number of the round)
alone, so that processes that share nothing but a seed and a clock see the same person. A round begins and ends
seated, as the one before has left the person: on the same seat, in the same posture, in the middle of the same
movement. This module knows nothing of sensors.
"""

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

ACTIVITIES = ("SEATED", "STANDING_UP", "WALKING", "TURNING", "SITTING_DOWN")
ROUND_S = 32.0
SEATED, STANDING_UP, WALKING, TURNING, SITTING_DOWN = range(5)

_PERSON, _ROUND = 1, 2  # one stream of random numbers each
_LONGEST_LEG_S = 6.5  # walking, then turning
_TOGETHER = 16  # rounds after which the person is back on the first seat: nobody need count further than these


@dataclass(frozen=True, slots=True)
class Person:
    """What stays the same about a person: angles in radians, lengths in metres, frequencies in Hz.

    `wrist_*` say how the arm is held, `mount_*` how the phone lies in the pocket (turned about the thigh, turned in
    the pocket's plane, upside down, screen outwards).
    """

    stride_hz: float
    turn_s: float
    rise_s: float
    bob: float
    sway: float
    impact: float
    arm_swing: float
    arm_twist: float
    arm_phase: float
    thigh_swing: float
    hip_twist: float
    wrist_seated: tuple[float, float, float]
    wrist_standing: tuple[float, float, float]
    mount_thigh: float
    mount_plane: float
    mount_inverted: bool
    mount_outwards: bool
    thigh_seated: float
    restlessness: float


@lru_cache(maxsize=256)
def person(seed: int) -> Person:
    """The person of a seed. Spreads follow what phones and watches recorded of 17 people."""
    rng = np.random.default_rng([seed, _PERSON])

    def around(middle: float, spread: float) -> float:
        return float(np.clip(rng.normal(middle, spread), middle - 2.2 * spread, middle + 2.2 * spread))

    def lognormal(middle: float, spread: float) -> float:
        return middle * float(np.exp(around(0.0, spread)))

    return Person(
        stride_hz=around(0.89, 0.07),
        turn_s=around(1.2, 0.18),
        rise_s=around(1.3, 0.16),
        bob=lognormal(0.022, 0.25),
        sway=lognormal(0.022, 0.3),
        impact=lognormal(13.0, 0.45),
        arm_swing=lognormal(0.24, 0.45),
        arm_twist=lognormal(0.14, 0.4),
        arm_phase=around(0.0, 0.35),
        thigh_swing=lognormal(0.31, 0.16),
        hip_twist=lognormal(0.11, 0.35),
        wrist_seated=(around(0.25, 0.2), around(-0.3, 0.4), around(-0.5, 0.4)),
        wrist_standing=(around(1.25, 0.1), around(-1.25, 0.35), around(0.0, 0.25)),
        mount_thigh=float(rng.choice([-1.0, 1.0])) * around(0.55, 0.2),
        mount_plane=around(0.0, 0.25),
        mount_inverted=bool(rng.random() < 0.5),
        mount_outwards=bool(rng.random() < 0.4),
        thigh_seated=around(0.32, 0.17),
        restlessness=lognormal(1.0, 0.35),
    )


@dataclass(frozen=True, slots=True)
class Round:
    """One round: activity `index[i]` lasts from `edges[i]` to `edges[i + 1]` (seconds within the round).

    `turns` are angles (radians) of the turning segments in order; `fidgets` are (start, duration, reach) of small
    movements while seated, reach in radians for the hand; one that the round before began starts below 0. `noise`
    (samples, 9) is white, at NOISE_HZ, with MARGIN_S of the neighbours' before and after the round. `vigour` scales
    movements, `variation` (6,) shifts habits, in radians; `before` (6,) is that of the round before, in which the
    person still sits at first.
    """

    edges: NDArray[np.float64]
    index: NDArray[np.int64]
    turns: NDArray[np.float64]
    fidgets: NDArray[np.float64]
    stride_hz: float
    vigour: float
    variation: NDArray[np.float64]
    before: NDArray[np.float64]
    noise: NDArray[np.float64]

    def span(self, activity: int) -> tuple[float, float]:
        """Start and end of the activity's first segment."""
        i = int(np.flatnonzero(self.index == activity)[0])
        return float(self.edges[i]), float(self.edges[i + 1])

    def spans(self, activity: int) -> NDArray[np.float64]:
        """(n, 2) starts and ends of all segments of the activity."""
        i = np.flatnonzero(self.index == activity)
        return np.stack([self.edges[i], self.edges[i + 1]], -1)


NOISE_HZ = 100.0
MARGIN_S = 1.0
"""More than half of the longest bell that noise is smoothed by, so that it is smooth where rounds meet."""


@lru_cache(maxsize=64)
def round_of(seed: int, number: int) -> Round:
    """The round of that number (time since 1970 divided by ROUND_S) of the person of that seed."""
    # The first round of all, which none is before, goes on from one like itself.
    before, own, after = (_alone(seed, n) for n in (max(number - 1, 0), number, number + 1))
    margin = round(MARGIN_S * NOISE_HZ)
    begun = before.fidgets - (ROUND_S, 0.0, 0.0)
    return replace(
        own,
        fidgets=np.concatenate([begun[begun[:, 0] + begun[:, 1] > 0], own.fidgets]),
        before=before.variation,
        noise=np.concatenate([before.noise[-margin:], own.noise, after.noise[: margin + 2]]),
    )


def seat_at(seed: int, number: int) -> int:
    """0 where the round begins on the first seat, 1 on the other: there the rounds before have left the person."""
    return sum(_legs(seed, before) for before in range(number - number % _TOGETHER, number)) % 2


@lru_cache(maxsize=1024)
def _legs(seed: int, number: int) -> int:
    """How often the person would walk to the other seat in a round, if it mattered not where it ends."""
    return _segments(np.random.default_rng([seed, _ROUND, number]), person(seed))[1].count(TURNING)


@lru_cache(maxsize=16)
def _alone(seed: int, number: int) -> Round:
    """The round as if there were none before and after it: `noise` has no margins."""
    rng = np.random.default_rng([seed, _ROUND, number])
    who = person(seed)
    durations, index = _segments(rng, who)
    if number % _TOGETHER == _TOGETHER - 1 and (seat_at(seed, number) + index.count(TURNING)) % 2:
        # One leg less leads back to the first seat: its walk and turn are spent seated.
        durations[-1] += sum(durations[-4:-2])
        del durations[-4:-2], index[-4:-2]
    fidgets = np.stack([rng.uniform(0, ROUND_S, 5), rng.uniform(0.8, 2.0, 5), rng.normal(0, 0.22, 5)], -1)
    turns = rng.choice([-1.0, 1.0], index.count(TURNING)) * rng.normal(np.pi, 0.12, index.count(TURNING))
    stride_hz = float(who.stride_hz * np.exp(rng.normal(0, 0.04)))
    vigour, variation = float(np.exp(rng.normal(0, 0.12))), rng.normal(0, 0.1, 6)
    return Round(
        edges=np.concatenate([[0.0], np.cumsum(durations)]),
        index=np.array(index),
        turns=turns,
        fidgets=fidgets,
        stride_hz=stride_hz,
        vigour=vigour,
        variation=variation,
        before=variation,
        noise=rng.standard_normal((round(ROUND_S * NOISE_HZ), 9)),
    )


def _segments(rng: np.random.Generator, who: Person) -> tuple[list[float], list[int]]:
    """Seated, up, legs of walking and turning while there is time, down, seated."""
    rise, sit = who.rise_s * rng.uniform(0.85, 1.15), 1.1 * who.rise_s * rng.uniform(0.8, 1.3)
    durations, index = [rng.uniform(2.5, 6.0), rise], [SEATED, STANDING_UP]
    latest = ROUND_S - sit - rng.uniform(2.5, 8.0)
    while sum(durations) + _LONGEST_LEG_S <= latest:
        durations += [rng.uniform(2.0, 4.5), who.turn_s * rng.uniform(0.8, 1.2)]
        index += [WALKING, TURNING]
    durations += [sit]
    durations += [ROUND_S - sum(durations)]
    return durations, [*index, SITTING_DOWN, SEATED]
