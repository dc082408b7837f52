"""The paper's nine data sets in their publishers' layouts, written small by hand and read back exactly."""

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from backend.data.camera import Intrinsics, depth_map
from backend.data.files import ORIGIN, SLOT
from backend.data.paper import (
    dip_imu,
    ego4d_imu,
    eyemu,
    kitti,
    llvip,
    newer_college,
    pickles,
    rgbdgaze,
    samosa,
    touchpose,
)
from backend.data.paper.layout import Whole, dashed, from_half_angles, held, regular, turn_rates
from backend.data.recording import sequence
from backend.tasks import TASKS
from backend.tasks.depth import COLUMNS, ROWS
from broker.errors import DataError
from broker.modalities import JOINTS, MODALITIES
from edge.clock import SECOND
from edge.rangeimage import range_image
from edge.simulator.geometry import attitude, axis_angle, rotation

SETS = (dip_imu, ego4d_imu, eyemu, kitti, llvip, newer_college, rgbdgaze, samosa, touchpose)
J = {name: i for i, name in enumerate(JOINTS)}


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


# --- what they share ------------------------------------------------------------------------------------------------


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


def test_whole_arrays_are_read_when_they_are_touched(tmp_path):
    calls = []

    def load():
        calls.append(1)
        return np.arange(6).reshape(3, 2)

    array = Whole(load, (3, 2), np.float32)
    assert (array.shape, array.dtype, array.ndim, array.size, len(array), calls) == ((3, 2), np.float32, 2, 6, 3, [])
    assert np.array_equal(array[1:], [[2, 3], [4, 5]])
    assert np.array_equal(2 * array + 1, 2 * np.arange(6).reshape(3, 2) + 1)
    assert np.asarray(array).dtype == array.astype(np.float64).astype(np.float32).dtype == np.float32
    assert np.concatenate([array, array]).shape == (6, 2)
    assert Whole(load).shape == (3, 2)
    t = regular(4, 50.0)
    assert (t[:] - ORIGIN).tolist() == [0, 20_000_000, 40_000_000, 60_000_000]
    assert np.searchsorted(t, ORIGIN + 30_000_000) == 2
    path = tmp_path / "f"
    path.write_text("one")
    assert held(Path.read_text, path) == "one"
    path.write_text("other")
    assert held(Path.read_text, path) == "other"
    with pytest.raises(DataError, match="cannot be opened"):
        held(Path.read_text, tmp_path / "g")


def test_labels_and_rotations():
    assert dashed("turn-on_/_light_the_stove burner") == "turn-on-light-the-stove-burner"
    vectors = np.array([[0, 0, 0], [0.3, -0.2, 0.9], [np.pi, 0, 0], [0, 0, 1e-8]])
    angle = np.linalg.norm(vectors, axis=-1, keepdims=True)
    halves = vectors / np.maximum(angle, 1e-12) * np.sin(angle / 2)
    assert np.allclose(from_half_angles(halves), vectors, atol=1e-7)
    rate = np.array([0.4, -1.1, 0.7])
    turns = rotation(np.arange(20)[:, None] / 60 * rate)
    assert np.allclose(turn_rates(turns, 60.0), rate, atol=1e-9)
    assert turn_rates(turns[:1], 60.0).tolist() == [[0, 0, 0]]


@pytest.mark.parametrize("reader", SETS, ids=lambda reader: reader.NAME)
def test_a_set_that_is_not_there_says_where_it_is_and_what_it_is_made_of(tmp_path, reader):
    with pytest.raises(DataError) as caught:
        reader.recordings(tmp_path)
    text = str(caught.value)
    assert reader.SOURCE in text
    assert reader.LICENCE in text
    assert "\n" not in text
    assert set(reader.MODALITIES) <= set(MODALITIES)
    for task, labels in reader.TASKS.items():
        assert set(labels) <= set(TASKS[task].outputs)


# --- SAMoSA ---------------------------------------------------------------------------------------------------------


def write_samosa(root):
    rng = np.random.default_rng(1)
    trials = {
        "49---Kitchen---Chopping---1": {"Audio": np.arange(-40_000, 40_000), "IMU": rng.normal(size=(250, 9)) * 0.2},
        "7---Workshop---Drill in use---2": {
            "Audio": np.zeros(32_000, np.int16),
            "IMU": rng.normal(size=(100, 9)) * 0.2,
        },
        "7---Other---Speech---1": {
            "Audio": np.zeros(48_000),
            "1kHz_Audio": np.arange(3_000),
            "IMU": np.zeros((150, 9)),
        },
    }
    for name, content in trials.items():
        dump(root / "Data" / "TrainingDataset" / f"{name}.pkl", content)
    return trials


def test_samosa(tmp_path):
    trials = write_samosa(tmp_path / "samosa")
    speech, drill, chopping = samosa.recordings(tmp_path)
    assert [r.person for r in (speech, drill, chopping)] == ["p7", "p7", "p49"]
    assert label(chopping, "event-detection") == ([ORIGIN, ORIGIN + 5 * SECOND], ["chopping"])
    assert label(speech, "event-detection") == ([ORIGIN, ORIGIN + 3 * SECOND], ["none"])
    assert label(drill, "event-detection")[1] == ["drill-in-use"]
    imu, audio = of(chopping, "imu"), of(chopping, "audio")
    raw = trials["49---Kitchen---Chopping---1"]
    assert np.array_equal(imu.values[:][:, :6], raw["IMU"][:, :6].astype(np.float32))
    turned = np.linalg.norm(imu.values[:][:, 6:], axis=-1)
    assert np.allclose(np.sin(turned / 2), np.linalg.norm(raw["IMU"][:, 6:], axis=-1), atol=1e-6)
    assert (imu.t[1] - imu.t[0], audio.t[16_000] - audio.t[0]) == (20_000_000, SECOND)
    assert (audio.values.dtype, audio.values.shape, audio.scale) == (np.int16, (80_000, 1), 1 / 32768)
    assert np.array_equal(audio.values[:, 0], np.clip(raw["Audio"], -32768, 32767))
    slow = of(speech, "audio")
    assert slow.t[1] - slow.t[0] == 1_000_000
    assert slow.values[:, 0].tolist() == list(range(3_000))
    cut = sequence(chopping)
    assert set(cut.majority("event-detection")) == {TASKS["event-detection"].labels.index("chopping")}
    assert cut.series[0].values.shape[1:] == (50, 9)


def test_samosa_says_what_is_wrong(tmp_path):
    folder = tmp_path / "Data" / "TrainingDataset"
    write_samosa(tmp_path)
    _, drill, _ = samosa.recordings(tmp_path)
    bad = folder / "7---Workshop---Drill in use---2.pkl"
    bad.write_bytes(b"garbage")
    assert drill.tracks[0].values.shape == (100, 9)  # what is known is not read again
    for track in drill.tracks:
        with pytest.raises(DataError, match=r"Drill in use---2\.pkl"):
            track.values[:]
    dump(bad, {"Audio": np.zeros(9)})
    with pytest.raises(DataError, match="has no numbers IMU"):
        samosa.recordings(tmp_path)
    bad.rename(folder / "7---Workshop---Flying---2.pkl")
    with pytest.raises(DataError, match="unknown activity 'Flying'"):
        samosa.recordings(tmp_path)


# --- EyeMU ----------------------------------------------------------------------------------------------------------


def eyemu_trials(m=30, n=180):
    rng = np.random.default_rng(2)
    gestures = [3, 0, 2, 8]
    features = [rng.normal(size=(length, 26)).round(3).tolist() for length in (m, m, m, 10)]
    return {
        "Subject": [0, 1, 1, 1],
        "Set": ["grid1_results"] * 4,
        "Gesture Target Name": ["Left flick"] * 4,
        "Timestamp": [1_616_861_680_190 + 5_000 * i for i in range(4)],
        "Target Gesture": gestures,
        "Embeddings Hist": features,
        "IMU Hist": [rng.normal(size=(3, 3, n)).tolist() for _ in range(4)],
        "Gaze Target XY": [[1 / 3, 0.375]] * 4,
    }


def test_eyemu_trials(tmp_path, monkeypatch, caplog):
    cells = eyemu_trials()
    write_table(tmp_path / "eyemu" / "flask2" / "data" / "gazeldataraw.pkl", cells, monkeypatch)
    found = eyemu.recordings(tmp_path)
    assert [r.person for r in found] == ["p00", "p01"]
    assert len(found.left_out) == 2 and not found.skipped  # a tilt, and a trial that ends before its gesture
    assert "2 left out" in caplog.text
    first = found[0]
    imu, gaze = of(first, "imu"), of(first, "gaze")
    end, raw = cells["Timestamp"][0] * 1_000_000, np.array(cells["IMU Hist"][0])
    start = end - round(179 / 60 * SECOND)
    assert (imu.t[0], imu.t[-1]) == (start, end)
    assert np.allclose(imu.values[:, :3], raw[0].T)
    assert np.allclose(imu.values[:, 3:6], np.radians(raw[1].T))
    a, b, c = np.radians(raw[2])
    z, x, y = (np.eye(3)[axis] for axis in (2, 0, 1))
    turned = rotation(a[:, None] * z) @ rotation(b[:, None] * x) @ rotation(c[:, None] * y)
    assert np.allclose(imu.values[:, 6:], axis_angle(turned), atol=1e-6)
    features = np.array(cells["Embeddings Hist"][0])
    assert np.allclose(gaze.values, np.concatenate([features[:, 12:14], features - features.mean(0)], 1), atol=1e-6)
    assert (gaze.t[0], gaze.t[1] - gaze.t[0]) == (start, 100_000_000)
    edges, labels = label(first, "gesture-classification")
    assert labels == ["none", "flick-left"]
    assert edges[:2] == [start, start + round(1.2 * SECOND)]
    assert edges[2] > end
    truth = first.labels["gaze-estimation"]
    assert np.allclose(truth.values, np.float32([6.4 / 3, 4.8]))
    assert np.array_equal(truth.t, gaze.t[:12])
    assert label(found[1], "gesture-classification")[1] == ["none", "flick-forward"]
    cut = sequence(first)
    assert cut.series[1].values.shape[-1] == 28


def test_eyemu_calibration_on_the_real_features(tmp_path, monkeypatch, data_dir):
    cells = {"Subject": [], "Embeddings Hist": [], "Gaze Target XY": []}
    kept = {}
    for subject in (0, 1):
        with np.load(data_dir / "eyemu_gaze" / f"p{subject:02d}.npz") as file:
            kept[subject] = file["features"][:40], file["target_xy"][:40]
        cells["Subject"] += [subject] * 40
        cells["Embeddings Hist"] += [[row.tolist()] for row in kept[subject][0]]
        cells["Gaze Target XY"] += [row.tolist() for row in kept[subject][1]]
    write_table(tmp_path / "calibdata.pkl", cells, monkeypatch, old=False)
    found = eyemu.recordings(tmp_path)
    assert [(r.name, r.person) for r in found] == [("p00-calibration", "p00"), ("p01-calibration", "p01")]
    for subject, recording in enumerate(found):
        gaze, truth = of(recording, "gaze"), recording.labels["gaze-estimation"]
        centred = kept[subject][0] - kept[subject][0].mean(0)
        assert np.allclose(gaze.values[:, 2:], centred, atol=1e-4)
        assert np.array_equal(gaze.values[:, :2], kept[subject][0][:, 12:14])
        assert np.allclose(truth.values, kept[subject][1] * (6.4, 12.8))
        assert gaze.t[10] - gaze.t[0] == SECOND
    write_table(tmp_path / "gazeldataraw.pkl", eyemu_trials(), monkeypatch)
    first = eyemu.recordings(tmp_path)[2]  # a trial is told from the mean of its subject's calibration, too
    features = np.array(eyemu_trials()["Embeddings Hist"][0])
    assert first.name == "p00-trial-0"
    assert np.allclose(of(first, "gaze").values[:, 2:], features - kept[0][0].mean(0), atol=1e-4)


def test_eyemu_says_what_is_wrong(tmp_path, monkeypatch):
    cells, path = eyemu_trials(), tmp_path / "gazeldataraw.pkl"
    write_table(
        path,
        {**cells, "Target Gesture": [3, 0, 2, 11], "Embeddings Hist": [cells["Embeddings Hist"][0]] * 4},
        monkeypatch,
    )
    with pytest.raises(DataError, match=r"gazeldataraw\.pkl: row 3: gesture 11"):
        eyemu.recordings(tmp_path)
    write_table(path, {**cells, "IMU Hist": [[[1.0]]] * 4}, monkeypatch)
    with pytest.raises(DataError, match="row 0: 'IMU Hist' is no 3 x 3 x n numbers"):
        eyemu.recordings(tmp_path)
    write_table(path, {name: column for name, column in cells.items() if name != "Timestamp"}, monkeypatch)
    with pytest.raises(DataError, match="column 'Timestamp' is missing"):
        eyemu.recordings(tmp_path)
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(DataError, match=r"gazeldataraw\.pkl: is (cut short|not read)"):
        eyemu.recordings(tmp_path)


# --- RGBDGaze -------------------------------------------------------------------------------------------------------


def write_rgbdgaze(root):
    """Two people; faces are white squares in black pictures, found only where the publishers' code cuts."""
    folder = root / "RGBDGaze_dataset"
    for person, device in (("P1", "iPhone 12"), ("P12", "iPhoneX")):
        for posture in ("standing", "lying"):
            here = folder / person / "decoded" / posture
            (here / "rgb").mkdir(parents=True)
            (here / "depth").mkdir()
            rows = ["uid,device,gt_x_pt,gt_y_pt,bbox_x,bbox_y,bbox_w,bbox_h,imu_x,imu_y,imu_z"]
            for uid in (1, 2, 3):
                for kind, step in (("rgb", 1), ("depth", 2)):
                    shape = (480 // step, 640 // step)
                    levels = np.zeros(shape, np.uint8)
                    levels[160 // step : 320 // step, 64 // step : 224 // step] = 50 * uid
                    picture = Image.fromarray(levels[:, ::-1])  # the publishers mirror it back
                    picture.convert("RGB" if kind == "rgb" else "L").save(here / kind / f"{uid}.jpg", quality=100)
                rows.append(f"{uid},{device},{10 * uid},{20 * uid},160,64,170,160,0.1,0.2,0.3")
            (here / "label.csv").write_text("\n".join(rows) + "\n")
    (folder / "iphone_spec.csv").write_text(
        "Name,w_pt,h_pt,w_cm,h_cm\niPhone12,390,844,6.5,14.0\niPhoneX,375,812,6.2,13.5\n"
    )


def test_rgbdgaze(tmp_path):
    write_rgbdgaze(tmp_path / "rgbdgaze")
    found = rgbdgaze.recordings(tmp_path)
    assert [r.name for r in found] == ["p1-lying", "p1-standing", "p12-lying", "p12-standing"]
    assert [r.person for r in found] == ["p1", "p1", "p12", "p12"]
    image, truth = of(found[0], "image"), found[0].labels["gaze-estimation"]
    assert (image.values.shape, image.values.dtype, image.scale) == ((3, 64, 64, 3), np.uint8, 1 / 255)
    assert np.allclose(image.values[2], 150, atol=2)
    assert [tuple(np.round(image.values[i][20, 20] / 50)) for i in range(3)] == [(1, 1, 1), (2, 2, 2), (3, 3, 3)]
    assert np.allclose(truth.values, [[10 * i / 390 * 6.5, 20 * i / 844 * 14.0] for i in (1, 2, 3)])
    assert np.allclose(found[3].labels["gaze-estimation"].values[0], [10 / 375 * 6.2, 20 / 812 * 13.5])
    assert (truth.t - ORIGIN).tolist() == [0, 125_000_000, 250_000_000]
    assert [track.stream.modality for track in found[0].tracks] == ["image"]
    deep = of(rgbdgaze.recordings(tmp_path, metres_per_level=0.01)[0], "depth")
    assert deep.values.shape == (3, 48, 64, 1)
    assert np.allclose(deep.values[1], 1.0, atol=0.03)


def test_rgbdgaze_says_what_is_wrong(tmp_path):
    write_rgbdgaze(tmp_path)
    folder = tmp_path / "RGBDGaze_dataset"
    here = folder / "P1" / "decoded" / "lying"
    found = rgbdgaze.recordings(tmp_path)
    for path in folder.rglob("*.jpg"):
        path.write_bytes(b"garbage")
    again = rgbdgaze.recordings(tmp_path)
    assert [r.name for r in again] == [r.name for r in found]  # opening reads no picture
    with pytest.raises(DataError, match=r"lying/rgb/2\.jpg: cannot be read as a picture"):
        of(found[0], "image").values[1]
    (here / "rgb" / "3.jpg").unlink()
    found = rgbdgaze.recordings(tmp_path)
    assert len(found[0].tracks[0].t) == 2
    assert found.skipped == (str(here / "rgb" / "3.jpg"),)
    table = here / "label.csv"
    text = table.read_text()
    table.write_text(text.replace("iPhone 12", "iPhone 99"))
    with pytest.raises(DataError, match=r"label\.csv: device 'iphone99' is not in iphone_spec\.csv"):
        rgbdgaze.recordings(tmp_path)
    table.write_text(text.replace("gt_x_pt", "gt"))
    with pytest.raises(DataError, match=r"label\.csv: columns \['gt_x_pt'\] are missing"):
        rgbdgaze.recordings(tmp_path)
    (folder / "iphone_spec.csv").unlink()
    with pytest.raises(DataError, match=r"iphone_spec\.csv: is not there; get the set from https://github\.com/FIGLAB"):
        rgbdgaze.recordings(tmp_path)


# --- DIP-IMU --------------------------------------------------------------------------------------------------------


def dip_content(n=90, rate=(0.5, -0.2, 0.8)):
    """A suit that turns evenly, and is still."""
    turn = rotation(np.arange(n)[:, None] / 60 * np.array(rate))
    pose = np.zeros((n, 72))
    pose[:, 3 * J["left_elbow"] : 3 * J["left_elbow"] + 3] = (0, 0, np.pi / 2)
    return {"imu_ori": np.repeat(turn[:, None], 17, 1), "imu_acc": np.zeros((n, 17, 3)), "gt": pose, "sop": [1, 2]}


def test_dip_imu(tmp_path):
    content = dip_content()
    content["imu_acc"][:, 3] = (1.0, 2.0, 3.0)
    content["imu_ori"][5, 0] = np.nan
    for person, file in (("s_01", "01"), ("s_01", "02"), ("s_10", "05")):
        dump(tmp_path / "dip_imu" / "DIP_IMU" / person / f"{file}.pkl", content, protocol=2)
    found = dip_imu.recordings(tmp_path)
    assert [(r.name, r.person) for r in found] == [("s01-01", "s01"), ("s01-02", "s01"), ("s10-05", "s10")]
    tracks = found[0].tracks
    assert [track.stream.placement for track in tracks] == list(dip_imu.SENSORS)
    assert len({track.stream.name for track in tracks}) == 17
    still, pushed = tracks[1].values[:], tracks[3].values[:]
    turn = content["imu_ori"][:, 1]
    assert np.allclose(still[:, :3], turn.swapaxes(1, 2) @ (0, 9.80665, 0), atol=1e-5)
    assert np.allclose(still[:, 3:6], (0.5, -0.2, 0.8), atol=1e-5)
    assert np.allclose(rotation(still[:, 6:]), np.diag([1, -1, -1]) @ turn, atol=1e-5)
    assert np.allclose(pushed[:, :3], turn.swapaxes(1, 2) @ (1, 11.80665, 3), atol=1e-5)
    assert np.isnan(tracks[0].values[5, [0, 1, 2, 6, 7, 8]]).all()
    assert np.isnan(tracks[0].values[[4, 6], 3:6]).all()  # the turn rates beside what is missing
    assert tracks[0].t[60] - tracks[0].t[0] == SECOND
    cut = sequence(found[0])
    assert len(cut.series) == 17
    assert cut.targets["pose-estimation"].shape == (cut.length, 72)
    joints = found[0].labels["pose-estimation"].values[0].reshape(24, 3)
    # As a camera sees somebody who faces it: the left hand on the right, heads up, toes towards it.
    assert not joints[J["pelvis"]].any()
    assert joints[J["left_wrist"], 0] > 0.2 > -0.2 > joints[J["right_wrist"], 0]
    assert joints[J["head"], 1] < 0 < joints[J["left_foot"], 1]
    assert joints[J["left_foot"], 2] < joints[J["left_ankle"], 2]
    # The left elbow is bent upwards about the axis that points forward.
    forearm = joints[J["left_wrist"]] - joints[J["left_elbow"]]
    assert np.allclose(forearm / np.linalg.norm(forearm), (0, -1, 0), atol=1e-5)


def test_dip_imu_turns_the_whole_body_with_its_pelvis():
    pose = np.zeros((1, 72))
    pose[0, :3] = (0, np.pi / 2, 0)
    flat, turned = dip_imu.positions(np.zeros((1, 72)))[0], dip_imu.positions(pose)[0]
    world = np.diag([1, -1, -1])
    assert np.allclose(turned @ world, flat @ world @ rotation(pose[0, :3]).T, atol=1e-6)


def test_dip_imu_says_what_is_wrong(tmp_path):
    path = tmp_path / "s_01" / "01.pkl"
    dump(path, dip_content(), protocol=2)
    (recording,) = dip_imu.recordings(tmp_path)
    path.write_bytes(b"garbage")
    assert recording.tracks[0].values.shape == (90, 9)
    with pytest.raises(DataError, match=r"01\.pkl"):
        recording.tracks[0].values[:]
    with pytest.raises(DataError, match=r"01\.pkl"):
        recording.labels["pose-estimation"].newest(np.array([ORIGIN + 1]), SECOND)
    content = dip_content()
    for name, value in (("gt", np.zeros((90, 71))), ("imu_acc", np.zeros((89, 17, 3))), ("imu_ori", None)):
        dump(path, {**content, name: value})
        with pytest.raises(DataError, match=r"01\.pkl: has no .* numbers; get it again"):
            dip_imu.recordings(tmp_path)


# --- Ego4D ----------------------------------------------------------------------------------------------------------

FIELDS = "component_idx,component_timestamp_ms,canonical_timestamp_ms,gyro_x,gyro_y,gyro_z,accl_x,accl_y,accl_z"


def mark(start, end, name, primary=True):
    return {"video_start_time": start, "video_end_time": end, "label": name, "primary": primary}


def write_ego4d(root, marks):
    (root / "v2" / "imu").mkdir(parents=True)
    (root / "v2" / "annotations").mkdir()
    for uid in ("aaa", "bbb"):
        rows = [f"0,{5 * i},{5 * i},{i},0.2,0.3,{-i},9.8,0.5" for i in range(1_000)]
        rows[3], rows[4] = rows[4], rows[3]  # not in order
        rows[10] = "0,50,,1,1,1,1,1,1"  # outside of the video
        rows[11] = "0,55,9e9,1,1,1,1,1,1"  # an artefact
        rows[12] = "0,60,60.0,1,1,1,,,"  # acceleration is missing
        (root / "v2" / "imu" / f"{uid}.csv").write_text("\n".join([FIELDS, *rows]) + "\n")
    clips = [{"annotations": [{"labels": marks[:1]}, {"labels": marks[1:]}]}]
    video = {"video_uid": "aaa", "split": "train", "clips": clips}
    (root / "v2" / "annotations" / "moments_train.json").write_text(json.dumps({"videos": [video]}))
    about = [{"video_uid": "aaa", "duration_sec": 5.0, "fb_participant_id": 82}]
    (root / "ego4d.json").write_text(json.dumps({"videos": about}))


def test_ego4d_imu(tmp_path):
    marks = [
        mark(0.5, 3.0, "wash_dishes_/_utensils_/_bakeware_etc."),
        mark(2.0, 4.0, "use_phone"),
        mark(3.5, 3.7, "use_phone"),
        mark(0.0, 5.0, "something_of_a_wider_taxonomy", primary=False),
    ]
    write_ego4d(tmp_path / "ego4d", marks)
    found = ego4d_imu.recordings(tmp_path)
    (recording,) = found
    assert (recording.name, recording.person) == ("aaa", "p82")
    assert [name.split("/")[-1] for name in found.left_out] == ["bbb.csv: no moments"]
    edges, labels = label(recording, "activity-recognition")
    assert [(edge - ORIGIN) / SECOND for edge in edges] == [0.5, 2.0, 3.0, 3.5, 3.7, 4.0]
    assert labels == ["wash-dishes-utensils-bakeware-etc", None, "use-phone", "use-phone", "use-phone"]
    (track,) = recording.tracks
    assert len(track.t) == 998
    assert (np.diff(track.t[:]) > 0).all()
    assert (track.t[3] - ORIGIN, track.t[-1] - ORIGIN) == (15_000_000, 4_995_000_000)
    assert np.allclose(track.values[3], (-3, 9.8, 0.5, 3, 0.2, 0.3))
    assert np.isnan(track.values[10, :3]).all()
    assert track.stream.placement == "head"
    assert sequence(recording).length > 5
    assert len(ego4d_imu.LABELS) == len(set(ego4d_imu.LABELS)) == 110


def test_ego4d_says_what_is_wrong(tmp_path):
    write_ego4d(tmp_path, [mark(0, 4, "wash_hands")])
    table = tmp_path / "v2" / "imu" / "aaa.csv"
    table.write_bytes(b"\x00garbage")
    (recording,) = ego4d_imu.recordings(tmp_path)  # opening reads no samples
    with pytest.raises(DataError, match=r"aaa\.csv: cannot be read as a table of Ego4D's IMU"):
        sequence(recording)
    moments = tmp_path / "v2" / "annotations" / "moments_train.json"
    moments.write_text(moments.read_text().replace("wash_hands", "wash_ears"))
    with pytest.raises(DataError, match=r"aaa\.csv: activity-recognition has no label 'wash-ears'"):
        ego4d_imu.recordings(tmp_path)
    moments.write_text('{"videos": [{"video_uid"')
    with pytest.raises(DataError, match=r"moments_train\.json: cannot be read as JSON"):
        ego4d_imu.recordings(tmp_path)
    moments.write_text('{"videos": [{"uid": 1}]}')
    with pytest.raises(DataError, match=r"moments_train\.json: is no table of moments"):
        ego4d_imu.recordings(tmp_path)
    moments.unlink()
    with pytest.raises(DataError, match=r"moments_train\.json: is not there; get the set from https://ego4d-data\.org"):
        ego4d_imu.recordings(tmp_path)


# --- KITTI ----------------------------------------------------------------------------------------------------------

CALIBRATION = """calib_time: 09-Jan-2012 13:57:47
corner_dist: 9.950000e-02
S_rect_02: 1.280000e+02 9.600000e+01
R_rect_02: 1 0 0 0 1 0 0 0 1
P_rect_02: 7.000000e+01 0 6.300000e+01 4.5e+01 0 8.000000e+01 4.700000e+01 -0.3 0 0 1 0.005
"""


def stamps(count, start="2011-09-26T13:02:25.000000089"):
    t = np.datetime64(start, "ns") + np.arange(count) * np.timedelta64(100_000_007, "ns")
    return t.astype(np.int64), "".join(f"{str(one).replace('T', ' ')}\n" for one in t)


def write_drive(root, number, count=20, maps=range(5, 15), split="train"):
    name = f"2011_09_26_drive_{number:04d}_sync"
    drive = root / "2011_09_26" / name
    (root / "2011_09_26").mkdir(parents=True, exist_ok=True)
    (root / "2011_09_26" / "calib_cam_to_cam.txt").write_text(CALIBRATION)
    for sensor in ("image_02", "oxts", "velodyne_points"):
        (drive / sensor / "data").mkdir(parents=True)
        (drive / sensor / "timestamps.txt").write_text(stamps(count)[1])
    rng = np.random.default_rng(number)
    clouds = []
    for i in range(count):
        grey(drive / "image_02" / "data" / f"{i:010d}.png", 10 * i)
        clouds.append(rng.normal(0, 10, (500, 4)).astype(np.float32))
        clouds[-1].tofile(drive / "velodyne_points" / "data" / f"{i:010d}.bin")
        numbers = np.zeros(30)
        numbers[:6] = 49.0 + 1e-5 * i, 8.4 + 2e-5 * i, 110.0 + 0.1 * i, 0.02, -0.01, 1.5
        numbers[6:11] = 3.0, 4.0, 5.0, 0, 0
        numbers[11:14], numbers[17:20] = (0.1 * i, 0.2, 9.8), (0.01, 0.02, 0.3)
        (drive / "oxts" / "data" / f"{i:010d}.txt").write_text(" ".join(map(str, numbers)) + "\n")
    (drive / "velodyne_points" / "data" / f"{3:010d}.bin").unlink(
        missing_ok=True
    )  # as in some of the publishers' drives
    folder = root / split / name / "proj_depth" / "groundtruth" / "image_02"
    for i in maps:
        folder.mkdir(parents=True, exist_ok=True)
        levels = np.zeros((96, 128), np.uint16)
        levels[40:44, 60:64] = 256 * i
        levels[95, 127] = 65_535
        Image.fromarray(levels).save(folder / f"{i:010d}.png")
    return drive, clouds


def test_kitti(tmp_path):
    root = tmp_path / "kitti"
    drive, clouds = write_drive(root, 1)
    write_drive(root, 2, split="data_depth_annotated/val")
    write_drive(root, 9, maps=())
    found = kitti.recordings(tmp_path)
    assert [r.person for r in found] == ["2011_09_26_drive_0001", "2011_09_26_drive_0002"]
    assert [name.split("/")[-1] for name in found.left_out] == ["2011_09_26_drive_0009_sync: no depth maps"]
    first, t = found[0], stamps(20)[0]
    assert [track.stream.modality for track in first.tracks] == list(kitti.MODALITIES)
    image, camera, lidar = (of(first, name) for name in ("image", "camera", "lidar"))
    assert np.array_equal(image.t, t)
    assert np.array_equal(lidar.t, np.delete(t, 3))
    assert (image.values.shape, image.values.dtype, image.scale) == ((20, 64, 64, 3), np.uint8, 1 / 255)
    assert np.array_equal(image.values[7], np.full((64, 64, 3), 70))
    pinhole = Intrinsics((70.0, 80.0), (63.0, 47.0), (96, 128))
    assert np.allclose(camera.values[7], pinhole.picture(drive / "image_02" / "data" / f"{7:010d}.png"))
    assert np.allclose(camera.values[7][..., 3], pinhole.rays((48, 96))[..., 0])
    assert np.array_equal(lidar.values[3], range_image(clouds[4], (32, 256)))
    gps, imu = of(first, "gps"), of(first, "imu")
    assert gps.values.shape == (20, 4)
    assert np.allclose(gps.values[0], (0, 0, 0, 5), atol=1e-6)
    east, north = 2e-4 * np.pi / 180 * 6_378_137 * np.cos(np.radians(49)), 1e-4 * np.pi / 180 * 6_378_137
    assert np.allclose(gps.values[10], (east, north, 1.0, 5.0), rtol=0.01)
    assert np.allclose(imu.values[10, :6], (1.0, 0.2, 9.8, 0.01, 0.02, 0.3))
    assert np.allclose(imu.values[10, 6:], axis_angle(attitude(1.5, -0.01, 0.02)), atol=1e-6)
    truth = first.labels["depth-estimation"]
    assert np.array_equal(truth.t, t[5:15])
    grid = truth.values[2].reshape(ROWS, COLUMNS)
    assert grid[10, 15] == 7.0
    assert grid[23, 31] == np.float32(65_535 / 256)
    assert np.isfinite(grid).sum() == 2
    cut = sequence(first)
    assert {series.modality for series in cut.series} == set(kitti.MODALITIES)
    target = cut.targets["depth-estimation"]
    assert np.isfinite(target).any(1).any()


def test_kitti_reads_nothing_until_it_is_used(tmp_path):
    write_drive(tmp_path, 1, count=100, maps=range(100))
    (recording,) = kitti.recordings(tmp_path)
    for path in [*tmp_path.rglob("data/*"), *tmp_path.rglob("image_02/*.png"), *tmp_path.rglob("calib*")]:
        path.write_bytes(b"garbage")
    (again,) = kitti.recordings(tmp_path)
    assert len(again.tracks[0].t) == 100
    for track in recording.tracks:
        with pytest.raises(DataError, match=r"0000000000|calib_cam_to_cam\.txt"):
            track.values[0]
    with pytest.raises(DataError, match=r"groundtruth/image_02/0000000050\.png"):
        truth = recording.labels["depth-estimation"]
        truth.newest(truth.t[50:51] + 1, SECOND)


def test_kitti_keeps_the_times_of_numbers_after_a_blank_line(tmp_path):
    drive, _ = write_drive(tmp_path, 1)
    lines = stamps(20)[1].splitlines()
    lines[3] = ""  # scan 3 is missing, as in some of the publishers' drives
    for sensor in ("velodyne_points", "image_02"):
        (drive / sensor / "timestamps.txt").write_text("\n".join(lines) + "\n\n")
        if sensor == "velodyne_points":
            (recording,) = kitti.recordings(tmp_path)
            assert np.array_equal(of(recording, "lidar").t, np.delete(stamps(20)[0], 3))
    with pytest.raises(
        DataError, match=r"image_02/timestamps\.txt: line 4 is blank, but 0000000003\.png is there; get"
    ):
        kitti.recordings(tmp_path)


def test_kitti_says_what_is_wrong(tmp_path):
    drive, _ = write_drive(tmp_path, 1)
    (recording,) = kitti.recordings(tmp_path)
    scan = drive / "velodyne_points" / "data" / f"{0:010d}.bin"
    scan.write_bytes(scan.read_bytes()[:-3])
    with pytest.raises(DataError, match=r"0000000000\.bin: 7997 bytes are no points"):
        of(recording, "lidar").values[0]
    numbers = drive / "oxts" / "data" / f"{4:010d}.txt"
    numbers.write_text(numbers.read_text().rsplit(" ", 3)[0])
    with pytest.raises(DataError, match=r"0000000004\.txt: is no line of 30 numbers"):
        of(recording, "imu").values[:]
    times = drive / "image_02" / "timestamps.txt"
    times.write_text(stamps(12)[1])
    with pytest.raises(DataError, match=r"timestamps\.txt: 12 times, but file number 19"):
        kitti.recordings(tmp_path)
    times.write_text("2011-09-26 25:99:00\n")
    with pytest.raises(DataError, match=r"timestamps\.txt: holds something that is no time"):
        kitti.recordings(tmp_path)
    times.write_text(stamps(20)[1])
    (drive / "oxts" / "timestamps.txt").unlink()
    with pytest.raises(
        DataError, match=r"oxts/timestamps\.txt: is not there; get the set from https://www\.cvlibs\.net"
    ):
        kitti.recordings(tmp_path)
    (tmp_path / "train").rename(tmp_path / "elsewhere")
    with pytest.raises(DataError, match=r"no train.*proj_depth.*CC BY-NC-SA"):
        kitti.recordings(tmp_path)


def test_kitti_on_a_real_picture_scan_and_calibration(tmp_path, data_dir):
    here = data_dir / "kitti_samples"
    numbers = kitti.calibration(here / "object_000000_calib.txt")
    assert numbers["P2"].shape == (12,)
    assert numbers["Tr_velo_to_cam"].shape == (12,)
    with Image.open(here / "object_000000_image_2.png") as opened:
        picture = opened.copy()
    drive, _ = write_drive(tmp_path, 1, count=1, maps=())
    picture.save(drive / "image_02" / "data" / f"{0:010d}.png")
    cloud = np.load(here / "object_000000_velodyne.npz")["points"]
    cloud.tofile(drive / "velodyne_points" / "data" / f"{0:010d}.bin")
    matrix = " ".join(map(str, numbers["P2"]))
    (drive.parent / "calib_cam_to_cam.txt").write_text(
        f"S_rect_02: {picture.width} {picture.height}\nP_rect_02: {matrix}\n"
    )
    turn, level = numbers["Tr_velo_to_cam"].reshape(3, 4), numbers["R0_rect"].reshape(3, 3)
    seen = (cloud[:, :3] @ turn[:, :3].T + turn[:, 3]) @ level.T
    seen = seen[seen[:, 2] > 1]
    pixel, depth = Intrinsics(
        (numbers["P2"][0], numbers["P2"][5]), (numbers["P2"][2], numbers["P2"][6]), (1, 1)
    ).project(seen)
    place = np.rint(pixel).astype(int)
    inside = ((place >= 0) & (place < (picture.width, picture.height))).all(1)
    levels = np.zeros((picture.height, picture.width), np.uint16)
    order = np.argsort(-depth[inside])
    levels[place[inside][order, 1], place[inside][order, 0]] = np.rint(depth[inside][order] * 256)
    folder = tmp_path / "val" / drive.name / "proj_depth" / "groundtruth" / "image_02"
    folder.mkdir(parents=True)
    Image.fromarray(levels).save(folder / f"{0:010d}.png")
    (drive / "velodyne_points" / "timestamps.txt").write_text(stamps(1)[1])
    (recording,) = kitti.recordings(tmp_path)
    grid = recording.labels["depth-estimation"].values[0].reshape(ROWS, COLUMNS)
    row, column = np.nonzero(levels)
    wanted = depth_map(np.stack([column, row], -1), levels[row, column] / 256, levels.shape)
    assert np.array_equal(grid.ravel(), wanted, equal_nan=True)
    assert np.isfinite(grid[12:]).mean() > 0.8
    assert np.nanmedian(grid[22]) < np.nanmedian(grid[14])  # the road is nearer at the bottom
    ranges = of(recording, "lidar").values[0]
    assert (ranges[..., 0] > 0).mean() > 0.3
    assert 0 < ranges[..., 1].max() <= 1
    image = of(recording, "image").values[0]
    assert abs(image.mean() - np.asarray(picture).mean()) < 1


# --- LLVIP ----------------------------------------------------------------------------------------------------------


def test_llvip(tmp_path):
    root = tmp_path / "llvip"
    for split, name, level in (
        ("train", "010001", 0),
        ("train", "010002", 51),
        ("train", "020001", 102),
        ("test", "190001", 255),
    ):
        grey(root / "infrared" / split / f"{name}.jpg", level)
        grey(root / "visible" / split / f"{name}.jpg", level // 3)
    grey(root / "infrared" / "test" / "190002.jpg", 9)
    found = llvip.recordings(tmp_path)
    assert [(r.name, r.person) for r in found] == [
        ("test-19", "place-19"), ("train-01", "place-01"), ("train-02", "place-02"),
    ]  # fmt: skip
    assert len(found.skipped) == 1
    thermal, image = of(found[1], "thermal"), of(found[1], "image")
    assert (thermal.values.shape, thermal.values.dtype) == ((2, 24, 32, 1), np.uint16)
    assert np.allclose(thermal.values[1] * thermal.scale, 283.15 + 30 * 51 / 255, atol=0.01)
    assert np.allclose(thermal.values[0] * thermal.scale, 283.15, atol=0.01)
    assert np.array_equal(image.values[1], np.full((64, 64, 3), 17))
    assert (np.diff(image.t) == SLOT).all()
    for path in root.rglob("*.jpg"):
        path.write_bytes(b"garbage")
    assert [r.name for r in llvip.recordings(tmp_path)] == [r.name for r in found]
    with pytest.raises(DataError, match=r"infrared/train/010002\.jpg: cannot be read as a picture"):
        thermal.values[1]
    (root / "visible").rename(root / "dark")
    with pytest.raises(DataError, match="infrared pictures without visible ones; get the set from"):
        llvip.recordings(tmp_path)


def test_llvip_people(tmp_path):
    path = tmp_path / "010001.xml"
    box = "<bndbox><xmin>10</xmin><ymin>20</ymin><xmax>110</xmax><ymax>220</ymax></bndbox>"
    person, car = (f"<object><name>{name}</name>{box}</object>" for name in ("person", "car"))
    path.write_text(f"<annotation><size><width>1280</width></size>{person}{car}{person}</annotation>")
    assert llvip.people(path).tolist() == [[10, 20, 110, 220]] * 2
    path.write_text("<annotation></annotation>")
    assert llvip.people(path).shape == (0, 4)
    path.write_text(f"<annotation>{person[:60]}")
    with pytest.raises(DataError, match=r"010001\.xml: is no VOC annotation"):
        llvip.people(path)


def test_llvip_on_real_pairs(tmp_path, data_dir):
    pairs = data_dir / "thermal_rgb_pairs"
    for ours, theirs in (("infrared", "llvip_ir"), ("visible", "llvip_vi")):
        (tmp_path / ours).mkdir()
        (tmp_path / ours / "train").symlink_to(pairs / theirs)
    (first,) = llvip.recordings(tmp_path)
    assert first.person == "place-01"
    thermal, image = of(first, "thermal").values[0], of(first, "image").values[0]
    source = sorted((pairs / "llvip_ir").glob("*.jpg"))[0]
    with Image.open(source) as opened:
        level = np.asarray(opened.convert("L"), np.float64).mean()
    assert abs(thermal.mean() * 0.01 - (283.15 + 30 * level / 255)) < 0.1
    assert thermal.std() > 10
    assert image.std() > 5


# --- TouchPose ------------------------------------------------------------------------------------------------------


def touch_cells(subject):
    rng = np.random.default_rng(subject)
    return {
        "subject_id": [subject] * 5,
        "session_id": [1, 1, 2, 2, 2],
        "gesture_id": [65.0, 65.0, 65.0, 66.0, 66.0],
        "cap_img": [rng.integers(-50, 1500, (41, 72)).astype(float) for _ in range(5)],
        "depth_img": [np.full((41, 72), 20 * i, np.uint8) for i in range(5)],
    }


def test_touchpose(tmp_path, monkeypatch):
    cells = {subject: touch_cells(subject) for subject in (3, 11)}
    for subject, content in cells.items():
        write_table(tmp_path / "touchpose" / "data" / f"P{subject}.pkl", content, monkeypatch, old=subject == 3)
    found = touchpose.recordings(tmp_path)
    assert [r.person for r in found] == ["subject-3"] * 3 + ["subject-11"] * 3
    assert [r.name for r in found[:3]] == ["P3-3-1-65", "P3-3-2-65", "P3-3-2-66"]
    track, truth = of(found[2], "capacitance"), found[2].labels["depth-estimation"]
    assert (track.values.shape, track.values.dtype) == ((2, 32, 32, 1), np.float32)
    raw = np.clip(cells[3]["cap_img"][3] / 1400, 0, 1)
    assert abs(track.values[0].mean() - raw.mean()) < 0.01
    assert 0 <= track.values[:].min() <= track.values[:].max() <= 1
    assert np.allclose(truth.values[1], 0.08)
    assert np.isnan(found[0].labels["depth-estimation"].values[0]).all()  # level 0 is unknown
    assert (np.diff(track.t) == SLOT).all()
    constant = {**cells[3], "cap_img": [np.full((41, 72), 700.0)] * 5}
    write_table(tmp_path / "touchpose" / "data" / "P3.pkl", constant, monkeypatch)
    assert np.allclose(of(touchpose.recordings(tmp_path)[0], "capacitance").values[0], 0.5)
    for path in (tmp_path / "touchpose" / "data").glob("*.pkl"):
        path.write_bytes(b"garbage")
    for values in (track.values, truth.values):
        with pytest.raises(DataError, match=r"P3\.pkl"):
            values[0]


def test_touchpose_says_what_is_wrong(tmp_path, monkeypatch):
    cells, path = touch_cells(1), tmp_path / "P1.pkl"
    write_table(path, {name: column for name, column in cells.items() if name != "session_id"}, monkeypatch)
    with pytest.raises(DataError, match=r"P1\.pkl: column 'session_id' is missing"):
        touchpose.recordings(tmp_path)
    write_table(path, {**cells, "depth_img": [np.zeros((4, 7))] * 5}, monkeypatch)
    with pytest.raises(DataError, match=r"P1\.pkl: a frame is not 41 x 72 numbers"):
        of(touchpose.recordings(tmp_path)[0], "capacitance").values[0]


# --- Newer College --------------------------------------------------------------------------------------------------

POINT = np.dtype([("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("intensity", "<f4"), ("t", "<u4"), ("ring", "u1")])
HEADER = """# .PCD v0.7 - Point Cloud Data file format
VERSION 0.7
FIELDS x y z intensity t ring
SIZE 4 4 4 4 4 1
TYPE F F F F U U
COUNT 1 1 1 1 1 1
WIDTH {n}
HEIGHT 1
VIEWPOINT 0 0 0 1 0 0 0
POINTS {n}
DATA {kind}
"""


def write_cloud(path, cloud, kind="binary"):
    path.parent.mkdir(parents=True, exist_ok=True)
    header = HEADER.format(n=len(cloud), kind=kind).encode()
    if kind == "ascii":
        lines = "\n".join(" ".join(repr(float(cell)) for cell in row) for row in cloud.tolist())
        path.write_bytes(header + lines.encode() + b"\n")
    else:
        path.write_bytes(header + cloud.tobytes())


def a_cloud(seed=0, n=800):
    rng = np.random.default_rng(seed)
    cloud = np.zeros(n, POINT)
    for axis in ("x", "y", "z"):
        cloud[axis] = rng.normal(0, 8, n)
    cloud["intensity"] = rng.uniform(0, 2000, n)
    cloud[5] = 0  # no return
    cloud["x"][6] = np.nan
    return cloud


def test_newer_college(tmp_path):
    top = tmp_path / "newer_college" / "2020-ouster-os1-64-realsense"
    clouds = [a_cloud(i) for i in range(3)]
    for i, kind in enumerate(("binary", "ascii", "binary")):
        name = f"cloud_{1_583_836_591 + i}_{182_590_976 - i}.pcd"
        write_cloud(top / "01_short_experiment" / "raw_format" / "ouster_scan" / name, clouds[i], kind)
    write_cloud(top / "02_long_experiment" / "raw_format" / "ouster_scan" / "cloud_1583836592_5.pcd", clouds[0])
    write_cloud(top / "02_long_experiment" / "raw_format" / "ouster_scan" / "cloud_1583836592_5 (1).pcd", clouds[0])
    found = newer_college.recordings(tmp_path)
    assert [r.person for r in found] == ["01_short_experiment", "02_long_experiment"]
    assert len(found.skipped) == 1
    lidar = of(found[0], "lidar")
    assert lidar.t.tolist() == [(1_583_836_591 + i) * SECOND + 182_590_976 - i for i in range(3)]
    assert of(found[1], "lidar").t.tolist() == [1_583_836_592 * SECOND + 5]
    kept = np.delete(clouds[1], [5, 6])
    points = np.stack([kept[name] for name in ("x", "y", "z", "intensity")], -1)
    points[:, 3] = np.clip(points[:, 3] / 1024, 0, 1)
    path = next((top / "01_short_experiment").rglob("cloud_1583836592*.pcd"))
    assert np.array_equal(newer_college.points(path), points)
    assert np.array_equal(lidar.values[1], range_image(points, (32, 256), (22.5, -22.5)))
    assert (lidar.values[0][..., 0] > 0).sum() > 200
    poses = top / "01_short_experiment" / "ground_truth" / "registered_poses.csv"
    poses.parent.mkdir()
    poses.write_text(
        "#sec,nsec,x,y,z,qx,qy,qz,qw\n1583836591,182590976,1.5,-2,0.25,0,0,0,1\n1583836591,282590976,2,2,2,0,0,1,0\n"
    )
    t, values = newer_college.poses(poses)
    assert t.tolist() == [1_583_836_591_182_590_976, 1_583_836_591_282_590_976]
    assert values[0].tolist() == [1.5, -2, 0.25, 0, 0, 0, 1]


def test_newer_college_says_what_is_wrong(tmp_path):
    folder = tmp_path / "01_short_experiment" / "raw_format" / "ouster_scan"
    path = folder / "cloud_100_5.pcd"
    write_cloud(path, a_cloud())
    (recording,) = newer_college.recordings(tmp_path)
    whole = path.read_bytes()
    for content, message in (
        (b"garbage", "is no point cloud of PCL"),
        (whole[:-30], r"is no whole point cloud with x, y, z, intensity"),
        (whole.replace(b" intensity ", b" bright ", 1), "is no whole point cloud"),
        (whole.replace(b"DATA binary", b"DATA binary_compressed"), "pcl_convert_pcd_ascii_binary"),
        (whole.replace(b"POINTS 800", b"POINTS many"), "is no whole point cloud"),
    ):
        path.write_bytes(content)
        with pytest.raises(DataError, match=rf"cloud_100_5\.pcd: .*{message}"):
            recording.tracks[0].values[0]
    path.rename(folder / "scan.pcd")
    with pytest.raises(DataError, match="no scans cloud_SECONDS_NANOSECONDS"):
        newer_college.recordings(tmp_path)
    poses = tmp_path / "registered_poses.csv"
    with pytest.raises(DataError, match=r"registered_poses\.csv: cannot be opened .* get the set from"):
        newer_college.poses(poses)
    poses.write_text("#sec,nsec,x,y,z,qx,qy,qz,qw\n1,2,3\n")
    with pytest.raises(DataError, match=r"registered_poses\.csv: is no table of sec, nsec"):
        newer_college.poses(poses)
