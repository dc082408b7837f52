"""Stage 3: a language model learns to answer about sensors, and what it answers is measured."""

import json
import os
import signal
from dataclasses import replace

import pytest
import torch
from typer.testing import CliRunner

from backend.checkpoint import load_checkpoint
from backend.cli import app
from backend.model.language import LanguageConfig, resolved
from backend.recipes import instructed
from backend.train.card import dialogue_table
from backend.train.conversation import measure_dialogue
from backend.train.moments import LABELS
from backend.train.questions import EDITS
from backend.train.run import train
from backend.train.talk import TalkConfig, gather, talk
from broker.errors import CheckpointError
from tests.small_llms import write_llm
from tests.small_runs import QUIET, motion_alone
from tests.small_sets import write_sp_sw_har

QUICK = {
    "recordings": 4,
    "moments": 2,
    "asked": 3,
    "steps": 4,
    "items": 2,
    "named": 2,
    "texts": 1,
    "save_every": 2,
    "measured": 0,
}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    write_sp_sw_har(folder, people=6)
    return folder


@pytest.fixture(scope="module")
def stages(tmp_path_factory, data):
    """Checkpoints of stage 1, and of stage 2 with a language model that it keeps and with one that it reads again."""
    home = tmp_path_factory.mktemp("stages")
    train(motion_alone("steps=4", "validation=0.3"), data, home / "first", QUIET)
    llm = write_llm(home / "llm", "llama")
    for kept in (True, False):
        language = resolved(LanguageConfig(llm, kept=kept))
        config = instructed(motion_alone("steps=4", "validation=0.3"), str(home / "first"), language)
        train(replace(config, steps=2, texts=2, decisions=4), data, home / ("kept" if kept else "read"), QUIET)
    return home


def told(stages, name: str, data, out, **more):
    return talk(TalkConfig(str(stages / name), **QUICK), data, out, QUIET, **more)


@pytest.mark.parametrize("name", ["kept", "read"])
def test_only_the_language_model_learns(stages, data, name, tmp_path):
    told(stages, name, data, tmp_path / "run")
    one, other = load_checkpoint(stages / name), load_checkpoint(tmp_path / "run")
    before, after = one.model.state_dict(), other.model.state_dict()
    assert one.encoders == other.encoders and one.temperatures == other.temperatures
    for weight in before:
        if not weight.startswith(("language.", "unimodal.")):
            assert torch.equal(before[weight], after[weight]), weight
    changed = {weight for weight in before if weight in after and not torch.equal(before[weight], after[weight])}
    assert any(".soft." in weight for weight in changed)
    words = {weight for weight in changed if ".llm." in weight}
    assert words and (name == "kept" or all("lora" in weight for weight in words))
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3, 4]
    assert all(line["kept"] >= 0 and min(line[part] for part in ("seen", "named", "read")) > 0 for line in lines)
    assert other.record["talk"]["steps"] == 4 and (tmp_path / "run" / "curves.png").is_file()
    assert "## Dialogue" not in (tmp_path / "run" / "MODEL_CARD.md").read_text()


def test_a_run_measures_itself_and_tells_in_its_card(stages, data, tmp_path):
    config = TalkConfig(str(stages / "kept"), **QUICK | {"measured": 1, "steps": 1})
    talk(config, data, tmp_path / "run", QUIET)
    report = json.loads((tmp_path / "run" / "dialogue.json").read_text())
    card = (tmp_path / "run" / "MODEL_CARD.md").read_text()
    assert f"{report['n']} questions in held-out wordings" in card and "In stage 3 (1 steps" in card
    assert load_checkpoint(tmp_path / "run").record["validation"]["sp_sw_har"]


def test_a_resumed_run_is_the_uninterrupted_one(stages, data, tmp_path, monkeypatch):
    told(stages, "kept", data, tmp_path / "whole")
    step = talk.__globals__["train_step"]

    def stop(state, **rest):
        if state.step == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return step(state, **rest)

    monkeypatch.setitem(talk.__globals__, "train_step", stop)
    with pytest.raises(KeyboardInterrupt):
        told(stages, "kept", data, tmp_path / "stopped")
    monkeypatch.undo()
    told(stages, "kept", data, tmp_path / "stopped", resume=True)
    for file in ("model.safetensors", "metrics.jsonl"):
        assert (tmp_path / "whole" / file).read_bytes() == (tmp_path / "stopped" / file).read_bytes()


def test_another_language_model_takes_its_place(stages, data, tmp_path):
    """Of another family; a checkpoint without any needs one to be named."""
    qwen = write_llm(tmp_path / "qwen", "qwen", seed=3)
    told(stages, "first", data, tmp_path / "run", llm=qwen)
    served = load_checkpoint(tmp_path / "run")
    assert served.model.language.config.architecture["model_type"] == "qwen2"
    assert served.model.language.config.kept and served.model.language.config.llm == ""
    report = measure_dialogue(served, data, QUIET, moments=1, recordings=1)
    assert report["n"] > 3
    with pytest.raises(CheckpointError, match="name one by --llm"):
        told(stages, "first", data, tmp_path / "none")


def test_questions_are_about_whom_it_learned_from_alone(stages, data):
    checkpoint = load_checkpoint(stages / "kept")
    config = TalkConfig(str(stages / "kept"), **QUICK | {"recordings": 40})
    gathered = gather(config, checkpoint, data, QUIET)
    again = gather(config, checkpoint, data, QUIET)
    assert torch.equal(gathered.latents, again.latents)
    assert [one.item.question for one in gathered.asked] == [one.item.question for one in again.asked]
    assert not any(one.item.held_out for one in gathered.asked)
    shares = [one.item.kind in LABELS for one in gathered.asked]
    assert 0.3 < sum(shares) / len(shares) < 0.95
    assert gathered.added.abs().max() > 0


def test_what_is_measured(stages, data, tmp_path):
    """A model that cannot speak: nothing of what it says is told, and what is told holds."""
    flags = [
        "--dialogue",
        "--checkpoint",
        str(stages / "kept"),
        "--root",
        str(data),
        "--json",
        str(tmp_path / "a.json"),
    ]
    shown = CliRunner().invoke(app, ["eval", *flags])
    assert shown.exit_code == 0, shown.output
    report = json.loads((tmp_path / "a.json").read_text())
    assert f"| answers right | {report['answer_accuracy_unverified']:.3f} [" in "\n".join(dialogue_table(report))
    for key in (
        "answer_accuracy", "claim_precision", "claim_precision_unverified", "absent_sensor_mentions",
        "abstention_precision", "abstention_recall", "label_accuracy",
    ):  # fmt: skip
        assert 0 <= report[key] <= 1
        assert key in next(iter(report["by_kind"].values()))
    assert report["claim_precision"] == 1.0 and report["absent_sensor_mentions"] == 0.0
    assert report["answer_accuracy_unverified"] < 0.2 < report["answer_accuracy"]
    assert set(report["modes"]) == {"both", "tokens", "facts", "free", "neither"}
    assert set(report["sensors"]) == {"real", "shuffled", "zeroed", "missing"}
    assert set(report["edits"]) == set(EDITS)
    for name, (low, high) in ((name, of) for name, of in report["intervals"].items() if of is not None):
        assert 0 <= low <= report[name] <= high <= 1, name
    assert report["intervals"]["answer_accuracy"] is not None
    assert all(edit["n"] > 3 and edit["after"] > 0.8 > edit["both_unverified"] for edit in report["edits"].values())
    learned = set(load_checkpoint(stages / "kept").record["people"]["sp_sw_har"]["train"])
    assert report["people"] == 6 - len(learned) > 1
    with pytest.raises(CheckpointError, match="no language model"):
        measure_dialogue(load_checkpoint(stages / "first"), data, QUIET)
