"""kitti_samples: a small copy, and the recordings at hand."""

import numpy as np
import pytest

from broker.errors import DataError
from tests.small_sets import one, read, written


def test_kitti_scans_are_projected_into_the_picture(tmp_path):
    folder = written(tmp_path, "kitti_samples")
    found = read(tmp_path, "kitti_samples")
    assert [(r.name, r.person, [t.stream.modality for t in r.tracks]) for r in found] == [
        ("object_000007", "object_000007", ["camera", "lidar"]),
        ("seq00_000000", "seq00", ["lidar"]),
        ("seq00_000094", "seq00", ["lidar"]),
    ]
    assert (np.diff(found[1].tracks[0].t) // 1_000_000).tolist() == [100]
    truth = found[0].labels["depth-estimation"].values.reshape(24, 32)
    assert truth[12, int(620 / 1242 * 32)] == 10.0  # of 10 and 12 m, the nearer is the lower median
    assert truth[12, int((620 - 700 * 6 / 20) / 1242 * 32)] == 20.0
    assert np.isfinite(truth).sum() == 2
    camera = found[0].tracks[0].values[0]
    assert camera.shape == (48, 96, 5) and camera[..., :3].min() >= 0 and camera[..., :3].max() <= 1
    assert camera[0, 0, 3] == pytest.approx(((0.5 * 1242 / 96 - 0.5) - 620) / 700)
    ranges = found[0].tracks[1].values[0, ..., 0]
    assert np.unique(ranges[ranges > 0]) == pytest.approx([5.0, 10.0, np.hypot(20, 6)])
    calib = folder / "object_000007_calib.txt"
    for damage in ("P2: 1 2 3", calib.read_text().replace("R0_rect", "R1")):
        calib.write_text(damage)
        with pytest.raises(DataError, match=r"object_000007_calib\.txt: cannot be read as KITTI's calibration"):
            read(tmp_path, "kitti_samples")


def test_kitti_on_record(data_dir):
    """The pedestrian whom the labels put 8.41 m away, at columns 712..811, is that far in the depth map."""
    recording = one(read(data_dir, "kitti_samples"), "object_000000")
    truth = recording.labels["depth-estimation"].values.reshape(24, 32)
    assert truth[13:16, 19] == pytest.approx(8.41, abs=0.3)  # pixels 727..765, 200..247; elsewhere walls behind prevail
    assert np.nanmedian(truth[:10]) > 1.5 * np.nanmedian(truth[22:])  # the ground before the car is near
    lidar = recording.tracks[1].values[0]
    assert (lidar[..., 0] > 0).mean() > 0.5 and lidar[..., 1].max() <= 1
