"""Instruction data: right because a program says so, also after JSON; what is held out is never learned from."""

import json
import re
from collections import Counter

import numpy as np
import pytest

from backend.data.corpus import documents, written
from backend.dialogue.asked import MAKE, tidy
from backend.dialogue.imagined import imagine
from backend.dialogue.items import KINDS, UNANSWERABLE, Item, draw, is_held_out
from backend.dialogue.programs import Label, Lacking, Statistic, program_from
from backend.dialogue.recall import HELLO, recall
from backend.dialogue.situation import Situation, from_json, to_json
from backend.dialogue.verify import labelled, refusal, verify
from backend.dialogue.wordings import ASK, CHOOSE, CONTINUE, DESCRIBE, LABEL_ASK, SPAN_SAID, STAT_SAID
from backend.dialogue.words import capital, digits_of
from backend.tasks import TASKS, Classification
from edge.clock import SECOND
from edge.facts import FACTS, FAMILIES
from tests.small_home import LABELS, home

COUNT = 420
"""Situations, of each of which two items are learned from and two are held out."""


def decided(known: Situation, rng: np.random.Generator) -> Situation:
    """With labels of now, as a recording has them."""
    chosen = {task: list(labels)[int(rng.integers(len(labels)))] for task, labels in known.labels.items()}
    return Situation(**{**vars_of(known), "decided": chosen})


def vars_of(known: Situation) -> dict:
    return {name: getattr(known, name) for name in Situation.__dataclass_fields__}


@pytest.fixture(scope="module")
def drawn() -> list[tuple[Situation, Item]]:
    found = []
    for seed in range(COUNT):
        rng = np.random.default_rng([5, seed])
        known = imagine(rng)
        known = decided(known, rng) if seed % 2 else known
        found += [(known, draw(known, rng, held_out=i % 2 == 1)) for i in range(4)]
    assert all(item is not None for _, item in found)
    return found


def test_every_answer_is_what_its_program_comes_to_after_json_and_holds(drawn):
    assert len(drawn) > 1500
    for known, item in drawn:
        body = json.loads(json.dumps({"situation": to_json(known), "item": item.to_json()}))
        read = from_json(body["situation"])
        statement = program_from(body["item"]["program"]).evaluate(read)
        if isinstance(item.program, Label):
            wanted = labelled(statement.text, item.recalled.statements)
        elif statement.lacks and statement.text != HELLO:
            wanted = refusal(statement.text)
        else:
            wanted = f"{capital(statement.text)}."
        assert body["item"]["answer"] == item.answer == wanted
        before = None
        for question, _ in body["item"]["before"]:
            before = recall(question, read, before).understood
        again = recall(body["item"]["question"], read, before)
        assert again.statements == item.recalled.statements and again.tasks == item.recalled.tasks
        if item.known:
            verified = verify(item.answer, again, read)
            assert verified.status == "supported", (item.question, item.answer, verified.checked)


def test_what_stands_before_a_question_holds_its_answer(drawn):
    unknown = [(item.question, item.answer) for _, item in drawn if not item.known]
    assert len(unknown) <= 0.005 * len(drawn), unknown
    for _, item in drawn:
        if item.known and not isinstance(item.program, Label):
            said = item.answer.removesuffix(".").removeprefix("I cannot tell: ")
            assert said.casefold() in item.lines.casefold().split("\n")


def test_so_many_cannot_be_answered(drawn):
    for imagined in (True, False):
        items = [item for known, item in drawn if bool(known.decided) != imagined]
        share = np.mean([item.answer.startswith("I cannot tell") for item in items])
        assert 0.12 <= share <= 0.20, (imagined, share)
    assert UNANSWERABLE == 0.15
    for known, item in drawn:
        refused = item.answer.startswith("I cannot tell")
        assert refused is (item.kind == "missing") is (item.asked == "refusal")
        if refused:
            assert isinstance(item.program, Lacking)
            absent = re.match(r"there is no (.*)$", item.program.what)
            assert absent is None or absent[1] not in {str(one) for one in known.sensors.values()}


def test_what_is_said_to_be_missing_is_missing(drawn):
    """A wrist is missing only where there is neither a left nor a right one."""
    for known, item in drawn:
        for name in re.findall(r"there is no (.*) on the (.*)\.$", item.answer):
            there = [one for one in known.sensors.values() if str(one).startswith(f"{name[0]} ")]
            assert not any(one.placement.endswith(name[1]) for one in there), item.answer
        if match := re.search(r"the (.*) tells no (.*)\.$", item.answer):
            (sensor,) = [one for one in known.sensors.values() if str(one) == match[1]]
            assert match[2].replace(" ", "_") not in {fact.partition(".")[2] for fact in known.facts_of(sensor)}


def test_each_kind_occurs_and_each_can_be_asked_for(drawn):
    counts = Counter(item.kind for _, item in drawn)
    assert set(counts) == set(KINDS) == set(MAKE)
    assert min(counts.values()) > 10, counts
    asked = {type(item.program).__name__ for _, item in drawn}
    assert len(asked) == 15, asked
    for kind in KINDS:
        item = draw(home(), np.random.default_rng(3), kind=kind)
        assert item.kind in (kind, "turns", *(("statistic", "history") if kind == "turns" else ()))


def test_drawing_follows_from_the_seed():
    for held_out in (False, True):
        one, same, other = (
            [draw(imagine(rng), rng, held_out=held_out) for _ in range(20)]
            for rng in map(np.random.default_rng, (7, 7, 8))
        )
        assert one == same != other


def forms(table: dict, which: str) -> set[str]:
    return {form for group in table.values() for form in getattr(group, which)}


def asks(question: str, patterns: set[str]) -> bool:
    """Whether a question is one of these forms, its slots filled with anything."""
    for form in patterns:
        parts = re.split(r"\{\w+\}", tidy(form))
        if re.fullmatch(r".*".join(re.escape(part) for part in parts), question, re.IGNORECASE | re.DOTALL):
            return True
    return False


def test_held_out_wordings_and_compositions_are_never_learned(drawn):
    tables = (ASK, LABEL_ASK, {"": DESCRIBE})
    learned, held_out = (set().union(*(forms(table, which) for table in tables)) for which in ("learned", "held_out"))
    assert not learned & held_out
    seen = Counter()
    for _, item in drawn:
        if item.held_out:
            seen["held out", bool(item.composition) and is_held_out(item.composition)] += 1
            assert not item.before or asks(item.question, forms(CONTINUE, "held_out"))
            continue
        assert not is_held_out(item.composition) or not item.composition
        for question in (item.question, *(turn.question for turn in item.before)):
            bare = re.split(r"\s(?:Choose one of|Choices|Give me one choice|Answer with one)", question)[0]
            assert not asks(bare, {form for form in held_out if len(form) > 12}), question
        assert "Answer with one of these" not in item.question
        for words in (SPAN_SAID, STAT_SAID):
            for form in forms(words, "held_out") - forms(words, "learned") - {"typical", "least"}:
                said = re.sub(r"\\\{\w+\\\}", r"[\\d:]+", re.escape(form))
                assert not re.search(rf"\b{said}\b", item.question, re.IGNORECASE), (form, item.question)
    assert seen["held out", True] > 20, "compositions are held out, too"
    assert not set(CHOOSE.learned) & set(CHOOSE.held_out)


def test_one_in_so_many_compositions_is_held_out():
    share = np.mean([is_held_out(f"mean/{fact}/{kind}") for fact in FACTS for kind in ("last", "between", "since")])
    assert 0.08 < share < 0.18


def test_a_continuing_question_leans_on_the_one_before(drawn):
    turns = [(known, item) for known, item in drawn if item.before]
    assert len(turns) > 30
    for known, item in turns:
        assert item.kind == "turns" and len(item.before) == 1
        alone = recall(item.question, known)
        first = recall(item.before[0].question, known)
        assert recall(item.question, known, first.understood).statements == item.recalled.statements
        assert verify(item.before[0].answer, first, known).status == "supported"
        assert item.question.startswith(("And ", "What about ", "How about ")) and alone.understood.continues


def test_choices_hold_what_is_right(drawn):
    listed = [(known, item) for known, item in drawn if re.search(r"(?:of|these|Choices|categories): ", item.question)]
    assert len(listed) > 10
    for known, item in listed:
        choices = item.question.rpartition(": ")[2].split(", ")
        assert known.words(item.task, known.decided[item.task]) in choices and len(set(choices)) == len(choices)


def test_imagined_situations_are_as_the_real_ones_and_say_nothing_of_now():
    seen = set()
    for seed in range(60):
        known = imagine(np.random.default_rng([6, seed]))
        assert 1 <= len(known.sensors) <= 5 and len(set(known.sensors.values())) == len(known.sensors)
        assert not known.decided and list(known.readings) == sorted(known.readings, key=lambda one: one.t0)
        assert known.now - known.began <= 90 * SECOND
        assert all(known.began <= h.began < h.ended <= known.now for h in known.happenings)
        for one in known.readings:
            assert one.facts and set(one.facts) <= set(FAMILIES[one.sensor.modality].facts)
            assert all(round(v, digits_of(fact) + 1) == v for fact, v in one.facts.items())
        times = [one.t0 for one in known.readings if one.sensor == known.readings[0].sensor]
        assert set(np.diff(times)) <= {known.hop}
        for task, labels in known.labels.items():
            assert isinstance(TASKS[task], Classification) and set(labels) <= set(TASKS[task].labels)
        assert {h.label for h in known.happenings} <= {label for labels in known.labels.values() for label in labels}
        seen |= {sensor.modality for sensor in known.sensors.values()}
    assert seen == set(FAMILIES)


def test_nothing_is_drawn_where_nothing_of_the_kind_can_be_asked():
    rng = np.random.default_rng(0)
    bare = Situation({}, (), 0)
    for kind in set(KINDS) - {"talk", "missing"}:
        assert draw(bare, rng, kind=kind) is None
    assert draw(home(decided={}), rng, kind="label") is None
    assert draw(home(labels={task: {} for task in LABELS}, happenings=()), rng, kind="history") is None
    with pytest.raises(KeyError):
        draw(home(), rng, kind="no-kind")


def test_a_document_is_an_item_with_its_lines_and_turns():
    made = documents(np.random.default_rng(1))
    for _ in range(40):
        one = next(made)
        assert one.turns[-1].floor == f"{capital(one.text.split(chr(10))[0])}."
    item = draw(home(), np.random.default_rng(1), kind="statistic")
    assert isinstance(item.program, Statistic) or item.composition.startswith("change")
    assert written(item).text == item.lines and written(item).turns[-1].answer == item.answer
