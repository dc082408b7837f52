"""Contact masks: from a panel's frames and the masks beside them to a decoder, a checkpoint and its report."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from rich.console import Console
from typer.testing import CliRunner

from backend.checkpoint import Checkpoint, load_checkpoint
from backend.cli import app
from backend.data import Recording, Track, sequence
from backend.data.files import one_a_slot, throughout
from backend.model.sensorlm import ModelConfig, Predictor
from backend.recipes import model_for, recipe
from backend.tasks import MASKS
from backend.train import scores
from backend.train.batch import assemble, crop
from backend.train.config import with_settings
from backend.train.evaluate import cut_all
from backend.train.examine import examine_recordings, figures
from backend.train.loop import train_step
from backend.train.run import train, train_folds
from backend.train.source import Mixture, Source
from backend.train.state import new_state
from broker.errors import ConfigError
from edge.windows import Stream
from tests.small_sets import write_npz

MASK = "contact-mask"
FINER = MASKS[MASK].finer
SIZE = (18, 24)


def touches(person: str, count: int = 12, size: tuple[int, int] = SIZE) -> Recording:
    """A person who touches a panel at one place after the other; of each touch the upper half is contact."""
    rng = np.random.default_rng(ord(person))
    row, column = np.arange(size[0] * FINER)[:, None] / FINER, np.arange(size[1] * FINER) / FINER
    frames, masks = [], []
    for y, x in rng.uniform((3, 3), np.subtract(size, 3), (count, 2)):
        blob = np.exp(-((row - y) ** 2 + (column - x) ** 2) / 2)
        masks.append((blob > 0.5) & (row < y))
        frames.append(blob.reshape(size[0], FINER, size[1], FINER).mean((1, 3)))
    values = np.rint(np.array(frames)[..., None] * 512).astype(np.int16)
    track = Track("panel", Stream("capacitance", "capacitance", "table", size=size), one_a_slot(count), values, 1 / 512)
    return Recording(person, "capcontact", person, (track,), {}, masks={MASK: np.array(masks, np.uint8)})


def write_people(folder, people: int) -> None:
    for n in range(people):
        one = touches(chr(65 + n), 6, (41, 72))
        cap, mask = one.tracks[0].values[..., 0], np.packbits(one.masks[MASK], axis=2)
        write_npz(
            folder / f"P{n:02}.npz", cap=cap, contact_packed=mask, session=np.ones(6, np.int8), frame=np.arange(6) * 4
        )


def test_every_window_has_the_mask_of_the_frame_that_it_shows():
    one = touches("A")
    masks = sequence(one, 300_000_000).masks[MASK]
    frames, drawn = masks.at(masks.known())
    whole = one.tracks[0].values * np.float32(one.tracks[0].scale)
    for frame, mask in zip(frames, drawn, strict=True):
        shown = int(np.abs(whole - frame).sum((1, 2, 3)).argmin())
        np.testing.assert_allclose(whole[shown], frame, atol=1e-6)
        assert (mask == one.masks[MASK][shown]).all()
    assert len(frames) >= len(whole)


def test_patches_are_parts_of_frames_and_of_their_masks():
    config = recipe("capcontact")
    found = sequence(touches("A"))
    rng = np.random.default_rng(0)
    batch = assemble([crop(found, 4, rng)], 4, config.model, rng)
    assert not batch.windows and not batch.targets, "there is nothing to decide"
    patches = batch.masks[MASK]
    _, whole = found.masks[MASK].at(found.masks[MASK].known())
    assert patches.mask.sum() > 0
    for mask, (row, column) in zip(patches.mask.numpy(), patches.corner, strict=True):
        y, x = row * FINER, column * FINER
        assert any((mask == one[y : y + mask.shape[0], x : x + mask.shape[1]]).all() for one in whole)


def test_a_decoder_learns_what_a_threshold_cannot_tell():
    config = with_settings(recipe("capcontact"), ["steps=60", "ema=0.9", "crops=5"])
    state = new_state(config)
    mixture = Mixture({"capcontact": Source([touches(p) for p in "ABC"], config)}, config)
    for _ in range(config.steps):
        train_step(state, mixture, {}, config)
    state.model.load_state_dict(state.average)
    report = examine_recordings("capcontact", [touches("D"), touches("E")], Predictor(Checkpoint(state.model)))
    assert report["iou"] > 0.7 > 0.55 > report["bicubic"]["iou"] > report["shuffled"]["iou"] > report["majority"]["iou"]
    assert report["n"] == sum(len(s.masks[MASK].known()) for s in cut_all([touches("D"), touches("E")]))
    assert report["interval"]["iou"][0] <= report["iou"] <= report["interval"]["iou"][1]
    assert set(report["by_person"]["iou"]) == {"D", "E"} and "IoU" in figures(report)


@pytest.mark.parametrize("size", [(5, 7), (41, 72)])
def test_masks_are_finer_than_panels_of_any_size_and_blind_to_the_background(size):
    torch.manual_seed(0)
    decoder = MASKS[MASK].decoder().eval()
    torch.nn.init.normal_(decoder.out.weight)
    x = torch.rand(2, *size, 1)
    drawn = decoder(decoder.picture(x))
    assert drawn.shape == (2, size[0] * FINER, size[1] * FINER)
    torch.testing.assert_close(decoder(decoder.picture(x + 0.25)), drawn, atol=1e-3, rtol=1e-3)


def test_overlap_is_that_of_all_cells_and_empty_masks_agree():
    report = scores.overlap({"a": np.array([30, 40]), "b": np.array([10, 40])})
    assert report["iou"] == 0.5 and report["by_person"]["iou"] == {"a": 0.75, "b": 0.25}
    assert report["by_person"]["worst"] == {"person": "b", "iou": 0.25} and report["interval"]["iou"] == [0.25, 0.75]
    assert scores.iou(np.array([0, 0])) == 1.0
    assert scores.overlap({"a": np.array([30, 40])})["interval"]["iou"] is None


def test_masks_are_learned_beside_tasks():
    both = {"capfingerid": 1.0, "capcontact": 1.0}
    config = replace(recipe("capfingerid"), datasets=both, model=model_for(*both), crops=6, slots=2)
    one = touches("A")
    labelled = replace(one, labels={"touch-contact": throughout(one.tracks[0].t, 3)}, masks={})
    sources = {"capfingerid": Source([labelled], config), "capcontact": Source([one], config)}
    weights = {"touch-contact": torch.ones(config.model.task("touch-contact").size)}
    state = new_state(config)
    before = {name: value.clone() for name, value in state.model.state_dict().items()}
    line = train_step(state, Mixture(sources, config), weights, config)
    assert line["touch-contact"] > 0 and line[MASK] > 0
    moved = {name.split(".")[0] for name, value in state.model.state_dict().items() if (value != before[name]).any()}
    assert {"encoders", "adapter", "heads", "masks"} <= moved
    assert MASK in recipe("real").model.masks


def test_a_checkpoint_with_a_mask_is_trained_kept_and_measured(tmp_path):
    write_people(tmp_path, 4)
    config = with_settings(recipe("capcontact"), ["steps=3", "crops=2"])
    train(config, tmp_path, tmp_path / "run", Console(quiet=True))
    checkpoint = load_checkpoint(tmp_path / "run")
    frame = touches("Z", 1, (41, 72)).tracks[0].values.astype(np.float32) / 512
    assert Predictor(checkpoint).draw(MASK, frame).shape == (1, 328, 576)
    assert MASK in (tmp_path / "run" / "MODEL_CARD.md").read_text()
    arguments = ["eval", "--dataset", "capcontact", "--root", str(tmp_path), "--checkpoint", str(tmp_path / "run")]
    said = CliRunner().invoke(app, [*arguments, "--json", str(tmp_path / "report.json")])
    report = json.loads((tmp_path / "report.json").read_text())
    assert said.exit_code == 0 and "contact-mask: IoU" in said.output
    assert "4 of 4 people were in the training of the checkpoint\n" in said.stdout
    assert report["metric"] == "iou" and report["bicubic"]["iou"] > 0 and len(report["split"]["seen_in_training"]) == 4
    assert "contact-mask" in CliRunner().invoke(app, ["info", str(tmp_path / "run")]).output


def test_folds_report_the_overlap_and_its_floors(tmp_path):
    write_people(tmp_path, 4)
    config = with_settings(recipe("capcontact"), ["steps=2", "crops=2", "folds=2"])
    report = train_folds(config, tmp_path, tmp_path / "folds", Console(quiet=True))["capcontact"]
    people = report["by_person"]["iou"]
    assert len(people) == 4 and report["by_person"]["worst"]["iou"] == min(people.values())
    assert report["bicubic"]["iou"] > report["majority"]["iou"] == 0.0


def test_a_mask_needs_its_sense_and_a_teacher():
    with pytest.raises(ValueError, match="modalities lacks capacitance"):
        ModelConfig(("imu",), ("activity-recognition",), masks=(MASK,))
    with pytest.raises(ValueError, match="at least one task or mask"):
        ModelConfig(("imu",), ())
    with pytest.raises(ConfigError, match="add capcontact"):
        with_settings(recipe("capfingerid"), [f'model.masks=["{MASK}"]'])
    assert "masks" not in ModelConfig().to_json(), "older checkpoints keep their digest"
