"""Where training draws from: how often a set, a recording and a label are seen, and what they weigh."""

from dataclasses import replace

import numpy as np
import pytest

from backend.data.files import throughout
from backend.model.sensorlm import ModelConfig
from backend.train.run import loss_weights
from backend.train.source import Mixture, Source, Split, chances
from tests.small_runs import ACTIVITY, EVENT, TINY, tiny


def test_a_long_set_leaves_a_short_one_its_say(scenes):
    """Labels are evened out within each set, so that windows of both weigh the same on average, as drawn."""
    half = replace(scenes[1], labels={ACTIVITY: scenes[1].labels[ACTIVITY]})
    long = [replace(one, labels={ACTIVITY: throughout(one.tracks[0].t, 40 + i)}) for i, one in enumerate([half] * 9)]
    sets = {"synthetic": [scenes[0]], "utd_mhad": long}
    model = ModelConfig(("imu",), (ACTIVITY,), encoders={"imu": TINY["imu"]})
    config = replace(tiny(), datasets={"synthetic": 1.0, "utd_mhad": 1.0}, model=model)
    chance = chances(config, sets)
    both = ModelConfig(("imu", "audio"), (ACTIVITY, EVENT), encoders=TINY)
    events = replace(config, model=both)
    says = Mixture({name: Source(of, events) for name, of in sets.items()}, events).says
    assert says[ACTIVITY] / says[EVENT] == pytest.approx(4, rel=0.05)  # both sets teach it, and a quarter the other
    assert chance["utd_mhad"] / chance["synthetic"] == pytest.approx(3, rel=0.05)  # nine times as long
    weight = loss_weights({name: Split(of, [], []) for name, of in sets.items()}, config)[ACTIVITY]
    assert np.allclose(weight[40:49], weight[40])
    share = np.bincount(scenes[0].labels[ACTIVITY].index, np.diff(scenes[0].labels[ACTIVITY].edges), len(weight))
    said = (weight * share).sum() / share.sum()
    assert said == pytest.approx(weight[40], rel=0.35)
