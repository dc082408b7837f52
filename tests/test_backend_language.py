"""The language model between adapter and heads, with random models of two makes."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save

from backend.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from backend.model.adapter import FuseBatch
from backend.model.history import History
from backend.model.language import LanguageConfig, resolved
from backend.model.llms import read_llm
from backend.model.sensorlm import ModelConfig, SensorModel
from backend.moment import StreamWindow
from backend.serve.config import load
from backend.serve.server import _load_model
from backend.tasks import TASKS
from broker.errors import CheckpointError
from tests.small_llms import KINDS, write_llm

TASK = ("activity-recognition", "event-detection", "gesture-classification")
DIM = 32


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, str]:
    return {kind: write_llm(tmp_path_factory.mktemp("llm") / kind, kind) for kind in KINDS}


def configured(llm: str, **options) -> ModelConfig:
    language = resolved(LanguageConfig(llm, **options))
    return ModelConfig(modalities=("imu", "audio"), tasks=TASK, dim=DIM, language=language)


def started(config: ModelConfig, seed: int = 0) -> SensorModel:
    torch.manual_seed(seed)
    return SensorModel(config, begin=True).eval()


def batch(size: int = 5, seed: int = 0) -> FuseBatch:
    torch.manual_seed(seed)
    return FuseBatch(
        torch.randn(size, 6, 4, DIM), torch.randint(2, (size, 6)), torch.randint(3, (size, 6)),
        torch.arange(6).flip(0).clamp_max(4).expand(size, -1), torch.rand(size, 6), torch.rand(size, 6) > 0.2,
    )  # fmt: skip


def stirred(model: SensorModel, seed: int = 7) -> SensorModel:
    """Every weight that can learn, moved a little: what begins at zero is zero no more."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for weight in (p for p in model.parameters() if p.requires_grad):
            weight.add_(torch.randn_like(weight) * 0.1)
    return model


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("conditioning", ["soft", "gated"])
def test_a_new_language_model_changes_no_answer_by_a_bit(folders, kind, conditioning):
    model = started(configured(folders[kind], conditioning=conditioning))
    with torch.no_grad():
        with_it = model.fuse(batch())
        language, model.language = model.language, None
        without = model.fuse(batch())
        model.language = stirred(language)
        moved = model.fuse(batch())
    for task in TASK:
        assert torch.equal(with_it.heads[task], without.heads[task])
        assert not torch.equal(moved.heads[task], without.heads[task])


@pytest.mark.parametrize("kind", KINDS)
def test_zero_gates_leave_the_language_model_as_it_was_bit_for_bit(folders, kind):
    language = started(configured(folders[kind], conditioning="gated", tuning="frozen")).language
    words = torch.arange(40).reshape(2, 20)
    with torch.no_grad():
        alone = language.llm(words).logits
        with language.sensed(torch.randn(2, 6, language.llm.config.hidden_size)):
            gated = language.llm(words).logits
            language.gates[0].gate.add_(0.5)
            opened = language.llm(words).logits
        assert torch.equal(alone, gated)
        assert not torch.equal(alone, opened)
        assert torch.equal(alone, language.llm(words).logits)  # outside of a moment gates look at nothing


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("conditioning", ["soft", "gated"])
def test_what_is_asked_beside_a_task_and_who_is_in_the_batch_changes_nothing(folders, kind, conditioning):
    model = stirred(started(configured(folders[kind], conditioning=conditioning)))
    with torch.no_grad():
        together = model.fuse(batch())
        alone = model.fuse(batch(), [TASK[1]])
        assert list(alone.heads) == [TASK[1]]
        assert torch.allclose(alone.heads[TASK[1]], together.heads[TASK[1]], atol=1e-5)
        for n in range(5):
            one = FuseBatch(*(value[n : n + 1] for value in vars(batch()).values()))
            for task in TASK:
                assert torch.allclose(model.fuse(one).heads[task][0], together.heads[task][n], atol=1e-5)


@pytest.mark.parametrize("spoken", [True, False])
def test_a_head_says_of_some_decisions_what_it_says_of_all_and_of_others_nothing(folders, spoken):
    config = configured(folders[KINDS[0]])
    model = stirred(started(config if spoken else replace(config, language=None)))
    rows = {TASK[0]: torch.tensor([True, False, True, True, False]), TASK[2]: torch.ones(5, dtype=torch.bool)}
    with torch.no_grad():
        whole, some = model.fuse(batch()), model.fuse(batch(), rows)
        assert list(some.heads) == list(rows)
        for task, asked in rows.items():
            assert torch.allclose(some.heads[task][asked], whole.heads[task][asked], atol=1e-5)
            assert not some.heads[task][~asked].any()
        assert not model.fuse(batch(), {}).heads


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("conditioning", ["soft", "gated"])
def test_text_is_the_same_with_and_without_a_cache_alone_and_in_a_batch(folders, kind, conditioning):
    model = stirred(started(configured(folders[kind], conditioning=conditioning)))
    language = model.language
    latents = model.fuse(batch()).latents.detach()
    prompts = [language.tokens(TASKS[TASK[n % 3]].question[: 5 + 9 * n]) for n in range(5)]
    said = language.generate(latents, prompts, 12)
    assert said == language.generate(latents, prompts, 12, cached=False)
    assert said == [language.generate(latents[n : n + 1], prompts[n : n + 1], 12)[0] for n in range(5)]
    assert len({tuple(one) for one in said}) > 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("conditioning", "tuning"), [("soft", "lora"), ("gated", "frozen"), ("soft", "full")])
def test_a_language_model_learns_and_comes_back_from_the_disk(folders, kind, conditioning, tuning, tmp_path):
    """Learns an answer by heart; a frozen language model stays as it is; what is loaded answers and speaks alike."""
    config = configured(folders[kind], conditioning=conditioning, tuning=tuning, kept=tuning == "full")
    model = started(config)
    language, own = model.language, {k: v.clone() for k, v in model.language.llm.state_dict().items()}
    latents = model.fuse(batch()).latents.detach()
    prompts, answers = [language.tokens("What?")] * 5, [language.answer(text) for text in ("ab", "cd", "ef", "gh", "i")]
    optimizer = torch.optim.Adam([p for p in language.parameters() if p.requires_grad], 4e-2)
    first = float(language.loss(latents, prompts, answers).detach())
    for _ in range(40):
        loss = language.loss(latents, prompts, answers)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert float(loss.detach()) < 0.6 * first
    base = {k: v for k, v in language.llm.state_dict().items() if "lora_" not in k}
    changed = any(not torch.equal(v, own[k]) for k, v in base.items() if k in own)
    assert changed == (tuning == "full")

    checkpoint = Checkpoint(model)
    save_checkpoint(checkpoint, tmp_path)
    loaded = load_checkpoint(tmp_path)
    assert loaded.digest == checkpoint.digest
    with torch.no_grad():
        for task in TASK:
            assert torch.equal(loaded.model.fuse(batch()).heads[task], model.fuse(batch()).heads[task])
    assert loaded.model.language.generate(latents, prompts, 8) == language.generate(latents, prompts, 8)
    size = (tmp_path / "model.safetensors").stat().st_size
    held = sum(v.numel() for k, v in loaded.weights().items() if k.startswith("language.llm.") and "lora_" not in k)
    assert (held > 0) == (tuning == "full") and size > 0


@pytest.mark.parametrize("kind", KINDS)
def test_merged_lora_answers_as_it_did(folders, kind, tmp_path):
    model = stirred(started(configured(folders[kind], kept=True)))
    with torch.no_grad():
        before = model.fuse(batch())
        model.language.merge()
        after = model.fuse(batch())
    assert not any("lora" in name for name in model.state_dict())
    for task in TASK:
        assert torch.allclose(before.heads[task], after.heads[task], atol=1e-4)
    model.config = replace(model.config, language=model.language.config)
    save_checkpoint(Checkpoint(model), tmp_path)
    loaded = load_checkpoint(tmp_path).model
    with torch.no_grad():
        for task in TASK:
            assert torch.equal(loaded.fuse(batch()).heads[task], after.heads[task])


def test_a_kept_model_needs_its_folder_no_more_and_another_model_is_refused(tmp_path):
    llm = write_llm(tmp_path / "llm")
    kept = started(configured(llm, kept=True))
    save_checkpoint(Checkpoint(kept), tmp_path / "kept")
    save_checkpoint(Checkpoint(started(configured(llm))), tmp_path / "beside")
    (tmp_path / "llm").rename(tmp_path / "moved")
    prompt = [kept.language.tokens("Who?")]
    loaded = load_checkpoint(tmp_path / "kept").model
    latents = torch.randn(1, 6, DIM)
    assert loaded.language.generate(latents, prompt, 5) == kept.language.generate(latents, prompt, 5)
    assert loaded.language.tokens("Who?") == prompt[0]
    with pytest.raises(CheckpointError, match=r"llm: no folder has that name; .*--llm NEWPATH.*--llm none"):
        load_checkpoint(tmp_path / "beside")
    assert load_checkpoint(tmp_path / "beside", "none").digest
    assert load_checkpoint(tmp_path / "beside", str(tmp_path / "moved")).digest
    write_llm(tmp_path / "other", seed=1)
    with pytest.raises(CheckpointError, match="another than the one that was conditioned"):
        load_checkpoint(tmp_path / "beside", str(tmp_path / "other"))
    with pytest.raises(CheckpointError, match="brings its own language model"):
        load_checkpoint(tmp_path / "kept", str(tmp_path / "moved"))


def test_what_cannot_be_is_said(tmp_path):
    with pytest.raises(ValueError, match="use --keep"):
        LanguageConfig("x", tuning="full")
    with pytest.raises(CheckpointError, match=r"language model nowhere: cannot be read.*--llm NEWPATH.*--llm none"):
        resolved(LanguageConfig("nowhere"))
    with pytest.raises(ValueError, match="a language model takes 32; lower latents"):
        ModelConfig(latents=17, language=LanguageConfig("x"))


def test_no_hub_is_asked_for_what_can_be_a_folder_alone(tmp_path, monkeypatch):
    asked = []

    def hub(llm: str, **_):
        asked.append(llm)
        raise OSError("no hub here")

    monkeypatch.setattr("transformers.AutoModelForCausalLM.from_pretrained", hub)
    (tmp_path / "file").touch()
    for llm in (tmp_path / "gone", tmp_path / "file", "./gone", "../gone", "~/gone", "runs/words/gone"):
        with pytest.raises(CheckpointError, match=f"language model {llm}: no folder has that name; .*--llm none"):
            read_llm(str(llm))
    assert not asked
    for llm in ("gone", "owner/gone", str(tmp_path)):
        with pytest.raises(CheckpointError, match=f"language model {llm}: cannot be read: .*no hub here"):
            read_llm(llm)
    assert asked == ["gone", "owner/gone", str(tmp_path)]


@pytest.mark.parametrize("kind", KINDS)
def test_serving_takes_the_language_model_from_where_it_is_told(kind, tmp_path):
    llm = write_llm(tmp_path / "llm", kind)
    save_checkpoint(Checkpoint(stirred(started(configured(llm)))), tmp_path / "run")
    (tmp_path / "llm").rename(tmp_path / "large")
    config = load(None, {"checkpoint": str(tmp_path / "run"), "llm": str(tmp_path / "large")})
    predictor = _load_model(config)
    window = StreamWindow("watch", "imu", "imu", "wrist", 0, 50.0, 1.0, np.ones((50, 6), np.float32))
    history = History()
    history.add(predictor.encode_windows([window]))
    answers = predictor.decide([history.at(0)])[0]
    assert answers[TASK[0]].attribution == {"watch/imu": pytest.approx(1.0)}
    assert sum(answers[TASK[0]].probs.values()) == pytest.approx(1)
    assert isinstance(predictor.say([history.at(0)], ["Which?"])[0], str)


def test_without_its_language_model_a_checkpoint_answers_by_the_adapter_alone(folders, tmp_path):
    model = stirred(started(configured(folders["llama"], kept=True)))
    save_checkpoint(Checkpoint(model), tmp_path)
    whole, alone = load_checkpoint(tmp_path), load_checkpoint(tmp_path, "none")
    assert alone.model.language is None and alone.digest != whole.digest
    with torch.no_grad():
        model.language = None
        wanted = model.fuse(batch())
        for task in TASK:
            assert torch.equal(alone.model.fuse(batch()).heads[task], wanted.heads[task])
    changed = load_file(tmp_path / "model.safetensors")
    changed["adapter.missing"] += 1
    (tmp_path / "model.safetensors").write_bytes(save(changed))
    for llm in (None, "none"):
        with pytest.raises(CheckpointError, match="changed after training"):
            load_checkpoint(tmp_path, llm)


def test_in_training_some_decisions_are_made_without_it(folders):
    model = stirred(started(configured(folders["llama"], bypass=0.5))).train()
    residual = model.language(torch.randn(64, 6, DIM), torch.randn(64, 3, DIM), [0, 1, 2])
    passed = residual.detach().abs().amax((1, 2)) > 0
    assert 10 < int(passed.sum()) < 54
    residual = model.eval().language(torch.randn(64, 6, DIM), torch.randn(64, 3, DIM), [0, 1, 2])
    assert (residual.detach().abs().amax((1, 2)) > 0).all()
