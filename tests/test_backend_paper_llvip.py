"""LLVIP in its publishers' layout, written small by hand and read back exactly."""

import numpy as np
import pytest
from PIL import Image

from backend.data.files import SLOT
from backend.data.paper import llvip
from broker.errors import DataError
from tests.paper_sets import grey, of


def test_llvip(tmp_path):
    root = tmp_path / "llvip"
    for split, name, level in (
        ("train", "010001", 0),
        ("train", "010002", 51),
        ("train", "020001", 102),
        ("test", "190001", 255),
    ):
        grey(root / "infrared" / split / f"{name}.jpg", level)
        grey(root / "visible" / split / f"{name}.jpg", level // 3)
    grey(root / "infrared" / "test" / "190002.jpg", 9)
    found = llvip.recordings(tmp_path)
    assert [(r.name, r.person) for r in found] == [
        ("test-19", "place-19"), ("train-01", "place-01"), ("train-02", "place-02"),
    ]  # fmt: skip
    assert len(found.skipped) == 1
    thermal, image = of(found[1], "thermal"), of(found[1], "image")
    assert (thermal.values.shape, thermal.values.dtype) == ((2, 24, 32, 1), np.uint16)
    assert np.allclose(thermal.values[1] * thermal.scale, 283.15 + 30 * 51 / 255, atol=0.01)
    assert np.allclose(thermal.values[0] * thermal.scale, 283.15, atol=0.01)
    assert np.array_equal(image.values[1], np.full((64, 64, 3), 17))
    assert (np.diff(image.t) == SLOT).all()
    for path in root.rglob("*.jpg"):
        path.write_bytes(b"garbage")
    assert [r.name for r in llvip.recordings(tmp_path)] == [r.name for r in found]
    with pytest.raises(DataError, match=r"infrared/train/010002\.jpg: cannot be read as a picture"):
        thermal.values[1]
    (root / "visible").rename(root / "dark")
    with pytest.raises(DataError, match="infrared pictures without visible ones; get the set from"):
        llvip.recordings(tmp_path)


def test_llvip_people(tmp_path):
    path = tmp_path / "010001.xml"
    box = "<bndbox><xmin>10</xmin><ymin>20</ymin><xmax>110</xmax><ymax>220</ymax></bndbox>"
    person, car = (f"<object><name>{name}</name>{box}</object>" for name in ("person", "car"))
    path.write_text(f"<annotation><size><width>1280</width></size>{person}{car}{person}</annotation>")
    assert llvip.people(path).tolist() == [[10, 20, 110, 220]] * 2
    path.write_text("<annotation></annotation>")
    assert llvip.people(path).shape == (0, 4)
    path.write_text(f"<annotation>{person[:60]}")
    with pytest.raises(DataError, match=r"010001\.xml: is no VOC annotation"):
        llvip.people(path)


def test_llvip_on_real_pairs(tmp_path, data_dir):
    pairs = data_dir / "thermal_rgb_pairs"
    for ours, theirs in (("infrared", "llvip_ir"), ("visible", "llvip_vi")):
        (tmp_path / ours).mkdir()
        (tmp_path / ours / "train").symlink_to(pairs / theirs)
    (first,) = llvip.recordings(tmp_path)
    assert first.person == "place-01"
    thermal, image = of(first, "thermal").values[0], of(first, "image").values[0]
    source = sorted((pairs / "llvip_ir").glob("*.jpg"))[0]
    with Image.open(source) as opened:
        level = np.asarray(opened.convert("L"), np.float64).mean()
    assert abs(thermal.mean() * 0.01 - (283.15 + 30 * level / 255)) < 0.1
    assert thermal.std() > 10
    assert image.std() > 5
