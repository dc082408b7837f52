"""Facts of gps, gaze and pose: one property per fact, over generated paths, glances and bodies."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.modalities import JOINTS, MODALITIES
from edge.facts import FACTS, FAMILIES, GAZE, GPS, POSE, facts
from edge.windows import Stream, Window

seeds = st.integers(0, 2**32)
angles = st.floats(0, 359.9)
checked = settings(max_examples=40, deadline=None)


def of_gps(place: np.ndarray, up: np.ndarray | float = 0.0, speed: np.ndarray | float = 1.0) -> dict[str, float]:
    """Facts of a path (n, 2) east and north, at 5 Hz."""
    n = len(place)
    values = np.column_stack([place, np.broadcast_to(up, n), np.broadcast_to(speed, n)])
    return facts(Window(Stream("gps", "gps", "car"), 0, 5.0, values.astype(np.float32), 1.0))


def straight(heading: float, speed: float, n: int = 6) -> np.ndarray:
    direction = np.array([np.sin(np.radians(heading)), np.cos(np.radians(heading))])
    return np.arange(n)[:, None] / 5 * speed * direction + [30.0, -20.0]


def of_gaze(points: np.ndarray, quality: float = 1.0) -> dict[str, float]:
    return facts(Window(Stream("gaze", "gaze", "screen"), 0, 60.0, points.astype(np.float32), quality))


def glances(places: list, each: int = 10) -> np.ndarray:
    return np.repeat(np.array(places, np.float64), each, 0)


UPRIGHT = {
    "pelvis": (0, 0, 0.95), "left_hip": (0, 0.1, 0.9), "right_hip": (0, -0.1, 0.9), "spine1": (0, 0, 1.05),
    "left_knee": (0, 0.1, 0.5), "right_knee": (0, -0.1, 0.5), "spine2": (0, 0, 1.2), "left_ankle": (0, 0.1, 0.1),
    "right_ankle": (0, -0.1, 0.1), "spine3": (0, 0, 1.3), "left_foot": (0.1, 0.1, 0.0), "right_foot": (0.1, -0.1, 0.0),
    "neck": (0, 0, 1.5), "left_collar": (0, 0.08, 1.45), "right_collar": (0, -0.08, 1.45), "head": (0, 0, 1.65),
    "left_shoulder": (0, 0.2, 1.45), "right_shoulder": (0, -0.2, 1.45), "left_elbow": (0, 0.25, 1.2),
    "right_elbow": (0, -0.25, 1.2), "left_wrist": (0, 0.25, 0.95), "right_wrist": (0, -0.25, 0.95),
    "left_hand": (0, 0.25, 0.85), "right_hand": (0, -0.25, 0.85),
}  # fmt: skip
AXES = {"room": ((1, 0, 0), (0, 1, 0), (0, 0, 1)), "camera": ((0, -1, 0), (0, 0, -1), (1, 0, 0)),
        "kinect": ((0, -1, 0), (0, 0, 1), (1, 0, 0))}  # fmt: skip
"""Rows are the axes of a sensor in the room's: z up; y down and z forward; y up and z forward."""


def body(n: int = 30, **moved: object) -> np.ndarray:
    """(n, 24, 3) somebody who stands, with joints put elsewhere: (3,) or (n, 3)."""
    joints = np.repeat(np.array([[UPRIGHT[joint] for joint in JOINTS]], np.float64), n, 0)
    for joint, place in moved.items():
        joints[:, JOINTS.index(joint)] = place
    return joints


def of_pose(joints: np.ndarray, axes: str = "room") -> dict[str, float]:
    values = (joints @ np.array(AXES[axes], np.float64).T).reshape(len(joints), 72)
    return facts(Window(Stream("pose", "pose", "body"), 0, 30.0, values.astype(np.float32), 1.0))


@checked
@given(st.lists(st.floats(0, 50, width=32), min_size=1, max_size=10))
def test_gps_speed_and_gps_speed_peak_are_the_receivers(speeds):
    found = of_gps(np.zeros((len(speeds), 2)), speed=np.array(speeds))
    assert found["gps.speed"] == pytest.approx(np.mean(speeds), rel=1e-6, abs=1e-9)
    assert found["gps.speed_peak"] == pytest.approx(max(speeds))


@checked
@given(st.floats(0, 30), st.floats(-5, 5))
def test_gps_acceleration_of_steady_acceleration_is_its_rate(start, rate):
    assert of_gps(np.zeros((6, 2)), speed=start + rate * np.arange(6) / 5)["gps.acceleration"] == pytest.approx(
        rate, abs=1e-4
    )


@checked
@given(angles, st.floats(0, 40), st.integers(2, 20))
def test_gps_distance_of_a_straight_way_is_speed_times_time_and_that_of_a_way_back_is_twice_as_long(heading, speed, n):
    way = straight(heading, speed, n)
    found = of_gps(way)
    assert found["gps.distance"] == pytest.approx(speed * (n - 1) / 5, rel=1e-3, abs=1e-3)
    back = of_gps(np.concatenate([way, way[-2::-1]]))
    assert back["gps.distance"] == pytest.approx(2 * found["gps.distance"], rel=1e-3, abs=1e-3)


@checked
@given(seeds)
def test_gps_displacement_is_no_longer_than_the_way_and_0_on_coming_back(seed):
    way = np.random.default_rng(seed).normal(0, 3, (8, 2))
    found = of_gps(way)
    assert found["gps.displacement"] == pytest.approx(np.linalg.norm(way[-1] - way[0]), rel=1e-4)
    assert found["gps.displacement"] <= found["gps.distance"] + 1e-6
    assert of_gps(np.concatenate([way, way[:1]]))["gps.displacement"] == pytest.approx(0, abs=1e-6)


@checked
@given(angles, st.floats(1, 40))
def test_gps_heading_is_clockwise_from_north_and_none_where_nothing_moves(heading, speed):
    found = of_gps(straight(heading, speed))["gps.heading"]
    assert abs((found - heading + 180) % 360 - 180) < 0.01
    assert of_gps(straight(heading, 0.1))["gps.heading"] == 0.0


@checked
@given(st.floats(-40, 40), st.floats(2, 20), angles)
def test_gps_turned_on_a_circle_is_its_arc_counter_clockwise(step, speed, heading):
    course = np.radians(90 - heading + step * np.arange(7))  # from east over north
    way = np.cumsum(speed / 5 * np.column_stack([np.cos(course), np.sin(course)]), 0)
    assert of_gps(way)["gps.turned"] == pytest.approx(step * 5, abs=0.05)


def test_gps_turned_of_a_receiver_that_stands_is_none():
    way = np.random.default_rng(0).normal(0, 0.01, (20, 2))
    found = of_gps(way)
    assert (found["gps.turned"], found["gps.moving"]) == (0.0, 0.0)


@checked
@given(st.floats(-100, 100), st.floats(-3, 3))
def test_gps_climb_is_the_height_won(start, rate):
    assert of_gps(np.zeros((6, 2)), up=start + rate * np.arange(6))["gps.climb"] == pytest.approx(5 * rate, abs=1e-4)


@checked
@given(st.integers(0, 10), angles)
def test_gps_moving_is_the_share_of_time_on_the_move(steps, heading):
    way = straight(heading, 2.0, steps + 1)
    found = of_gps(np.concatenate([way, np.repeat(way[-1:], 10 - steps, 0)]))
    assert found["gps.moving"] == pytest.approx(steps / 10)


@checked
@given(st.floats(0.1, 0.9), st.floats(0.1, 0.9))
def test_gaze_x_and_gaze_y_are_where_one_looks_whatever_else_the_tracker_tells(x, y):
    found = of_gaze(np.tile([x, y, 9.0, -9.0], (60, 1)))
    assert (found["gaze.x"], found["gaze.y"]) == pytest.approx((x, y))
    points = np.tile([x, y], (60, 1))
    points[20:30] = 0  # a blink
    assert (of_gaze(points)["gaze.x"], of_gaze(points)["gaze.y"]) == pytest.approx((x, y))


@checked
@given(st.floats(0.01, 0.4), angles)
def test_gaze_dispersion_of_two_places_is_half_their_distance(apart, angle):
    aside = apart * np.array([np.cos(np.radians(angle)), np.sin(np.radians(angle))])
    found = of_gaze(glances([0.5 - aside / 2, 0.5 + aside / 2], 30))
    assert found["gaze.dispersion"] == pytest.approx(apart / 2, rel=1e-4)


@checked
@given(st.integers(1, 6))
def test_gaze_fixation_and_gaze_saccades_count_jumps_between_places(places):
    found = of_gaze(glances([(0.1 + 0.8 * (k % 2), 0.5) for k in range(places)], 60 // places))
    steps = 60 // places * places - 1
    assert found["gaze.fixation"] == pytest.approx(1 - (places - 1) / steps)
    assert found["gaze.saccades"] == pytest.approx((places - 1) * 60 / (steps + 1))


def test_gaze_saccades_are_counted_once_however_long_and_from_the_first_step_on():
    jump = np.concatenate([np.linspace([0.1, 0.5], [0.9, 0.5], 6), np.tile([0.9, 0.5], (54, 1))])
    assert of_gaze(jump)["gaze.saccades"] == 1.0
    assert of_gaze(jump)["gaze.fixation"] == pytest.approx(1 - 5 / 59)


@checked
@given(st.floats(0.0, 0.9), angles)
def test_gaze_path_of_slow_pursuit_is_its_speed(speed, angle):
    direction = np.array([np.cos(np.radians(angle)), np.sin(np.radians(angle))])
    points = 0.5 + np.arange(-30, 30)[:, None] / 60 * speed * direction
    found = of_gaze(points)
    assert found["gaze.path"] == pytest.approx(speed, abs=1e-3)
    assert found["gaze.fixation"] == 1.0


@checked
@given(st.floats(0.1, 0.8))
def test_gaze_speed_peak_is_that_of_the_longest_jump(jump):
    found = of_gaze(glances([(0.1, 0.5), (0.15, 0.5), (0.15 + jump, 0.5)]))
    assert found["gaze.speed_peak"] == pytest.approx(60 * jump, rel=1e-4)


@checked
@given(st.integers(0, 59), st.sampled_from([(-0.2, 0.5), (0.5, 1.3), (1.1, -0.1)]))
def test_gaze_away_is_the_share_off_the_screen(off, place):
    points = np.tile([0.5, 0.5], (60, 1))
    points[:off] = place
    assert of_gaze(points)["gaze.away"] == pytest.approx(off / 60)


@checked
@given(st.integers(0, 60), st.floats(0.5, 1.0))
def test_gaze_absent_is_what_no_sample_covers_or_the_tracker_does_not_see(blink, quality):
    points = np.tile([0.5, 0.5], (60, 1))
    points[:blink] = 0
    found = of_gaze(points, quality)
    assert found["gaze.absent"] == pytest.approx(1 - quality * (1 - blink / 60))
    assert found["gaze.saccades"] == 0.0  # neither lid makes one


@pytest.mark.parametrize("axes", AXES)
def test_pose_head_height_and_pose_hand_heights_are_over_the_pelvis_in_any_axes(axes):
    found = of_pose(body(left_hand=(0.1, 0.3, 1.8), right_hand=(0.2, -0.3, 0.45)), axes)
    assert found["pose.head_height"] == pytest.approx(0.7, abs=1e-5)
    assert found["pose.left_hand_height"] == pytest.approx(0.85, abs=1e-5)
    assert found["pose.right_hand_height"] == pytest.approx(-0.5, abs=1e-5)


@checked
@given(st.floats(-1, 1), st.floats(-1, 1), st.sampled_from(["left_hand", "right_hand", "head"]))
def test_pose_left_hand_height_and_pose_right_hand_height_follow_the_hand_and_not_where_one_stands(x, z, joint):
    place = np.array(UPRIGHT[joint]) + np.array([0, 0, 0.3 * z])
    found = of_pose(body(**{joint: place}) + np.array([x, -x, z]))
    assert found[f"pose.{joint}_height"] == pytest.approx(place[2] - 0.95, abs=1e-5)


@checked
@given(st.floats(0, 1.5), st.sampled_from([*AXES]))
def test_pose_hands_apart_is_the_distance_between_the_hands(apart, axes):
    found = of_pose(body(left_hand=(0.3, apart / 2, 1.2), right_hand=(0.3, -apart / 2, 1.2)), axes)
    assert found["pose.hands_apart"] == pytest.approx(apart, abs=1e-5)


@pytest.mark.parametrize("side", ["left", "right"])
@checked
@given(speed=st.floats(0, 4), angle=angles)
def test_pose_left_wrist_speed_and_pose_right_wrist_speed_are_of_their_own_wrist(side, speed, angle):
    direction = np.array([np.cos(np.radians(angle)), 0.0, np.sin(np.radians(angle))])
    found = of_pose(body(**{f"{side}_wrist": np.arange(30)[:, None] / 30 * speed * direction}))
    other = {"left": "right", "right": "left"}[side]
    assert found[f"pose.{side}_wrist_speed"] == pytest.approx(speed, abs=1e-4)
    assert found[f"pose.{other}_wrist_speed"] == 0.0
    assert found["pose.speed"] == 0.0


@checked
@given(st.floats(0, 3), angles)
def test_pose_speed_is_that_of_walking(speed, angle):
    direction = np.array([np.cos(np.radians(angle)), np.sin(np.radians(angle)), 0.0])
    found = of_pose(body() + np.arange(30)[:, None, None] / 30 * speed * direction)
    assert found["pose.speed"] == pytest.approx(speed, abs=1e-4)
    assert found["pose.moving"] == (speed >= 0.1) or speed == pytest.approx(0.1, abs=1e-4)


@pytest.mark.parametrize("side", ["left", "right"])
@checked
@given(angle=st.floats(20, 180), axes=st.sampled_from([*AXES]))
def test_pose_left_knee_and_pose_right_knee_are_180_straight_and_less_bent(side, angle, axes):
    y, a = {"left": 0.1, "right": -0.1}[side], np.radians(angle)
    ankle = np.array([-0.4 * np.sin(a), y, 0.5 + 0.4 * np.cos(a)])
    found = of_pose(body(**{f"{side}_ankle": ankle}), axes)
    assert found[f"pose.{side}_knee"] == pytest.approx(angle, abs=0.1)
    assert found[f"pose.{'right' if side == 'left' else 'left'}_knee"] == pytest.approx(180, abs=0.1)


@checked
@given(st.floats(0, 90), angles, st.sampled_from([*AXES]))
def test_pose_tilt_is_how_far_the_torso_leans_to_any_side(lean, aside, axes):
    a, b = np.radians([lean, aside])
    along = np.array([np.sin(a) * np.cos(b), np.sin(a) * np.sin(b), np.cos(a)])
    pelvis = np.array(UPRIGHT["pelvis"])
    found = of_pose(body(neck=pelvis + 0.55 * along, head=pelvis + 0.7 * along), axes)
    assert found["pose.tilt"] == pytest.approx(lean, abs=0.01)


@checked
@given(st.integers(0, 29))
def test_pose_moving_is_the_share_of_time_in_motion(steps):
    forward = np.minimum(np.arange(30), steps) / 30
    found = of_pose(body() + forward[:, None, None] * [1.0, 0, 0])
    assert found["pose.moving"] == pytest.approx(steps / 29)


@pytest.mark.parametrize("modality", ["gps", "gaze", "pose"])
@pytest.mark.parametrize("n", [1, 2, 30])
@pytest.mark.parametrize("value", [0.0, 1.0, -7.5, 1e30, "noise"])
def test_degenerate_windows_have_finite_facts(modality, n, value):
    row = MODALITIES[modality]
    channels = row.most_channels or len(row.channels)
    values = np.full((n, channels), 0.0 if value == "noise" else value, np.float32)
    if value == "noise":
        values = np.random.default_rng(0).normal(0, 1e3, values.shape).astype(np.float32)
    found = facts(Window(Stream("s", modality, "room"), 0, row.rate, values, 0.5))
    assert set(found) == set(FAMILIES[modality].facts)
    assert np.isfinite(list(found.values())).all()
    assert all(type(number) is float for number in found.values())


@pytest.mark.parametrize("modality", MODALITIES)
def test_a_window_of_another_shape_has_no_facts(modality):
    stream = Stream("s", modality, "room")
    for shape in (stream.shape[:-1], (*stream.shape[:-1], 1000), (0, *stream.shape[1:])):
        assert facts(Window(stream, 0, stream.rate, np.zeros(shape, np.float32), 1.0)) == {}


def test_every_modality_has_its_facts_and_no_more_than_twelve():
    assert set(FAMILIES) == set(MODALITIES)
    for modality, family in FAMILIES.items():
        assert 1 <= len(family.facts) <= 12
        assert all(name.startswith(f"{modality}.") for name in family.facts)


def test_every_fact_has_a_unit_a_formula_and_a_property():
    tested = " ".join(name for name in globals() if name.startswith("test_"))
    for name, fact in {**GPS, **GAZE, **POSE}.items():
        assert FACTS[name] == fact.unit
        assert re.search(r": .*[(/|]", fact.of.__doc__ or ""), f"{name} has no formula"
        assert name.replace(".", "_") in tested, f"{name} has no property test"
