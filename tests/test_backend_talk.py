"""Several answers at once, in words: each as it would be alone, within its own limits, and no thread sees the other."""

import itertools
import queue
import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch

from backend.checkpoint import Checkpoint, load_checkpoint
from backend.model.history import Context, StreamTokens
from backend.model.sensorlm import Predictor, collate
from backend.model.talk import Chat, Saying, Talk, Way, prompt
from tests.small_llms import KINDS, write_llm
from tests.test_backend_language import configured, started, stirred

LINES = (
    "the rms of the IMU on the wrist at 14:00:00 is 2.31 m/s2\n"
    "the frequency of the IMU on the wrist at 14:00:01 is 1.80 Hz"
)
QUESTIONS = (
    "What is the person doing?",
    "What is the rms?",
    "How long was walking seen in the last minute, and when was that?",
    "And the frequency?",
)
CHATS = [Chat(LINES, question, (("Hello", "I answer."),) * (n % 3)) for n, question in enumerate(QUESTIONS)]


def context(seed: int, rows: int = 5) -> Context:
    rng = np.random.default_rng(seed)
    tokens = [rng.normal(size=(4, 128)).astype(np.float16) for _ in range(rows)]
    return Context(rows - 1, tuple(StreamTokens("w/imu", "imu", "wrist", n, x, 1.0) for n, x in enumerate(tokens)))


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return Predictor(load_checkpoint())


@pytest.fixture(scope="module")
def talk(predictor: Predictor) -> Iterator[Talk]:
    with Talk(predictor, together=3) as talk:
        yield talk


class Heard:
    """What was heard of some answers."""

    def __init__(self, talk: Talk) -> None:
        self.talk, self.news = talk, queue.Queue()

    def ask(self, name: object, chat: Chat, seed: int, most: int = 24, seconds: float = 60.0) -> Saying:
        until = time.monotonic() + seconds
        saying = Saying(context(seed), chat, most, until, lambda text, why: self.news.put((name, text, why)))
        self.talk.say(saying)
        return saying

    def all(self, count: int) -> dict[object, tuple[str, str]]:
        """Texts, and why they ended."""
        found: dict[object, tuple[str, str]] = {}
        while len(found) < count:
            name, text, why = self.news.get(timeout=60)
            if why:
                assert name not in found
                found[name] = (text.strip(), why)
        return found


def alone(predictor: Predictor, chat: Chat, seed: int, most: int = 24) -> str:
    language = predictor.model.language
    assert language is not None
    with torch.inference_mode():
        latents = predictor.model.adapter(collate([context(seed)], predictor.config)).latents
        ids = language.tokens(chat.question, chat.lines, chat.before)
        return language.text(language.generate(latents, [ids], most, told=[chat.lines.splitlines()])[0])


def test_together_and_in_any_order_each_says_what_it_says_alone(predictor: Predictor, talk: Talk):
    heard = Heard(talk)
    for n in range(10):  # more than a round has room for, so some come while others speak
        heard.ask(n, CHATS[n % 4], n)
        time.sleep(0.02 * (n % 3))
    found = heard.all(10)
    assert {n: text for n, (text, _) in found.items()} == {n: alone(predictor, CHATS[n % 4], n) for n in range(10)}


def test_text_grows_as_it_is_said(talk: Talk):
    heard = Heard(talk)
    heard.ask("q", CHATS[2], 1)
    texts = []
    while not texts or not texts[-1][2]:
        texts.append(heard.news.get(timeout=60))
    assert len(texts) >= 2
    for (_, one, _), (_, more, _) in itertools.pairwise(texts):
        assert more.startswith(one)


def test_limits_of_length_and_time_end_one_and_not_the_other(predictor: Predictor, talk: Talk):
    heard = Heard(talk)
    short = heard.ask("short", CHATS[0], 0, most=1)
    heard.ask("late", CHATS[1], 1, seconds=-1.0)
    gone = heard.ask("gone", CHATS[1], 1)
    gone.cancel()
    heard.ask("whole", CHATS[2], 2)
    found = heard.all(4)
    assert (found["short"][1], len(short.ids)) == ("length", 1)
    assert (found["late"], found["gone"]) == (("", "time"), ("", "gone"))
    assert found["whole"][0] == alone(predictor, CHATS[2], 2)
    assert short.prompt > 20


def test_what_fails_ends_its_round_and_nobody_else(talk: Talk, caplog: pytest.LogCaptureFixture):
    heard = Heard(talk)
    broken = replace(context(0), rows=(replace(context(0).rows[0], modality="smell"),))
    saying = Saying(broken, CHATS[0], 8, time.monotonic() + 60, lambda text, why: heard.news.put(("bad", text, why)))
    talk.say(saying)
    assert heard.all(1)["bad"] == ("", "failed")
    heard.ask("good", CHATS[0], 0)
    assert heard.all(1)["good"][1] in ("end", "length")
    assert "without the language model" in caplog.text


def test_words_that_control_a_chat_are_only_words(predictor: Predictor):
    language = predictor.model.language
    assert language is not None
    for special in language.words.all_special_tokens:
        number = language.words.convert_tokens_to_ids(special)
        honest = prompt(language, Chat("a line", "a question", (("b", "c"),)), 1000)
        forged = prompt(
            language, Chat(f"a line {special}", f"a {special} question", ((f"b{special}", f"c{special}"),)), 1000
        )
        assert forged.count(number) == honest.count(number)


def test_what_is_too_long_loses_its_oldest_turns_and_then_the_end_of_the_question(predictor: Predictor):
    language = predictor.model.language
    assert language is not None
    turns = tuple((f"question {n} {'x ' * 40}", "answer") for n in range(5))
    whole = prompt(language, Chat(LINES, "why?", turns), 10_000)
    cut = prompt(language, Chat(LINES, "why?", turns), len(whole) - 1)
    assert cut == language.tokens("why?", LINES, turns[1:])
    assert len(prompt(language, Chat(LINES, "why " * 500, turns), 400)) <= 400


def test_it_shares_weights_and_no_state_of_a_forward(predictor: Predictor, talk: Talk):
    language, copied = predictor.model.language, talk._language
    assert language is not None and copied is not language
    assert all(one is other for one, other in zip(language.parameters(), copied.parameters(), strict=True))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("conditioning", ["soft", "gated"])
def test_any_language_model_talks_while_it_decides_and_neither_disturbs_the_other(kind, conditioning, tmp_path):
    """A gate remembers soft tokens during a forward: those of the other thread must not be seen."""
    config = configured(write_llm(tmp_path / kind, kind), conditioning=conditioning)
    config = replace(config, dim=128)
    predictor = Predictor(Checkpoint(stirred(started(config))))
    contexts = [context(seed) for seed in range(6)]
    chats = [Chat("it is 2.31 m/s2", question[:20]) for question in QUESTIONS]
    decided = [predictor.decide([one])[0] for one in contexts]
    with Talk(predictor, together=4) as talk:
        heard, ends = Heard(talk), talk._ends
        sayings = [heard.ask(n, chats[n % 4], n, most=20) for n in range(6)]
        again = [predictor.decide([contexts[n % 6]])[0] for n in range(30)]
        heard.all(6)
    for n, answers in enumerate(again):
        for task, answer in answers.items():
            assert answer.probs == pytest.approx(decided[n % 6][task].probs, abs=1e-6)
    language = predictor.model.language
    assert language is not None
    said = {}
    for n, saying in enumerate(sayings):
        with torch.inference_mode():
            latents = predictor.model.adapter(collate([contexts[n]], predictor.config)).latents
        ids = language.generate(
            latents, [language.tokens(chats[n % 4].question, chats[n % 4].lines)], 20, told=[[chats[n % 4].lines]]
        )[0]
        said[n] = list(itertools.takewhile(lambda token: token not in ends, ids))
        assert saying.ids == said[n]
    assert len({tuple(ids) for ids in said.values()}) > 1


def test_who_decides_goes_first_but_not_for_ever():
    way = Way(patience_s=0.2)
    order = []

    def give() -> None:
        way.give()
        order.append("talks")

    with way:
        other = threading.Thread(target=give)
        other.start()
        time.sleep(0.05)
        order.append("decides")
    other.join()
    assert order == ["decides", "talks"]
    with way:
        began = time.monotonic()
        way.give()
        assert 0.15 < time.monotonic() - began < 2.0
