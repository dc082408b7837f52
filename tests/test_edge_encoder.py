"""The encoder on the device: what it learns from the file, what it gives, and every file that it refuses."""

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from broker.errors import CheckpointError, ConfigError
from edge import onnxfile
from edge.encoder import Encoder
from edge.windows import Stream
from tests.tiny_encoder import PROPS, encoder_bytes, frame_props, model

X = np.random.default_rng(1).normal(size=(50, 6)).astype(np.float32)


def test_it_learns_from_the_file_what_it_takes_and_who_it_is(tmp_path):
    (tmp_path / "imu.onnx").write_bytes(encoder_bytes())
    encoder = Encoder(tmp_path / "imu.onnx")
    assert (encoder.modality, encoder.rate, encoder.window_s, encoder.hop_s) == ("imu", 50.0, 1.0, 0.5)
    assert (encoder.tokens, encoder.dim, encoder.channels, encoder.shape, encoder.size) == (4, 8, 6, (50, 6), (0, 0))
    assert (encoder.digest, encoder.precision, encoder.units) == ("d1", "fp32", "m/s2, rad/s")


def test_tokens_are_half_precision_and_quality_is_a_share():
    weight = np.random.default_rng(2).normal(size=(6, 32)).astype(np.float32)
    tokens, quality = Encoder(encoder_bytes(weight=weight, quality=1.5)).encode(X)
    assert (tokens.dtype, tokens.shape) == (np.float16, (4, 8))
    np.testing.assert_allclose(tokens, (X.mean(0) @ weight).reshape(4, 8), atol=2e-3)
    assert quality == pytest.approx(1 / (1 + np.exp(-1.5)), abs=1e-6)


def test_what_half_precision_cannot_hold_is_cut_off_at_its_end():
    tokens, _ = Encoder(encoder_bytes(weight=np.full((6, 32), 1e6))).encode(np.ones((50, 6), np.float32))
    assert np.isfinite(tokens).all()
    assert tokens.max() == np.finfo(np.float16).max


@pytest.mark.parametrize(
    ("modality", "shape"), [("thermal", (24, 32, 1)), ("lidar", (8, 64, 2)), ("video", (8, 4, 4, 3))]
)
def test_it_takes_frames_and_clips(modality, shape):
    encoder = Encoder(encoder_bytes(props=frame_props(modality, shape), shape=shape))
    assert (encoder.shape, encoder.size, encoder.channels) == (shape, shape[-3:-1], shape[-1])
    x = np.random.default_rng(3).normal(size=shape).astype(np.float32)
    assert encoder.encode(x)[0].shape == (4, 8)
    encoder.check(Stream("s", modality, "room", size=shape[-3:-1]))
    with pytest.raises(ConfigError, match=r"size is \(5, 5\), its encoder encoder takes"):
        encoder.check(Stream("s", modality, "room", size=(5, 5)))
    with pytest.raises(CheckpointError, match="fails on a window of shape"):
        encoder.encode(np.zeros((*shape[:-3], 5, 5, shape[-1]), np.float32))


def test_a_frame_may_come_at_any_rate_and_a_series_may_not():
    frames = Encoder(encoder_bytes(props=frame_props("thermal", (24, 32, 1)), shape=(24, 32, 1)))
    frames.check(Stream("t", "thermal", "room", rate=8.0))
    clips = Encoder(encoder_bytes(props=frame_props("video", (8, 32, 32, 3)), shape=(8, 32, 32, 3)))
    with pytest.raises(ConfigError, match="rate is 4"):
        clips.check(Stream("v", "video", "room", rate=4.0))


def test_a_file_without_a_shape_is_one_of_a_series():
    old = {key: value for key, value in PROPS.items() if key != "shape"}
    assert Encoder(encoder_bytes(props=old)).shape == (50, 6)
    with pytest.raises(CheckpointError, match=r"fails on a window of shape \(100, 6\)"):
        Encoder(encoder_bytes(props=old | {"window_s": "2.0"}))
    with pytest.raises(CheckpointError, match="make no encoder of thermal"):
        Encoder(encoder_bytes(props=old | {"modality": "thermal"}))


def test_channels_that_a_series_need_not_have_are_zero_and_those_beyond_are_left_out():
    encoder = Encoder(encoder_bytes())
    nine = np.concatenate([X, np.ones((50, 3), np.float32)], 1)
    np.testing.assert_array_equal(encoder.encode(nine)[0], encoder.encode(X)[0])
    props = PROPS | {"modality": "gaze", "rate": "60.0", "channels": "28", "shape": "60,28"}
    gaze, x = Encoder(encoder_bytes(props=props, shape=(60, 28))), np.ones((60, 28), np.float32)
    x[:, 2:] = 0.0
    np.testing.assert_array_equal(gaze.encode(x[:, :2])[0], gaze.encode(x)[0])
    for channels in (1, 5, 10):
        with pytest.raises(CheckpointError, match="fails on a window of shape"):
            encoder.encode(np.zeros((50, channels), np.float32))


def test_it_keeps_to_one_thread_that_does_not_spin():
    options = Encoder(encoder_bytes())._session.get_session_options()
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (1, 1)
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"


@pytest.mark.parametrize(
    "stream",
    [
        Stream("audio", "audio", "room"),
        Stream("imu", "imu", "wrist", rate=100.0),
        Stream("imu", "imu", "wrist", window_s=2.0),
    ],
)
def test_a_stream_of_other_windows_is_refused(stream):
    encoder = Encoder(encoder_bytes())
    encoder.check(Stream("imu", "imu", "wrist"))
    with pytest.raises(ConfigError, match=f"stream {stream.name}: .* takes"):
        encoder.check(stream)


@pytest.mark.parametrize("key", PROPS.keys() - {"shape"})
def test_metadata_must_be_complete(key):
    with pytest.raises(CheckpointError, match=rf"no iotlm\.{key} in its metadata"):
        Encoder(encoder_bytes(props={k: v for k, v in PROPS.items() if k != key}))


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("format", "2", "reads format 1"),
        ("rate", "fast", "could not convert"),
        ("rate", "nan", "make no encoder"),
        ("rate", "1e18", "make no encoder"),
        ("channels", "0", "make no encoder"),
        ("window_s", "2.0", "shape '50,6', 100 points in time and 6 channels make no encoder of imu"),
        ("modality", "smell", "modality 'smell' is none of imu, gps"),
        ("modality", "image", "make no encoder of image: its windows have height, width and channels"),
        ("shape", "50,6,1", "make no encoder of imu"),
        ("shape", "50", "make no encoder of imu"),
        ("shape", "50,7", "make no encoder of imu"),
        ("shape", "-50,-6", "make no encoder of imu"),
        ("shape", "5 0,6", "make no encoder of imu"),
        ("shape", "", "make no encoder of imu"),
        ("shape", "1," * 10000 + "1", "make no encoder of imu"),
        ("tokens", "3", "gives tokens \\(1, 4, 8\\)"),
    ],
)
def test_metadata_must_be_true(key, value, words):
    with pytest.raises(CheckpointError, match=words):
        Encoder(encoder_bytes(props=PROPS | {key: value}))


@pytest.mark.parametrize("shape", ["0,32,1", "24,32,3", "9999999,9999999,1", "99999999,1,1", "2,24,32,1"])
def test_a_shape_of_frames_is_bounded(shape):
    with pytest.raises(CheckpointError, match="make no encoder of thermal"):
        Encoder(encoder_bytes(props=frame_props("thermal", (24, 32, 1)) | {"shape": shape}, shape=(24, 32, 1)))


def test_numbers_that_are_not_finite_are_an_error():
    with pytest.raises(CheckpointError, match="not finite"):
        Encoder(encoder_bytes(weight=np.full((6, 32), np.nan)))


@pytest.mark.parametrize("data", [b"", b"\x08", b"no model at all", b"\xff" * 40])
def test_what_is_no_model_is_refused(data):
    with pytest.raises(CheckpointError):
        Encoder(data)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"none\.onnx: No such file"):
        Encoder(tmp_path / "none.onnx")


def test_a_provider_that_is_not_there_is_named():
    with pytest.raises(ConfigError, match="'tpu' is not available"):
        Encoder(encoder_bytes(), provider="tpu")


def outside(name="stolen") -> TensorProto:
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[4])
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")
    return tensor


def place_in_graph(made):
    made.graph.initializer.append(outside())


def place_in_attribute(made):
    made.graph.node.add(op_type="Constant", output=["c"]).attribute.append(helper.make_attribute("value", outside()))


def place_in_branch(made):
    branch = helper.make_graph([], "inner", [], [], [outside()])
    made.graph.node.add(op_type="If", input=["b"], output=["c"]).attribute.append(
        helper.make_attribute("then_branch", branch)
    )


def place_in_function(made):
    function = made.functions.add(name="f", domain="d")
    function.node.add(op_type="Constant", output=["c"]).attribute.append(helper.make_attribute("value", outside()))


def place_in_sparse(made):
    made.graph.sparse_initializer.add().values.CopyFrom(outside())


def place_in_training(made):
    made.training_info.add().algorithm.initializer.append(outside())


def place_in_default_of_function(made):
    made.functions.add(name="f", domain="d").attribute_proto.append(helper.make_attribute("value", outside()))


PLACES = [
    place_in_graph,
    place_in_attribute,
    place_in_branch,
    place_in_function,
    place_in_sparse,
    place_in_training,
    place_in_default_of_function,
]


@pytest.mark.parametrize("place", PLACES)
def test_a_model_that_refers_to_another_file_is_refused_wherever_it_does(place):
    made = model()
    place(made)
    with pytest.raises(CheckpointError, match="tensor 'stolen' lies in another file"):
        Encoder(made.SerializeToString())


def test_external_entries_count_without_the_location_flag_too():
    made, tensor = model(), outside()
    tensor.ClearField("data_location")
    made.graph.initializer.append(tensor)
    assert onnxfile.external_tensor(made.SerializeToString()) == "stolen"


def test_graphs_within_graphs_without_end_are_refused():
    inner = b""
    for _ in range(200):  # graph.node.attribute.g
        for number in (6, 5, 1):
            inner = bytes([number << 3 | 2]) + varint(len(inner)) + inner
    with pytest.raises(ValueError, match="deeper"):
        onnxfile.external_tensor(bytes([7 << 3 | 2]) + varint(len(inner)) + inner)


def test_a_field_number_that_other_parsers_would_cut_is_refused():
    hidden = outside().SerializeToString()
    key = varint((1 << 32) | (7 << 3 | 2))
    with pytest.raises(ValueError, match="field number"):
        onnxfile.external_tensor(key + varint(len(hidden)) + hidden)


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_damaged_models_raise_nothing_but_value_errors(data):
    whole = bytearray(encoder_bytes())
    for _ in range(data.draw(st.integers(1, 5))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = onnxfile.external_tensor(bytes(whole[: data.draw(st.integers(0, len(whole)))]))
    except ValueError:
        return
    assert found is None or isinstance(found, str)


def test_the_real_parser_and_ours_agree_on_a_whole_model():
    assert onnxfile.external_tensor(encoder_bytes()) is None
    assert not any(tensor.external_data for tensor in onnx.load_from_string(encoder_bytes()).graph.initializer)


def varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])
