"""From samples and facts to the points of a plot: so few that a phone draws them at once, and no peak is lost.

Where there are more samples than points, a piece of time is drawn as its least and its largest value. Pieces lie on a
grid, so that a plot which moves on does not flicker. It refuses to know how points are drawn.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backend.serve.recent import Samples, Strip, between
from edge.clock import SECOND
from edge.facts import FACTS

MOST_POINTS = 400
"""Of a line, at most."""
_MOST_FACTS = 3
_GAP_MS = 1_500.0  # two windows and a half: what is longer is no line
_MS = SECOND // 1000

Row = tuple[float | None, ...]
"""No list: what puts a plot on a page would watch every list in it for changes."""


@dataclass(frozen=True)
class Lines:
    """Lines in one unit. A row is a time in ms UTC and the value of each line, None where it is interrupted."""

    names: tuple[str, ...]
    unit: str
    rows: tuple[Row, ...]


def panels(strip: Strip, began: int, ended: int) -> list[Lines]:
    """What is drawn of a stream between two times, ns UTC: its samples by unit, or what its facts say of it."""
    if not strip.shown:
        return [facts_panel(strip.facts, main_facts(strip), began, ended)]
    t_T, values_TC = _joined(between(strip.samples, strip.rate, began, ended), strip.rate, len(strip.shown))
    rows = _rows(t_T, values_TC, (ended - began) / _MS)
    found = []
    for unit in dict.fromkeys(strip.units):
        places = [i for i, each in enumerate(strip.units) if each == unit]
        names = tuple(strip.shown[i] for i in places)
        found.append(Lines(names, unit, tuple((row[0], *(row[1 + i] for i in places)) for row in rows)))
    return found


def shape(strip: Strip) -> tuple[object, ...]:
    """What makes a plot another one: while it is equal, only rows change."""
    return strip.modality, strip.tokens, strip.shown, () if strip.shown else main_facts(strip)


def main_facts(strip: Strip) -> tuple[str, ...]:
    """The facts of a stream that are drawn unless another is asked for: the first one and others of its unit."""
    told = strip.facts[-1][1] if strip.facts else {}
    ours = [name for name in FACTS if name in told]
    return tuple(name for name in ours if FACTS[name] == FACTS[ours[0]])[:_MOST_FACTS]


def facts_panel(told: Iterable[tuple[int, Mapping[str, float]]], names: Sequence[str], began: int, ended: int) -> Lines:
    """Facts over the times of their windows' middles, for those that began between two times, ns UTC."""
    kept = [(t0, facts) for t0, facts in told if began <= t0 <= ended]
    t_T = np.array([t0 for t0, _ in kept], np.float64) / _MS + 500
    values_TC = np.array([[facts.get(name, np.nan) for name in names] for _, facts in kept], np.float64)
    unit = FACTS.get(names[0], "") if names else ""
    rows = _rows(t_T, values_TC.reshape(len(kept), len(names)), (ended - began) / _MS)
    return Lines(tuple(names), unit, rows)


def _joined(samples: Sequence[Samples], rate: float, channels: int) -> tuple[NDArray[np.float64], NDArray[np.floating]]:
    """(T,) ms UTC and (T, C)."""
    if not samples:
        return np.empty(0), np.empty((0, channels))
    t_T = np.concatenate([begin / _MS + np.arange(len(piece)) * (1e3 / rate) for begin, piece in samples])
    return t_T, np.concatenate([piece for _, piece in samples])


def _rows(t_T: NDArray[np.float64], values_TC: NDArray[np.floating], span_ms: float) -> tuple[Row, ...]:
    if len(t_T) > MOST_POINTS:
        t_T, values_TC = _folded(t_T, values_TC, max(span_ms, t_T[-1] - t_T[0]) / (MOST_POINTS // 2 - 1))
    gaps = np.flatnonzero(np.diff(t_T) > _GAP_MS) + 1
    t_T, values_TC = np.insert(t_T, gaps, t_T[gaps - 1] + 1), np.insert(values_TC, gaps, np.nan, axis=0)
    largest_C = np.nanmax(np.abs(values_TC), axis=0, initial=1e-9)
    columns = []
    for values_T, largest in zip(values_TC.T.astype(np.float64), largest_C, strict=True):
        rounded = np.round(values_T, 3 - int(np.log10(largest))).tolist()  # four digits are more than can be seen
        columns.append([None if math.isnan(value) else value for value in rounded])
    return tuple(zip(np.round(t_T).tolist(), *columns, strict=True))


def _folded(
    t_T: NDArray[np.float64], values_TC: NDArray[np.floating], step_ms: float
) -> tuple[NDArray[np.float64], NDArray[np.floating]]:
    """Least and largest of each piece of the grid, one after the other."""
    piece_T = np.floor(t_T / step_ms)
    first_P = np.flatnonzero(np.diff(piece_T, prepend=-np.inf))
    low_PC, high_PC = np.fmin.reduceat(values_TC, first_P), np.fmax.reduceat(values_TC, first_P)
    t_P = piece_T[first_P] * step_ms
    folded_QC = np.stack([low_PC, high_PC], 1).reshape(-1, values_TC.shape[1])
    return np.stack([t_P, t_P + step_ms / 2], 1).reshape(-1), folded_QC
