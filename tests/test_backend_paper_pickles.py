"""Publishers' pickles: they run nothing, their numbers and tables come back, and what is damaged is named."""

import os
import subprocess
import sys

import numpy as np
import pytest

from backend.data.paper import pickles
from broker.errors import DataError
from tests.paper_sets import dump, write_table


def test_pickles_run_nothing(tmp_path):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)

    dump(tmp_path / "a.pkl", {"IMU": Evil()})
    for read in (pickles.load, pickles.shapes, pickles.table):
        with pytest.raises(DataError, match=r"a\.pkl: is not read \(it names posix\.mkdir, which is neither"):
            read(tmp_path / "a.pkl")
    assert not (tmp_path / "ran").exists()
    for code in (b"cbuiltins\neval\n(S'1'\ntR.", b"cnumpy\nload\n(S'x'\ntR.", b"P1\n."):
        (tmp_path / "b.pkl").write_bytes(code)
        with pytest.raises(DataError, match=r"b\.pkl: is not read"):
            pickles.load(tmp_path / "b.pkl")


def test_bytes_are_never_taken_for_objects(tmp_path):
    """Read in a process of its own: what takes numbers for the addresses of objects ends with a signal."""

    class Told:
        def __init__(self, make, arguments, *state):
            self.made = (make, arguments, *state)

        def __reduce__(self):
            return self.made

    reconstruct, frombuffer = np.empty(0).__reduce__()[0], np.empty(0).__reduce_ex__(5)[0]
    number, pointers = np.dtype("i8"), b"\x41" * 8 * 64
    objects = Told(np.dtype, ("O8", False, True), (3, "|", None, None, None, -1, -1, 0))
    fields = Told(np.dtype, ("V8", False, True), (3, "|", None, ("a",), {"a": (np.dtype("O"), 0)}, 8, 1, 0))
    crafted = [
        Told(reconstruct, (np.ndarray, (0,), b"b"), (1, (64,), kind, False, pointers)) for kind in (objects, fields)
    ]
    crafted += [Told(reconstruct, (np.ndarray, (0,), b"b"), (1, (65,), number, False, pointers))]
    crafted += [Told(frombuffer, (pointers, objects, (64,), "C"))]
    crafted += [Told(np.float64(0).__reduce__()[0], (objects, pointers[:8]))]
    crafted += [Told(np.ndarray, ((64,), "O", pointers))]
    for i, one in enumerate(crafted):
        dump(tmp_path / f"{i}.pkl", {"IMU": one})
    code = """if True:
        import sys
        from pathlib import Path
        from backend.data.paper import pickles
        from broker.errors import DataError
        for path in sorted(Path(sys.argv[1]).iterdir()):
            try:
                print(isinstance(pickles.load(path)["IMU"], pickles._Kept) or repr(pickles.load(path)))
            except DataError as error:
                print(error)"""
    done = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    said = done.stdout.splitlines()
    assert len(said) == len(crafted)
    assert all(f"{i}.pkl: is " in line for i, line in enumerate(said[:5])), said
    assert said[5] == "True"  # an array that is called for by name stays inert


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_pickles_of_numbers_come_back_and_shapes_cost_no_reading(tmp_path, protocol):
    rng = np.random.default_rng(0)
    content = {"a": rng.normal(size=(9_000, 7)), "b": np.arange(200_000, dtype=np.int16), "c": [1, "x", (2.5, None)]}
    others = [
        np.array(["ä", "bc"]), np.array([b"x", b"yz"]), np.asfortranarray(rng.normal(size=(3, 4))), np.zeros((0, 3)),
        np.arange(3, dtype=">i2"), np.array([True, False]), np.array([1j]), np.float32(2.5),
        np.array([[[1], "x"], [None, np.arange(2)]], object),
    ]  # fmt: skip
    content["others"] = others
    dump(tmp_path / "a.pkl", content, protocol)
    whole, shapes = pickles.load(tmp_path / "a.pkl"), pickles.shapes(tmp_path / "a.pkl")
    for name in ("a", "b"):
        assert np.array_equal(whole[name], content[name])
        assert (shapes[name].shape, shapes[name].dtype) == (content[name].shape, content[name].dtype)
    assert whole["c"] == shapes["c"] == content["c"]
    for found, other in zip(whole["others"], others, strict=True):
        assert (found.dtype, found.shape) == (other.dtype, other.shape)
        assert found.tolist()[:1] == other.tolist()[:1] if other.dtype == object else np.array_equal(found, other)
    assert whole["others"][-1][1, 1].tolist() == [0, 1]
    if protocol >= 4:
        assert not shapes["b"].any()
    bytes_ = (tmp_path / "a.pkl").read_bytes()
    (tmp_path / "a.pkl").write_bytes(bytes_[: len(bytes_) // 2])
    for read in (pickles.load, pickles.shapes):
        with pytest.raises(DataError, match=r"a\.pkl: is (cut short|not read)"):
            read(tmp_path / "a.pkl")
    with pytest.raises(DataError, match=r"b\.pkl: is not there"):
        pickles.load(tmp_path / "b.pkl")


@pytest.mark.parametrize("old", [True, False])
def test_tables_of_pandas_are_read_without_pandas(tmp_path, monkeypatch, old):
    cells = {"who": ["a", "b"], "n": [3, 4], "frame": [np.eye(2), np.ones((2, 2))], "m": [5, 6], "list": [[1], [2, 3]]}
    write_table(tmp_path / "t.pkl", cells, monkeypatch, old)
    assert "pandas" not in sys.modules
    found = pickles.table(tmp_path / "t.pkl")
    assert list(found) == list(cells)
    assert found["n"].tolist() == [3, 4]
    assert found["m"].dtype == np.int64
    assert found["who"].tolist() == ["a", "b"]
    assert np.array_equal(found["frame"][1], np.ones((2, 2)))
    assert found["list"].tolist() == [[1], [2, 3]]
    dump(tmp_path / "t.pkl", {"n": np.arange(3)})
    with pytest.raises(DataError, match=r"t\.pkl: holds no pandas table"):
        pickles.table(tmp_path / "t.pkl")
