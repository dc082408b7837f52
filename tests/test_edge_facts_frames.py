"""Facts of pictures, clips, ranges, heat and touch: one property per fact, over generated frames."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.modalities import MODALITIES
from edge.facts import CAMERA, CAPACITANCE, DEPTH, FACTS, FAMILIES, IMAGE, LIDAR, THERMAL, VIDEO, facts
from edge.facts.regions import regions
from edge.frames import resize
from edge.rangeimage import range_image
from edge.windows import Stream, Window

PICTURES = ("image", "camera", "video")
seeds = st.integers(0, 2**32)
checked = settings(max_examples=40, deadline=None)
pictures = pytest.mark.parametrize("modality", PICTURES)


def told(modality: str, values: np.ndarray) -> dict[str, float]:
    stream = Stream("s", modality, "room")
    return facts(Window(stream, 0, stream.rate, values.astype(np.float32), 1.0))


def of_picture(modality: str, rgb: np.ndarray) -> dict[str, float]:
    """Facts of a picture (H, W, 3) in a window of that modality, by their names without it."""
    values = {"image": rgb, "camera": np.concatenate([rgb, np.zeros((*rgb.shape[:2], 2))], -1)}.get(modality)
    if modality == "video":
        # The picture is the middle one of frames that have nothing in common with it.
        values = np.concatenate([np.random.default_rng(1).random((4, *rgb.shape)), rgb[None], np.ones((3, *rgb.shape))])
    return {name.removeprefix(f"{modality}."): value for name, value in told(modality, values).items()}


def noise(seed: int, height: int = 24, width: int = 32) -> np.ndarray:
    return np.random.default_rng(seed).random((height, width, 3))


def block(height: int, width: int, row: int, column: int, size: int, inside: float, outside: float) -> np.ndarray:
    """(height, width, 1) with a square whose upper left corner is there."""
    frame = np.full((height, width, 1), outside)
    frame[row : row + size, column : column + size] = inside
    return frame


@pictures
@checked
@given(level=st.floats(0, 1))
def test_image_brightness_of_grey_is_its_level_and_green_is_brighter_than_blue(modality, level):
    assert of_picture(modality, np.full((8, 8, 3), level))["brightness"] == pytest.approx(level, abs=1e-6)
    green, blue = (of_picture(modality, np.tile(np.eye(3)[k], (8, 8, 1)))["brightness"] for k in (1, 2))
    assert green == pytest.approx(0.587)
    assert blue == pytest.approx(0.114)


@pictures
@checked
@given(low=st.floats(0, 0.5), apart=st.floats(0, 0.5))
def test_image_contrast_of_two_halves_is_half_their_difference(modality, low, apart):
    rgb = np.full((8, 8, 3), low)
    rgb[:, 4:] += apart
    assert of_picture(modality, rgb)["contrast"] == pytest.approx(apart / 2, abs=1e-6)


@pictures
@checked
@given(seed=seeds, factor=st.floats(0.1, 0.9))
def test_image_colourfulness_is_none_for_grey_and_grows_with_colour(modality, seed, factor):
    rgb = noise(seed)
    grey = np.repeat(rgb.mean(-1, keepdims=True), 3, -1)
    full = of_picture(modality, rgb)["colourfulness"]
    assert of_picture(modality, grey)["colourfulness"] == pytest.approx(0, abs=1e-6)
    assert of_picture(modality, grey + factor * (rgb - grey))["colourfulness"] == pytest.approx(factor * full, rel=1e-3)


@pictures
@checked
@given(low=st.floats(0, 0.5), high=st.floats(0.5, 1))
def test_image_saturation_is_the_distance_of_the_strongest_from_the_weakest_colour(modality, low, high):
    rgb = np.tile([low, high, (low + high) / 2], (8, 8, 1))
    assert of_picture(modality, rgb)["saturation"] == pytest.approx(high - low, abs=1e-6)


@pictures
@checked
@given(seed=seeds)
def test_image_sharpness_falls_with_blur_and_a_slope_has_none(modality, seed):
    rgb = noise(seed)
    blurred = resize(resize(rgb, (12, 16)), (24, 32))
    sharp = of_picture(modality, rgb)["sharpness"]
    assert of_picture(modality, blurred)["sharpness"] < 0.5 * sharp
    slope = np.repeat(np.add.outer(np.arange(24), np.arange(32))[..., None] / 60, 3, -1)
    assert of_picture(modality, slope)["sharpness"] == pytest.approx(0, abs=1e-6)


@pictures
@checked
@given(angle=st.floats(0, 359.9), other=st.floats(60, 300), seed=seeds)
def test_image_hue_is_that_of_the_largest_area_whatever_else_there_is(modality, angle, other, seed):
    def colour(degrees: float) -> np.ndarray:
        return 0.5 + 0.3 * np.cos(np.radians(degrees - np.array([0, 120, 240])))

    rgb = np.tile(colour(angle), (24, 32, 1))
    rgb[:8] = colour(angle + other)
    rgb[8:12] = 0.7  # grey has no hue
    rgb[12:] += np.random.default_rng(seed).normal(0, 0.001, (12, 32, 3))
    found = of_picture(modality, rgb)["hue"]
    assert abs((found - angle + 180) % 360 - 180) < 0.5
    assert 0 <= found < 360
    assert of_picture(modality, np.full((8, 8, 3), 0.4))["hue"] == 0.0


@pictures
@checked
@given(black=st.integers(0, 10), white=st.integers(0, 10))
def test_image_dark_and_image_bright_are_the_shares_of_black_and_white(modality, black, white):
    rgb = np.full((20, 8, 3), 0.5)
    rgb[:black], rgb[20 - white :] = 0.02, 0.99
    found = of_picture(modality, rgb)
    assert (found["dark"], found["bright"]) == pytest.approx((black / 20, white / 20))


@checked
@given(st.floats(20, 120), st.floats(20, 120))
def test_camera_view_x_and_camera_view_y_are_the_angles_between_the_outermost_rays(wide, high):
    rays_x = np.tan(np.radians(wide / 2)) * np.linspace(-1, 1, 32)
    rays_y = np.tan(np.radians(high / 2)) * np.linspace(-1, 1, 24)
    x, y = np.meshgrid(rays_x, rays_y)
    found = told("camera", np.dstack([noise(0), x, y]))
    assert found["camera.view_x"] == pytest.approx(wide, abs=1e-3)
    assert found["camera.view_y"] == pytest.approx(high, abs=1e-3)


@checked
@given(seeds, st.floats(0.01, 0.1))
def test_video_motion_is_how_fast_brightness_changes(seed, step):
    still = np.repeat(noise(seed)[None] * 0.2, 8, 0)
    brighter = still + step * np.arange(8)[:, None, None, None]
    assert told("video", still)["video.motion"] == 0.0
    assert told("video", brighter)["video.motion"] == pytest.approx(8 * step, rel=1e-4)


@checked
@given(seeds, st.integers(2, 26), st.integers(2, 18))
def test_video_motion_x_and_video_motion_y_are_where_something_moves(seed, column, row):
    clip = np.repeat(noise(seed)[None] * 0.5, 8, 0)
    clip[::2, row : row + 4, column : column + 4] += 0.4
    found = told("video", clip)
    assert found["video.motion_x"] == pytest.approx((column + 2) / 32, abs=1e-4)
    assert found["video.motion_y"] == pytest.approx((row + 2) / 24, abs=1e-4)
    assert found["video.moving"] == pytest.approx(16 / (24 * 32))
    still = told("video", clip[:1].repeat(8, 0))
    assert (still["video.motion_x"], still["video.motion_y"], still["video.moving"]) == (0.5, 0.5, 0.0)


@checked
@given(st.integers(0, 24))
def test_video_moving_is_the_share_of_the_picture_that_changes_at_any_time(rows):
    clip = np.full((8, 24, 32, 3), 0.5)
    for k in range(rows):
        clip[k % 7 + 1, k] += 0.1
    assert told("video", clip)["video.moving"] == pytest.approx(rows / 24)


def holes(seed: int, frame: np.ndarray, share: float = 0.3) -> np.ndarray:
    """The frame with holes, but for the pixels that are nearer than 1.5 m."""
    lost = np.random.default_rng(seed).random(frame.shape[:2]) < share
    return np.where((lost & (frame[..., 0] > 1.5))[..., None], 0, frame)


@checked
@given(seeds, st.floats(0.2, 0.9), st.integers(0, 44), st.integers(0, 60))
def test_depth_nearest_and_depth_nearest_x_and_depth_nearest_y_find_what_is_near(seed, distance, row, column):
    frame = holes(seed, block(48, 64, row, column, 4, distance, 3.0))
    frame[row + 2, column + 1] -= 0.1
    found = told("depth", frame)
    assert found["depth.nearest"] == pytest.approx(distance - 0.1, abs=1e-5)
    assert found["depth.nearest_x"] == pytest.approx((column + 1.5) / 64)
    assert found["depth.nearest_y"] == pytest.approx((row + 2.5) / 48)


@checked
@given(seeds, st.floats(2.0, 9.0), st.floats(0.1, 5.0))
def test_depth_median_and_depth_farthest_and_depth_spread_are_of_what_came_back(seed, wall, behind):
    frame = np.full((48, 64, 1), wall)
    frame[:12] += behind
    found = told("depth", holes(seed, frame))
    assert found["depth.median"] == pytest.approx(wall, rel=1e-5)
    assert found["depth.farthest"] == pytest.approx(wall + behind, rel=1e-5)
    assert found["depth.spread"] == pytest.approx(behind, abs=1e-4)


@checked
@given(seeds, st.floats(2.0, 9.0))
def test_depth_middle_is_of_what_stands_in_the_middle_of_the_view(seed, distance):
    frame = np.full((48, 64, 1), 12.0)
    frame[16:32, 22:42] = distance
    found = told("depth", holes(seed, frame))
    assert found["depth.middle"] == pytest.approx(distance, rel=1e-5)
    assert found["depth.median"] == 12.0


@checked
@given(st.integers(0, 48), st.floats(0.1, 0.99))
def test_depth_near_is_the_share_within_a_metre(rows, distance):
    frame = np.full((48, 64, 1), 2.0)
    frame[:rows] = distance
    frame[rows:, :10] = 0  # holes are not near
    assert told("depth", frame)["depth.near"] == pytest.approx(rows / 48)


@checked
@given(seeds, st.floats(0, 1))
def test_depth_valid_is_the_share_that_came_back(seed, share):
    lost = np.random.default_rng(seed).random((48, 64)) < share
    assert told("depth", np.where(lost, 0, 2.0)[..., None])["depth.valid"] == pytest.approx(1 - lost.mean())


def around(points: list, seed: int = 0) -> dict[str, float]:
    """Facts of single points (bearing deg, elevation deg, range m) as a LiDAR sees them."""
    bearing, elevation, distance = np.array(points, np.float64).T
    a, b = np.radians(bearing), np.radians(elevation)
    level = distance * np.cos(b)
    intensity = np.random.default_rng(seed).random(len(points))
    cloud = np.column_stack([level * np.cos(a), level * np.sin(a), distance * np.sin(b), intensity])
    return told("lidar", range_image(cloud.astype(np.float32), (32, 256)))


@checked
@given(st.floats(-179, 179), st.floats(-20, 2), st.floats(1, 20))
def test_lidar_nearest_and_lidar_bearing_are_of_the_nearest_point(bearing, elevation, distance):
    found = around([(bearing, elevation, distance), (-bearing / 2, -10, 25), (120, -1, 60)])
    assert found["lidar.nearest"] == pytest.approx(distance, rel=1e-4)
    assert abs((found["lidar.bearing"] - bearing + 180) % 360 - 180) <= 0.71  # half a column
    assert found["lidar.farthest"] == pytest.approx(60, rel=1e-4)


@checked
@given(st.lists(st.floats(1, 60), min_size=3, max_size=40, unique=True))
def test_lidar_median_and_lidar_farthest_and_lidar_spread_are_of_the_returns(distances):
    found = around([(360 * k / len(distances) - 179, -5, distance) for k, distance in enumerate(distances)])
    low, high = np.percentile(distances, [5, 95])
    assert found["lidar.median"] == pytest.approx(np.median(distances), rel=1e-4)
    assert found["lidar.farthest"] == pytest.approx(max(distances), rel=1e-4)
    assert found["lidar.spread"] == pytest.approx(high - low, rel=1e-3, abs=1e-3)
    assert found["lidar.returned"] == pytest.approx(len(distances) / (32 * 256))


@pytest.mark.parametrize("name, forward", [("free", 0), ("free_left", 90), ("free_right", -90)])
@checked
@given(aside=st.floats(-14, 14), distance=st.floats(2, 90))
def test_lidar_free_and_lidar_free_left_and_lidar_free_right_see_what_stands_there(name, forward, aside, distance):
    ground, beside, behind = (forward, -20, 1.0), (forward + 30, 0, 1.5), (forward + 180, 0, 1.5)
    found = around([ground, beside, behind, (forward + aside, 0, distance), (forward - aside, 1, 95)])
    assert found[f"lidar.{name}"] == pytest.approx(distance, rel=1e-4)
    assert around([ground, beside, behind])[f"lidar.{name}"] == 100.0
    assert told("lidar", np.zeros((32, 256, 2)))[f"lidar.{name}"] == 0.0


@checked
@given(seeds, st.floats(0, 1))
def test_lidar_returned_and_lidar_intensity_are_of_the_returns_only(seed, share):
    rng = np.random.default_rng(seed)
    back = rng.random((32, 256)) < share
    back[0, 0] = True
    intensity = np.where(back, rng.random((32, 256)), 0)
    found = told("lidar", np.dstack([np.where(back, 10.0, 0), intensity]))
    assert found["lidar.returned"] == pytest.approx(back.mean())
    assert found["lidar.intensity"] == pytest.approx(intensity[back].mean(), rel=1e-5)


def room(seed: int, kelvin: float = 293.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(kelvin, 0.2, (24, 32, 1)).clip(kelvin - 1, kelvin + 1)


@checked
@given(seeds, st.integers(0, 23), st.integers(0, 31), st.floats(295, 400))
def test_thermal_hottest_and_thermal_hottest_x_and_thermal_hottest_y_find_the_heat(seed, row, column, kelvin):
    frame = room(seed)
    frame[row, column] = kelvin
    found = told("thermal", frame)
    assert found["thermal.hottest"] == pytest.approx(kelvin)
    assert found["thermal.hottest_x"] == pytest.approx((column + 0.5) / 32)
    assert found["thermal.hottest_y"] == pytest.approx((row + 0.5) / 24)
    assert found["thermal.contrast"] == pytest.approx(kelvin - found["thermal.median"], abs=1e-3)


@checked
@given(seeds, st.floats(200, 291))
def test_thermal_coldest_is_the_coldest_pixel(seed, kelvin):
    frame = room(seed)
    frame[3, 4] = kelvin
    assert told("thermal", frame)["thermal.coldest"] == pytest.approx(kelvin)


@checked
@given(st.integers(0, 11), st.floats(250, 320), st.floats(1, 30))
def test_thermal_median_and_thermal_contrast_are_the_background_and_what_stands_out_of_it(rows, kelvin, warmer):
    frame = np.full((24, 32, 1), kelvin)
    frame[:rows] += warmer
    found = told("thermal", frame)
    assert found["thermal.median"] == pytest.approx(kelvin)
    assert found["thermal.contrast"] == pytest.approx(warmer if rows else 0, abs=1e-3)


@checked
@given(st.integers(2, 22), st.floats(0.5, 30))
def test_thermal_spread_of_a_room_of_two_temperatures_is_their_difference(rows, apart):
    frame = np.full((24, 32, 1), 290.0)
    frame[:rows] += apart
    assert told("thermal", frame)["thermal.spread"] == pytest.approx(apart, abs=1e-3)


@checked
@given(seeds, st.integers(0, 6))
def test_thermal_spots_counts_what_is_three_kelvin_warmer(seed, spots):
    frame = room(seed)
    frame[20:22, :] += 1.0  # a warm pipe is no hot spot
    for k in range(spots):
        frame[2 + 8 * (k % 2) : 6 + 8 * (k % 2), 2 + 10 * (k // 2) : 5 + 10 * (k // 2)] = 303.0
    assert told("thermal", frame)["thermal.spots"] == spots


@checked
@given(seeds, st.integers(0, 10))
def test_thermal_person_is_the_share_as_warm_as_skin_and_clothes_before_something_colder(seed, columns):
    frame = room(seed)
    frame[:, 31] = 360.0  # a stove is nobody
    frame[:, :columns] = 304.0
    assert told("thermal", frame)["thermal.person"] == pytest.approx(columns / 32)
    assert told("thermal", room(seed, 305.0))["thermal.person"] == 0.0  # in a room as warm as skin nobody stands out


def finger(x: float, y: float, long: float = 2.0, wide: float = 2.0, degrees: float = 0.0) -> np.ndarray:
    """(32, 32) the mark of one finger in the middle of which capacitance is 1; its long axis is turned to `degrees`."""
    columns, rows = np.meshgrid(np.arange(32) - x, np.arange(32) - y)
    a = np.radians(degrees)
    along, across = columns * np.cos(a) - rows * np.sin(a), columns * np.sin(a) + rows * np.cos(a)
    return np.exp(-0.5 * ((along / long) ** 2 + (across / wide) ** 2))


def of_touch(*fingers: np.ndarray, level: float = 0.1, strength: float = 0.5, seed: int | None = None) -> dict:
    frame = level + strength * sum(fingers, np.zeros((32, 32)))
    if seed is not None:
        frame = frame + np.random.default_rng(seed).normal(0, 0.004, (32, 32))
    return told("capacitance", frame[..., None])


@checked
@given(seeds, st.integers(0, 6), st.floats(0.3, 0.9))
def test_capacitance_contacts_counts_fingers_of_uneven_strength(seed, fingers, strength):
    rng = np.random.default_rng(seed)
    marks = [
        finger(5 + 11 * (k % 3), 7 + 16 * (k // 3), 1.2, 1.2) * (1 if k == 0 else rng.uniform(0.6, 1))
        for k in range(fingers)
    ]
    assert of_touch(*marks, strength=strength, seed=seed)["capacitance.contacts"] == fingers


@checked
@given(seeds, st.floats(0.1, 0.9), st.floats(-0.2, 0.2))
def test_capacitance_strongest_and_capacitance_level_are_told_apart(seed, strength, level):
    found = of_touch(finger(16, 12), finger(26, 26) * 0.7, strength=strength, level=level)
    assert found["capacitance.strongest"] == pytest.approx(strength, abs=0.01)
    assert found["capacitance.level"] == pytest.approx(level, abs=0.01)


@checked
@given(st.floats(7, 24), st.floats(7, 24), seeds)
def test_capacitance_x_and_capacitance_y_are_the_middle_of_the_strongest_contact(x, y, seed):
    weak = finger((x + 16) % 32, (y + 16) % 32, 0.8, 0.8) * 0.5
    found = of_touch(finger(x, y), weak, seed=seed)
    assert found["capacitance.x"] == pytest.approx((x + 0.5) / 32, abs=0.005)
    assert found["capacitance.y"] == pytest.approx((y + 0.5) / 32, abs=0.005)


@checked
@given(st.integers(1, 8), st.integers(1, 8), st.floats(0.3, 0.9))
def test_capacitance_area_and_capacitance_touched_are_shares_of_the_panel(height, width, strength):
    mark, other = np.zeros((32, 32)), np.zeros((32, 32))
    mark[3 : 3 + height, 5 : 5 + width] = 1
    other[20:22, 20:24] = 0.5
    found = of_touch(mark, other, strength=strength)
    assert found["capacitance.area"] == pytest.approx(height * width / 1024)
    assert found["capacitance.touched"] == pytest.approx((height * width + 8) / 1024)


@checked
@given(st.floats(1.0, 2.0), st.floats(0, 179), st.floats(15, 17))
def test_capacitance_elongation_is_length_for_width_however_the_finger_lies(longer, degrees, place):
    found = of_touch(finger(place, 16, 2.5 * longer, 2.5, degrees))
    assert found["capacitance.elongation"] == pytest.approx(longer, rel=0.1)


@checked
@given(st.floats(0, 179.9), seeds)
def test_capacitance_orientation_is_the_angle_of_the_finger_counter_clockwise(degrees, seed):
    found = of_touch(finger(16, 16, 4, 2, degrees), seed=seed)["capacitance.orientation"]
    assert abs((found - degrees + 90) % 180 - 90) < 3
    assert 0 <= found < 180


@checked
@given(seeds, st.floats(1e-4, 10))
def test_noise_and_an_untouched_panel_have_no_contact(seed, size):
    noisy = size * np.random.default_rng(seed).normal(0, 1, (32, 32, 1))
    for frame in (noisy, np.full((32, 32, 1), size), np.zeros((32, 32, 1))):
        found = told("capacitance", frame)
        assert found["capacitance.contacts"] == 0
        assert {found[f"capacitance.{name}"] for name in ("strongest", "x", "y", "area", "elongation")} == {0.0}


@checked
@given(seeds, st.floats(0.05, 0.95), st.integers(1, 14), st.integers(1, 14))
def test_regions_are_those_of_a_flood(seed, share, height, width):
    mask = np.random.default_rng(seed).random((height, width)) < share
    numbers, count = regions(mask)
    wanted, found = np.full(mask.shape, -1), 0
    for start in zip(*np.nonzero(mask), strict=True):
        if wanted[start] >= 0:
            continue
        wait = [start]
        while wait:
            row, column = wait.pop()
            if 0 <= row < height and 0 <= column < width and mask[row, column] and wanted[row, column] < 0:
                wanted[row, column] = found
                wait += [(row + i, column + j) for i in (-1, 0, 1) for j in (-1, 0, 1)]
        found += 1
    assert count == found
    assert np.array_equal(numbers, wanted)


def test_a_region_that_winds_through_the_whole_frame_is_one():
    mask = np.zeros((127, 128), bool)
    mask[::2] = True
    mask[1::4, -1] = mask[3::4, 0] = True
    assert regions(mask)[1] == 1
    mask[63] = False
    assert regions(mask)[1] == 2


@pytest.mark.parametrize("modality", [m for m, row in MODALITIES.items() if "height" in row.axes])
@pytest.mark.parametrize("value", [0.0, 1.0, -3.0, 1e30, "noise", "spike"])
@pytest.mark.parametrize("size", [(4, 4), (1, 1), (24, 32)])
def test_degenerate_windows_have_finite_facts(modality, value, size):
    row = MODALITIES[modality]
    for frames in (8, 1):
        shape = (*((frames,) if "time" in row.axes else ()), *size, len(row.channels))
        values = np.full(shape, 0.0 if isinstance(value, str) else value, np.float32)
        if value == "noise":
            values = np.random.default_rng(0).normal(0, 1e3, shape)
        if value == "spike":
            values[..., 0, 0, 0] = 1e30
        found = told(modality, values)
        assert set(found) == set(FAMILIES[modality].facts)
        assert np.isfinite(list(found.values())).all()
        assert all(type(number) is float for number in found.values())


def test_every_fact_has_a_unit_a_formula_and_a_property():
    tested = " ".join(name for name in globals() if name.startswith("test_"))
    for name, fact in {**IMAGE, **CAMERA, **VIDEO, **DEPTH, **LIDAR, **THERMAL, **CAPACITANCE}.items():
        assert FACTS[name] == fact.unit
        assert re.search(r": .*[(/|]", fact.of.__doc__ or ""), f"{name} has no formula"
        modality, what = name.split(".")
        shared = f"image_{what}" if modality in PICTURES and f"image.{what}" in IMAGE else f"{modality}_{what}"
        assert shared in tested, f"{name} has no property test"
