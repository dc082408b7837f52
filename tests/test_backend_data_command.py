"""`backend data list` and `check`: what is listed, and what a check finds wrong."""

from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from backend.cli import app
from backend.data import DATASETS, Recording, Recordings, Segments, Track, Values, synthetic
from backend.data.files import ORIGIN, SLOT
from backend.data.inspect import inspect, read, simulated
from backend.data.plausible import MODALITY_RULES
from backend.tasks import TASKS
from broker.errors import ConfigError, DataError
from broker.modalities import JOINTS, READABLE
from edge.clock import SECOND
from tests import small_sets
from tests.data_command import SIMULATED, call, touched, track, watch


def problems(recordings, name="sp_sw_har", skipped=()):
    return inspect(name, Recordings(recordings, skipped)).problems


def blocks(output):
    """What the list says of each set, by name and by what each line begins with."""
    told = {}
    for line in output.splitlines():
        if not line.startswith(" "):
            told[line] = {}
        else:
            what, said = line.split(maxsplit=1)
            told[list(told)[-1]][what] = said
    return told


def test_the_list_has_every_set_and_where_it_is_obtained():
    done = call("list")
    assert done.exit_code == 0
    for name, row in DATASETS.items():
        told = blocks(done.output)[name]
        assert bool(row.address) == (name not in SIMULATED), f"{name}: a recorded set has an address"
        assert told["from"] == (row.address or "generated when used")
        assert told["senses"] == ", ".join(row.modalities)
        assert told["licence"] == row.licence
        assert told["tasks"] == (", ".join(row.tasks) or "none")
        assert told.get("masks", "") == ", ".join(row.masks)


@pytest.mark.parametrize("columns", ["20", "80"])
def test_the_list_is_whole_in_a_pipe_and_breaks_no_word_on_a_terminal(columns, monkeypatch):
    """Cells were cut to "modalit…" and addresses broken into pieces of ten characters."""
    piped = CliRunner().invoke(app, ["data", "list"], env={"COLUMNS": columns}).output
    assert piped == call("list").output
    monkeypatch.setattr("rich.console.Console.is_terminal", True)
    narrow = CliRunner().invoke(app, ["data", "list"], env={"COLUMNS": columns, "TERM": "dumb"}).output
    assert narrow != piped
    assert narrow.split() == piped.split()


def test_reading_is_told_at_once_and_how_far_it_is(tmp_path):
    small_sets.written(tmp_path, "fsdd")
    told = call("check", "fsdd", "--root", tmp_path).stderr.splitlines()
    assert told[0] == f"reading fsdd in {tmp_path} ..."
    assert told[-1] == "fsdd 2/2 recordings"
    shown = call("show", "fsdd", "--root", tmp_path, "--out", tmp_path / "a.png").stderr.splitlines()
    assert shown[0] == told[0]


def test_rows_that_have_no_time_are_told_in_rows(tmp_path):
    small_sets.written(tmp_path, "htad")
    whole = call("check", "htad", "--root", tmp_path)
    count = len(read("htad", tmp_path))
    assert f"htad: {count} recordings of" in whole.output
    assert f", {count} rows in all;" in whole.output
    assert f"note: {count} rows are put one a slot" in whole.output


def test_every_set_whose_reader_makes_up_times_by_slots_says_so(tmp_path):
    for name in small_sets.SETS:
        small_sets.written(tmp_path, name)
        for recording in read(name, tmp_path):
            rows = max((one.t for one in recording.tracks), key=len)
            by_slot = rows[0] - ORIGIN in {SLOT, SLOT + SLOT // 2} and bool((np.diff(rows) == SLOT).all())
            assert recording.untimed == by_slot, recording.name


def test_the_list_says_what_is_there(tmp_path):
    small_sets.written(tmp_path, "fsdd")
    (small_sets.written(tmp_path, "eyemu_gaze") / "p00.npz").write_bytes(b"PK no zip")
    told = blocks(call("list", "--root", tmp_path).output)
    assert told["fsdd"]["there"] == "2 recordings of 2 speakers, 3 s in all"
    assert told["utd_mhad"]["there"] == "no"
    assert told["utd_mhad"]["from"].startswith("https://personal.utdallas.edu")
    assert told["eyemu_gaze"]["there"].startswith("cannot be read: ")
    assert "p00.npz: cannot be read as npz" in told["eyemu_gaze"]["there"]
    assert told["synthetic"]["there"] == "64 recordings of 64 seeds, 4,096 s in all, generated"


@pytest.mark.parametrize("name", DATASETS)
def test_recordings_are_of_something_else_than_recordings(name):
    """ "3 recordings, 4 recordings" told nobody what was counted."""
    assert DATASETS[name].unit != "recording"


def test_simulated_sets_hold_what_the_list_says():
    found = read("synthetic_touch", None)
    held = simulated("synthetic_touch")
    assert (len(found), len({one.person for one in found})) == (held.recordings, held.people)
    gaze = next(one for one in found[0].tracks if one.stream.modality == "gaze")
    assert (gaze.t[-1] - gaze.t[0]) / SECOND == pytest.approx(held.seconds / held.recordings, abs=0.1)


def test_a_set_that_is_whole_passes():
    report = inspect("sp_sw_har", Recordings([watch(), watch(person="b")]))
    assert report.problems == []
    assert (report.holding.recordings, report.holding.people) == (2, 2)
    imu = report.senses["imu"]
    assert imu.rates == pytest.approx([100.0, 100.0])
    assert (imu.samples, imu.missing, imu.pauses) == (4000, 0, 0)
    # 20 s from second 1 on: windows start at every half second; five labels of 4 s each have 7 or 8 of each person.
    truth = report.truths["activity-recognition"]
    assert truth.windows == imu.windows
    assert sum(truth.labels.values()) + truth.unknown == truth.windows
    assert sorted(truth.labels) == sorted(DATASETS["sp_sw_har"].tasks["activity-recognition"])
    assert set(truth.labels.values()) <= {14, 16}


@pytest.mark.parametrize(("unit", "advice"), [(1.0, "is it in g"), (9810.0, "is it in g"), (0.0, "taken out")])
def test_accelerations_in_other_units_are_found(unit, advice):
    (problem,) = problems([watch(), watch(unit, person="b")])
    assert "imu: acceleration" in problem
    assert "in 1 of 2, the first b_1 d/imu" in problem
    assert advice in problem


def ones(*shape):
    return np.ones(shape, np.float32)


def body():
    pose = np.zeros((60, len(JOINTS), 3), np.float32)
    pose[..., 1], pose[..., 2] = np.linspace(-0.8, 0.9, len(JOINTS)), 3.0
    return pose.reshape(60, -1)


WRONG = {
    "degrees a second": ("imu", np.tile(np.float32([0, 0, 9.8, 90, 0, 0]), (200, 1)), 50, 1.0),
    "km/h": (
        "gps",
        np.stack([np.arange(40) * 10.0, 0 * np.arange(40), 0 * np.arange(40), 36 + 0 * np.arange(40)], -1),
        1,
        1,
    ),
    "pixels": ("gaze", 500 * ones(240, 2), 60, 1.0),
    "pose in mm": ("pose", 1000 * body(), 30, 1.0),
    "silence": ("audio", np.zeros((32_000, 1), np.int16), 16_000, 1 / 32768),
    "not scaled sound": ("audio", np.sin(np.arange(32_000))[:, None] * 3000, 16_000, 1.0),
    "bytes": ("image", 200 * ones(8, 64, 64, 3), 2, 1.0),
    "black": ("image", np.zeros((8, 64, 64, 3), np.uint8), 2, 1 / 255),
    "depth in mm": ("depth", np.full((8, 48, 64, 1), 2500, np.uint16), 2, 1.0),
    "degrees Celsius": ("thermal", 25 * ones(8, 24, 32, 1), 2, 1.0),
    "counts": ("capacitance", np.full((8, 32, 32, 1), 200, np.int16), 2, 1.0),
    "lidar in mm": ("lidar", np.stack([7000 * ones(8, 32, 256), ones(8, 32, 256) / 2], -1), 2, 1.0),
    "intensity in bytes": ("lidar", np.stack([7 * ones(8, 32, 256), 90 * ones(8, 32, 256)], -1), 2, 1.0),
}


@pytest.mark.parametrize("case", WRONG)
def test_units_of_every_modality_are_checked(case):
    modality, values, rate, scale = WRONG[case]
    found = problems([Recording("r", "s", "p", (track(modality, values, rate, scale=scale),), {})], "fsdd")
    assert any(line.startswith(f"{modality}: ") and "plausible is" in line for line in found), found


def test_every_modality_has_rules_and_the_simulator_keeps_them():
    assert set(MODALITY_RULES) == set(READABLE)
    for name, scene in SIMULATED.items():
        found = problems([synthetic.scene_recording(10_000, 8, scene=scene)], name)
        assert not [line for line in found if any(word in line for word in ("plausible", "NaN", "rates"))], found


def test_truth_in_other_units_is_found():
    t = SECOND + np.arange(20, dtype=np.int64) * SECOND // 10
    gaze = track("gaze", np.full((20, 2), 0.5, np.float32), 10)
    for factor, wrong in ((1.0, 0), (100.0, 1)):
        truth = Values(t, np.full((20, 2), 3.0 * factor, np.float32))
        found = problems([Recording("r", "s", "p", (gaze,), {"gaze-estimation": truth})], "eyemu_gaze")
        assert len(found) == wrong, found


def test_holes_and_steps_back_and_other_rates_are_found():
    good = watch()
    values = np.array(good.tracks[0].values)
    values[5] = np.nan
    t = good.tracks[0].t.copy()
    t[1000:] += 5 * SECOND
    t[50] = t[40]
    holes = Track("d", good.tracks[0].stream, t, values)
    slow = track("imu", values[:200], 5, "slow")
    report = inspect("sp_sw_har", Recordings([watch(tracks=(holes, slow))], ["a.csv line 3"]))
    assert (report.senses["imu"].pauses, round(report.senses["imu"].paused_s)) == (1, 5)
    told = "\n".join(report.problems)
    assert "imu: 12 of 13200 values are NaN" in told
    assert "imu: time steps back 1 times" in told
    assert "imu: rates of 5..100 Hz, useful are 25..200 Hz, in 1 of 2, the first a_1 slow/imu; that is too slow" in told
    assert "1 files or rows are missing or damaged, the first: a.csv line 3" in told


@pytest.mark.parametrize(
    ("rate", "told"),
    [(10, "notes"), (20, "notes"), (25, ""), (200, ""), (1000, "notes"), (8, "problems"), (9000, "problems")],
)
def test_a_rate_that_windows_are_made_of_is_told_and_is_no_problem(rate, told):
    """KITTI's inertial sensor has 10 Hz: slower than is useful, and whole."""
    values = np.tile(np.float32([0, 0, 9.81, 0.1, 0, 0]), (60 * rate, 1))
    report = inspect("sp_sw_har", Recordings([watch(seconds=60, tracks=(track("imu", values, rate),))]))
    assert [name for name in ("notes", "problems") if getattr(report, name)] == ([told] if told else [])
    if told:
        line = f"imu: rates of {rate} Hz, useful are 25..200 Hz, in 1 of 1, the first a_1 d/imu; "
        assert any(found.startswith(line) for found in getattr(report, told))
    assert (report.senses["imu"].windows > 100) == (rate != 8)


def worn(missing, value=np.nan):
    """DIP-IMU as its reader gives it, in which a share of the samples of one sensor is missing."""
    whole = watch(
        dataset="dip_imu", labels={"pose-estimation": Values(watch().tracks[0].t, np.tile(body(), (34, 1))[:2000])}
    )
    values = np.array(whole.tracks[0].values)
    values[: round(missing * len(values))] = value
    return replace(whole, tracks=(replace(whole.tracks[0], values=values), replace(whole.tracks[0], device="e")))


def test_samples_that_the_publishers_know_to_be_missing_are_told_as_a_share():
    report = inspect("dip_imu", Recordings([worn(0.2)]))
    assert report.problems == []
    assert report.notes == ["imu: 10 % of the values are missing (NaN), up to 20 % may be"]
    report = inspect("dip_imu", Recordings([worn(0.5)]))
    assert report.problems == ["imu: 6000 of 24000 values are NaN, more than the 20 % that this set may lack"]
    report = inspect("dip_imu", Recordings([worn(1.0), *(replace(worn(0.0), name=f"b_{i}") for i in range(5))]))
    assert report.problems == ["imu: no sample is whole in 1 of 12, the first a_1 d/imu"]
    report = inspect("dip_imu", Recordings([worn(0.2, np.inf)]))
    assert report.problems == ["imu: 2400 of 24000 values are infinite"]
    assert inspect("sp_sw_har", Recordings([worn(0.2)])).problems[0].endswith("imu: 2400 of 24000 values are NaN")


def test_what_is_left_out_on_purpose_is_no_problem():
    report = inspect("sp_sw_har", Recordings([watch()], left_out=["trial 3 of a.pkl"]))
    assert (report.problems, report.left_out) == ([], ("trial 3 of a.pkl",))


@pytest.mark.parametrize(("level", "wrong"), [(0.05, 0), (9.81, 1)])
def test_a_set_without_gravity_is_measured_as_such(level, wrong):
    motion = watch(unit=level, dataset="eyemu", labels={})
    found = [line for line in problems([motion], "eyemu") if line.startswith("imu: acceleration")]
    assert len(found) == wrong, found


def test_windows_alone_are_counted_as_labelled():
    """A label that goes on through a pause labels no window of it."""
    whole = watch(seconds=20)
    seconds = (whole.tracks[0].t - SECOND) / SECOND
    kept = (seconds < 6) | (seconds >= 14)
    imu = replace(whole.tracks[0], t=whole.tracks[0].t[kept], values=whole.tracks[0].values[kept])
    report = inspect("sp_sw_har", Recordings([replace(whole, tracks=(imu,))]))
    truth = report.truths["activity-recognition"]
    assert truth.windows == report.senses["imu"].windows < 30
    assert sum(truth.labels.values()) + truth.unknown == truth.windows
    estimates = Values(whole.tracks[0].t, np.tile(body()[:1], (2000, 1)))
    known = replace(whole, tracks=(imu,), labels={"pose-estimation": estimates})
    report = inspect("dip_imu", Recordings([known]))
    assert len(report.truths["pose-estimation"].shares) == report.senses["imu"].windows


def test_masks_are_read_in_parts_and_their_share_of_contact_is_told(monkeypatch):
    monkeypatch.setattr("backend.data.inspect.CHUNK_BYTES", 3 * 40 * 48)
    masks = np.zeros((8, 40, 48), np.uint8)
    masks[2:6, :10] = 1
    read_at_once = []

    class Drawn:
        def __getitem__(self, rows):
            read_at_once.append(len(rows))
            return masks[rows]

    whole = touched(masks)
    report = inspect("capcontact", Recordings([replace(whole, masks={"contact-mask": Drawn()})]))
    assert report.problems == []
    drawing = report.drawings["contact-mask"]
    assert len(drawing.shares) == drawing.windows == report.senses["capacitance"].windows == sum(read_at_once)
    assert max(read_at_once) == 3
    assert sorted(set(drawing.shares)) == [0.0, 0.25]
    for wrong, told in (
        (masks * 255, "are neither 0 nor 1"),
        (masks * 0, "contact-mask: no cell of any mask is contact"),
        (masks[:3], "a: contact-mask: there are fewer masks than frames"),
        (masks[:, 1:], "a: contact-mask: masks are (39, 48), and of these frames (40, 48) are wanted"),
    ):
        found = inspect("capcontact", Recordings([replace(whole, masks={"contact-mask": wrong})])).problems
        assert any(told in line for line in found), found
    assert inspect("capcontact", Recordings([replace(whole, masks={})])).problems == [
        "contact-mask: no window has a mask"
    ]


def test_labels_that_are_missing_or_too_many_are_found():
    index = np.array([TASKS["activity-recognition"].outputs.index("boxing")])
    truth = {"activity-recognition": Segments(np.array([0, 100 * SECOND]), index)}
    found = problems([watch(labels=truth), watch(labels=truth)])
    assert "1 names of recordings are not unique, for example a_1" in found
    assert any("5 of 5 labels have no window: " in line for line in found)
    assert any("labels that the set should not have: boxing" in line for line in found)
    assert problems([watch(labels={})])[0].startswith("activity-recognition: nothing is known")


def test_the_command_ends_with_1_and_a_line_for_each_problem(tmp_path):
    small_sets.written(tmp_path, "fsdd")
    whole = call("check", "fsdd", "--root", tmp_path)
    assert whole.exit_code == 0, whole.output
    assert "2 recordings of 2 speakers, 3 s in all; CC BY-SA 4.0" in whole.output
    assert "nothing is wrong" in whole.output
    folder = small_sets.written(tmp_path, "utd_mhad")
    (folder / "s2_depth.npz").unlink()
    broken = call("check", "utd_mhad", "--root", tmp_path)
    assert broken.exit_code == 1
    told = [line for line in broken.stderr.splitlines() if line.startswith("problem: ")]
    assert any("1 files or rows are missing or damaged, the first: " in line for line in told)
    assert any("24 of 27 labels have no window" in line for line in told)


def test_a_truncated_file_is_named(tmp_path):
    path = small_sets.written(tmp_path, "eyemu_gaze") / "p00.npz"
    path.write_bytes(path.read_bytes()[:-100])
    error = call("check", "eyemu_gaze", "--root", tmp_path).exception
    assert isinstance(error, DataError)
    assert "p00.npz: cannot be read as npz" in str(error)


def test_a_picture_that_breaks_off_is_a_problem(tmp_path):
    """Frames are read when they are used: what is wrong with one comes to light only then, and the rest goes on."""
    path = small_sets.written(tmp_path, "thermal_rgb_pairs") / "llvip_ir" / "010002.jpg"
    path.write_bytes(path.read_bytes()[:600])
    report = inspect("thermal_rgb_pairs", read("thermal_rgb_pairs", tmp_path))
    (problem,) = report.problems
    assert problem.startswith("llvip-01: ")
    assert "010002.jpg: cannot be read as a picture" in problem
    assert report.senses["thermal"].windows > 0


@pytest.mark.parametrize("name", [name for name, row in DATASETS.items() if row.address])
def test_a_missing_set_says_where_it_is_obtained(name, tmp_path):
    error = call("check", name, "--root", tmp_path).exception
    assert isinstance(error, DataError)
    assert DATASETS[name].address in str(error)
    assert DATASETS[name].licence in str(error)


@pytest.mark.parametrize("command", [("check",), ("show", "--out", "x.png")])
def test_an_unknown_name_and_a_missing_root_are_one_line(command, tmp_path):
    for arguments, wanted in ((("nosuch",), "'nosuch' is unknown; known: synthetic, "), (("esc10",), "--root")):
        error = call(*command, *arguments).exception
        assert isinstance(error, ConfigError)
        assert wanted in str(error)
        assert "\n" not in str(error)
