"""The face before a phone's front camera: a head, and eyes whose pupils are where the gaze is.

Painted, not cast: layers with soft edges, so that a pupil that moves by a tenth of a pixel shows. Places on the head
are metres, x to the picture's right, y down, from the middle between the eyes; the camera sees them larger when the
face is nearer, turned when the phone is, and somewhere else when the phone points elsewhere. Pupils move as far as an
eyeball's radius and the angle to the target make them: on a phone's screen by less than two millimetres. This module
knows nothing of screens or of time. n is a number of pictures.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

_EYEBALL_M, _IRIS_M, _PUPIL_M = 0.012, 0.0060, 0.0025
_BEHIND_M = 1.3  # the wall behind the head


@dataclass(frozen=True, slots=True)
class Face:
    """How somebody looks: `half` (2,) half width and height of the head, `apart` half the distance between the pupils,
    `open` half the height of an eye, `fringe` where the hair ends above the eyes, m. `skin`, `hair`, `iris` and the
    `wall` behind are (3,) red, green, blue; `light` is how much brighter the right side is.
    """

    half: Floats
    apart: float
    open: float
    skin: Floats
    hair: Floats
    iris: Floats
    wall: Floats
    fringe: float
    light: float


def face_of(rng: np.random.Generator, skin: ArrayLike) -> Face:
    """Somebody's face, of that skin."""
    dark = rng.uniform(0.05, 0.5)
    return Face(
        half=np.array([0.074, 0.108]) * np.exp(rng.normal(0, 0.05, 2)),
        apart=float(rng.normal(0.0315, 0.0018)),
        open=float(rng.uniform(0.0045, 0.0065)),
        skin=np.asarray(skin, np.float64),
        hair=dark * np.array([1.0, rng.uniform(0.7, 0.95), rng.uniform(0.4, 0.9)]),
        iris=rng.uniform((0.1, 0.1, 0.05), (0.4, 0.4, 0.5)),
        wall=rng.uniform(0.25, 0.85, 3),
        fringe=float(rng.uniform(-0.075, -0.05)),
        light=float(rng.uniform(-0.35, 0.35)),
    )


@dataclass(frozen=True, slots=True)
class View:
    """Where the camera sees a head: `middle` (n, 2) pixels of the point between the eyes, column and row, `scale` (n,)
    pixels per metre, `roll` (n,) rad by which the picture is turned clockwise, `away` (n,) m from the camera.
    """

    middle: Floats
    scale: Floats
    roll: Floats
    away: Floats

    def places(self, size: tuple[int, int]) -> tuple[Floats, Floats]:
        """x and y (n, H, W) on the head, m, of all pixels."""
        row, column = np.meshgrid(np.arange(size[0]), np.arange(size[1]), indexing="ij")
        right = column - self.middle[:, 0, None, None]
        down = row - self.middle[:, 1, None, None]
        c, s = (f(self.roll)[:, None, None] for f in (np.cos, np.sin))
        per_pixel = 1 / self.scale[:, None, None]
        return (c * right + s * down) * per_pixel, (c * down - s * right) * per_pixel


def picture(face: Face, view: View, eyes: Floats, turn: Floats, lids: Floats, size: tuple[int, int]) -> Floats:
    """(n, H, W, 3) red, green, blue, 0..1.

    `eyes` (n, 2) is the direction of the gaze and `turn` (n, 2) that of the nose, right and down, as slopes from the
    line to the camera; `lids` (n,) is 0 for open eyes and 1 for shut ones.
    """
    x, y = view.places(size)
    soft = 0.6 / view.scale[:, None, None]  # metres in which an edge goes from one side to the other
    tx, ty = turn[:, 0, None, None], turn[:, 1, None, None]

    def ellipse(cx: Floats | float, cy: Floats | float, half_x: float, half_y: Floats | float) -> Floats:
        """(n, H, W) 1 inside, 0 outside, half at the edge."""
        u, v = (x - cx) / half_x, (y - cy) / half_y
        away = np.sqrt(u * u + v * v)
        edge = np.minimum(half_x, half_y) / soft
        return np.clip(0.5 + (1 - away) * edge, 0.0, 1.0)

    image = np.broadcast_to(face.wall, (*x.shape, 3)) * (1.0 - 0.15 * np.clip(y / 0.15, -1, 1))[..., None]
    chin = 0.035  # the head's middle lies below the eyes
    width, height = face.half

    def paint(mask: Floats, colour: Floats) -> None:
        nonlocal image
        image = image + mask[..., None] * (colour - image)

    paint(ellipse(0.0, 0.16, 0.06, 0.12), face.skin * 0.75)  # neck
    paint(ellipse(0.0, chin - 0.012, width * 1.14, height * 1.1), face.hair)
    lit = 0.88 + 0.16 * np.sqrt(np.clip(1 - (x / width) ** 2, 0, 1)) + face.light * x / width * 0.5
    paint(ellipse(0.0, chin, width, height), face.skin * lit[..., None])
    paint(ellipse(0.0, face.fringe - 0.03, width * 1.05, 0.042), face.hair)
    nose_x, nose_y = 0.022 * tx, 0.042 + 0.022 * ty
    paint(ellipse(nose_x * 0.6, nose_y - 0.02, 0.0075, 0.026) * 0.5, np.clip(face.skin * 1.15, 0, 1))
    paint(ellipse(nose_x, nose_y, 0.014, 0.007) * 0.7, face.skin * 0.75)
    paint(ellipse(0.006 * tx, 0.074 + 0.006 * ty, 0.024, 0.0065), face.skin * (0.85, 0.5, 0.5))
    half_open = np.maximum(face.open * (1 - lids), 0.0004)[:, None, None]
    for side in (-1.0, 1.0):
        cx, cy = side * face.apart + 0.009 * tx, 0.009 * ty
        paint(ellipse(cx, cy, 0.0175, half_open + 0.003), face.skin * 0.72)  # the lids' shadow
        eye = ellipse(cx, cy, 0.0145, half_open)
        paint(eye, np.array([0.93, 0.92, 0.9]))
        px = cx + _EYEBALL_M * eyes[:, 0, None, None]
        py = cy + _EYEBALL_M * eyes[:, 1, None, None]
        paint(eye * ellipse(px, py, _IRIS_M, _IRIS_M), face.iris)
        paint(eye * ellipse(px, py, _PUPIL_M, _PUPIL_M), np.array([0.02, 0.02, 0.02]))
        paint(ellipse(cx, cy - 0.017, 0.018, 0.0032), face.hair * 0.8)
    return np.clip(image, 0.0, 1.0)


def distances(face: Face, view: View, turn: Floats, size: tuple[int, int]) -> Floats:
    """(n, H, W) m along the camera's axis: the head as an ellipsoid with a nose, the wall behind."""
    x, y = view.places(size)
    inside = 1 - (x / face.half[0]) ** 2 - ((y - 0.035) / face.half[1]) ** 2
    nose = np.exp(-(((x - 0.022 * turn[:, 0, None, None]) / 0.012) ** 2) - ((y - 0.036) / 0.02) ** 2)
    bulge = 0.055 * np.sqrt(np.clip(inside, 0.0, None)) + 0.02 * nose - 0.05
    away = view.away[:, None, None]
    far: Floats = np.where(inside > 0, away - bulge, away + _BEHIND_M)
    return far
