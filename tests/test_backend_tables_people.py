"""The people of the tables: who is left out, what is kept on disk, other devices, few shots; and disturbed sensors."""

import numpy as np
import pytest

from backend.data.synthetic import scene_recording
from backend.train.source import split
from backend.train.tables import perturb
from backend.train.tables.columns import of_world
from backend.train.tables.people import Amount, People, load, other_device, part, save, sensed, shots
from backend.train.tables.rows import SMOKE, base, some_senses, task_groups
from broker.errors import DataError


@pytest.fixture(scope="module")
def touching(tmp_path_factory):
    """Two people and a phone, 6 s each."""
    found = People(tmp_path_factory.mktemp("people"), Amount(2, 6, 8), None)
    return found.of("synthetic_touch")


def test_what_is_kept_is_read_back_the_same(touching, tmp_path):
    save(touching, tmp_path / "a.npz")
    for one, other in zip(touching, load(tmp_path / "a.npz"), strict=True):
        assert (one.name, one.person, one.slot, one.fold) == (other.name, other.person, other.slot, other.fold)
        assert [s.key for s in one.series] == [s.key for s in other.series]
        for s, t in zip(one.series, other.series, strict=True):
            assert np.array_equal(s.values, t.values) and s.values.dtype == t.values.dtype and s.scale == t.scale
            assert np.array_equal(s.present, t.present) and np.array_equal(s.quality, t.quality)
        assert one.targets.keys() == other.targets.keys() and one.parts.keys() == other.parts.keys()
        for task, truth in one.targets.items():
            assert np.array_equal(truth, other.targets[task], equal_nan=True)
        for task, of in one.parts.items():
            assert np.array_equal(of.share, other.parts[task].share)


def test_recorded_sets_need_a_folder(tmp_path):
    with pytest.raises(DataError, match="--data"):
        People(tmp_path, Amount(2, 6, 8), None).of("esc10")


def test_seeds_leave_out_different_people_and_learn_from_none_of_them(touching):
    from dataclasses import replace

    many = [replace(touching[0], person=f"seed-{n:02d}") for n in range(12)]
    columns = of_world("simulator")
    left_out = []
    for seed in range(3):
        found = split(many, base(SMOKE, columns, ("imu", "audio", "gaze", "depth", "camera"), seed))
        test = {one.person for one in found.test}
        assert test and not test & {one.person for one in found.train + found.validation}
        left_out.append(test)
    assert set.union(*left_out) == {one.person for one in many} and sum(map(len, left_out)) == len(many)


def test_another_device_measures_the_same_people_otherwise(touching):
    one, other = touching[0], other_device(touching[0])
    for before, after in zip(one.series, other.series, strict=True):
        x, y = before.values.astype(float), after.values.astype(float)
        if before.modality == "imu":
            assert np.allclose(np.linalg.norm(x[..., :3], axis=-1), np.linalg.norm(y[..., :3], axis=-1), atol=2)
            assert np.allclose(y[..., 0], x[..., 1]) and not np.allclose(x, y)
        elif before.modality == "capacitance":
            assert after.values.shape[1] == before.values.shape[1] // 2
        elif before.modality == "depth":
            assert np.array_equal(x, y)
        else:
            assert not np.allclose(x, y)
    assert one.targets is other.targets


def test_shots_are_single_labelled_windows_with_their_past(touching):
    label = touching[0].majority("touch-contact")
    found = shots(touching, "touch-contact", 2, context=3, seed=0)
    counts = np.bincount([int(one.majority("touch-contact")[-1]) for one in found])
    assert counts.max() == 2 and len(counts[counts > 0]) >= len(np.unique(label[label >= 0]))
    assert all(one.length <= 4 and (one.majority("touch-contact")[:-1] == -1).all() for one in found)
    gaze = shots(touching, "gaze-estimation", 5, context=3, seed=0)
    assert len(gaze) == 5 and all(np.isfinite(one.targets["gaze-estimation"]).any(-1).sum() == 1 for one in gaze)
    again = shots(touching, "gaze-estimation", 5, context=3, seed=0)
    assert [one.slot for one in gaze] == [one.slot for one in again]


def test_shares_of_senses_nest_and_hold_the_main_one():
    for column in of_world("simulator"):
        kept = [set(some_senses(SMOKE, column, ratio, 3).model.modalities) for ratio in (0.25, 0.5, 1.0)]
        assert {column.main} <= kept[0] <= kept[1] <= kept[2] == set(column.senses)


def test_shares_of_tasks_nest_and_hold_every_column_once():
    columns = of_world("simulator")
    quarters, halves = (task_groups(columns, ratio, 5) for ratio in (0.25, 0.5))
    assert sorted(map(len, quarters)) == [2, 2, 2, 2] and sorted(map(len, halves)) == [4, 4]
    for groups in (quarters, halves):
        assert sorted(c.name for group in groups for c in group) == sorted(c.name for c in columns)
    assert all(any(set(quarter) <= set(half) for half in halves) for quarter in quarters)


def test_noise_is_a_share_of_each_channels_deviation(touching):
    quiet = [sensed(one, ("imu",), ("gesture-classification",)) for one in touching]
    loud = perturb.noisy(quiet, 0.5, seed=0)
    x = np.concatenate([s.values.reshape(-1, 6) for one in quiet for s in one.series]).astype(float)
    y = np.concatenate([s.values.reshape(-1, 6) for one in loud for s in one.series]).astype(float)
    assert np.allclose((y - x).std(0) / x.std(0), 0.5, rtol=0.1)


def test_a_late_stream_tells_what_was_and_one_that_is_missing_nothing(touching):
    one = touching[0]
    late = perturb.late([one], "imu", 2)[0]
    moved = [n for n, (a, b) in enumerate(zip(one.series, late.series, strict=True)) if a is not b]
    assert len(moved) == 1 and one.series[moved[0]].modality == "imu"
    before, after = one.series[moved[0]], late.series[moved[0]]
    assert np.array_equal(after.values[2:], before.values[:-2]) and not after.present[:2].any()
    assert all(s.modality != "imu" for s in perturb.without([one], "imu")[0].series)
    assert perturb.without([sensed(one, ("imu",), one.targets)], "imu") == []


def test_a_part_has_the_slots_of_the_whole():
    from backend.data.recording import sequence

    whole = sequence(scene_recording(1, 6, scene="touch", senses=("imu",)))
    some = part(whole, 2, 6)
    assert some.length == 4 and some.slot == whole.slot + 2
    assert np.array_equal(some.series[0].values, whole.series[0].values[2:6])
    assert np.array_equal(some.targets["touch-contact"], whole.targets["touch-contact"][2:6])
