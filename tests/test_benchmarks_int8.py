"""The comparison of encoders in int8 sees windows as a device's encoder does."""

import numpy as np

from benchmarks.int8 import static
from edge.encoder import Encoder
from export.onnx import describe, to_bytes, to_onnx
from tests.serving import senses_checkpoint


def test_a_gaze_without_features_calibrates_an_encoder_that_takes_them():
    encoder = senses_checkpoint().model.encoders["gaze"]
    model = to_onnx(encoder)
    describe(model, encoder, "fp32")
    payload = to_bytes(model)
    windows = np.random.default_rng(0).uniform(0, 1, (4, Encoder(payload).shape[0], 2)).astype(np.float32)
    tokens, _ = Encoder(static(payload, windows)).encode(windows[0])
    assert np.abs(tokens - Encoder(payload).encode(windows[0])[0]).max() < 1.0
