"""What the machine that computes is good at."""

from __future__ import annotations

import torch


def has_bf16(device: torch.device | str = "cpu") -> bool:
    """Whether a device computes in bfloat16 itself; processors that do not are twenty times slower in it."""
    if torch.device(device).type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    can = torch.cpu.get_capabilities()
    return any(can.get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16"))
