"""Newer College: a walk through a college with a laser scanner in hand (Ramezani et al., IROS 2020).

Layout, of which the publishers' page describes the rosbags and public readers agree on the rest:
`2020-ouster-os1-64-realsense/01_short_experiment/` with scans as point clouds of PCL,
`raw_format/ouster_scan/cloud_1583836591_182590976.pcd` (seconds and nanoseconds, UTC), and poses
`ground_truth/registered_poses.csv` with columns sec, nsec, x, y, z, qx, qy, qz, qw. Point clouds have fields x, y, z
(m) and intensity among others; ASCII and binary files are read.

Not read: inertial samples and stereo pictures of the raw format, whose layout no public document states (they are in
the rosbags). The paper uses the scans (Appendix A.1) and names no task for them: there are no labels, and `poses` gives
where the scanner was. Intensity is a count of photons without full scale; the modality's 1 is set to 1024 of them.

The "person" is the experiment. Scans stay on disk.
"""

from __future__ import annotations

import re
from collections import defaultdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.data.files import Origin, pictures
from backend.data.paper.layout import gathered
from backend.data.recording import Recording, Recordings, Track
from broker.errors import DataError
from broker.modalities import MODALITIES as ROWS
from edge.clock import SECOND
from edge.rangeimage import range_image
from edge.windows import Stream

NAME, LICENCE, SOURCE = "newer_college", "CC BY-NC-SA 4.0", "https://ori-drs.github.io/newer-college-dataset"
TASKS: dict[str, tuple[str, ...]] = {}
MODALITIES = ("lidar",)
SET = Origin(NAME, tuple(
    f"{top}*/raw_format/{between}ouster_scan/*.pcd"
    for top in ("2020-ouster-os1-64-realsense/", "") for between in ("", "ouster_zip_files/")
), SOURCE, LICENCE)  # fmt: skip

SCAN = re.compile(r"cloud_(?P<sec>\d+)_(?P<nsec>\d+)\.pcd")
FIELDS = ("x", "y", "z", "intensity")
PHOTONS = 1024.0
FIELD_DEG = (22.5, -22.5)
"""Elevation of the top and the bottom ring: 45 degrees of view (Appendix A.1)."""
TYPES = {("F", 4): "<f4", ("F", 8): "<f8", **{(kind, n): f"<{kind.lower()}{n}" for kind in "IU" for n in (1, 2, 4, 8)}}
POSE = ("sec", "nsec", "x", "y", "z", "qx", "qy", "qz", "qw")
LONGEST_HEADER = 4096


def recordings(root: Path) -> Recordings:
    """One recording per experiment, lidar of "scanner"; `root` is the set's folder or its parent.

    `skipped` names files that are no scans by their name. Raises DataError where nothing is found.
    """
    folders: dict[Path, list[tuple[int, Path]]] = defaultdict(list)
    skipped = []
    for path in SET.files(root):
        match = SCAN.fullmatch(path.name)
        if match is None:
            skipped.append(f"{path}: is not named cloud_SECONDS_NANOSECONDS.pcd")
        else:
            folders[path.parent].append((int(match["sec"]) * SECOND + int(match["nsec"]), path))
    if not folders:
        raise DataError(f"{root}: no scans cloud_SECONDS_NANOSECONDS.pcd; get the set from {SOURCE} ({LICENCE})")
    return gathered(root, (_recording(folder, sorted(scans)) for folder, scans in sorted(folders.items())), skipped)


def _recording(folder: Path, scans: list[tuple[int, Path]]) -> Recording:
    experiment = next(part.parent.name for part in folder.parents if part.name == "raw_format")
    size = ROWS["lidar"].size
    t = np.array([time for time, _ in scans], np.int64)
    ranges: Any = pictures((path for _, path in scans), (*size, 2), np.float32, partial(scan, size=size))
    track = Track("scanner", Stream("lidar", "lidar", "hand"), t, ranges)
    return Recording(experiment, NAME, experiment, (track,), {})


def scan(path: Path, size: tuple[int, int]) -> NDArray[np.float32]:
    """(H, W, 2) range image of a point cloud. Raises DataError for a file that is missing or damaged."""
    return range_image(points(path), size, FIELD_DEG)


def points(path: Path) -> NDArray[np.float32]:
    """(n, 4) x, y, z (m) and intensity 0..1 of a point cloud; points that are not finite, or nowhere, are left out.

    Raises DataError for a file that is missing, cut short, compressed, or without these fields.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be opened ({error.strerror}); is the set complete?") from None
    header, body = _header(path, content)
    try:
        count = int(header["POINTS"][0])
        sizes, counts = (
            [int(n) for n in header["SIZE"]],
            [int(n) for n in header.get("COUNT", ["1"] * len(header["SIZE"]))],
        )
        names = header["FIELDS"]
        kinds = [TYPES[kind, size] for kind, size in zip(header["TYPE"], sizes, strict=True)]
        shape = [(f"{i} {n}", kind, (c,)) for i, (n, kind, c) in enumerate(zip(names, kinds, counts, strict=True))]
        place = {name: i for i, name in enumerate(names)}
        wanted = [f"{place[name]} {name}" for name in FIELDS]
        if header["DATA"] == ["binary"]:
            rows = np.frombuffer(body, np.dtype(shape), count)
            found = np.stack([rows[name][:, 0] for name in wanted], -1).astype(np.float32)
        elif header["DATA"] == ["ascii"]:
            starts = np.cumsum([0, *counts])
            table = np.array(body.split(), np.float64).reshape(count, starts[-1])
            found = table[:, [starts[place[name]] for name in FIELDS]].astype(np.float32)
        else:
            raise DataError(
                f"{path}: DATA {' '.join(header['DATA'])} is not read; pcl_convert_pcd_ascii_binary makes it binary"
            )
    except (KeyError, ValueError, IndexError) as error:
        raise DataError(f"{path}: is no whole point cloud with {', '.join(FIELDS)} ({error}); get it again") from None
    found[:, 3] = np.clip(found[:, 3] / PHOTONS, 0, 1)
    return found[np.isfinite(found).all(1) & found[:, :3].any(1)]


def _header(path: Path, content: bytes) -> tuple[dict[str, list[str]], bytes]:
    """Words of the header by their line's first, and what follows it."""
    header: dict[str, list[str]] = {}
    at = 0
    while "DATA" not in header and at < LONGEST_HEADER:
        end = content.find(b"\n", at)
        if end < 0:
            break
        first, *words = content[at:end].decode("ascii", "replace").split() or ["#"]
        header[first], at = words, end + 1
    if "DATA" not in header:
        raise DataError(f"{path}: is no point cloud of PCL; get it again")
    return header, content[at:]


def poses(path: Path) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Times (n,) ns UTC, and (n, 7) x, y, z (m) and quaternion x, y, z, w of the scanner, of `registered_poses.csv`.

    Raises DataError for a file that is missing or no such.
    """
    try:
        lines = [line.split(",") for line in path.read_text().splitlines() if line.strip() and not line.startswith("#")]
        t = np.array([int(line[0]) * SECOND + int(line[1]) for line in lines], np.int64)
        values = np.array([line[2:] for line in lines], np.float64).reshape(-1, len(POSE) - 2)
    except OSError as error:
        raise DataError(f"{path}: cannot be opened ({error.strerror}); get the set from {SOURCE} ({LICENCE})") from None
    except (ValueError, IndexError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: is no table of {', '.join(POSE)} ({error}); get it again") from None
    if len(t) != len(values):
        raise DataError(f"{path}: is no table of {', '.join(POSE)}; get it again")
    return t, values
