"""An encoder on the device: an ONNX file that says of itself what it takes, run on one core.

Modality, rate, window and identity are read from the file's metadata, which `export` writes: nothing has to be
configured twice. Bytes are loaded, never a path, and a file that refers to other files is refused before the runtime
sees it: a model from elsewhere must not read what it likes. This module knows nothing of the wire.
"""

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from broker.errors import CheckpointError, ConfigError
from edge import onnxfile
from edge.windows import Stream

FORMAT = "1"
_MAX_NUMBERS = 1 << 22  # in a window or in its tokens
_HALF_MAX = float(np.finfo(np.float16).max)


class Encoder:
    """Windows in, tokens out.

    Args:
        source: an encoder made by `python -m export`, as a path or its bytes.
        provider: `cpu`, or `cuda` where onnxruntime-gpu is installed.

    Raises:
        CheckpointError: not an encoder of ours, one with external data, or one that does not run.
        ConfigError: the provider is not there.
    """

    modality: str
    channels: int
    units: str
    rate: float
    window_s: float
    hop_s: float
    tokens: int
    dim: int
    digest: str
    precision: str

    def __init__(self, source: Path | bytes, provider: str = "cpu") -> None:
        self._name = "encoder" if isinstance(source, bytes) else str(source)
        model = source if isinstance(source, bytes) else _read(source)
        self._check_file(model)
        # Here and not above: it takes 0.1 s and 15 MB that a device without encoders can do without.
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        # Threads that spin while they wait take the core from everybody else; on a busy Pi all become slower.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        wanted = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}.get(provider)
        if wanted is None or wanted not in ort.get_available_providers():
            raise ConfigError(
                f"encoder provider {provider!r} is not available here; use cpu, or install onnxruntime-gpu in place of "
                "onnxruntime (never both)"
            )
        try:
            self._session = ort.InferenceSession(model, options, providers=[wanted])
            metadata = self._session.get_modelmeta().custom_metadata_map
        except Exception as error:  # the runtime raises a family of errors without a common base of its own
            raise CheckpointError(f"{self._name}: the ONNX runtime refuses it: {_line(error)}") from None
        if wanted not in self._session.get_providers():  # it falls back to the CPU without a word
            raise ConfigError(f"{self._name}: provider {provider!r} does not start; check the driver and its version")
        self._describe(metadata)
        self.encode(np.zeros((self.samples, self.channels), np.float32))  # a wrong graph fails now, not in the field

    @property
    def samples(self) -> int:
        """Samples T of a window on the encoder's grid."""
        return round(self.rate * self.window_s)

    def check(self, stream: Stream) -> None:
        """Raise `ConfigError` unless the stream's windows are what this encoder takes."""
        for name in ("modality", "rate", "window_s"):
            mine, its = getattr(self, name), getattr(stream, name)
            if mine != its:
                raise ConfigError(f"stream {stream.name}: {name} is {its}, its encoder {self._name} takes {mine}")

    def encode(self, values: NDArray[np.float32]) -> tuple[NDArray[np.float16], float]:
        """Tokens (K, d) float16 and quality 0..1 of a window (T, C) in the modality's units.

        Raises:
            CheckpointError: the model fails, or its answer has another shape than it claims or is not finite.
        """
        try:
            tokens, quality = self._session.run(["tokens", "quality"], {"x": values[np.newaxis]})
        except Exception as error:  # as above
            raise CheckpointError(f"{self._name}: fails on a window of shape {values.shape}: {_line(error)}") from None
        if tokens.shape != (1, self.tokens, self.dim) or quality.shape != (1,):
            raise CheckpointError(
                f"{self._name}: gives tokens {tokens.shape} and quality {quality.shape}, "
                f"its metadata says (1, {self.tokens}, {self.dim}) and (1,)"
            )
        if not (np.isfinite(tokens).all() and math.isfinite(quality[0])):
            raise CheckpointError(f"{self._name}: gives numbers that are not finite")
        return np.clip(tokens[0], -_HALF_MAX, _HALF_MAX).astype(np.float16), min(max(float(quality[0]), 0.0), 1.0)

    def _check_file(self, model: bytes) -> None:
        try:
            outside = onnxfile.external_tensor(model)
        except ValueError as error:
            raise CheckpointError(f"{self._name}: not an ONNX file: {error}") from None
        if outside is not None:
            raise CheckpointError(f"{self._name}: tensor {outside!r} lies in another file; an encoder is one file")

    def _describe(self, metadata: Mapping[str, str]) -> None:
        def entry(key: str) -> str:
            if (value := metadata.get(f"iotlm.{key}")) is None:
                raise CheckpointError(f"{self._name}: no iotlm.{key} in its metadata; make it with `python -m export`")
            return value

        if entry("format") != FORMAT:
            raise CheckpointError(f"{self._name}: format {entry('format')!r}; this version reads format {FORMAT}")
        try:
            self.rate, self.window_s, self.hop_s = (float(entry(key)) for key in ("rate", "window_s", "hop_s"))
            self.tokens, self.dim, self.channels = (int(entry(key)) for key in ("tokens", "dim", "channels"))
        except ValueError as error:
            raise CheckpointError(f"{self._name}: metadata: {error}") from None
        sizes = (self.rate * self.window_s * self.channels, self.tokens * self.dim)
        if not (self.rate > 0 and 0 < self.hop_s <= self.window_s and all(1 <= size <= _MAX_NUMBERS for size in sizes)):
            raise CheckpointError(
                f"{self._name}: metadata: {self.rate:g} Hz, window {self.window_s:g} s, hop {self.hop_s:g} s, "
                f"{self.channels} channels, {self.tokens} tokens of {self.dim} make no encoder"
            )
        self.modality, self.units = entry("modality"), entry("units")
        self.digest, self.precision = entry("digest"), entry("precision")


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > onnxfile.LIMIT:
            raise CheckpointError(f"{path}: larger than {onnxfile.LIMIT >> 20} MiB; an encoder has at most 2 M weights")
        return path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path}: {error.strerror}") from None


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
