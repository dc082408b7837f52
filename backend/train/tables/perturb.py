"""Appendix D: what trained models do where sensors are noisy, missing, late, or seen for less time; and the gate.

Evaluation only. Each disturbance is a function of sequences (or of how much of the past a model sees); the gate's
attribution stands beside what taking a modality away costs.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Sequence as Many
from dataclasses import replace
from typing import Any

import numpy as np

from backend.data.recording import Sequence, Series
from backend.model.sensorlm import SensorModel
from backend.train.tables.columns import Column
from backend.train.tables.measure import Calibration, Said, answers, by_person, losses
from backend.train.tables.people import part
from backend.train.tables.statistics import rank_correlation
from backend.train.tables.tokens import encoded

NOISE = (0.1, 0.3, 1.0)
"""Of each channel's deviation over the test people."""
LATE = (1, 2, 4)
"""Slots of half a second that one stream's clock is wrong by."""
CONTEXT = (0, 1, 2)
"""Slots of the past that a decision sees, beside all that it was trained with."""


def noisy(sequences: Many[Sequence], share: float, seed: int) -> list[Sequence]:
    """Gaussian noise on every channel of every stream, of this share of the channel's deviation."""
    rng, deviations = np.random.default_rng([seed, 83]), _deviations(sequences)

    def disturbed(one: Series) -> Series:
        noise = rng.standard_normal(one.values.shape, np.float32) * np.float32(share) * deviations[_kind(one)]
        x = one.values.astype(np.float32) + noise.astype(np.float32)
        if np.issubdtype(one.values.dtype, np.integer):
            bounds = np.iinfo(str(one.values.dtype))
            x = np.clip(np.rint(x), bounds.min, bounds.max)
        return replace(one, values=x.astype(one.values.dtype))

    return [replace(one, series=tuple(map(disturbed, one.series))) for one in sequences]


def _kind(one: Series) -> tuple[Any, ...]:
    return (one.modality, one.scale, one.values.shape[-1], one.values.dtype.str)


def _deviations(sequences: Iterable[Sequence]) -> dict[tuple[Any, ...], np.ndarray]:
    """By kind of stream, the standard deviation (C,) of each channel as stored."""
    sums: dict[tuple[Any, ...], np.ndarray] = {}
    for one in sequences:
        for s in one.series:
            x = s.values[s.present].astype(np.float64).reshape(-1, s.values.shape[-1])
            found = np.stack([np.full(x.shape[1], float(len(x))), x.sum(0), np.square(x).sum(0)])
            sums[_kind(s)] = sums.get(_kind(s), 0.0) + found
    return {
        kind: np.sqrt(np.maximum(square / n - np.square(total / n), 0.0)) for kind, (n, total, square) in sums.items()
    }


def without(sequences: Many[Sequence], modality: str) -> list[Sequence]:
    """No stream of this modality."""
    found = (replace(one, series=tuple(s for s in one.series if s.modality != modality)) for one in sequences)
    return [one for one in found if one.series]


def late(sequences: Many[Sequence], modality: str, slots: int) -> list[Sequence]:
    """The first stream of this modality is told that many slots too late; the first ones are then missing."""
    return [replace(one, series=tuple(_late(one.series, modality, slots))) for one in sequences]


def _late(series: Many[Series], modality: str, slots: int) -> Iterator[Series]:
    chosen = min((s.key for s in series if s.modality == modality), default=None)
    for one in series:
        if one.key != chosen:
            yield one
            continue
        values, quality, present = (np.roll(a, slots, 0) for a in (one.values, one.quality, one.present))
        present[:slots] = False
        yield replace(one, values=values, quality=quality, present=present)


def seeing(model: SensorModel, slots: int) -> SensorModel:
    """The same weights with less of the past: how far a decision sees is read from the configuration."""
    shorter = copy.copy(model)
    shorter.config = replace(model.config, slots=slots)
    return shorter


def halves(sequences: Many[Sequence]) -> list[Sequence]:
    """The first half of every sequence, which is what disturbances are measured on."""
    return [part(one, 0, max(8, one.length // 2)) for one in sequences]


def disturbances(
    model: SensorModel,
    sequences: Many[Sequence],
    columns: Many[Column],
    calibration: Mapping[str, Calibration],
    seed: int,
) -> tuple[dict[str, dict[str, dict[str, float]]], dict[str, Any]]:
    """Every person's metric, by disturbance and column of one set; and by column what is told of the gate."""
    windows = halves(sequences)
    sequences = encoded(model, windows)
    whole = answers(model, sequences, columns)
    found: dict[str, dict[str, dict[str, float]]] = {}

    def note(condition: str, of: Mapping[str, Said], asked: Many[Column] = columns) -> None:
        for one in asked:
            if one.name in of:
                found.setdefault(condition, {})[one.name] = by_person(one, of[one.name], calibration[one.name])

    note("none", whole)
    for share in NOISE:
        note(f"noise {share:g}", answers(model, noisy(windows, share, seed), columns))
    for slots in CONTEXT:
        if slots < model.config.slots:
            note(f"context {slots / 2:g} s", answers(seeing(model, slots), sequences, columns))
    for main in {one.main for one in columns if one.main in model.config.modalities}:
        mine = [one for one in columns if one.main == main]
        for slots in LATE:
            note(f"main sense {slots / 2:g} s late", answers(model, late(sequences, main, slots), mine), mine)
    lost: dict[str, dict[str, Said]] = {}
    for modality in model.config.modalities if len(model.config.modalities) > 1 else ():
        mine = [one for one in columns if modality in one.senses]
        if not mine:
            continue
        lost[modality] = answers(model, without(sequences, modality), mine)
        note(f"without {modality}", lost[modality], mine)
    gates = {one.name: gate(one, whole[one.name], lost, calibration[one.name]) for one in columns if one.name in whole}
    return found, {name: told for name, told in gates.items() if told}


def gate(
    column: Column, whole: Said, lost: Mapping[str, Mapping[str, Said]], calibration: Calibration
) -> dict[str, Any]:
    """Per person and modality, the gate's mean weight and by how much the loss grows without the modality.

    Only decisions that are made with and without it are compared. `rank` is Spearman's correlation over pairs of
    person and modality.
    """
    before = dict(zip(whole.at.tolist(), losses(column, whole, calibration).tolist(), strict=True))
    pairs: dict[str, list[tuple[float, float]]] = {}
    for modality, of in lost.items():
        said = of.get(column.name)
        if said is None or not len(said.at):
            continue
        after = losses(column, said, calibration)
        rise = after - np.array([before.get(at, np.nan) for at in said.at.tolist()])
        for person in np.unique(said.person):
            grown, weight = rise[said.person == person], whole.gate[modality][whole.person == person]
            if np.isfinite(grown).any() and len(weight):
                pairs.setdefault(modality, []).append((float(weight.mean()), float(np.nanmean(grown))))
    if len(pairs) < 2:
        return {}
    every = np.array([pair for of in pairs.values() for pair in of])
    return {
        "rank": rank_correlation(every[:, 0], every[:, 1]),
        "pairs": len(every),
        "modalities": {
            m: {
                "attribution": round(float(np.mean([a for a, _ in of])), 4),
                "removal": round(float(np.mean([b for _, b in of])), 4),
            }
            for m, of in pairs.items()
        },
    }
