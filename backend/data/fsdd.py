"""fsdd: ten digits, spoken by six people (free spoken digit dataset; CC BY-SA 4.0).

Files are named `<digit>_<speaker>_<index>.flac` or `.wav`, 8 kHz, 0.1 to 2.3 s. No task of ours is about digits: the
recordings carry no label, and `digit` reads it off their names. A recording carries no time and starts at `ORIGIN`;
one shorter than a window lies in the middle of a second that is silent around it.
"""

from __future__ import annotations

import re
from pathlib import Path

from backend.data.files import ORIGIN, Origin
from backend.data.recording import Recording, Recordings
from backend.data.sound import RATE, microphone, read_sound
from broker.errors import DataError

SET = Origin(
    "fsdd",
    ("[0-9]_*_*.flac", "[0-9]_*_*.wav"),
    "https://github.com/Jakobovski/free-spoken-digit-dataset",
    "CC BY-SA 4.0",
)
NAME = re.compile(r"(?P<digit>\d)_(?P<speaker>[A-Za-z]+)_(?P<index>\d+)")


def recordings(root: Path) -> Recordings:
    """One recording per spoken digit: audio of "microphone". `root` is the set's folder, its parent, or the
    publishers' `recordings`.

    Raises DataError where nothing is found, or a file cannot be read as sound.
    """
    named = [(path, NAME.fullmatch(path.stem)) for path in SET.files(root)]
    return Recordings(_recording(path, match["speaker"]) for path, match in named if match)


def digit(recording: Recording) -> int:
    """Which digit is spoken."""
    match = NAME.fullmatch(recording.name)
    if match is None:
        raise DataError(f"{recording.name}: is no recording of fsdd (digit_speaker_index)")
    return int(match["digit"])


def _recording(path: Path, speaker: str) -> Recording:
    track = microphone(path, len(read_sound(path)), ORIGIN, least=RATE)
    return Recording(path.stem, SET.name, speaker, (track,), {})
