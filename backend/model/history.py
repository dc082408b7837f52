"""What one group's streams said in the last seconds: encoded windows, kept by slot of event time.

Serving and offline evaluation read the same rows from the same class, which is why streamed results equal
offline ones. It knows nothing of torch, of the model or of the store: it only turns itself into bytes, so that a
store can commit it together with the watermark.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import msgpack
import numpy as np
from numpy.typing import NDArray

from broker.errors import DataError

SLOTS_OF_CONTEXT = 4
"""Slots before the current one that a decision may see: 4 hops of 0.5 s are 2 s."""


@dataclass(frozen=True)
class StreamTokens:
    """One encoded window. `tokens` is (K, d) float16, the precision of the wire; `quality` is 0..1."""

    key: str
    modality: str
    placement: str
    slot: int
    tokens: NDArray[np.float16]
    quality: float

    @property
    def device(self) -> str:
        """Whose stream it is: `key` is device/stream."""
        return self.key.partition("/")[0]


@dataclass(frozen=True)
class Context:
    """All that a decision about `slot` may see: the rows of that slot and of the few slots before it."""

    slot: int
    rows: tuple[StreamTokens, ...]

    @property
    def present(self) -> tuple[tuple[str, str], ...]:
        """Modality and placement of every stream that delivered in the current slot itself."""
        return tuple((row.modality, row.placement) for row in self.rows if row.slot == self.slot)

    @property
    def before(self) -> frozenset[str]:
        """Modalities that delivered in the slots before it."""
        return frozenset(row.modality for row in self.rows if row.slot < self.slot)


class History:
    """Ring of one group's encoded windows over the newest `slots` + 1 slots.

    Rows may arrive in any order; a row of a known (stream, slot) is ignored, so a resent window changes nothing.
    """

    def __init__(self, slots: int = SLOTS_OF_CONTEXT) -> None:
        self.slots = slots
        self._rows: dict[tuple[int, str], StreamTokens] = {}

    def add(self, rows: Iterable[StreamTokens]) -> None:
        """Remember rows, and forget what no later decision can see."""
        for row in rows:
            self._rows.setdefault((row.slot, row.key), row)
        newest = max((slot for slot, _ in self._rows), default=0)
        for old in [at for at in self._rows if at[0] < newest - self.slots]:
            del self._rows[old]

    def at(self, slot: int) -> Context:
        """Rows that a decision about `slot` may see, ordered by slot and stream."""
        chosen = sorted(at for at in self._rows if slot - self.slots <= at[0] <= slot)
        return Context(slot, tuple(self._rows[at] for at in chosen))

    def to_bytes(self) -> bytes:
        """The whole ring as msgpack."""
        rows = [
            [r.key, r.modality, r.placement, r.slot, list(r.tokens.shape), r.tokens.tobytes(), r.quality]
            for _, r in sorted(self._rows.items())
        ]
        return bytes(msgpack.packb([self.slots, rows]))

    @classmethod
    def from_bytes(cls, payload: bytes) -> History:
        """The ring that `to_bytes` wrote; raises DataError for anything else."""
        try:
            slots, rows = msgpack.unpackb(payload)
            history = cls(slots)
            history.add(
                StreamTokens(key, modality, placement, slot, np.frombuffer(data, "<f2").reshape(shape), quality)
                for key, modality, placement, slot, shape, data, quality in rows
            )
        except (ValueError, TypeError, msgpack.UnpackException) as error:
            raise DataError(f"history: {len(payload)} bytes are no stored history ({error}); delete it") from error
        return history
