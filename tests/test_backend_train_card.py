"""The card of a checkpoint: the limits of what it learned from."""

from backend import recipes
from backend.checkpoint import Checkpoint
from backend.model.sensorlm import ModelConfig, SensorModel
from backend.train.card import LIMITS, model_card
from tests.small_runs import TINY, tiny


def test_a_card_tells_the_limits_of_what_was_learned_from_and_no_others():
    def card(name: str) -> str:
        people = {role: ["a", "b"] for role in ("train", "validation")}
        about = {"parameters": 1, "seconds": 60.0, "licences": {name: "free"}, "people": {name: people}}
        record = {"config": tiny().to_json(), "calibrated_on": {name: "validation"}, **about}
        limits = model_card(Checkpoint(model, record=record), {}).partition("## Limits")[2]
        assert limits.count("\n- ") == len(LIMITS[name])
        return " ".join(limits.split())

    model = SensorModel(ModelConfig(modalities=("imu",), tasks=("pose-estimation",), encoders={"imu": TINY["imu"]}))
    assert {name for of in recipes.RECIPES.values() for name in of().datasets} <= set(LIMITS)
    assert "front trouser pocket" in card("sp_sw_har")
    assert "freesound" in card("esc10") and "pocket" not in card("esc10")
    assert "has met no real sensor" in card("synthetic_touch") and "imulat" not in card("capcontact")
