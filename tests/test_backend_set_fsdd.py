"""fsdd: a small copy, and the recordings at hand."""

import numpy as np
import pytest

from backend.data import (
    fsdd,
)
from backend.data.recording import Recording, sequence
from backend.data.sound import RATE
from broker.errors import DataError
from tests.small_sets import one, read, written


def test_fsdd_puts_a_short_word_in_the_middle_of_a_second(tmp_path):
    written(tmp_path, "fsdd")
    found = read(tmp_path, "fsdd")
    short, long = one(found, "3_theo_0"), one(found, "7_anna_12")
    assert (fsdd.digit(short), short.person, fsdd.digit(long), long.person) == (3, "theo", 7, "anna")
    assert len(short.tracks[0].t) == 16_000 and len(long.tracks[0].t) == pytest.approx(1.7 * 16_000, abs=2)
    loud = np.flatnonzero(np.abs(short.tracks[0].values[:, 0]) > 1000)
    assert (loud[0] + loud[-1]) / 2 == pytest.approx(8000, abs=100)
    assert len(sequence(short).series[0].present) == 1
    with pytest.raises(DataError, match="is no recording of fsdd"):
        fsdd.digit(Recording("x", "fsdd", "p", (), {}))


def test_fsdd_on_record(data_dir):
    found = read(data_dir, "fsdd")
    assert len(found) >= 400 and {fsdd.digit(r) for r in found} == set(range(10))
    assert all(len(r.tracks[0].t) == len(r.tracks[0].values) >= RATE and not r.labels for r in found)
