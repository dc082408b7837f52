"""Simulated scenes as data sets: what the sensors would have recorded, kept as integers, and the truth beside it."""

import numpy as np
import pytest

from backend.data import synthetic
from backend.data.recording import Segments, Values, sequence
from backend.data.synthetic import START, TRAINING_SEEDS, scene_recording
from backend.tasks import TASKS, Classification
from broker.modalities import MODALITIES
from edge.clock import SECOND
from edge.simulator import SCENES, Scene

SEED = TRAINING_SEEDS[0]


@pytest.fixture(scope="module")
def home():
    return scene_recording(SEED, seconds=16)


def test_scenes_have_names_senses_and_tasks():
    assert synthetic.name_of("home") == "synthetic"
    assert synthetic.name_of("drive") == "synthetic_drive"
    for scene in SCENES:
        assert set(synthetic.modalities(scene)) == {m for _, m, _ in SCENES[scene](1).streams()}
        assert set(synthetic.tasks(scene)) == set(SCENES[scene](1).tasks)
    assert {"activity-recognition", "event-detection", "pose-estimation", "depth-estimation"} == set(synthetic.tasks())


@pytest.mark.parametrize("scene", list(SCENES))
def test_a_recording_has_every_stream_of_its_scene_and_the_truth_of_its_tasks(scene):
    recording = scene_recording(SEED, seconds=4, scene=scene)
    there = [(track.device, track.stream.modality, track.stream.placement) for track in recording.tracks]
    assert there == list(SCENES[scene](SEED).streams())
    assert len({(track.device, track.stream.name) for track in recording.tracks}) == len(there)
    assert recording.dataset == synthetic.name_of(scene)
    for track in recording.tracks:
        assert track.values.shape[0] == len(track.t)
        assert (np.diff(track.t) >= 0).all()
    for task, truth in recording.labels.items():
        assert isinstance(truth, Segments if isinstance(TASKS[task], Classification) else Values)
        if isinstance(truth, Values):
            assert truth.values.shape == (len(truth.t), TASKS[task].size)


def test_tracks_are_what_the_scene_renders_but_for_flaws(home):
    scene = Scene(SEED)
    for track in home.tracks:
        values = np.asarray(track.values, np.float32) * np.float32(track.scale)
        if track.stream.modality == "audio":
            assert np.abs(values[:, 0] - scene.audio(START, 16 * 16000)).max() <= track.scale
            continue
        t = START + np.arange(len(track.t)) * (16 * SECOND // len(track.t))
        if track.stream.modality in {"image", "depth", "thermal", "lidar"}:
            assert track.t.min() >= START + SECOND // 4
            t = t + SECOND // 4
        true = scene.render(track.stream.modality, track.stream.placement, t)
        assert track.values.shape == true.shape
        limit = {"depth": 0.1, "thermal": 1.5, "lidar": 0.1, "pose": 0.1, "imu": 0.3}.get(track.stream.modality, 0.2)
        there = values != 0
        assert (np.abs(values - true)[there] < limit).mean() > 0.98, track.stream.name
        assert there.mean() > 0.7


def test_pictures_are_small_and_all_is_made_when_it_is_used(home):
    kept = {track.stream.modality: track.values.dtype.name for track in home.tracks}
    assert kept["image"] == kept["video"] == kept["lidar"] == "uint8"
    assert kept["depth"] == kept["thermal"] == "uint16"
    assert kept["audio"] == "int16"
    synthetic._rendered.cache_clear()
    recording = scene_recording(SEED + 1, seconds=16)
    assert synthetic._rendered.cache_info().currsize == 0
    video = next(track for track in recording.tracks if track.stream.modality == "video")
    assert video.values[3:5].shape == (2, 32, 32, 3)
    assert synthetic._rendered.cache_info().currsize == 1


def test_a_recording_can_have_some_senses_only(home):
    some = scene_recording(SEED, seconds=16, senses=("audio", "depth"))
    assert [track.stream.modality for track in some.tracks] == ["audio", "depth"]
    depth = next(track for track in home.tracks if track.stream.modality == "depth")
    assert np.array_equal(np.asarray(some.tracks[1].values), np.asarray(depth.values))


def test_a_home_becomes_windows_of_every_sense_with_their_truth(home):
    cut = sequence(home)
    assert {series.modality for series in cut.series} == set(synthetic.modalities())
    for series in cut.series:
        row = MODALITIES[series.modality]
        assert series.present.mean() > 0.8
        assert series.values.shape[-1] == len(row.channels)
    assert cut.targets["pose-estimation"].shape == (cut.length, 72)
    assert np.isfinite(cut.targets["pose-estimation"][1:-2]).all()
    assert cut.targets["depth-estimation"].shape == (cut.length, 768)
    assert 0.3 < np.nanmin(cut.targets["depth-estimation"]) < np.nanmax(cut.targets["depth-estimation"]) < 8


def test_seeds_that_are_learned_from_and_measured_on_never_meet():
    assert not set(synthetic.TRAINING_SEEDS) & set(synthetic.UNSEEN_SEEDS)
    assert not set(range(1000)) & {*synthetic.TRAINING_SEEDS, *synthetic.UNSEEN_SEEDS}


def test_a_touch_is_what_the_newest_frame_shows():
    """A finger that was lifted a moment ago is none: of a share of the window a frame shows nothing."""
    task = TASKS["touch-contact"]
    recording = scene_recording(10_001, seconds=32, scene="touch", senses=("capacitance",))
    track, truth = recording.tracks[0], recording.labels[task.name]
    for shift in (0, SECOND // 3):
        one = sequence(recording, shift)
        label = one.majority(task.name)
        assert (label > 0).sum() > 5 and (label == 0).sum() > 5
        for slot in range(one.length):
            end = (one.slot + slot) * one.hop_ns - shift + SECOND
            t = track.t[track.t < end][-1]
            assert label[slot] == truth.index[np.searchsorted(truth.edges, t, side="right") - 1]
