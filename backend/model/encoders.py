"""The encoders, written out by modality: adding one is a file beside this and a row here."""

from __future__ import annotations

import inspect
from typing import Any

from backend.model.audio import AudioEncoder
from backend.model.features import FeaturesEncoder
from backend.model.frames import (
    CameraEncoder,
    CapacitanceEncoder,
    DepthEncoder,
    ImageEncoder,
    LidarEncoder,
    ThermalEncoder,
)
from backend.model.series import ImuEncoder
from backend.model.tracks import GazeEncoder, GpsEncoder, PoseEncoder
from backend.model.trunk import Encoder
from backend.model.video import VideoEncoder
from broker.errors import CheckpointError

ENCODERS: dict[str, type[Encoder]] = {
    "imu": ImuEncoder,
    "gps": GpsEncoder,
    "gaze": GazeEncoder,
    "pose": PoseEncoder,
    "audio": AudioEncoder,
    "image": ImageEncoder,
    "video": VideoEncoder,
    "depth": DepthEncoder,
    "thermal": ThermalEncoder,
    "capacitance": CapacitanceEncoder,
    "camera": CameraEncoder,
    "lidar": LidarEncoder,
    "features": FeaturesEncoder,
}


def options_of(modality: str) -> list[str]:
    """Names of the options that an encoder takes: those of every encoder, then those of its kind and its own."""
    kinds = [kind for kind in reversed(ENCODERS[modality].__mro__) if issubclass(kind, Encoder)]
    named = [one for kind in kinds for one in inspect.signature(kind).parameters.values()]
    return list(dict.fromkeys(one.name for one in named if one.kind is one.KEYWORD_ONLY))


def build_encoder(modality: str, options: dict[str, Any]) -> Encoder:
    """A fresh encoder; raises CheckpointError for a modality that has none or options it does not know."""
    if modality not in ENCODERS:
        raise CheckpointError(f"modality {modality!r} has no encoder; known: {', '.join(sorted(ENCODERS))}")
    try:
        return ENCODERS[modality](**options)
    except TypeError as error:
        raise CheckpointError(f"encoder of {modality!r}: {error}; remove that option") from error
