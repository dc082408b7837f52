"""capfingerid: a small copy, copies that contradict themselves, and the recordings at hand."""

import numpy as np
import pytest

from backend.data import (
    files,
)
from backend.tasks import TASKS
from broker.errors import DataError
from edge.clock import SECOND
from tests.small_sets import read, write_npz, written


def test_capfingerid_breaks_where_the_finger_changes_or_time_does_not_go_on(tmp_path):
    written(tmp_path, "capfingerid")
    found = read(tmp_path, "capfingerid")
    assert [(r.name.split("_")[2], len(r.tracks[0].t)) for r in found] == [
        ("right-thumb", 3), ("right-thumb", 2), ("left-little", 2), ("left-little", 2),
    ]  # fmt: skip
    last = found[-1]
    assert last.tracks[0].values[:, 0, 0, 0].tolist() == [7, 8] and last.tracks[0].values.dtype == np.int16
    assert last.tracks[0].t[0] == 1_508_000_004 * SECOND
    assert TASKS["touch-contact"].outputs[int(last.labels["touch-contact"].index[0])] == "left-little"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"finger": np.int8([7] * 9)}, "a finger is none of 0..4"),
        ({"finger": np.int8([0] * 8)}, "hand has 9 rows, not 8"),
        ({"time_s": np.full(9, np.nan)}, "a time is no number"),
        ({"image": np.zeros((9, 20, 15), np.int16)}, "image is 9 x 20 x 15 x 1, not n x 27 x 15 x 1"),
    ],
)
def test_capfingerid_that_contradicts_itself_is_refused(tmp_path, change, said):
    path = written(tmp_path, "capfingerid") / "P03.npz"
    names = ("image", "finger", "hand", "time_s")
    write_npz(path, **(dict(zip(names, files.read_npz(path, *names), strict=True)) | change))
    with pytest.raises(DataError, match=rf"P03\.npz: {said}"):
        read(tmp_path, "capfingerid")


def test_capfingerid_on_record(data_dir):
    found = read(data_dir, "capfingerid")
    assert len({r.person for r in found}) >= 13
    peaks = [
        np.percentile(track.values[:50].max((1, 2, 3)) * track.scale, 50) for r in found[::20] for track in r.tracks
    ]
    assert np.median(peaks) == pytest.approx(0.9, abs=0.2)
