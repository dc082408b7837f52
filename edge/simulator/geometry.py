"""Rays and shapes: what a camera, a depth sensor, a thermal array or a LiDAR in a simulated place would hit.

A place is a set of primitives (capsules for limbs and poles, spheres, boxes, planes), a sensor a bundle of rays from
one point. `cast` finds what each ray meets first; image, depth, thermal and LiDAR frames are looked up in its answer,
so that they agree. Axes of a place: x and y level, z up, metres. Axes of a camera: x right, y down, z forward. This
module knows nothing of people, of time or of noise, and it draws no shadows.

N is a number of rays, S of shapes, H and W of rows and columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

NOTHING = -1
"""Index of the shape that a ray into the void meets."""
_SURFACE = 5  # numbers of a material: red, green, blue, kelvin, reflectivity
_SLACK = 1e-6  # of a bounding sphere's radius: rounding loses no tangent


@dataclass(frozen=True, slots=True)
class Material:
    """How a surface looks: `colour` (red, green, blue) 0..1, temperature in `kelvin`, `reflectivity` to LiDAR 0..1."""

    colour: tuple[float, float, float] = (0.6, 0.6, 0.6)
    kelvin: float = 295.0
    reflectivity: float = 0.5


Materials = Material | Sequence[Material]
"""One for all shapes, or one for each."""


def rotation(turn: ArrayLike) -> Floats:
    """Rotation matrices (..., 3, 3) of axis-angle vectors `turn` (..., 3), rad (Rodrigues' formula)."""
    turn = np.asarray(turn, np.float64)
    angle = np.sqrt((turn * turn).sum(-1))[..., None, None]
    x, y, z = np.moveaxis(turn, -1, 0)
    zero = np.zeros_like(x)
    cross = np.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).reshape(*turn.shape, 3)
    # sin(a)/a and (1 - cos a)/a2, which have limits at 0
    sine, half = np.sinc(angle / np.pi), 0.5 * np.sinc(angle / (2 * np.pi)) ** 2
    matrix: Floats = np.eye(3) + sine * cross + half * (cross @ cross)
    return matrix


def axis_angle(matrix: Floats) -> Floats:
    """Axis-angle vectors (..., 3), of 0 to pi rad, of rotation matrices (..., 3, 3): the inverse of `rotation`."""
    m = matrix
    twice = np.stack([m[..., 2, 1] - m[..., 1, 2], m[..., 0, 2] - m[..., 2, 0], m[..., 1, 0] - m[..., 0, 1]], -1)
    # Of the four ways to a quaternion (w, x, y, z) the one that divides by the most.
    diagonal = np.stack([m[..., 0, 0], m[..., 1, 1], m[..., 2, 2]], -1)
    trace = diagonal.sum(-1, keepdims=True)
    outer = m + np.swapaxes(m, -1, -2) + (1 - trace[..., None]) * np.eye(3)  # 4 x (x, y, z) (x, y, z)T
    table = np.concatenate(
        [
            np.concatenate([1 + trace, twice], -1)[..., None, :],
            np.concatenate([twice[..., None], outer], -1),
        ],
        -2,
    )  # 4 x q qT
    largest = np.diagonal(table, axis1=-2, axis2=-1).argmax(-1)
    quaternion = _unit(np.take_along_axis(table, largest[..., None, None], -2)[..., 0, :])
    quaternion = np.where(quaternion[..., :1] < 0, -quaternion, quaternion)
    sine = np.sqrt((quaternion[..., 1:] ** 2).sum(-1, keepdims=True))
    angle = 2 * np.arctan2(sine, quaternion[..., :1])
    turn: Floats = quaternion[..., 1:] * np.where(sine > 1e-12, angle / np.maximum(sine, 1e-12), 2.0)
    return turn


def attitude(yaw: ArrayLike, pitch: ArrayLike, roll: ArrayLike) -> Floats:
    """Rotations (..., 3, 3) that turn about x by `roll`, then about y by `pitch`, then about z by `yaw`, rad.

    With z up, a positive pitch lowers the x axis.
    """
    yaw, pitch, roll = np.broadcast_arrays(*(np.asarray(angle, np.float64) for angle in (yaw, pitch, roll)))
    cy, sy, cp, sp, cr, sr = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch), np.cos(roll), np.sin(roll)
    rows = [cy * cp, cy * sp * sr - sy * cr, cy * sp * cr + sy * sr]
    rows += [sy * cp, sy * sp * sr + cy * cr, sy * sp * cr - cy * sr, -sp, cp * sr, cp * cr]
    return np.stack(rows, -1).reshape(*cy.shape, 3, 3)


@dataclass(frozen=True)
class Shapes:
    """Primitives as arrays, made by `capsules`, `spheres`, `boxes` and `planes` and joined by `+`.

    A shape's index counts all capsules first, then spheres, boxes and planes, each in the order in which they were
    joined. Each row of a table ends with the five numbers of its material.
    """

    capsule: Floats = field(default_factory=lambda: np.empty((0, 12)))
    """One end, the other end, radius."""
    sphere: Floats = field(default_factory=lambda: np.empty((0, 9)))
    """Centre, radius."""
    box: Floats = field(default_factory=lambda: np.empty((0, 20)))
    """Centre, half sizes, axes row by row."""
    plane: Floats = field(default_factory=lambda: np.empty((0, 9)))
    """Unit normal, offset."""

    @classmethod
    def capsules(cls, start: ArrayLike, end: ArrayLike, radius: ArrayLike, material: Materials) -> Shapes:
        """Segments from `start` (S, 3) to `end` (S, 3) with a `radius` (S,) or one for all, m."""
        start, end = _rows(start), _rows(end)
        return cls(capsule=np.concatenate([start, end, _column(radius, start), _surfaces(material, start)], 1))

    @classmethod
    def spheres(cls, centre: ArrayLike, radius: ArrayLike, material: Materials) -> Shapes:
        """Balls about `centre` (S, 3) with a `radius` (S,) or one for all, m."""
        centre = _rows(centre)
        return cls(sphere=np.concatenate([centre, _column(radius, centre), _surfaces(material, centre)], 1))

    @classmethod
    def boxes(cls, centre: ArrayLike, size: ArrayLike, material: Materials, axes: ArrayLike | None = None) -> Shapes:
        """Boxes about `centre` (S, 3) with full side lengths `size` (S, 3), m.

        `axes` (S, 3, 3), or one (3, 3) for all, turns a box's own axes into the place's (`rotation((0, 0, yaw))` for a
        car); upright where it is not given.
        """
        centre = _rows(centre)
        half = np.broadcast_to(_rows(size) / 2, centre.shape)
        turned = np.broadcast_to(np.eye(3) if axes is None else np.asarray(axes, np.float64), (len(centre), 3, 3))
        return cls(box=np.concatenate([centre, half, turned.reshape(-1, 9), _surfaces(material, centre)], 1))

    @classmethod
    def planes(cls, normal: ArrayLike, offset: ArrayLike, material: Materials) -> Shapes:
        """Endless planes of the points p with `normal` (S, 3) . p = `offset` (S,), m; both sides are seen."""
        normal = _rows(normal)
        length = np.linalg.norm(normal, axis=1, keepdims=True)
        table = [normal / length, _column(offset, normal) / length, _surfaces(material, normal)]
        return cls(plane=np.concatenate(table, 1))

    def __add__(self, other: Shapes) -> Shapes:
        return Shapes(
            np.concatenate([self.capsule, other.capsule]),
            np.concatenate([self.sphere, other.sphere]),
            np.concatenate([self.box, other.box]),
            np.concatenate([self.plane, other.plane]),
        )

    @property
    def count(self) -> int:
        """Number of shapes S."""
        return len(self.capsule) + len(self.sphere) + len(self.box) + len(self.plane)


def _rows(points: ArrayLike) -> Floats:
    return np.asarray(points, np.float64).reshape(-1, 3)


def _column(number: ArrayLike, like: Floats) -> Floats:
    return np.broadcast_to(np.asarray(number, np.float64), (len(like),))[:, None]


def _surfaces(material: Materials, like: Floats) -> Floats:
    each = [material] * len(like) if isinstance(material, Material) else list(material)
    if len(each) != len(like):
        raise ValueError(f"{len(each)} materials for {len(like)} shapes; give one, or one for each")
    return np.array([[*m.colour, m.kelvin, m.reflectivity] for m in each], np.float64).reshape(-1, 5)


@dataclass(frozen=True, slots=True)
class Hits:
    """What rays met first.

    `range` (N,) m along the ray, inf for nothing; `shape` (N,) index of the shape, -1 for nothing; `normal` (N, 3)
    unit, towards the ray's origin, 0 for nothing; `surface` (N, 5) the shape's colour, kelvin and reflectivity.
    """

    range: Floats
    shape: Ints
    normal: Floats
    surface: Floats

    @property
    def met(self) -> NDArray[np.bool_]:
        """(N,) whether there was anything."""
        met: NDArray[np.bool_] = self.shape != NOTHING
        return met


def cast(origin: ArrayLike, directions: Floats, shapes: Shapes) -> Hits:
    """What rays from `origin` (3,) along unit `directions` (N, 3) meet first. The origin lies in no shape."""
    start = np.asarray(origin, np.float64)
    kinds = (
        (_capsules, _capsule_normals, shapes.capsule),
        (_spheres, _sphere_normals, shapes.sphere),
        (_boxes, _box_normals, shapes.box),
        (_planes, _plane_normals, shapes.plane),
    )
    n = len(directions)
    best, which = np.full(n, np.inf), np.full(n, NOTHING, np.int64)
    normal, surface = np.zeros((n, 3)), np.zeros((n, _SURFACE))
    first = 0
    for meet, normals, table in kinds:
        if not len(table):
            continue
        range_NS = meet(start, directions, table)
        shape = range_NS.argmin(1)
        distance = range_NS[np.arange(n), shape]
        ray = np.flatnonzero(distance < best)
        point = start + distance[ray, None] * directions[ray]
        best[ray], which[ray] = distance[ray], shape[ray] + first
        normal[ray] = normals(point, directions[ray], table[shape[ray]])
        surface[ray] = table[shape[ray], -_SURFACE:]
        first += len(table)
    return Hits(best, which, normal, surface)


def overlay(still: Hits, origin: ArrayLike, directions: Floats, moving: Shapes) -> Hits:
    """What the same rays meet with `moving` capsules and spheres added: what stands still need be cast only once.

    `shape` counts the moving ones from -2 downwards. Far faster than `cast` where they fill little of the view.
    """
    start = np.asarray(origin, np.float64)
    points = np.concatenate([moving.capsule[:, :3], moving.capsule[:, 3:6], moving.sphere[:, :3]])
    radius = np.concatenate([moving.capsule[:, 6], moving.capsule[:, 6], moving.sphere[:, 3]])
    middle = (points.min(0) + points.max(0)) / 2
    reach = (np.sqrt(((points - middle) ** 2).sum(1)) + radius).max()
    near = _near(start, directions, middle[None], np.array([reach]))[0]
    front = cast(start, directions[near], moving)
    closer = front.range < still.range[near]
    ray = near[closer]
    hits = Hits(still.range.copy(), still.shape.copy(), still.normal.copy(), still.surface.copy())
    hits.range[ray], hits.shape[ray] = front.range[closer], -2 - front.shape[closer]
    hits.normal[ray], hits.surface[ray] = front.normal[closer], front.surface[closer]
    return hits


def _near(start: Floats, directions: Floats, centre: Floats, radius: Floats) -> tuple[Ints, Ints]:
    """Pairs (rays, shapes) that may meet, because the ray comes within `radius` (S,) of `centre` (S, 3) ahead."""
    away = centre - start
    along_NS = directions @ away.T
    far2 = (away * away).sum(1)
    reach2 = (radius * (1 + _SLACK) + _SLACK) ** 2
    return np.nonzero((along_NS * np.abs(along_NS) >= far2 - reach2) | (far2 <= reach2))  # type: ignore[return-value]


def _capsules(start: Floats, directions: Floats, capsule: Floats) -> Floats:
    """(N, S) ranges; the side of the cylinder, or else the cap on whose side of it the ray comes in."""
    range_NS = np.full((len(directions), len(capsule)), np.inf)
    axis = capsule[:, 3:6] - capsule[:, :3]
    length = np.sqrt((axis * axis).sum(1))
    axis = axis / np.maximum(length, 1e-12)[:, None]
    radius, away = capsule[:, 6], start - capsule[:, :3]
    ray, shape = _near(start, directions, capsule[:, :3] + axis * (length / 2)[:, None], length / 2 + radius)
    rising = (directions @ axis.T)[ray, shape]
    closing = (directions @ away.T)[ray, shape]
    height, far2 = (away * axis).sum(1), (away * away).sum(1)
    a = np.maximum(1 - rising * rising, 1e-12)
    b = closing - height[shape] * rising
    c = (far2 - height * height - radius * radius)[shape]
    square = b * b - a * c
    inside = square >= 0
    ray, shape, rising, closing = ray[inside], shape[inside], rising[inside], closing[inside]
    found = (-b[inside] - np.sqrt(square[inside])) / a[inside]
    at, long = height[shape] + found * rising, length[shape]
    cap = np.flatnonzero((at < 0) | (at > long))
    # To an end's centre: the ray's closing speed and square distance follow from those to the first end.
    end = np.where(at[cap] < 0, 0.0, long[cap])
    b = closing[cap] - end * rising[cap]
    c = far2[shape[cap]] - 2 * end * height[shape[cap]] + end * end - radius[shape[cap]] ** 2
    square = b * b - c
    found[cap] = np.where(square >= 0, -b - np.sqrt(np.maximum(square, 0.0)), np.inf)
    range_NS[ray, shape] = np.where(found > 0, found, np.inf)
    return range_NS


def _capsule_normals(point: Floats, directions: Floats, capsule: Floats) -> Floats:
    axis, from_start = capsule[:, 3:6] - capsule[:, :3], point - capsule[:, :3]
    share = (from_start * axis).sum(1) / np.maximum((axis * axis).sum(1), 1e-12)
    return _unit(from_start - np.clip(share, 0, 1)[:, None] * axis)


def _spheres(start: Floats, directions: Floats, sphere: Floats) -> Floats:
    range_NS = np.full((len(directions), len(sphere)), np.inf)
    ray, shape = _near(start, directions, sphere[:, :3], sphere[:, 3])
    away = start - sphere[:, :3]
    b = (directions @ away.T)[ray, shape]
    square = b * b - ((away * away).sum(1) - sphere[:, 3] ** 2)[shape]
    found = -b - np.sqrt(np.maximum(square, 0.0))
    range_NS[ray, shape] = np.where((square >= 0) & (found > 0), found, np.inf)
    return range_NS


def _sphere_normals(point: Floats, directions: Floats, sphere: Floats) -> Floats:
    return _unit(point - sphere[:, :3])


def _boxes(start: Floats, directions: Floats, box: Floats) -> Floats:
    """(N, S) ranges where a ray has entered all three pairs of faces and left none (the slab method)."""
    range_NS = np.full((len(directions), len(box)), np.inf)
    half, axes = box[:, 3:6], box[:, 6:15].reshape(-1, 3, 3)
    ray, shape = _near(start, directions, box[:, :3], np.sqrt((half * half).sum(1)))
    own = np.einsum("sji,sj->si", axes, start - box[:, :3])[shape]
    along = np.einsum("pji,pj->pi", axes[shape], directions[ray])
    along = np.where(np.abs(along) < 1e-12, 1e-12, along)
    one, other = (-half[shape] - own) / along, (half[shape] - own) / along
    enter, leave = np.minimum(one, other).max(1), np.maximum(one, other).min(1)
    range_NS[ray, shape] = np.where((enter <= leave) & (enter > 0), enter, np.inf)
    return range_NS


def _box_normals(point: Floats, directions: Floats, box: Floats) -> Floats:
    axes = box[:, 6:15].reshape(-1, 3, 3)
    own = np.einsum("pji,pj->pi", axes, point - box[:, :3]) / box[:, 3:6]
    face = np.abs(own).argmax(1)
    pick = np.arange(len(point))
    normals: Floats = np.sign(own[pick, face])[:, None] * axes[pick, :, face]
    return normals


def _planes(start: Floats, directions: Floats, plane: Floats) -> Floats:
    falling = directions @ plane[:, :3].T
    height = plane[:, 3] - plane[:, :3] @ start
    with np.errstate(divide="ignore", invalid="ignore"):
        found = height / falling
    ranges: Floats = np.where(found > 0, found, np.inf)
    return ranges


def _plane_normals(point: Floats, directions: Floats, plane: Floats) -> Floats:
    normal = plane[:, :3]
    facing: Floats = normal * -np.sign((normal * directions).sum(1, keepdims=True))
    return facing


def _unit(vectors: Floats) -> Floats:
    units: Floats = vectors / np.maximum(np.sqrt((vectors * vectors).sum(-1, keepdims=True)), 1e-12)
    return units


@dataclass(frozen=True)
class Camera:
    """A pinhole: `position` (3,) m; `rotation` (3, 3), whose rows are its right, down and forward in the place's axes;
    `focal_px` its focal length in pixels; `size` (H, W). Pixels are counted from 0 at their centres.
    """

    position: Floats
    rotation: Floats
    focal_px: float
    size: tuple[int, int]

    @classmethod
    def looking(cls, position: ArrayLike, target: ArrayLike, focal_px: float, size: tuple[int, int]) -> Camera:
        """A camera at `position` (3,) that looks at `target` (3,), not straight up or down, with a level horizon."""
        place = np.asarray(position, np.float64)
        forward = _unit(np.asarray(target, np.float64) - place)
        right = _unit(np.cross(forward, (0.0, 0.0, 1.0)))
        return cls(place, np.stack([right, np.cross(forward, right), forward]), focal_px, size)

    @cached_property
    def slopes(self) -> Floats:
        """(H, W, 2) what the ray through each pixel moves right and down for each metre forward."""
        rows, columns = self.size
        x, y = np.meshgrid(np.arange(columns) - (columns - 1) / 2, np.arange(rows) - (rows - 1) / 2)
        slopes: Floats = np.stack([x, y], -1) / self.focal_px
        return slopes

    @cached_property
    def _own_rays(self) -> Floats:
        return _unit(np.concatenate([self.slopes, np.ones((*self.size, 1))], -1))

    def rays(self) -> Floats:
        """(H, W, 3) unit directions through the pixels, in the place's axes."""
        turned: Floats = self._own_rays @ self.rotation
        return turned

    def seen(self, points: ArrayLike) -> Floats:
        """Points (..., 3) of the place in the camera's axes, m: right, down, forward."""
        own: Floats = (np.asarray(points, np.float64) - self.position) @ self.rotation.T
        return own

    def project(self, points: ArrayLike) -> Floats:
        """(..., 3) column, row (pixels) and depth (m, along the optical axis) of points (..., 3) of the place.

        What lies behind has a depth of 0 or less, and column and row mean nothing then.
        """
        own = self.seen(points)
        depth = np.where(np.abs(own[..., 2:]) < 1e-9, 1e-9, own[..., 2:])
        middle = np.array([(self.size[1] - 1) / 2, (self.size[0] - 1) / 2])
        projected: Floats = np.concatenate([own[..., :2] / depth * self.focal_px + middle, own[..., 2:]], -1)
        return projected

    def cast(self, shapes: Shapes) -> Hits:
        """What is seen at each pixel, row by row: N = H x W."""
        return cast(self.position, self.rays().reshape(-1, 3), shapes)

    def depth(self, hits: Hits) -> Floats:
        """(H, W, 1) m along the optical axis, as depth cameras tell it; 0 where nothing is."""
        forward = self._own_rays[..., 2] * np.where(np.isfinite(hits.range), hits.range, 0.0).reshape(self.size)
        depth: Floats = forward[..., None]
        return depth


def sweep(size: tuple[int, int], top: float, bottom: float) -> Floats:
    """(H, W, 3) unit directions of a spinning LiDAR in its own axes: x forward, y left, z up.

    Rows are rings from elevation `top` to `bottom` (rad); columns go once around, from behind over left, forward (the
    middle) and right, as somebody who looks forward would read them.
    """
    rings, azimuths = size
    up = np.linspace(top, bottom, rings)[:, None]
    around = (np.pi - (np.arange(azimuths) + 0.5) * (2 * np.pi / azimuths))[None, :]
    level = np.cos(up)
    directions = np.broadcast_arrays(level * np.cos(around), level * np.sin(around), np.sin(up))
    return np.stack(directions, -1)


def shade(
    hits: Hits, light: ArrayLike, ambient: float = 0.45, sky: tuple[float, float, float] = (0.0, 0.0, 0.0)
) -> Floats:
    """(N, 3) red, green, blue, 0..1: Lambert's cosine towards `light` (3,) and an `ambient` share; `sky` elsewhere."""
    facing = np.maximum(hits.normal @ _unit(np.asarray(light, np.float64)), 0.0)
    lit = hits.surface[:, :3] * (ambient + (1 - ambient) * facing)[:, None]
    image: Floats = np.where(hits.met[:, None], np.clip(lit, 0.0, 1.0), sky)
    return image


def warmth(hits: Hits, sky: float = 270.0) -> Floats:
    """(N,) K: the temperature of what is seen; `sky` where nothing is."""
    kelvin: Floats = np.where(hits.met, hits.surface[:, 3], sky)
    return kelvin


def echoes(hits: Hits, directions: Floats, reach: float = 100.0) -> Floats:
    """(N, 2) what a LiDAR makes of hits along `directions` (N, 3): range (m) and intensity (0..1); 0, 0 for no return.

    Intensity is reflectivity times the cosine of incidence; nothing beyond `reach` (m) comes back.
    """
    back = hits.met & (hits.range <= reach)
    facing = np.maximum(-(hits.normal * directions).sum(1), 0.0)
    returned: Floats = np.where(back[:, None], np.stack([hits.range, hits.surface[:, 4] * facing], 1), 0.0)
    return returned
