"""htad: a small copy, and the rows at hand."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from backend.data.recording import sequence
from broker.errors import DataError
from broker.modalities import READABLE
from tests.small_sets import one, read, written


def test_htad_rows_are_recordings_in_blocks_by_label(tmp_path):
    path = written(tmp_path, "htad") / "htad.parquet"
    found = read(tmp_path, "htad")
    names = [r.name for r in found if r.name.startswith("sweep")]
    assert names == [f"sweep-{i}" for i in range(8)]
    assert [one(found, name).fold for name in names] == [0, 0, 1, 1, 2, 2, 3, 3]
    assert one(found, "sweep-7").person == "sweep-block3" and one(found, "wash-hands-0").fold == 0
    phone, bracelet = (track.values[0, 0, 0] for track in one(found, "sweep-2").tracks)
    wanted = ("mfcc_mean1", "mfcc_deviation1", "acc_mean_x")
    mean, deviation, worn = (READABLE["features"].channels.index(name) for name in wanted)
    assert phone[mean] == pytest.approx((121 - 122) / 9)  # seconds of 120, 121 and 122
    assert phone[deviation] == pytest.approx(2 * np.std([120, 121, 122]) / 9, abs=1e-5)
    assert bracelet[worn] == pytest.approx(0.1 / 0.4)
    assert not (phone[24:] != 0).any() and not (bracelet[:24] != 0).any() and (phone[:24] != 0).all()
    assert sequence(found[0]).length == 1  # no row is another one's past
    table = pq.read_table(path)
    pq.write_table(table.set_column(0, "class", pa.array(["fly"] * len(table))), path)
    with pytest.raises(DataError, match=r"htad\.parquet: 'fly' is no activity"):
        read(tmp_path, "htad")


def test_htad_on_record(data_dir):
    found = read(data_dir, "htad")
    assert len(found) > 1000 and {r.fold for r in found} == {0, 1, 2, 3} and len({r.person for r in found}) == 28
