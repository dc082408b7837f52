"""Short words for what travels: what a device sends, what an estimate says, whose part it was. Nothing but text."""

from collections.abc import Iterable, Mapping

import numpy as np

from broker.messages import Estimate, StreamInfo

_MOST_SOURCES = 3


def sent(streams: Iterable[StreamInfo]) -> str:
    """Modalities by placement: imu@phone, image+depth@face."""
    by: dict[str, list[str]] = {}
    for stream in streams:
        by.setdefault(stream.placement, []).append(stream.modality)
    return ", ".join(f"{'+'.join(modalities)}@{placement}" for placement, modalities in by.items())


def said(estimate: Estimate) -> str:
    """An estimate in a few words: coordinates of a point, extent of several, nearest and median range of a map."""
    if not estimate.values:
        return "nothing"
    values = np.array(estimate.values).reshape(estimate.shape[0], -1)
    if not estimate.names:
        return f"nearest {values.min():.1f}, median {np.median(values):.1f} {estimate.unit}"
    if len(estimate.names) == 1:
        places = ", ".join(f"{axis} {value:.1f}" for axis, value in zip(estimate.axes, values[0], strict=False))
        return f"{places} {estimate.unit}"
    return f"{len(values)} joints over {np.ptp(values, axis=0).max():.2f} {estimate.unit}"


def amount(value: float) -> str:
    """A number with three digits, or more before the point."""
    return f"{value:.{0 if value >= 99.95 else 1 if value >= 9.995 else 2}f}"


def sources(attribution: Mapping[str, float]) -> str:
    """The streams that had the largest part in an answer."""
    ranked = sorted(attribution.items(), key=lambda item: -item[1])[:_MOST_SOURCES]
    return " ".join(f"{stream} {weight:.0%}" for stream, weight in ranked if weight >= 0.01)
