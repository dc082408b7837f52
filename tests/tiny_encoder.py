"""A real ONNX encoder as small as can be, for tests that need one."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

PROPS = {
    "modality": "imu",
    "rate": "50.0",
    "window_s": "1.0",
    "hop_s": "0.5",
    "tokens": "4",
    "dim": "8",
    "channels": "6",
    "shape": "50,6",
    "units": "m/s2, rad/s",
    "digest": "d1",
    "precision": "fp32",
    "format": "1",
}


def model(props=PROPS, weight=None, quality=0.0, shape=(50, 6)):
    """`tokens` (B, 4, 8) = the mean of all points (of the window's `shape`) times a weight (C, 32); `quality` (B,) =
    sigmoid(`quality`) everywhere.
    """
    if weight is None:
        weight = np.random.default_rng(0).normal(size=(shape[-1], 32)).astype(np.float32)
    constants = {
        "weight": weight.astype(np.float32),
        "shape": np.array([-1, 4, 8]),
        "flat": np.array([-1]),
        "points": np.arange(1, len(shape)),
        "all": np.arange(1, len(shape) + 1),
        "zero": np.zeros(1, np.float32),
        "level": np.full(1, quality, np.float32),
    }
    nodes = [
        helper.make_node("ReduceMean", ["x", "points"], ["mean"], keepdims=0),
        helper.make_node("MatMul", ["mean", "weight"], ["wide"]),
        helper.make_node("Reshape", ["wide", "shape"], ["tokens"]),
        helper.make_node("ReduceMean", ["x", "all"], ["level_x"], keepdims=0),
        helper.make_node("Mul", ["level_x", "zero"], ["nothing"]),
        helper.make_node("Add", ["nothing", "level"], ["leveled"]),
        helper.make_node("Sigmoid", ["leveled"], ["trust"]),
        helper.make_node("Reshape", ["trust", "flat"], ["quality"]),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", *shape])],
        [
            helper.make_tensor_value_info("tokens", TensorProto.FLOAT, ["batch", 4, 8]),
            helper.make_tensor_value_info("quality", TensorProto.FLOAT, ["batch"]),
        ],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    helper.set_model_props(made, {f"iotlm.{key}": value for key, value in props.items()})
    onnx.checker.check_model(made)
    return made


def frame_props(modality: str, shape: tuple[int, ...]) -> dict[str, str]:
    """Metadata of an encoder of frames (H, W, C) or clips (T, H, W, C)."""
    rate = float(shape[0]) if len(shape) == 4 else 2.0
    return PROPS | {
        "modality": modality,
        "rate": str(rate),
        "channels": str(shape[-1]),
        "shape": ",".join(map(str, shape)),
        "units": "1",
    }


def encoder_bytes(**more) -> bytes:
    return model(**more).SerializeToString()
