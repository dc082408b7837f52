"""Augmentation: what stays as it is when a window is varied, and labels in a mirror."""

from dataclasses import replace

import numpy as np
import torch

from backend.model.sensorlm import ModelConfig
from backend.tasks import TASKS, Classification
from backend.train.augment import AUGMENTATIONS, AugmentConfig, GazeVariety
from backend.train.augment_frames import FrameVariety
from backend.train.batch import assemble, crop
from backend.train.evaluate import cut_all
from tests.small_runs import ACTIVITY


def test_a_gaze_lies_elsewhere_in_all_windows_of_a_crop_alike_and_its_features_stay():
    x_LTC = np.random.default_rng(0).random((3, 30, 5), np.float32)
    config = AugmentConfig(frames=FrameVariety(noise=0.0), gaze=GazeVariety(shift=0.5, scale=0.3, turn=0.3))
    other = AUGMENTATIONS["gaze"](x_LTC, np.random.default_rng(1), config, False)
    assert np.array_equal(other[..., 2:], x_LTC[..., 2:])
    before, after = np.c_[x_LTC[..., :2].reshape(-1, 2), np.ones(90)], other[..., :2].reshape(-1, 2)
    affine, *_ = np.linalg.lstsq(before, after)
    assert np.allclose(before @ affine, after, atol=1e-5)
    assert np.abs(affine - np.eye(3, 2)).max(1).min() > 0.02
    still = AugmentConfig(frames=config.frames)
    assert np.allclose(AUGMENTATIONS["gaze"](x_LTC, np.random.default_rng(1), still, False), x_LTC)


def test_a_body_that_is_varied_keeps_its_place_its_joints_and_its_proportions():
    x = np.random.default_rng(0).normal(0, 0.5, (2, 30, 24, 3)).astype(np.float32) + np.float32([0, 0, 3])
    x[:, :, 5] = 0.0
    still = AugmentConfig(turn=1.0, scale=0.3, frames=FrameVariety(noise=0.0))
    y = AUGMENTATIONS["pose"](x.reshape(2, 30, 72), np.random.default_rng(1), still, False).reshape(x.shape)
    assert not y[:, :, 5].any() and np.allclose(y[0, 0, 0], x[0, 0, 0], atol=1e-5)
    there = np.arange(24) != 5
    before, after = (a[:, :, there] - a[0, 0, 0] for a in (x, y))
    ratio = np.linalg.norm(after, axis=-1)[0, :, 1:] / np.linalg.norm(before, axis=-1)[0, :, 1:]
    assert np.allclose(ratio, ratio[0, 0], rtol=1e-3) and abs(ratio[0, 0] - 1) > 0.01
    assert np.allclose(after[..., 1], before[..., 1] * ratio[0, 0], atol=1e-4)  # about the vertical alone
    assert not np.allclose(after[..., 0], before[..., 0] * ratio[0, 0], atol=1e-2)


def test_what_is_another_thing_in_a_mirror_is_mirrored_with_its_label_or_not_at_all(scenes):
    """A flick to the left that is mirrored is one to the right; where a gaze goes in a mirror nobody says."""
    gesture = TASKS["gesture-classification"]
    config = ModelConfig(("imu",), (ACTIVITY, gesture.name))
    plain = crop(cut_all(scenes)[0], 4, np.random.default_rng(1))
    plain = replace(plain, series=plain.series[:1], starts=plain.starts[:1])
    left, right = (gesture.labels.index(f"flick-{side}") for side in ("left", "right"))
    share = np.zeros((4, gesture.size), np.float32)
    share[:, left] = 1.0
    flick = replace(plain, targets={**plain.targets, gesture.name: share})

    def seen(one, mirror, asked=config):
        return assemble([one], 4, asked, np.random.default_rng(2), AugmentConfig(mirror=mirror, flip=0.0))

    as_it_is, mirrored = seen(flick, 0.0), seen(flick, 1.0)
    assert not torch.equal(as_it_is.windows["imu"].values[0], mirrored.windows["imu"].values[0])
    assert (as_it_is.targets[gesture.name].argmax(-1) == left).all()
    assert (mirrored.targets[gesture.name].argmax(-1) == right).all()
    assert torch.equal(as_it_is.targets[ACTIVITY], mirrored.targets[ACTIVITY])

    looked = replace(flick, targets={**flick.targets, "gaze-estimation": np.zeros((4, 2), np.float32)})
    asked = ModelConfig(("imu", "gaze"), (gesture.name, "gaze-estimation"))
    assert torch.equal(
        seen(looked, 1.0, asked).windows["imu"].values[0], seen(looked, 0.0, asked).windows["imu"].values[0]
    )
    eyes = replace(flick, series=(*flick.series, replace(flick.series[0], modality="gaze")), starts=flick.starts * 2)
    for mirror in (0.0, 1.0):
        assert (seen(eyes, mirror, asked).targets[gesture.name].argmax(-1) == left).all()

    own = {plain.dataset: AugmentConfig(mirror=1.0, flip=0.0)}  # of this set alone
    batch = assemble([plain], 4, config, np.random.default_rng(2), AugmentConfig(mirror=0.0, flip=0.0), None, own)
    assert torch.equal(batch.windows["imu"].values[0], seen(plain, 1.0).windows["imu"].values[0])


def test_labels_in_a_mirror_are_labels_and_twice_mirrored_the_same():
    for task in TASKS.values():
        if isinstance(task, Classification):
            assert {*task.mirrored, *task.mirrored.values()} <= {*task.labels}
            assert (task.in_mirror[task.in_mirror] == np.arange(task.size)).all()
    sided = {name for name, task in TASKS.items() if any(w in o for o in task.outputs for w in ("left", "right"))}
    assert {name for name in sided if not TASKS[name].sided and not getattr(TASKS[name], "mirrored", {})} == set()


def test_a_mirror_turns_pictures_over_and_with_them_the_side_that_a_ray_goes_to():
    rng = np.random.default_rng(3)
    still = AugmentConfig(frames=FrameVariety(gain=0.0, noise=0.0, erased=0.0))
    picture = rng.random((2, 6, 8, 5), np.float32) + 0.1
    picture[..., 3:] = 0.0
    picture[..., 3] = np.linspace(-1, 1, 8)
    plain, mirrored = (AUGMENTATIONS["camera"](picture, np.random.default_rng(4), still, m) for m in (False, True))
    assert np.allclose(mirrored[..., :3], plain[..., ::-1, :3])
    assert np.allclose(mirrored[..., 3], plain[..., 3])
    warm = rng.random((2, 4, 4, 1), np.float32) + 290
    assert np.allclose(AUGMENTATIONS["thermal"](warm, rng, still, True), warm[..., ::-1, :])


def test_what_covers_a_thermal_frame_is_as_warm_as_the_background():
    warm = np.float32(np.random.default_rng(5).normal(295.0, 0.5, (3, 24, 32, 1)))
    covered = AugmentConfig(frames=FrameVariety(noise=0.0, erased=1.0))
    seen = AUGMENTATIONS["thermal"](warm, np.random.default_rng(6), covered, False)
    assert (seen != warm).any() and seen.min() > 290
