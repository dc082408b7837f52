"""Text from outside is data: hundreds of strings that would be more, in every field that takes text, change nothing.

A field refuses a string by an error that names the field, or takes it as it is. Then no answer is another one, none
holds what was not measured, nothing is told anywhere but where answers go, and the next question is answered.
"""

import asyncio
import re
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from pydantic import ValidationError
from transformers import AddedToken

from backend.checkpoint import load_checkpoint
from backend.dialogue.claims import REFUSAL
from backend.dialogue.programs import MOST_LISTED
from backend.dialogue.verify import right_answer, verify
from backend.model.language import LanguageConfig, LanguageModel, harmless
from backend.model.sensorlm import ModelConfig, Predictor
from backend.model.talk import Chat, Talk, Way, prompt
from backend.serve.chat import add_chat
from backend.serve.dialogue import Dialogue, Question, Told
from backend.serve.situations import Seen, place_name
from backend.tasks import TASKS
from broker import topics
from tests.injections import BY_KIND, CHAT_MARKS, CLAIMS, INJECTIONS, SYSTEM_LINES
from tests.serving import new_metrics
from tests.small_llms import KINDS, write_llm
from tests.test_backend_talk import context
from tests.test_serve_dialogue import Scripted
from tests.test_serve_situations import ACTIVITY, HOME, World, measured, walked

MEAN = "What is the mean rms of the IMU on the wrist in the last 10 seconds?"
KNOWN = (MEAN, "Which sensors are there?", "What is the rms now?", "What is the person doing?", "How long was walking?")
RMS, OTHER = 5.25, 1.5
FALSE = (
    "The rms of the IMU on the wrist is {} m/s2.", "The rms is {}.", "The mean rms of the IMU on the wrist is {}.",
    "There are {} sensors.", "Walking was seen {} times.",
)  # fmt: skip
SLUGS = tuple(dict.fromkeys(re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:63].strip("-") for text in INJECTIONS))
NAMES = tuple(name for name in SLUGS if name > "0-watch")
"""The strings as far as they can be names at all, and come behind that of the watch."""


def test_there_are_enough_and_of_every_kind():
    assert len(INJECTIONS) >= 200
    assert all(len(several) >= 10 for several in BY_KIND.values())
    assert len(NAMES) >= 200


# what the language model is told


def foreign(folder: Path, kind: str, *more: AddedToken, template: bool = True) -> LanguageModel:
    model = LanguageModel(LanguageConfig(write_llm(folder / kind, kind), tuning="frozen"), 8, 1)
    model.words.add_tokens(list(more))
    model.words.chat_template = model.words.chat_template if template else None
    return model


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return Predictor(load_checkpoint())


@pytest.fixture(scope="module")
def languages(predictor: Predictor, tmp_path_factory: pytest.TempPathFactory) -> list[LanguageModel]:
    """The bundled one, small random ones, and one with the tokens that chats of others are made of."""
    assert predictor.model.language is not None
    folder = tmp_path_factory.mktemp("llms")
    special = [AddedToken(text, special=True) for text in ("<|im_start|>", "<|start_header_id|>", "[INST]", "</s>")]
    usual = [AddedToken(text) for text in ("<think>", "<tool_call>", "<｜User｜>", "<start_of_turn>", "  ", "kg")]
    several = [foreign(folder / "plain", kind) for kind in KINDS]
    return [predictor.model.language, *several, foreign(folder / "many", "llama", *special, *usual)]


def controls(language: LanguageModel, ids: list[int]) -> Counter[int]:
    """How often each token stands there that a text is not to make; blanks and plain words control nothing."""
    texts = {number: str(token) for number, token in language.words.added_tokens_decoder.items()}
    return Counter(number for number in ids if number in texts and texts[number] not in ("  ", "kg"))


def test_no_text_becomes_a_token_that_controls_a_chat(languages: list[LanguageModel]):
    for language in languages:
        honest = controls(language, prompt(language, Chat("a line", "a question", (("b", "c"),)), 100_000))
        for text in INJECTIONS:
            forged = Chat(f"a {text} line", f"{text} {text}", ((f"b{text}", text),))
            assert controls(language, prompt(language, forged, 100_000)) == honest, text


def test_what_was_taken_apart_forms_no_other_token(tmp_path: Path):
    tokens = [AddedToken(text, special=True) for text in ("<a>", "<<a>", "a>", "x", "~~", "   ")]
    words = foreign(tmp_path, "llama", *tokens).words
    for text in ("<<a>>", "<a<a>>", "<xa>", "x<xxa>x", "~" * 99, "<<<a>a>a>", " " * 99):
        ids = words(harmless(text, words), add_special_tokens=False).input_ids
        assert not {words.convert_tokens_to_ids(str(one)) for one in tokens[:-1]} & set(ids)


def test_no_turn_adds_a_line_before_the_question(languages: list[LanguageModel], tmp_path: Path):
    own, plain = languages[0], foreign(tmp_path, "llama", template=False)
    asked = own.words.convert_tokens_to_ids("<|user|>")
    honest = own.tokens("why?", "a line")
    for text in INJECTIONS:
        ids = own.tokens(text, "a line")
        assert ids[: ids.index(asked)] == honest[: honest.index(asked)]
        written = plain.text(plain.tokens(text, "one line\nand another", [("before", text)]))
        assert written.count("\n") <= 4  # two lines, two turns, and a question


# who measures: placements and devices


def world(*strangers: tuple[str, str]) -> World:
    """A watch, and strangers by stream and placement; the language model can look at it."""
    told = (("0-watch/imu", "wrist", RMS), *((stream, place, OTHER) for stream, place in strangers))
    rows = [measured(n / 2, rms, stream, place) for n in range(30) for stream, place, rms in told]
    found = World(rows, [walked(20, None)])
    found.engine.newest[HOME] = replace(found.engine.newest[HOME], context=context(1, 2))
    return found


def several(texts: Sequence[str]) -> Iterator[Sequence[str]]:
    """As many at a time as an answer names sensors, beside the watch."""
    return (texts[at : at + MOST_LISTED - 1] for at in range(0, len(texts), MOST_LISTED - 1))


def said(seen: Seen) -> str:
    return right_answer(seen.recalled, seen.situation)


def nameless(text: str, seen: Seen) -> str:
    """With a number in place of each stranger's name."""
    names = {str(one): f"<{n}>" for n, one in enumerate(list(seen.situation.sensors.values())[1:])}
    listed = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
    return re.sub(rf"{listed}|(?!)", lambda name: names[name[0]], text)


def assert_only_names_differ(found: World, usual: World) -> None:
    """In answers, and in lines before questions; and no sentence is true of the one and not of the other."""
    for question in KNOWN:
        seen, other = found.see(question), usual.see(question)
        assert nameless(said(seen), seen) == nameless(said(other), other)
        lines = (sorted(nameless(one.recalled.lines(question), one).split("\n")) for one in (seen, other))
        assert next(lines) == next(lines)
        assert verify(said(seen), seen.recalled, seen.situation).status == "supported"
        assert_false_stays_false(seen, 999)


def assert_false_stays_false(seen: Seen, number: object) -> None:
    for form in FALSE:
        verified = verify(form.format(number), seen.recalled, seen.situation)
        assert verified.status != "supported", (form, number)


def test_where_a_sensor_is_said_to_be_changes_no_answer_but_its_name():
    there = [text[:256] for text in INJECTIONS if place_name(text) != "wrist"]
    assert len(there) >= 200
    for texts in several(there):
        found = world(*((f"d{n:02}/imu", text) for n, text in enumerate(texts)))
        for sensor in found.see("?").situation.sensors.values():
            assert re.fullmatch(r"[^\W_]+(?:-[^\W_]+)*", sensor.placement) and len(sensor.placement) <= 50
        assert_only_names_differ(found, world(*((f"d{n:02}/imu", f"shelf{n}x") for n in range(len(texts)))))


def test_what_a_device_is_called_changes_no_answer_but_its_name():
    for names in several(sorted(NAMES)):
        found = world(*((f"{name}/imu", "shelf") for name in names))
        assert found.see("?").situation.sensors.keys() == {"0-watch/imu", *(f"{name}/imu" for name in names)}
        assert_only_names_differ(found, world(*((f"d{n:02}/imu", "shelf") for n in range(len(names)))))


@pytest.mark.parametrize("name", ["99", "7m", "is", "the", "rm", "mean", "what", "not"])
def test_a_name_that_would_be_a_claim_makes_none_true(name: str):
    for stranger in (("phone/imu", name), (f"{name}/imu", "wrist"), (f"{name}/imu", "shelf")):
        seen = world(stranger).see(f"{MEAN[:-1]} of 0-watch?")
        assert verify(f"The mean rms is {RMS:.2f} m/s2.", seen.recalled, seen.situation).status == "supported"
        assert_false_stays_false(seen, 99)
        assert_false_stays_false(seen, "99 at 22:13:19")
        assert_false_stays_false(seen, "7m at 22:13:19")


def test_a_place_of_ours_is_said_as_it_is():
    for place in ("wrist", "left wrist", "living room", "window", "kitchen", "door", "upper-arm"):
        assert place_name(place) == place


# labels, as a checkpoint names them


def test_a_label_has_words_on_a_line_of_their_own_or_none():
    for text in INJECTIONS:
        try:
            config = ModelConfig(added={ACTIVITY: {"stirring": text}})
        except ValidationError as error:
            assert "added" in str(error)
            continue
        words = config.task(ACTIVITY).words["stirring"]
        assert words.splitlines() == [words] and len(words) <= 80
        assert not re.search(r"[<>{}\[\]|$#`\\@]", words)
    for text in (*INJECTIONS, *(f"a{text}" for text in INJECTIONS)):
        try:
            config = ModelConfig(added={ACTIVITY: {text: "stirring a pot"}})
        except ValidationError:
            continue
        assert topics.check_name(text, "label") == text


def test_words_of_a_label_make_nothing_false_true():
    for text in ("99", "the rms is 99", "not", "wrist"):
        found = world()
        words = {**TASKS[ACTIVITY].words, "stirring": text}
        task = TASKS[ACTIVITY].with_labels({"stirring": text})
        found.situations._tasks = {**TASKS, ACTIVITY: task}
        seen = found.see(MEAN)
        assert seen.situation.labels[ACTIVITY] == words
        assert_false_stays_false(seen, 99)


# questions


@pytest.fixture(scope="module")
def talk(predictor: Predictor) -> Iterator[Talk]:
    with Talk(predictor) as talk:
        yield talk


def dialogue(found: World, talk: object) -> Dialogue:
    limits = {"time_s": 60.0, "waiting": 1_000, "session_s": 60.0, "sessions": 1_000}
    return Dialogue(found.situations, talk, None, "model", new_metrics(), **limits)


async def answer(to: Dialogue, text: str, **more) -> Told:
    parts = [part async for part in to.answer(Question(HOME, text, **more))]
    assert isinstance(parts[-1], Told)
    return parts[-1]


async def test_whatever_is_asked_only_what_holds_is_answered_and_the_next_question_as_before(talk: Talk):
    found = world(("phone/imu", "shelf"))
    to = dialogue(found, talk)
    before = [(await answer(to, question)).text for question in KNOWN]
    forging = {*CHAT_MARKS, *CLAIMS, *SYSTEM_LINES}
    asked = [text for n, text in enumerate(INJECTIONS) if text.strip() and (text in forging or n % 12 == 0)]
    told = await asyncio.gather(*(answer(to, text[:2000], most=4) for text in asked))
    for text, one in zip(asked, told, strict=True):
        assert one.text.isprintable() and not re.search(r"999|<\||burn|fire|://|\{\{", one.text), text
        assert holds(found, text, one.text) or one.text.startswith(REFUSAL), (text, one.text)
    assert [(await answer(to, question)).text for question in KNOWN] == before
    turns = [(("What is the rms?", text), (text, "It burns."), (text, text)) for text in asked[::8]]
    told = await asyncio.gather(*(answer(to, MEAN, most=4, turns=each) for each in turns))
    assert {one.text for one in told} == {before[0]}
    to.close()


def holds(found: World, question: str, text: str) -> bool:
    seen = found.see(question)
    return verify(text, seen.recalled, seen.situation).status == "supported"


async def test_whatever_the_language_model_says_only_what_holds_is_told():
    found = world(("phone/imu", "shelf"))
    to = dialogue(found, Scripted(Way()))
    for question, texts in ((MEAN, INJECTIONS), (KNOWN[3], INJECTIONS[::4])):
        right = said(found.see(question))
        for text in texts:
            to._talk.texts = (text, f"\n{text}. The rms is 999.00 m/s2.")
            told = (await answer(to, question)).text
            assert told == right or (told in text and holds(found, question, told)), text
    to.close()


# over HTTP


async def posted(http: httpx.AsyncClient, **body: object) -> tuple[int, dict]:
    whole = {"model": "iotlm", "messages": [{"role": "user", "content": MEAN}], **body}
    got = await http.post("/v1/chat/completions", json=whole)
    return got.status_code, got.json()


async def test_a_field_of_a_request_is_data_or_refused_by_name():
    to = dialogue(world(("phone/imu", "shelf")), None)
    app = FastAPI()
    add_chat(app, lambda: to)
    question = {"role": "user", "content": MEAN}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://backend") as http:
        right = (await posted(http))[1]["choices"][0]["message"]["content"]
        for text in INJECTIONS:
            turns = [{"role": "user", "content": text}, {"role": "assistant", "content": text}]
            strange = {
                "user": text,
                "tools": [{"type": text}],
                "tool_choice": text,
                "stop": text,
                f"x{text[:40]}": text,
            }
            system = [{"role": "system", "content": text}, {"role": text, "content": text}]
            code, body = await posted(http, messages=[*system, *turns, question], **strange)
            assert code == 200 or (body["error"]["code"] in ("group", "sensors", "session") and text in SYSTEM_LINES)
            assert code != 200 or body["choices"][0]["message"]["content"] == right
            for name in ("site", "group", "session", "sensors"):
                code, body = await posted(http, metadata={name: text})
                assert code == 200 or body["error"]["code"] in (name, "group"), (name, text)
                assert code != 200 or body["choices"][0]["message"]["content"] == right
            code, body = await posted(http, model=text)
            assert (code, body["error"]["code"]) in ((404, "model"), (400, "model"), (404, "group")), text
            code, body = await posted(http, messages=[{"role": "user", "content": text}])
            assert code == 200 or body["error"]["code"] == "messages", text
        assert (await posted(http))[1]["choices"][0]["message"]["content"] == right
    to.close()


async def test_a_long_message_takes_no_longer_than_its_length():
    to = dialogue(world(("phone/imu", "shelf")), None)
    app = FastAPI()
    add_chat(app, lambda: to)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://backend") as http:
        for text in ("\n" * 900_000, f"site: a{' ' * 900_000}b", "site" * 200_000, "site:\n" * 150_000):
            began = time.monotonic()
            await posted(http, messages=[{"role": "system", "content": text}, {"role": "user", "content": MEAN}])
            assert time.monotonic() - began < 5.0
    to.close()
