"""thermal_rgb_pairs: a small copy, and the recordings at hand."""

import shutil

import numpy as np
import pytest
from PIL import Image

from broker.errors import DataError
from tests.small_sets import one, read, written


def test_thermal_rgb_pairs_are_pairs_by_place(tmp_path):
    folder = written(tmp_path, "thermal_rgb_pairs")
    found = read(tmp_path, "thermal_rgb_pairs")
    assert [(r.name, len(r.tracks[0].t)) for r in found] == [("llvip-01", 2), ("llvip-02", 1), ("roadscene", 1)]
    grey = np.zeros((100, 120), np.uint8)
    grey[:, 60:] = 255
    Image.fromarray(grey).save(folder / "roadscene_ir" / "FLIR_00006.jpg", quality=95)
    kelvin = found[2].tracks[1].values[0, ..., 0] * found[2].tracks[1].scale
    assert kelvin[:, :14] == pytest.approx(283.15, abs=0.5) and kelvin[:, 18:] == pytest.approx(313.15, abs=0.5)
    (folder / "llvip_vi" / "010002.jpg").unlink()
    part = read(tmp_path, "thermal_rgb_pairs")
    assert part.skipped == (str(folder / "llvip_ir/010002.jpg"),) and len(part[0].tracks[0].t) == 1
    shutil.rmtree(folder / "llvip_vi"), shutil.rmtree(folder / "roadscene_vi")
    with pytest.raises(DataError, match=r"010001\.jpg: has no visible half"):
        read(tmp_path, "thermal_rgb_pairs")


def test_thermal_rgb_pairs_on_record(data_dir):
    """Edges of a picture are edges of its own infrared half, rather than of another one."""
    found = one(read(data_dir, "thermal_rgb_pairs"), "roadscene")
    image, thermal = (track.values[:20].astype(np.float32).mean(-1) for track in found.tracks)
    image = image.reshape(20, 32, 2, 64)[:, :, :, ::2].mean(2)[:, ::4]  # 8 x 32
    thermal = thermal.reshape(20, 8, 3, 32).mean(2)
    own, other = [], []
    for i in range(20):
        for j in range(20):
            edges = (np.hypot(*np.gradient(x)).ravel() for x in (image[i], thermal[j]))
            (own if i == j else other).append(np.corrcoef(*edges)[0, 1])
    assert np.mean(own) > np.mean(other) + 0.05
