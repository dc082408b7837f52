"""capcontact: a small copy, and the recordings at hand."""

import numpy as np

from tests.small_sets import read, written


def test_capcontact_masks_belong_to_their_images(tmp_path):
    written(tmp_path, "capcontact")
    found = read(tmp_path, "capcontact")
    assert [(r.name, len(r.tracks[0].t)) for r in found] == [("P01_1", 2), ("P01_2", 3)]
    masks = found[1].masks["contact-mask"]
    assert masks.shape == (3, 328, 576) and masks.dtype == np.uint8
    assert [int(masks[i].sum()) for i in range(3)] == [0, 64, 0]
    assert masks[1][8:16, 16:24].all() and found[1].tracks[0].values[:, 0, 0, 0].tolist() == [2, 3, 4]


def test_capcontact_on_record(data_dir):
    recording = read(data_dir, "capcontact")[0]
    touched = recording.masks["contact-mask"][::20].reshape(-1, 41, 8, 72, 8).mean((2, 4)) > 0.5
    image = recording.tracks[0].values[::20][..., 0]
    assert image[touched].mean() > 10 * np.abs(image[~touched]).mean()
