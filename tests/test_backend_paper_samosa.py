"""SAMoSA in its publishers' layout, written small by hand and read back exactly."""

import numpy as np
import pytest

from backend.data.files import ORIGIN
from backend.data.paper import samosa
from backend.data.recording import sequence
from backend.tasks import TASKS
from broker.errors import DataError
from edge.clock import SECOND
from tests.paper_sets import dump, label, of


def write_samosa(root):
    rng = np.random.default_rng(1)
    trials = {
        "49---Kitchen---Chopping---1": {"Audio": np.arange(-40_000, 40_000), "IMU": rng.normal(size=(250, 9)) * 0.2},
        "7---Workshop---Drill in use---2": {
            "Audio": np.zeros(32_000, np.int16),
            "IMU": rng.normal(size=(100, 9)) * 0.2,
        },
        "7---Other---Speech---1": {
            "Audio": np.zeros(48_000),
            "1kHz_Audio": np.arange(3_000),
            "IMU": np.zeros((150, 9)),
        },
    }
    for name, content in trials.items():
        dump(root / "Data" / "TrainingDataset" / f"{name}.pkl", content)
    return trials


def test_samosa(tmp_path):
    trials = write_samosa(tmp_path / "samosa")
    speech, drill, chopping = samosa.recordings(tmp_path)
    assert [r.person for r in (speech, drill, chopping)] == ["p7", "p7", "p49"]
    assert label(chopping, "event-detection") == ([ORIGIN, ORIGIN + 5 * SECOND], ["chopping"])
    assert label(speech, "event-detection") == ([ORIGIN, ORIGIN + 3 * SECOND], ["none"])
    assert label(drill, "event-detection")[1] == ["drill-in-use"]
    imu, audio = of(chopping, "imu"), of(chopping, "audio")
    raw = trials["49---Kitchen---Chopping---1"]
    assert np.array_equal(imu.values[:][:, :6], raw["IMU"][:, :6].astype(np.float32))
    turned = np.linalg.norm(imu.values[:][:, 6:], axis=-1)
    assert np.allclose(np.sin(turned / 2), np.linalg.norm(raw["IMU"][:, 6:], axis=-1), atol=1e-6)
    assert (imu.t[1] - imu.t[0], audio.t[16_000] - audio.t[0]) == (20_000_000, SECOND)
    assert (audio.values.dtype, audio.values.shape, audio.scale) == (np.int16, (80_000, 1), 1 / 32768)
    assert np.array_equal(audio.values[:, 0], np.clip(raw["Audio"], -32768, 32767))
    slow = of(speech, "audio")
    assert slow.t[1] - slow.t[0] == 1_000_000
    assert slow.values[:, 0].tolist() == list(range(3_000))
    cut = sequence(chopping)
    assert set(cut.majority("event-detection")) == {TASKS["event-detection"].labels.index("chopping")}
    assert cut.series[0].values.shape[1:] == (50, 9)


def test_samosa_says_what_is_wrong(tmp_path):
    folder = tmp_path / "Data" / "TrainingDataset"
    write_samosa(tmp_path)
    _, drill, _ = samosa.recordings(tmp_path)
    bad = folder / "7---Workshop---Drill in use---2.pkl"
    bad.write_bytes(b"garbage")
    assert drill.tracks[0].values.shape == (100, 9)  # what is known is not read again
    for track in drill.tracks:
        with pytest.raises(DataError, match=r"Drill in use---2\.pkl"):
            track.values[:]
    dump(bad, {"Audio": np.zeros(9)})
    with pytest.raises(DataError, match="has no numbers IMU"):
        samosa.recordings(tmp_path)
    bad.rename(folder / "7---Workshop---Flying---2.pkl")
    with pytest.raises(DataError, match="unknown activity 'Flying'"):
        samosa.recordings(tmp_path)
