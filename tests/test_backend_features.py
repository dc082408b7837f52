"""Features: numbers that no device sends, from a row to an answer, and past the wire."""

import numpy as np
import pytest
import torch

from backend.checkpoint import Checkpoint, load_checkpoint
from backend.model.encoders import build_encoder
from backend.model.sensorlm import ModelConfig, SensorModel
from backend.recipes import recipe
from backend.tasks import TASKS
from backend.train.augment import AUGMENTATIONS, AugmentConfig
from broker.errors import CheckpointError
from broker.modalities import FEATURES, MODALITIES
from export.bundle import build

SEEN = len(FEATURES.channels)


def rows(count: int, first: int = 0, last: int = SEEN) -> torch.Tensor:
    x = torch.zeros(count, 1, 1, SEEN)
    x[..., first:last] = torch.randn(count, 1, 1, last - first, generator=torch.Generator().manual_seed(0))
    return x


def test_an_encoder_of_features_keeps_the_contract_and_tells_absent_from_average():
    torch.manual_seed(0)
    encoder = build_encoder("features", {}).eval()
    x = rows(3, 0, 24)
    found, quality = encoder(x)
    assert found.shape == (3, 4, 128) and quality.shape == (3,) and torch.isfinite(found).all()
    wider = torch.nn.functional.pad(x, (0, 128 - SEEN))  # the place for columns to come
    assert torch.equal(encoder(wider)[0], found)
    average = x.clone()
    average[..., 30] = 1e-6
    assert (encoder(average)[0] - found).abs().max() > 1e-2


def test_features_vary_together_and_what_is_absent_stays_so():
    x = rows(4, 0, 24).numpy()
    varied = AUGMENTATIONS["features"](x, np.random.default_rng(0), AugmentConfig(), False)
    assert varied.dtype == np.float32 and not varied[..., 24:].any()
    change = (varied - x)[:, 0, 0, :24]
    assert 0 < np.abs(change).max() < 1


def test_no_device_exports_features():
    assert len(MODALITIES) == 12 and FEATURES.name not in MODALITIES  # a frame names one of these
    alone = Checkpoint(SensorModel(ModelConfig(("features",), ("activity-recognition",))))
    with pytest.raises(CheckpointError, match="features, which no device sends"):
        build(alone)


def test_labels_of_bundled_weights_are_where_they_were():
    """New labels come last, and the checkpoint has those that it names."""
    labels = TASKS["activity-recognition"].outputs
    driving = ("driving-straight", "driving-turn", "driving-stop")
    assert load_checkpoint().model.tasks["activity-recognition"].outputs == (*labels[:5], *driving)
    assert labels[-9:] == (
        *("brush-teeth", "eat-chips", "mop-floor", "sweep", "type-on-keyboard"),
        *("watch-tv", "one-person", "two-people", "three-people"),
    )  # fmt: skip


@pytest.mark.parametrize(("name", "labels"), [("htad", 7), ("room-occupancy", 4)])
def test_recipes_of_features_have_their_labels(name, labels):
    config = recipe(name)
    assert config.model.modalities == ("features",)
    assert len(config.model.outputs["activity-recognition"]) == labels
    assert name.replace("-", "_") in recipe("real").datasets
