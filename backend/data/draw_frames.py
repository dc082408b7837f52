"""Drawings of what is seen at one moment: pictures, maps of depth, warmth and touch, scans, and bodies.

What is known of joints lies over the frames that see them, for which this module knows the focal lengths of three data
sets' cameras, and what the colours of one set's film are; else it knows how a modality looks and no data set.

K is a number of moments, H and W of rows and columns, J of joints.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from backend.data.recording import Recording, Track, Values
from backend.data.sample import MOMENTS, WIDTH, Floats, Row, Sample, about, bar, stamp, still
from backend.tasks import MASKS
from backend.tasks.depth import COLUMNS, ROWS
from backend.tasks.reconstruction import BODY, BONES, HAND
from broker.modalities import JOINTS
from edge.rangeimage import bearings
from edge.simulator.room import room
from edge.simulator.skeleton import PARENTS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import SubFigure

POSE_BONES = tuple((child, parent) for child, parent in enumerate(PARENTS) if parent >= 0)
JOINTS_3D = (*HAND, *BODY)
JOINT_BONES = tuple((JOINTS_3D.index(a), JOINTS_3D.index(b)) for a, b in BONES)
SIDES = {
    "left": "tab:blue", "l_": "tab:blue", "right": "tab:red", "r_": "tab:red",
    "thumb": "tab:orange", "index": "tab:red", "middle": "tab:purple", "ring": "tab:blue", "little": "tab:cyan",
}  # fmt: skip
"""Colours of bones by what their joint's name begins with."""
COLOURS = {"depth": "viridis", "thermal": "inferno", "capacitance": "magma", "lidar": "viridis"}
FILMS = {"utd_mhad": "no camera's colours: red is how near, up to a metre, green the person's outline"}
"""What the colours of a film are that is none of a camera, by data set."""
Skeleton = tuple[list[Floats | None], Sequence[tuple[int, int]], Sequence[str]]


def frames(of: Sample, track: Track) -> Iterator[Row]:
    """Frames at the moments, of a track (n, H, W, C), and the masks that are drawn from them."""
    height, width = track.values.shape[1] * _stretch(track), track.values.shape[2]
    tall = min(3.0, 0.75 + 0.95 * (WIDTH - 1) / MOMENTS * height / width)
    drawn = [f"outlined in cyan: {name}" for name in _masks(of, track)]
    film = [FILMS[of.recording.dataset]] if track.stream.modality == "video" and of.recording.dataset in FILMS else []
    yield Row(tall, "; ".join((about(track), *film, *drawn)), partial(_strip_of_frames, of, track))
    for name in _masks(of, track):
        yield Row(tall, f"{name} (truth); white is contact", partial(_strip_of_masks, of, track, name))


def _masks(of: Sample, track: Track) -> list[str]:
    """Kinds of masks that are drawn from a track's frames."""
    return [name for name in of.recording.masks if MASKS[name].modality == track.stream.modality]


def _strip_of_masks(of: Sample, track: Track, name: str, band: SubFigure) -> None:
    t = np.asarray(track.t)
    panels = band.subplots(1, len(of.moments), squeeze=False)[0]
    for axes, row, taken in zip(panels, of.newest(t), of.shown(t), strict=True):
        if row is not None:
            mask = of.recording.masks[name][np.array([row])][0]
            axes.imshow(mask, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        stamp(of, axes, int(taken))


def _strip_of_frames(of: Sample, track: Track, band: SubFigure) -> None:
    """Frames at the moments, with one bar where they are no colours, and the joints and masks that belong to them."""
    t = np.asarray(track.t)
    rows = of.newest(t)
    stills = [None if row is None else still(track, row) for row in rows]
    panels = band.subplots(1, len(stills), squeeze=False)[0]
    modality, units = track.stream.modality, track.stream.row.units
    if modality in COLOURS:
        _maps(band, panels, stills, COLOURS[modality], units[0] if units[0] != "1" else "of a firm touch")
    for axes, frame, taken in zip(panels, stills, of.shown(t), strict=True):
        if frame is not None and modality not in COLOURS:
            axes.imshow(np.clip(frame[..., :3], 0, 1), interpolation="nearest", aspect=_stretch(track))
        stamp(of, axes, int(taken))
    size = (int(track.values.shape[1]), int(track.values.shape[2]))
    for drawn in (of.recording.masks[name] for name in _masks(of, track)):
        for axes, row in zip(panels, rows, strict=True):
            if row is not None and (mask := drawn[np.array([row])][0]).any():
                down, right = (
                    np.linspace(-0.5, n - 0.5, 2 * m + 1)[1::2] for n, m in zip(size, mask.shape, strict=True)
                )
                axes.contour(right, down, mask, levels=[0.5], colors="cyan", linewidths=0.6)
    for joints, bones, names in seen(of, track, size):
        for axes, points in zip(panels, joints, strict=True):
            if points is not None:
                _bones(axes, points, bones, names, 0.9)
                axes.set_xlim(-0.5, size[1] - 0.5)
                axes.set_ylim(size[0] - 0.5, -0.5)


def _stretch(track: Track) -> float:
    """How much taller than wide what a pixel covers is: a camera's rays tell."""
    if track.stream.modality != "camera":
        return 1.0
    rays = still(track, 0)[..., 3:5]
    down, right = np.abs(np.diff(rays[:, 0, 1])).mean(), np.abs(np.diff(rays[0, :, 0])).mean()
    return float(down / right) if right > 0 and down > 0 else 1.0


def _maps(band: SubFigure, panels: Iterable[Axes], maps: Sequence[Floats | None], colours: str, unit: str) -> None:
    """Maps (H, W, ...) at the moments in the same colours; grey is nothing known."""
    from matplotlib import colormaps

    palette = colormaps[colours].with_extremes(bad="0.85")
    planes = [None if one is None else np.asarray(one if one.ndim == 2 else one[..., 0], np.float64) for one in maps]
    away = colours == "viridis"  # 0 is no return
    planes = [None if one is None else np.where((one > 0) | ~np.bool_(away), one, np.nan) for one in planes]
    known = np.concatenate([np.zeros(0), *(one[np.isfinite(one)] for one in planes if one is not None)])
    low, high = np.percentile(known, [0.5, 99.5]) if len(known) else (0.0, 1.0)
    shown = None
    for axes, plane in zip(panels, planes, strict=True):
        if plane is not None:
            shown = axes.imshow(plane, cmap=palette, vmin=low, vmax=high, interpolation="nearest")
    if shown is not None:
        bar(band, shown, list(panels), unit)


def depth_truth(of: Sample, truth: Values) -> Iterator[Row]:
    """The map of depth that is true at each moment."""
    yield Row(2.3, "depth-estimation (truth)", partial(_truth_maps, of, truth))


def _truth_maps(of: Sample, truth: Values, band: SubFigure) -> None:
    rows = of.newest(truth.t)
    maps = [None if row is None else np.asarray(truth.values[row]).reshape(ROWS, COLUMNS) for row in rows]
    panels = band.subplots(1, len(maps), squeeze=False)[0]
    _maps(band, panels, maps, COLOURS["depth"], "m")
    for axes, taken in zip(panels, of.shown(truth.t), strict=True):
        stamp(of, axes, int(taken))


def lidar(of: Sample, track: Track) -> Iterator[Row]:
    """One scan, as it is measured and from above."""
    yield Row(2.3, f"{about(track)}; as a range image, and from above", partial(_scan, of, track))


def _scan(of: Sample, track: Track, band: SubFigure) -> None:
    """The scan at the middle moment: range, intensity, and where its returns lie from above, as if rings were level."""
    moment = len(of.moments) // 2
    row = of.newest(np.asarray(track.t))[moment]
    if row is None:
        return
    scan = still(track, row)
    left, right = np.asarray(band.subfigures(1, 2, width_ratios=[3, 1]))
    panels = left.subplots(2, 1)
    there = scan[..., 0] > 0
    bounds = np.percentile(scan[there][:, 0], [1, 99]) if there.any() else (0, 1)
    for axes, channel, unit, limits in zip(panels, (0, 1), ("m", "intensity"), (bounds, (0, 1)), strict=True):
        plane = np.where(there, scan[..., channel], np.nan)
        shown = axes.imshow(
            plane, cmap="viridis" if channel == 0 else "gray", aspect="auto", vmin=limits[0], vmax=limits[1],
            extent=(180, -180, 0, len(plane)), interpolation="nearest",
        )  # fmt: skip
        axes.set_yticks([])
        axes.tick_params(labelsize=5)
        bar(left, shown, [axes], unit)
    stamp(of, panels[0], int(track.t[row]))
    panels[1].set_xlabel("degrees to the left of forward", fontsize="x-small", labelpad=0)
    axes = right.subplots()
    angle = np.radians(bearings(scan.shape[1]))[None]
    x, y = (scan[..., 0] * np.cos(angle))[there], (scan[..., 0] * np.sin(angle))[there]
    rings = np.broadcast_to(np.arange(len(scan))[:, None], there.shape)[there]
    axes.scatter(-y, x, c=rings, s=0.4, cmap="cool")
    axes.plot(0, 0, color="black", marker="^", markersize=4)
    axes.set_aspect("equal", adjustable="datalim")
    axes.set_xlabel("m to the right", fontsize="x-small", labelpad=0)
    axes.set_ylabel("m ahead", fontsize="x-small", labelpad=0)
    axes.tick_params(labelsize=5)


def pose(of: Sample, track: Track) -> Iterator[Row]:
    """Bodies at the moments, with the truth of pose estimation as crosses."""
    values = Values(
        np.asarray(track.t), np.asarray(track.values[0 : track.values.shape[0]], np.float32) * np.float32(track.scale)
    )
    truth = of.recording.labels.get("pose-estimation")
    extra = truth if isinstance(truth, Values) else None
    yield from bodies(of, f"{about(track)}; crosses are the truth", values, POSE_BONES, JOINTS, extra)


def bodies(
    of: Sample,
    title: str,
    joints: Values,
    bones: Sequence[tuple[int, int]],
    names: Sequence[str],
    truth: Values | None = None,
) -> Iterator[Row]:
    """Bodies at the moments, from the front and from the side; `truth` is relative to the first joint."""
    rows = of.newest(np.asarray(joints.t))
    found = [None if row is None else np.asarray(joints.values[row], np.float64).reshape(-1, 3) for row in rows]
    others: list[Floats | None] = [None] * len(rows)
    if truth is not None:
        for i, row in enumerate(of.newest(truth.t)):
            if row is not None and (body := found[i]) is not None:
                others[i] = np.asarray(truth.values[row], np.float64).reshape(-1, 3) + body[0]
    yield Row(
        4.0, f"{title}; above from the front, below from its right", partial(_figures, of, found, others, bones, names)
    )


def _figures(
    of: Sample,
    found: Sequence[Floats | None],
    others: Sequence[Floats | None],
    bones: Sequence[tuple[int, int]],
    names: Sequence[str],
    band: SubFigure,
) -> None:
    panels = band.subplots(2, len(found), squeeze=False)
    known = np.concatenate([np.zeros((0, 3)), *(one[np.isfinite(one).all(1)] for one in found if one is not None)])
    if not len(known):
        return
    middle, reach = (known.min(0) + known.max(0)) / 2, max(np.ptp(known, axis=0).max() / 2 * 1.1, 0.05)
    for i, (body, other, moment) in enumerate(zip(found, others, of.moments, strict=True)):
        # In a camera's axes x is right, y down, z away: the second view has what is far away on the right.
        for axes, (across, label) in zip(panels[:, i], ((0, "x, m"), (2, "z, m")), strict=True):
            if body is not None:
                _bones(axes, body[:, [across, 1]], bones, names, 1.2)
            if other is not None:
                axes.plot(other[:, across], other[:, 1], "x", color="black", markersize=2, markeredgewidth=0.5)
            axes.set_xlim(middle[across] - reach, middle[across] + reach)
            axes.set_ylim(middle[1] + reach, middle[1] - reach)
            axes.set_aspect("equal")
            axes.grid(alpha=0.3)
            stamp(of, axes, int(moment), label)


def _bones(axes: Axes, points_J2: Floats, bones: Sequence[tuple[int, int]], names: Sequence[str], width: float) -> None:
    """Bones between known joints; the left of a body is blue, its right red."""
    for child, parent in bones:
        side = next((colour for prefix, colour in SIDES.items() if names[child].startswith(prefix)), "tab:green")
        axes.plot(*points_J2[[child, parent]].T, color=side, linewidth=width, solid_capstyle="round")


def seen(of: Sample, track: Track, size: tuple[int, int]) -> Iterator[Skeleton]:
    """Pixels (J, 2) of the joints in the frames of a camera whose focal length is known."""
    focal = _focal(of.recording, track)
    if focal is None:
        return
    poses = [other for other in of.recording.tracks if other.stream.modality == "pose" and other.device == track.device]
    joints: Values | None = None
    bones, names = POSE_BONES, tuple[str, ...](JOINTS)
    if poses:
        joints = Values(np.asarray(poses[0].t), np.asarray(poses[0].values[0 : len(poses[0].t)], np.float32))
    elif isinstance(truth := of.recording.labels.get("3d-reconstruction"), Values):
        joints, bones, names = truth, JOINT_BONES, JOINTS_3D
    if joints is None:
        return
    middle = np.array([(size[1] - 1) / 2, (size[0] - 1) / 2])
    pixels: list[Floats | None] = []
    for row in of.newest(joints.t, of.shown(np.asarray(track.t))):
        if row is None:
            pixels.append(None)
            continue
        place = np.asarray(joints.values[row], np.float64).reshape(-1, 3)
        place[~(place[:, 2] > 0)] = np.nan
        pixels.append(place[:, :2] / place[:, 2:] * focal * size[1] + middle)
    yield pixels, bones, names


def _focal(recording: Recording, track: Track) -> float | None:
    """Focal length in widths of the picture, of the cameras in whose axes a recording's joints are."""
    where = (recording.dataset, track.device, track.stream.placement)
    if where[0] == "utd_mhad" and track.stream.modality == "video":
        return None  # cut out about the person
    if where == ("synthetic", "camera", "room"):
        return room(int(recording.name.split("-")[-1])).focal
    return {("synthetic_touch", "rig", "above"): 98 / 64, ("utd_mhad", "kinect", "room"): 285.6 / 320}.get(where)
