"""Batches: crops laid over each other, and the same probabilities as one window after another."""

from dataclasses import replace

import numpy as np
import torch

from backend.checkpoint import Checkpoint
from backend.data.recording import sequence
from backend.model.sensorlm import Predictor
from backend.train.batch import answer, assemble, crop, overlay
from backend.train.evaluate import decide, encode
from backend.train.loop import new_state
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
