"""The skeleton of the home: bones that keep their length, feet on the floor, and the same motion that sensors feel."""

import numpy as np
import pytest

from broker.modalities import JOINTS
from edge.clock import SECOND
from edge.simulator import ACTIVITY, Scene
from edge.simulator.body import GRAVITY
from edge.simulator.geometry import rotation
from edge.simulator.skeleton import NEUTRAL, PARENTS, J, Posture, angles, build, joints, postures
from edge.simulator.timeline import round_of

ROUND = 32 * SECOND
T0 = 1_700_000_000 * SECOND // ROUND * ROUND


def times(seconds: float, rate: int = 25, start: int = T0) -> np.ndarray:
    return start + np.arange(round(seconds * rate), dtype=np.int64) * SECOND // rate


def spans(seed: int, label: str, seconds: float = 96.0) -> list:
    return [s for s in Scene(seed).spans(ACTIVITY, T0, T0 + round(seconds * SECOND)) if s.label == label]


def test_joints_are_a_tree_with_a_left_and_a_right():
    assert len(PARENTS) == len(JOINTS) == len(NEUTRAL) == 24
    assert all(parent < i for i, parent in enumerate(PARENTS))
    for name in JOINTS:
        if name.startswith("left"):
            other = J[name.replace("left", "right")]
            assert NEUTRAL[J[name]] * (1, -1, 1) == pytest.approx(NEUTRAL[other])
            assert JOINTS[PARENTS[J[name]]].replace("left", "right") == JOINTS[PARENTS[other]]


def test_bones_keep_their_length():
    place = joints(4, times(64.0))
    for i, parent in enumerate(PARENTS):
        if parent >= 0:
            length = np.linalg.norm(place[:, i] - place[:, parent], axis=1)
            assert np.ptp(length) < 1e-9
            assert length.mean() == pytest.approx(np.linalg.norm(build(4).bones[i]))


def test_angles_lead_to_the_joints_by_forward_kinematics():
    t = times(32.0, 5)
    place, turned = joints(7, t), rotation(angles(7, t))
    whole, found = [turned[:, 0]], [place[:, 0]]
    for i, parent in enumerate(PARENTS[1:], 1):
        found.append(found[parent] + whole[parent] @ build(7).bones[i])
        whole.append(whole[parent] @ turned[:, i])
    assert np.allclose(np.stack(found, 1), place, atol=1e-9)


def test_the_skeleton_is_a_function_of_absolute_time_alone():
    t = times(70.0)
    for of in (joints, angles):
        pieces = [of(3, part) for part in np.array_split(t, 7)]
        assert np.array_equal(np.concatenate(pieces), of(3, t))
    assert not np.allclose(joints(4, t), joints(3, t))


@pytest.mark.parametrize("seed", range(6))
def test_posture_agrees_with_its_label(seed):
    size = build(seed).stature
    for label, low, high in (("SEATED", 0.22, 0.4), ("WALKING", 0.49, 0.62), ("TURNING", 0.49, 0.62)):
        for span in spans(seed, label):
            middle = joints(
                seed, np.linspace(span.start + 3 * SECOND // 10, span.end - 3 * SECOND // 10, 9).astype(int)
            )
            assert (middle[:, J["pelvis"], 2] > low * size).all()
            assert (middle[:, J["pelvis"], 2] < high * size).all()
            assert (middle[:, J["head"], 2] > middle[:, J["neck"], 2]).all()
    for span in spans(seed, "STANDING_UP"):
        before, after = joints(seed, np.array([span.start, span.end]))
        assert after[0, 2] - before[0, 2] == pytest.approx(0.42, abs=0.06)


@pytest.mark.parametrize("seed", range(4))
def test_feet_stay_on_the_floor(seed):
    place = joints(seed, times(64.0))
    lowest = place[:, [J["left_foot"], J["right_foot"], J["left_ankle"], J["right_ankle"]], 2]
    assert lowest.min() > -0.04
    assert np.percentile(lowest.min(1), 90) < 0.07
    assert lowest.min(1).max() < 0.1
    assert lowest.max() < 0.45


def test_somebody_walks_from_seat_to_seat_and_turns_round():
    seed = 5
    for span in spans(seed, "WALKING"):
        start, end = joints(seed, np.array([span.start, span.end + SECOND // 4]))
        assert abs(end[0, 0] - start[0, 0]) > 1.5
        assert abs(end[0, 1] - start[0, 1]) < 0.2
    for span in spans(seed, "TURNING"):
        hips = joints(seed, np.array([span.start - SECOND // 2, span.end + SECOND // 2]))[
            :, [J["left_hip"], J["right_hip"]]
        ]
        before, after = hips[:, 0] - hips[:, 1]
        assert before @ after / np.linalg.norm(before) / np.linalg.norm(after) < -0.8


def test_knees_bend_as_knees_do():
    place = joints(9, times(64.0))
    hip, knee, ankle = (place[:, J[f"left_{name}"]] for name in ("hip", "knee", "ankle"))
    toes = place[:, J["left_foot"]] - ankle
    straight = (hip + ankle) / 2 - knee  # points back where the knee is bent
    assert ((straight * toes).sum(1) < 0.01).mean() > 0.97
    walking = spans(9, "WALKING")[0]
    now = joints(9, np.linspace(walking.start, walking.end, 60).astype(int))
    thigh, shank = now[:, J["left_knee"]] - now[:, J["left_hip"]], now[:, J["left_ankle"]] - now[:, J["left_knee"]]
    bent = np.arccos((thigh * shank).sum(1) / np.linalg.norm(thigh, axis=1) / np.linalg.norm(shank, axis=1))
    assert np.degrees(bent.max()) > 40
    assert np.degrees(bent.min()) < 15


@pytest.mark.parametrize("seed", [2, 3, 10_000])
def test_a_round_goes_on_where_the_one_before_has_ended(seed):
    """Somebody seated moves no joint by 2 m/s where rounds meet: a jump of 2 mm in a millisecond would be as fast."""
    first, odd = T0 // ROUND // 16 * 16, 0
    for number in range(first, first + 33):
        place = joints(seed, times(0.02, 1000, (number + 1) * ROUND - SECOND // 100))
        assert np.linalg.norm(np.diff(place, axis=0), axis=2).max() * 1000 < 2.0, number
        odd += len(round_of(seed, number).turns) % 2
    assert odd > 6  # rounds that end at the other seat


def test_what_is_worn_turns_no_faster_where_rounds_meet_than_around_it():
    """Gravity in a device's axes jumps when its attitude does."""
    for seed in range(4):
        scene = Scene(seed)
        for number in range(T0 // ROUND, T0 // ROUND + 4):
            t = times(1.0, 100, (number + 1) * ROUND - SECOND // 2)
            for placement in ("wrist", "pocket", "head", "ankle"):
                step = np.linalg.norm(np.diff(scene.imu(placement, t)[:, :3], axis=0), axis=1)
                assert step[49] < 1.5 * np.delete(step, 49).max(), (placement, number)


def test_noise_is_one_stream_over_all_rounds():
    u = np.array([-0.2, 0.0, 0.3])
    before, after = (Posture(3, T0 // ROUND + k, u).motion for k in (0, 1))
    for smoothness in (1, 28, 130):
        assert before.noise(u + 32.0, 4, smoothness) == pytest.approx(after.noise(u, 4, smoothness), abs=1e-9)


def felt(seed: int, t: np.ndarray) -> np.ndarray:
    """(n, 3) what the skeleton's wrist says that a watch should feel, m/s2, in the hand's axes of the neutral pose."""
    step = 6_000_000
    before, now, after = (joints(seed, t + shift)[:, J["left_wrist"]] for shift in (-step, 0, step))
    moved = (after - 2 * now + before) / (step / SECOND) ** 2 + (0, 0, GRAVITY)
    turned = np.concatenate([posture.attitude("left_wrist") for _, posture in postures(seed, t)])
    return np.einsum("nij,ni->nj", turned, moved)


@pytest.mark.parametrize("seed", range(8))
def test_the_watch_feels_the_wrist_that_is_seen(seed):
    t, agree, along = times(96.0, 100), [], []
    seen, measured = felt(seed, t), Scene(seed).imu("wrist", t)[:, :3].astype(float)
    for span in spans(seed, "WALKING"):
        now = (t >= span.start + SECOND // 2) & (t < span.end)
        size = [np.linalg.norm(x[now], axis=1) - GRAVITY for x in (seen, measured)]
        agree.append(np.corrcoef(*size)[0, 1])
        along.append(np.corrcoef(seen[now, 1], measured[now, 0])[0, 1])  # the left arm lies along y
    assert np.median(agree) > 0.8
    assert min(agree) > 0.7
    assert np.median(along) > 0.75


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_an_ankle_feels_steps_and_no_jerks(seed):
    """Heel strikes at an ankle reach some 8 g in people who walk; who sits feels little but gravity."""
    t = times(96.0, 200)
    size = np.linalg.norm(Scene(seed).imu("ankle", t)[:, :3], axis=1)
    assert 20 < size.max() < 80
    seated = [size[(t > span.start + SECOND // 2) & (t < span.end)] for span in spans(seed, "SEATED")]
    assert np.concatenate(seated).max() < 20


def test_only_what_is_asked_for_is_computed():
    posture = Posture(1, T0 // ROUND, np.linspace(0, 30, 7))
    assert posture.place("head").shape == (7, 3)
    assert "_legs" not in vars(posture)


def test_people_are_of_different_size():
    sizes = [build(seed).stature for seed in range(40)]
    assert 1.5 < min(sizes) < 1.62
    assert 1.78 < max(sizes) < 1.95
