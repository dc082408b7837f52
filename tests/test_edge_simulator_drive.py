"""The simulated drive: a function of seed and time, whose sensors agree with the street and with one another."""

from itertools import pairwise

import numpy as np
import pytest

from broker.errors import ConfigError
from broker.modalities import MODALITIES
from edge.clock import SECOND
from edge.simulator.body import GRAVITY
from edge.simulator.drive import ACTIVITY, CAMERA, DEPTH, DEPTH_MAP, LIDAR, Drive
from edge.simulator.ride import DRIVING, LAP_S, car_of, lap_of
from edge.simulator.town import ASPHALT, MARKING, PAVEMENT, town

LAP = round(LAP_S * SECOND)
NUMBER = 18_000_000
T0 = NUMBER * LAP
SAMPLES = {"imu": 100, "gps": 5}
FRAMES = ("camera", "lidar", "depth")


def times(seconds: float, rate: int = 100, start: int = T0) -> np.ndarray:
    return start + np.arange(round(seconds * rate), dtype=np.int64) * SECOND // rate


def standing(seed: int) -> int:
    """A time at which the car has stood for a while."""
    since, wait = lap_of(seed, NUMBER).waits[1]
    return T0 + round((since + wait - 0.5) * SECOND)


def placement(modality: str) -> str:
    return next(p for _, m, p in Drive(0).streams() if m == modality)


@pytest.mark.parametrize("modality", [*SAMPLES, *FRAMES])
def test_values_are_a_function_of_absolute_time_alone(modality):
    t = times(3.0, SAMPLES.get(modality, 2), T0 + LAP - 2 * SECOND)  # over the end of a lap
    at = placement(modality)
    whole = Drive(3).render(modality, at, t)
    pieces = [Drive(3).render(modality, at, part) for part in np.array_split(t, 4)]
    assert np.array_equal(np.concatenate(pieces), whole)
    assert not np.array_equal(Drive(4).render(modality, at, t), whole)


def test_sound_and_truth_are_functions_of_absolute_time_alone():
    whole = Drive(3).audio(T0 - 2 * SECOND, 4 * 8000, 8000)
    pieces = [Drive(3).audio(T0 + k * SECOND, 8000, 8000) for k in range(-2, 2)]
    assert np.array_equal(np.concatenate(pieces), whole)
    t = times(2.0, 2)
    single = np.concatenate([Drive(3).truth(DEPTH, t[i : i + 1]) for i in range(len(t))])
    assert np.array_equal(single, Drive(3).truth(DEPTH, t), equal_nan=True)


@pytest.mark.parametrize("seed", range(3))
def test_streams_have_the_shapes_of_their_modalities(seed):
    for _, modality, at in Drive(seed).streams():
        row = MODALITIES[modality]
        if modality == "audio":
            assert np.abs(Drive(seed).audio(T0, 16000)).max() <= 1
            continue
        values = Drive(seed).render(modality, at, times(1.0, 2))
        assert values.dtype == np.float32
        assert values.shape == (2, *(row.size if row.size[0] else ()), len(row.channels))
        assert np.isfinite(values).all()
        assert Drive(seed).render(modality, at, times(0.0)).shape == (0, *values.shape[1:])


def test_labels_follow_one_another_without_holes():
    spans = list(Drive(1).spans(ACTIVITY, T0 + 5, T0 + 3 * LAP))
    assert spans[0].start == T0 + 5
    assert spans[-1].end == T0 + 3 * LAP
    assert all(a.end == b.start for a, b in pairwise(spans))
    assert {span.label for span in spans} == set(DRIVING)


def test_labels_say_what_the_car_does():
    for seed in range(4):
        drive, t = Drive(seed), times(LAP_S)
        speed, yaw = drive.render("gps", "car", t)[:, 3], drive.render("imu", "car", t)[:, 5]
        for span in drive.spans(ACTIVITY, int(t[0]), int(t[-1])):
            now = (t >= span.start + SECOND // 4) & (t < span.end - SECOND // 4)
            if span.label == "driving-stop":
                assert 0 <= speed[now].min() <= speed[now].max() < 1.0
            elif span.label == "driving-turn":
                assert np.abs(np.median(yaw[now])) > 0.12
            else:
                assert np.abs(np.median(yaw[now])) < 0.1
                assert speed[now].max() > 1.0


@pytest.mark.parametrize("seed", range(8))
def test_the_street_is_a_loop_that_a_car_can_drive(seed):
    path = town(seed).path
    assert np.allclose(path.place[0], path.place[-1], atol=1e-6)
    assert abs(path.heading[-1] - path.heading[0]) == pytest.approx(2 * np.pi, abs=1e-6)
    assert 1 / np.abs(path.curvature).max() > 6.0
    step = np.linalg.norm(np.diff(path.place, axis=0), axis=1)
    assert step == pytest.approx(step.mean(), rel=0.01)
    on_lane = town(seed).material(path.place)
    assert np.isin(on_lane, (ASPHALT, MARKING)).all()
    beside, _ = path.at(np.arange(0.0, path.length, 5.0), -(town(seed).lane / 2 + 2.1 + 1.0))
    assert (town(seed).material(beside) == PAVEMENT).mean() > 0.95


def test_every_lap_begins_and_ends_at_rest():
    for seed in range(30):
        lap, length = lap_of(seed, seed), town(seed).path.length
        assert lap.s[-1] == pytest.approx(length, abs=1e-6)
        assert lap.waits[:, 1].min() > 1.1
        for stop, (since, wait) in zip(town(seed).stops, lap.waits, strict=False):
            assert lap.at("s", np.array([since + wait / 2]))[0] == pytest.approx(stop, abs=0.5)
        assert lap.speed[:100].max() == lap.speed[-100:].max() == 0.0


@pytest.mark.parametrize("seed", range(4))
def test_places_move_as_fast_as_the_speed_says(seed):
    t = times(LAP_S, 5)
    gps = Drive(seed).render("gps", "car", t).astype(np.float64)
    moved = np.linalg.norm(gps[5:, :2] - gps[:-5, :2], axis=1)  # over a second
    mean = np.convolve(gps[:, 3], np.ones(6) / 6, "valid")
    assert np.median(np.abs(moved - mean)) < 0.35
    assert np.percentile(np.abs(moved - mean), 95) < 1.2
    true, _ = town(seed).path.at(lap_of(seed, NUMBER).at("s", (t - T0) / SECOND))
    error = np.linalg.norm(gps[:, :2] - true, axis=1)
    assert 0.3 < error.mean() < 8.0


@pytest.mark.parametrize("seed", range(4))
def test_yaw_rate_integrates_to_the_change_of_heading(seed):
    t = times(LAP_S)
    imu, path = Drive(seed).render("imu", "car", t).astype(np.float64), town(seed).path
    turned = np.cumsum(imu[:, 5]) / 100
    s = lap_of(seed, NUMBER).at("s", (t - T0) / SECOND)
    heading = np.interp(s, np.arange(len(path.heading)) * 0.2, path.heading)
    assert np.abs(turned - (heading - heading[0])).max() < 0.05


@pytest.mark.parametrize("seed", range(4))
def test_acceleration_agrees_with_speed_and_bends(seed):
    t = times(LAP_S)
    imu, lap = Drive(seed).render("imu", "car", t).astype(np.float64), lap_of(seed, NUMBER)
    speed = lap.at("speed", (t - T0) / SECOND)
    smooth = np.ones(50) / 50
    forward, thrust = (np.convolve(x, smooth, "same") for x in (imu[:, 0], np.gradient(speed) * 100))
    assert np.corrcoef(forward, thrust)[0, 1] > 0.97
    aside, bend = (np.convolve(x, smooth, "same") for x in (imu[:, 1], imu[:, 5] * speed))
    assert np.corrcoef(aside, bend)[0, 1] > 0.97
    still = speed == 0
    assert np.linalg.norm(imu[still, :3].mean(0)) == pytest.approx(GRAVITY, abs=0.05)
    assert imu[~still, 2].std() > 3 * imu[still, 2].std()


@pytest.mark.parametrize("seed", range(3))
def test_the_ground_is_as_far_as_the_height_of_each_sensor_says(seed):
    drive, car, t = Drive(seed), car_of(seed), np.array([standing(seed)])
    lidar = drive.render("lidar", "roof", t)[0, ..., 0].astype(np.float64)
    fell = np.radians(np.linspace(3.0, -25.0, LIDAR[0]))
    lowest = lidar[-1][lidar[-1] > 0]
    assert np.median(lowest) == pytest.approx(car.roof / np.sin(-fell[-1]), abs=0.05)
    depth = drive.truth(DEPTH, t).reshape(DEPTH_MAP).astype(np.float64)
    down = (np.arange(DEPTH_MAP[0]) * 2 + 0.5 - (CAMERA[0] - 1) / 2) / (car.focal * CAMERA[1])
    row = -1
    expected = car.eye / (np.sin(car.tilt) + down[row] * np.cos(car.tilt))
    assert np.median(depth[row]) == pytest.approx(expected, rel=0.02)


def test_depth_is_where_a_house_begins():
    """Points along a cell's ray are tried one by one: depth is the first in a house, unless something is nearer."""
    agreed = []
    for seed in range(4):
        t, place, car = standing(seed), town(seed), car_of(seed)
        at, heading = place.path.at(lap_of(seed, NUMBER).at("s", np.array([(t - T0) / SECOND])))
        forward = np.array([np.cos(heading[0]), np.sin(heading[0])])
        right = np.array([forward[1], -forward[0]])
        depth = Drive(seed).truth(DEPTH, np.array([t])).reshape(DEPTH_MAP)
        row = 8
        slope = (row * 2 + 0.5 - (CAMERA[0] - 1) / 2) / (car.focal * CAMERA[1])
        for column in range(0, DEPTH_MAP[1], 3):
            aside = (column * 3 + 1 - (CAMERA[1] - 1) / 2) / (car.focal * CAMERA[1])
            far = np.arange(1.0, 75.0, 0.02)
            level = np.cos(car.tilt) - slope * np.sin(car.tilt)
            rise = -(np.sin(car.tilt) + slope * np.cos(car.tilt))
            flat = at[0] + 0.4 * forward + far[:, None] * (level * forward + aside * right)
            up = car.eye + far * rise
            inside = np.zeros(len(far), bool)
            for box in place.standing.box[: place.houses]:
                own = (np.column_stack([flat, up]) - box[:3]) @ box[6:15].reshape(3, 3)
                inside |= (np.abs(own) <= box[3:6]).all(1)
            wall = far[inside.argmax()] if inside.any() else np.inf
            known = np.nan_to_num(depth[row, column], nan=np.inf)
            assert known <= wall + 0.15
            if np.isfinite(wall):
                agreed.append(abs(known - wall) < 0.15)
    assert len(agreed) > 20
    assert np.mean(agreed) > 0.6


@pytest.mark.parametrize("seed", range(3))
def test_lidar_and_depth_see_the_same(seed):
    drive, car, t = Drive(seed), car_of(seed), np.array([standing(seed)])
    lidar = drive.render("lidar", "roof", t)[0].astype(np.float64)
    up = np.radians(np.linspace(3.0, -25.0, LIDAR[0]))[:, None]
    around = np.pi - (np.arange(LIDAR[1]) + 0.5) * (2 * np.pi / LIDAR[1])
    level = lidar[..., 0] * np.cos(up)
    x, y, z = level * np.cos(around) - 0.4, level * np.sin(around), lidar[..., 0] * np.sin(up) + car.roof - car.eye
    c, s = np.cos(car.tilt), np.sin(car.tilt)
    ahead, below = c * x - s * z, -(s * x + c * z)
    focal = car.focal * CAMERA[1]
    with np.errstate(divide="ignore", invalid="ignore"):
        row = np.floor((focal * below / ahead + CAMERA[0] / 2) / 2)
        column = np.floor((-focal * y / ahead + CAMERA[1] / 2) / 3)
    depth = drive.truth(DEPTH, t).reshape(DEPTH_MAP)
    seen = (
        (lidar[..., 0] > 0) & (ahead > 1) & (row >= 0) & (row < DEPTH_MAP[0]) & (column >= 0) & (column < DEPTH_MAP[1])
    )
    there = depth[row[seen].astype(int), column[seen].astype(int)]
    assert seen.sum() > 500
    assert np.nanmedian(np.abs(there - ahead[seen]) / ahead[seen]) < 0.1


def test_dots_lie_on_the_depth_map():
    for seed in range(3):
        drive, t = Drive(seed), times(4.0, 2)
        dots, depth = drive.render("depth", "front", t)[..., 0], drive.truth(DEPTH, t).reshape(-1, *DEPTH_MAP)
        assert 0.01 < (dots > 0).mean() < 1 / 16
        # Both see the same width; the sensor's middle 32 rows are the map's 24.
        rows = np.clip(((np.arange(48) - 23.5) * 1.5 + 23.5) // 2, 0, 23).astype(int)
        within = np.abs((np.arange(48) - 23.5) * 1.5) < 23
        same = depth[:, rows][:, :, np.arange(64) // 2]
        known = (dots > 0) & within[:, None] & np.isfinite(same)
        assert np.median(np.abs(dots[known] - same[known]) / same[known]) < 0.12


def test_the_camera_tells_its_rays_and_shows_street_below_sky():
    for seed in range(3):
        frame = Drive(seed).render("camera", "front", np.array([standing(seed)]))[0]
        focal = car_of(seed).focal * CAMERA[1]
        assert frame[0, :, 3] == pytest.approx((np.arange(CAMERA[1]) - 47.5) / focal, abs=1e-6)
        assert frame[:, 0, 4] == pytest.approx((np.arange(CAMERA[0]) - 23.5) / focal, abs=1e-6)
        assert frame[..., :3].min() >= 0
        assert frame[..., :3].max() <= 1
        depth = Drive(seed).truth(DEPTH, np.array([standing(seed)])).reshape(DEPTH_MAP)
        assert np.isnan(depth[:4]).mean() > np.isnan(depth[-12:]).mean()
        assert not np.isnan(depth[-6:]).any()


def test_what_a_camera_cannot_tell_the_other_sensors_hint_at():
    cars, towns = [car_of(seed) for seed in range(40)], [town(seed) for seed in range(40)]
    eyes = np.array([car.eye for car in cars])
    assert eyes.max() / eyes.min() > 1.5  # of the same picture, everything is half as far again
    assert np.corrcoef(eyes, [car.idle_hz for car in cars])[0, 1] < -0.8
    assert np.corrcoef([place.lane for place in towns], [place.limit for place in towns])[0, 1] > 0.7


def test_a_car_is_louder_when_it_drives():
    levels: dict[bool, list[float]] = {True: [], False: []}
    for seed in range(3):
        drive = Drive(seed)
        for span in drive.spans(ACTIVITY, T0, T0 + LAP):
            if span.end - span.start > 2 * SECOND:
                sound = drive.audio(span.start + SECOND // 2, 8000, 8000)
                levels[span.label != "driving-stop"].append(20 * np.log10(np.sqrt(np.mean(sound**2)) + 1e-9))
    assert np.median(levels[True]) > np.median(levels[False]) + 3


@pytest.mark.parametrize(
    "make",
    [
        lambda: Drive(-1),
        lambda: Drive(0).render("imu", "wrist", times(1)),
        lambda: Drive(0).render("audio", "car", times(1)),
        lambda: list(Drive(0).spans("touch-contact", T0, T0 + 1)),
        lambda: Drive(0).truth("gaze-estimation", times(1)),
    ],
)
def test_what_cannot_be_simulated_is_an_error(make):
    with pytest.raises(ConfigError, match="simulator"):
        make()
