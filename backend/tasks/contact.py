"""Contact mask: which parts of a panel skin really touches, told finer than the panel's own cells.

A mask is no answer of the fused tokens, which are too few to draw it: a decoder reads the frame itself. So a mask has
no part in decisions, events and estimates, and is not among the tasks that serving publishes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from backend.model.contact import ContactDecoder


@dataclass(frozen=True, kw_only=True)
class Mask:
    """A picture of yes and no, `finer` times as fine as the frames of `modality` along each side.

    `level` is the floor to beat: a cell counts where the frame, enlarged by bicubic interpolation, is above it.
    """

    name: str
    modality: str
    finer: int
    level: float
    question: str
    metric: str = "iou"

    def decoder(self) -> ContactDecoder:
        """From frames to the logit of every cell of their masks."""
        from backend.model.contact import ContactDecoder

        return ContactDecoder(self.finer)

    def loss(self, logit_BHW: Tensor, true_BHW: Tensor) -> Tensor:
        """Binary cross-entropy and soft Dice of all cells together (Milletari et al. 2016), in about equal parts.

        Cross-entropy is a mean over cells, few of which touch or nearly do; Dice counts those alone.
        """
        from torch.nn import functional as F

        said_BHW = logit_BHW.sigmoid()
        overlap = (2 * (said_BHW * true_BHW).sum() + 1) / (said_BHW.sum() + true_BHW.sum() + 1)
        return F.binary_cross_entropy_with_logits(logit_BHW, true_BHW) * 10 + 1 - overlap

    def floor(self, x_BHW1: Tensor) -> Tensor:
        """(B, H x finer, W x finer) bool: what a threshold says without any learning."""
        from torch.nn import functional as F

        large = F.interpolate(x_BHW1.permute(0, 3, 1, 2), scale_factor=float(self.finer), mode="bicubic")
        return large[:, 0] > self.level


CONTACT = Mask(
    name="contact-mask",
    modality="capacitance",
    finer=8,
    level=350 / 512,
    question="Which parts of the panel does skin touch?",
)
