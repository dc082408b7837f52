"""CSV as people and phone apps write it: which columns hold time and channels, in which units, and when it was.

**Columns** go by their names, in any case and order: acc_x is also ax, x_acc, accelerometerX, "Acceleration x (m/s^2)".
A file of one sensor may call them x, y, z, unless its name is that of another sensor. A unit in brackets counts: g
becomes m/s2, deg/s becomes rad/s; one that is not known is refused.

**Times** are ISO 8601, or numbers in s, ms, us or ns. Numbers that lie between 1990 and 2100 in one of these units, at
a rate that a sensor could have, are moments since 1970 UTC. All others count from a moment that the file does not tell
(`Table.relative`); their unit is what the column's name says, else the one that brings the sampling rate nearest to the
modality's own. A column has one unit: it is never decided row by row.

So it reads the exports of Sensor Logger and phyphox. It refuses to know devices, folders and what samples are for.
"""

import csv
import logging
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from broker.errors import DataError
from broker.modalities import MODALITIES
from edge.clock import SECOND
from edge.plane import fixes
from edge.sensors.options import parse_time

log = logging.getLogger(__name__)

Times = NDArray[np.int64]
Values = NDArray[np.float32]

IMU = MODALITIES["imu"]
ACCELERATION, TURNING = IMU.channels[:3], IMU.channels[3:]
GEODETIC = ("latitude", "longitude", "altitude")
"""How tables have a gps, which becomes metres from the first fix (`edge.plane`)."""

_UNITS = {"s": SECOND, "ms": 10**6, "us": 1000, "ns": 1}
_CALLED = {  # units of time as others write them; no number is in UTC, so that names none
    **dict.fromkeys(("sec", "secs", "second", "seconds"), "s"),
    **dict.fromkeys(("msec", "millis", "millisecond", "milliseconds"), "ms"),
    **dict.fromkeys(("usec", "micros", "microsecond", "microseconds"), "us"),
    **dict.fromkeys(("nsec", "nanos", "nanosecond", "nanoseconds"), "ns"),
    **dict.fromkeys(("", "utc", "gmt", "iso", "iso8601"), ""),
    **{unit: unit for unit in _UNITS},
}
_EPOCH_NS = (631_152_000 * SECOND, 4_102_444_800 * SECOND)  # 1990..2100
_TOO_SLOW = 100  # times slower than the modality: then numbers that look like an epoch count since a boot, say
_TIMES = (  # what tells a moment comes before what counts
    *("timestamp", "datetime", "unixtime", "epochtime", "epoch", "time", "date", "ts", "t"),
    *("secondselapsed", "elapsedtime", "elapsed", "timesincestart", "timesincestartin"),
)
_KINDS = {
    "acc": ("acc", "accel", "accelerometer", "acceleration", "totalacceleration", "a"),
    "gyro": ("gyro", "gyr", "gyroscope", "rotationrate", "angularvelocity", "g", "w"),
    "latitude": ("latitude", "lat"),
    "longitude": ("longitude", "lon", "lng", "long"),
    "altitude": ("altitude", "alt", "height"),
}
_DEGREE = math.pi / 180
_FACTORS = {  # to our units, from those that a header may name
    "m/s2": {"": 1.0, "m/s2": 1.0, "g": 9.80665, "mg": 9.80665e-3},
    "rad/s": {"": 1.0, "rad/s": 1.0, "deg/s": _DEGREE, "°/s": _DEGREE, "dps": _DEGREE},
    "m": {"": 1.0, "m": 1.0, "meters": 1.0, "metres": 1.0, "km": 1000.0, "ft": 0.3048, "feet": 0.3048},
}
_BARE = [["x"], ["y"], ["z"]]
_OTHERS = re.compile("grav|magn|orient|rotat|quatern|attitude|compass|press|baro|light|prox|eye|gaze|pose")
"""In names of files: sensors whose x, y, z are no acceleration."""
_GAP_NS = round(3 * SECOND / IMU.min_rate)  # between samples further apart nothing is known; windows have it so, too
_WITH_GRAVITY = (5.0, 20.0)  # m/s2: where the median of a whole acceleration lies
_FASTEST_TURN = 35.0  # rad/s: what gyroscopes measure at most (2000 deg/s)


@dataclass(frozen=True, slots=True)
class Table:
    """Samples in order of time: `t` (n,) int64 ns, `values` (n, C) float32 of `channels` in the modality's units.

    `t` is UTC; that of a `relative` table counts from an unknown moment.
    """

    modality: str
    channels: tuple[str, ...]
    t: Times
    values: Values
    relative: bool


@dataclass(frozen=True, slots=True)
class Columns:
    """Where a header has the time, with its unit if it names one, and the channels, with factors to our units."""

    modality: str
    channels: tuple[str, ...]
    places: tuple[int, ...]
    factors: tuple[float, ...]
    time: int
    unit: str


def read(path: Path) -> Table:
    """The samples of a CSV file; commas, semicolons or tabs separate, and decimal commas go with the latter two.

    A file of acceleration or of turn rates alone gives three channels of an imu. Samples out of order are sorted,
    repeated ones left out; the log says how many.

    Raises:
        DataError: it is no CSV, has no samples, or lacks columns; the text names those found and those wanted.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            separator = max(",;\t", key=file.readline().count)
            file.seek(0)
            rows = csv.reader(file, delimiter=separator)
            columns = find_columns(path, next(rows, []))
            cells = list(_cells(path, rows, columns, decimal_comma=separator != ","))
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: not a CSV file in UTF-8: {error}") from None
    if not cells:
        raise DataError(f"{path}: a header and no samples")
    try:
        t, relative = moments([time for time, _ in cells], columns.unit, MODALITIES[columns.modality].rate)
    except ValueError as error:
        raise DataError(f"{path}: in the column of times: {error}") from None
    t, numbers = tidied(path, t, np.array([numbers for _, numbers in cells]) * columns.factors)
    if columns.channels == GEODETIC:
        return Table("gps", MODALITIES["gps"].channels, t, fixes(t, numbers), relative)
    values = numbers.astype(np.float32)
    _doubt(path, columns, values)
    return Table(columns.modality, columns.channels, t, values, relative)


def find_columns(path: Path, header: Sequence[str]) -> Columns:
    """What the columns of a file are. Raises DataError that names those found and those wanted."""
    if not header:
        raise DataError(f"{path}: an empty file")
    split = [_split(cell) for cell in header]
    names = ["".join(words) for words, _ in split]
    times = [(base, unit, place) for place, name in enumerate(split) for base, unit in [_as_time(*name)] if base]
    if not times:
        raise DataError(
            f"{path}: no column of times among {', '.join(header)}; call it timestamp, time or seconds_elapsed"
        )
    _, unit, time = min(times, key=lambda each: _TIMES.index(each[0]))
    if unit not in _UNITS and unit:
        raise DataError(f"{path}: column {header[time]}: its unit is none of {', '.join(_UNITS)}")
    for modality, channels, aliases in _layouts(path):
        if all(any(name in names for name in each) for each in aliases):
            if aliases is _BARE:
                _check_bare(path)
            places = [next(names.index(name) for name in each if name in names) for each in aliases]
            wanted = _units_of(modality, channels)
            factors = [_factor(path, header[i], split[i][1], ours) for i, ours in zip(places, wanted, strict=True)]
            return Columns(modality, channels, tuple(places), tuple(factors), time, unit)
    raise DataError(
        f"{path}: columns {', '.join(header)}; an imu needs {', '.join(IMU.channels)} (or ax .. gz, or files of "
        "x, y, z in one folder: Accelerometer.csv and Gyroscope.csv)"
    )


def moments(cells: Sequence[str], unit: str, rate: float) -> tuple[Times, bool]:
    """Times (n,) int64 ns of the cells of one column, and whether they count from a moment that it does not tell.

    `unit` is what the header names ("" if nothing); `rate` (Hz) is what a sensor of this kind would have. The module's
    docstring has the rules. Raises ValueError for a cell that is no time.
    """
    if not _is_number(cells[0]):
        if number := next(filter(_is_number, cells), ""):
            raise ValueError(f"{cells[0]!r} and {number!r}; write all in one way")
        return np.array([parse_time(cell) for cell in cells], np.int64), False
    numbers = _numbers(cells)
    per_unit = _per_unit(numbers)
    units = {unit: _UNITS[unit]} if unit else _UNITS
    low, high = float(numbers.min()), float(numbers.max())
    for ns in units.values():
        if _EPOCH_NS[0] <= low * ns and high * ns < _EPOCH_NS[1] and per_unit * SECOND / ns > rate / _TOO_SLOW:
            return _nanoseconds(numbers, ns), False
    nearest = 1  # for a single time any unit will do
    if math.isfinite(per_unit):
        nearest = min(units.values(), key=lambda ns: abs(math.log(per_unit * SECOND / ns / rate)))
    if max(-low, high) * nearest > 2.0**62:
        raise ValueError(f"{low:g} .. {high:g} {unit} are no times")
    return _nanoseconds(numbers, nearest), True


def tidied(path: Path, t: Times, values: NDArray[Any]) -> tuple[Times, NDArray[Any]]:
    """The samples in order of time, each once; the log says what was mended.

    Different samples of one time stay: they were delivered in a bunch, which `edge.resample` evens out.
    """
    late = int(np.count_nonzero(np.diff(t) < 0))
    order = np.argsort(t, kind="stable")
    t, values = t[order], values[order]
    same = (values[1:] == values[:-1]) | (np.isnan(values[1:]) & np.isnan(values[:-1]))
    again = np.concatenate([[False], (np.diff(t) == 0) & same.all(1)])
    if late or again.any():
        log.warning(
            "%s: of %d samples %d were out of order and are sorted, %d were there twice and are dropped",
            *(path, len(t), late, np.count_nonzero(again)),
        )
    return t[~again], values[~again]


def joined(acceleration: Table, turning: Table) -> Table:
    """One imu from the tables of its two halves, at the times of acceleration; turn rates are interpolated, and NaN
    where none was measured near. Raises ValueError when they are no such halves, or their times have no common zero.
    """
    if (acceleration.channels, turning.channels) != (ACCELERATION, TURNING):
        raise ValueError(f"{', '.join(acceleration.channels)} and {', '.join(turning.channels)} make no imu")
    if acceleration.relative != turning.relative:
        raise ValueError("one tells when it was measured, the other does not")
    t, known = acceleration.t, turning.t
    after = np.clip(np.searchsorted(known, t), 1, max(len(known) - 1, 1))
    near = (t >= known[0]) & (t <= known[-1]) & (known[np.minimum(after, len(known) - 1)] - known[after - 1] <= _GAP_NS)
    seconds, points = (known - t[0]) / SECOND, (t - t[0]) / SECOND
    turns = np.stack([np.interp(points, seconds, column) for column in turning.values.T], -1).astype(np.float32)
    turns[~near] = np.nan
    return Table("imu", IMU.channels, t, np.concatenate([acceleration.values, turns], 1), acceleration.relative)


def _cells(
    path: Path, rows: Iterator[list[str]], columns: Columns, *, decimal_comma: bool
) -> Iterator[tuple[str, list[float]]]:
    """The time, as written, and the channels of each row; an empty cell is NaN.

    A last row that cannot be read was cut short, and is left out; the log says so.
    """
    line, bad = 1, None
    for line, row in enumerate(rows, 2):
        cells = [cell.replace(",", ".") for cell in row] if decimal_comma else row
        if bad and row:
            raise bad
        try:
            if row:
                yield cells[columns.time].strip(), [float(cells[place].strip() or "nan") for place in columns.places]
        except ValueError as error:
            bad = DataError(f"{path}: line {line}: {error}")
        except IndexError:
            bad = DataError(f"{path}: line {line}: {len(row)} columns, fewer than the header has")
    if bad and line == 2:
        raise bad
    if bad:
        log.warning("%s; it is the last line, cut short, and is left out", bad)


def _split(cell: str) -> tuple[list[str], str]:
    """The words of a column's name in small letters, and the unit in brackets after it: "accX (m/s^2)"."""
    name, _, unit = cell.replace("[", "(").replace("µ", "u").replace("μ", "u").partition("(")  # micro, and Greek mu
    words = re.findall(r"[a-z0-9]+", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name).lower())
    return words, unit.strip(") ]").lower().replace("²", "2").replace("^", "").replace(" ", "")


def _as_time(words: Sequence[str], unit: str) -> tuple[str, str]:
    """Which name of times a column has, and its unit: ("timestamp", "ms") of timestamp_ms; ("", "") of no time.

    A unit in brackets that is not known is returned as it is.
    """
    name, named = "".join(words), _CALLED.get(words[-1], "") if words else ""
    base = "".join(words[:-1])
    if not named or base not in _TIMES:
        named = next((each for each in ("ms", "us", "ns") if name.endswith(each) and name not in _TIMES), "")
        base = name.removesuffix(named)
    if base not in _TIMES:
        return "", ""
    return base, _CALLED.get(unit, unit) or named or ("s" if base == "secondselapsed" else "")


def _layouts(path: Path) -> Iterator[tuple[str, tuple[str, ...], list[list[str]]]]:
    """What a table can be: modality, channels, and the names that each channel may have; the first that fits counts."""
    yield "imu", IMU.channels, [_aliases(channel) for channel in IMU.channels]
    for half in (ACCELERATION, TURNING):
        yield "imu", half, [_aliases(channel) for channel in half]
    yield "imu", TURNING if "gyr" in path.stem.lower() else ACCELERATION, _BARE
    yield "gps", GEODETIC, [_aliases(channel) for channel in GEODETIC]
    for modality, row in MODALITIES.items():
        if row.axes == ("time",):
            yield modality, row.channels, [_aliases(channel) for channel in row.channels]


def _check_bare(path: Path) -> None:
    """Raise DataError where x, y, z are another sensor's by the name of the file; where that is neutral, say so."""
    name = path.stem.lower()
    if "acc" in name or "gyr" in name:
        return
    names = f"{', '.join(ACCELERATION)} or {', '.join(TURNING)}"
    if _OTHERS.search(name):
        raise DataError(f"{path}: x, y, z of another sensor, by the file's name; if they are not, call them {names}")
    log.warning("%s: x, y, z are taken for acceleration; call them %s", path, names)


def _aliases(channel: str) -> list[str]:
    """Ways to write a channel: acc_x is also x_acc, accelerometer_x and ax."""
    kind, _, axis = channel.partition("_")
    return [name for each in _KINDS.get(kind, (kind,)) for name in (each + axis, axis + each)]


def _units_of(modality: str, channels: Sequence[str]) -> list[str]:
    if channels == GEODETIC:
        return ["deg", "deg", "m"]
    row = MODALITIES[modality]
    return [row.units[row.channels.index(channel)] for channel in channels]


def _factor(path: Path, column: str, unit: str, ours: str) -> float:
    factors = _FACTORS.get(ours)
    if factors is None:
        return 1.0
    if unit not in factors:
        raise DataError(f"{path}: column {column}: its unit is none of {', '.join(filter(None, factors))}")
    return factors[unit]


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _numbers(cells: Sequence[str]) -> NDArray[Any]:
    """int64 where all are whole, because nanoseconds since 1970 do not fit a float; else float64."""
    try:
        return np.array([int(cell) for cell in cells], np.int64)
    except (ValueError, OverflowError):
        numbers = np.array([float(cell) for cell in cells])
    if not np.isfinite(numbers).all():
        raise ValueError(f"{cells[int(np.argmin(np.isfinite(numbers)))]!r} is no time")
    return numbers


def _per_unit(numbers: NDArray[Any]) -> float:
    """Samples per unit of time: by the usual step, which pauses leave alone, or by the mean if that is faster, which
    coarse times leave alone; infinite for a single time.
    """
    steps = np.diff(np.sort(numbers))
    steps = steps[steps > 0]
    return max(1 / float(np.median(steps)), len(numbers) / float(steps.sum())) if len(steps) else math.inf


def _nanoseconds(numbers: NDArray[Any], unit: int) -> Times:
    """Numbers of a unit in ns; whole parts apart, because a float of today's ns is a quarter of a microsecond off."""
    whole = np.floor(numbers).astype(np.int64)
    ns: Times = whole * unit + np.rint((numbers - whole) * unit).astype(np.int64)
    return ns


def _doubt(path: Path, columns: Columns, values: Values) -> None:
    """Say so where values do not look like what they are taken for: in another unit, say, no model knows them."""
    if columns.channels[-3:] == TURNING and np.isfinite(values[:, -3:]).any():
        fast = float(np.nanpercentile(np.abs(values[:, -3:]), 99))
        if fast > _FASTEST_TURN:
            log.warning("%s: turn rates of %.3g rad/s, which no gyroscope measures; is the unit deg/s?", path, fast)
    if columns.channels[:3] != ACCELERATION:
        return
    usual = float(np.nanmedian(np.linalg.norm(values[:, :3], axis=1))) if np.isfinite(values[:, :3]).any() else 0.0
    if not _WITH_GRAVITY[0] < usual < _WITH_GRAVITY[1]:
        log.warning(
            "%s: acceleration has a median of %.3g m/s2, at rest it would be 9.8; is gravity taken out, or the unit g?",
            *(path, usual),
        )
