"""What the readers of the paper's nine data sets share: arrays read when they are used, labels, rotations, errors."""

import numpy as np
import pytest

from backend.data.files import ORIGIN
from backend.data.paper import (
    dip_imu,
    ego4d_imu,
    eyemu,
    kitti,
    llvip,
    newer_college,
    rgbdgaze,
    samosa,
    touchpose,
)
from backend.data.paper.layout import dashed, from_half_angles, turn_rates
from backend.data.whole import Whole, regular
from backend.tasks import TASKS
from broker.errors import DataError
from broker.modalities import MODALITIES
from edge.simulator.geometry import rotation

SETS = (dip_imu, ego4d_imu, eyemu, kitti, llvip, newer_college, rgbdgaze, samosa, touchpose)


def test_whole_arrays_are_read_when_they_are_touched():
    calls = []

    def load():
        calls.append(1)
        return np.arange(6).reshape(3, 2)

    array = Whole(load, (3, 2), np.float32)
    assert (array.shape, array.dtype, array.ndim, array.size, len(array), calls) == ((3, 2), np.float32, 2, 6, 3, [])
    assert np.array_equal(array[1:], [[2, 3], [4, 5]])
    assert np.array_equal(2 * array + 1, 2 * np.arange(6).reshape(3, 2) + 1)
    assert np.asarray(array).dtype == array.astype(np.float64).astype(np.float32).dtype == np.float32
    assert np.concatenate([array, array]).shape == (6, 2)
    assert Whole(load).shape == (3, 2)
    t = regular(4, 50.0)
    assert (t[:] - ORIGIN).tolist() == [0, 20_000_000, 40_000_000, 60_000_000]
    assert np.searchsorted(t, ORIGIN + 30_000_000) == 2


def test_a_copy_of_a_whole_array_is_its_own():
    shared = np.arange(6)
    array = Whole(lambda: shared, (6,), shared.dtype)
    for copy in (array.astype(shared.dtype), np.array(array), np.array(array, np.float32)):
        copy[:] = 7
    assert shared.tolist() == list(range(6))
    for same in (array.astype(shared.dtype, copy=False), np.asarray(array)):
        assert np.shares_memory(same, shared)


def test_labels_and_rotations():
    assert dashed("turn-on_/_light_the_stove burner") == "turn-on-light-the-stove-burner"
    vectors = np.array([[0, 0, 0], [0.3, -0.2, 0.9], [np.pi, 0, 0], [0, 0, 1e-8]])
    angle = np.linalg.norm(vectors, axis=-1, keepdims=True)
    halves = vectors / np.maximum(angle, 1e-12) * np.sin(angle / 2)
    assert np.allclose(from_half_angles(halves), vectors, atol=1e-7)
    rate = np.array([0.4, -1.1, 0.7])
    turns = rotation(np.arange(20)[:, None] / 60 * rate)
    assert np.allclose(turn_rates(turns, 60.0), rate, atol=1e-9)
    assert turn_rates(turns[:1], 60.0).tolist() == [[0, 0, 0]]


@pytest.mark.parametrize("reader", SETS, ids=lambda reader: reader.NAME)
def test_a_set_that_is_not_there_says_where_it_is_and_what_it_is_made_of(tmp_path, reader):
    with pytest.raises(DataError) as caught:
        reader.recordings(tmp_path)
    text = str(caught.value)
    assert reader.SOURCE in text
    assert reader.LICENCE in text
    assert "\n" not in text
    assert set(reader.MODALITIES) <= set(MODALITIES)
    for task, labels in reader.TASKS.items():
        assert set(labels) <= set(TASKS[task].outputs)
