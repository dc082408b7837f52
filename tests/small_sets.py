"""Small copies of data sets, as their publishers or curators lay them out, for the tests of what reads them."""

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import soundfile
from PIL import Image

from backend.data import (
    capcontact,
    capfingerid,
    drives,
    eyemu_gaze,
    fsdd,
    gazegraph_desktop,
    htad,
    kitti_samples,
    rgbd_7scenes,
    room_occupancy,
    thermal_d6t,
    thermal_rgb_pairs,
    utd_mhad,
)
from backend.data.recording import Recording, Recordings
from backend.tasks.activity import CHORES


def write_npz(path: Path, method: int = zipfile.ZIP_LZMA, **arrays: np.ndarray) -> None:
    """As the curated sets are: LZMA inside the zip."""
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, array in arrays.items():
            data = io.BytesIO()
            np.lib.format.write_array(data, np.asarray(array), allow_pickle=True)
            archive.writestr(f"{name}.npy", data.getvalue())


def kinect(frames: int, seed: int) -> np.ndarray:
    """(frames, 20, 3) m: somebody 2.5 m away who stands a little differently in each frame."""
    rng = np.random.default_rng(seed)
    return (rng.normal(0, 0.4, (1, 20, 3)) + rng.normal(0, 0.02, (frames, 20, 3)) + (0, 0, 2.5)).astype(np.float32)


def motion(samples: int) -> np.ndarray:
    """(samples, 6) 1 g along z and half a turn a second about x."""
    return np.tile(np.float64([0, 0, 1, 180, 0, 0]), (samples, 1))


def execution(seed: int, seconds: float = 6.0) -> pa.Table:
    """Samples of one device in the columns of sp_sw_har: seated, then walking."""
    rng = np.random.default_rng(seed)
    n = round(seconds * 100)
    t = 1_700_000_000_250 + np.sort(rng.integers(0, round(seconds * 1000), n))
    columns = ("x_acc", "y_acc", "z_acc", "x_gyro", "y_gyro", "z_gyro")
    values = {c: rng.normal(0, 1, n).astype(np.float32) for c in columns}
    label = ["SEATED" if i < n // 2 else "WALKING" for i in range(n)]
    return pa.table({**values, "timestamp": t, "label": label})


def write_sp_sw_har(root: Path, people: int = 2) -> None:
    """In its publishers' layout: two executions of each person, and of each a file per device."""
    for p in range(1, people + 1):
        folder = root / "DATA" / f"s{p:02d}"
        folder.mkdir(parents=True)
        for run in (1, 2):
            for d, device in enumerate(("sp", "sw")):
                table = execution(100 * p + 10 * run + d)
                pyarrow.csv.write_csv(table, folder / f"s{p:02d}_{run:02d}_{device}.csv")


def write_sp_sw_har_parquet(root: Path, people: int = 2) -> None:
    """The same samples in the curated layout: a file per person."""
    root.mkdir()
    for p in range(1, people + 1):
        parts = []
        for d, device in enumerate(("sp", "sw")):
            for run in (1, 2):
                table = execution(100 * p + 10 * run + d)
                table = table.append_column("exec", pa.array([run] * len(table), pa.int8()))
                parts.append(table.append_column("device", pa.array([device] * len(table)).dictionary_encode()))
        pq.write_table(pa.concat_tables(parts, promote_options="default"), root / f"s{p:02d}.parquet")


def write_utd_mhad(folder: Path) -> None:
    for person in (1, 2):
        n_imu, n_skel = np.array([150, 130, 200]), np.array([57, 50, 76])
        skeleton = kinect(int(n_skel.sum()), person)
        depth = np.zeros((len(skeleton), 120, 160), np.uint16)
        depth[:, :, 0] = 1000 + np.arange(len(depth))[:, None]
        write_npz(
            folder / f"s{person}_imu_skeleton.npz",
            **{"action": np.int8([1, 22, 3]), "trial": np.int8([1, 1, 2]), "subject": np.int8(person)},
            **{"n_imu": n_imu, "n_skel": n_skel, "imu": motion(480).astype(np.float32), "skeleton": skeleton},
        )
        write_npz(folder / f"s{person}_depth.npz", depth=depth, n_depth=n_skel)


def write_eyemu_gaze(folder: Path) -> None:
    features = np.arange(40, dtype=np.float32)[:, None] * np.ones(26, np.float32)
    target = np.tile(np.float32([0.5, 0.25]), (40, 1))
    write_npz(folder / "p00.npz", features=features, target_xy=target, round=np.repeat(np.int8([0, 1]), 20))


def write_gazegraph_desktop(folder: Path) -> None:
    gaze = {
        name.removeprefix("desktop-"): np.full((60, 2), i, np.float32)
        for i, name in enumerate(gazegraph_desktop.LABELS)
    }
    write_npz(folder / "P1.npz", **gaze)


def write_capfingerid(folder: Path) -> None:
    """Right thumb, then a pause, right thumb again, then left little finger, of which the clock then steps back."""
    time_s = 1_508_000_000 + np.array([0, 0.1, 0.2, 5.0, 5.1, 5.2, 5.3, 4.0, 4.5])
    finger, hand = np.int8([0, 0, 0, 0, 0, 4, 4, 4, 4]), np.int8([1, 1, 1, 1, 1, 0, 0, 0, 0])
    image = np.arange(9, dtype=np.int16)[:, None, None] * np.ones((1, 27, 15), np.int16)
    write_npz(folder / "P03.npz", image=image, finger=finger, hand=hand, time_s=time_s)


def write_capcontact(folder: Path) -> None:
    mask = np.zeros((5, 328, 576), np.uint8)
    mask[:, 8:16, 16:24] = np.arange(5)[:, None, None] % 2
    cap = np.arange(5, dtype=np.int16)[:, None, None] * np.ones((1, 41, 72), np.int16)
    write_npz(
        folder / "P01.npz", cap=cap, contact_packed=np.packbits(mask, axis=2),
        session=np.int8([1, 1, 2, 2, 2]), frame=np.int32([0, 4, 0, 4, 8]),
    )  # fmt: skip


def write_thermal_d6t(folder: Path) -> None:
    """One bedroom posture with a bad row, the empty bedroom, a bathroom and a night."""
    parts = [("bedroom", "3", "B", "b3.csv"), ("bedroom", "8", "D", "b8.csv"), ("bathroom", "9", "B", "c.csv")]
    parts.append(("bedroom", "Sleeping", "E", "n.csv"))
    rows: dict[str, list] = {}
    for room, posture, person, name in parts:
        for i in range(4):
            one = {f"t{k}": 200.0 + k for k in range(1, 17)} | {"t_ptat": 223.0, "pec_ok": float(i != 1)}
            one |= {"dt_ms": 2000.0 if i == 0 else 250.0, "time": "2016/6/13 - 21:5:41", "room": room, "day": 1}
            one |= {"volunteer": person, "posture": posture, "file": name}
            for key, value in one.items():
                rows.setdefault(key, []).append(value)
    pq.write_table(pa.table(rows), folder / "d6t.parquet")


def write_htad(folder: Path) -> None:
    """Eight rows of each label: a coefficient of sound that rises by the second, and a hand that leans a little."""
    rows = 8 * len(CHORES)
    columns = {name: [1.0] * rows for name in htad.MOTION} | {"v2_meanX": [0.1] * rows}
    columns |= {name: [120.0 + i // 12 if i % 12 == 0 else float(i)] * rows for i, name in enumerate(htad.SOUND)}
    labels = [label.replace("-", "_") for label in CHORES for _ in range(8)]
    pq.write_table(pa.table({"class": labels, **columns}), folder / "htad.parquet")


def write_room_occupancy(folder: Path) -> None:
    """Two days on which people come one by one."""
    room = {name: [26.0] * 8 for name in room_occupancy.ROOM} | {"S5_CO2": [800] * 8}
    room |= {"S1_Light": [100] * 8, "S6_PIR": [1] * 8, "S7_PIR": [0] * 8, "Room_Occupancy_Count": [0, 1, 2, 3] * 2}
    days = ["2017/12/22"] * 4 + ["2017/12/23"] * 4
    pq.write_table(pa.table(room | {"Date": days}), folder / "occupancy.parquet")


def write_fsdd(folder: Path) -> None:
    for name, seconds in (("3_theo_0.flac", 0.3), ("7_anna_12.wav", 1.7)):
        t = np.arange(round(8000 * seconds)) / 8000
        soundfile.write(folder / name, 0.5 * np.sin(2 * np.pi * 440 * t), 8000)


P2 = np.array([[700.0, 0, 620, 0], [0, 700, 187, 0], [0, 0, 1, 0]])
TO_CAMERA = np.array([[0.0, -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0]])


def write_kitti_samples(folder: Path) -> None:
    points = np.float32([[10, 0, 0, 0.5], [12, 0, 0, 0.5], [20, 6, 0, 0.2], [-5, 0, 0, 0.9]])
    write_npz(folder / "object_000007_velodyne.npz", zipfile.ZIP_DEFLATED, points=points)
    picture = np.random.default_rng(0).integers(0, 255, (375, 1242, 3)).astype(np.uint8)
    Image.fromarray(picture).save(folder / "object_000007_image_2.png")
    matrices = {"P2": P2, "R0_rect": np.eye(3), "Tr_velo_to_cam": TO_CAMERA}
    lines = [f"{name}: {' '.join(map(str, matrix.ravel()))}" for name, matrix in matrices.items()]
    (folder / "object_000007_calib.txt").write_text("\n".join(lines))
    for scan, time_s in ((0, 0.0), (1, 0.1), (94, 9.7)):
        path = folder / f"seq00_{scan:06d}_velodyne.npz"
        write_npz(path, points=points, pose=np.eye(3, 4), time_s=np.float64(time_s))


def write_rgbd_7scenes(folder: Path) -> None:
    rng = np.random.default_rng(0)
    for number in (0, 10, 20):
        picture = rng.integers(0, 255, (480, 640, 3)).astype(np.uint8)
        Image.fromarray(picture).save(folder / f"frame-{number:06d}.color.jpg")
        depth = np.full((480, 640), 1000 + number, np.uint16)
        depth[:, :20], depth[:20] = 0, 65_535
        Image.fromarray(depth).save(folder / f"frame-{number:06d}.depth.png")


def write_thermal_rgb_pairs(folder: Path) -> None:
    rng = np.random.default_rng(0)
    for source, names in (("llvip", ("010001", "010002", "020001")), ("roadscene", ("FLIR_00006",))):
        for kind, shape in (("ir", (100, 120)), ("vi", (100, 120, 3))):
            (folder / f"{source}_{kind}").mkdir()
            for name in names:
                picture = rng.integers(0, 255, shape).astype(np.uint8)
                Image.fromarray(picture).save(folder / f"{source}_{kind}" / f"{name}.jpg")


def write_comma2k19(folder: Path) -> None:
    """Northwards at 10 m/s, in a clock 1 000 000 s behind."""
    t, fast = 1000 + np.arange(20) * 0.1, 1000 + np.arange(200) * 0.01
    value = np.stack([37 + 1e-5 * t, 0 * t - 122, 0 * t + 10, (t + 1_000_000) * 1000, 0 * t + 30, 0 * t], -1)
    sensors = {"accelerometer": np.tile([0, 0, -9.8], (200, 1)), "gyro": np.stack([fast, -fast, 0 * fast], -1)}
    arrays = {"GNSS__live_gnss_ublox__t": t, "GNSS__live_gnss_ublox__value": value}
    for name, values in sensors.items():
        arrays |= {f"IMU__{name}__t": fast, f"IMU__{name}__value": values}
    write_npz(folder / "segment1.npz", zipfile.ZIP_DEFLATED, **arrays)


def write_vehicle_gps_imu(folder: Path) -> None:
    i = np.arange(100)
    car = {
        "date": 260314 + 0 * i, "time": 120_000_000 + 100 * (i // 5), "ax": 0.0 * i, "ay": 0.0 * i, "az": 0 * i - 9.8,
        "rollrate": 0.0 * i, "pitchrate": 0.0 * i, "yawrate": 0.0 * i + 90, "latitude": 51 + 1e-6 * (i // 5),
        "longitude": 13.0 + 0 * i, "altitude": np.where(i == 0, 0.0, 131.0), "speed": 0.0 * i + 36,
    }  # fmt: skip
    pq.write_table(pa.table(car), folder / "2014-02-14-002-Data.parquet")
    second = i % 50 == 0
    phone = {
        "accelerometerTimestamp_sinceReboot": 500 + i * 0.02, "gyroTimestamp_sinceReboot": 500 + i * 0.02,
        "locationHeadingTimestamp_since1970": 1.47e9 + i * 0.02,
        "locationTimestamp_since1970": np.where(second, 1.47e9 + i * 0.02, np.nan),
        "locationLatitude": np.where(second, 51.0, np.nan), "locationLongitude": np.where(second, 13.0, np.nan),
        "locationAltitude": np.where(second, 100.0, np.nan),
        "locationSpeed": np.where(second, i / 50 * 3 - 1.0, np.nan),
        **{f"accelerometerAcceleration{axis}": 0.0 * i - (axis == "Z") for axis in "XYZ"},
        **{f"gyroRotation{axis}": 0.0 * i + 0.5 for axis in "XYZ"},
    }  # fmt: skip
    pq.write_table(pa.table(phone), folder / "2016-08-09-Motorbike.parquet")


SETS: dict[str, tuple[Callable[[Path], Recordings], Callable[[Path], None]]] = {
    "utd_mhad": (utd_mhad.recordings, write_utd_mhad),
    "eyemu_gaze": (eyemu_gaze.recordings, write_eyemu_gaze),
    "gazegraph_desktop": (gazegraph_desktop.recordings, write_gazegraph_desktop),
    "capfingerid": (capfingerid.recordings, write_capfingerid),
    "capcontact": (capcontact.recordings, write_capcontact),
    "thermal_d6t": (thermal_d6t.recordings, write_thermal_d6t),
    "htad": (htad.recordings, write_htad),
    "room_occupancy": (room_occupancy.recordings, write_room_occupancy),
    "fsdd": (fsdd.recordings, write_fsdd),
    "kitti_samples": (kitti_samples.recordings, write_kitti_samples),
    "rgbd_7scenes": (rgbd_7scenes.recordings, write_rgbd_7scenes),
    "thermal_rgb_pairs": (thermal_rgb_pairs.recordings, write_thermal_rgb_pairs),
    "comma2k19_sample": (drives.comma2k19, write_comma2k19),
    "vehicle_gps_imu": (drives.vehicles, write_vehicle_gps_imu),
}


def written(root: Path, name: str) -> Path:
    """The folder of a small copy, below `root`."""
    folder = root / name
    folder.mkdir(parents=True)
    SETS[name][1](folder)
    return folder


def read(root: Path, name: str) -> Recordings:
    """The recordings of a set, given its folder or the one above."""
    return SETS[name][0](root)


def one(recordings: Recordings, name: str) -> Recording:
    """The recording of that name."""
    return next(r for r in recordings if r.name == name)


def touch(recordings: Recordings) -> None:
    """Read every row, as training does."""
    for recording in recordings:
        for track in recording.tracks:
            assert np.asarray(track.values).shape[0] == len(track.t)
