"""RGBDGaze in its publishers' layout, written small by hand and read back exactly."""

import numpy as np
import pytest
from PIL import Image

from backend.data.files import ORIGIN
from backend.data.paper import rgbdgaze
from broker.errors import DataError
from tests.paper_sets import grey, of


def write_rgbdgaze(root):
    """Two people; faces are white squares in black pictures, found only where the publishers' code cuts."""
    folder = root / "RGBDGaze_dataset"
    for person, device in (("P1", "iPhone 12"), ("P12", "iPhoneX")):
        for posture in ("standing", "lying"):
            here = folder / person / "decoded" / posture
            (here / "rgb").mkdir(parents=True)
            (here / "depth").mkdir()
            rows = ["uid,device,gt_x_pt,gt_y_pt,bbox_x,bbox_y,bbox_w,bbox_h,imu_x,imu_y,imu_z"]
            for uid in (1, 2, 3):
                for kind, step in (("rgb", 1), ("depth", 2)):
                    shape = (480 // step, 640 // step)
                    levels = np.zeros(shape, np.uint8)
                    levels[160 // step : 320 // step, 64 // step : 224 // step] = 50 * uid
                    picture = Image.fromarray(levels[:, ::-1])  # the publishers mirror it back
                    picture.convert("RGB" if kind == "rgb" else "L").save(here / kind / f"{uid}.jpg", quality=100)
                rows.append(f"{uid},{device},{10 * uid},{20 * uid},160,64,170,160,0.1,0.2,0.3")
            (here / "label.csv").write_text("\n".join(rows) + "\n")
    (folder / "iphone_spec.csv").write_text(
        "Name,w_pt,h_pt,w_cm,h_cm\niPhone12,390,844,6.5,14.0\niPhoneX,375,812,6.2,13.5\n"
    )


def test_rgbdgaze(tmp_path):
    write_rgbdgaze(tmp_path / "rgbdgaze")
    found = rgbdgaze.recordings(tmp_path)
    assert [r.name for r in found] == ["p1-lying", "p1-standing", "p12-lying", "p12-standing"]
    assert [r.person for r in found] == ["p1", "p1", "p12", "p12"]
    image, truth = of(found[0], "image"), found[0].labels["gaze-estimation"]
    assert (image.values.shape, image.values.dtype, image.scale) == ((3, 64, 64, 3), np.uint8, 1 / 255)
    assert np.allclose(image.values[2], 150, atol=2)
    assert [tuple(np.round(image.values[i][20, 20] / 50)) for i in range(3)] == [(1, 1, 1), (2, 2, 2), (3, 3, 3)]
    assert np.allclose(truth.values, [[10 * i / 390 * 6.5, 20 * i / 844 * 14.0] for i in (1, 2, 3)])
    assert np.allclose(found[3].labels["gaze-estimation"].values[0], [10 / 375 * 6.2, 20 / 812 * 13.5])
    assert (truth.t - ORIGIN).tolist() == [0, 125_000_000, 250_000_000]
    assert [track.stream.modality for track in found[0].tracks] == ["image"]
    deep = of(rgbdgaze.recordings(tmp_path, metres_per_level=0.01)[0], "depth")
    assert deep.values.shape == (3, 48, 64, 1)
    assert np.allclose(deep.values[1], 1.0, atol=0.03)


def test_rgbdgaze_refuses_a_picture_too_large_for_memory(tmp_path, monkeypatch):
    grey(tmp_path / "a.png", 9)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(DataError, match=r"a\.png: cannot be read as a picture"):
        rgbdgaze.face(tmp_path / "a.png", np.array([0, 0, 9, 9]), (4, 4))


def test_rgbdgaze_says_what_is_wrong(tmp_path):
    write_rgbdgaze(tmp_path)
    folder = tmp_path / "RGBDGaze_dataset"
    here = folder / "P1" / "decoded" / "lying"
    found = rgbdgaze.recordings(tmp_path)
    for path in folder.rglob("*.jpg"):
        path.write_bytes(b"garbage")
    again = rgbdgaze.recordings(tmp_path)
    assert [r.name for r in again] == [r.name for r in found]  # opening reads no picture
    with pytest.raises(DataError, match=r"lying/rgb/2\.jpg: cannot be read as a picture"):
        of(found[0], "image").values[1]
    (here / "rgb" / "3.jpg").unlink()
    found = rgbdgaze.recordings(tmp_path)
    assert len(found[0].tracks[0].t) == 2
    assert found.skipped == (str(here / "rgb" / "3.jpg"),)
    table = here / "label.csv"
    text = table.read_text()
    table.write_text(text.replace("iPhone 12", "iPhone 99"))
    with pytest.raises(DataError, match=r"label\.csv: device 'iphone99' is not in iphone_spec\.csv"):
        rgbdgaze.recordings(tmp_path)
    table.write_text(text.replace("gt_x_pt", "gt"))
    with pytest.raises(DataError, match=r"label\.csv: columns \['gt_x_pt'\] are missing"):
        rgbdgaze.recordings(tmp_path)
    (folder / "iphone_spec.csv").unlink()
    with pytest.raises(DataError, match=r"iphone_spec\.csv: is not there; get the set from https://github\.com/FIGLAB"):
        rgbdgaze.recordings(tmp_path)
