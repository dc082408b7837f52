"""thermal_d6t: a small copy, damaged ones, and the recordings at hand."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from backend.data import (
    thermal_d6t,
)
from backend.tasks import TASKS
from broker.errors import DataError
from tests.small_sets import read, written


def test_thermal_d6t_is_in_kelvin_with_its_own_steps(tmp_path):
    written(tmp_path, "thermal_d6t")
    found = read(tmp_path, "thermal_d6t")
    assert [(r.name, r.person) for r in found] == [("b3", "B"), ("b8", "D")]
    track = found[0].tracks[0]
    assert track.values.dtype == np.uint16 and track.values.shape == (3, 4, 4, 1)
    assert track.values[0, 0, 1, 0] * track.scale == pytest.approx(273.15 + 20.2)
    assert ((track.t - track.t[0]) // 1_000_000).tolist() == [0, 500, 750]
    assert np.datetime64(int(track.t[0]), "ns") == np.datetime64("2016-06-13T21:05:41")
    outputs = TASKS["activity-recognition"].outputs
    said = [outputs[int(r.labels["activity-recognition"].index[0])] for r in found]
    assert said == ["lying-with-blanket", "nobody"]


def test_thermal_d6t_without_what_is_read_says_so(tmp_path):
    path = written(tmp_path, "thermal_d6t") / "d6t.parquet"
    table = pq.read_table(path)
    for column, value, said in (
        ("room", "bathroom", "no good rows of bedroom postures 1 to 8"),
        ("time", "yesterday", "time 'yesterday' is no date"),
        ("t3", 1e6, "b3.csv: a temperature is out of range"),
        ("dt_ms", float("nan"), "dt_ms is no positive number"),
    ):
        i = table.column_names.index(column)
        pq.write_table(table.set_column(i, column, pa.array([value] * len(table))), path)
        with pytest.raises(DataError, match=rf"d6t\.parquet: .*{said}"):
            read(tmp_path, "thermal_d6t")
    pq.write_table(table.drop_columns(["t7"]), path)
    with pytest.raises(DataError, match=r"columns \['t7'\] are missing"):
        read(tmp_path, "thermal_d6t")


def test_thermal_d6t_on_record(data_dir):
    found = read(data_dir, "thermal_d6t")
    outputs = TASKS["activity-recognition"].outputs
    warmest = {}
    for recording in found:
        label = outputs[int(recording.labels["activity-recognition"].index[0])]
        kelvin = recording.tracks[0].values * recording.tracks[0].scale
        assert kelvin.min() > 283 and kelvin.max() < 320
        warmest.setdefault(label, []).append((kelvin.max((1, 2, 3)) - np.median(kelvin, (1, 2, 3))).mean())
    assert set(warmest) == set(thermal_d6t.LABELS)
    assert np.mean(warmest["lying-on-bed"]) > 2 * np.mean(warmest["nobody"])
