"""What the readers of the paper's data sets share: arrays that are read when touched, labels, rotations.

The sets are up to hundreds of gigabytes, so nothing here holds one. Frames are `backend.data.files.Lazy` arrays; a
series that lies in one file is a `Whole` array, which reads the file when it is computed with and forgets it. This
module knows nothing of any data set.

n is a number of samples.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin
from numpy.typing import DTypeLike, NDArray

from backend.data.files import ORIGIN
from backend.data.recording import Recording, Recordings, Segments
from backend.tasks import TASKS
from broker.errors import DataError
from edge.clock import SECOND
from edge.simulator.geometry import axis_angle

log = logging.getLogger(__name__)

HELD = 2
"""Files whose numbers are kept for a while: all streams of a recording come from one file, one after the other."""
CAMERA_AXES = np.diag([1.0, -1.0, -1.0])
"""From axes x left, y up, z forward of a person (SMPL) to those of a camera that the person faces: x right, y down,
z away. The left of a person is the right of a camera that looks at them."""
Floats = NDArray[np.float64]
T = TypeVar("T")


class Whole(NDArrayOperatorsMixin):
    """An array that `load()` gives whole, anew each time it is indexed or computed with; what `load` raises comes then.

    numpy takes it wherever it takes an array. `shape` and `dtype` cost nothing where they are told beforehand.
    """

    def __init__(
        self, load: Callable[[], NDArray[Any]], shape: tuple[int, ...] | None = None, dtype: DTypeLike | None = None
    ) -> None:
        self._load, self._shape = load, shape
        self._dtype = None if dtype is None else np.dtype(dtype)

    @property
    def shape(self) -> tuple[int, ...]:
        """As told, or as read."""
        return self[:].shape if self._shape is None else self._shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """As told, or as read."""
        return self[:].dtype if self._dtype is None else self._dtype

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of elements."""
        return int(np.prod(self.shape))

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> Any:
        return np.asarray(self._load(), self._dtype)[rows]

    def astype(self, dtype: DTypeLike, copy: bool = True) -> NDArray[Any]:
        """All of it as `dtype`, in memory."""
        return np.asarray(self[:], dtype)

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self[:], dtype)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        plain = [value[:] if isinstance(value, Whole) else value for value in inputs]
        return getattr(ufunc, method)(*plain, **options)


def whole(
    load: Callable[[], NDArray[Any]], shape: tuple[int, ...] | None = None, dtype: DTypeLike | None = None
) -> Any:
    """A `Whole` array, in the place of any array."""
    return Whole(load, shape, dtype)


def regular(count: int, rate: float, start: int = ORIGIN) -> Any:
    """(count,) ns of samples at `rate` Hz from `start` on; they take no memory until they are used."""
    return whole(lambda: start + np.rint(np.arange(count) * (SECOND / rate)).astype(np.int64), (count,), np.int64)


def held(read: Callable[[Path], T], path: Path) -> T:
    """`read(path)`, or what it gave a moment ago if the file is still the same. `read` is a function of a module."""
    try:
        about = path.stat()
    except OSError as error:
        raise DataError(f"{path}: cannot be opened ({error.strerror}); is the set complete?") from None
    return cast(T, _held(read, path, about.st_mtime_ns, about.st_size))


@lru_cache(maxsize=HELD)
def _held(read: Callable[[Path], object], path: Path, changed: int, size: int) -> object:
    return read(path)


def gathered(
    folder: Path, found: Iterable[Recording], skipped: Sequence[str] = (), left_out: Sequence[str] = ()
) -> Recordings:
    """What was found; of what is missing, or left out on purpose, how much and the first is logged."""
    for names in filter(None, (skipped, left_out)):
        log.warning("%s: %d left out, the first %s", folder, len(names), names[0])
    return Recordings(found, skipped, left_out)


def label_index(task: str, label: str, where: object) -> int:
    """Index of a label in its task. Raises DataError, naming the file, for one that the task does not have."""
    labels = TASKS[task].outputs
    if label not in labels:
        raise DataError(f"{where}: {task} has no label {label!r}; add it in backend/tasks, or leave the file out")
    return labels.index(label)


def lasting(index: int, start: int, end: int) -> Segments:
    """One label from `start` to `end` (ns)."""
    return Segments(np.array([start, end], np.int64), np.array([index], np.int64))


def dashed(name: str) -> str:
    """A publisher's label as ours: lower case, words joined by dashes."""
    return "-".join("".join(c if c.isalnum() else " " for c in name.lower()).split())


def from_half_angles(v_N3: Floats) -> Floats:
    """(n, 3) axis times angle, rad, 0..pi, of axis times sine of half the angle."""
    sine_N = np.linalg.norm(v_N3, axis=-1)
    cosine_N = np.sqrt(np.maximum(1 - sine_N**2, 0.0))
    # Where the angle vanishes the ratio of angle to sine is two.
    ratio_N = np.where(sine_N > 1e-9, 2 * np.arctan2(sine_N, cosine_N) / np.maximum(sine_N, 1e-9), 2.0)
    return v_N3 * ratio_N[:, None]


def turn_rates(turn_N33: Floats, rate: float) -> Floats:
    """(n, 3) rad/s about a sensor's own axes, of orientations (sensor to world) at `rate` Hz: central differences."""
    if len(turn_N33) < 2:
        return np.zeros((len(turn_N33), 3))
    before = np.concatenate([turn_N33[:1], turn_N33[:-1]])
    after = np.concatenate([turn_N33[1:], turn_N33[-1:]])
    steps_N = np.full(len(turn_N33), 2.0)
    steps_N[[0, -1]] = 1.0
    return axis_angle(before.swapaxes(1, 2) @ after) * (rate / steps_N)[:, None]
