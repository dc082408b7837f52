"""Drawings of what runs over time: labels, motion, places, gaze and sound.

Each takes a sample of a recording and gives the rows of the picture. It knows how a modality looks and no data set.

n is a number of samples.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from backend.data.recording import Segments, Track, Values
from backend.data.sample import STALE_S, Floats, Row, Sample, about, bar, cut, stamp, time_axis
from backend.tasks import TASKS, Classification
from backend.tasks.gaze import SCREEN_CM
from edge.clock import SECOND

if TYPE_CHECKING:
    from matplotlib.figure import SubFigure

FEW = 9
"""Lines of a series with their names above; where there are more, they are thin and their names beside."""
LETTERS = 150
"""Of a label, that fit side by side across the picture."""
SHARES = {"gaze": "share of the screen"}
"""What numbers without a unit are shares of."""
WAVE_POINTS = 3000


def strip(of: Sample, name: str, truth: Segments, band: SubFigure) -> None:
    """Labels over time; white is unlabelled."""
    from matplotlib import colormaps

    axes, task = band.subplots(), TASKS[name]
    assert isinstance(task, Classification)
    palette, first, last = colormaps["tab20"], of.passed(of.low), of.passed(of.high)
    letter = max(last - first, 1e-3) / LETTERS
    for start, end, index in zip(truth.edges[:-1], truth.edges[1:], truth.index, strict=True):
        left, right = max(start, of.low), min(end, of.high)
        if index < 0 or right <= left:
            continue
        begin, end_, label = of.passed(left), of.passed(right), task.labels[index]
        axes.barh(0, end_ - begin, left=begin, color=palette(int(index) % 20), edgecolor="white", alpha=0.8)
        # A name that does not fit stands above its strip, and within the picture where that is at an edge.
        half = letter * len(label) / 2
        above = 0.0 if end_ - begin > 2 * half else 0.75
        middle = min(max((begin + end_) / 2, first + half), last - half)
        axes.text(middle, above, label, ha="center", va="center", fontsize=6, clip_on=True)
    axes.set_ylim(-0.5, 1.1)
    axes.set_yticks([])
    time_axis(of, axes)


def series(of: Sample, track: Track) -> Iterator[Row]:
    """A panel for each unit, side by side; what comes after the named channels in one of its own."""
    row, (seconds, values) = track.stream.row, cut(of, track)
    groups = [
        (SHARES.get(row.name, "") if unit == "1" else unit, [i for i, one in enumerate(row.units) if one == unit])
        for unit in dict.fromkeys(row.units)
    ]
    named, count = len(row.channels), track.values.shape[-1]
    names = (*row.channels, *(f"{i + 1}" for i in range(named, count)))
    if count > named:
        groups.append(("rad" if row.name == "imu" else "further channels", list(range(named, count))))
    yield Row(1.7, about(track), partial(_curves, of, names, groups, seconds, values.reshape(-1, count)))


def _curves(
    of: Sample,
    names: Sequence[str],
    groups: Sequence[tuple[str, list[int]]],
    seconds: Floats,
    values: Floats,
    band: SubFigure,
) -> None:
    from matplotlib import colormaps

    panels = band.subplots(1, len(groups), squeeze=False)[0]
    for axes, (unit, columns) in zip(panels, groups, strict=True):
        many = len(columns) > FEW
        palette = colormaps["tab20" if many else "tab10"]
        for place, i in enumerate(columns):
            again, colour = divmod(place, palette.N)
            axes.plot(
                seconds,
                values[:, i],
                color=palette(colour),
                linestyle=("-", "--")[again % 2],
                linewidth=0.6 if many else 0.8,
                marker="." if len(seconds) < 3 else "",
                label=names[i],
            )
        axes.set_ylabel(unit, fontsize="x-small")
        if many:
            beside = {"loc": "center left", "bbox_to_anchor": (1.0, 0.5), "ncols": -(-len(columns) // FEW)}
            axes.legend(fontsize=5, handlelength=1.5, columnspacing=0.8, frameon=False, **beside)
        else:
            axes.legend(fontsize=6, loc="lower right", bbox_to_anchor=(1, 0.97), ncols=3, frameon=False)
        axes.grid(alpha=0.3)
        time_axis(of, axes)


def features(of: Sample, track: Track) -> Iterator[Row]:
    """Those numbers that are there, which 0 is not: over time, or by name where there is a single row of them."""
    seconds, values = cut(of, track)
    values_NC = values.reshape(-1, track.values.shape[-1])
    there = np.flatnonzero((values_NC != 0).any(0)).tolist()
    names = [track.stream.row.channels[i] for i in there]
    if len(seconds) == 1:
        yield Row(2.2, about(track), partial(_by_name, names, values_NC[0, there]))
    else:
        groups = [("", list(range(len(there))))]
        yield Row(1.7, about(track), partial(_curves, of, names, groups, seconds, values_NC[:, there]))


def _by_name(names: Sequence[str], values: Floats, band: SubFigure) -> None:
    """A marker over each name."""
    axes = band.subplots()
    axes.axhline(0, color="grey", linewidth=0.6)
    axes.vlines(range(len(names)), 0, values, color="tab:blue", linewidth=0.8)
    axes.plot(values, "o", color="tab:blue", markersize=4)
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right", rotation_mode="anchor", fontsize=6)
    axes.tick_params(axis="y", labelsize="x-small")
    axes.grid(alpha=0.3)


def gps(of: Sample, track: Track) -> Iterator[Row]:
    """Places and speed, and the way from above."""
    seconds, values = cut(of, track)
    yield Row(2.2, about(track), partial(_way, of, track, seconds, values))


def _way(of: Sample, track: Track, seconds: Floats, values: Floats, band: SubFigure) -> None:
    """Places and speed over time, and the whole way from above, on which the span is thick."""
    row = track.stream.row
    left, right = np.asarray(band.subfigures(1, 2, width_ratios=[3, 1]))
    _curves(of, row.channels, [("m", [0, 1, 2]), ("m/s", [3])], seconds, values, left)
    axes = right.subplots()
    way = np.asarray(track.values[0 : track.values.shape[0]], np.float32) * np.float32(track.scale)
    axes.plot(way[:, 0], way[:, 1], color="lightgrey", linewidth=1)
    axes.plot(values[:, 0], values[:, 1], color="tab:blue", linewidth=2)
    axes.set_aspect("equal", adjustable="datalim")
    axes.set_xlabel("east, m", fontsize="x-small")
    axes.set_ylabel("north, m", fontsize="x-small")
    axes.tick_params(labelsize="x-small")


def gaze(of: Sample, track: Track) -> Iterator[Row]:
    """Shares of the screen over time; with truth, the screen itself."""
    yield from series(of, track)
    truth = of.recording.labels.get("gaze-estimation")
    if isinstance(truth, Values):
        yield Row(
            3.0,
            f"{about(track)}, on the screen; a cross is where the person looks",
            partial(_screens, of, track, truth),
        )


def _screens(of: Sample, track: Track, truth: Values, band: SubFigure) -> None:
    """The phone's screen at each moment: what the tracker told in the last second, and the truth."""
    width, height = SCREEN_CM
    panels = band.subplots(1, len(of.moments), squeeze=False)[0]
    t = np.asarray(track.t)
    for axes, moment, row in zip(panels, of.moments, of.newest(truth.t), strict=True):
        first, last = np.searchsorted(t, [moment - round(STALE_S * SECOND), moment], "right")
        told = np.asarray(track.values[int(first) : int(last)], np.float32)[:, :2] * np.float32(track.scale) * SCREEN_CM
        axes.plot(told[:, 0], told[:, 1], color="tab:blue", linewidth=0.6, marker=".", markersize=2, alpha=0.5)
        axes.plot(*told[-1:].T, color="tab:blue", marker="o", markersize=4)
        if row is not None:
            axes.plot(*truth.values[row], color="tab:red", marker="+", markersize=12, markeredgewidth=2)
        axes.plot([0, width, width, 0, 0], [0, 0, height, height, 0], color="black", linewidth=1)
        axes.set_xlim(-2, width + 2)
        axes.set_ylim(height + 2, -2)
        axes.set_aspect("equal")
        stamp(of, axes, moment, "cm")


def audio(of: Sample, track: Track) -> Iterator[Row]:
    """Sound as a wave and as a spectrum."""
    seconds, values = cut(of, track)
    if len(seconds) > 1:
        yield Row(2.8, about(track), partial(_sound, of, seconds, values[:, 0]))


def _sound(of: Sample, seconds: Floats, wave: Floats, band: SubFigure) -> None:
    """The envelope of the waveform, and the logarithm of its mel bands as the encoder of sound sees them."""
    import torch

    from backend.model.audio import FRAME, LogMel

    above, below = band.subplots(2, 1, sharex=True)
    block = max(1, len(wave) // WAVE_POINTS)
    blocks = wave[: len(wave) // block * block].reshape(-1, block)
    above.fill_between(
        seconds[: len(wave) // block * block : block], blocks.min(1), blocks.max(1), step="post", linewidth=0.5
    )
    above.set_ylabel("full scale", fontsize="x-small")
    rate = 1.0 / float(np.median(np.diff(seconds)))
    if len(wave) > FRAME:
        with torch.no_grad():
            nepers = LogMel(64, rate)(torch.from_numpy(np.ascontiguousarray(wave, np.float32))[None])[0].numpy()
        extent = (float(seconds[0]), float(seconds[-1]), 0.0, 64.0)
        decibels = 10 / np.log(10) * nepers - 80
        shown = below.imshow(decibels, origin="lower", aspect="auto", extent=extent, cmap="magma", vmin=-80)
        bar(band, shown, [above, below], "dB of full scale")
    below.set_ylabel("mel band", fontsize="x-small")
    above.tick_params(labelsize="x-small")
    time_axis(of, below)
