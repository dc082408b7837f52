"""Rays and shapes: distances that are known, projections that invert rays, and the nearest surface by another way."""

import numpy as np
import pytest

from edge.simulator.geometry import (
    NOTHING,
    Camera,
    Material,
    Shapes,
    attitude,
    axis_angle,
    cast,
    echoes,
    overlay,
    rotation,
    shade,
    sweep,
    warmth,
)

GREY = Material()
AHEAD = np.array([[1.0, 0.0, 0.0]])


def one(shapes: Shapes, origin=(0.0, 0.0, 0.0), direction=AHEAD):
    hits = cast(origin, np.asarray(direction, float), shapes)
    return hits.range[0], hits.normal[0]


def test_a_sphere_is_met_where_it_is():
    shapes = Shapes.spheres([(5, 0, 0)], 1.0, GREY)
    assert one(shapes)[0] == pytest.approx(4.0)
    assert one(shapes)[1] == pytest.approx((-1, 0, 0))
    assert one(shapes, origin=(0, 0.6, 0))[0] == pytest.approx(5 - 0.8)
    assert one(shapes, origin=(0, 1.01, 0))[0] == np.inf
    assert one(shapes, origin=(10, 0, 0))[0] == np.inf  # behind


def test_a_capsule_is_met_at_its_side_and_at_both_caps():
    upright = Shapes.capsules([(5, 0, 0)], [(5, 0, 2)], 0.5, GREY)
    assert one(upright, origin=(0, 0, 1))[0] == pytest.approx(4.5)
    assert one(upright, origin=(0, 0.3, 1))[0] == pytest.approx(5 - 0.4)
    assert one(upright, origin=(0, 0, 2.3))[0] == pytest.approx(5 - 0.4)
    assert one(upright, origin=(0, 0, -0.3))[0] == pytest.approx(5 - 0.4)
    assert one(upright, origin=(0, 0, 2.6))[0] == np.inf
    lying = Shapes.capsules([(5, 0, 0)], [(8, 0, 0)], 0.5, GREY)
    assert one(lying, origin=(0, 0.3, 0))[0] == pytest.approx(5 - 0.4)  # along the axis
    assert one(lying, (12, 0, 0), [(-1, 0, 0)])[0] == pytest.approx(3.5)
    assert one(Shapes.capsules([(5, 0, 0)], [(5, 0, 0)], 1.0, GREY))[0] == pytest.approx(4.0)  # without length


def test_a_box_is_met_at_its_faces_however_it_is_turned():
    box = Shapes.boxes([(5, 0, 0)], [(2, 4, 6)], GREY)
    assert one(box)[0] == pytest.approx(4.0)
    assert one(box)[1] == pytest.approx((-1, 0, 0))
    assert one(box, (5, 0, 9), [(0, 0, -1)])[0] == pytest.approx(6.0)
    assert one(box, origin=(0, 2.01, 0))[0] == np.inf
    turned = Shapes.boxes([(5, 0, 0)], [(2, 2, 2)], GREY, rotation((0, 0, np.pi / 4)))
    assert one(turned)[0] == pytest.approx(5 - np.sqrt(2))
    assert one(turned, origin=(0, 0.5, 0))[1] == pytest.approx((-np.sqrt(0.5), np.sqrt(0.5), 0))


def test_a_plane_is_met_from_both_sides():
    wall = Shapes.planes([(2, 0, 0)], 6.0, GREY)  # the normal needs no unit length
    assert one(wall)[0] == pytest.approx(3.0)
    assert one(wall)[1] == pytest.approx((-1, 0, 0))
    assert one(wall, (5, 0, 0), [(-1, 0, 0)])[1] == pytest.approx((1, 0, 0))
    assert one(wall, (0, 0, 0), [(0, 1, 0)])[0] == np.inf


def scenery(seed: int) -> Shapes:
    rng = np.random.default_rng(seed)
    return (
        Shapes.capsules(rng.normal(0, 1, (8, 3)), rng.normal(0, 1, (8, 3)), rng.uniform(0.05, 0.3, 8), GREY)
        + Shapes.spheres(rng.normal(0, 1, (4, 3)), rng.uniform(0.1, 0.3, 4), GREY)
        + Shapes.boxes(
            rng.normal(0, 1, (4, 3)), rng.uniform(0.1, 0.8, (4, 3)), GREY, rotation(rng.normal(0, 1, (4, 3)))
        )
        + Shapes.planes([(0, 0, 1)], -2.0, GREY)
    )


def distances(points: np.ndarray, shapes: Shapes) -> np.ndarray:
    """(S, N) from each shape's surface to the points."""
    found = []
    for c in shapes.capsule:
        start, axis = c[:3], c[3:6] - c[:3]
        share = np.clip((points - start) @ axis / (axis @ axis), 0, 1)
        found.append(np.linalg.norm(points - start - share[:, None] * axis, axis=1) - c[6])
    found += [np.linalg.norm(points - s[:3], axis=1) - s[3] for s in shapes.sphere]
    for b in shapes.box:
        over = np.abs((points - b[:3]) @ b[6:15].reshape(3, 3)) - b[3:6]
        found.append(np.linalg.norm(np.maximum(over, 0), axis=1) + np.minimum(over.max(1), 0))
    found += [np.abs(points @ p[:3] - p[3]) for p in shapes.plane]
    return np.array(found)


@pytest.mark.parametrize("seed", range(3))
def test_rays_meet_what_marching_along_them_meets(seed):
    shapes = scenery(seed)
    camera = Camera.looking((4, 1, 1), (0, 0, 0), 25.0, (24, 32))
    directions = camera.rays().reshape(-1, 3)
    hits = cast(camera.position, directions, shapes)
    gone = np.zeros(len(directions))
    for _ in range(2000):
        gone = np.minimum(gone + distances(camera.position + gone[:, None] * directions, shapes).min(0), 1e4)
    reached = gone < 1e3
    assert np.array_equal(reached, np.isfinite(hits.range))
    assert np.array_equal(reached, hits.shape != NOTHING)
    assert 0.2 < reached.mean() < 1
    assert np.allclose(hits.range[reached], gone[reached], atol=1e-3)
    points = camera.position + hits.range[reached, None] * directions[reached]
    assert np.array_equal(distances(points, shapes).argmin(0), hits.shape[reached])
    slope = [distances(points + d, shapes) - distances(points - d, shapes) for d in 1e-6 * np.eye(3)]
    outwards = np.stack(slope, -1)[hits.shape[reached], np.arange(len(points))] / 2e-6
    solid = hits.shape[reached] < shapes.count - 1
    assert np.allclose(hits.normal[reached][solid], outwards[solid], atol=1e-4)
    assert ((hits.normal * directions).sum(1)[reached] < 0).all()


def test_what_moves_before_what_stands_is_what_all_of_it_would_be():
    still, moving = scenery(3), Shapes.spheres([(1.5, 0.2, 0.2)], 0.3, Material((1, 0, 0), 310.0))
    moving = moving + Shapes.capsules([(2, -1, 0)], [(2, -1, 1)], 0.2, Material((0, 1, 0), 300.0))
    camera = Camera.looking((4, 1, 1), (0, 0, 0), 25.0, (24, 32))
    directions = camera.rays().reshape(-1, 3)
    whole = cast(camera.position, directions, still + moving)
    hits = overlay(cast(camera.position, directions, still), camera.position, directions, moving)
    for name in ("range", "normal", "surface"):
        assert np.allclose(getattr(hits, name), getattr(whole, name), atol=1e-9)
    assert np.array_equal(hits.shape < NOTHING, whole.surface[:, 3] > 299)
    assert set(hits.shape[hits.shape < NOTHING]) == {-2, -3}


def test_projection_inverts_rays_and_knows_what_is_behind():
    camera = Camera.looking((1, 2, 3), (-1, 0.5, 0.2), 40.0, (48, 64))
    away = np.random.default_rng(0).uniform(0.5, 9, (48, 64, 1))
    column, row, depth = np.moveaxis(camera.project(camera.position + away * camera.rays()), -1, 0)
    assert np.allclose(column, np.arange(64)[None, :], atol=1e-9)
    assert np.allclose(row, np.arange(48)[:, None], atol=1e-9)
    assert np.allclose(depth, away[..., 0] / np.sqrt(1 + (camera.slopes**2).sum(-1)))
    assert camera.project((5.0, 5.0, 9.0))[2] < 0
    assert np.allclose(camera.rotation @ camera.rotation.T, np.eye(3))
    assert np.linalg.det(camera.rotation) == pytest.approx(1.0)
    assert camera.rotation[0, 2] == pytest.approx(0.0)  # a level horizon ...
    assert camera.rotation[1, 2] < 0  # ... with down below


def test_depth_is_along_the_axis_and_a_wall_has_one():
    camera = Camera.looking((0, 0, 1), (1, 0, 1), 40.0, (48, 64))
    hits = camera.cast(Shapes.planes([(1, 0, 0)], 3.0, GREY))
    assert np.allclose(camera.depth(hits), 3.0)
    assert hits.range.max() > 3.5
    assert np.array_equal(camera.depth(camera.cast(Shapes())), np.zeros((48, 64, 1)))


def test_colour_warmth_and_echoes_are_those_of_what_is_met():
    red, cold = Material((1.0, 0.0, 0.0), 310.0, 0.8), Material((0.0, 0.0, 1.0), 280.0, 0.4)
    shapes = Shapes.spheres([(2, 0, 0)], 0.5, red) + Shapes.boxes([(0, 3, 0)], [(1, 1, 1)], cold)
    directions = np.array([[1.0, 0, 0], [0, 1, 0], [0, 0, 1]])
    hits = cast((0, 0, 0), directions, shapes)
    assert hits.shape.tolist() == [0, 1, NOTHING]
    lit = shade(hits, light=(-1, 0, 0), ambient=0.3, sky=(0.5, 0.6, 0.7))
    assert lit == pytest.approx(np.array([[1.0, 0, 0], [0, 0, 0.3], [0.5, 0.6, 0.7]]))
    assert warmth(hits, sky=260.0).tolist() == [310.0, 280.0, 260.0]
    assert echoes(hits, directions) == pytest.approx(np.array([[1.5, 0.8], [2.5, 0.4], [0, 0]]))
    assert echoes(hits, directions, reach=2.0)[1].tolist() == [0, 0]


def test_a_sweep_goes_once_around_from_top_to_bottom():
    directions = sweep((32, 256), 0.2, -0.4)
    assert np.allclose(np.linalg.norm(directions, axis=-1), 1)
    assert np.allclose(np.arcsin(directions[:, 0, 2]), np.linspace(0.2, -0.4, 32))
    assert np.abs(directions[0, 127:129, 1]).max() < 0.02  # forward is the middle ...
    assert directions[0, 127, 0] > 0.9
    assert directions[0, 64, 1] > 0.9  # ... and left is left of it


def test_rotations_turn_back_into_what_they_were_made_of():
    rng = np.random.default_rng(1)
    turn = rng.normal(0, 1, (200, 3))
    turn *= rng.uniform(0, np.pi, (200, 1)) / np.linalg.norm(turn, axis=1, keepdims=True)
    assert np.allclose(axis_angle(rotation(turn)), turn, atol=1e-7)
    for hard in ((0, 0, 0), (0, 1e-9, 0), (np.pi, 0, 0), tuple(np.pi * np.sqrt([0.5, 0.5, 0]))):
        assert np.allclose(rotation(axis_angle(rotation(hard))), rotation(hard))
    parts = rotation((0, 0, 0.3)) @ rotation((0, 0.2, 0)) @ rotation((0.1, 0, 0))
    assert np.allclose(attitude(0.3, 0.2, 0.1), parts)


def test_materials_have_to_be_one_for_each():
    with pytest.raises(ValueError, match="2 materials for 3 shapes"):
        Shapes.spheres(np.zeros((3, 3)), 1.0, [GREY, GREY])
