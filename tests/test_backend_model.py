from dataclasses import replace

import numpy as np
import pytest
import torch

from backend.checkpoint import Checkpoint
from backend.model.adapter import FUSIONS
from backend.model.history import Context, History, StreamTokens
from backend.model.sensorlm import ModelConfig, Predictor, SensorModel, _attribution, collate
from backend.model.series import inertial_features
from backend.moment import StreamWindow
from backend.train.augment import rotation
from broker.errors import DataError

SLOT = 500_000_000
ACTIVITY, EVENT = "activity-recognition", "event-detection"


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    torch.manual_seed(0)
    return Predictor(Checkpoint(SensorModel(ModelConfig())))


def imu_window(slot: int, device: str = "watch", placement: str = "wrist", seed: int = 0) -> StreamWindow:
    values = np.random.default_rng([seed, slot]).normal(0, 3, (50, 6)).astype(np.float32)
    return StreamWindow(device, "imu", "imu", placement, slot * SLOT, 50.0, 1.0, values)


def audio_window(slot: int) -> StreamWindow:
    values = np.random.default_rng(slot).normal(0, 0.1, (16000, 1)).astype(np.float32)
    return StreamWindow("room", "audio", "audio", "room", slot * SLOT, 16000.0, 1.0, values)


def contexts(predictor: Predictor, slots: int = 6) -> list[Context]:
    windows = [imu_window(n) for n in range(slots)] + [imu_window(n, "phone", "pocket") for n in range(2, slots)]
    windows += [audio_window(n) for n in range(3)]
    history, found = History(), []
    tokens = predictor.encode_windows(windows)
    for slot in range(slots):
        history.add(t for t in tokens if t.slot == slot)
        found.append(history.at(slot))
    return found


@pytest.mark.parametrize("angle", [(0.5, 0, 0), (1.0, -2.0, 0.3), (0, 0, 3.1)])
def test_features_beyond_the_axes_ignore_how_the_sensor_is_turned(angle):
    x = torch.from_numpy(imu_window(1).values)[None] + torch.tensor([1.0, 2, 9, 0, 0, 0])
    turn = torch.from_numpy(rotation(np.float32(angle)))
    turned = torch.cat([x[..., :3] @ turn.T, x[..., 3:] @ turn.T], -1)
    one, other = inertial_features(x), inertial_features(turned)
    assert torch.allclose(one[..., 6:], other[..., 6:], atol=1e-3)
    assert not torch.allclose(one[..., :6], other[..., :6], atol=1e-1)


def test_encoders_keep_their_contract(predictor):
    for modality, encoder in predictor.model.encoders.items():
        x = torch.randn(3, encoder.samples, encoder.channels) * 0.1
        tokens, quality = predictor.model.encode(modality, x, encoder.rate)
        assert tokens.shape == (3, encoder.tokens, encoder.dim)
        assert tokens[0].numel() * 2 <= 2048
        assert ((quality >= 0) & (quality <= 1)).all()
        assert sum(p.numel() for p in encoder.parameters()) <= 2_000_000


def test_another_rate_of_the_same_motion_gives_nearly_the_same_tokens(predictor):
    def swing(rate: float) -> torch.Tensor:
        t = (torch.arange(round(rate)) + 0.5) / rate
        return torch.stack([torch.sin(6 * t), t * 0 + 9.8, torch.cos(6 * t), t, -t, t * 0], -1)[None]

    slow, _ = predictor.model.encode("imu", swing(50.0), 50.0)
    fast, _ = predictor.model.encode("imu", swing(100.0), 100.0)
    assert torch.allclose(slow, fast, atol=0.2)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_batched_equals_single_and_attribution_is_whole(fusion):
    torch.manual_seed(1)
    predictor = Predictor(Checkpoint(SensorModel(ModelConfig(fusion=fusion))))
    found = contexts(predictor)
    together, alone = predictor.decide(found), [predictor.decide([c])[0] for c in found]
    for many, one, context in zip(together, alone, found, strict=True):
        assert many.keys() == one.keys()
        for task in many:
            assert np.allclose(list(many[task].probs.values()), list(one[task].probs.values()), atol=1e-5)
            assert many[task].attribution.keys() == {row.key for row in context.rows}
            assert sum(many[task].attribution.values()) == pytest.approx(1.0, abs=1e-5)
            assert sum(many[task].probs.values()) == pytest.approx(1.0, abs=1e-5)


def test_an_attribution_is_not_above_one_by_rounding(predictor):
    context = Context(0, tuple(predictor.encode_windows([imu_window(n) for n in range(3)])))
    gate_S = np.float32([0.4, 0.3, 0.3000001])
    assert sum(map(float, gate_S)) > 1.0
    assert _attribution(context, gate_S) == {"watch/imu": 1.0}
    assert np.isnan(_attribution(context, gate_S * np.float32(np.nan))["watch/imu"])  # serving counts it


def test_the_order_of_rows_does_not_matter(predictor):
    context = contexts(predictor)[-1]
    turned = Context(context.slot, context.rows[::-1])
    one, other = predictor.decide([context, turned])
    assert np.allclose(list(one[ACTIVITY].probs.values()), list(other[ACTIVITY].probs.values()), atol=1e-5)


def test_a_row_of_no_quality_gets_no_weight(predictor):
    context = contexts(predictor)[-1]
    blind = tuple(replace(r, quality=0.0) if r.key == "phone/imu" else r for r in context.rows)
    (decision,) = predictor.decide([Context(context.slot, blind)])
    assert decision[ACTIVITY].attribution["phone/imu"] < 0.01


def test_a_task_answers_only_where_its_modality_is_present(predictor):
    decisions = predictor.decide(contexts(predictor))
    assert [EVENT in d for d in decisions] == [True] * 3 + [False] * 3
    assert all(ACTIVITY in d for d in decisions)
    sound_only = Context(0, tuple(predictor.encode_windows([audio_window(0)])))
    assert predictor.decide([sound_only])[0].keys() == {EVENT}
    assert predictor.decide([]) == []


def test_tokens_of_the_device_count_as_its_raw_windows(predictor):
    raw = imu_window(3)
    (encoded,) = predictor.encode_windows([raw])
    sent = replace(raw, values=None, tokens=encoded.tokens, quality=encoded.quality, encoder=predictor.encoders["imu"])
    (received,) = predictor.encode_windows([sent])
    assert np.array_equal(received.tokens, encoded.tokens)
    assert received.quality == encoded.quality
    with pytest.raises(DataError, match="export the encoder"):
        predictor.encode_windows([replace(sent, encoder="0" * 64)])


def test_windows_that_fit_no_encoder_are_refused(predictor):
    with pytest.raises(DataError, match="no encoder for modality 'gps'"):
        predictor.encode_windows([replace(imu_window(0), modality="gps")])
    with pytest.raises(DataError, match=r"shape \(50, 3\), the encoder takes \(50, 6\)"):
        predictor.encode_windows([replace(imu_window(0), values=np.zeros((50, 3), np.float32))])


def test_history_is_the_same_however_rows_arrive(predictor):
    tokens = predictor.encode_windows([imu_window(n) for n in range(9)] + [audio_window(n) for n in range(9)])
    straight, backwards = History(), History()
    straight.add(tokens)
    for row in reversed(tokens):
        backwards.add([row, row])
    restored = History.from_bytes(straight.to_bytes())
    for history in (backwards, restored):
        assert [(r.key, r.slot) for r in history.at(8).rows] == [(r.key, r.slot) for r in straight.at(8).rows]
        assert all(
            np.array_equal(a.tokens, b.tokens) for a, b in zip(history.at(8).rows, straight.at(8).rows, strict=True)
        )
    assert {r.slot for r in straight.at(8).rows} == {4, 5, 6, 7, 8}
    with pytest.raises(DataError):
        History.from_bytes(b"\xc1not a history")


def test_padding_names_rows_by_age_and_placement(predictor):
    row = StreamTokens("x/imu", "imu", "somewhere", 7, np.zeros((4, 128), np.float16), 0.5)
    batch = collate([Context(9, (row,)), Context(7, (row, replace(row, placement="wrist")))], predictor.config)
    assert batch.age.tolist() == [[2, 0], [0, 0]]
    assert batch.placement.tolist() == [[0, 0], [0, 1]]
    assert batch.present.tolist() == [[True, False], [True, True]]


@pytest.mark.parametrize("fusion", FUSIONS)
def test_a_focused_task_weighs_only_the_senses_that_can_tell_it(fusion):
    torch.manual_seed(3)
    config = ModelConfig(modalities=("imu", "audio", "thermal"), tasks=(ACTIVITY, EVENT), fusion=fusion, focused=True)
    predictor = Predictor(Checkpoint(SensorModel(config)))
    decided = predictor.decide(contexts(predictor))
    heard = [found[ACTIVITY].attribution for found in decided[:3]]
    assert all(one["room/audio"] == 0 and sum(one.values()) == pytest.approx(1) for one in heard)
    assert all(found[EVENT].attribution["room/audio"] > 0 for found in decided[:3])


def test_a_focused_task_without_any_of_its_senses_looks_at_what_there_is():
    torch.manual_seed(3)
    config = ModelConfig(modalities=("imu", "audio"), tasks=(ACTIVITY,), focused=True)
    predictor = Predictor(Checkpoint(SensorModel(config)))
    tokens = predictor.encode_windows([audio_window(0)])
    outputs = predictor.model.fuse(collate([Context(0, tuple(tokens))], config))
    assert torch.isfinite(outputs.heads[ACTIVITY]).all()
    assert float(outputs.gate[ACTIVITY].sum().detach()) == pytest.approx(1)
