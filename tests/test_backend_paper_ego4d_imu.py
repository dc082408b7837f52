"""Ego4D in its publishers' layout, written small by hand and read back exactly."""

import json

import numpy as np
import pytest

from backend.data.files import ORIGIN
from backend.data.paper import ego4d_imu
from backend.data.recording import sequence
from broker.errors import DataError
from edge.clock import SECOND
from tests.paper_sets import label

FIELDS = "component_idx,component_timestamp_ms,canonical_timestamp_ms,gyro_x,gyro_y,gyro_z,accl_x,accl_y,accl_z"


def mark(start, end, name, primary=True):
    return {"video_start_time": start, "video_end_time": end, "label": name, "primary": primary}


def write_ego4d(root, marks):
    (root / "v2" / "imu").mkdir(parents=True)
    (root / "v2" / "annotations").mkdir()
    for uid in ("aaa", "bbb"):
        rows = [f"0,{5 * i},{5 * i},{i},0.2,0.3,{-i},9.8,0.5" for i in range(1_000)]
        rows[3], rows[4] = rows[4], rows[3]  # not in order
        rows[10] = "0,50,,1,1,1,1,1,1"  # outside of the video
        rows[11] = "0,55,9e9,1,1,1,1,1,1"  # an artefact
        rows[12] = "0,60,60.0,1,1,1,,,"  # acceleration is missing
        (root / "v2" / "imu" / f"{uid}.csv").write_text("\n".join([FIELDS, *rows]) + "\n")
    clips = [{"annotations": [{"labels": marks[:1]}, {"labels": marks[1:]}]}]
    video = {"video_uid": "aaa", "split": "train", "clips": clips}
    (root / "v2" / "annotations" / "moments_train.json").write_text(json.dumps({"videos": [video]}))
    about = [{"video_uid": "aaa", "duration_sec": 5.0, "fb_participant_id": 82}]
    (root / "ego4d.json").write_text(json.dumps({"videos": about}))


def test_ego4d_imu(tmp_path):
    marks = [
        mark(0.5, 3.0, "wash_dishes_/_utensils_/_bakeware_etc."),
        mark(2.0, 4.0, "use_phone"),
        mark(3.5, 3.7, "use_phone"),
        mark(0.0, 5.0, "something_of_a_wider_taxonomy", primary=False),
    ]
    write_ego4d(tmp_path / "ego4d", marks)
    found = ego4d_imu.recordings(tmp_path)
    (recording,) = found
    assert (recording.name, recording.person) == ("aaa", "p82")
    assert [name.split("/")[-1] for name in found.left_out] == ["bbb.csv: no moments"]
    edges, labels = label(recording, "activity-recognition")
    assert [(edge - ORIGIN) / SECOND for edge in edges] == [0.5, 2.0, 3.0, 3.5, 3.7, 4.0]
    assert labels == ["wash-dishes-utensils-bakeware-etc", None, "use-phone", "use-phone", "use-phone"]
    (track,) = recording.tracks
    assert len(track.t) == 998
    assert (np.diff(track.t[:]) > 0).all()
    assert (track.t[3] - ORIGIN, track.t[-1] - ORIGIN) == (15_000_000, 4_995_000_000)
    assert np.allclose(track.values[3], (-3, 9.8, 0.5, 3, 0.2, 0.3))
    assert np.isnan(track.values[10, :3]).all()
    assert track.stream.placement == "head"
    assert sequence(recording).length > 5
    assert len(ego4d_imu.LABELS) == len(set(ego4d_imu.LABELS)) == 110


def test_ego4d_says_what_is_wrong(tmp_path):
    write_ego4d(tmp_path, [mark(0, 4, "wash_hands")])
    table = tmp_path / "v2" / "imu" / "aaa.csv"
    table.write_bytes(b"\x00garbage")
    (recording,) = ego4d_imu.recordings(tmp_path)  # opening reads no samples
    with pytest.raises(DataError, match=r"aaa\.csv: cannot be read as a table of Ego4D's IMU"):
        sequence(recording)
    moments = tmp_path / "v2" / "annotations" / "moments_train.json"
    moments.write_text(moments.read_text().replace("wash_hands", "wash_ears"))
    with pytest.raises(DataError, match=r"aaa\.csv: activity-recognition has no label 'wash-ears'"):
        ego4d_imu.recordings(tmp_path)
    moments.write_text('{"videos": [{"video_uid"')
    with pytest.raises(DataError, match=r"moments_train\.json: cannot be read as JSON"):
        ego4d_imu.recordings(tmp_path)
    moments.write_text('{"videos": [{"uid": 1}]}')
    with pytest.raises(DataError, match=r"moments_train\.json: is no table of moments"):
        ego4d_imu.recordings(tmp_path)
    moments.unlink()
    with pytest.raises(DataError, match=r"moments_train\.json: is not there; get the set from https://ego4d-data\.org"):
        ego4d_imu.recordings(tmp_path)
