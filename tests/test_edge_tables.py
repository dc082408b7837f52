"""CSV as people and apps write it: columns by name and unit, times by one rule per column, disorder mended and told."""

import logging
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.errors import DataError
from edge.clock import SECOND, ManualClock
from edge.sensors.replay import ReplaySensor, plan, tracks
from edge.sensors.tables import ACCELERATION, IMU, TURNING, find_columns, moments, read
from edge.windows import Stream, cut

T0 = 1_700_000_000 * SECOND
UNITS = {"s": SECOND, "ms": 10**6, "us": 1000, "ns": 1}
NAMES = ",".join(IMU.channels)


def written(path: Path, header: str, rows: list[str]) -> Path:
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def still(times) -> list[str]:
    return [f"{t},0,0,9.8,0,0,{i}" for i, t in enumerate(times)]


def in_unit(ns: np.ndarray, unit: str) -> list[str]:
    """Exact decimals, as an app would write them."""
    whole, digits = UNITS[unit], len(str(UNITS[unit])) - 1
    return [f"{t // whole}.{t % whole:0{digits}}" if digits else str(t) for t in ns.tolist()]


@settings(max_examples=150, deadline=None)
@given(
    unit=st.sampled_from(sorted(UNITS)),
    named=st.booleans(),
    begin=st.one_of(
        st.integers(0, 10**15),  # counts from zero or since a boot that was up to 11 days ago
        st.integers(800_000_000 * SECOND, 4_000_000_000 * SECOND),  # moments of 1995 to 2096
    ),
    rate=st.floats(25.0, 200.0),
    jitter=st.floats(0.0, 0.9),
    pause_s=st.integers(0, 3600),
    seed=st.integers(0, 10**6),
)
def test_whatever_the_unit_times_come_back_as_they_were(unit, named, begin, rate, jitter, pause_s, seed):
    steps = SECOND / rate * (1 + jitter * np.random.default_rng(seed).uniform(-1, 1, 60))
    steps[30] += pause_s * SECOND
    t = begin + np.cumsum(np.rint(steps)).astype(np.int64)
    found, relative = moments(in_unit(t, unit), unit if named else "", IMU.rate)
    assert relative == (begin <= 10**15)
    assert np.abs(found - t).max() <= (0 if unit == "ns" else 500)  # half a microsecond is what a float leaves


@pytest.mark.parametrize("unit", UNITS)
def test_moments_in_whole_nanoseconds_are_exact(unit):
    t = T0 + np.arange(100) * 20_000_000
    whole = [str(each // UNITS[unit]) for each in t.tolist()]
    found, relative = moments(whole, "", IMU.rate)
    assert not relative
    assert np.array_equal(found, t // UNITS[unit] * UNITS[unit])  # whole seconds, too: fifty samples share each


def test_nanoseconds_since_a_boot_are_no_epoch_in_milliseconds():
    """A phone that has been up for half an hour: 1.8e12 ns would be the year 2027 in ms."""
    t = 1_800 * SECOND + np.arange(50) * 20_000_000
    found, relative = moments([str(each) for each in t], "", IMU.rate)
    assert relative
    assert np.array_equal(found, t)


def test_iso_times_are_read_with_and_without_a_zone(tmp_path):
    for zone in ("", "Z", "+00:00"):
        rows = still(f"2023-11-14T22:13:2{i // 50}.{i % 50 * 20_000:06}{zone}" for i in range(100))
        table = read(written(tmp_path / "a.csv", f"time,{NAMES}", rows))
        assert not table.relative
        assert np.array_equal(table.t, T0 + np.arange(100) * 20_000_000)


@pytest.mark.parametrize(
    ("header", "unit", "place"),
    [
        (f"timestamp,{NAMES}", "", 0),
        (f"timestamp_ms,{NAMES}", "ms", 0),
        (f"timestampNs,{NAMES}", "ns", 0),
        (f"Time (s),{NAMES}", "s", 0),
        (f"Time since start in ms,{NAMES}", "ms", 0),
        (f"seconds_elapsed,{NAMES}", "s", 0),
        (f"seconds_elapsed,time,{NAMES}", "", 1),
        (f"t,label,{NAMES}", "", 0),
        (f"t_s,{NAMES}", "s", 0),
        (f"ts,{NAMES}", "", 0),
        (f"elapsed_seconds,{NAMES}", "s", 0),
        (f"Time (sec),{NAMES}", "s", 0),
        (f"Time (millis),{NAMES}", "ms", 0),
        (f"Time (\u03bcs),{NAMES}", "us", 0),
        (f"Time (\u00b5s),{NAMES}", "us", 0),
        (f"timestamp_\u03bcs,{NAMES}", "us", 0),
        (f"Timestamp (UTC),{NAMES}", "", 0),
        (f"x,y,unixTime [us],{NAMES}", "us", 2),
        ("ax,ay,az,gx,gy,gz,ts", "", 6),
        ("time,accelerometerX,accelerometerY,accelerometerZ,gyroscopeX,gyroscopeY,gyroscopeZ", "", 0),
        ("time,Acceleration x (m/s^2),Acceleration y (m/s^2),Acceleration z (m/s²),wx,wy,wz", "", 0),
        ("time,x_acc,y_acc,z_acc,x_gyro,y_gyro,z_gyro", "", 0),
        ("Time,ACC_X,ACC_Y,ACC_Z,GYR_X,GYR_Y,GYR_Z", "", 0),
    ],
)
def test_usual_names_are_known(header, unit, place):
    found = find_columns(Path("a.csv"), header.split(","))
    assert (found.channels, found.unit, found.time) == (IMU.channels, unit, place)


def test_a_unit_that_is_named_is_converted(tmp_path):
    header = "Time (ms),ax (g),ay (g),az (g),gx (deg/s),gy (deg/s),gz (°/s)"
    table = read(written(tmp_path / "a.csv", header, [f"{20 * i},0,0,1,180,0,90" for i in range(60)]))
    assert table.values[0] == pytest.approx([0, 0, 9.80665, np.pi, 0, np.pi / 2], abs=1e-5)
    with pytest.raises(DataError, match=r"ax \(furlong\): its unit is none of m/s2, g, mg"):
        read(written(tmp_path / "a.csv", header.replace("ax (g)", "ax (furlong)"), ["0,0,0,1,0,0,0"]))


def test_feet_are_converted(tmp_path):
    table = read(written(tmp_path / "a.csv", "time,latitude,longitude,altitude (ft)", ["0,48,11,100", "1,48,11,200"]))
    assert table.values[:, 2] == pytest.approx([0.0, 30.48], abs=1e-3)


def test_places_become_metres_from_the_first_fix(tmp_path):
    rows = [f"{T0 / 1e9 + i},{48 + i * 1e-5},11,500" for i in range(5)]  # a metre and a tenth to the north each second
    table = read(written(tmp_path / "a.csv", "time,latitude,longitude,altitude", rows))
    assert (table.modality, table.channels) == ("gps", ("east", "north", "up", "speed"))
    assert table.values[:, 1] == pytest.approx(1.112 * np.arange(5), abs=0.01)
    assert table.values[:, [0, 2]] == pytest.approx(np.zeros((5, 2)))
    assert table.values[:, 3] == pytest.approx(np.full(5, 1.112), abs=0.01)


def test_a_fix_that_lacks_something_costs_no_other(tmp_path):
    """The receiver has no place at first and no height until later; one time is there twice."""
    places = ["0,,,", "1,48.00001,11,", "2,48.00002,11,500", "2,48.00003,11,500", "3,,11,501", "4,48.00004,11,502"]
    values = read(written(tmp_path / "a.csv", "time,latitude,longitude,altitude", places)).values
    assert np.isnan(values[[0, 4], 1]).all()
    assert values[[1, 2, 5], 1] == pytest.approx([0, 1.112, 3 * 1.112], abs=0.01)
    assert values[:, 2] == pytest.approx([0, 0, 0, 0, 1, 2])
    assert values[[1, 2, 3, 5], 3] == pytest.approx(np.full(4, 1.112), abs=0.01)
    bare = read(written(tmp_path / "b.csv", "time,latitude,longitude,altitude", ["0,48,11,", "1,48.00001,11,"])).values
    assert bare == pytest.approx(np.array([[0, 0, 0, 1.112], [0, 1.112, 0, 1.112]]), abs=0.01)


@pytest.mark.parametrize("name", ["Gravity", "Magnetometer", "Orientation", "rotation_rate", "Pressure"])
def test_x_y_z_of_another_sensor_are_no_acceleration(tmp_path, name):
    rows = [f"{i / 50},0,0,9.8" for i in range(60)]
    with pytest.raises(DataError, match=r"x, y, z of another sensor, by .* call them acc_x"):
        read(written(tmp_path / f"{name}.csv", "time,x,y,z", rows))
    assert read(written(tmp_path / f"{name}.csv", "time,acc_x,acc_y,acc_z", rows)).channels == ACCELERATION


@pytest.mark.parametrize(
    ("name", "channels", "told"),
    [("walk", ACCELERATION, True), ("my_acc", ACCELERATION, False), ("Gyroscope", TURNING, False)],
)
def test_x_y_z_are_what_the_files_name_says(tmp_path, caplog, name, channels, told):
    table = read(written(tmp_path / f"{name}.csv", "time,x,y,z", [f"{i / 50},0,0,9.8" for i in range(60)]))
    assert table.channels == channels
    assert ("x, y, z are taken for acceleration" in caplog.text) == told


@pytest.mark.parametrize(("header", "told"), [(NAMES, True), (NAMES.replace("gyro_x", "gyro_x (deg/s)"), False)])
def test_turn_rates_in_degrees_without_a_unit_are_doubted(tmp_path, caplog, header, told):
    read(written(tmp_path / "a.csv", f"time,{header}", [f"{i / 50},0,0,9.8,90,0,0" for i in range(60)]))
    assert ("turn rates of 90 rad/s" in caplog.text) == told


def test_semicolons_and_decimal_commas_are_read(tmp_path):
    rows = [f"{i / 50:.2f};0;0;9.8;0;0;{i}".replace(".", ",") for i in range(60)]
    table = read(written(tmp_path / "a.csv", "Time (s);" + NAMES.replace(",", ";"), rows))
    assert np.array_equal(table.t, np.arange(60) * 20_000_000)
    assert table.values[1] == pytest.approx([0, 0, 9.8, 0, 0, 1])


@settings(max_examples=50, deadline=None)
@given(order=st.permutations(range(60)), again=st.lists(st.integers(0, 59), max_size=20))
def test_disorder_is_sorted_and_repetitions_are_dropped_and_both_are_told(tmp_path_factory, order, again):
    path = tmp_path_factory.mktemp("table") / "a.csv"
    rows = still(T0 + i * 20_000_000 for i in range(60))
    table = read(written(path, f"timestamp,{NAMES}", [rows[i] for i in [*order, *again]]))
    assert np.array_equal(table.t, T0 + np.arange(60) * 20_000_000)
    assert table.values[:, 5].tolist() == list(range(60))


def test_what_was_mended_is_counted_and_bunches_are_kept(tmp_path, caplog):
    rows = [*still(T0 // 10**6 + t for t in (0, 20, 20, 60, 40)), f"{T0 // 10**6},0,0,9.8,0,0,0"]
    table = read(written(tmp_path / "a.csv", f"timestamp,{NAMES}", rows))
    assert table.values[:, 5].tolist() == [0, 1, 2, 4, 3]
    assert [record.getMessage().split(": ", 1)[1] for record in caplog.records] == [
        "of 6 samples 2 were out of order and are sorted, 1 were there twice and are dropped"
    ]
    caplog.clear()
    read(written(tmp_path / "b.csv", f"timestamp,{NAMES}", rows[:4]))
    assert not caplog.records


@pytest.mark.parametrize(
    ("header", "rows", "words"),
    [
        ("", [], "empty file"),
        ("time,foo", ["0,1"], "columns time, foo; an imu needs acc_x, acc_y"),
        ("foo,bar", ["0,1"], "no column of times among foo, bar; call it timestamp"),
        ("time,Linear Acceleration x,Linear Acceleration y", ["0,1,2"], "columns time, Linear"),
        (f"time,{NAMES}", ["0,1,2"], "line 2: 3 columns, fewer than the header has"),
        (f"time,{NAMES}", [*still([0]), "1,2", *still([1])], "line 3"),
        (f"time,{NAMES}", still([0, "yesterday"]), "column of times: .*yesterday"),
        (f"time,{NAMES}", still([0, "nan"]), "column of times: 'nan' is no time"),
        (f"time (h),{NAMES}", still([0]), r"column time \(h\): its unit is none of s, ms, us, ns"),
        (f"time (min),{NAMES}", still([0]), r"column time \(min\): its unit is none of s, ms, us, ns"),
        (f"time,{NAMES}", still(["2023-11-14T22:13:20", T0]), "'2023-11-14T22:13:20' and '17.*'; write all in one way"),
        ("time,latitude,longitude,altitude (yd)", ["0,48,11,3"], r"altitude \(yd\): its unit is none of m, .*ft"),
        (f"time (s),{NAMES}", still([10**18, 10**18 + 1]), "column of times: .* are no times"),
    ],
)
def test_what_cannot_be_used_is_one_line_that_says_what_was_found(tmp_path, header, rows, words):
    with pytest.raises(DataError, match=words) as caught:
        read(written(tmp_path / "a.csv", header, rows))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("cut_short", ["40,0,0", "40,0,0,9.8,0,0,-"])
def test_a_last_line_that_is_cut_short_is_left_out_and_told(tmp_path, caplog, cut_short):
    table = read(written(tmp_path / "a.csv", f"time (ms),{NAMES}", [*still([0, 20]), cut_short]))
    assert table.t.tolist() == [0, 20_000_000]
    (record,) = caplog.records
    assert "a.csv: line 4: " in record.message and "left out" in record.message


def test_rows_without_a_time_are_left_out_and_told(tmp_path, caplog):
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    t = [1_700_000_000_000 + 20 * i for i in range(100)]
    t[3] = t[7] = None
    names = {name: np.ones(100) for name in IMU.channels}
    pq.write_table(
        pa.table({"timestamp": t, "exec": [1] * 100, "device": ["sw"] * 100, **names}), tmp_path / "s01.parquet"
    )
    (track,) = tracks(tmp_path / "s01.parquet")
    assert (track.samples, track.start) == (98, T0)
    (record,) = caplog.records
    assert "s01.parquet: 2 of 100 rows lack timestamp" in record.message and "the first is row 4" in record.message


def test_other_bytes_are_no_table(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"\xff\xfe\x00 no text")
    with pytest.raises(DataError, match="not a CSV file in UTF-8"):
        read(tmp_path / "a.csv")


def sensor_logger(folder: Path) -> Path:
    """An export as the app writes it: a file per sensor, z before x, in ns since 1970."""
    folder.mkdir(exist_ok=True)
    for name, value, rate, begin in (
        ("TotalAcceleration", 9.8, 100, T0),
        ("Accelerometer", 0.0, 100, T0),
        ("Gyroscope", 0.5, 50, T0 + SECOND),
    ):
        rows = [f"{begin + i * SECOND // rate},{i / rate},{value},0.2,0.1" for i in range(4 * rate)]
        written(folder / f"{name}.csv", "time,seconds_elapsed,z,y,x", rows)
    written(folder / "Metadata.csv", "version,device name", ["3,phone"])
    return folder


async def samples(path: Path, start: int | None = None):
    readings = [r async for r in ReplaySensor(plan(tracks(path, start)), ManualClock(), 0).readings()]
    return np.concatenate([r.t for r in readings]), np.concatenate([r.values for r in readings])


async def test_an_export_of_sensor_logger_is_one_recording(tmp_path):
    t, values = await samples(sensor_logger(tmp_path / "walk"))
    assert np.array_equal(t, T0 + np.arange(400) * 10_000_000)
    assert values[200] == pytest.approx([0.1, 0.2, 9.8, 0.1, 0.2, 0.5])
    assert np.isnan(values[50, 3:]).all()  # the gyroscope began a second later
    assert [window.t0 for window in cut(Stream("imu", "imu", "wrist"), t, values)] == [
        T0 + SECOND + i * SECOND // 2 for i in range(5)
    ]


async def test_an_export_of_phyphox_begins_when_it_is_told_to(tmp_path):
    for name, kind, unit, value in (("Accelerometer", "Acceleration", "m/s^2", 9.8), ("Gyroscope",) * 2 + ("rad/s", 1)):
        header = ",".join(f'"{column}"' for column in ("Time (s)", *(f"{kind} {axis} ({unit})" for axis in "xyz")))
        written(tmp_path / f"{name}.csv", header, [f"{0.005 + i / 100:.9E},0,0,{value}" for i in range(300)])
    t, values = await samples(tmp_path, T0)
    assert t[:2].tolist() == [T0, T0 + 10_000_000]
    assert values[10] == pytest.approx([0, 0, 9.8, 0, 0, 1])
    t, _ = await samples(tmp_path)
    begin = datetime.fromtimestamp(t[0] / 1e9, UTC)
    assert abs(begin.timestamp() - (tmp_path / "Accelerometer.csv").stat().st_mtime) < 1  # the time of the file


async def test_acceleration_alone_is_taken_with_turn_rates_of_0_and_a_word(tmp_path, caplog):
    path = sensor_logger(tmp_path) / "TotalAcceleration.csv"
    assert read(path).channels == ACCELERATION
    _, values = await samples(path)
    assert values[0] == pytest.approx([0.1, 0.2, 9.8, 0, 0, 0])
    assert "no columns of turn rates" in caplog.text
    assert read(tmp_path / "Gyroscope.csv").channels == TURNING
    with pytest.raises(DataError, match="turn rates alone"):
        tracks(tmp_path / "Gyroscope.csv")


def test_halves_without_a_common_zero_are_refused(tmp_path):
    sensor_logger(tmp_path)
    written(tmp_path / "Gyroscope.csv", "time,x,y,z", [f"{i / 50},0,0,0" for i in range(100)])
    with pytest.raises(DataError, match=r"Gyroscope\.csv: one tells when it was measured, the other does not"):
        tracks(tmp_path)


@pytest.mark.parametrize(("value", "told"), [(9.8, False), (1.0, True), (0.1, True)])
def test_acceleration_in_g_or_without_gravity_is_doubted(tmp_path, caplog, value, told):
    caplog.set_level(logging.WARNING)
    read(written(tmp_path / "a.csv", f"time,{NAMES}", [f"{i / 50},0,0,{value},0,0,0" for i in range(60)]))
    assert ("is gravity taken out, or the unit g?" in caplog.text) == told
