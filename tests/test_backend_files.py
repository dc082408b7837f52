"""What readers of data sets share: rows on demand, archives that name what is wrong with them, times, cameras."""

import os
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from backend.data import files
from backend.data.camera import Intrinsics, depth_map
from backend.data.files import ORIGIN, one_a_slot, throughout
from backend.data.kept import kept
from backend.data.recording import Recording, Track, Values, sequence
from broker.errors import DataError
from edge.clock import SECOND
from edge.windows import Stream
from tests.small_sets import write_npz


def test_rows_on_demand_are_the_rows_of_the_array(tmp_path):
    array = np.arange(7 * 3 * 2).reshape(7, 3, 2).astype(np.int16)
    write_npz(tmp_path / "a.npz", x=array)
    lazy, whole = files.frames(tmp_path / "a.npz", "x", 1, 6), array[1:6, ..., None]
    assert lazy.shape == whole.shape and lazy.dtype == whole.dtype and len(lazy) == 5 and lazy.ndim == 4
    for key in (0, -1, slice(1, 4), slice(None, None, 2), [3, 0, 3], whole[:, 0, 0, 0] > 9, (slice(2), 1), (2, 0, 1)):
        assert np.array_equal(lazy[key], whole[key])
    assert np.array_equal(np.asarray(lazy, np.float32), whole.astype(np.float32))
    assert lazy[[]].shape == (0, 3, 2, 1)
    with pytest.raises(IndexError):
        lazy[5]
    with pytest.raises(DataError, match="rows 3 to 9 of frames"):
        files.frames(tmp_path / "a.npz", "x", 3, 9)


def test_an_array_is_unpacked_once_and_leaves_no_file(tmp_path, monkeypatch):
    write_npz(tmp_path / "a.npz", x=np.ones((4, 2, 2)), empty=np.ones((0, 2, 2)))
    spill = tmp_path / "spill"
    spill.mkdir()
    monkeypatch.setattr(files.tempfile, "tempdir", str(spill))
    lazy = files.frames(tmp_path / "a.npz", "x")
    assert np.array_equal(lazy[:2], np.ones((2, 2, 2, 1))) and not list(spill.iterdir())
    shutil.copy2(tmp_path / "a.npz", tmp_path / "b.npz")
    (tmp_path / "a.npz").write_bytes(bytes((tmp_path / "a.npz").stat().st_size))
    shutil.copystat(tmp_path / "b.npz", tmp_path / "a.npz")
    assert lazy[3].sum() == 4
    assert files.frames(tmp_path / "b.npz", "empty")[:].shape == (0, 2, 2, 1)
    monkeypatch.setattr(files.tempfile, "tempdir", str(tmp_path / "missing"))
    with pytest.raises(DataError, match=r"b\.npz: x cannot be unpacked to .*missing.*TMPDIR"):
        files.frames(tmp_path / "b.npz", "x")[0]


def test_what_is_kept_of_a_file_is_forgotten_when_it_changes(tmp_path):
    """A set that was got again under the same name is read again."""
    path = tmp_path / "a.npz"
    write_npz(path, x=np.ones((4, 2, 2)))
    lazy = files.frames(path, "x")
    assert lazy[0].sum() == 4
    write_npz(path, x=np.full((4, 2, 2), 2.0), more=np.ones(3))
    assert lazy[0].sum() == 8
    about = path.stat()
    write_npz(path, x=np.full((4, 2, 2), 3.0), more=np.ones(3))
    os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns + 1))
    assert lazy[0].sum() == 12
    path.unlink()
    with pytest.raises(DataError, match=r"a\.npz: cannot be opened \(No such file"):
        lazy[0]


def test_so_many_results_are_kept_and_each_of_one_version_of_its_file(tmp_path):
    read = []

    @kept(2)
    def size(path):
        read.append(path.name)
        return path.stat().st_size

    for name in "abc":
        (tmp_path / name).write_bytes(name.encode() * 3)
    assert [size(tmp_path / name) for name in "abbca"] == [3] * 5
    assert read == ["a", "b", "c", "a"]
    (tmp_path / "a").write_bytes(b"more than that")
    assert (size(tmp_path / "a"), read[4:]) == (14, ["a"])


def test_results_are_kept_as_far_as_their_arrays_take_so_many_bytes(tmp_path):
    read = []

    @kept(9, most_bytes=100)
    def table(path, count):
        read.append(path.name)
        return {"name": path.name, "columns": (np.zeros(count, np.uint8), [np.zeros(count, np.uint8)])}

    for name in "abc":
        (tmp_path / name).touch()
    for name, count in (("a", 20), ("b", 20), ("a", 20), ("c", 20), ("a", 20), ("b", 20)):
        table(tmp_path / name, count)
    assert "".join(read) == "abcb"  # three are too much: the one used least lately has gone
    assert [table(tmp_path / "c", 51)["name"] for _ in range(2)] == ["c"] * 2
    assert "".join(read) == "abcbcc"  # alone too much, it is given and not kept


def test_what_is_kept_cannot_be_written_into(tmp_path):
    (tmp_path / "a").touch()
    alone, first, deep = (np.zeros(3) for _ in range(3))
    for result in (alone, (first, 1), {"x": [deep]}):
        assert kept(1)(lambda path, result=result: result)(tmp_path / "a") is result
    for array in (alone, first, deep):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 7


def test_what_is_kept_of_many_files_is_forgotten_when_one_changes(tmp_path):
    texts = kept(1)(lambda paths: [path.read_text() for path in paths])
    paths = (tmp_path / "a", tmp_path / "b")
    for path in paths:
        path.write_text("one")
    assert texts(paths) == ["one", "one"] and texts(paths) is texts(paths)
    paths[1].write_text("other")
    assert texts(paths) == ["one", "other"]
    paths[0].unlink()
    with pytest.raises(DataError, match=r"a: cannot be opened \(No such file"):
        texts(paths)


def test_archives_without_the_array_or_with_objects_are_refused(tmp_path):
    path = tmp_path / "a.npz"
    write_npz(path, x=np.array([{"a": 1}], object), y=np.ones(3))
    with pytest.raises(DataError, match=r"a\.npz: cannot be read as npz \(.*[Oo]bject"):
        files.read_npz(path, "x")
    with pytest.raises(DataError, match="Python objects"):
        files.npz_shape(path, "x")
    with pytest.raises(DataError, match="has no array z; it has x, y"):
        files.read_npz(path, "z")
    with pytest.raises(DataError, match="is not there"):
        files.read_npz(tmp_path / "b.npz", "z")


def test_numbers_in_names_sort_by_value():
    names = ["P10.npz", "P2.npz", "P1.npz"]
    assert sorted(map(Path, names), key=files.natural) == [Path(n) for n in ("P1.npz", "P2.npz", "P10.npz")]


def test_pictures_without_time_are_shown_one_a_window_with_their_own_truth():
    t = one_a_slot(4)
    values = np.arange(1, 5, dtype=np.float32)[:, None, None, None] * np.ones((1, 4, 4, 1), np.float32)
    gaze = Values(t, np.arange(1, 5, dtype=np.float32)[:, None] * np.ones((1, 2), np.float32))
    track = Track("d", Stream("depth", "depth", "room"), t, values)
    cut = sequence(Recording("r", "s", "p", (track,), {"gaze-estimation": gaze}))
    shown = cut.series[0].values.mean((1, 2, 3))
    assert shown.tolist() == [1, 2, 3, 4, 4]
    assert np.allclose(cut.targets["gaze-estimation"][:, 0], shown)


def test_a_label_for_all_covers_every_window():
    t = ORIGIN + np.array([0, SECOND // 4])
    truth = throughout(t, 3)
    edges = ORIGIN + np.arange(-SECOND // 2, SECOND + 1, SECOND // 4)
    assert np.allclose(truth.shares(edges, np.array([3]))[:, 0], 1.0)


def test_rays_and_depth_maps_are_those_of_a_pinhole():
    camera = Intrinsics((100.0, 50.0), (31.5, 23.5), (48, 64))
    rays = camera.rays((48, 64))
    pixel, depth = camera.project(np.float64([[0.5, -1.0, 2.0]]))
    assert pixel[0] == pytest.approx([31.5 + 25, 23.5 - 25]) and depth[0] == 2.0
    assert rays[10, 40] == pytest.approx([(40 - 31.5) / 100, (10 - 23.5) / 50])
    coarse = camera.rays((24, 32))
    assert coarse[5, 7] == pytest.approx(rays[10:12, 14:16].mean((0, 1)), abs=1e-6)
    pixels = np.float64([[0, 0], [1.4, 1.4], [1, 0], [63, 47], [64.5, 3], [5, 5]])
    found = depth_map(pixels, np.float64([3, 1, 2, 7, 9, -1]), (48, 64)).reshape(24, 32)
    assert found[0, 0] == 2.0 and found[23, 31] == 7.0 and np.isfinite(found).sum() == 2


def test_words_in_the_place_of_numbers_are_named(tmp_path):
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"level": ["1,5", "2"], "label": [1, 2], "good": [1.0, 2.0]}), path)
    with pytest.raises(DataError, match=r"t\.parquet: column level is string, and no numbers; get it again"):
        files.read_table(path, ("good", "level"))
    with pytest.raises(DataError, match="column label is int64, and no words"):
        files.read_table(path, ("good",), ("label",))
    write_npz(tmp_path / "a.npz", finger=np.array(["thumb"]), hand=np.int8(1))
    with pytest.raises(DataError, match=r"a\.npz: finger is <U5, and no numbers"):
        files.read_npz(tmp_path / "a.npz", "finger")
    with pytest.raises(DataError, match="hand has 0 rows, not 1"):
        files.check_rows(tmp_path / "a.npz", 1, hand=files.read_npz(tmp_path / "a.npz", "hand")[0])
