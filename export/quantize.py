"""An exported encoder in int8: matrices compute in int8, convolutions are kept in int8 and compute in float32.

MatMul and Gemm are quantised dynamically per channel, which needs no calibration. A convolution's weights are stored as
int8 with one scale per output channel, which the runtime unfolds when it loads the file: a quarter of the size at
float32's speed and nearly its exactness. What is computed rather than learned (a spectrum's kernel) stays as it is.
README.md has what was measured and what else was tried. This module knows nothing of torch or of tasks.
"""

from __future__ import annotations

import contextlib
import logging
import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic

MATRICES = ["MatMul", "Gemm"]
SMALLEST = 1024
"""Weights of fewer numbers stay float32: they save nothing and cost exactness."""


def to_int8(model: onnx.ModelProto, fixed: Collection[str] = ()) -> onnx.ModelProto:
    """A copy of the model in int8; `fixed` names tensors that stay float32. The metadata is carried over."""
    small = [node.name for node, weight in _weights(model.graph, MATRICES) if np.prod(weight.dims) < SMALLEST]
    with tempfile.TemporaryDirectory() as folder, _quiet():
        path = Path(folder) / "int8.onnx"
        quantize_dynamic(
            onnx.load_from_string(model.SerializeToString()),
            path,
            op_types_to_quantize=MATRICES,
            per_channel=True,
            weight_type=QuantType.QInt8,
            # The quantiser takes a Gemm for a MatMul of another name before it looks whom to spare.
            nodes_to_exclude=[*small, *(f"{name}_MatMul" for name in small)],
        )
        int8 = onnx.load_from_string(path.read_bytes())
    _store_convolutions(int8.graph, fixed)
    del int8.graph.value_info[:]
    helper.set_model_props(int8, {prop.key: prop.value for prop in model.metadata_props})
    return int8


def per_channel(weight: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """`weight` (outputs, ...) as integers in -127..127 and the scales (outputs, 1, ...) that bring it back."""
    largest = np.abs(weight).max(axis=tuple(range(1, weight.ndim)), keepdims=True)
    scale = np.maximum(largest, np.finfo(np.float32).tiny) / np.float32(127)
    return np.rint(weight / scale).astype(np.int8), scale.astype(np.float32)


def _weights(graph: onnx.GraphProto, kinds: Collection[str]) -> Iterator[tuple[onnx.NodeProto, onnx.TensorProto]]:
    """Nodes of these kinds whose second input is constant, with that."""
    constants = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type in kinds and node.input[1] in constants:
            yield node, constants[node.input[1]]


def _store_convolutions(graph: onnx.GraphProto, fixed: Collection[str]) -> None:
    """Replace weights by integers, a Cast and a Mul, which the runtime folds into float32 once, at loading.

    A DequantizeLinear in their place would be computed anew for every window (measured: 10 to 24 % slower).
    """
    unfold = []
    for _, weight in list(_weights(graph, ["Conv"])):
        name = weight.name
        if name in fixed or np.prod(weight.dims) < SMALLEST:
            continue
        integers, scale = per_channel(numpy_helper.to_array(weight))
        graph.initializer.remove(weight)
        graph.initializer.append(numpy_helper.from_array(integers, f"{name}_int8"))
        graph.initializer.append(numpy_helper.from_array(scale, f"{name}_scale"))
        unfold.append(
            helper.make_node("Cast", [f"{name}_int8"], [f"{name}_cast"], f"{name}_cast", to=TensorProto.FLOAT)
        )
        unfold.append(helper.make_node("Mul", [f"{name}_cast", f"{name}_scale"], [name], f"{name}_unfold"))
    nodes = [*unfold, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the quantiser's advice to prepare the model, which the exporter has done."""
    logger = logging.getLogger()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
