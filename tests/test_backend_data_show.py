"""`backend data show`: what a picture shows of a recording, and where it is taken from."""

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from backend.data import Recording, Segments, synthetic
from backend.data.draw_frames import seen
from backend.data.files import ORIGIN
from backend.data.inspect import read
from backend.data.pictures import _rows as rows_of
from backend.data.pictures import draw
from backend.data.sample import SPAN_S, WIDTH, sample
from backend.tasks import TASKS
from broker.errors import ConfigError
from broker.modalities import READABLE
from edge.clock import SECOND
from tests import small_sets
from tests.data_command import SIMULATED, call, touched, track, watch

RECORDED = (*small_sets.SETS, "sp_sw_har", "esc10")


def size(path):
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        assert len(np.unique(np.asarray(picture.convert("L")))) > 20, "the picture is empty"
        return picture.size


@pytest.mark.parametrize("name", SIMULATED)
def test_simulated_scenes_are_drawn(name, tmp_path):
    recording = synthetic.scene_recording(10_000, 6, scene=SIMULATED[name])
    draw(recording, tmp_path / "a.png", 3.0)
    width, height = size(tmp_path / "a.png")
    assert width == 1100
    assert 100 * len(recording.tracks) < height < 4000


@pytest.mark.parametrize("name", RECORDED)
def test_recorded_sets_are_drawn(name, data_dir, tmp_path):
    done = call("show", name, "--root", data_dir, "--out", tmp_path / "a.png")
    assert done.exception is None, done.exception
    width, height = size(tmp_path / "a.png")
    assert width == 1100
    assert 200 < height < 2000


@pytest.mark.parametrize("name", small_sets.SETS)
def test_small_sets_are_drawn_the_same_each_time(name, tmp_path):
    """The least that a set may hold: single frames, and recordings of a second."""
    small_sets.written(tmp_path, name)
    recording = read(name, tmp_path)[-1]
    draw(recording, tmp_path / "a.png")
    draw(recording, tmp_path / "b.png", 0.0)
    assert size(tmp_path / "a.png")[0] == 1100
    draw(recording, tmp_path / "c.png", 0.0)
    assert (tmp_path / "b.png").read_bytes() == (tmp_path / "c.png").read_bytes()


def fills(recording):
    """What is drawn of a recording: of each band its title, and the matplotlib axes in it."""
    of = sample(recording)
    drawn = {}
    for row in rows_of(of):
        figure = Figure()
        row.fill(figure.subfigures(1, 1))
        drawn[row.title] = figure.axes
    return of, drawn


def test_a_recording_of_a_single_row_is_drawn_by_name_and_with_its_label(tmp_path):
    small_sets.written(tmp_path, "htad")
    recording = read("htad", tmp_path)[0]
    of, drawn = fills(recording)
    assert of.single and of.moments.tolist() == [of.start]
    (label,) = drawn["activity-recognition (label)"]
    label_index = int(recording.labels["activity-recognition"].index[0])
    assert [text.get_text() for text in label.texts] == [TASKS["activity-recognition"].outputs[label_index]]
    assert [bar.get_width() for bar in label.patches] == [1.0]
    (phone,), (bracelet,) = (
        drawn[f"{device}/features: features at {at}"] for device, at in (("phone", "room"), ("bracelet", "wrist"))
    )
    assert [tick.get_text() for tick in phone.get_xticklabels()][:2] == ["mfcc_mean1", "mfcc_mean2"]
    values = recording.tracks[0].values[0, 0, 0]
    assert np.allclose(phone.lines[-1].get_ydata(), values[values != 0])
    assert len(bracelet.get_xticks()) == 16


def test_a_single_sample_of_a_series_has_a_marker_and_a_label():
    one = watch(seconds=20)
    t, values = one.tracks[0].t[:1], one.tracks[0].values[:1]
    _, drawn = fills(replace(one, tracks=(replace(one.tracks[0], t=t, values=values),)))
    assert [text.get_text() for text in drawn["activity-recognition (label)"][0].texts]
    acceleration = drawn["d/imu: imu at room"][0]
    assert [line.get_marker() for line in acceleration.lines[:3]] == ["."] * 3
    low, high = acceleration.get_xlim()
    assert low < 0 < high


def test_names_of_labels_stay_within_the_picture():
    """A label of half a second at an edge was cut to "NDING_UP"."""
    whole = watch(seconds=8)
    start, end = (int(whole.tracks[0].t[i]) for i in (0, -1))
    edges = np.array([start, start + SECOND // 10, end - SECOND // 10, end])
    index = np.array(
        [TASKS["activity-recognition"].outputs.index(label) for label in ("STANDING_UP", "SEATED", "WALKING")]
    )
    of, drawn = fills(replace(whole, labels={"activity-recognition": Segments(edges, index)}))
    (strip,) = drawn["activity-recognition (label)"]
    figure = strip.figure.figure
    figure.set_size_inches(WIDTH, 1)
    canvas = FigureCanvasAgg(figure)
    for text in strip.texts:
        box = text.get_window_extent(canvas.get_renderer()).transformed(strip.transData.inverted())
        assert of.passed(of.low) <= box.x0 < box.x1 <= of.passed(of.high), text.get_text()


def test_titles_have_a_date_where_recordings_have_one():
    whole = watch()
    shifts = {"2022-07-11 10:06:17 UTC": 1_657_533_977 - 1, "its start": ORIGIN // SECOND - 1}
    for told, shift in shifts.items():
        moved = replace(whole.tracks[0], t=whole.tracks[0].t + shift * SECOND)
        assert sample(replace(whole, tracks=(moved,), labels={}), 10.0).when() == f"6.0 to 14.0 s from {told}"


def test_rows_without_seconds_are_drawn_by_number():
    masks = np.zeros((40, 40, 48), np.uint8)
    masks[:, :10] = 1
    recording = replace(touched(masks), untimed=True)
    assert sample(recording, 20).when() == "rows 12 to 28, in rows and no seconds"
    with pytest.raises(ConfigError, match="--at 40: a has rows 0 to 39"):
        sample(recording, 40)
    _, drawn = fills(recording)
    frames = drawn["panel/capacitance: capacitance at table; outlined in cyan: contact-mask"]
    truth = drawn["contact-mask (truth); white is contact"]
    assert [axes.get_title() for axes in truth] == [axes.get_title() for axes in frames[: len(truth)]]
    assert all(axes.get_title().startswith("row ") for axes in truth)
    assert all(np.array_equal(axes.images[0].get_array(), masks[0]) for axes in truth)


def test_every_line_is_named_and_numbers_without_a_unit_have_none():
    gaze = track("gaze", np.random.default_rng(0).random((300, 28)), 30)
    _, drawn = fills(Recording("r", "s", "p", (gaze,), {}))
    of_screen, further = drawn["d/gaze: gaze at room"]
    assert (of_screen.get_ylabel(), further.get_ylabel()) == ("share of the screen", "further channels")
    assert [text.get_text() for text in further.get_legend().get_texts()] == [str(i) for i in range(3, 29)]
    features = track("features", np.ones((20, 1, 1, 12)), 2)
    _, drawn = fills(Recording("r", "s", "p", (features,), {}))
    (numbers,) = drawn["d/features: features at room"]
    assert numbers.get_ylabel() == ""
    assert [text.get_text() for text in numbers.get_legend().get_texts()] == list(READABLE["features"].channels[:12])


def test_the_colours_of_a_film_that_no_camera_took_are_explained(tmp_path):
    small_sets.written(tmp_path, "utd_mhad")
    titles = [row.title for row in rows_of(sample(read("utd_mhad", tmp_path)[0]))]
    assert any(title.startswith("kinect/film: video at room; no camera's colours: red is how near") for title in titles)


def test_a_recording_and_a_time_are_chosen(tmp_path):
    small_sets.written(tmp_path, "fsdd")
    out = tmp_path / "a.png"
    done = call("show", "fsdd", "--root", tmp_path, "--out", out, "--recording", "7_anna_12", "--at", "1.5")
    assert done.exception is None
    assert "7_anna_12" in done.output
    for more, wanted in (
        (("--recording", "nobody"), "--recording nobody: fsdd has none of that name; it has 3_theo_0, 7_anna_12"),
        (("--at", "77"), "--at 77: 3_theo_0 lasts from 0 to 1.000 s"),
        (("--out", tmp_path / "a.jpg"), "give a name that ends in .png"),
        (("--out", tmp_path / "none" / "a.png"), f"there is no folder {tmp_path / 'none'}; make it"),
    ):
        error = call("show", "fsdd", "--root", tmp_path, "--out", out, *more).exception
        assert isinstance(error, ConfigError)
        assert wanted in str(error)
    assert not (tmp_path / "none").exists()


def test_a_sample_is_about_the_time_asked_for():
    recording = watch(seconds=60)
    found = sample(recording, 30.0)
    assert (found.low - found.start, found.high - found.start) == (26 * SECOND, 34 * SECOND)
    assert found.moments[2] - found.start == 30 * SECOND
    assert sample(recording, 0.0).low == found.start
    assert sample(recording, 59.9).high == recording.tracks[0].t[-1]
    assert sample(watch(seconds=2)).high - sample(watch(seconds=2)).low < SPAN_S * SECOND


@pytest.mark.parametrize("changes, middle", [((), 30), ((11, 40, 41, 42), 39), ((1, 59), 5)])
def test_a_sample_is_where_labels_change_most_unless_told(changes, middle):
    start = int(watch().tracks[0].t[0])
    edges, index = start + SECOND * np.array([0, *changes, 60]), np.arange(len(changes) + 1) % 2
    found = sample(watch(seconds=60, labels={"activity-recognition": Segments(edges, index)}))
    assert (found.low + found.high) / 2 - start == pytest.approx(middle * SECOND, abs=SECOND // 10)


@pytest.mark.parametrize("name", ["synthetic", "synthetic_touch"])
def test_joints_lie_where_the_depth_sensor_sees_them(name):
    """The focal lengths that the drawing knows: at a joint's pixel is the body, nearer than the joint's middle."""
    recording = synthetic.scene_recording(10_000, 64, scene=SIMULATED[name])
    (depth,) = [
        one for one in recording.tracks if one.stream.modality == "depth" and one.stream.placement in {"room", "above"}
    ]
    shape = depth.values.shape[1:3]
    near = []
    for at in (7.0, 10.0, 33.0, 36.0):
        of = sample(recording, at)
        frames = of.newest(depth.t)
        for pixels, _, _ in seen(of, depth, shape):
            for points, row in zip(pixels, frames, strict=True):
                if points is None or row is None or not np.isfinite(points).any():
                    continue
                plane = np.asarray(depth.values[row : row + 1])[0, ..., 0] * depth.scale
                known = points[np.isfinite(points).all(1)]
                column, line = np.rint(known).astype(int).T
                inside = (column >= 0) & (column < shape[1]) & (line >= 0) & (line < shape[0])
                ranges, behind = plane[line[inside], column[inside]], np.median(plane[plane > 0])
                near += (ranges[ranges > 0] < behind).tolist()
    assert len(near) > 50
    assert np.mean(near) > 0.8
