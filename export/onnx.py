"""An encoder as one ONNX file that says what it is: no external data, no trace of the machine that made it.

The file's metadata carries the encoder's contract and its digest, from which `edge.encoder` learns everything that it
needs. This module knows nothing of quantisation, of checkpoints or of recordings.
"""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator

import onnx
import torch

from backend.model.trunk import Encoder
from broker.errors import CheckpointError
from edge.onnxfile import external_tensor

FORMAT = "1"
OPSET = 20
"""Read by every ONNX Runtime since 1.17, and the first with Gelu as one operator."""
PREFIX = "iotlm."


def to_onnx(encoder: Encoder) -> onnx.ModelProto:
    """The encoder in float32: `x` (B, *shape) -> `tokens` (B, K, d), `quality` (B,), for any B and its own shape.

    Batch normalisation is folded into the convolutions. Raises CheckpointError if torch cannot export it.
    """
    training = encoder.training
    example = torch.zeros(2, *encoder.shape)
    try:
        with _quiet():
            program = torch.onnx.export(
                encoder.eval(),
                (example,),
                dynamo=True,
                opset_version=OPSET,
                input_names=["x"],
                output_names=["tokens", "quality"],
                dynamic_shapes=({0: torch.export.Dim("batch")},),
                external_data=False,
                verbose=False,
            )
    except torch.onnx.OnnxExporterError as error:
        reason = str(error).partition("\n")[0]
        raise CheckpointError(f"encoder of {encoder.modality!r}: torch cannot export it ({reason})") from error
    finally:
        encoder.train(training)
    assert program is not None
    model = program.model_proto
    _forget_origin(model)
    describe(model, encoder, "fp32")
    return model


def describe(model: onnx.ModelProto, encoder: Encoder, precision: str) -> None:
    """Write the contract into the file's metadata: what `encoder.describe()` says, the window's shape, the digest and
    the precision. Numbers of a shape or a size stand with a comma between them.

    The digest is that of the torch encoder in every precision: it says whose tokens these are, and a backend takes
    them all.
    """
    about = {
        **encoder.describe(),
        "shape": encoder.shape,
        "digest": encoder.digest(),
        "precision": precision,
        "format": FORMAT,
    }
    text = {key: ",".join(map(str, value)) if isinstance(value, tuple) else str(value) for key, value in about.items()}
    onnx.helper.set_model_props(model, {PREFIX + key: value for key, value in text.items()})


def to_bytes(model: onnx.ModelProto) -> bytes:
    """The file's bytes; raises CheckpointError for a model that is invalid or leans on another file."""
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise CheckpointError(f"exported encoder is not valid ONNX: {error}") from error
    payload: bytes = model.SerializeToString()
    if (name := external_tensor(payload)) is not None:
        raise CheckpointError(f"tensor {name!r} lies in another file; an encoder is one file")
    return payload


def _forget_origin(model: onnx.ModelProto) -> None:
    """Drop what the exporter noted for debugging: stack traces with paths of this machine, a tenth of the file."""
    graph = model.graph
    del graph.value_info[:]
    del graph.metadata_props[:]
    for part in (*graph.node, *graph.input, *graph.output, *graph.initializer):
        del part.metadata_props[:]
        part.doc_string = ""


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's warnings about packages that we do not use (torchvision) and about torch's own code."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            warnings.simplefilter("ignore", DeprecationWarning)
            yield
    finally:
        logger.setLevel(level)
