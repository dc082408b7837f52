"""room_occupancy: a small copy, and the days at hand."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from backend.data.recording import sequence
from backend.tasks import TASKS
from broker.errors import DataError
from broker.modalities import READABLE
from tests.small_sets import read, written


def test_days_of_a_room_are_rows_one_a_slot(tmp_path):
    path = written(tmp_path, "room_occupancy") / "occupancy.parquet"
    first, second = read(tmp_path, "room_occupancy")
    assert (first.name, first.person, second.person) == ("2017-12-22", "2017-12-22", "2017-12-23")
    cut = sequence(first)
    assert cut.length == 4
    said = [TASKS["activity-recognition"].outputs[i] for i in cut.majority("activity-recognition")]
    assert said == ["nobody", "one-person", "two-people", "three-people"]
    names = READABLE["features"].channels
    row = dict(zip(names, cut.series[0].values[3, 0, 0].tolist(), strict=True))
    assert row["temperature4"] == pytest.approx(1.0) and row["light1"] == pytest.approx(np.log(101) / 2 - 1)
    assert (row["co2"], row["pir1"], row["pir2"], row["mfcc_mean1"]) == (1.5, 1, -1, 0)
    table = pq.read_table(path)
    counts = table.schema.get_field_index("Room_Occupancy_Count")
    pq.write_table(table.set_column(counts, "Room_Occupancy_Count", pa.array([4] * len(table))), path)
    with pytest.raises(DataError, match=r"occupancy\.parquet: .* a count none of 0 to 3"):
        read(tmp_path, "room_occupancy")


def test_room_occupancy_on_record(data_dir):
    light = READABLE["features"].channels.index("light1")
    for day in read(data_dir, "room_occupancy"):
        cut, nobody = sequence(day), TASKS["activity-recognition"].outputs.index("nobody")
        empty = cut.majority("activity-recognition") == nobody
        lit = cut.series[0].values[:, 0, 0, light] > 1  # 50 lux
        assert empty[lit].mean() < 0.2 < 0.9 < empty[~lit].mean() if lit.any() else empty.all()
