"""What a task loses without a sense is counted at the moments that are still answered."""

from backend.data.synthetic import scene_recording
from backend.model.sensorlm import Predictor
from backend.train.evaluate import cut_all, encode
from benchmarks.missing import row, table
from tests.serving import senses_checkpoint


def test_a_missing_sense_is_compared_at_the_same_moments():
    predictor = Predictor(senses_checkpoint())
    senses = ("gaze", "imu", "image", "capacitance")
    scene = scene_recording(20_000, seconds=8, scene="touch", senses=senses)
    encoded = encode(predictor, cut_all([scene]))
    rows = {task: row(predictor, encoded, "synthetic_touch", task) for task in ("gaze-estimation", "touch-contact")}
    for found in rows.values():
        assert set(found["without"]) == set(senses)
        for one in found["without"].values():
            assert 0 < one["n"] <= found["n"]
            assert one["n"] < found["n"] or one["all"] == found["all"]
    values = [one["value"] for one in rows["gaze-estimation"]["without"].values()]
    assert len(set(values)) > 1, "a sense that is left out changes something"
    alone = encode(predictor, cut_all([scene_recording(20_000, seconds=8, scene="touch", senses=("gaze",))]))
    left = row(predictor, alone, "synthetic_touch", "gaze-estimation")
    assert left["without"] == {"gaze": {"n": 0}}
    lines = list(table({"tasks": {"gaze-estimation": {"synthetic_touch": left}}}))
    assert lines[-1].endswith("| gaze nothing is asked |")
    assert row(predictor, alone, "synthetic_touch", "touch-contact") is None
