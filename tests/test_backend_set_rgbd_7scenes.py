"""rgbd_7scenes: a small copy, and the recordings at hand."""

import numpy as np
import pytest
from PIL import Image

from backend.data.recording import sequence
from broker.errors import DataError
from tests.small_sets import read, written


def test_7scenes_truth_is_the_depth_of_the_picture_that_is_shown(tmp_path):
    folder = written(tmp_path, "rgbd_7scenes")
    (recording,) = read(tmp_path, "rgbd_7scenes")
    truth = recording.labels["depth-estimation"].values.reshape(3, 24, 32)
    assert np.isnan(truth[:, 0]).all() and np.isnan(truth[:, :, 0]).all()
    assert np.allclose(truth[:, 1:, 1:], np.float32([1.0, 1.01, 1.02])[:, None, None])
    depth = recording.tracks[1].values
    assert depth.shape == (3, 48, 64, 1) and depth[2, 40, 40, 0] == 1020 and not depth[:, 0].any()
    cut = sequence(recording)
    assert np.nanmax(cut.targets["depth-estimation"][:3], -1) == pytest.approx([1.0, 1.01, 1.02])
    assert cut.series[1].values[:3].max((1, 2, 3)).tolist() == [1000, 1010, 1020]
    (folder / "frame-000010.depth.png").unlink()
    assert read(tmp_path, "rgbd_7scenes").skipped == (str(folder / "frame-000010.color.jpg"),)
    Image.fromarray(np.zeros((480, 640), np.uint8)).save(folder / "frame-000000.depth.png")
    with pytest.raises(DataError, match=r"frame-000000\.depth\.png: is \(480, 640\) of uint8"):
        read(tmp_path, "rgbd_7scenes")


def test_7scenes_on_record(data_dir):
    (recording,) = read(data_dir, "rgbd_7scenes")
    truth = recording.labels["depth-estimation"].values
    depth = recording.tracks[1].values[::15][..., 0].reshape(-1, 24, 2, 32, 2).astype(float) * 1e-3
    shown = np.where(depth > 0, depth, np.nan).transpose(0, 1, 3, 2, 4).reshape(-1, 24 * 32, 4)
    both = np.isfinite(shown).any(-1) & np.isfinite(truth[::15])
    assert both.mean() > 0.8 and 0.8 < np.nanmedian(truth) < 3
    assert np.median(np.abs(np.nanmean(shown[both], -1) - truth[::15][both])) < 0.02
