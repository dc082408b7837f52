"""3D reconstruction: where joints are in a camera's axes, of a hand (21) or of a body as the Kinect has it (20).

The loss is L1 on coordinates, plus L1 on the lengths of bones whose ends are both known: a hand does not stretch.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from backend.tasks.saying import Saying, apart
from backend.tasks.task import EstimateRule, Need, Regression

if TYPE_CHECKING:
    from torch import Tensor

FINGERS = ("thumb", "index", "middle", "ring", "little")
HAND = ("wrist", *(f"{finger}{joint}" for finger in FINGERS for joint in range(1, 5)))
"""Of a hand: the wrist, and four joints of each finger from the palm to the tip."""
BODY = (
    "head", "shoulder_center", "spine", "hip_center", "l_shoulder", "l_elbow", "l_wrist", "l_hand", "r_shoulder",
    "r_elbow", "r_wrist", "r_hand", "l_hip", "l_knee", "l_ankle", "l_foot", "r_hip", "r_knee", "r_ankle", "r_foot",
)  # fmt: skip
"""Of a body: the joints of the first Kinect, in its order."""

_ROOTS = {
    "head": "shoulder_center", "shoulder_center": "spine", "spine": "hip_center", "l_shoulder": "shoulder_center",
    "r_shoulder": "shoulder_center", "l_hip": "hip_center", "r_hip": "hip_center",
}  # fmt: skip
BONES = (
    *(
        (f"{finger}{joint}", "wrist" if joint == 1 else f"{finger}{joint - 1}")
        for finger in FINGERS
        for joint in (1, 2, 3, 4)
    ),
    *((joint, _ROOTS.get(joint, before)) for before, joint in pairwise(BODY[3:])),
    *((joint, _ROOTS[joint]) for joint in BODY[:3]),
)
"""Pairs of joints that a bone joins."""


@dataclass(frozen=True, kw_only=True)
class Joints(Regression):
    """Joints in metres before a camera."""

    def loss(self, head_BN: Tensor, target_BN: Tensor) -> Tensor:
        """L1 (B,) of what is known, and of the lengths of known bones, in units of `scale`."""
        error_BN, known_BN = self.error(head_BN, target_BN)
        place = {name: i for i, name in enumerate(self.points)}
        ends = [(place[a], place[b]) for a, b in BONES if a in place and b in place]
        total_B = error_BN.abs().sum(-1) / known_BN.sum(-1).clamp_min(1)
        if not ends:
            return total_B
        first, second = ([end[i] for end in ends] for i in (0, 1))
        said_BJ3 = self.values(head_BN).reshape(-1, len(self.points), 3)
        true_BJ3 = target_BN.reshape(-1, len(self.points), 3)
        said_BE = (said_BJ3[:, first] - said_BJ3[:, second]).square().sum(-1).add(1e-8).sqrt()
        true_BE = (true_BJ3[:, first] - true_BJ3[:, second]).square().sum(-1).sqrt()
        known_BE = ~true_BE.isnan()
        stretch_BE = (said_BE - true_BE.nan_to_num(0.0)).abs() * known_BE / self.scale
        return total_B + stretch_BE.sum(-1) / known_BE.sum(-1).clamp_min(1)


def _told(name: str, phrase: str, one: str, other: str) -> Saying:
    return Saying(name, phrase, "mm", apart(one, other), scale=1000.0)


RECONSTRUCTION = Joints(
    name="3d-reconstruction",
    sided=True,
    modalities=frozenset({"image", "capacitance", "depth", "imu"}),
    needs=tuple(Need(modality) for modality in ("image", "capacitance", "depth")),
    given_by=frozenset({"pose"}),
    points=(*HAND, *BODY),
    axes=("x", "y", "z"),
    unit="m",
    rule=EstimateRule(every_s=0.5),
    scale=0.2,
    centre=(0.0, 0.0, 0.0),
    metric="epe_mm",
    metric_scale=1000.0,
    sayings=(
        _told("span", "the hand spans {} from thumb to little finger", "thumb4", "little4"),
        _told("index finger", "the tip of the index finger is {} from the wrist", "index4", "wrist"),
        _told("hands", "the hands are {} apart", "l_hand", "r_hand"),
        _told("head", "the head is {} from the hips", "head", "hip_center"),
    ),
    question="Where are the joints of the hand or of the body?",
)
