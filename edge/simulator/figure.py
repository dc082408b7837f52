"""A skeleton in flesh and clothes: the shapes that cameras and LiDARs see of a person.

Capsules along bones and a few balls; colours of skin, hair and clothes, and their warmth, follow from the seed. It
knows nothing of how the skeleton moves.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from broker.modalities import JOINTS
from edge.simulator.geometry import Material, Shapes
from edge.simulator.skeleton import J, build

Floats = NDArray[np.float64]
Colour = tuple[float, float, float]

_FIGURE = 7  # a stream of random numbers
_SKIN, _HAIR, _SHIRT, _TROUSERS, _SHOES, _SLEEVES = "skin", "hair", "shirt", "trousers", "shoes", "sleeves"

# Points as weights of joints; radius in statures; what covers it.
_Point = dict[str, float]
_LIMBS: tuple[tuple[_Point, _Point, float, str], ...] = (
    ({"pelvis": 0.55, "left_hip": 0.45}, {"spine2": 0.7, "left_collar": 0.3}, 0.058, _SHIRT),
    ({"pelvis": 0.55, "right_hip": 0.45}, {"spine2": 0.7, "right_collar": 0.3}, 0.058, _SHIRT),
    ({"spine2": 0.7, "left_collar": 0.3}, {"left_shoulder": 0.55, "spine3": 0.45}, 0.062, _SHIRT),
    ({"spine2": 0.7, "right_collar": 0.3}, {"right_shoulder": 0.55, "spine3": 0.45}, 0.062, _SHIRT),
    ({"left_shoulder": 0.9, "neck": 0.1}, {"right_shoulder": 0.9, "neck": 0.1}, 0.036, _SHIRT),
    ({"neck": 1.0}, {"head": 1.0}, 0.034, _SKIN),
)
_EACH_SIDE: tuple[tuple[_Point, _Point, float, str], ...] = (
    ({"hip": 1.0}, {"knee": 1.0}, 0.043, _TROUSERS),
    ({"hip": 0.7, "knee": 0.3}, {"knee": 0.6, "hip": 0.4}, 0.046, _TROUSERS),
    ({"knee": 1.0}, {"ankle": 1.0}, 0.029, _TROUSERS),
    ({"ankle": 1.0}, {"foot": 1.25, "ankle": -0.25}, 0.024, _SHOES),
    ({"ankle": 1.25, "foot": -0.25}, {"foot": 1.0}, 0.024, _SHOES),
    ({"shoulder": 1.0}, {"elbow": 1.0}, 0.028, _SHIRT),
    ({"elbow": 1.0}, {"wrist": 1.0}, 0.022, _SLEEVES),
    ({"wrist": 1.0}, {"hand": 1.5, "wrist": -0.5}, 0.021, _SKIN),
)
_BALLS: tuple[tuple[_Point, float, str], ...] = (
    ({"head": 1.0}, 0.060, _SKIN),
    ({"head": 1.35, "neck": -0.35}, 0.057, _HAIR),
)

_SKINS: tuple[Colour, ...] = ((0.93, 0.76, 0.65), (0.82, 0.62, 0.47), (0.62, 0.43, 0.30), (0.38, 0.26, 0.19))
_HAIRS: tuple[Colour, ...] = ((0.10, 0.08, 0.07), (0.30, 0.20, 0.12), (0.65, 0.52, 0.32), (0.60, 0.60, 0.60))


@dataclass(frozen=True, slots=True)
class Figure:
    """Weights (S, 24) of the joints in both ends of each capsule and in the centre of each ball, and the shapes of
    somebody whose joints all lie at 0.
    """

    start: Floats
    end: Floats
    centre: Floats
    dressed: Shapes

    def shapes(self, joints: Floats) -> Shapes:
        """The figure with its joints (24, 3) m where they are."""
        capsule, sphere = self.dressed.capsule.copy(), self.dressed.sphere.copy()
        capsule[:, :3], capsule[:, 3:6] = self.start @ joints, self.end @ joints
        sphere[:, :3] = self.centre @ joints
        return Shapes(capsule=capsule, sphere=sphere)


@lru_cache(maxsize=64)
def figure(seed: int) -> Figure:
    """The figure of the person of a seed. What is warm is warmer than any room."""
    rng = np.random.default_rng([seed, _FIGURE])
    stature, stout = build(seed).stature, float(np.exp(rng.normal(0.0, 0.08)))
    skin = _SKINS[rng.integers(len(_SKINS))]
    warmth = {_SKIN: 305.5, _HAIR: 302.0, _SHIRT: 301.0, _TROUSERS: 300.5, _SHOES: 298.0, _SLEEVES: 301.0}
    colours: dict[str, Colour] = {
        _SKIN: skin,
        _HAIR: _HAIRS[rng.integers(len(_HAIRS))],
        _SHIRT: _cloth(rng),
        _TROUSERS: _cloth(rng),
        _SHOES: _cloth(rng),
    }
    bare = rng.random() < 0.4
    colours[_SLEEVES] = skin if bare else colours[_SHIRT]
    warmth[_SLEEVES] = warmth[_SKIN] - 0.5 if bare else warmth[_SHIRT]
    shining = {name: float(rng.uniform(0.2, 0.8)) for name in warmth}
    cover = {
        name: Material(colours[name], warmth[name] + float(rng.normal(0.0, 0.4)), shining[name]) for name in warmth
    }
    limbs = list(_LIMBS)
    for side in ("left_", "right_"):
        limbs += [
            ({side + k: w for k, w in start.items()}, {side + k: w for k, w in end.items()}, thick, name)
            for start, end, thick, name in _EACH_SIDE
        ]
    start, end = np.stack([_weights(limb[0]) for limb in limbs]), np.stack([_weights(limb[1]) for limb in limbs])
    centre = np.stack([_weights(point) for point, _, _ in _BALLS])
    nowhere = np.zeros((len(limbs), 3))
    bodily = np.array([thick * (stout if name != _SKIN else 1.0) for _, _, thick, name in limbs])
    dressed = Shapes.capsules(nowhere, nowhere, stature * bodily, [cover[limb[3]] for limb in limbs])
    heads = np.array([size for _, size, _ in _BALLS])
    dressed += Shapes.spheres(np.zeros((len(_BALLS), 3)), stature * heads, [cover[name] for _, _, name in _BALLS])
    return Figure(start, end, centre, dressed)


def _cloth(rng: np.random.Generator) -> Colour:
    """Any colour, dark or bright, seldom glaring."""
    grey, colour = rng.uniform(0.05, 0.95), rng.uniform(0.0, 1.0, 3)
    mixed = np.clip(grey + rng.uniform(0.0, 0.9) * (colour - colour.mean()), 0.02, 0.98)
    return float(mixed[0]), float(mixed[1]), float(mixed[2])


def _weights(point: _Point) -> Floats:
    row = np.zeros(len(JOINTS))
    for joint, weight in point.items():
        row[J[joint]] = weight
    return row
