"""Exported encoders equal the originals, say what they are, and are not written unless that is proven."""

import asyncio
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pyarrow as pa
import pyarrow.csv
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from onnx import numpy_helper
from typer.testing import CliRunner

from backend.answer import Decision
from backend.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from backend.data import DATASETS, sequence, synthetic
from backend.data.synthetic import scene_recording
from backend.model.history import History
from backend.model.sensorlm import ModelConfig, Predictor, SensorModel
from backend.moment import Moment, StreamWindow
from backend.serve.events import Episodes
from backend.tasks import Classification
from benchmarks import int8
from broker.errors import CheckpointError, ConfigError, IotlmError
from broker.messages import decode_frame, encode_frame
from edge.clock import ManualClock
from edge.encoder import Encoder
from edge.sensors import SENSORS
from edge.simulator import SCENES, Scene
from edge.sources import SensorSource
from edge.windows import Stream
from export import bundle, parity
from export.cli import app
from export.onnx import to_bytes, to_onnx
from export.quantize import per_channel
from tests.serving import senses_checkpoint

SLOT = 500_000_000
T0 = 1_767_225_600_000_000_000
STREAMS = {
    "watch": Stream("imu", "imu", "wrist"),
    "phone": Stream("imu", "imu", "pocket"),
    "room": Stream("audio", "audio", "room"),
}


@pytest.fixture(scope="module")
def bundled() -> Checkpoint:
    """With trained weights: those of an untrained model hardly tell one window from another."""
    torch.set_num_threads(1)
    return load_checkpoint()


@pytest.fixture(scope="module")
def files(bundled: Checkpoint) -> bundle.Files:
    return bundle.build(bundled)


@pytest.fixture(scope="module")
def found(bundled: Checkpoint) -> parity.Findings:
    """Most of a minute of a simulated person in a room, and of the other scenes as far as the model knows them."""
    evidence, known = [], set(bundled.encoders)
    for scene in SCENES:
        name = synthetic.name_of(scene)
        senses = tuple(m for m in synthetic.modalities(scene) if m in known)
        if tasks := parity._decidable(name, bundled.model):
            cut = sequence(parity.on_grids(scene_recording(77, seconds=48, scene=scene, senses=senses), bundled.model))
            assert cut is not None
            evidence.append(parity.Evidence(name, "1 person", tasks, [cut]))
    return parity.Findings(evidence)


def extremes(modality: str, shape: tuple[int, ...]) -> np.ndarray:
    """Windows that no recording holds: nothing at all, a device at rest, the ends of the range, noise."""
    rng = np.random.default_rng(0)
    if modality not in ("audio", "imu"):
        noise = rng.normal(0, 1, (3, *shape)) * np.array([1, 30, 1e-4]).reshape(3, *[1] * len(shape))
        return np.concatenate([np.zeros((1, *shape)), np.ones((1, *shape)), noise])
    if modality == "audio":
        noise = rng.uniform(-1, 1, (3, 16000, 1))
        return np.concatenate([np.zeros((1, 16000, 1)), np.ones((1, 16000, 1)), noise * [[[1]], [[1e-4]], [[1e-6]]]])
    rest = np.tile([0, 0, 9.81, 0, 0, 0], (1, 50, 1))
    noise = rng.normal(0, 1, (3, 50, 6)) * [[[1]], [[30]], [[1e-4]]]
    clipped = [np.full((1, 50, 6), 156.9), rng.choice([-156.9, 156.9], (1, 50, 6))]  # 16 g
    return np.concatenate([np.zeros((1, 50, 6)), rest, *clipped, noise])


def test_fp32_equals_torch_on_windows_of_every_kind(bundled, files, found):
    for modality, encoder in bundled.model.encoders.items():
        gap = parity.compare(encoder, files["fp32"][modality], [s for one in found.evidence for s in one.sequences])
        assert gap.windows >= 30
        assert max(gap.tokens, gap.quality) <= 1e-4
        device = Encoder(files["fp32"][modality])
        for x_TC in extremes(modality, encoder.shape).astype(np.float32):
            with torch.inference_mode():
                tokens_1Kd, quality_1 = encoder(torch.from_numpy(x_TC[None]))
            tokens, quality = device.encode(x_TC)
            np.testing.assert_allclose(tokens, tokens_1Kd[0].numpy(), rtol=1e-3, atol=1e-4)  # float16 rounds by 5e-4
            assert quality == pytest.approx(float(quality_1), abs=1e-4)


def test_a_window_is_the_same_alone_and_in_a_batch(files, found):
    import onnxruntime

    for modality in ("imu", "audio"):
        x_BTC = next(parity.batches(modality, found.evidence[0].sequences))[:5]
        for precision in ("fp32", "int8"):
            session = onnxruntime.InferenceSession(files[precision][modality], providers=["CPUExecutionProvider"])
            together = session.run(["tokens"], {"x": x_BTC})[0]
            alone = np.concatenate([session.run(["tokens"], {"x": x[None]})[0] for x in x_BTC])
            # int8 takes the range of what it multiplies over the whole batch: together is a little coarser than alone
            np.testing.assert_allclose(together, alone, atol=1e-4 if precision == "fp32" else 0.1)


def test_a_file_says_what_it_is_and_not_where_it_was_made(bundled, files):
    here = str(Path(bundle.__file__).parents[1]).encode()
    for modality, encoder in bundled.model.encoders.items():
        for precision, of in files.items():
            device = Encoder(of[modality])
            for name, value in encoder.describe().items():
                assert getattr(device, name) == value
            assert (device.digest, device.precision) == (bundled.encoders[modality], precision)
            assert here not in of[modality]
            model = onnx.load_from_string(of[modality])
            assert [entry.version for entry in model.opset_import if entry.domain == ""] == [20]


def test_int8_keeps_the_spectrum_and_stores_every_large_weight_in_a_byte(bundled, files):
    for modality, payload in files["int8"].items():
        assert len(payload) <= 2_000_000
        graph = onnx.load_from_string(payload).graph
        tensors = {t.name: t for t in graph.initializer}
        fixed = {name: value.numpy() for name, value in bundled.model.encoders[modality].named_buffers()}
        floats = {name for name, t in tensors.items() if t.data_type == onnx.TensorProto.FLOAT}
        weights = {name for node in graph.node if node.op_type in ("Conv", "MatMul", "Gemm") for name in node.input}
        assert all(np.prod(tensors[name].dims) < 1024 or name in fixed for name in floats & weights)
        large = sum(np.prod(tensors[name].dims) for name in floats - fixed.keys())
        assert large * 4 < len(payload) / 5  # what else is learned is small
        for name in fixed.keys() & tensors.keys():
            np.testing.assert_array_equal(numpy_helper.to_array(tensors[name]), fixed[name])


@settings(max_examples=50, deadline=None)
@given(arrays(np.float32, array_shapes(min_dims=2, max_dims=4, max_side=6), elements=st.floats(-1e3, 1e3, width=32)))
def test_integers_times_scale_are_within_half_a_step_of_the_weight(weight):
    integers, scale = per_channel(weight)
    assert scale.shape == (len(weight), *[1] * (weight.ndim - 1))
    assert (np.abs(integers * scale - weight) <= scale * 0.5001 + 1e-30).all()


def test_tokens_of_int8_decide_as_raw_windows_do(bundled, files, found):
    rows = parity.judge(bundled, found.evidence, files)
    assert {row["task"] for row in rows} == set(bundled.model.config.tasks)
    assert {row["dataset"] for row in rows} == {one.dataset for one in found.evidence}
    for row in rows:
        assert row["n"] >= 60  # of thirty, one decision on the edge would be more than 3 %
        assert row["fp32"]["same"] >= 0.99
        assert row["int8"]["same"] >= 0.97


def test_evidence_is_found_for_every_sense_recorded_before_simulated(tmp_path, monkeypatch):
    """A model of all senses needs three scenes; what a set does not label in the model's words is no evidence."""
    checkpoint = senses_checkpoint()
    read: list[str] = []

    def short(name: str, scene: str):
        def unseen(_: Path) -> list:
            read.append(name)
            return [scene_recording(seed, seconds=3, scene=scene) for seed in range(8)]

        return unseen

    for scene in SCENES:
        name = synthetic.name_of(scene)
        monkeypatch.setitem(DATASETS, name, replace(DATASETS[name], unseen=short(name, scene)))
    found = parity.gather(checkpoint, None)
    assert [one.dataset for one in found.evidence] == read == ["synthetic", "synthetic_drive", "synthetic_touch"]
    assert all(len(one.sequences) == parity.MOST for one in found.evidence)
    there = {series.modality for one in found.evidence for s in one.sequences for series in s.series}
    assert there == set(checkpoint.encoders)
    assert {task for one in found.evidence for task in one.tasks} == set(checkpoint.model.config.tasks)

    read.clear()
    sensed = scene_recording(3, seconds=3, senses=("imu", "audio"))
    recorded = replace(DATASETS["sp_sw_har"], modalities=("imu", "audio"), read=lambda _: [sensed])
    monkeypatch.setitem(DATASETS, "sp_sw_har", recorded)
    two = Checkpoint(SensorModel(ModelConfig(layers=1)).eval())
    assert [one.dataset for one in parity.gather(two, tmp_path).evidence] == ["sp_sw_har"]
    assert read == []
    assert "activity-recognition" not in parity._decidable("utd_mhad", checkpoint.model)  # no label in common
    assert "pose-estimation" in parity._decidable("utd_mhad", checkpoint.model)


def test_senses_with_channels_that_a_recording_lacks_are_compared():
    encoder = senses_checkpoint().model.encoder("gps")
    cut = sequence(scene_recording(77, seconds=4, scene="drive", senses=("gps",)))
    assert cut is not None and cut.series[0].values.shape[-1] == 4 < encoder.channels
    gap = parity.compare(encoder, to_bytes(to_onnx(encoder)), [cut])
    assert gap.windows >= 6 and gap.tokens <= 1e-4


def test_what_differs_from_torch_is_not_written(bundled, files, found, tmp_path):
    report = bundle.prove(bundled, files, found, bundle.Bounds(loss=1.0))
    assert report["failures"] == []
    swapped = {**files, "fp32": files["int8"]}  # quantised weights where exact ones are promised
    report = bundle.prove(bundled, swapped, found, bundle.Bounds(loss=1.0))
    assert len(report["failures"]) == len(bundled.encoders)
    with pytest.raises(CheckpointError, match=r"imu\.onnx differs from torch by .*bound 0\.0001"):
        bundle.write(swapped, report, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_loss_of_the_metric_is_a_failure(bundled, files, found, tmp_path):
    report = bundle.prove(bundled, files, found, bundle.Bounds(loss=-2.0))  # not even a gain of 1 would do
    assert [f for f in report["failures"] if "int8 changes balanced_accuracy of activity-recognition" in f]


def motion(placement: str, seconds: int = 8) -> pa.Table:
    """A simulated person in the columns of sp_sw_har."""
    t = T0 + np.arange(100 * seconds) * 10_000_000
    scene = Scene(5)
    values = dict(
        zip(("x_acc", "y_acc", "z_acc", "x_gyro", "y_gyro", "z_gyro"), scene.imu(placement, t).T, strict=True)
    )
    return pa.table(
        {**values, "timestamp": t // 1_000_000, "label": [scene.labels(int(n))["activity-recognition"] for n in t]}
    )


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Path:
    """A folder with the checkpoint of a small model, `checkpoint`, and with recordings for it, `data`."""
    root = tmp_path_factory.mktemp("small")
    torch.manual_seed(1)
    config = ModelConfig(modalities=("imu",), tasks=("activity-recognition",), layers=1)
    save_checkpoint(Checkpoint(SensorModel(config).eval()), root / "checkpoint")
    folder = root / "data" / "DATA" / "s01"
    folder.mkdir(parents=True)
    for device, placement in (("sw", "wrist"), ("sp", "pocket")):
        pyarrow.csv.write_csv(motion(placement), folder / f"s01_01_{device}.csv")
    return root


def test_export_writes_files_and_their_proof_once(small, tmp_path):
    arguments = [str(small / "checkpoint"), str(tmp_path / "out"), "--data", str(small / "data"), "--max-loss", "1"]
    done = CliRunner().invoke(app, arguments)
    assert done.exception is None, done.output
    told = [line.split(":")[0] for line in done.stdout.splitlines()[1:5]]
    assert told == [
        "built imu", "looking for recordings of sp_sw_har", "comparing imu with torch", "deciding on sp_sw_har"
    ]  # fmt: skip
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"imu.onnx", "imu.int8.onnx", "parity.json"}
    report = json.loads((tmp_path / "out" / "parity.json").read_text())
    assert report["windows"] == {"sp_sw_har": "persons not seen in training: 1"}
    assert report["encoders"]["imu"]["fp32"]["tokens"] <= 1e-4
    assert report["encoders"]["imu"]["digest"] == Encoder(tmp_path / "out" / "imu.int8.onnx").digest
    again = CliRunner().invoke(app, arguments)
    assert isinstance(again.exception, ConfigError)
    assert "imu.onnx" in str(again.exception)
    assert CliRunner().invoke(app, [*arguments, "--force"]).exception is None


def test_export_refuses_in_one_line(small, tmp_path):
    (tmp_path / "file").touch()
    checkpoint, data = str(small / "checkpoint"), ["--data", str(small / "data")]
    refused = {
        "train one first": [str(tmp_path / "nothing"), str(tmp_path / "out")],
        "cannot be made": [checkpoint, str(tmp_path / "file" / "out")],
        "takes one or two": [checkpoint, checkpoint, str(tmp_path / "out")],
        "differs from torch": [checkpoint, str(tmp_path / "out"), *data, "--tolerance", "0"],
    }
    for words, arguments in refused.items():
        error = CliRunner().invoke(app, arguments).exception
        assert isinstance(error, IotlmError), words
        assert words in str(error)
    shown = subprocess.run(
        [sys.executable, "-m", "export", *refused["train one first"]], capture_output=True, text=True, check=False
    )
    assert shown.returncode == 1
    assert shown.stderr.startswith("error: checkpoint ")
    assert shown.stderr.count("\n") == 1


@pytest.mark.parametrize("absent", ["onnx", "onnxscript"])
def test_a_missing_package_is_named_with_what_installs_it(tmp_path, absent):
    code = f"import runpy, sys; sys.modules[{absent!r}] = None; runpy.run_module('export', run_name='__main__')"
    line = [sys.executable, "-c", code, str(tmp_path / "out")]
    shown = subprocess.run(line, capture_output=True, text=True, check=False)
    assert shown.returncode == 1
    assert shown.stderr.startswith(f"error: {absent} is not installed; pip install '.[export]' in the clone")
    assert shown.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


async def frames(encoders: dict[str, Encoder], seconds: float) -> list[StreamWindow]:
    """What arrives from a watch, a phone and a microphone in one scene: frames that have crossed the wire."""
    arrived = []
    for device, stream in STREAMS.items():
        clock = ManualClock(T0)
        options = {"seed": 3, "start": "2026-01-01T00:00:00Z", "seconds": seconds, "speed": 0.0}
        sensor = SENSORS["simulator"](options, stream, clock)
        source = SensorSource("home", device, stream, sensor, clock, encoder=encoders.get(stream.modality))
        async for name, frame in source.frames(lambda stream: None):
            got = decode_frame(encode_frame(replace(frame, epoch="e", seq=1, base=1)))
            values = got.values().reshape(len(got.data), -1)
            raw = got.kind == "raw"
            arrived.append(
                StreamWindow(
                    device,
                    name,
                    got.modality,
                    got.placement,
                    got.t0,
                    got.rate,
                    got.quality,
                    values if raw else None,
                    None if raw else values,
                    got.encoder,
                )
            )
    return arrived


def told(predictor: Predictor, windows: list[StreamWindow]) -> tuple[list[str], list[tuple[str, str]]]:
    """Labels of all decisions in order of time, and the episodes' beginnings: task and label."""
    slots: dict[int, list[StreamWindow]] = {}
    for window in windows:
        slots.setdefault(window.t0 // SLOT, []).append(window)
    history = History(predictor.config.slots)
    tasks = {name: task for name, task in predictor.tasks.items() if isinstance(task, Classification)}
    rules = {name: replace(task.rule, on=predictor.thresholds.get(name, task.rule.on)) for name, task in tasks.items()}
    nothing = {name: task.none_label for name, task in tasks.items()}
    episodes, labels, started = Episodes(rules, nothing, predictor.digest, 0), [], []
    for slot, mine in sorted(slots.items()):
        history.add(predictor.encode_windows(mine))
        (answers,) = predictor.decide([history.at(slot)])
        decisions = {name: answer for name, answer in answers.items() if isinstance(answer, Decision)}
        labels += [decision.label for decision in decisions.values()]
        moment = Moment("home", "ann", slot, slot * SLOT, tuple(mine))
        started += [(e.task, e.label) for e in episodes.step(moment, decisions) if e.phase == "start"]
    return labels, started


def test_a_device_that_sends_int8_tokens_raises_the_events_of_one_that_sends_raw(bundled, files):
    encoders = {modality: Encoder(payload) for modality, payload in files["int8"].items()}
    raw, tokens = asyncio.run(frames({}, 48.0)), asyncio.run(frames(encoders, 48.0))
    assert {w.tokens is None for w in raw} == {True}
    assert {w.values is None for w in tokens} == {True}
    assert len(raw) == len(tokens) >= 3 * 90
    raw_labels, raw_events = told(Predictor(bundled), raw)
    labels, events = told(Predictor(bundled), tokens)
    assert len(raw_labels) >= 2 * 90
    assert np.mean([a == b for a, b in zip(raw_labels, labels, strict=True)]) >= 0.97
    assert len(raw_events) >= 5
    assert events == raw_events


def test_the_readme_shows_the_measured_table():
    root = Path(bundle.__file__).parent
    report = json.loads((Path(int8.__file__).parent / "results" / "int8.json").read_text())
    assert "\n".join(int8.table(report, (int8.FP32, int8.INT8))) in (root / "README.md").read_text()
