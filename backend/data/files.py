"""What readers of data sets share: finding a set, reading its files with errors that name them, and rows on demand.

Frames stay on disk. A `Lazy` array knows its shape and reads rows when they are used. An array of an npz file is
unpacked once, into a temporary file without a name: any row is then a read away, memory does not grow with the set,
and nothing is left behind however the program ends. This module knows nothing of any set, and it loads no pickle.

n is a number of rows.
"""

from __future__ import annotations

import lzma
import math
import os
import re
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from backend.data.kept import kept
from backend.data.recording import Segments, Track
from broker.errors import DataError
from broker.modalities import FEATURES
from edge.clock import SECOND
from edge.stream import Stream

if TYPE_CHECKING:
    from collections.abc import Iterator

Array = NDArray[Any]

ORIGIN = 1_767_225_600 * SECOND
"""When a recording starts that carries no time: 2026-01-01 00:00 UTC, ns, on the grid of windows."""
SLOT = SECOND // 2
"""From one window's start to the next, ns: pictures without time come one a slot, and lie in the windows' middles."""

_UNPACKED = 64  # arrays of npz files that stay unpacked at most
_BROKEN = (OSError, EOFError, ValueError, KeyError, NotImplementedError, zipfile.BadZipFile, lzma.LZMAError, zlib.error)


@dataclass(frozen=True)
class Origin:
    """A data set as it is published: folder name, patterns of the files it is known by, address and licence."""

    name: str
    patterns: tuple[str, ...]
    address: str
    licence: str

    def find(self, root: Path) -> Path:
        """The set's folder, given that or its parent. Raises DataError that says what is wanted and where to get it."""
        for folder in (root / self.name, root):
            if any(next(folder.glob(pattern), None) for pattern in self.patterns):
                return folder
        raise DataError(
            f"{root}: no files of {self.name} ({' or '.join(self.patterns)}); give its folder or the one above; "
            f"it is at {self.address} ({self.licence})"
        )

    def files(self, root: Path) -> list[Path]:
        """All files that match a pattern, by name and numbers in it: p2 comes before p10."""
        folder = self.find(root)
        return sorted({path for pattern in self.patterns for path in folder.glob(pattern)}, key=natural)


def natural(path: Path) -> tuple[tuple[int, str], ...]:
    """A key that sorts numbers in names by value."""
    return tuple((int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", path.name))


NUMBERS = "biuf"
"""Kinds of numpy's number types."""


class Lazy:
    """An array that reads rows when they are used: `shape`, `dtype`, indexing by rows, and `numpy.asarray`.

    `rows(index)` gives the rows of an int64 array of row numbers, in that order. Nothing is kept here.
    """

    def __init__(self, shape: tuple[int, ...], dtype: Any, rows: Callable[[NDArray[np.int64]], Array]) -> None:
        self.shape, self.dtype, self._rows = shape, np.dtype(dtype), rows

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> Array:
        """Rows by number, slice, mask or array; further indices pick within them."""
        first, rest = (key[0], key[1:]) if isinstance(key, tuple) else (key, ())
        index = np.arange(len(self), dtype=np.int64)[first]
        rows = np.asarray(self._rows(np.atleast_1d(index)), self.dtype)
        if index.ndim == 0:
            return np.asarray(rows[0][rest])
        return np.asarray(rows[(slice(None), *rest)])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        return np.asarray(self[:], dtype)


def frames(path: Path, name: str, first: int = 0, last: int | None = None) -> Lazy:
    """Rows `first` to `last` of array `name` (n, H, W) or (n, H, W, C) of an npz file, as (n, H, W, C)."""
    shape, dtype = npz_shape(path, name)
    last = shape[0] if last is None else last
    channel = () if len(shape) == 4 else (1,)
    if len(shape) + len(channel) != 4 or not 0 <= first <= last <= shape[0]:
        raise DataError(f"{path}: {name} is {shape}, and rows {first} to {last} of frames are wanted; get it again")
    cell = (*shape[1:], *channel)
    return Lazy((last - first, *cell), dtype, partial(_npz_rows, path, name, first, cell))


def _npz_rows(path: Path, name: str, first: int, cell: tuple[int, ...], index: NDArray[np.int64]) -> Array:
    return unpacked(path, name).rows(index + first).reshape(len(index), *cell)


def pictures(paths: Iterable[Path], shape: tuple[int, ...], dtype: Any, read: Callable[[Path], Array]) -> Lazy:
    """One file a row, each read by `read` to `shape`."""
    files = tuple(paths)
    return Lazy((len(files), *shape), dtype, partial(_picture_rows, files, shape, read))


def _picture_rows(
    files: tuple[Path, ...], shape: tuple[int, ...], read: Callable[[Path], Array], index: NDArray[np.int64]
) -> Array:
    return np.stack([read(files[i]) for i in index]) if len(index) else np.empty((0, *shape))


def read_npz(path: Path, *names: str) -> list[Array]:
    """These arrays of numbers, whole. Raises DataError for a file or an array that is missing or damaged."""
    with _opened(path) as archive:
        found = [_array(path, archive, name) for name in names]
    for name, array in zip(names, found, strict=True):
        if array.dtype.kind not in NUMBERS:
            raise DataError(f"{path}: {name} is {array.dtype}, and no numbers; get it again")
    return found


def npz_names(path: Path) -> list[str]:
    """Names of the arrays in an npz file."""
    with _opened(path) as archive:
        return [name.removesuffix(".npy") for name in archive.namelist()]


def npz_shape(path: Path, name: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and type of an array of an npz file, from its header alone."""
    with _opened(path) as archive, _member(path, archive, name) as stream:
        shape, _, dtype = _header(stream)
        return shape, dtype


@dataclass(frozen=True)
class Unpacked:
    """An array of an npz file, as it lies in a temporary file without a name."""

    file: IO[bytes]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    start: int
    order: Literal["C", "F"]

    def rows(self, index: NDArray[np.int64]) -> Array:
        """Rows by number. The file is mapped for this moment only, so that what was read is no memory of ours."""
        if 0 in self.shape:
            return np.zeros(self.shape, self.dtype)[index]
        return np.array(np.memmap(self.file, self.dtype, "r", self.start, self.shape, self.order)[index])

    def __del__(self) -> None:
        self.file.close()


@kept(_UNPACKED)
def unpacked(path: Path, name: str) -> Unpacked:
    """An array of an npz file, unpacked into TMPDIR; the file is gone as soon as nobody holds it."""
    with _opened(path) as archive, _member(path, archive, name) as stream:
        try:
            file = tempfile.TemporaryFile()  # noqa: SIM115 (it lives as long as what is returned)
            shutil.copyfileobj(stream, file, 1 << 20)
            file.flush()
        except OSError as error:
            raise DataError(
                f"{path}: {name} cannot be unpacked to {tempfile.gettempdir()} ({error.strerror}); "
                "make room, or set TMPDIR to another folder"
            ) from None
        file.seek(0)
        shape, fortran, dtype = _header(file)
        there, wanted = os.fstat(file.fileno()).st_size - file.tell(), math.prod(shape) * dtype.itemsize
        if there < wanted:
            raise DataError(f"{path}: {name} has {there} bytes of {wanted}; get the file again")
        return Unpacked(file, shape, dtype, file.tell(), "F" if fortran else "C")


def _array(path: Path, archive: zipfile.ZipFile, name: str) -> Array:
    with _member(path, archive, name) as stream:
        array: Array = np.lib.format.read_array(stream, allow_pickle=False)
        return array


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """The archive; what goes wrong with it while it is used becomes a DataError that names it."""
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except FileNotFoundError:
        raise DataError(f"{path}: is not there; is the set complete?") from None
    except _BROKEN as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise DataError(f"{path}: cannot be read as npz ({reason}); get it again") from None


def _member(path: Path, archive: zipfile.ZipFile, name: str) -> IO[bytes]:
    if f"{name}.npy" not in archive.namelist():
        there = ", ".join(member.removesuffix(".npy") for member in archive.namelist())
        raise DataError(f"{path}: has no array {name}; it has {there}; get it again")
    return archive.open(f"{name}.npy")


def _header(stream: Any) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, whether in Fortran order, and type; the stream then stands at the first number."""
    layout = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if layout == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read(stream)
    if dtype.hasobject:
        raise ValueError("it holds Python objects, which are not loaded")
    return shape, fortran, dtype


def check_rows(path: Path, rows: int, **arrays: Array | Lazy) -> None:
    """Raise DataError unless all arrays have `rows` rows: a file whose parts disagree is damaged."""
    for name, array in arrays.items():
        there = array.shape[0] if array.shape else 0
        if there != rows:
            raise DataError(f"{path}: {name} has {there} rows, not {rows}; get it again")


def check_shape(path: Path, name: str, array: Array | Lazy, *cell: int) -> None:
    """Raise DataError unless the rows of an array are of shape `cell`."""
    if tuple(array.shape[1:]) != cell:
        wanted = " x ".join(map(str, ("n", *cell)))
        raise DataError(f"{path}: {name} is {' x '.join(map(str, array.shape))}, not {wanted}; get it again")


def read_table(path: Path, numbers: Iterable[str], words: Iterable[str] = ()) -> dict[str, Array]:
    """Columns of a parquet file as arrays of equal length: numbers (NaN where there is none), and strings and None.

    Raises DataError for a file or a column that is missing, damaged or of the other kind.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    wanted = {column: kind for kind, columns in (("numbers", numbers), ("words", words)) for column in columns}
    try:
        there = pq.read_schema(path).names
        missing = [column for column in wanted if column not in there]
        if missing:
            raise DataError(f"{path}: columns {missing} are missing; is this the file of another set?")
        table = pq.read_table(path, columns=list(wanted))
    except FileNotFoundError:
        raise DataError(f"{path}: is not there; is the set complete?") from None
    except (pa.ArrowInvalid, OSError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"{path}: cannot be read as parquet ({reason}); remove it or get it again") from None
    if not table.num_rows:
        raise DataError(f"{path}: has no rows; remove it or get it again")
    found = {column: table[column].to_numpy() for column in wanted}
    for column, kind in wanted.items():
        if (found[column].dtype.kind in NUMBERS) != (kind == "numbers"):
            raise DataError(f"{path}: column {column} is {table[column].type}, and no {kind}; get it again")
    return found


def read_picture(path: Path, mode: str | None, size: tuple[int, int] | None = None) -> Array:
    """(H, W) or (H, W, 3) of a PNG or JPEG; `mode` is Pillow's ("RGB", "L"; None keeps the file's own).

    With `size` (height, width) each pixel is the mean of the area that it covers. Raises DataError for a file that is
    missing or damaged.
    """
    from PIL import Image

    try:
        with Image.open(path) as picture:
            found = picture.convert(mode) if mode else picture.copy()
    except FileNotFoundError:
        raise DataError(f"{path}: is not there; is the set complete?") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"{path}: cannot be read as a picture ({reason}); get it again") from None
    if size is not None:
        found = found.resize((size[1], size[0]), Image.Resampling.BOX)
    return np.asarray(found)


def picture_size(path: Path) -> tuple[int, int]:
    """Height and width of a picture, from its header alone."""
    from PIL import Image

    try:
        with Image.open(path) as picture:
            return picture.height, picture.width
    except FileNotFoundError:
        raise DataError(f"{path}: is not there; is the set complete?") from None
    except (OSError, SyntaxError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"{path}: cannot be read as a picture ({reason}); get it again") from None


def at_rate(count: int, rate: float, start: int = ORIGIN) -> NDArray[np.int64]:
    """(count,) ns of samples `rate` times a second from `start` on."""
    passed: NDArray[np.int64] = np.rint(np.arange(count) * (SECOND / rate)).astype(np.int64)
    return start + passed


def one_a_slot(count: int) -> NDArray[np.int64]:
    """(count,) ns of pictures that carry no time: each is the newest in one window, and in that window's middle."""
    return ORIGIN + np.arange(1, count + 1, dtype=np.int64) * SLOT


def throughout(t: NDArray[np.int64], index: int) -> Segments:
    """One label for a whole recording: from a window before its first sample to a window after its last one."""
    return Segments(np.array([t[0] - SECOND, t[-1] + SECOND], np.int64), np.array([index], np.int64))


def feature_track(device: str, placement: str, first: str, numbers: Array) -> Track:
    """Rows (n, C) of numbers of about one, one a slot, as features from the channel `first` on.

    An exact 0, which would mean that it is absent, is moved by a hair.
    """
    t = one_a_slot(len(numbers)) + SLOT // 2
    values, at = np.zeros((len(t), 1, 1, len(FEATURES.channels)), np.float32), FEATURES.channels.index(first)
    values[:, 0, 0, at : at + numbers.shape[1]] = np.where(numbers == 0, 1e-6, numbers)
    return Track(device, Stream("features", FEATURES.name, placement), t, values)
