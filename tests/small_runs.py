"""Small trainings, for the tests of `backend.train`: their configurations, and one of a second."""

import io
import json
from dataclasses import replace

from rich.console import Console

from backend.model.sensorlm import ModelConfig
from backend.recipes import recipe
from backend.train.config import TrainConfig, with_settings

ACTIVITY, EVENT = "activity-recognition", "event-detection"
TINY = {"imu": {"width": 8, "blocks": 1}, "audio": {"width": 4, "bands": 32}}
QUIET = Console(file=io.StringIO())


def tiny(**changes) -> TrainConfig:
    """Eight steps of a small model on simulated scenes."""
    config = TrainConfig(
        "tiny", {"synthetic": 1.0}, ModelConfig(encoders=TINY), steps=8, crops=3, slots=4, save_every=4
    )
    return replace(config, **changes)


def motion_alone(*settings: str) -> TrainConfig:
    """A recipe that a folder of `write_sp_sw_har` trains in a second."""
    common = ["steps=3", "crops=4", "phases=1", f"model.encoders={json.dumps({'imu': TINY['imu']})}"]
    return with_settings(recipe("sp-sw-har"), [*common, *settings])
