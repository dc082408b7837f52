"""The decoder of contact masks: convolutions over a panel's cells, each of which draws its own part of the mask.

It reads the whole frame and takes panels of any size. It knows nothing of tokens or of tasks.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from backend.model.frames import TOUCH, median
from backend.model.trunk import compressed

BLOCKS = 3
REACH = 2 + 2 * BLOCKS
"""Cells to each side of a cell that have a say in its part of the mask."""
SELDOM = -4.0
"""The logit to begin with: most of a panel is not touched."""


class ContactDecoder(nn.Module):
    """(B, 8, H, W) `picture` of frames -> (B, H x finer, W x finer) logits of contact, by sub-pixel shuffle.

    Residual blocks without normalisation, as in EDSR (Lim et al. 2017): all work is done at the panel's own size. The
    picture tells each cell its place, because a camera that saw the contact sees it displaced, most at the edges.
    """

    def __init__(self, finer: int = 8, width: int = 32) -> None:
        super().__init__()
        self.finer = finer
        self.start = nn.Conv2d(8, width, 3, padding=1)
        self.blocks = nn.Sequential(*(Block(width) for _ in range(BLOCKS)))
        self.out = nn.Conv2d(width, finer**2, 3, padding=1)
        nn.init.zeros_(self.out.weight)

    def picture(self, x_BHW1: Tensor) -> Tensor:
        """(B, 8, H, W): capacitance above the background, also compressed and of the peak; place and its squares."""
        x_B1HW = x_BHW1.permute(0, 3, 1, 2)
        above_B1HW = x_B1HW - median(x_B1HW)
        peak_B111 = above_B1HW.abs().amax((2, 3), keepdim=True).clamp_min(TOUCH)
        seen_B3HW = torch.cat([above_B1HW, compressed(above_B1HW / TOUCH), above_B1HW / peak_B111], 1)
        rows, columns = seen_B3HW.shape[-2:]
        y, x = torch.meshgrid(*(_along(side, max(rows, columns)) for side in (rows, columns)), indexing="ij")
        place_5HW = torch.stack([y, x, y * y, y * x, x * x]).to(seen_B3HW)
        return torch.cat([seen_B3HW, place_5HW.expand(len(seen_B3HW), -1, -1, -1)], 1)

    def forward(self, picture_B8HW: Tensor) -> Tensor:
        """Logits of a picture, or of a part of one."""
        drawn = self.out(F.gelu(self.blocks(self.start(picture_B8HW))))
        return F.pixel_shuffle(drawn, self.finer)[:, 0] + SELDOM


class Block(nn.Module):
    """Two convolutions beside the way past them."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = (nn.Conv2d(width, width, 3, padding=1) for _ in range(2))

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """The same shape."""
        y_BCHW: Tensor = x_BCHW + self.second(F.gelu(self.first(x_BCHW)))
        return y_BCHW


def _along(cells: int, longest: int) -> Tensor:
    """(cells,) middles of cells about the panel's middle; half of the longer side is 1."""
    return (torch.arange(cells) + 0.5 - cells / 2) * (2 / longest)
