"""The small language model: documents are deterministic, written as chats are, and a run goes on exactly."""

import io
import json
import signal
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch
from rich.console import Console
from transformers import AutoModelForCausalLM, AutoTokenizer
from typer.testing import CliRunner

from backend.cli import app
from backend.data import corpus
from backend.dialogue import wordings
from backend.dialogue.wordings import Wordings
from backend.train import language
from backend.train.language import SIZES, TextConfig, new_model, token_losses, train_language, train_step
from backend.train.language_measure import exact
from backend.train.language_text import TextBatch, Written, batch, messages, pack, train_tokenizer, write
from backend.train.text_loop import State, load_state, optimizer_of, run_steps
from broker.errors import CheckpointError, ConfigError

SMALL = TextConfig(
    hidden=16, inner=16, layers=1, heads=2, vocabulary=320, documents=100, steps=10, rows=4, length=64, measured=2,
    save_every=4,
)  # fmt: skip
QUIET = Console(file=io.StringIO())


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(SMALL.vocabulary, 200, 0)


def fresh(config: TextConfig) -> State:
    model = new_model(config)
    return State(model, optimizer_of(model, config.learning_rate, config.weight_decay))


def documents(seed: int, count: int, **kind):
    return list(islice(corpus.documents(np.random.default_rng(seed), **kind), count))


@pytest.mark.parametrize("kind", [{}, {"held_out": True}])
def test_documents_follow_from_their_seed_and_hardly_one_comes_twice(kind):
    made = documents(1, 300, **kind)
    assert made == documents(1, 300, **kind) != documents(2, 300, **kind)
    assert len(set(made)) > 290
    assert all(turn.question and turn.answer for one in made for turn in one.turns)


def test_the_last_answer_stands_in_the_lines():
    for made in documents(3, 300):
        said = made.turns[-1].answer.removesuffix(".").removeprefix("I cannot tell: ")
        assert f"{said[0].lower()}{said[1:]}" in made.text.splitlines() or said in made.text.splitlines()
    floors = [made.turns[-1].floor == made.turns[-1].answer for made in documents(4, 300)]
    assert 0.15 < np.mean(floors) < 0.6


def test_held_out_wordings_are_no_learned_ones():
    tables = [value for value in vars(wordings).values() if isinstance(value, dict)]
    groups = [group for table in tables for group in table.values() if isinstance(group, Wordings) and group.learned]
    assert len(groups) > 25
    for group in groups:
        same = {"current", "since {a}", ""}  # there is no other way to say it
        assert not set(group.learned) & set(group.held_out) - same
        rng = np.random.default_rng(0)
        assert {group.draw(rng, False) for _ in range(200)} == set(group.learned)
        assert {group.draw(rng, True) for _ in range(50)} == set(group.held_out)


def test_tokens_are_those_of_the_chat_template_and_answers_are_known(tokenizer):
    for made in documents(4, 50):
        written = write(made, tokenizer)
        chat = messages(made, len(made.turns))
        assert tokenizer.apply_chat_template(chat)["input_ids"] == written.ids
        answers = tokenizer.decode([t for t, counts in zip(written.ids, written.answers, strict=True) if counts])
        assert answers == f"{made.turns[-1].answer}<|eos|>"
    digits = tokenizer.tokenize("12.5 m/s2")
    assert digits[:4] == ["1", "2", ".", "5"]


def test_documents_in_a_row_do_not_see_each_other(tokenizer):
    torch.manual_seed(0)
    model = new_model(SMALL).eval()
    texts = batch(np.random.default_rng(5), tokenizer, 2, 1000, 0.1)
    together = token_losses(model, texts)
    starts = [int(i) for i in (texts.ids[0] == 1).nonzero()]
    assert len(starts) >= 2
    part = slice(starts[1], starts[2] if len(starts) > 2 else 1000)
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
        count = {name: sum(p.numel() for p in new_model(config).parameters()) for name, config in SIZES.items()}
    assert 0.6e6 < count["tiny"] < 0.8e6 < 1.9e6 < count["small"] < 2.2e6 < count["medium"]
    assert 2 * count["medium"] < 10.695e6


def test_heads_look_back_from_the_start():
    """What stood before is found again at once: the second half of a text that is said twice."""
    torch.manual_seed(0)
    ids = torch.randint(5, 1024, (4, 100))
    shares = {}
    for looks_back in (True, False):
        model = new_model(replace(SIZES["small"], looks_back=looks_back)).eval()
        model.set_attn_implementation("eager")
        with torch.no_grad():
            first, second, *_ = model(torch.cat([ids, ids], 1), output_attentions=True).attentions
        seen = [torch.diagonal(first[:, k], -(k + 1), 1, 2).mean() for k in range(3)]
        shares[looks_back] = (float(min(seen)), float(torch.diagonal(second[:, 0], -99, 1, 2)[:, 3:].mean()))
    assert min(shares[True]) > 0.5 and max(shares[False]) < 0.05


def test_a_resumed_run_is_the_uninterrupted_one_and_loads_as_any_model(tmp_path):
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    train_language(SMALL, whole, QUIET)

    def stop(line: dict[str, float]) -> None:
        if line["step"] == 6:
            signal.raise_signal(signal.SIGINT)

    stopped.mkdir()
    (stopped / "train.json").write_text(json.dumps(SMALL.to_json()))
    made = language._tokenizer(SMALL, stopped, QUIET)
    state = fresh(SMALL)
    assert not run_steps(state, lambda now: train_step(now, now.model, made, SMALL), SMALL.steps, stopped, stop, 4)
    assert load_state(fresh(SMALL), stopped).step == 6
    with pytest.raises(ConfigError, match=r"learning_rate differ"):
        train_language(replace(SMALL, learning_rate=1.0), stopped, QUIET, resume=True)
    with pytest.raises(ConfigError, match=r"holds a run .*--resume.*--overwrite"):
        train_language(SMALL, stopped, QUIET)
    report = train_language(SMALL, stopped, QUIET, resume=True)
    for name in ("model.safetensors", "metrics.jsonl", "tokenizer.json", "config.json", "chat_template.jinja"):
        assert (whole / name).read_bytes() == (stopped / name).read_bytes(), name
    assert (stopped / "curves.png").is_file()
    assert set(report["new wordings"]) >= {"perplexity", "bits_per_byte", "floor", "answers"}

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
    state, lines = fresh(config), []
    for state.step in range(config.steps):
        lines.append(train_step(state, state.model, tokenizer, config))
    first, last = (np.mean([line["context"] for line in part]) for part in (lines[:5], lines[-5:]))
    assert last < 0.75 * first


def test_what_cannot_be_trained_is_one_line(tmp_path):
    runner = CliRunner()
    train = ["train", "language", "--out", str(tmp_path / "out")]
    assert "--size huge: choose one of tiny" in str(runner.invoke(app, [*train, "--size", "huge"]).exception)
    with pytest.raises(ConfigError, match="hidden is 16, heads 3"):
        new_model(replace(SMALL, heads=3))
    with pytest.raises(ConfigError, match="nothing to resume"):
        train_language(SMALL, tmp_path / "out", QUIET, resume=True)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "train.json").write_text('{"recipe": "tiny"}')
    with pytest.raises(CheckpointError, match=r"train\.json: recipe.*--overwrite"):
        train_language(SMALL, tmp_path / "out", QUIET, resume=True)
    (tmp_path / "out" / "train.json").write_text(json.dumps(SMALL.to_json()))
    (tmp_path / "out" / "state.safetensors").write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"state\.safetensors: damaged.*--overwrite"):
        load_state(fresh(SMALL), tmp_path / "out")


def test_only_an_answer_to_the_letter_is_exact():
    made = documents(6, 20)
    report = exact(lambda chats: [made[i].turns[-1].answer for i in range(10)] + [""] * 10, made)
    assert report["exact"] == 0.5
    assert 0 < report["floor"] < 0.8
    assert set(report["by_kind"]) == {one.turns[-1].kind for one in made}
