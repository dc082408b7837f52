"""Sets of sound: their samples stay on disk, however many there are."""

import csv
import pickle
import tracemalloc

import numpy as np
import pytest
import soundfile

from backend.data import esc10, fsdd, sound
from backend.data.kept import kept
from backend.data.sound import RATE
from broker.errors import DataError

SECONDS = 4
CLIP = 2 * SECONDS * RATE
"""Bytes of a clip."""


def write_fsdd(folder, count):
    """So many recordings of one word."""
    folder.mkdir()
    for i in range(count):
        soundfile.write(folder / f"3_theo_{i}.wav", np.full(8000 * SECONDS, 0.25), 8000)


def write_esc10(folder, count):
    """So many clips of one dog."""
    folder.mkdir()
    rows = [["file", "class_name", "fold", "freesound_source"]]
    for i in range(count):
        rows.append([f"001-1-{i}-A.ogg", "Dog bark", 1, i])
        soundfile.write(folder / rows[-1][0], np.random.default_rng(i).normal(0, 0.1, RATE * SECONDS), RATE)
    with (folder / "meta.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)


@pytest.mark.parametrize(("write", "read"), [(write_fsdd, fsdd.recordings), (write_esc10, esc10.recordings)])
def test_memory_does_not_grow_with_the_set(tmp_path, monkeypatch, write, read):
    monkeypatch.setattr(sound, "_heard", kept(3)(sound.read_sound))
    write(tmp_path / "set", 30)
    read(tmp_path / "set")  # what is imported at the first call is no matter of the set
    tracemalloc.start()
    try:
        found = read(tmp_path / "set")
        assert tracemalloc.get_traced_memory()[0] < 2 * CLIP
        for one in found:
            assert np.asarray(one.tracks[0].values).shape == (SECONDS * RATE, 1)
            assert np.diff(one.tracks[0].t[:]).max() == 62_500
        assert tracemalloc.get_traced_memory()[0] < (3 + 2) * CLIP
    finally:
        tracemalloc.stop()


def test_clips_that_were_used_last_are_not_read_again(tmp_path, monkeypatch):
    write_fsdd(tmp_path / "set", 2)
    one, other = fsdd.recordings(tmp_path / "set")
    read = []
    monkeypatch.setattr(sound, "_heard", kept(2)(lambda path: read.append(path.name) or sound.read_sound(path)))
    for recording in (one, other, one, one, other):
        assert recording.tracks[0].values[5, 0] == pytest.approx(0.25 * 32768, rel=0.3)
    assert read == ["3_theo_0.wav", "3_theo_1.wav"]


def test_clips_that_are_kept_take_no_more_memory_than_they_may(tmp_path, monkeypatch):
    """Of long sounds fewer are kept."""
    monkeypatch.setattr(sound, "_heard", kept(sound.KEPT, 5 * CLIP // 2)(sound.read_sound))
    write_fsdd(tmp_path / "set", 20)
    found = fsdd.recordings(tmp_path / "set")
    tracemalloc.start()
    try:
        for one in found:
            assert len(one.tracks[0].values[:]) == SECONDS * RATE
        assert tracemalloc.get_traced_memory()[0] < 3 * CLIP
    finally:
        tracemalloc.stop()


def test_nobody_writes_into_the_sound_that_others_hear(tmp_path):
    write_fsdd(tmp_path / "set", 1)
    (one,) = fsdd.recordings(tmp_path / "set")
    values = one.tracks[0].values
    with pytest.raises(ValueError, match="read-only"):
        values[:][:] = 7
    own = values.astype(np.int16)
    own[:] = 7
    assert values[5, 0] != 7


def test_sound_travels_to_other_processes_and_a_file_that_changed_is_noticed(tmp_path):
    write_fsdd(tmp_path / "set", 1)
    (one,) = fsdd.recordings(tmp_path / "set")
    again = pickle.loads(pickle.dumps(one))
    for name in ("t", "values"):
        assert np.array_equal(getattr(again.tracks[0], name)[:], getattr(one.tracks[0], name)[:])
    for change in (8, -8):
        soundfile.write(tmp_path / "set" / "3_theo_0.wav", np.full(8000 * SECONDS + change, 0.25), 8000)
        now, before = SECONDS * RATE + 2 * change, SECONDS * RATE
        message = rf"3_theo_0\.wav: has {now} samples at 16000 Hz and had {before} before; read the set again"
        with pytest.raises(DataError, match=message):
            one.tracks[0].values[:1]
    (tmp_path / "set" / "3_theo_0.wav").unlink()
    with pytest.raises(DataError, match=r"3_theo_0\.wav: cannot be opened"):
        again.tracks[0].values[:1]
