"""The home as its sensors see it: the same pose in every picture, labels that fit, and what is worn."""

import numpy as np
import pytest

from broker.errors import ConfigError
from broker.modalities import JOINTS, MODALITIES
from edge.clock import SECOND, ManualClock
from edge.sensors import Reading
from edge.sensors.simulator import SimulatorSensor
from edge.simulator import ACTIVITY, SCENES, Flaws, Scene, Stage, room, skeleton
from edge.simulator.scene import DEPTH, POSE
from edge.simulator.skeleton import J
from edge.windows import Stream, cut

ROUND = 32 * SECOND
T0 = 1_700_000_000 * SECOND // ROUND * ROUND
RATES = {"imu": 100, "pose": 30, "video": 8}
THICK = {"head": 0.14, "neck": 0.12, "pelvis": 0.2, "hip": 0.2, "collar": 0.2, "shoulder": 0.13, "knee": 0.1}
STREAMS = [(m, p) for _, m, p in Scene(0).streams() if m != "audio"]


def times(seconds: float, rate: int, start: int = T0) -> np.ndarray:
    return start + np.arange(round(seconds * rate), dtype=np.int64) * SECOND // rate


def spans(seed: int, label: str) -> list:
    return [s for s in Scene(seed).spans(ACTIVITY, T0, T0 + 3 * ROUND) if s.label == label]


@pytest.mark.parametrize("modality, placement", STREAMS)
def test_all_is_a_function_of_absolute_time_and_of_the_modality_s_shape(modality, placement):
    t = times(6.0, RATES.get(modality, 2), T0 + 29 * SECOND)
    whole = Scene(3).render(modality, placement, t)
    row = MODALITIES[modality]
    assert whole.shape == (len(t), *(row.size if row.size[0] else ()), len(row.channels))
    assert whole.dtype == np.float32
    assert np.isfinite(whole).all()
    pieces = [Scene(3).render(modality, placement, part) for part in np.array_split(t, 5)]
    assert np.array_equal(np.concatenate(pieces), whole)
    assert not np.array_equal(Scene(4).render(modality, placement, t), whole)


@pytest.mark.parametrize("task", [POSE, DEPTH])
def test_truth_is_a_function_of_absolute_time(task):
    t = times(6.0, 4, T0 + 29 * SECOND)
    pieces = [Scene(3).truth(task, part) for part in np.array_split(t, 5)]
    assert np.array_equal(np.concatenate(pieces), Scene(3).truth(task, t), equal_nan=True)


@pytest.mark.parametrize("seed", range(4))
def test_depth_shows_the_pose(seed):
    """Where a joint is in view, the pixel is as far away as it, or what hides it is nearer."""
    size, visible, checked = (192, 256), 0, 0
    camera = room.camera(seed, size)
    for joints in skeleton.joints(seed, times(32.0, 1)):
        depth = room.depth(seed, size, joints)[..., 0]
        for name, (column, row, away) in zip(JOINTS, camera.project(joints), strict=True):
            if not (0 <= round(row) < size[0] and 0 <= round(column) < size[1]):
                continue
            pixel = depth[round(row), round(column)]
            thick = THICK.get(name.rsplit("_", maxsplit=1)[-1], 0.09 if "spine" not in name else 0.25)
            assert pixel < away + 0.03, name  # never behind the joint: something of the body is there
            visible += away - pixel < thick
            checked += 1
    assert checked > 0.9 * 32 * 24
    assert visible > 0.6 * checked


def test_small_depth_images_show_it_too():
    t = times(64.0, 1)
    depth = Scene(2).render("depth", "room", t)[..., 0]
    camera = room.camera(2, MODALITIES["depth"].size)
    for name in ("head", "spine3"):
        column, row, away = camera.project(skeleton.joints(2, t)[:, J[name]]).T
        pixel = depth[np.arange(len(t)), np.rint(row).astype(int), np.rint(column).astype(int)]
        assert np.abs(away - pixel).max() < 0.3
        assert (pixel < away).all()


def test_a_thermal_array_sees_where_somebody_is():
    """The warmest spot that moves is the person: the difference of two pictures lies where the joints are."""
    walking = spans(6, "WALKING")[0]
    t = np.array([walking.start, walking.end])
    frames = Scene(6).render("thermal", "room", t)[..., 0]
    camera = room.camera(6, MODALITIES["thermal"].size)
    place = camera.project(skeleton.joints(6, t)[:, J["spine2"]])
    for frame, other, (column, row, _) in zip(frames, frames[::-1], place, strict=True):
        warmer = np.argwhere(frame - other > 1.5)
        assert len(warmer) >= 4
        assert np.abs(warmer.mean(0) - (row, column)).max() < 4
    assert 285 < frames.min() < frames.max() < 325


def test_a_picture_changes_where_somebody_walks_and_nowhere_else():
    walking = spans(8, "WALKING")[0]
    frames = Scene(8).render("image", "room", np.linspace(walking.start, walking.end, 5).astype(int))
    still = np.abs(np.diff(frames, axis=0)).max(-1) == 0
    assert 0.7 < still.mean() < 0.99
    assert frames.min() >= 0
    assert frames.max() <= 1
    seated = Scene(8).render("image", "room", spans(8, "SEATED")[0].start + np.array([0, SECOND]))
    assert (np.abs(np.diff(seated, axis=0)).max(-1) == 0).mean() > 0.95


def test_a_lidar_measures_how_far_somebody_is():
    seed = 11
    t = times(64.0, 1)
    ranges = Scene(seed).render("lidar", "room", t)
    empty = room.lidar_view(seed, MODALITIES["lidar"].size).still.range.reshape(32, 256)
    for frame, joints in zip(ranges, skeleton.joints(seed, t), strict=True):
        nearer = frame[..., 0] < empty - 1e-3
        away = np.linalg.norm(joints - room.room(seed).lidar, axis=1)
        assert nearer.sum() > 20
        assert np.median(frame[nearer, 0]) == pytest.approx(np.median(away), abs=0.3)
    assert (ranges[..., 1] >= 0).all()
    assert (ranges[..., 1] <= 1).all()


def test_the_person_sits_on_a_seat():
    """The top of a seat's box is just below the hips of who is seated, and holds the thighs."""
    for seed in range(6):
        top = skeleton.build(seed).seat - 0.085
        seats = [b for b in room.room(seed).shapes.box if abs(b[2] + b[5] - top) < 0.01 and abs(b[1]) < 0.01]
        assert len(seats) == 2
        for span in spans(seed, "SEATED"):
            hips = skeleton.joints(seed, np.array([(span.start + span.end) // 2]))[0, [J["left_hip"], J["right_hip"]]]
            seat = min(seats, key=lambda b: abs(b[0] - hips[0, 0]))
            assert (np.abs(hips[:, :2] - seat[:2]) < seat[3:5]).all()
            assert 0.05 < hips[:, 2].min() - top < 0.12


@pytest.mark.parametrize("seed", range(4))
def test_joints_are_told_in_the_camera_s_axes_and_relative_to_the_pelvis(seed):
    t = times(16.0, 2)
    seen = Scene(seed).render("pose", "room", t).reshape(-1, 24, 3)
    true = Scene(seed).truth(POSE, t).reshape(-1, 24, 3)
    assert np.allclose(seen - seen[:, :1], true, atol=1e-5)
    assert (true[:, 0] == 0).all()
    assert (seen[..., 2] > 0.8).all()  # before the camera
    assert (true[:, J["head"], 1] < -0.3).all()  # y points down


def test_the_depth_map_is_a_coarse_depth_image():
    t = times(16.0, 1)
    true = Scene(5).truth(DEPTH, t).reshape(-1, 24, 32)
    fine = Scene(5).render("depth", "room", t)[..., 0].reshape(-1, 24, 2, 32, 2)
    inside = (true >= fine.min((2, 4)) - 0.02) & (true <= fine.max((2, 4)) + 0.02)
    assert inside.mean() > 0.95


@pytest.mark.parametrize("placement", ["chest", "head", "ankle"])
@pytest.mark.parametrize("seed", range(3))
def test_what_is_worn_feels_gravity_when_still_and_steps_when_walking(placement, seed):
    scene, still = Scene(seed), []
    for span in spans(seed, "SEATED"):
        t = np.arange(span.start + SECOND // 2, span.end - SECOND // 2, SECOND // 100)
        if len(t) > 100:
            still.append(scene.imu(placement, t))
    moving = [scene.imu(placement, np.arange(s.start, s.end, SECOND // 100)) for s in spans(seed, "WALKING")]
    for x in still:
        assert np.linalg.norm(x[:, :3].mean(0)) == pytest.approx(9.80665, abs=0.1)
        assert x[:, 2].mean() > (8.5 if placement != "ankle" else 6.5)
        assert np.linalg.norm(x[:, :3], axis=1).std() < 0.25
        if placement != "head":  # heads nod and look around
            assert x[:, :3].std(0).max() < 0.4
            assert np.abs(x[:, 3:].mean(0)).max() < 0.1
    restless = [np.linalg.norm(x[:, :3], axis=1).std() for x in still]
    assert np.mean([np.linalg.norm(x[:, :3], axis=1).std() for x in moving]) > 3 * np.mean(restless)


def test_a_chest_strap_turns_with_the_person():
    scene, turned = Scene(4), []
    for span in spans(4, "TURNING"):
        t = np.arange(span.start - SECOND // 2, span.end + SECOND // 2, SECOND // 100)
        turned.append(abs(np.degrees(scene.imu("chest", t)[:, 5].sum() / 100)))
    assert np.median(turned) == pytest.approx(180, abs=25)


def test_what_the_home_does_not_have_is_an_error():
    scene, t = Scene(1), times(1.0, 2)
    for modality, placement in (("gps", "room"), ("image", "wrist"), ("imu", "room"), ("audio", "room")):
        with pytest.raises(ConfigError, match=rf"no {modality} at '{placement}'.*imu at wrist"):
            scene.render(modality, placement, t)
    with pytest.raises(ConfigError, match="touch-contact"):
        scene.truth("touch-contact", t)
    with pytest.raises(ConfigError, match="pose-estimation"):
        next(scene.spans(POSE, T0, T0 + 1))


@pytest.mark.parametrize("name", list(SCENES))
def test_every_scene_offers_what_a_stage_does(name):
    stage: Stage = SCENES[name](3)
    there = stage.streams()
    assert len(set(there)) == len(there)
    t = times(1.0, 2)
    for _, modality, placement in there:
        assert modality in MODALITIES
        if modality != "audio":
            assert stage.render(modality, placement, t).shape[0] == 2
    for task in stage.tasks:
        try:
            assert list(stage.spans(task, T0, T0 + SECOND))[-1].end == T0 + SECOND
        except ConfigError:
            assert stage.truth(task, t).shape[0] == 2


def frames(n: int = 40) -> Reading:
    values = np.full((n, 12, 16, 2), 2.0, np.float32)
    values[:, :, 0] = 0
    return Reading(times(n / 4, 4), values)


def test_frames_are_as_bad_as_they_are_made():
    one = frames()
    perfect = Flaws().apply(one)
    assert np.array_equal(perfect.values, one.values)
    noisy = Flaws(noise=0.1).apply(one).values
    assert noisy[:, :, 1:].std() == pytest.approx(0.1, rel=0.05)
    assert (noisy[:, :, 0] == 0).all()  # nothing has no noise
    holed = Flaws(holes=0.2).apply(one).values
    assert (holed[:, :, 1:, 0] == 0).mean() == pytest.approx(0.2, abs=0.02)
    assert np.array_equal(holed[..., 0] == 0, holed[..., 1] == 0)
    assert np.ptp(Flaws(drift=1.0).apply(one).values[:, 5, 5, 0]) > 0.1
    assert len(Flaws(dropout=0.5).apply(one).t) < 35


def test_flaws_leave_what_a_sensor_can_say():
    t, bad = times(2.0, 10), Flaws(noise=0.5, drift=1.0)
    camera = bad.apply(Reading(t, np.full((20, 4, 4, 5), 0.9, np.float32)), "camera").values
    assert camera[..., :3].min() >= 0
    assert camera[..., :3].max() == 1
    assert (camera[..., 3:] == np.float32(0.9)).all()  # rays are known
    lidar = bad.apply(Reading(t, np.full((20, 4, 4, 2), 0.9, np.float32)), "lidar").values
    assert lidar.min() >= 0
    assert lidar[..., 1].max() == 1 < lidar[..., 0].max()
    gps = bad.apply(Reading(t, np.zeros((20, 4), np.float32)), "gps").values
    assert gps[:, 3].min() == 0 > gps[:, :3].min()


def test_flaws_of_frames_and_of_wide_series_do_not_depend_on_chunks():
    flaws = Flaws(noise=1.0, drift=1.0, dropout=0.3, holes=0.1, seed=5)
    wide = Reading(times(10.0, 30), np.ones((300, 72), np.float32))
    for one in (frames(), wide):
        whole = flaws.apply(one)
        parts = [flaws.apply(Reading(a, b)) for a, b in zip(np.split(one.t, 20), np.split(one.values, 20), strict=True)]
        assert np.array_equal(np.concatenate([p.t for p in parts]), whole.t)
        assert np.array_equal(np.concatenate([p.values for p in parts]), whole.values)
        assert np.array_equal(flaws.stamps(one.t)[0], whole.t)


def test_holes_are_a_share():
    with pytest.raises(ConfigError, match="holes are at most 1"):
        Flaws(holes=1.5)


@pytest.mark.parametrize("modality, rate", [("image", 4), ("video", 8), ("depth", 4), ("lidar", 4), ("pose", 30)])
async def test_a_simulated_camera_gives_frames_at_its_rate(modality, rate):
    options = {"seed": 4, "seconds": 3, "speed": 0}
    stream = Stream("s", modality, "room")
    readings = [one async for one in SimulatorSensor(options, stream, ManualClock(T0)).readings()]
    reading = Reading(np.concatenate([r.t for r in readings]), np.concatenate([r.values for r in readings]))
    assert np.array_equal(reading.t, times(3.0, rate))
    assert np.array_equal(reading.values, Scene(4).render(modality, "room", reading.t))
    windows = cut(stream, reading.t, reading.values)
    assert len(windows) >= 4
    assert windows[0].values.shape == stream.shape


@pytest.mark.parametrize(
    "options, modality, placement, words",
    [
        ({"scene": "moon"}, "imu", "wrist", "scene is 'moon'.*home"),
        ({}, "gaze", "room", "no gaze in the simulated home; it has imu, audio"),
        ({}, "image", "wrist", "no image at 'wrist' in the simulated home; placements: room"),
        ({"holes": 2}, "depth", "room", "holes are at most 1"),
    ],
)
def test_settings_of_scenes_that_cannot_work_say_why(options, modality, placement, words):
    with pytest.raises(ConfigError, match=words):
        SimulatorSensor(options, Stream("s", modality, placement), ManualClock())
