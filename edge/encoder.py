"""An encoder on the device: an ONNX file that says of itself what it takes, run on one core.

Modality, rate, window, shape and identity are read from the file's metadata, which `export` writes: nothing has to be
configured twice. Bytes are loaded, never a path, and a file that refers to other files is refused before the runtime
sees it: a model from elsewhere must not read what it likes. This module knows nothing of the wire.
"""

import math
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from broker.errors import CheckpointError, ConfigError
from broker.modalities import MODALITIES
from edge import onnxfile
from edge.windows import Stream

FORMAT = "1"
_MAX_NUMBERS = 1 << 22  # in a window or in its tokens
_SHAPE = re.compile(r"[0-9]{1,7}(,[0-9]{1,7}){1,3}")
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
    shape: tuple[int, ...]  # of one window: (T, C), (H, W, C) or (T, H, W, C)
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
        self.encode(np.zeros(self.shape, np.float32))  # a wrong graph fails now, not in the field

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the frames that it takes; (0, 0) if it takes a series."""
        return (self.shape[-3], self.shape[-2]) if len(self.shape) > 2 else (0, 0)

    def check(self, stream: Stream) -> None:
        """Raise `ConfigError` unless the stream's windows are what this encoder takes."""
        # A frame is the same at whatever rate a camera works.
        names = ("modality", "window_s", "size", *(("rate",) if "time" in MODALITIES[self.modality].axes else ()))
        for name in names:
            mine, its = getattr(self, name), getattr(stream, name)
            if mine != its:
                raise ConfigError(f"stream {stream.name}: {name} is {its}, its encoder {self._name} takes {mine}")

    def encode(self, values: NDArray[np.float32]) -> tuple[NDArray[np.float16], float]:
        """Tokens (K, d) float16 and quality 0..1 of a window of `shape` in the modality's units.

        As in training, a series may lack channels that its modality need not have (they are zero), or bring some that
        the encoder does not look at.

        Raises:
            CheckpointError: the model fails, or its answer has another shape than it claims or is not finite.
        """
        values = self._fitted(values)
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

    def _fitted(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        there = values.shape[-1]
        if there == self.channels or not MODALITIES[self.modality].takes(there):
            return values  # the runtime says what is wrong with the latter
        fitted = np.zeros((*values.shape[:-1], self.channels), np.float32)
        fitted[..., :there] = values[..., : self.channels]
        return fitted

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
        self.modality, self.units = entry("modality"), entry("units")
        self.digest, self.precision = entry("digest"), entry("precision")
        sizes = (self.rate * self.window_s * self.channels, self.tokens * self.dim)
        if not (self.rate > 0 and 0 < self.hop_s <= self.window_s and all(1 <= size <= _MAX_NUMBERS for size in sizes)):
            raise CheckpointError(
                f"{self._name}: metadata: {self.rate:g} Hz, window {self.window_s:g} s, hop {self.hop_s:g} s, "
                f"{self.channels} channels, {self.tokens} tokens of {self.dim} make no encoder"
            )
        if self.modality not in MODALITIES:
            raise CheckpointError(f"{self._name}: modality {self.modality!r} is none of {', '.join(MODALITIES)}")
        samples = round(self.rate * self.window_s)
        # The first files were of series only, and did not state their shape.
        self.shape = self._shape(metadata.get("iotlm.shape", f"{samples},{self.channels}"), samples)

    def _shape(self, text: str, samples: int) -> tuple[int, ...]:
        """The shape in a file's metadata, which must be one of the modality's windows."""
        row = MODALITIES[self.modality]
        shape = tuple(map(int, text.split(","))) if _SHAPE.fullmatch(text) else ()
        fits = (
            len(shape) == len(row.axes) + 1
            and 1 <= math.prod(shape) <= _MAX_NUMBERS
            and (row.axes[0] != "time" or shape[0] == samples)
            and shape[-1] == self.channels
            and row.takes(self.channels)
        )
        if not fits:
            raise CheckpointError(
                f"{self._name}: metadata: shape {text[:40]!r}, {samples} points in time and {self.channels} channels "
                f"make no encoder of {self.modality}: its windows have {', '.join(row.axes)} and channels"
            )
        return shape


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > onnxfile.LIMIT:
            raise CheckpointError(f"{path}: larger than {onnxfile.LIMIT >> 20} MiB; an encoder has at most 2 M weights")
        return path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path}: {error.strerror}") from None


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
