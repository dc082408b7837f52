"""Frames: resizing that invents nothing, holes that stay holes, and points that become a range image."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.errors import ConfigError, DataError
from edge.frames import nearest, resize, resize_ranges, show
from edge.rangeimage import FIELD_DEG, bearings, elevations, range_image
from edge.simulator.geometry import sweep

seeds = st.integers(0, 2**32)
sides = st.integers(4, 60)
checked = settings(max_examples=60, deadline=None)


def picture(seed: int, height: int, width: int, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).random((height, width, channels)).astype(np.float32)


@checked
@given(sides, sides, sides, sides, st.floats(-1e4, 1e4, width=32))
def test_a_constant_stays_what_it_is(height, width, rows, columns, value):
    frame = np.full((height, width, 2), value, np.float32)
    resized = resize(frame, (rows, columns))
    assert resized.shape == (rows, columns, 2)
    assert resized.dtype == np.float32
    assert np.array_equal(resized, np.full_like(resized, value))


@checked
@given(seeds, st.integers(4, 12), st.integers(4, 12), st.integers(1, 6), st.integers(1, 6))
def test_a_whole_factor_preserves_the_mean_and_is_the_mean_of_blocks(seed, rows, columns, down, across):
    frame = picture(seed, rows * down, columns * across)
    resized = resize(frame, (rows, columns))
    blocks = frame.astype(np.float64).reshape(rows, down, columns, across, 3).mean((1, 3))
    assert resized == pytest.approx(blocks, abs=1e-6)
    assert resized.mean(dtype=np.float64) == pytest.approx(frame.mean(dtype=np.float64), abs=1e-6)


@checked
@given(seeds, sides, sides)
def test_a_frame_of_the_right_size_is_passed_through_to_the_bit(seed, height, width):
    frame = picture(seed, height, width) * 1e5
    assert np.array_equal(resize(frame, (height, width)), frame)


@checked
@given(seeds, sides, sides, sides, sides)
def test_no_value_leaves_the_range_of_the_frame_and_brighter_pixels_make_nothing_darker(
    seed, height, width, rows, columns
):
    frame = picture(seed, height, width)
    brighter = frame + np.random.default_rng(seed + 1).random(frame.shape).astype(np.float32)
    resized = resize(frame, (rows, columns))
    assert frame.min() <= resized.min() <= resized.max() <= frame.max()
    assert (resize(brighter, (rows, columns)) >= resized).all()


@checked
@given(sides, sides, sides, sides)
def test_nothing_moves_by_more_than_an_eighth_of_a_pixel(height, width, rows, columns):
    """Slopes that tell where a pixel is tell where a cell is; growing and whole factors are exact but for the rim."""
    y, x = np.meshgrid((np.arange(height) + 0.5) / height, (np.arange(width) + 0.5) / width, indexing="ij")
    resized = resize(np.stack([x, y], -1), (rows, columns))
    for slope, there, wanted in ((resized[0, :, 0], width, columns), (resized[:, 0, 1], height, rows)):
        place = ((np.arange(wanted) + 0.5) / wanted).clip(0.5 / there, 1 - 0.5 / there)
        exact = wanted >= there or there % wanted == 0
        assert np.abs(slope - place).max() <= (1e-6 if exact else 0.1251 / there)


def test_a_pattern_too_fine_for_the_grid_turns_grey():
    stripes = np.tile(np.arange(480) % 2, (96, 1))[..., None].astype(np.float32)
    assert np.abs(resize(stripes, (32, 64)) - 0.5).max() < 0.07
    assert {0.0, 1.0} >= set(np.unique(nearest(stripes, (32, 64))))


@checked
@given(seeds, sides, sides, sides, sides, st.floats(0.0, 0.9))
def test_holes_are_averaged_into_no_range(seed, height, width, rows, columns, share):
    rng = np.random.default_rng(seed)
    frame = rng.uniform(2.0, 5.0, (height, width, 1)).astype(np.float32)
    known = rng.random((height, width)) >= share
    resized = resize_ranges(np.where(known[..., None], frame, 0), known, (rows, columns))[..., 0]
    assert np.array_equal(resized > 0, nearest(known, (rows, columns)))
    assert ((resized == 0) | ((resized >= 2.0) & (resized <= 5.0))).all()


def test_a_wall_with_holes_is_as_far_as_the_wall_and_a_frame_of_holes_is_empty():
    wall = np.full((40, 40, 1), 3.0, np.float32)
    wall[::3, ::2] = 0
    resized = show(wall, (16, 16), ranges=True)
    assert set(np.unique(resized)) == {np.float32(0), np.float32(3)}
    assert not show(np.zeros((40, 40, 1)), (16, 16), ranges=True).any()
    assert not show(np.full((40, 40, 1), np.nan), (16, 16), ranges=True).any()


def test_a_hole_of_a_lidar_is_one_in_every_channel():
    frame = np.dstack([np.zeros((8, 8)), np.ones((8, 8))])
    frame[:4, :, 0] = 7.0
    resized = show(frame, (4, 4), ranges=True)
    assert np.array_equal(resized[:2], np.broadcast_to(np.float32([7, 1]), (2, 4, 2)))
    assert not resized[2:].any()


@checked
@given(seeds, st.sampled_from([np.uint8, np.int16, np.uint16, np.float16, np.float32, np.float64]))
def test_any_number_type_is_multiplied_by_its_scale(seed, dtype):
    frame = np.random.default_rng(seed).integers(0, 255, (12, 20, 1)).astype(dtype)
    shown = show(frame, (6, 10), 0.5)
    assert shown.dtype == np.float32
    assert np.array_equal(shown, resize(frame.astype(np.float32) * np.float32(0.5), (6, 10)))


@checked
@given(seeds, st.floats(0.01, 0.45), st.integers(4, 40))
def test_pixels_that_are_not_finite_are_bridged_and_too_many_show_nothing(seed, share, side):
    rng = np.random.default_rng(seed)
    frame = np.full((24, 32, 1), 295.0, np.float32)
    broken = rng.permutation(24 * 32)[: int(share * 24 * 32)]
    frame.reshape(-1)[broken] = rng.choice([np.nan, np.inf, -np.inf], len(broken))
    assert np.array_equal(show(frame, (side, side)), np.full((side, side, 1), 295, np.float32))
    frame[4:] = np.nan
    assert show(frame, (side, side)) is None


@checked
@given(st.integers(0, 31), st.integers(0, 255), st.floats(-0.45, 0.45), st.floats(-0.45, 0.45), st.floats(0.5, 90.0))
def test_a_point_at_a_known_azimuth_and_elevation_lands_in_its_cell_with_its_range(row, column, up, aside, distance):
    size, (top, bottom) = (32, 256), FIELD_DEG
    elevation = np.radians(top - (row + up) * (top - bottom) / 31)
    azimuth = np.radians(180 - (column + 0.5 + aside) * 360 / 256)
    level = distance * np.cos(elevation)
    point = [level * np.cos(azimuth), level * np.sin(azimuth), distance * np.sin(elevation), 0.25]
    image = range_image(np.array([point], np.float32), size)
    assert image.shape == (32, 256, 2)
    assert np.count_nonzero(image[..., 0]) == 1
    assert image[row, column] == pytest.approx([distance, 0.25], rel=1e-5)


@checked
@given(seeds, st.integers(2, 50))
def test_of_points_in_one_cell_the_nearest_wins_in_any_order(seed, n):
    rng = np.random.default_rng(seed)
    distances = rng.uniform(1, 50, n)
    points = np.stack([distances, np.zeros(n), np.zeros(n), rng.random(n)], 1).astype(np.float32)
    image = range_image(points, (8, 15))
    found = image[image[..., 0] > 0]
    assert found.shape == (1, 2)
    assert np.array_equal(found[0], points[distances.argmin()][[0, 3]])
    assert np.array_equal(image, range_image(points[rng.permutation(n)], (8, 15)))


def test_a_range_image_is_what_the_simulated_sweep_looks_at():
    """Rendering casts the rays of `sweep`; points along them come back into the cells that they were cast for."""
    size = (16, 64)
    distance = np.random.default_rng(0).uniform(1, 80, size)
    directions = sweep(size, *np.radians(FIELD_DEG))
    points = np.concatenate([directions * distance[..., None], np.full((*size, 1), 0.5)], -1)
    image = range_image(points.reshape(-1, 4).astype(np.float32), size)
    assert image[..., 0] == pytest.approx(distance, rel=1e-5)
    assert np.degrees(np.arctan2(directions[0, :, 1], directions[0, :, 0])) == pytest.approx(bearings(64))
    assert np.degrees(np.arcsin(directions[:, 0, 2])) == pytest.approx(elevations(16))


def test_points_that_no_ring_sees_are_left_out():
    ahead, above, below = [5, 0, 0, 1], [1, 0, 5, 1], [1, 0, -5, 1]
    broken, inside = [np.nan, 0, 0, 1], [0, 0, 0, 1]
    image = range_image(np.array([ahead, above, below, broken, inside], np.float32), (32, 256))
    assert np.count_nonzero(image[..., 0]) == 1
    assert not range_image(np.empty((0, 4), np.float32), (32, 256)).any()


def test_points_and_fields_that_make_no_image_say_why():
    with pytest.raises(DataError, match=r"\(5, 3\)"):
        range_image(np.zeros((5, 3), np.float32), (32, 256))
    with pytest.raises(ConfigError, match="two rings"):
        range_image(np.zeros((5, 4), np.float32), (1, 256))
    with pytest.raises(ConfigError, match="field"):
        range_image(np.zeros((5, 4), np.float32), (32, 256), (-25.0, 3.0))
