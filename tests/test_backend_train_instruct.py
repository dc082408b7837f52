"""Stage 2: a language model between adapter and heads, trained from a checkpoint of stage 1."""

import io
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from rich.console import Console
from typer.testing import CliRunner

from backend.checkpoint import load_checkpoint
from backend.cli import app
from backend.data.instructions import CANNOT_TELL, instruction
from backend.model.history import History
from backend.model.language import LanguageConfig, resolved
from backend.model.sensorlm import Predictor, SensorModel
from backend.moment import StreamWindow
from backend.recipes import instructed
from backend.serve.config import load
from backend.serve.server import _load_model
from backend.train.batch import answer
from backend.train.config import TrainConfig
from backend.train.examine import examine
from backend.train.loop import part_batch
from backend.train.run import train
from backend.train.source import Mixture, Source
from backend.train.text import _asked
from broker.errors import ConfigError
from tests.conftest import free_port
from tests.small_llms import KINDS, write_llm
from tests.small_runs import ACTIVITY, EVENT, QUIET, motion_alone
from tests.small_sets import write_sp_sw_har

QUICK = {"steps": 4, "texts": 3, "decisions": 6, "save_every": 2}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    write_sp_sw_har(folder, people=4)
    return folder


@pytest.fixture(scope="module")
def first(tmp_path_factory, data):
    """A checkpoint of stage 1."""
    out = tmp_path_factory.mktemp("first") / "run"
    train(motion_alone("steps=4", "validation=0.3"), data, out, QUIET)
    return out


@pytest.fixture(scope="module")
def llms(tmp_path_factory):
    return {kind: write_llm(tmp_path_factory.mktemp("llm") / kind, kind) for kind in KINDS}


def second(first, llm: str, **options) -> TrainConfig:
    started = load_checkpoint(first)
    language = resolved(LanguageConfig(llm, **options))
    config = instructed(motion_alone("steps=4", "validation=0.3"), str(first), language)
    assert config.model.modalities == started.model.config.modalities
    return replace(config, **QUICK)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("conditioning", "keep"), [("soft", True), ("gated", False)])
def test_stage_two_learns_words_and_leaves_the_encoders_alone(data, first, llms, kind, conditioning, keep, tmp_path):
    config = second(first, llms[kind], conditioning=conditioning, kept=keep)
    train(config, data, tmp_path / "run", QUIET)
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert all(line["text"] > 0 for line in lines) and all(ACTIVITY in line for line in lines)
    one, other = load_checkpoint(first), load_checkpoint(tmp_path / "run")
    assert one.encoders == other.encoders
    assert other.record["start"]["digest"] == one.digest
    before, after = one.model.adapter.state_dict(), other.model.adapter.state_dict()
    assert any(not torch.equal(before[name], after[name]) for name in before)
    language = other.model.language
    assert any(float(p.detach().abs().max()) > 0 for p in language.back[1].parameters())
    assert language.config.tuning == ("frozen" if keep else "lora") and (language.config.llm == "") == keep
    said = examine("sp_sw_har", data, other)["text"]
    assert said["n"] > 20 and 0 <= said["readable"] <= 1 and len(said["examples"]) == 3
    served = _load_model(load(None, {"checkpoint": str(tmp_path / "run"), **({} if keep else {"llm": llms[kind]})}))
    window = StreamWindow("watch", "imu", "imu", "wrist", 0, 50.0, 1.0, np.ones((50, 6), np.float32))
    history = History()
    history.add(served.encode_windows([window]))
    assert served.digest == other.digest and served.decide([history.at(0)])[0][ACTIVITY].probs
    assert isinstance(served.say([history.at(0)], ["Which?"])[0], str)


def test_eval_shows_what_is_answered_in_words(data, first, llms, tmp_path):
    train(second(first, llms["llama"], kept=True), data, tmp_path / "run", QUIET)
    flags = ["--dataset", "sp_sw_har", "--root", str(data), "--checkpoint", str(tmp_path / "run")]
    shown = CliRunner().invoke(app, ["eval", *flags, "--json", str(tmp_path / "a.json")])
    assert shown.exit_code == 0, shown.output
    text = json.loads((tmp_path / "a.json").read_text())["text"]
    (line,) = [line for line in shown.output.splitlines() if "in words" in line]
    assert line.startswith(f"sp_sw_har {ACTIVITY} in words: accuracy {text['accuracy']:.4f}, ")
    assert line.endswith(f", n {text['n']}")
    for key in ("majority", "as_head", "readable", "refused", "cannot_tell"):
        assert key not in text or f"{text[key]:.4f}" in line


def test_resumed_is_uninterrupted(data, first, llms, tmp_path):
    config = second(first, llms["llama"], kept=True)
    whole = train(config, data, tmp_path / "whole", QUIET)
    with pytest.raises(KeyboardInterrupt):
        train(config, data, tmp_path / "parts", StopsAfter(2))
    resumed = train(config, data, tmp_path / "parts", QUIET, resume=True)
    assert resumed.digest == whole.digest
    assert Predictor(resumed).digest == load_checkpoint(tmp_path / "whole").digest


def test_two_processes_train_stage_two_as_one_does(data, first, llms, tmp_path):
    """Up to the order in which floating-point numbers are summed, with LoRA, words and decisions without the model."""
    settings = ["steps=3", "crops=4", "accumulate=2", "texts=4", "decisions=6", "device=cpu"]
    call = ["train", "instruct", "--start", str(first), "--llm", llms["llama"], "--data", str(data), "--keep"]
    call += [word for one in settings for word in ("--set", one)]
    alone = CliRunner().invoke(app, [*call, "--out", str(tmp_path / "one")])
    assert alone.exit_code == 0, alone.output
    many = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", str(free_port())]
    command = [*many, "-m", "--", "backend.cli", *call, "--out", str(tmp_path / "two")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = [[json.loads(x) for x in (tmp_path / n / "metrics.jsonl").read_text().splitlines()] for n in ("one", "two")]
    assert len(lines[0]) == len(lines[1]) == 3 and all(line["text"] > 0 for line in lines[0])
    for one, two in zip(*lines, strict=True):
        assert two == pytest.approx(one, rel=1e-4, abs=1e-5)
    mine, other = (load_checkpoint(tmp_path / n).weights() for n in ("one", "two"))
    for name, value in mine.items():
        torch.testing.assert_close(other[name], value, rtol=1e-3, atol=1e-4, msg=name)


class StopsAfter(Console):
    """Ctrl-C when it hears of a step."""

    def __init__(self, step: int) -> None:
        super().__init__(file=io.StringIO(), force_terminal=False)
        self.step = step

    def print(self, *objects, **options):
        if any(f"step {self.step}/" in str(one) for one in objects):
            os.kill(os.getpid(), signal.SIGINT)
        super().print(*objects, **options)


def test_what_no_sensor_shows_is_asked_too_and_cannot_be_told(first, llms, data, scenes):
    """Of recordings of motion alone: nobody can tell a sound, and everybody an activity."""
    config = second(first, llms["llama"])
    model = replace(config.model, tasks=(ACTIVITY, EVENT), modalities=("imu", "audio"))
    config = replace(config, datasets={"synthetic": 1.0}, model=model, texts=60)
    motion = [replace(r, tracks=r.tracks[:1], labels={ACTIVITY: r.labels[ACTIVITY]}) for r in scenes]
    batch = part_batch(Mixture({"synthetic": Source(motion, config)}, config), config, 0, 0)
    answers = answer(SensorModel(config.model, begin=True), batch)
    asked = [name for _, name in _asked(answers, batch, config, np.random.default_rng(0))]
    assert 2 <= asked.count(EVENT) <= 20
    assert asked.count(ACTIVITY) == 60 - asked.count(EVENT)
    assert not any(EVENT in one for one in (batch.targets, batch.asked))
    told = instruction(config.model.task(EVENT), None, np.random.default_rng(0))
    assert told.answer == CANNOT_TELL


def test_the_command_does_both_stages_and_goes_on_where_it_stopped(data, llms, tmp_path):
    out = tmp_path / "out"
    call = ["train", "--recipe", "sp-sw-har", "--data", str(data), "--out", str(out), "--llm", llms["llama"]]
    tiny = ["steps=4", "crops=2", "slots=3", "phases=1", "validation=0.3", 'model.modalities=["imu"]']
    call += [word for one in tiny for word in ("--set", one)]
    done = CliRunner().invoke(app, call)
    assert done.exit_code == 0, done.output
    assert load_checkpoint(out / "pretrain").model.language is None
    assert load_checkpoint(out).model.language.config.kept
    again = CliRunner().invoke(app, call)
    assert again.exit_code != 0 and "holds a run" in str(again.exception)


def test_people_whom_stage_one_has_learned_from_cannot_be_held_out(data, first, llms, tmp_path):
    config = replace(second(first, llms["llama"]), validation=0.6)
    with pytest.raises(ConfigError, match=r"which has learned from \d of those that this run holds out of sp_sw_har"):
        train(config, data, tmp_path / "run", QUIET)
