"""Publishers' pickles, read without running anything that they say: numbers, text, plain containers, numpy arrays, and
the columns of a pandas table. Everything else is refused.

The house rule is no pickle on the wire and none written; EyeMU, SAMoSA, DIP-IMU and TouchPose come as pickles and as
nothing else. A pickle is a program that names functions to call: here the names are looked up in a short table, and
those of numpy and pandas lead to inert objects that only keep what they were given. Arrays are made of those once all
is read: numpy's own would take bytes for the addresses of objects. pandas itself is never loaded.
"""

from __future__ import annotations

import math
import pickle
import re
from collections import OrderedDict
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from broker.errors import DataError

LONG = 1 << 18
"""Bytes from which on a run of numbers is skipped when only shapes are asked for: longer than a frame of protocol 4."""


TYPE = re.compile(r"[biufcSU]\d+|O\d*")
"""Kinds of numbers, text and objects that an array is of, and their size in bytes (of text: in characters)."""


class _Kept:
    """Stands for an object of numpy or pandas: its arguments and its state, and no behaviour."""

    arguments: tuple[Any, ...] = ()
    state: Any = None

    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _Type(_Kept):
    """A dtype."""

    def made(self) -> np.dtype[Any]:
        """A dtype of our own: of the one told, its kind, its size and its byte order."""
        name = self.arguments[0]
        _, order, *fields = self.state if self.state is not None else (3, "|", None, None, None)
        if not (isinstance(name, str) and TYPE.fullmatch(name)) or order not in "<>|=" or any(fields[:3]):
            raise pickle.UnpicklingError(f"it has an array of {name!r}, which is neither numbers nor text")
        return np.dtype(object) if name[0] == "O" else np.dtype(order.strip("|=") + name)


class _Array(_Kept):
    """An array of which all is state."""

    def made(self) -> NDArray[Any]:
        """The array."""
        _, shape, kind, fortran, data = self.state
        return _array(kind, shape, data, "F" if fortran else "C")


class _Buffer(_Kept):
    """An array of protocol 5."""

    def made(self) -> NDArray[Any]:
        """The array."""
        data, kind, shape, order = self.arguments
        return _array(kind, shape, data, order)


def _array(kind: _Type, shape: tuple[int, ...], data: Any, order: Any) -> NDArray[Any]:
    """An array of a list of objects, or of the bytes of numbers: exactly as many as its shape has room for."""
    dtype = kind.made()
    if dtype.hasobject != isinstance(data, list):
        raise pickle.UnpicklingError(f"it has an array of {dtype} made of {type(data).__name__}")
    if dtype.hasobject:
        flat = np.empty(len(data), object)
        for i, one in enumerate(data):
            flat[i] = one
    elif not math.prod(shape):
        return np.empty(shape, dtype)
    else:
        flat = np.frombuffer(_bytes(data) if isinstance(data, str) else data, dtype)
    return flat.reshape(shape, order=order)


def _scalar(kind: _Type, data: Any) -> Any:
    return _array(kind, (1,), data, "C")[0]


def _plain(found: Any, done: dict[int, Any]) -> Any:
    """What was read, with arrays where stand-ins for them are; `done` is by id, for what is there more than once."""
    if not isinstance(found, list | dict | tuple | _Kept):
        return found
    if id(found) in done:
        return done[id(found)]
    if isinstance(found, tuple):
        done[id(found)] = tuple(_plain(one, done) for one in found)
    elif isinstance(found, _Array | _Buffer):
        done[id(found)] = array = found.made()
        if array.dtype.hasobject:
            for i, one in enumerate(array.flat):
                array.flat[i] = _plain(one, done)
    else:
        done[id(found)] = found
        if isinstance(found, list):
            found[:] = [_plain(one, done) for one in found]
        elif isinstance(found, dict):
            found.update({key: _plain(one, done) for key, one in found.items()})
        else:
            found.arguments, found.state = _plain(found.arguments, done), _plain(found.state, done)
    return done[id(found)]


class _Table(_Kept):
    """A DataFrame."""


class _Manager(_Kept):
    """A BlockManager."""


class _Index(_Kept):
    """Any index: of its arguments, what it was made from."""


class _Block(_Kept):
    """A block of columns: its values (columns, n), their places."""


class _Places(_Kept):
    """A BlockPlacement."""


def _index(kind: type, about: dict[str, Any]) -> _Index:
    return _Index(about)


def _bytes(text: str, encoding: str = "latin1") -> bytes:
    """How protocol 2 writes bytes; of the codecs that it could name, the one that it needs."""
    return text.encode("latin1")


_CORES = ("numpy.core", "numpy._core")
_NAMES: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): _Kept,
    ("numpy", "dtype"): _Type,
    ("_codecs", "encode"): _bytes,
    ("collections", "OrderedDict"): OrderedDict,
    **{("builtins", kind.__name__): kind for kind in (set, frozenset, slice, complex, bytes, bytearray)},
    **{("__builtin__", kind.__name__): kind for kind in (set, frozenset, slice, complex, bytes, bytearray)},
    **{(f"{core}.multiarray", "_reconstruct"): _Array for core in _CORES},
    **{(f"{core}.multiarray", "scalar"): _scalar for core in _CORES},
    **{(f"{core}.numeric", "_frombuffer"): _Buffer for core in _CORES},
    ("pandas.core.frame", "DataFrame"): _Table,
    ("pandas.core.internals.managers", "BlockManager"): _Manager,
    ("pandas.core.internals", "BlockManager"): _Manager,
    ("pandas.core.indexes.base", "_new_Index"): _index,
    ("pandas.core.indexes.base", "Index"): _Index,
    ("pandas.core.indexes.numeric", "Int64Index"): _Index,
    ("pandas.core.indexes.numeric", "Float64Index"): _Index,
    ("pandas.core.indexes.range", "RangeIndex"): _Index,
    ("pandas._libs.internals", "_unpickle_block"): _Block,
    ("pandas._libs.internals", "BlockPlacement"): _Places,
}


class _Reader(pickle.Unpickler):
    """An unpickler that knows `_NAMES` and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _NAMES[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which is neither numbers nor a table") from None

    def persistent_load(self, pid: Any) -> Any:
        raise pickle.UnpicklingError("it names something outside itself")


class _Skipping:
    """A file whose long runs of bytes are zeros that were never read: shapes without numbers."""

    def __init__(self, file: IO[bytes], size: int) -> None:
        self._file, self._size = file, size

    def read(self, count: int) -> bytes:
        """`count` bytes, fewer at the end."""
        if count < LONG:
            return self._file.read(count)
        if self._file.tell() + count > self._size:
            raise EOFError("it ends too soon")
        self._file.seek(count, 1)
        return bytes(count)

    def readline(self) -> bytes:
        """A line."""
        return self._file.readline()


def load(path: Path) -> Any:
    """What a pickle holds. Raises DataError for one that is missing, cut short, or holds more than numbers."""
    return _load(path, shapes=False)


def shapes(path: Path) -> Any:
    """As `load`, with zeros for long runs of numbers, which are skipped: arrays have their shape and type."""
    try:
        return _load(path, shapes=True)
    except DataError:
        return load(path)  # Python 3 writes bytes as text in protocol 2, and zeros are shorter text


def table(path: Path) -> dict[str, NDArray[Any]]:
    """The columns of a pickled pandas table, each (n,), numbers or objects as they were. Raises DataError as `load`."""
    found = load(path)
    try:
        manager = next(part for key, part in found.state.items() if key in {"_mgr", "_data"})
        return _columns(manager)
    except (AttributeError, StopIteration, TypeError, KeyError, IndexError, ValueError) as error:
        raise DataError(f"{path}: holds no pandas table of a layout we know ({error}); get it again") from None


def _load(path: Path, *, shapes: bool) -> Any:
    try:
        with path.open("rb") as file:
            source: Any = _Skipping(file, path.stat().st_size) if shapes else file
            return _plain(_Reader(source, encoding="latin1").load(), {})
    except FileNotFoundError:
        raise DataError(f"{path}: is not there; is the set complete?") from None
    except pickle.UnpicklingError as error:
        raise DataError(f"{path}: is not read ({error}); get the file again from its publishers") from None
    except Exception as error:  # a pickle that is damaged raises whatever its bytes happen to ask for
        reason = str(error) or type(error).__name__
        raise DataError(f"{path}: is cut short or damaged ({reason}); get it again") from None


def _columns(manager: _Manager) -> dict[str, NDArray[Any]]:
    """Of a BlockManager as pandas 1.0 to 1.2 (a state) or later versions (arguments) keep it."""
    if manager.state is not None:
        kept = manager.state[3]["0.14.1"]
        axes, blocks = kept["axes"], [(block["values"], block["mgr_locs"]) for block in kept["blocks"]]
    else:
        blocks = [(block.arguments[0], block.arguments[1]) for block in manager.arguments[0]]
        axes = manager.arguments[1]
    names = [str(name) for name in axes[0].arguments[0]["data"]]
    found: dict[str, NDArray[Any]] = {}
    for values, places in blocks:
        where = places.arguments[0] if isinstance(places, _Places) else places
        for row, name in enumerate(np.asarray(names, object)[where]):
            found[name] = np.asarray(values)[row]
    return {name: found[name] for name in names}
