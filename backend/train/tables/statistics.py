"""What figures of people say: a mean with an interval, and whether two rows differ.

A figure is one person's metric in one seed; seeds leave out different people, and train anew. Intervals are a
bootstrap in two levels (Davison and Hinkley 1997, section 3.8): seeds are drawn, and people of each, because one
training that went badly is bad for all its people. Drawn from three seeds, it is too narrow where these differ much:
what is said of a difference rests on the wider one of that and of Student's t over the seeds' means. It knows nothing
of tasks but which way is better.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

RESAMPLES = 2000
FEW = 5
"""With fewer people nothing is said of an interval: a bootstrap over three says how these three differ."""
BETTER, WORSE, SAME, UNKNOWN = "better", "worse", "same", "too few people"

People = Mapping[str, float]
"""By `seed/person`, the metric."""


@dataclass(frozen=True)
class Figure:
    """A mean over people; `low` to `high` is its 95 % interval, None of few people."""

    mean: float
    low: float | None
    high: float | None
    people: int


def figure(people: People) -> Figure:
    """The mean of at least one person's metric, with its interval."""
    seeds = by_seed(people)
    mean = round(float(np.mean(list(people.values()))), 4)
    if len(people) < FEW:
        return Figure(mean, None, None, len(people))
    rng = np.random.default_rng(0)
    sums = [values[rng.integers(len(values), size=(RESAMPLES, len(seeds), len(values)))].sum(-1) for values in seeds]
    drawn = rng.integers(len(seeds), size=(RESAMPLES, len(seeds)))
    at = np.arange(RESAMPLES)[:, None], np.arange(len(seeds))[None]
    total = np.stack(sums)[drawn, *at].sum(-1)
    count = np.array([len(values) for values in seeds])[drawn].sum(-1)
    low, high = np.percentile(total / count, [2.5, 97.5])
    return Figure(mean, round(float(low), 4), round(float(high), 4), len(people))


def by_seed(people: People) -> list[np.ndarray]:
    """The metrics of each seed's people."""
    seeds: dict[str, list[float]] = {}
    for key, value in people.items():
        seeds.setdefault(key.split("/", 1)[0], []).append(value)
    return [np.array(values, float) for values in seeds.values()]


def difference(one: People, other: People) -> Figure | None:
    """`one` minus `other`, person by person, with the wider of two intervals; None where nobody is in both."""
    both = {key: one[key] - other[key] for key in one if key in other}
    return _widened(figure(both), both) if both else None


def _widened(gap: Figure, people: People) -> Figure:
    """With Student's t interval over the seeds' means, where there are several and it is the wider one."""
    means = [float(values.mean()) for values in by_seed(people)]
    if gap.low is None or gap.high is None or len(means) < 2:
        return gap
    from scipy.stats import t

    half = float(t.ppf(0.975, len(means) - 1) * np.std(means, ddof=1) / np.sqrt(len(means)))
    if 2 * half <= gap.high - gap.low:
        return gap
    return replace(gap, low=round(gap.mean - half, 4), high=round(gap.mean + half, 4))


def verdict(gap: Figure | None, higher_is_better: bool) -> str:
    """What a difference says of the first row: better or worse where its interval excludes 0."""
    if gap is None or gap.low is None or gap.high is None:
        return UNKNOWN
    if gap.low <= 0 <= gap.high:
        return SAME
    return BETTER if (gap.low > 0) == higher_is_better else WORSE


def spread(people: People) -> float | None:
    """Standard deviation of the seeds' means; None of a single seed."""
    means = [float(values.mean()) for values in by_seed(people)]
    return round(float(np.std(means, ddof=1)), 4) if len(means) > 1 else None


def rank_correlation(x: np.ndarray, y: np.ndarray) -> float | None:
    """Spearman's, with mean ranks of ties; None where one of the two does not vary."""
    if len(x) < 3 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return None
    return round(float(np.corrcoef(_ranks(x), _ranks(y))[0, 1]), 4)


def _ranks(x: np.ndarray) -> np.ndarray:
    _, place, count = np.unique(x, return_inverse=True, return_counts=True)
    last = np.cumsum(count)
    return np.asarray((last - (count - 1) / 2)[place])
