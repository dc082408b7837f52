"""eyemu_gaze: where on a phone's screen 10 people looked, from a network's view of their faces (EyeMU; GPL-2.0).

From the calibration of the EyeMU repository. A sample is the output of its base network and 24 more features of the
same camera picture: the face itself was not published. Each round of each person is one recording of 28 s. Samples
carry no time; they were taken about ten times a second, so they start at `ORIGIN` and come at 10 Hz. Gestures with
the phone, which the authors recorded besides, are not in the set.

Features are told less their mean over the round: faces and ways to hold a phone differ more than looks do. That mean
asks for no labels, but for the round as a whole, which is over when its first sample is centred; and no code of a
device does it. So figures on this set are offline figures. A running mean is no way round that here: the target takes
the same way at the same time in every round, so that whatever tells how long a round has lasted tells the answer. Nor
is a long context.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from backend.data.files import Origin, at_rate, check_rows, check_shape, read_npz
from backend.data.recording import Recording, Recordings, Track, Values
from backend.tasks.gaze import SCREEN_CM
from broker.errors import DataError
from edge.windows import Stream

SET = Origin("eyemu_gaze", ("p??.npz",), "https://github.com/FIGLAB/EyeMU", "GPL-2.0")
RATE = 10.0
FEATURES = 26
OUTPUT = slice(12, 14)
"""Which features are the base network's own answer: x, y as shares of the screen."""


def recordings(root: Path) -> Recordings:
    """One recording per person and round: a gaze stream of 28 channels, and where the target was, cm.

    Channels are those of `told`, less the mean over the round. `root` is the set's folder or its parent. Raises
    DataError where nothing is found, or a file cannot be read.
    """
    return Recordings(one for path in SET.files(root) for one in _person(path))


def told(features_N26: NDArray[np.floating], mean_26: NDArray[np.floating]) -> NDArray[np.float32]:
    """(n, 28) x, y as the base network says them, then all features less what is their mean while a face calibrates."""
    return np.concatenate([features_N26[:, OUTPUT], features_N26 - mean_26], 1).astype(np.float32)


def _person(path: Path) -> list[Recording]:
    features, target, rounds = read_npz(path, "features", "target_xy", "round")
    check_rows(path, len(features), target_xy=target, round=rounds)
    check_shape(path, "features", features, FEATURES)
    check_shape(path, "target_xy", target, 2)
    if not (np.isfinite(features).all() and np.isfinite(target).all()):
        raise DataError(f"{path}: a feature or a target is no number; get it again")
    found = []
    for number in np.unique(rounds):
        chosen = rounds == number
        t = at_rate(int(chosen.sum()), RATE)
        seen = features[chosen]
        track = Track("phone", Stream("gaze", "gaze", "hand"), t, told(seen, seen.mean(0)))
        truth = Values(t, (target[chosen] * SCREEN_CM).astype(np.float32))
        name = f"{path.stem}_{number}"
        found.append(Recording(name, SET.name, path.stem, (track,), {"gaze-estimation": truth}))
    return found
