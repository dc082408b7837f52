"""Ego4D, its inertial part: what a head that wears a camera feels during 110 activities (Grauman et al., CVPR 2022).

Layout, from the publishers' documentation (data/imu, data/annotations-schemas) and its command-line tool:
`v2/imu/VIDEO_UID.csv` with columns component_idx, component_timestamp_ms, canonical_timestamp_ms, gyro_x, gyro_y,
gyro_z, accl_x, accl_y, accl_z; `v2/annotations/moments_train.json` and `moments_val.json`, whose "moments" (start and
end in the video, a label, whether it is of the primary taxonomy) several people have marked; and `ego4d.json` with the
wearer of each video (`fb_participant_id`), beside `v2` or in it.

As the documentation asks, rows without a canonical time (outside of the video) are left out and the rest is sorted by
it; times outside of the video's duration are an artefact and go as well. Units are not stated; most devices are
GoPros, whose telemetry has m/s2 and rad/s. The videos are not read: nothing in this program decodes them.

Labels are those of the primary taxonomy, on the whole video. Where marked moments with different labels overlap, or
none was marked, the time is unlabelled. Time 0 of a video is `ORIGIN`. Videos without moments are left out; who wore a
camera is the "person", or the video where that is not told. Samples stay on disk, times too.
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
from numpy.typing import NDArray

from backend.data.files import ORIGIN, Origin
from backend.data.kept import kept
from backend.data.paper.layout import dashed, gathered, label_index
from backend.data.recording import Recording, Recordings, Segments, Track
from backend.data.whole import whole
from backend.tasks.moments import MOMENTS as TAXONOMY
from broker.errors import DataError
from edge.clock import SECOND
from edge.windows import Stream

NAME, LICENCE, SOURCE = "ego4d", "Ego4D licence agreement, to be signed", "https://ego4d-data.org"
LABELS = tuple(TAXONOMY)
TASKS = {"activity-recognition": LABELS}
MODALITIES = ("imu",)
SET = Origin(NAME, tuple(f"{folder}imu/*.csv" for folder in ("v2/", "v1/", "")), SOURCE, LICENCE)

MOMENTS = ("moments_train.json", "moments_val.json")
CHANNELS = ("accl_x", "accl_y", "accl_z", "gyro_x", "gyro_y", "gyro_z")
TIME = "canonical_timestamp_ms"


def recordings(root: Path) -> Recordings:
    """One recording per video with moments, imu of "camera"; `root` is the set's folder or its parent.

    `left_out` names the videos without. Raises DataError where nothing is found, or annotations or metadata are missing
    or damaged; a damaged table of samples is told when it is used.
    """
    files = SET.files(root)
    folder = files[0].parents[1]
    moments = _moments(folder / "annotations")
    videos = _videos(folder)
    found, left_out = [], []
    for path in files:
        segments = _segments(moments.get(path.stem, []), path)
        if segments is None:
            left_out.append(f"{path}: no moments")
            continue
        person, duration = videos.get(path.stem, (None, np.inf))
        t = whole(partial(_times, path, duration), dtype=np.int64)
        values = whole(partial(_values, path, duration), dtype=np.float32)
        track = Track("camera", Stream("imu", "imu", "head"), t, values)
        who = f"video-{path.stem}" if person is None else f"p{person}"
        found.append(Recording(path.stem, NAME, who, (track,), {"activity-recognition": segments}))
    if not found:
        raise DataError(f"{folder / 'imu'}: no table is of a video with moments; get more of the set from {SOURCE}")
    return gathered(folder, found, left_out=left_out)


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        raise DataError(f"{path}: is not there; get the set from {SOURCE} ({LICENCE})") from None
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read as JSON ({error}); get it again") from None


def _moments(folder: Path) -> dict[str, list[tuple[float, float, str]]]:
    """Start and end (s in the video) and label of the primary moments of each video, of the files that are there."""
    files = [folder / name for name in MOMENTS if (folder / name).is_file()] or [folder / MOMENTS[0]]
    found: dict[str, list[tuple[float, float, str]]] = {}
    for path in files:
        try:
            for video in _json(path)["videos"]:
                marked = [mark for clip in video["clips"] for by in clip["annotations"] for mark in by["labels"]]
                found.setdefault(str(video["video_uid"]), []).extend(
                    (float(mark["video_start_time"]), float(mark["video_end_time"]), dashed(mark["label"]))
                    for mark in marked
                    if mark["primary"]
                )
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{path}: is no table of moments ({error!r}); get it again") from None
    return found


def _videos(folder: Path) -> dict[str, tuple[str | None, float]]:
    """Wearer (None where not told) and duration (s) of each video."""
    path = folder / "ego4d.json"
    if not path.is_file() and (folder.parent / path.name).is_file():
        path = folder.parent / path.name
    try:
        return {
            str(video["video_uid"]): (
                None if video.get("fb_participant_id") is None else str(video["fb_participant_id"]),
                float(video.get("duration_sec") or np.inf),
            )
            for video in _json(path)["videos"]
        }
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path}: is no table of videos ({error!r}); get it again") from None


def _segments(moments: list[tuple[float, float, str]], path: Path) -> Segments | None:
    """What is marked without contradiction; None where nothing is."""
    spans = [
        (start, end, label_index("activity-recognition", label, path)) for start, end, label in moments if end > start
    ]
    if not spans:
        return None
    cuts = sorted({time for start, end, _ in spans for time in (start, end)})
    index = []
    for time in cuts[:-1]:
        labels = {label for start, end, label in spans if start <= time < end}
        index.append(labels.pop() if len(labels) == 1 else -1)
    edges = ORIGIN + np.rint(np.array(cuts) * SECOND).astype(np.int64)
    return Segments(edges, np.array(index, np.int64))


@kept(2)
def _table(path: Path) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """(n,) ms in the video, NaN outside of it, and (n, 6) acceleration and turn rate, NaN where missing."""
    try:
        columns = pyarrow.csv.ConvertOptions(
            include_columns=[TIME, *CHANNELS],
            column_types={name: pa.float64() for name in (TIME, *CHANNELS)},
            null_values=["", "NULL", "null", "NaN", "nan"],
        )
        table = pyarrow.csv.read_csv(path, convert_options=columns)
    except (pa.ArrowInvalid, pa.ArrowKeyError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"{path}: cannot be read as a table of Ego4D's IMU ({reason}); get it again") from None
    values = np.stack([table[name].to_numpy() for name in CHANNELS], -1).astype(np.float32)
    return table[TIME].to_numpy(), values


def _order(path: Path, duration: float) -> NDArray[np.int64]:
    """Rows within the video, in order of time."""
    ms = _table(path)[0]
    inside = np.flatnonzero((ms >= 0) & (ms <= duration * 1000))
    return inside[np.argsort(ms[inside], kind="stable")]


def _times(path: Path, duration: float) -> NDArray[np.int64]:
    return ORIGIN + np.rint(_table(path)[0][_order(path, duration)] * 1e6).astype(np.int64)


def _values(path: Path, duration: float) -> NDArray[np.float32]:
    return _table(path)[1][_order(path, duration)]
