"""The small language model: documents are deterministic, written as chats are, and a run goes on exactly."""

import io
import json
import signal
from dataclasses import replace

import numpy as np
import pytest
import torch
from rich.console import Console
from transformers import AutoModelForCausalLM, AutoTokenizer
from typer.testing import CliRunner

from backend.cli import app
from backend.data import corpus
from backend.data.corpus import comparing, copying, document
from backend.data.wording import Wordings
from backend.train import language
from backend.train.language import (
    SIZES,
    TextConfig,
    load_state,
    new_state,
    run_steps,
    token_losses,
    train_language,
    train_step,
)
from backend.train.language_measure import exact
from backend.train.language_text import TextBatch, Written, batch, messages, pack, train_tokenizer, write
from broker.errors import CheckpointError, ConfigError

SMALL = TextConfig(
    hidden=16, inner=16, layers=1, heads=2, vocabulary=320, documents=100, steps=10, rows=4, length=64, measured=2,
    save_every=4,
)  # fmt: skip
QUIET = Console(file=io.StringIO())


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(SMALL.vocabulary, 200, 0)


def documents(seed: int, count: int, **kind):
    rng = np.random.default_rng(seed)
    return [document(rng, **kind) for _ in range(count)]


@pytest.mark.parametrize("kind", [{}, {"held_out": True}, {"long": True}])
def test_documents_follow_from_their_seed_and_hardly_one_comes_twice(kind):
    made = documents(1, 300, **kind)
    assert made == documents(1, 300, **kind) != documents(2, 300, **kind)
    assert len(set(made)) > 290
    assert all(turn.question and turn.answer for one in made for turn in one.turns)


def test_what_is_copied_and_compared_stands_in_the_text():
    rng = np.random.default_rng(3)
    for held_out in (False, True):
        for _ in range(200):
            made = copying(rng, held_out)
            (turn,) = made.turns
            value = turn.answer.removesuffix(".").rpartition(" is ")[2]
            name, _, where = turn.answer.removeprefix("The ").rpartition(" is ")[0].partition(" of the ")
            assert any(line.startswith(where) and f"{name} {value}" in line for line in made.text.splitlines())
            made = comparing(rng, held_out)
            (turn,) = made.turns
            if turn.kind == "compare":
                both, _, said = turn.answer.removesuffix(".").partition(": larger for the ")
                a, b = (float(part.split()[0]) for part in both.split(" and "))
                assert f"{said}:" in made.text
                first = turn.floor == turn.answer
                assert first == (a > b)


def test_held_out_wordings_are_no_learned_ones():
    groups = [value for value in vars(corpus).values() if isinstance(value, Wordings)]
    assert len(groups) > 10
    for group in groups:
        assert group.learned and group.held_out
        assert not set(group.learned) & set(group.held_out)
        rng = np.random.default_rng(0)
        assert {group.draw(rng, False) for _ in range(200)} == set(group.learned)
        assert {group.draw(rng, True) for _ in range(50)} == set(group.held_out)


def test_tokens_are_those_of_the_chat_template_and_answers_are_known(tokenizer):
    for made in documents(4, 50):
        written = write(made, tokenizer)
        if not made.turns:
            assert tokenizer.decode(written.ids) == f"<|bos|>{made.text}<|eos|>"
            continue
        chat = messages(made, len(made.turns))
        assert tokenizer.apply_chat_template(chat)["input_ids"] == written.ids
        answers = tokenizer.decode([t for t, counts in zip(written.ids, written.answers, strict=True) if counts])
        assert answers == "".join(f"{turn.answer}<|eos|>" for turn in made.turns)
    digits = tokenizer.tokenize("12.5 m/s2")
    assert digits[:4] == ["1", "2", ".", "5"]


def test_documents_in_a_row_do_not_see_each_other(tokenizer):
    torch.manual_seed(0)
    model = new_state(SMALL).model.eval()
    texts = batch(np.random.default_rng(5), tokenizer, 2, 256, 0.1)
    together = token_losses(model, texts)
    starts = [int(i) for i in (texts.ids[0] == 1).nonzero()]
    assert len(starts) >= 2
    part = slice(starts[1], starts[2] if len(starts) > 2 else 256)
    alone = TextBatch(*(value[:1, part] for value in (texts.ids, texts.position, texts.weight)))
    size = int((alone.weight > 0).sum())
    assert torch.allclose(token_losses(model, alone)[0, :size], together[0, part.start : part.start + size], atol=1e-5)


def test_answers_count_more_than_what_stands_before_them():
    written = Written([1, 7, 7, 3, 8, 4, 9, 2], [False] * 6 + [True] * 2)
    texts = pack(iter([written, Written([1] * 9, [False] * 9), written]).__next__, 2, 12, 0.25, 0)
    assert texts.weight[0].tolist() == [0, 0.25, 0.25, 0.25, 0.25, 0.25, 1, 1, 0, 0, 0, 0]
    assert texts.position[0].tolist() == [*range(8), 0, 0, 0, 0]
    assert texts.ids[0, 8:].tolist() == [0] * 4
    assert texts.weight[1, 1:9].tolist() == [0.25] * 8


def test_the_bundled_size_is_small_enough():
    with torch.device("meta"):
        count = {name: sum(p.numel() for p in new_state(config).model.parameters()) for name, config in SIZES.items()}
    assert 0.6e6 < count["tiny"] < 0.8e6 < 1.9e6 < count["small"] < 2.2e6 < count["medium"]
    assert 2 * count["medium"] < 10.695e6


def test_a_resumed_run_is_the_uninterrupted_one_and_loads_as_any_model(tmp_path):
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    train_language(SMALL, whole, QUIET)

    def stop(line: dict[str, float]) -> None:
        if line["step"] == 6:
            signal.raise_signal(signal.SIGINT)

    stopped.mkdir()
    (stopped / "train.json").write_text(json.dumps(SMALL.to_json()))
    made = language._tokenizer(SMALL, stopped, QUIET)
    assert not run_steps(new_state(SMALL), made, SMALL, stopped, stop)
    assert load_state(SMALL, stopped).step == 6
    with pytest.raises(ConfigError, match=r"learning_rate differ"):
        train_language(replace(SMALL, learning_rate=1.0), stopped, QUIET, resume=True)
    with pytest.raises(ConfigError, match=r"holds a run .*--resume.*--overwrite"):
        train_language(SMALL, stopped, QUIET)
    report = train_language(SMALL, stopped, QUIET, resume=True)
    for name in ("model.safetensors", "metrics.jsonl", "tokenizer.json", "config.json", "chat_template.jinja"):
        assert (whole / name).read_bytes() == (stopped / name).read_bytes(), name
    assert (stopped / "curves.png").is_file()
    assert set(report["new wordings"]) >= {"perplexity", "bits_per_byte", "floor", "copy", "compare"}

    model, tokenizer = AutoModelForCausalLM.from_pretrained(whole), AutoTokenizer.from_pretrained(whole)
    weights = [p.detach() for p in model.parameters()]
    assert {p.dtype for p in weights} == {torch.float32}
    assert all(torch.equal(p, p.half().float()) for p in weights)
    assert (whole / "model.safetensors").stat().st_size < 2.5 * report["parameters"] + 4000
    chat = [{"role": "user", "content": "How much is it?"}]
    given = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_tensors="pt")
    assert tokenizer.decode(given["input_ids"][0]) == "<|bos|><|user|>How much is it?<|assistant|>"
    said = model.generate(**given, max_new_tokens=3, do_sample=False)
    assert said.shape[1] <= given["input_ids"].shape[1] + 3


def test_a_small_model_learns_its_text(tokenizer):
    config = replace(SMALL, hidden=32, inner=64, steps=60, learning_rate=1e-2)
    state = new_state(config)
    lines = [train_step(state, tokenizer, config) for _ in range(config.steps)]
    first, last = (np.mean([line["context"] for line in part]) for part in (lines[:5], lines[-5:]))
    assert last < 0.75 * first


def test_what_cannot_be_trained_is_one_line(tmp_path):
    runner = CliRunner()
    train = ["train", "language", "--out", str(tmp_path / "out")]
    assert "--size huge: choose one of tiny" in str(runner.invoke(app, [*train, "--size", "huge"]).exception)
    with pytest.raises(ConfigError, match="hidden is 16, heads 3"):
        new_state(replace(SMALL, heads=3))
    with pytest.raises(ConfigError, match="nothing to resume"):
        train_language(SMALL, tmp_path / "out", QUIET, resume=True)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "train.json").write_text('{"recipe": "tiny"}')
    with pytest.raises(CheckpointError, match=r"train\.json: recipe.*--overwrite"):
        train_language(SMALL, tmp_path / "out", QUIET, resume=True)
    (tmp_path / "out" / "train.json").write_text(json.dumps(SMALL.to_json()))
    (tmp_path / "out" / "state.safetensors").write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"state\.safetensors: damaged.*--overwrite"):
        load_state(SMALL, tmp_path / "out")


def test_only_an_answer_to_the_letter_is_exact():
    made = [copying(np.random.default_rng(i), False) for i in range(20)]
    report = exact(lambda chats: [made[i].turns[0].answer for i in range(10)] + [""] * 10, made)
    assert report["exact"] == 0.5
    assert 0 < report["floor"] < 0.5
