"""Windows as tokens: the same answers, and encoders that stay as they are while rows learn above them."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from backend.model.sensorlm import SensorModel
from backend.train.batch import assemble, crop
from backend.train.state import METRICS
from backend.train.tables.learn import learn
from backend.train.tables.measure import answers
from backend.train.tables.people import People, load, save
from backend.train.tables.rows import SMOKE, base
from backend.train.tables.tokens import encoded
from broker.errors import CheckpointError, ConfigError, DataError
from tests.small_tables import COLUMNS, SENSES, small_model, two_people


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    return two_people(tmp_path_factory.mktemp("people"))


@pytest.fixture(scope="module")
def model():
    return small_model()


def test_a_model_says_of_tokens_what_it_says_of_windows(people, model):
    said, again = answers(model, people, COLUMNS), answers(model, encoded(model, people), COLUMNS)
    assert said.keys() == again.keys() and said
    for name, one in said.items():
        assert np.allclose(one.said, again[name].said, atol=2e-3)  # tokens are kept with half the digits
        assert np.array_equal(one.true, again[name].true, equal_nan=one.true.dtype.kind == "f")


def test_tokens_are_kept_as_tokens(people, model, tmp_path):
    seen = encoded(model, people)
    save(seen, tmp_path / "seen.npz")
    for one, other in zip(seen, load(tmp_path / "seen.npz"), strict=True):
        for series, kept in zip(one.series, other.series, strict=True):
            assert kept.encoded and kept.values.shape[1:] == (model.config.tokens, model.config.dim)
            assert np.array_equal(series.values, kept.values) and np.array_equal(series.quality, kept.quality)


def test_a_sense_without_an_encoder_has_no_tokens(people, model):
    looking = [one for one in COLUMNS if one.task == "gaze-estimation"]
    found = encoded(SensorModel(base(SMOKE, looking, ("gaze",), 0).model).eval(), people)
    assert {series.modality for one in found for series in one.series} == {"gaze"}


def test_encoders_stay_where_all_is_tokens_and_learn_from_windows(people, model, tmp_path):
    config = replace(base(SMOKE, COLUMNS, SENSES, 0), seed=1)
    before = model.encoders.state_dict()
    above, _ = learn(config, {"synthetic_touch": encoded(model, people)}, tmp_path / "a", lambda line: None, model)
    below, _ = learn(config, {"synthetic_touch": people}, tmp_path / "b", lambda line: None, model)
    same = [torch.equal(value, before[name]) for name, value in above.encoders.state_dict().items()]
    assert all(same) and same
    moved = [not torch.equal(value, before[name]) for name, value in below.encoders.state_dict().items()]
    assert any(moved)
    assert not any(p.requires_grad for part in (above.encoders, above.unimodal) for p in part.parameters())
    lines = (tmp_path / "a" / METRICS).read_text().splitlines()
    assert len(lines) == config.steps and json.loads(lines[0])["grad_norm"] > 0


def test_a_sense_that_the_given_encoders_lack_is_named(people, model, tmp_path):
    looking = [one for one in COLUMNS if one.task == "gaze-estimation"]
    narrow = SensorModel(base(SMOKE, looking, ("gaze",), 0).model).eval()
    with pytest.raises(ConfigError, match=r"none for .*imu"):
        learn(base(SMOKE, COLUMNS, SENSES, 0), {"synthetic_touch": people}, tmp_path, lambda line: None, narrow)


def test_tokens_and_windows_of_a_sense_are_not_mixed(people, model):
    seen, rng = encoded(model, people), np.random.default_rng(0)
    crops = [crop(one, 4, rng) for one in (people[0], seen[1])]
    with pytest.raises(DataError, match="tokens and windows in one batch"):
        assemble(crops, 4, model.config, rng)


def test_tokens_that_were_removed_are_named_with_a_remedy(tmp_path):
    with pytest.raises(CheckpointError, match=r"is missing; remove .*cells/data/tokens"):
        People(tmp_path / "data", SMOKE.amount, None).seen_by("a" * 64, "synthetic_touch", "")
