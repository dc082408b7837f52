"""What the tests of the paper's data sets share: small pictures, pickles and pandas tables as publishers write them."""

import pickle
import sys
from types import ModuleType

import numpy as np
from PIL import Image

from backend.tasks import TASKS


def of(recording, modality):
    """The only track of a modality."""
    (track,) = [track for track in recording.tracks if track.stream.modality == modality]
    return track


def label(recording, task):
    """(edges, labels) of a classification."""
    truth = recording.labels[task]
    return truth.edges.tolist(), [TASKS[task].labels[i] if i >= 0 else None for i in truth.index]


def grey(path, level, size=(96, 128), mode="RGB"):
    """A picture of one colour, which survives JPEG; `size` is height, width."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size[::-1], (level,) * 3 if mode == "RGB" else level).save(path, quality=100)


def dump(path, content, protocol=4):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(content, protocol))


def _class(module, name, **body):
    made = type(name, (), body)
    made.__module__, made.__qualname__ = module, name
    return made


def write_table(path, columns, monkeypatch, old=True):
    """A pandas table as pandas pickles it, without pandas: of 1.0 to 1.2, which keep a state, or later, which call."""
    names = ("pandas", "pandas.core", "pandas.core.frame", "pandas.core.internals.managers", "pandas.core.indexes.base")
    modules = {name: ModuleType(name) for name in (*names, "pandas._libs", "pandas._libs.internals")}

    def _new_Index(kind, about):  # noqa: N802
        return None

    _new_Index.__module__, _new_Index.__qualname__ = "pandas.core.indexes.base", "_new_Index"

    def _unpickle_block(values, places, ndim):
        return None

    _unpickle_block.__module__, _unpickle_block.__qualname__ = "pandas._libs.internals", "_unpickle_block"
    index = _class(
        "pandas.core.indexes.base", "Index", __reduce__=lambda self: (_new_Index, (type(self), {"data": self.data}))
    )
    manager = _class(
        "pandas.core.internals.managers",
        "BlockManager",
        **({"__getstate__": lambda self: self.kept} if old else {"__reduce__": lambda self: (type(self), self.kept)}),
    )
    frame = _class("pandas.core.frame", "DataFrame")
    block = _class("pandas._libs.internals", "Block", __reduce__=lambda self: (_unpickle_block, self.kept))
    for made in (index, manager, frame, block, _new_Index, _unpickle_block):
        setattr(modules[made.__module__], made.__qualname__, made)

    def an_index(data):
        made = index()
        made.data = data
        return made

    count = len(next(iter(columns.values())))
    numbers = [i for i, cells in enumerate(columns.values()) if isinstance(cells[0], int)]
    objects = [i for i in range(len(columns)) if i not in numbers]
    cells = list(columns.values())
    values = np.empty((len(objects), count), object)
    for row, i in enumerate(objects):
        for column in range(count):
            values[row, column] = cells[i][column]
    blocks = [(values, np.array(objects)), (np.array([cells[i] for i in numbers], np.int64), np.array(numbers))]
    blocks = [(v, p) for v, p in blocks if len(v)]
    axes = [an_index(np.array(list(columns), object)), an_index(np.arange(count))]
    table, inside = frame(), manager()
    if old:
        kept = {"axes": axes, "blocks": [{"values": v, "mgr_locs": p} for v, p in blocks]}
        inside.kept = (axes, [v for v, _ in blocks], [], {"0.14.1": kept})
        table.__dict__.update(_data=inside, _typ="dataframe", _metadata=[])
    else:
        made = []
        for v, p in blocks:
            made.append(block())
            made[-1].kept = (v, slice(int(p[0]), int(p[-1]) + 1) if (np.diff(p) == 1).all() else p, 2)
        inside.kept = (tuple(made), axes)
        table.__dict__.update(_mgr=inside, _typ="dataframe", _metadata=[], attrs={}, _flags={})
    with monkeypatch.context() as patch:
        for name, module in modules.items():
            patch.setitem(sys.modules, name, module)
        dump(path, table)
