"""A sample of a recording as one picture: labels, every stream and the truth of every task, at the same times.

The picture depends on nothing but the recording and the time. Here is what comes in which order; what each looks like
is in `draw_series` and `draw_frames`.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from backend.data.draw_frames import (
    JOINT_BONES,
    JOINTS_3D,
    POSE_BONES,
    bodies,
    depth_truth,
    frames,
    lidar,
    pose,
)
from backend.data.draw_series import audio, features, gaze, gps, series, strip
from backend.data.recording import Recording, Segments, Values
from backend.data.sample import WIDTH, Row, Sample, sample
from backend.tasks import TASKS
from broker.modalities import JOINTS, READABLE

DPI = 100


def draw(recording: Recording, picture: Path, at: float | None = None) -> None:
    """Draw a sample of a recording to a PNG file, about a time as `sample` takes it.

    Raises ConfigError for a time outside, DataError for damaged data.
    """
    # Figures without pyplot: no window system is touched and nothing global is left behind.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    of = sample(recording, at)
    rows = list(_rows(of))
    figure = Figure(figsize=(WIDTH, 0.7 + sum(row.height for row in rows)), layout="constrained")
    FigureCanvasAgg(figure)
    title = f"{recording.dataset}: {recording.name} ({recording.person}), {of.when()}"
    figure.suptitle(title, fontsize="medium")
    bands = figure.subfigures(len(rows), 1, height_ratios=[row.height for row in rows], squeeze=False)[:, 0]
    for band, row in zip(bands, rows, strict=True):
        band.suptitle(row.title, fontsize="small", x=0.01, ha="left")
        row.fill(band)
    figure.savefig(picture, dpi=DPI, metadata={"Software": None})


def _rows(of: Sample) -> Iterator[Row]:
    """Labels, series, frames with the depth that is true of them, and bodies, in this order."""
    labels, tracks = of.recording.labels, of.recording.tracks
    for name in TASKS:
        if isinstance(truth := labels.get(name), Segments):
            yield Row(1.0, f"{name} (label)", partial(strip, of, name, truth))
    kinds = {modality: series if row.axes == ("time",) else frames for modality, row in READABLE.items()}
    kinds |= {"pose": pose, "audio": audio, "gps": gps, "gaze": gaze, "lidar": lidar, "features": features}
    order = (
        "imu",
        "gps",
        "gaze",
        "audio",
        "image",
        "video",
        "camera",
        "depth",
        "thermal",
        "capacitance",
        "lidar",
        "pose",
        "features",
    )
    depth = labels.get("depth-estimation")
    for modality in order:
        for track in tracks:
            if track.stream.modality == modality:
                yield from kinds[modality](of, track)
        if modality == "camera" and isinstance(depth, Values):
            yield from depth_truth(of, depth)
    poses = any(track.stream.modality == "pose" for track in tracks)
    if not poses and isinstance(truth := labels.get("pose-estimation"), Values):
        yield from bodies(of, "pose-estimation (truth)", truth, POSE_BONES, JOINTS)
    if isinstance(truth := labels.get("3d-reconstruction"), Values):
        yield from bodies(of, "3d-reconstruction (truth)", truth, JOINT_BONES, JOINTS_3D)
