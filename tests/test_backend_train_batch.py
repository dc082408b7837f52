"""Batches: crops laid over each other, and the same probabilities as one window after another."""

from dataclasses import replace

import numpy as np
import torch

from backend.checkpoint import Checkpoint
from backend.data.recording import Series, sequence
from backend.model.sensorlm import ModelConfig, Predictor, SensorModel
from backend.tasks import TASKS
from backend.train.batch import Crop, answer, assemble, crop, overlay
from backend.train.evaluate import decide, encode
from backend.train.state import new_state
from tests.small_runs import ACTIVITY, EVENT, tiny


def test_batches_decide_as_the_predictor_does(scenes):
    """Training's fused windows and serving's `History` give the same probabilities."""
    torch.manual_seed(0)
    config = tiny()
    model = new_state(config).model.eval()
    one = sequence(scenes[0])
    predictor = Predictor(Checkpoint(model))
    served = decide(predictor, encode(predictor, [one]), ACTIVITY)
    whole = crop(one, one.length, np.random.default_rng(0))
    batch = assemble([whole], one.length, config.model, np.random.default_rng(0))
    with torch.no_grad():
        answers = answer(model, batch)
    probs = answers.outputs.heads[ACTIVITY].softmax(-1).numpy()[: len(served.said)]
    assert np.allclose(probs, served.said, atol=5e-3)  # rows of a history are float16


def test_overlaid_crops_carry_both_labels(scenes):
    rng = np.random.default_rng(0)
    whole = crop(sequence(scenes[0]), 4, rng)
    motion = replace(
        whole, series=whole.series[:2], starts=whole.starts[:2], targets={ACTIVITY: whole.targets[ACTIVITY]}
    )
    sound = replace(whole, series=whole.series[2:3], starts=whole.starts[2:3], targets={EVENT: whole.targets[EVENT]})
    both = overlay(motion, sound)
    assert len(both.series) == 3
    assert set(both.targets) == {ACTIVITY, EVENT}
    batch = assemble([both, motion], 4, tiny().model, rng)
    assert batch.targets[EVENT][1].sum() == 0
    assert batch.present[1, :, 2].sum() == 0


def test_frames_of_two_sizes_are_learned_from_together():
    """Panels have cells of their own: windows of a modality go through its encoder shape by shape, and come home."""
    torch.manual_seed(0)
    touch = TASKS["touch-contact"]
    config = ModelConfig(("capacitance",), (touch.name,), placements=("unknown", "panel"))
    rng, model = np.random.default_rng(1), SensorModel(config).eval()

    def panel(*size):
        frames = rng.random((4, *size, 1), np.float32)
        series = Series(
            "phone", "c", "capacitance", "panel", 2.0, frames, 1.0, np.ones(4, np.float32), np.ones(4, bool)
        )
        share = np.eye(touch.size, dtype=np.float32)[[1, 2, 3, 4]]
        return Crop("a set", (series,), (0,), {touch.name: share}, {})

    crops = [panel(27, 15), panel(32, 32), panel(27, 15)]
    batch = assemble(crops, 4, config, np.random.default_rng(2))
    assert [tuple(x.shape) for x in batch.windows["capacitance"].values] == [(8, 27, 15, 1), (4, 32, 32, 1)]
    together = answer(model, batch).outputs.heads[touch.name].reshape(3, 4, -1)
    for n, one in enumerate(crops):
        alone = answer(model, assemble([one], 4, config, np.random.default_rng(2))).outputs.heads[touch.name]
        assert torch.allclose(together[n], alone, atol=1e-5)
