"""What was read from files is given again while they stay the same: a file that changed is read again.

How much is kept is bounded by number and by bytes. This module knows nothing of what is read, nor how.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Iterator
from functools import wraps
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar, TypeVarTuple

import numpy as np
from numpy.typing import NDArray

from broker.errors import DataError

T = TypeVar("T")
Files = TypeVar("Files", bound=Path | tuple[Path, ...])
About = TypeVarTuple("About")


def kept(
    most: int, most_bytes: float = math.inf
) -> Callable[[Callable[[Files, *About], T]], Callable[[Files, *About], T]]:
    """Decorate `read(path, ...)`, or of a tuple of paths: what it gave is given again while those files stay the same.

    The `most` results used last are kept, as far as their arrays take no more than `most_bytes` in all. They are
    shared: arrays (the result itself, or those in its tuples, lists and dicts) cannot be written into.
    """

    def keeping(read: Callable[[Files, *About], T]) -> Callable[[Files, *About], T]:
        there: OrderedDict[object, tuple[T, int]] = OrderedDict()  # result and bytes; the one used last is last
        lock = Lock()

        @wraps(read)
        def again(files: Files, *about: *About) -> T:
            key = (files, about, *map(_version, files if isinstance(files, tuple) else (files,)))
            with lock:
                if key in there:
                    there.move_to_end(key)
                    return there[key][0]
            result = read(files, *about)
            arrays = list(_arrays(result))
            for array in arrays:
                array.setflags(write=False)
            with lock:
                there[key] = result, sum(array.nbytes for array in arrays)
                while len(there) > most or sum(size for _, size in there.values()) > most_bytes:
                    there.popitem(last=False)
            return result

        return again

    return keeping


def _version(path: Path) -> tuple[int, int]:
    """When a file was changed (ns), and its size. Raises DataError where it is missing."""
    try:
        about = path.stat()
    except OSError as error:
        raise DataError(f"{path}: cannot be opened ({error.strerror}); is the set complete?") from None
    return about.st_mtime_ns, about.st_size


def _arrays(result: object) -> Iterator[NDArray[Any]]:
    if isinstance(result, np.ndarray):
        yield result
    elif isinstance(result, tuple | list | dict):
        for part in result.values() if isinstance(result, dict) else result:
            yield from _arrays(part)
