"""Sensors: recordings read and paced, the simulator live, the host's own; and what is said when one is missing."""

import shutil
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import soundfile

from broker.errors import ConfigError, DataError
from broker.messages import decode_frame, encode_frame
from broker.modalities import MODALITIES
from edge.clock import ManualClock
from edge.facts import FACTS
from edge.sensors import SENSORS, Reading, Sensor
from edge.sensors.host import AccelerometerSensor, HostFacts, facts, survey
from edge.sensors.listing import available
from edge.sensors.options import parse_time
from edge.sensors.replay import ReplaySensor, plan, tracks
from edge.simulator import Scene
from edge.sources import SensorSource
from edge.windows import SECOND, Stream, Window, cut

T0 = 1_700_000_000 * SECOND


IMU, AUDIO = Stream("imu", "imu", "wrist"), Stream("mic", "audio", "room")


HEADER = "x_acc,y_acc,z_acc,x_gyro,y_gyro,z_gyro,timestamp,label\n"


async def taken(sensor: Sensor, count: int = 10**6) -> Reading:
    """The first `count` readings as one."""
    readings = []
    async for reading in sensor.readings():
        readings.append(reading)
        if len(readings) == count:
            break
    return Reading(np.concatenate([r.t for r in readings]), np.concatenate([r.values for r in readings]))


def execution(path: Path, start: int = T0, n: int = 300, value: float = 1.0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [f"{value},0,9.8,0,0,{i},{start // 10**6 + 10 * i},SEATED" for i in range(n)]
    path.write_text(HEADER + "\n".join(rows) + "\n")
    return path


@pytest.mark.parametrize(
    "text", ["1700000000", "1700000000.0", "1700000000000", "1700000000000000000", "2023-11-14T22:13:20Z"]
)
def test_times_are_read_in_every_unit(text):
    assert parse_time(text) == T0


def test_iso_times_keep_their_zone_and_microseconds():
    assert parse_time("2023-11-15T00:13:20.250001+02:00") == T0 + 250_001_000
    assert parse_time("2023-11-14 22:13:20") == T0


async def test_an_ordinary_csv_is_replayed(tmp_path):
    path = tmp_path / "walk.csv"
    lines = [f"{datetime.fromtimestamp(1.7e9 + i / 50, UTC).isoformat()},0,0,9.81,0,0,{i}" for i in range(150)]
    path.write_text("Time,ax,ay,az,gyro_x,gyro_y,gyro_z\n" + "\n".join(lines))
    reading = await taken(SENSORS["replay"]({"path": str(path), "speed": 0}, IMU, ManualClock(T0)))
    assert reading.values.shape == (150, 6)
    assert reading.values[:, 5].tolist() == list(range(150))
    assert cut(IMU, reading.t, reading.values)[0].t0 == T0


async def test_times_from_zero_count_from_the_start_that_is_given(tmp_path):
    path = tmp_path / "lab.csv"
    path.write_text(
        "t,acc_x,acc_y,acc_z,gyro_x,gyro_y,gyro_z\n" + "".join(f"{i / 50},0,0,9,0,0,0\n" for i in range(60))
    )
    reading = await taken(SENSORS["replay"]({"path": str(path), "start": "2023-11-14T22:13:20Z"}, IMU, ManualClock()))
    assert reading.t[:2].tolist() == [T0, T0 + 20_000_000]


async def test_missing_values_are_nan_and_disorder_is_sorted(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text(HEADER + "1,0,0,0,0,0,1700000000020,A\n,0,0,0,0,0,1700000000000,A\n")
    reading = await taken(ReplaySensor(plan(tracks(path)), ManualClock(), 0))
    assert reading.t.tolist() == [T0, T0 + 20_000_000]
    assert np.isnan(reading.values[0, 0])


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg"])
@pytest.mark.parametrize("rate", [16000, 44100])
async def test_sound_files_are_mixed_and_resampled(tmp_path, suffix, rate):
    path = tmp_path / f"tone.{suffix}"
    wave = 0.5 * np.sin(2 * np.pi * 440 * np.arange(2 * rate) / rate)
    soundfile.write(path, np.stack([wave, wave], -1), rate)
    reading = await taken(ReplaySensor(plan(tracks(path, T0)), ManualClock(), 0))
    assert abs(len(reading.t) - 32000) <= 2
    assert np.all(np.diff(reading.t) == 62500)
    middle = slice(4000, 28000)
    wanted = 0.5 * np.sin(2 * np.pi * 440 * (reading.t[middle] - T0) / SECOND)
    assert np.abs(reading.values[middle, 0] - wanted).max() < 0.03


async def test_a_folder_of_clips_is_one_continuous_stream(tmp_path):
    for name in ("001-1-17-A.ogg", "002-1-18-A.ogg"):
        soundfile.write(tmp_path / name, np.full(44100, 0.1), 44100)
    reading = await taken(ReplaySensor(plan(tracks(tmp_path, T0)), ManualClock(), 0))
    assert len(cut(AUDIO, reading.t, reading.values)) == 3


def test_both_devices_of_an_execution_share_recording_and_shift(tmp_path):
    execution(tmp_path / "DATA/s01/s01_01_sp.csv", T0 + 30_000_000)
    execution(tmp_path / "DATA/s01/s01_01_sw.csv", T0)
    execution(tmp_path / "DATA/s02/s02_01_sw.csv", T0 + 86400 * SECOND)
    found = tracks(tmp_path)
    assert [(t.recording, t.device, t.placement) for t in found] == [
        ("s01_01", "watch", "wrist"),
        ("s01_01", "phone", "pocket"),
        ("s02_01", "watch", "wrist"),
    ]
    now = T0 + 10**6 * SECOND + 123
    parts = plan(found, now)
    assert parts[0].shift == parts[1].shift
    assert parts[1].at == 30_000_000
    assert parts[2].at == 3_020_000_000 + 3 * SECOND
    for part in parts:
        assert part.shift % (SECOND // 2) == 0
        assert 0 <= part.track.start + part.shift - now - part.at < SECOND


async def test_a_shifted_replay_cuts_the_same_windows(tmp_path):
    path = execution(tmp_path / "s01_01_sw.csv", T0 + 170_000_000)
    readings = [
        await taken(ReplaySensor(plan(tracks(path), now), ManualClock(), 0)) for now in (None, T0 + 99 * SECOND + 7)
    ]
    kept, moved = (cut(IMU, r.t, r.values) for r in readings)
    assert len(kept) == 4
    assert all(np.array_equal(a.values, b.values) for a, b in zip(kept, moved, strict=True))
    assert {b.t0 - a.t0 for a, b in zip(kept, moved, strict=True)} == {99 * SECOND}


@pytest.mark.parametrize("speed, seconds", [(1.0, 2.99), (10.0, 0.299), (0, 0.0)])
async def test_the_injected_clock_paces_a_replay(tmp_path, speed, seconds):
    clock = ManualClock(5)
    await taken(ReplaySensor(plan(tracks(execution(tmp_path / "a_01_sw.csv"))), clock, speed))
    assert (clock.now() - 5) / SECOND == pytest.approx(seconds, abs=1e-3)


async def test_readings_are_never_early(tmp_path):
    clock = ManualClock(T0)
    async for reading in ReplaySensor(plan(tracks(execution(tmp_path / "a_01_sw.csv"))), clock).readings():
        assert reading.t[-1] <= clock.now()


@pytest.mark.parametrize(
    "name, text, words",
    [
        ("a.csv", "acc_x,acc_y\n1,2\n", "no column of times"),
        ("a.csv", "timestamp,foo\n1,2\n", "acc_x"),
        ("a.csv", HEADER, "no samples"),
        ("a.csv", HEADER + "1,2,3,4,5,nope,1700000000000,A\n", "line 2"),
        ("a.csv", HEADER + "1,2\n", "line 2"),
        ("a.csv", "", "empty file"),
        ("a.wav", "no sound", "not a sound file"),
        ("a.txt", "", "not a recording"),
        ("a.parquet", "nothing", "sp_sw_har"),
    ],
)
def test_what_cannot_be_read_is_one_clear_error(tmp_path, name, text, words):
    pytest.importorskip("pyarrow")
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(DataError, match=words):
        tracks(path)


def plain(path: Path, start: int | None = T0, n: int = 300) -> Path:
    """A table as anyone has it; without a start its times count from 0."""
    step = 10_000_000
    rows = [f"{i / 100 if start is None else start + step * i},0,0,9.8,0,0,{i}" for i in range(n)]
    path.write_text("time,acc_x,acc_y,acc_z,gyro_x,gyro_y,gyro_z\n" + "\n".join(rows) + "\n")
    return path


async def test_every_table_in_a_folder_is_a_recording_and_what_is_none_is_named(tmp_path, caplog):
    plain(tmp_path / "b.csv", T0)
    plain(tmp_path / "a.CSV", T0 + 86400 * SECOND)
    execution(tmp_path / "s01_01_sw.csv", T0 + 999 * SECOND)
    soundfile.write(tmp_path / "tone.wav", np.zeros(16000), 16000)
    (tmp_path / "notes.csv").write_text("who,what\nme,walked\n")
    (tmp_path / "below").mkdir()
    plain(tmp_path / "below" / "c.csv")
    found = tracks(tmp_path, T0)
    assert sorted((t.recording, t.device, t.modality) for t in found) == [
        ("a", "", "imu"),
        ("b", "", "imu"),
        ("s01_01", "watch", "imu"),
        (tmp_path.name, "", "audio"),
    ]
    (told,) = [record.getMessage() for record in caplog.records if record.name == "edge.sensors.replay"]
    assert "not played: 2 (below/c.csv: in a folder below; notes.csv: no column of times among who, what" in told
    (tmp_path / "only").mkdir()
    (tmp_path / "only" / "notes.csv").write_text("who,what\nme,walked\n")
    with pytest.raises(DataError, match=r"no recordings.*notes\.csv: no column of times"):
        tracks(tmp_path / "only")


async def test_tables_whose_times_count_follow_each_other(tmp_path):
    for name in ("a", "b"):  # files of one moment, as a copy makes them
        plain(tmp_path / f"{name}.csv", None)
    first, second = tracks(tmp_path, T0)
    assert (first.start, first.end) == (T0, T0 + 2_990_000_000)
    assert second.start == T0 + 3 * SECOND
    reading = await taken(ReplaySensor(plan([first, second]), ManualClock(), 0))
    assert len(reading.t) == 600 and np.all(np.diff(reading.t) > 0)


def test_an_absent_file_and_an_empty_folder_are_errors(tmp_path):
    for path in (tmp_path / "absent.csv", tmp_path / "absent.wav", tmp_path):
        with pytest.raises(DataError, match=str(path)):
            tracks(path)


@pytest.mark.parametrize(
    ("n", "step_ms", "words"),
    [
        (20, 10, "0.19 s of imu are shorter than one window of 1 s"),
        (20, 1000, "1.05 samples a second of imu; it takes 25"),
    ],
)
def test_a_recording_that_cannot_have_a_window_says_why(tmp_path, n, step_ms, words):
    rows = [f"0,0,9.8,0,0,{i},{T0 // 10**6 + step_ms * i},SEATED" for i in range(n)]
    (tmp_path / "short.csv").write_text(HEADER + "\n".join(rows) + "\n")
    with pytest.raises(DataError, match=words):
        SENSORS["replay"]({"path": str(tmp_path / "short.csv")}, IMU, ManualClock())


async def test_a_recording_with_a_long_pause_is_played(tmp_path):
    """Twice two seconds, a hundred years apart: enough for windows, and no more memory than without a pause."""
    t = [*range(0, 2000, 20), *range(3_155_760_000_000, 3_155_760_002_000, 20)]
    rows = "".join(f"{ms},0,0,9.8,0,0,0\n" for ms in t)
    (tmp_path / "a.csv").write_text("time (ms),acc_x,acc_y,acc_z,gyro_x,gyro_y,gyro_z\n" + rows)
    stream = Stream("imu", "imu", "wrist")
    sensor = SENSORS["replay"]({"path": str(tmp_path), "speed": 0, "start": "1970-01-02"}, stream, ManualClock())
    sizes = [len(reading.t) for reading in [one async for one in sensor.readings()]]
    assert sum(sizes) == 200 and max(sizes) == 13


def test_a_recording_without_the_stream_says_what_it_holds(tmp_path):
    path = execution(tmp_path / "s01_01_sp.csv")
    with pytest.raises(ConfigError, match="it holds imu at pocket"):
        SENSORS["replay"]({"path": str(path)}, AUDIO, ManualClock())


async def test_both_layouts_of_sp_sw_har_give_the_same_samples(data_dir):
    pytest.importorskip("pyarrow")
    name = "s01_01"
    originals = {t.device: t for t in tracks(data_dir / "originals/sp_sw_har") if t.recording == name}
    curated = {t.device: t for t in tracks(data_dir / "sp_sw_har/s01.parquet") if t.recording == name}
    assert set(originals) == set(curated) == {"watch", "phone"}
    for device, track in originals.items():
        a, b = list(track.chunks()), list(curated[device].chunks())
        assert np.array_equal(np.concatenate([r.t for r in a]), np.concatenate([r.t for r in b]))
        assert np.array_equal(np.concatenate([r.values for r in a]), np.concatenate([r.values for r in b]))


async def test_a_clip_of_esc10_gives_its_five_seconds(data_dir):
    clip = sorted((data_dir / "esc10").glob("*.ogg"))[0]
    reading = await taken(ReplaySensor(plan(tracks(clip, T0)), ManualClock(), 0))
    assert len(cut(AUDIO, reading.t, reading.values)) == 9


async def test_the_simulator_renders_the_scene_at_the_clock():
    clock = ManualClock(T0 + 40)
    reading = await taken(SENSORS["simulator"]({"seed": 4}, IMU, clock), 30)
    assert reading.t[0] == T0
    assert np.array_equal(reading.values, Scene(4).imu("wrist", reading.t))
    assert clock.now() == T0 + 40 + 3 * SECOND


async def test_the_simulator_stops_after_its_seconds_and_sounds():
    options = {"seed": 4, "seconds": 2, "start": "2023-11-14T22:13:20Z", "speed": 0}
    reading = await taken(SENSORS["simulator"](options, AUDIO, ManualClock()))
    assert np.array_equal(reading.values[:, 0], Scene(4).audio(T0, 32000))
    assert len(cut(AUDIO, reading.t, reading.values)) == 3


async def test_a_simulated_device_has_the_flaws_it_is_given():
    options = {"seconds": 30, "speed": 0, "dropout": 0.5, "jitter_s": 0.005, "noise": 1}
    reading = await taken(SENSORS["simulator"](options, IMU, ManualClock(T0)))
    assert 600 < len(reading.t) < 2400


async def test_sensors_of_one_seed_err_each_in_its_own_way():
    options, noise = {"seconds": 1, "speed": 0, "start": "2023-11-14T22:13:20Z"}, []
    for stream in (IMU, Stream("imu2", "imu", "pocket"), Stream("imu3", "imu", "wrist"), IMU):
        flawed, clean = [
            await taken(SENSORS["simulator"]({**options, "noise": n}, stream, ManualClock())) for n in (1.0, 0.0)
        ]
        noise.append(flawed.values - clean.values)
    assert np.array_equal(noise[0], noise[3])
    for a, b in ((0, 1), (0, 2), (1, 2)):
        assert abs(np.corrcoef(noise[a].ravel(), noise[b].ravel())[0, 1]) < 0.3


@pytest.mark.parametrize(
    "sensor, options, stream, words",
    [
        ("simulator", {"sead": 1}, IMU, "sead.*seed"),
        ("simulator", {"seed": "x"}, IMU, "expected int"),
        ("simulator", {}, Stream("g", "gps", "car"), "no gps"),
        ("simulator", {}, Stream("i", "imu", "ear"), "wrist, pocket"),
        ("simulator", {"start": "yesterday"}, IMU, "option start is 'yesterday'"),
        ("replay", {"path": "x.csv", "start": "inf"}, IMU, "option start is 'inf'"),
        ("replay", {}, IMU, "needs the option path"),
        ("microphone", {}, IMU, "audio"),
        ("accelerometer", {}, AUDIO, "imu"),
        ("replay", {"path": "x.csv", "now": "yes"}, IMU, "bool"),
    ],
)
def test_settings_that_cannot_work_say_why(sensor, options, stream, words):
    with pytest.raises(ConfigError, match=words):
        SENSORS[sensor](options, stream, ManualClock())


def chip(root: Path, name: str, gyroscope: bool = True) -> None:
    """The files that Linux shows of an inertial chip."""
    folder = root / f"iio:device{len(list(root.glob('iio*')))}"
    folder.mkdir(parents=True)
    files = {"name": name, "in_accel_scale": "0.01", "in_accel_z_offset": "10"}
    files |= {f"in_accel_{axis}_raw": str(value) for axis, value in zip("xyz", (0, 100, 971), strict=True)}
    if gyroscope:
        files |= {f"in_anglvel_{axis}_raw": "200" for axis in "xyz"} | {"in_anglvel_scale": "0.001"}
    for file, text in files.items():
        (folder / file).write_text(text + "\n")


async def test_a_linux_accelerometer_is_read_in_units(tmp_path):
    chip(tmp_path, "lis3dh", gyroscope=False)
    chip(tmp_path, "bmi160")
    clock = ManualClock(T0)
    reading = await taken(AccelerometerSensor({"device": "bmi160", "rate": 100.0}, IMU, clock, tmp_path), 4)
    assert reading.values[0] == pytest.approx([0, 1.0, 9.81, 0.2, 0.2, 0.2])
    assert np.diff(reading.t).tolist() == [10_000_000] * 19
    plain = await taken(AccelerometerSensor({}, IMU, clock, tmp_path), 1)
    assert plain.values[0] == pytest.approx([0, 1.0, 9.81, 0, 0, 0])


async def test_an_axis_that_cannot_be_read_is_missing(tmp_path):
    chip(tmp_path, "bmi160")
    sensor = AccelerometerSensor({}, IMU, ManualClock(T0), tmp_path)
    (tmp_path / "iio:device0" / "in_accel_x_raw").unlink()
    assert np.isnan((await taken(sensor, 1)).values[0, 0])


async def test_an_axis_that_tells_no_number_is_missing_and_a_scale_that_is_none_is_an_error(tmp_path):
    chip(tmp_path, "bmi160")
    sensor, folder = AccelerometerSensor({}, IMU, ManualClock(T0), tmp_path), tmp_path / "iio:device0"
    (folder / "in_accel_x_raw").write_bytes(b"busy \xff")
    reading = await taken(sensor, 1)
    assert np.isnan(reading.values[:, 0]).all() and np.isfinite(reading.values[:, 1:]).all()
    (folder / "in_accel_scale").write_text("busy")
    with pytest.raises(ConfigError, match="in_accel_x_raw has the offset '' and the scale 'busy'"):
        AccelerometerSensor({}, IMU, ManualClock(T0), tmp_path)


async def test_a_chip_that_is_gone_has_failed(tmp_path):
    chip(tmp_path, "bmi160")
    sensor = AccelerometerSensor({}, IMU, ManualClock(T0), tmp_path)
    shutil.rmtree(tmp_path / "iio:device0")
    with pytest.raises(OSError, match="is the chip still there"):
        await taken(sensor, 1)


@pytest.mark.parametrize("hours", [-1, 24])
async def test_a_clock_that_is_set_brings_neither_silence_nor_a_burst(tmp_path, hours):
    chip(tmp_path, "bmi160")
    clock = ManualClock(T0)
    readings = AccelerometerSensor({}, IMU, clock, tmp_path).readings()
    await anext(readings)
    clock._now += hours * 3600 * SECOND
    for _ in range(5):
        reading = await anext(readings)
    steps = np.diff(reading.t)
    assert steps.tolist() == [20_000_000] * 4
    assert 0 < clock.now() - (T0 + hours * 3600 * SECOND) < SECOND


def test_a_machine_without_an_accelerometer_says_so(tmp_path):
    with pytest.raises(ConfigError, match="no Industrial I/O accelerometer"):
        AccelerometerSensor({}, IMU, ManualClock(), tmp_path)
    chip(tmp_path, "bmi160")
    with pytest.raises(ConfigError, match="none of bmi160"):
        AccelerometerSensor({"device": "x"}, IMU, ManualClock(), tmp_path)


def test_the_hosts_own_sensors_are_listed_with_units():
    assert all(each.unit in {"degC", "rpm", "%"} and np.isfinite(each.value) for each in survey())
    assert set(facts()) <= {"host.temperature", "host.fan", "host.battery"}


def test_every_sensor_of_the_table_is_listed_with_what_it_measures():
    rows = available()
    assert [(row.sensor, row.modalities) for row in rows] == [(name, kind.modalities) for name, kind in SENSORS.items()]
    assert all(row.detail for row in rows)


@pytest.mark.parametrize("name", SENSORS)
def test_a_sensor_measures_what_the_table_says_and_nothing_else(name):
    for modality in MODALITIES:
        stream = Stream("x", modality, "wrist")
        try:
            sensor = SENSORS[name]({}, stream, ManualClock())
        except (ConfigError, DataError) as error:  # such as no microphone here; but the modality is not to blame
            assert (f"sensor {name} has no {modality}" in str(error)) == (modality not in SENSORS[name].modalities)
        else:
            assert sensor.modality == modality
            assert modality in SENSORS[name].modalities


def test_only_recordings_can_wait():
    assert [name for name, kind in SENSORS.items() if kind.patient] == ["replay"]


def test_what_the_host_says_of_itself_travels_with_the_windows():
    stream = Stream("imu", "imu", "wrist")
    sensor = SENSORS["simulator"]({"seed": 1}, stream, ManualClock())
    source = SensorSource("home", "pi", stream, sensor, ManualClock(), host_facts=lambda: {"host.temperature": 41.5})
    window = Window(stream, 0, 50.0, np.ones((50, 6), np.float32), 1.0)
    travelled = decode_frame(encode_frame(source.frame(window))).facts
    assert travelled["host.temperature"] == 41.5
    assert travelled["imu.peak"] > 0
    remembered = HostFacts(every_s=60.0)
    assert remembered() is remembered()
    assert remembered().keys() <= FACTS.keys()
