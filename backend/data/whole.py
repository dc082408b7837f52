"""Series that are read when they are used: arrays that load a file when they are computed with, and forget it.

This module knows nothing of any data set or file format. What `load` gives may be shared (`backend.data.kept`).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin
from numpy.typing import DTypeLike, NDArray

from backend.data.files import ORIGIN, at_rate


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
        found: NDArray[Any] = self[:].astype(dtype, copy=copy)
        return found

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        return np.array(self[:], dtype, copy=copy)

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
    return whole(partial(at_rate, count, rate, start), (count,), np.int64)
