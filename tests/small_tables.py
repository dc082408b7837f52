"""What the tests of the tables measure: two simulated people with a phone, and a small untrained model."""

import torch

from backend.model.sensorlm import SensorModel
from backend.train.tables.columns import of_world
from backend.train.tables.people import Amount, People, sensed
from backend.train.tables.rows import SMOKE, base

COLUMNS = tuple(one for one in of_world("simulator") if one.dataset == "synthetic_touch")
SENSES = ("imu", "gaze", "capacitance", "depth")


def two_people(folder):
    """Two people, 6 s each."""
    found = People(folder, Amount(2, 6, 8), None).of("synthetic_touch")
    return [sensed(one, SENSES, [c.task for c in COLUMNS]) for one in found]


def small_model():
    """A model of these senses that answers all columns."""
    torch.manual_seed(0)
    return SensorModel(base(SMOKE, COLUMNS, SENSES, 0).model).eval()
