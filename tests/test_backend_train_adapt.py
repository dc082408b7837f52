"""`backend train adapt`: recordings of a simulated device teach a small model, which then says so as it serves."""

import asyncio
import contextlib
import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

from backend.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from backend.cli import app
from backend.data.recorded import read_taken
from backend.info import show
from backend.model.language import LanguageConfig, resolved
from backend.model.sensorlm import ModelConfig, Predictor, SensorModel
from backend.serve.config import load
from backend.serve.pipeline import Pipeline
from backend.serve.store import Store
from backend.train import rehearse
from backend.train.adapt import Order, adapt, extended, task_for
from backend.train.shots import folds_of
from backend.train.teach import Head, Shown, learned
from broker import topics
from broker.errors import CheckpointError, ConfigError, DataError
from broker.memory import MemoryBroker, MemoryLink
from broker.messages import Frame, encode_frame
from edge.recording import FrameWriter
from tests.serving import HOP, T0, Device, new_metrics, small_checkpoint
from tests.small_llms import write_llm
from tests.small_runs import ACTIVITY, EVENT, QUIET, TINY

STIR, POLISH = 2.0, 9.0  # Hz


def frames(hertz: float, take: int, count: int = 12, placement: str = "wrist", first: int = 0) -> list[Frame]:
    """Motion at one frequency; takes differ in noise and time."""
    found = []
    for i in range(count):
        rng, slot = np.random.default_rng([take, i]), first + 100 * take + i
        phase = 2 * np.pi * hertz * (np.arange(50) / 50 + slot / 2)
        data = rng.normal(0, 0.2, (50, 6)) + 4 * np.stack([np.sin(phase), np.cos(phase)] * 3, -1)
        data[:, 2] += 9.8
        found.append(
            Frame("e1", i + 1, 1, "imu", placement, "raw", T0 + slot * HOP, 50.0, data.astype(np.float32))
        )  # fmt: skip
    return found


def write(path: Path, some: list[Frame], device: str = "watch", site: str = "home") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with FrameWriter(path) as out:
        for frame in some:
            out.write(topics.frames(site, device, frame.modality), encode_frame(frame))


def small(folder: Path) -> Path:
    checkpoint = small_checkpoint()
    checkpoint.record = {"people": {"nothing-simulated": {"train": [], "validation": [], "test": []}}}
    save_checkpoint(checkpoint, folder)
    return folder


def recorded(folder: Path) -> Path:
    for take in range(3):
        write(folder / "stirring" / f"{take}.frames", frames(STIR, take))
        write(folder / "polishing" / f"{take}.frames", frames(POLISH, take))
    return folder


async def test_what_is_taught_by_recordings_is_an_event_when_it_is_served(tmp_path):
    before = load_checkpoint(small(tmp_path / "old"))
    order = Order(recorded(tmp_path / "mine"), tmp_path / "new", tmp_path / "old", words={"stirring": "stirring soup"})
    adapt(order, QUIET)
    after = load_checkpoint(tmp_path / "new")
    task = after.model.tasks[ACTIVITY]
    assert task.labels == (*before.model.tasks[ACTIVITY].labels, "polishing", "stirring")
    assert (task.words["stirring"], task.words["polishing"]) == ("stirring soup", "polishing")
    assert after.encoders == before.encoders and after.digest != before.digest
    report = json.loads((tmp_path / "new" / "adapt.json").read_text())
    assert report["taught"]["accuracy"] > 0.9 and report["taught"]["n"] == 72
    assert [row["windows"] for row in report["curve"]] == [1, 5, 10, 20] and report["known"] == {}
    assert {"adapt.png", "MODEL_CARD.md"} <= {path.name for path in (tmp_path / "new").iterdir()}
    console = Console(file=(said := io.StringIO()), width=400)
    show(after, console)
    assert "stirring" in said.getvalue()

    broker, store = MemoryBroker(), Store(f"sqlite:///{tmp_path}/s.db")
    async with MemoryLink(broker) as link:
        pipeline = Pipeline(load(None, {"idle_s": 0.5}), MemoryLink(broker), Predictor(after), store, new_metrics())
        serving = asyncio.create_task(pipeline.run())
        await asyncio.wait_for(Device(link, "s", "watch", frames(STIR, 7)).run(), 60)
        serving.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await serving
    assert {event.label for event in store.events(0, 100)} == {"stirring"}


def test_old_labels_stay_in_their_rows_and_an_older_checkpoint_keeps_its_digest(tmp_path):
    old = small_checkpoint()
    assert "added" not in old.model.config.to_json()
    once = extended(replace(old.model.config, outputs={ACTIVITY: ("WALKING", "wave")}), ACTIVITY, ["ironing"], {})
    twice = extended(once, ACTIVITY, ["jog", "sawing"], {"sawing": "sawing wood"})
    assert twice.task(ACTIVITY).outputs == ("WALKING", "wave", "jog", "ironing", "sawing")
    assert ModelConfig.from_json(twice.to_json()).added[ACTIVITY] == {"ironing": "ironing", "sawing": "sawing wood"}
    for added, complaint in (
        ({ACTIVITY: {"jog": "jogging"}}, "which the task knows"),
        ({"gaze-estimation": {"up": "up"}}, "has no labels"),
        ({ACTIVITY: {"No Name": "x"}}, "added"),
    ):
        with pytest.raises(CheckpointError, match=complaint):
            ModelConfig.from_json({**old.model.config.to_json(), "added": added})


def test_what_is_rehearsed_is_kept_and_a_recording_is_never_on_both_sides(tmp_path):
    import torch

    rng = np.random.default_rng(0)
    start = Head(torch.zeros(3, 4), torch.zeros(3))
    x, label = torch.from_numpy(rng.normal(0, 0.1, (60, 4))).float(), np.repeat([0, 1, 2], 20)
    x[torch.arange(60), torch.from_numpy(label)] += 3
    head = learned(start, (x[40:], label[40:]), (x[:40], label[:40]))
    assert (head.probs(x).argmax(-1) == label).all()
    alone = learned(start, (x[40:], label[40:]), (x[:0], label[:0]))
    assert (alone.probs(x[:40]).argmax(-1) == 2).mean() > 0.5  # nothing to tell it from
    shown = Shown((None,) * 7, np.array([0, 0, 0, 0, 1, 1, 1]), np.array(["a", "a", "b", "b", "c", "c", "c"]))
    fold = folds_of(shown)
    assert fold[0] == fold[1] != fold[2] == fold[3] and (fold[4:] == -1).all()


def test_one_label_is_told_from_what_the_simulator_shows_of_old(tmp_path, monkeypatch):
    monkeypatch.setattr(rehearse, "SIMULATED", (2, 1))
    monkeypatch.setattr(rehearse, "SECONDS", 12)
    save_checkpoint(small_checkpoint(), tmp_path / "old")
    write(tmp_path / "mine" / "stirring" / "0.frames", frames(STIR, 0))
    said = io.StringIO()
    adapt(Order(tmp_path / "mine", tmp_path / "new", tmp_path / "old"), Console(file=said))
    report = json.loads((tmp_path / "new" / "adapt.json").read_text())
    assert report["taught"] is None and "one recording cannot be" in said.getvalue()
    known = report["known"]["synthetic"]
    assert known["n"] and {"before", "after", "taken_for_new"} <= set(known)


def test_files_of_one_time_are_a_group_unless_they_share_a_stream(tmp_path):
    write(tmp_path / "a" / "watch.frames", frames(STIR, 0))
    write(tmp_path / "a" / "phone.frames", frames(STIR, 0, placement="pocket"), "phone")
    write(tmp_path / "a" / "again.frames", frames(STIR, 0))
    write(tmp_path / "a" / "elsewhere.frames", frames(STIR, 0), "phone", "office")
    taken = read_taken(tmp_path)
    streams = sorted(sorted({w.key for m in one.moments for w in m.windows}) for one in taken)
    assert streams == [["phone/imu"], ["phone/imu", "watch/imu"], ["watch/imu"]]


@pytest.mark.parametrize(
    ("case", "complaint"),
    [
        ("none", "no recordings; expected LABEL/"),
        ("beside", "in no label's folder; move it to"),
        ("name", "label 'Stirring Soup': a name has"),
        ("task", "no task of this checkpoint that has labels; it has activity-recognition"),
        ("modality", "no encoder for modality 'audio'"),
        ("tokens", "export the encoder of this checkpoint"),
        ("alone", "shows stirring alone"),
        ("words", "--words sawing: not one of the new labels"),
        ("signs", "are wanted"),
        ("there", "holds a run"),
        ("itself", "is the checkpoint to begin with"),
    ],
)
def test_what_cannot_be_taught_is_one_line_and_writes_nothing(tmp_path, case, complaint):
    mine, new, old = tmp_path / "mine", tmp_path / "new", small(tmp_path / "old")
    mine.mkdir()
    more: list[str] = []
    if case == "beside":
        write(mine / "0.frames", frames(STIR, 0))
    elif case == "name":
        write(mine / "Stirring Soup" / "0.frames", frames(STIR, 0))
    elif case == "modality":
        data = np.zeros((16000, 1), np.int16)
        write(mine / "a" / "0.frames", [Frame("e", 1, 1, "audio", "room", "raw", T0, 16000.0, data, scale=2.0**-15)])
    elif case == "tokens":
        data = np.zeros((4, 128), np.float16)
        write(mine / "a" / "0.frames", [Frame("e", 1, 1, "imu", "wrist", "tokens", T0, 50.0, data, encoder="ab" * 32)])
    elif case != "none":
        write(mine / "stirring" / "0.frames", frames(STIR, 0))
    if case == "task":
        more = ["--task", "gaze"]
    elif case == "words":
        more = ["--words", "sawing=sawing wood"]
    elif case == "signs":
        more = ["--words", "stirring=stirring\nthe rms is 9 m/s2"]
    elif case == "there":
        new.mkdir()
        (new / "adapt.json").write_text("{}")
    out = old if case == "itself" else new
    line = ["train", "adapt", "--dataset", str(mine), "--out", str(out), "--checkpoint", str(old), *more]
    done = CliRunner().invoke(app, line)
    assert done.exit_code and complaint in str(done.exception), done.exception
    assert not (new / "config.json").exists()


def test_a_task_that_sensors_cannot_tell_says_what_it_asks_for(tmp_path):
    write(tmp_path / "stirring" / "0.frames", frames(STIR, 0))
    write(tmp_path / "WALKING" / "0.frames", frames(POLISH, 1))
    taken = read_taken(tmp_path)
    tasks = (ACTIVITY, EVENT, "gesture-classification")
    model = SensorModel(ModelConfig(modalities=("imu", "audio"), tasks=tasks, layers=1, encoders=TINY))
    predictor = Predictor(Checkpoint(model))
    assert task_for(predictor, taken, None) == ACTIVITY
    with pytest.raises(DataError, match=r"hold imu \(wrist\); event-detection asks for audio"):
        task_for(predictor, taken, EVENT)
    with pytest.raises(DataError, match=r"gesture-classification asks for gaze \("):
        task_for(predictor, taken, "gesture-classification")
    with pytest.raises(ConfigError, match="no task of this checkpoint"):
        task_for(predictor, taken, "gaze-estimation")


def test_a_checkpoint_with_a_language_model_of_its_own_is_taught_too(tmp_path):
    recorded(tmp_path / "mine")
    base = small_checkpoint()
    language = resolved(LanguageConfig(write_llm(tmp_path / "llm"), kept=True))
    model = SensorModel(replace(base.model.config, language=language), begin=True).eval()
    model.load_state_dict(base.model.state_dict(), strict=False)
    model.settle()
    record = {"people": {"nothing-simulated": {"train": [], "validation": [], "test": []}}}
    save_checkpoint(Checkpoint(model, record=record), tmp_path / "base")
    adapt(Order(tmp_path / "mine", tmp_path / "out", tmp_path / "base", ACTIVITY, (), {}, False), QUIET)
    taught = load_checkpoint(tmp_path / "out")
    assert {"stirring", "polishing"} <= set(taught.model.tasks[ACTIVITY].outputs)
    assert taught.model.language.tokens("Who?") == model.language.tokens("Who?")
