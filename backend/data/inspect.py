"""What a data set holds and whether it is whole: people, windows, labels, masks, rates, gaps and units.

Recordings are read one after the other, samples in chunks, and cut into windows exactly as for training; nothing is
kept but counts. This module knows no data set: what a set should have is its row in DATASETS, what numbers are
plausible is `backend.data.plausible`. It does not draw and does not print.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from backend.data import (
    DATASETS,
    Dataset,
    Recording,
    Recordings,
    Segments,
    Sequence,
    Track,
    Values,
    sequence,
    synthetic,
)
from backend.data.aloud import read_aloud
from backend.data.files import SLOT
from backend.data.plausible import TASK_RULES, Rule, rules
from backend.data.recording import Masks
from backend.tasks import MASKS, TASKS, Classification
from broker.errors import ConfigError, DataError
from broker.modalities import READABLE
from edge.clock import SECOND

CHUNK_BYTES = 1 << 25
"""Samples that are read at once, as float32."""
SLACK = 1.02
"""How far a rate may be outside of its modality's band without a word: clocks differ."""
SLOW, FAST = 3.0, 20.0
"""How many times below or above that band no series is: windows bridge no steps as long as that, and no sensor is so
fast. Times are then in another unit."""
ORDER = tuple(READABLE)


@dataclass(frozen=True)
class Holding:
    """What is there of a set, in numbers: seconds of the recordings that have a time, rows of those that have none."""

    recordings: int
    people: int
    seconds: float
    rows: int = 0


@dataclass
class Measured:
    """The numbers of one rule, over all streams or truths that it was asked of."""

    rule: Rule
    lowest: float = np.inf
    highest: float = -np.inf
    count: int = 0
    outside: list[str] = field(default_factory=list)
    worst: float = float("nan")

    def add(self, number: float, where: str) -> None:
        """A stream's number; NaN is none."""
        if not np.isfinite(number):
            return
        self.lowest, self.highest, self.count = min(self.lowest, number), max(self.highest, number), self.count + 1
        if not self.rule.holds(number):
            if not self.outside:
                self.worst = number
            self.outside.append(where)


@dataclass
class Sense:
    """All streams of one modality. `pauses` are times without samples for longer than windows bridge; `falls` are steps
    back in time; `rates` are one a stream, from the median step, of which those in `off_rate` are outside of the
    modality's band and those in `no_rate` are none of it. Of its `numbers`, `missing` are NaN and `infinite` are more
    than a number holds; a stream in `blank` has not one whole sample.
    """

    streams: int = 0
    samples: int = 0
    seconds: float = 0.0
    windows: int = 0
    rates: list[float] = field(default_factory=list)
    off_rate: list[str] = field(default_factory=list)
    no_rate: list[str] = field(default_factory=list)
    numbers: int = 0
    missing: int = 0
    infinite: int = 0
    blank: list[str] = field(default_factory=list)
    pauses: int = 0
    paused_s: float = 0.0
    falls: int = 0
    measured: list[Measured] = field(default_factory=list)

    def hertz(self) -> str:
        """The lowest and the highest rate, in three digits or whole numbers; "-" where no stream tells."""
        ends = (min(self.rates), max(self.rates)) if self.rates else ()
        return "..".join(dict.fromkeys(f"{one:.3g}" if one < 1000 else f"{one:.0f}" for one in ends)) or "-"


@dataclass
class Truth:
    """What is known for one task. Of a classification, windows by label; of a regression, windows and numbers known."""

    windows: int = 0
    unknown: int = 0
    labels: Counter[str] = field(default_factory=Counter)
    shares: list[float] = field(default_factory=list)
    measured: list[Measured] = field(default_factory=list)


@dataclass
class Drawing:
    """Masks of one kind, of the windows of its modality: how many there are, and how much of each is contact.

    `not_binary` are cells that are neither 0 nor 1, of all.
    """

    windows: int = 0
    shares: list[float] = field(default_factory=list)
    cells: int = 0
    not_binary: int = 0


@dataclass
class Report:
    """What `inspect` found. `problems` has a line for each thing that is wrong: none for a set that is whole, of which
    `left_out` is no part. `notes` has one for each that is as it may be, and good to know.
    """

    name: str
    holding: Holding
    senses: dict[str, Sense]
    truths: dict[str, Truth]
    drawings: dict[str, Drawing]
    short: int
    skipped: tuple[str, ...]
    left_out: tuple[str, ...]
    problems: list[str]
    notes: list[str]


def dataset(name: str) -> Dataset:
    """The row of that name. Raises ConfigError for an unknown one."""
    if name not in DATASETS:
        raise ConfigError(f"data set {name!r} is unknown; known: {', '.join(DATASETS)}")
    return DATASETS[name]


def read(
    name: str, root: Path | None, console: Console | None = None, *, unseen: bool = False, option: str = "--root"
) -> Recordings:
    """The recordings of a set, of which the console is told; with `unseen` those to measure on, where it makes them.

    `root` is the set's folder or its parent, of which the command line knows by `option`; simulated sets need none.

    Raises:
        ConfigError: a recorded set has no `root`.
        DataError: the set cannot be read, or is not there; it says where it is obtained.
    """
    row = dataset(name)
    if row.address and root is None:
        raise ConfigError(
            f"{option}: {name} is recorded; give its folder or the one above. It is at {row.address} ({row.licence})"
        )
    try:
        how = row.unseen if unseen and row.unseen else row.read
        return read_aloud(name, how, root, console or Console(quiet=True))
    except DataError as error:
        if is_there(name, root or Path()) or row.address in str(error):
            raise
        raise DataError(f"{error}; it is at {row.address} ({row.licence})") from None


def is_there(name: str, root: Path) -> bool:
    """Whether there is a folder for the set, whatever state it is in: its own name, in `root` or as `root`."""
    return (root / name).is_dir() or root.resolve().name == name


def holding(recordings: Iterable[Recording]) -> Holding:
    """Counts, and seconds from each recording's first to its last sample."""
    count, people, seconds, rows = 0, set(), 0.0, 0
    for recording in recordings:
        count += 1
        people.add(recording.person)
        if recording.untimed:
            rows += max(len(track.t) for track in recording.tracks)
        else:
            seconds += lasting(recording)
    return Holding(count, len(people), seconds, rows)


def lasting(recording: Recording) -> float:
    """Seconds from a recording's first sample to its last."""
    ends = [(int(track.t[0]), int(track.t[-1])) for track in recording.tracks if len(track.t)]
    return (max(end for _, end in ends) - min(start for start, _ in ends)) / SECOND if ends else 0.0


def simulated(name: str) -> Holding:
    """What a simulated set has; nothing is rendered for it."""
    seeds = len(synthetic.TRAINING_SEEDS)
    return Holding(seeds, seeds, float(seeds * synthetic.SECONDS))


def inspect(name: str, recordings: Recordings, done: Callable[[], object] = lambda: None) -> Report:
    """Read a whole set; `done` is called after each recording. A recording that cannot be read is a problem."""
    row = dataset(name)
    senses = {modality: Sense() for modality in ORDER if modality in row.modalities}
    truths = {task: Truth() for task in row.tasks}
    drawings = {mask: Drawing() for mask in row.masks}
    problems: list[str] = []
    short = 0
    for recording in recordings:
        try:
            for track in recording.tracks:
                _sense(senses.setdefault(track.stream.modality, Sense()), recording, track)
            cut = sequence(recording)
            short += cut is None
            for task, known in recording.labels.items():
                _truth(truths.setdefault(task, Truth()), task, recording, known, cut)
            for mask, masks in cut.masks.items() if cut else ():
                _drawing(drawings.setdefault(mask, Drawing()), mask, masks)
            for series in cut.series if cut else ():
                senses[series.modality].windows += int(series.present.sum())
        except (DataError, ConfigError) as error:
            problems.append(f"{recording.name}: {error}")
        done()
    held = holding(recording for recording in recordings if all(len(track.t) for track in recording.tracks))
    notes = [line for modality, sense in senses.items() for line in _notable(modality, sense, row)]
    if held.rows:
        notes.append(
            f"{held.rows:,} rows are put one a slot of {SLOT / SECOND:g} s, whatever their times: no seconds, no Hz"
        )
    report = Report(
        name, held, senses, truths, drawings, short, recordings.skipped, recordings.left_out, problems, notes
    )
    problems += _wrong(report, row, recordings)
    return report


def _sense(sense: Sense, recording: Recording, track: Track) -> None:
    """Add a stream."""
    row, where = track.stream.row, f"{recording.name} {track.device}/{track.stream.name}"
    t = np.asarray(track.t, np.int64)
    if not len(t):
        raise DataError(f"{track.device}/{track.stream.name} has no samples")
    step = np.diff(t)
    pause = step > max(track.stream.window_s, 3.0 / row.min_rate) * SECOND
    sense.streams, sense.samples = sense.streams + 1, sense.samples + len(t)
    sense.seconds += float(t[-1] - t[0]) / SECOND
    sense.pauses, sense.paused_s = sense.pauses + int(pause.sum()), sense.paused_s + float(step[pause].sum()) / SECOND
    sense.falls += int((step < 0).sum())
    if (step > 0).any():
        rate = SECOND / float(np.median(step[step > 0]))
        sense.rates.append(rate)
        if not row.min_rate / SLOW <= rate <= row.max_rate * FAST:
            sense.no_rate.append(where)
        elif not row.min_rate / SLACK <= rate <= row.max_rate * SLACK:
            sense.off_rate.append(where)
    sense.measured = sense.measured or [Measured(rule) for rule in rules(row.name, recording.dataset)]
    found: dict[str, list[float]] = defaultdict(list)
    blank = True
    for rows, values in _chunks(track):
        missing, infinite = int(np.isnan(values).sum()), int(np.isinf(values).sum())
        sense.numbers, sense.missing = sense.numbers + values.size, sense.missing + missing
        sense.infinite += infinite
        whole = np.isfinite(values).reshape(len(values), -1).all(1)
        if whole.any():
            blank = False
            for one in sense.measured:
                found[one.rule.name].append(one.rule.of(t[rows][whole], values[whole]))
    sense.blank += [where] if blank else []
    for one in sense.measured:
        one.add(one.rule.of_all(found[one.rule.name]), where)


def _chunks(track: Track) -> Iterator[tuple[slice, NDArray[np.float32]]]:
    """All samples in the modality's units."""
    count = track.values.shape[0]
    rows = max(1, CHUNK_BYTES // (4 * max(1, int(np.prod(track.values.shape[1:])))))
    for first in range(0, count, rows):
        part = slice(first, min(first + rows, count))
        yield part, np.asarray(track.values[part], np.float32) * np.float32(track.scale)


def _truth(truth: Truth, name: str, recording: Recording, known: Segments | Values, cut: Sequence | None) -> None:
    """Add what a recording knows of a task."""
    task = TASKS[name]
    if isinstance(known, Values) and len(known.t):
        values = np.asarray(known.values, np.float32)
        truth.measured = truth.measured or [Measured(rule) for rule in TASK_RULES.get(name, ())]
        for one in truth.measured:
            one.add(one.rule.of(known.t, values), recording.name)
    if cut is None:
        return
    there = np.any([series.present for series in cut.series], axis=0)  # a slot of a pause has no window
    truth.windows += int(there.sum())
    if isinstance(task, Classification):
        labels = cut.majority(name)[there]
        truth.unknown += int((labels < 0).sum())
        truth.labels.update(Counter({task.labels[i]: int(n) for i, n in _counts(labels[labels >= 0])}))
        return
    share = np.isfinite(cut.targets[name][there]).mean(-1)
    truth.unknown += int((share == 0).sum())
    truth.shares += share[share > 0].tolist()


def _drawing(drawing: Drawing, name: str, masks: Masks) -> None:
    """Add the masks of a recording's windows. Raises DataError where they do not fit the frames."""
    height, width = (side * MASKS[name].finer for side in masks.series.values.shape[1:3])
    known = masks.known()
    drawing.windows += int(masks.series.present.sum())
    at_once = max(1, CHUNK_BYTES // (height * width))
    for first in range(0, len(known), at_once):
        rows = masks.row[known[first : first + at_once]]
        try:
            drawn = np.asarray(masks.drawn[rows])
        except IndexError:
            raise DataError(f"{name}: there are fewer masks than frames") from None
        if drawn.shape[1:] != (height, width):
            raise DataError(f"{name}: masks are {drawn.shape[1:]}, and of these frames {(height, width)} are wanted")
        drawing.cells, drawing.not_binary = drawing.cells + drawn.size, drawing.not_binary + int((drawn > 1).sum())
        drawing.shares += (drawn > 0).mean((1, 2)).tolist()


def _counts(labels: NDArray[np.int64]) -> Iterable[tuple[int, int]]:
    return zip(*(found.tolist() for found in np.unique(labels, return_counts=True)), strict=True)


def _wrong(report: Report, row: Dataset, recordings: Recordings) -> Iterator[str]:
    """A line for each thing that is wrong, beside files that cannot be read."""
    twice = [name for name, count in Counter(one.name for one in recordings).items() if count > 1]
    if twice:
        yield f"{len(twice)} names of recordings are not unique, for example {twice[0]}"
    if report.skipped:
        yield f"{len(report.skipped)} files or rows are missing or damaged, the first: {report.skipped[0]}"
    for modality, sense in report.senses.items():
        yield from _wrong_sense(modality, sense, row)
    for task, truth in report.truths.items():
        yield from _wrong_truth(task, truth, row)
    for mask, drawing in report.drawings.items():
        yield from _wrong_drawing(mask, drawing, row)


def _wrong_sense(modality: str, sense: Sense, row: Dataset) -> Iterator[str]:
    if not sense.streams:
        yield f"{modality}: there is no stream of it"
        return
    if modality not in row.modalities:
        yield f"{modality}: there are streams of it, and the set should have {', '.join(row.modalities)} alone"
    if not sense.windows:
        yield f"{modality}: no stream has a window; its recordings are shorter than one, or full of holes"
    if sense.no_rate:
        where = _in(sense.no_rate, sense.streams)
        yield (
            f"{modality}: {_rates(modality, sense)}, {where}; that is too slow for windows, or too fast for a sensor: "
            "are times in the right unit?"
        )
    if sense.falls:
        yield f"{modality}: time steps back {sense.falls} times"
    if sense.infinite:
        yield f"{modality}: {sense.infinite} of {sense.numbers} values are infinite"
    if sense.missing > row.missing * sense.numbers:
        more = f", more than the {100 * row.missing:g} % that this set may lack" if row.missing else ""
        yield f"{modality}: {sense.missing} of {sense.numbers} values are NaN{more}"
    if sense.blank:
        yield f"{modality}: no sample is whole {_in(sense.blank, sense.streams)}"
    for one in sense.measured:
        yield from _outside(modality, one)


def _notable(modality: str, sense: Sense, row: Dataset) -> Iterator[str]:
    """A line for each thing that is as it may be."""
    if sense.off_rate:
        where = _in(sense.off_rate, sense.streams)
        yield f"{modality}: {_rates(modality, sense)}, {where}; windows are made of them all the same"
    if 0 < sense.missing <= row.missing * sense.numbers:
        share = 100 * sense.missing / sense.numbers
        yield f"{modality}: {share:.2g} % of the values are missing (NaN), up to {100 * row.missing:g} % may be"


def _rates(modality: str, sense: Sense) -> str:
    """What is found and what is useful."""
    low, high = READABLE[modality].min_rate, READABLE[modality].max_rate
    return f"rates of {sense.hertz()} Hz, useful are {low:g}..{high:g} Hz"


def _wrong_truth(name: str, truth: Truth, row: Dataset) -> Iterator[str]:
    task, wanted = TASKS[name], row.tasks.get(name)
    if wanted is None:
        yield f"{name}: there is truth of it, and the set is not measured by it"
    if truth.unknown == truth.windows:
        yield f"{name}: nothing is known of any window"
        return
    if isinstance(task, Classification):
        labels = wanted or task.labels
        if absent := [label for label in labels if not truth.labels[label]]:
            yield f"{name}: {len(absent)} of {len(labels)} labels have no window: {', '.join(absent)}"
        if strangers := sorted(set(truth.labels) - set(labels)):
            yield f"{name}: labels that the set should not have: {', '.join(strangers)}"
    for one in truth.measured:
        yield from _outside(name, one)


def _wrong_drawing(name: str, drawing: Drawing, row: Dataset) -> Iterator[str]:
    if name not in row.masks:
        yield f"{name}: there are masks of it, and the set should have none"
    if not drawing.shares:
        yield f"{name}: no window has a mask"
    elif len(set(drawing.shares)) == 1 and drawing.shares[0] in (0.0, 1.0):
        yield f"{name}: {'no' if drawing.shares[0] == 0 else 'every'} cell of any mask is contact"
    if drawing.not_binary:
        yield f"{name}: {drawing.not_binary} of {drawing.cells} cells are neither 0 nor 1"


def _outside(what: str, one: Measured) -> Iterator[str]:
    rule = one.rule
    if one.outside:
        found = f"{one.worst:.3g} {rule.unit}".strip()
        yield (
            f"{what}: {rule.name} is {found}, plausible is {rule.low:g}..{rule.high:g}, "
            f"{_in(one.outside, one.count)}; {rule.advice}"
        )


def _in(where: list[str], of: int) -> str:
    return f"in {len(where)} of {of}, the first {where[0]}"
