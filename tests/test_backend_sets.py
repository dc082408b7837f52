"""What holds for every recorded set: on small copies that say what they hold, and on damaged ones."""

import pickle

import numpy as np
import pytest

from backend.data.recording import Segments, Values, sequence
from backend.tasks import TASKS
from broker.errors import DataError
from broker.modalities import READABLE
from tests.small_sets import SETS, read, touch, written

every_set = pytest.mark.parametrize("name", SETS)


@every_set
def test_a_set_is_found_and_cut_into_windows_with_its_truth(tmp_path, name):
    folder = written(tmp_path, name)
    found = read(tmp_path, name)
    assert [r.name for r in found] == [r.name for r in read(folder, name)]
    assert len({r.name for r in found}) == len(found) > 0 and not found.skipped
    for recording in found:
        assert recording.dataset == name
        cut = sequence(recording)
        assert cut is not None and {s.modality for s in cut.series} == {t.stream.modality for t in recording.tracks}
        for track in recording.tracks:
            assert track.t.dtype == np.int64 and (np.diff(track.t) >= 0).all()
            assert READABLE[track.stream.modality].takes(track.values.shape[-1])
        for task, truth in recording.labels.items():
            known = np.isfinite if isinstance(truth, Values) else np.sign
            assert cut.targets[task].shape == (cut.length, TASKS[task].size)
            assert known(cut.targets[task]).any(-1).all()


@every_set
def test_a_set_that_is_not_there_says_where_it_is(tmp_path, name):
    with pytest.raises(DataError, match=rf"no files of {name} .*give its folder.* it is at https://.* \(.+\)"):
        read(tmp_path, name)


@every_set
def test_damaged_files_are_named(tmp_path, name):
    whole = written(tmp_path, name)
    for path in sorted(p for p in whole.rglob("*") if p.is_file()):
        data = path.read_bytes()
        for damaged in (b"", b"not what it says", data[: len(data) // 2]):
            if path.suffix in (".flac", ".wav") and len(damaged) > 100:
                continue  # a sound that was cut short is a shorter sound
            path.write_bytes(damaged)
            with pytest.raises(DataError, match=path.name.replace(".", r"\.")):
                touch(read(tmp_path, name))
        path.write_bytes(data)
    touch(read(tmp_path, name))


@every_set
def test_recordings_travel_to_other_processes(tmp_path, name):
    written(tmp_path, name)
    for recording in read(tmp_path, name):
        again = pickle.loads(pickle.dumps(recording.tracks))
        for a, b in zip(recording.tracks, again, strict=True):
            assert np.array_equal(a.values[-1:], b.values[-1:])


def test_labels_that_readers_give_are_the_tasks_own(tmp_path):
    for name in SETS:
        written(tmp_path, name)
        for recording in read(tmp_path, name):
            for task, truth in recording.labels.items():
                if isinstance(truth, Segments):
                    assert (truth.index >= 0).all() and (truth.index < TASKS[task].size).all()
                else:
                    assert truth.values.dtype == np.float32 and truth.values.shape[1] == TASKS[task].size
