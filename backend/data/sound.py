"""What readers of sound share: a file as the track of a microphone, whose samples are read when they are used.

Sound stays on disk as it came, because hours of it would fill the memory; the clips that were used last are kept, since
training cuts the same ones over and over. This module knows nothing of any set.

n is a number of samples.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from backend.data.kept import kept
from backend.data.recording import Track
from backend.data.whole import regular, whole
from broker.errors import DataError
from broker.modalities import MODALITIES
from edge.windows import Stream

RATE = round(MODALITIES["audio"].rate)
SCALE = MODALITIES["audio"].scale
KEPT, KEPT_BYTES = 512, 1 << 28
"""Clips that are kept, and what they may take: 512 of five seconds are 80 MB, two of an hour 230 MB."""


def read_sound(path: Path) -> NDArray[np.int16]:
    """(n, 1) samples at 16 kHz, the mean of all channels, 32768 is full scale.

    Raises DataError for a file that is no sound, or holds none.
    """
    try:
        frames_TC, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except soundfile.SoundFileError as error:
        raise DataError(f"{path}: cannot be read as sound ({error}); is the set complete?") from error
    wave_T = soxr.resample(frames_TC.mean(1), rate, RATE)
    if not len(wave_T):
        raise DataError(f"{path}: holds no sound; remove it or get it again")
    return np.asarray(np.clip(np.rint(wave_T / SCALE), -32768, 32767)[:, None], np.int16)


def microphone(path: Path, length: int, start: int = 0, least: int = 0) -> Track:
    """The sound of a file of `length` samples from `start` (ns) on; less than `least` lies in the middle of silence.

    Using it raises DataError where the file has another length by then: its times and labels would be those of another.
    """
    count = max(length, least)
    t, values = regular(count, RATE, start), whole(partial(_padded, path, length, count), (count, 1), np.int16)
    return Track("microphone", Stream("audio", "audio", "room"), t, values, SCALE)


_heard = kept(KEPT, KEPT_BYTES)(read_sound)


def _padded(path: Path, length: int, count: int) -> NDArray[np.int16]:
    values, missing = _heard(path), count - length
    if len(values) != length:
        raise DataError(f"{path}: has {len(values)} samples at {RATE} Hz and had {length} before; read the set again")
    return np.pad(values, ((missing // 2, missing - missing // 2), (0, 0))) if missing else values
