"""Heads that are more than a matrix: a map that is refined step by step, and a body that moves at its joints.

A head turns a task's vector (B, d) into what the task's loss takes. It knows nothing of what the numbers are compared
with.
"""

from __future__ import annotations

from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edge.simulator.skeleton import NEUTRAL, PARENTS

STATURE_M = 1.7
_FIRST = 4  # a map begins this many times coarser than it ends
_WIDTH = 24


class MapHead(nn.Module):
    """(B, d) -> (B, rows x columns): a coarse picture from the vector, then twice as fine, and again."""

    def __init__(self, dim: int, size: tuple[int, int]) -> None:
        super().__init__()
        self.coarse = (size[0] // _FIRST, size[1] // _FIRST)
        self.start = nn.Linear(dim, _WIDTH * self.coarse[0] * self.coarse[1])
        self.finer = nn.ModuleList(nn.Conv2d(_WIDTH, _WIDTH, 3, padding=1) for _ in range(2))
        self.out = nn.Conv2d(_WIDTH, 1, 1)

    def forward(self, x_Bd: Tensor) -> Tensor:
        """Row by row."""
        y_BCHW = F.gelu(self.start(x_Bd)).reshape(-1, _WIDTH, *self.coarse)
        for convolution in self.finer:
            y_BCHW = F.gelu(convolution(F.interpolate(y_BCHW, scale_factor=2.0, mode="bilinear")))
        map_BN: Tensor = self.out(y_BCHW).flatten(1)
        return map_BN


class BodyHead(nn.Module):
    """(B, d) -> (B, joints x 3) in units of `scale` metres, relative to the pelvis.

    Six numbers a joint are two columns of its rotation against the joint that it hangs on, made orthonormal (Zhou et
    al. 2019); one more is the stature. The pelvis' own rotation turns the body into the axes of whoever asks.
    """

    neutral: Tensor

    def __init__(self, dim: int, scale: float) -> None:
        super().__init__()
        self.scale = scale
        self.turns = nn.Linear(dim, 6 * len(PARENTS))
        self.stature = nn.Linear(dim, 1)
        nn.init.normal_(self.turns.weight, std=0.01)
        with torch.no_grad():
            self.turns.bias.copy_(torch.tensor([1.0, 0.0, 0.0, 0.0, 1.0, 0.0]).repeat(len(PARENTS)))
        bones = torch.from_numpy(NEUTRAL.astype(np.float32)) * STATURE_M
        self.register_buffer("neutral", bones, persistent=False)

    def forward(self, x_Bd: Tensor) -> Tensor:
        """Always in float32: rotations follow one another down to the hand."""
        with torch.autocast(x_Bd.device.type, enabled=False):
            x_Bd = x_Bd.float()
            local_BJ33 = orthonormal(self.turns(x_Bd).reshape(-1, len(PARENTS), 6))
            size_B11 = (0.1 * cast(Tensor, self.stature(x_Bd))).exp()[:, None]
            joints_BJ3 = forward_kinematics(local_BJ33, self.neutral * size_B11)
            return (joints_BJ3 / self.scale).flatten(1)


def orthonormal(x_BJ6: Tensor) -> Tensor:
    """Rotation matrices (B, J, 3, 3) whose first two columns are the six numbers, orthonormalised (Gram-Schmidt)."""
    first, second = x_BJ6[..., :3], x_BJ6[..., 3:]
    a = F.normalize(first, dim=-1, eps=1e-6)
    b = F.normalize(second - (a * second).sum(-1, keepdim=True) * a, dim=-1, eps=1e-6)
    return torch.stack([a, b, torch.linalg.cross(a, b)], -1)


def forward_kinematics(local_BJ33: Tensor, bones_BJ3: Tensor) -> Tensor:
    """Joints (B, J, 3), the root at the origin, from each joint's rotation and the bone that leads to it."""
    turned: list[Tensor] = []
    at: list[Tensor] = []
    for joint, parent in enumerate(PARENTS):
        own = local_BJ33[:, joint]
        if parent < 0:
            turned.append(own)
            at.append(torch.zeros_like(own[..., 0]))
        else:
            turned.append(turned[parent] @ own)
            at.append(at[parent] + (turned[parent] @ bones_BJ3[:, joint, :, None]).squeeze(-1))
    return torch.stack(at, 1)
