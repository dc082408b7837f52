"""The rules that turn decisions into episodes: pure, in event time, and the same after a restart at any point."""

import json
import random
from datetime import datetime

import numpy as np
import pytest

from backend.model.sensorlm import Decision
from backend.moment import Moment, StreamWindow
from backend.serve.events import Episodes, Track, iso, step
from backend.tasks import TASKS, Classification, EventRule
from broker.messages import decode_event, encode_json

HOP = 500_000_000
S = 2 * HOP
RULE = EventRule(on=0.6, off=0.4, min_windows=2, cooldown_s=3.0)
LABELS = TASKS["event-detection"].labels


def decision(label: str, confidence: float) -> Decision:
    rest = (1 - confidence) / (len(LABELS) - 1)
    return Decision(label, confidence, {name: confidence if name == label else rest for name in LABELS}, {"a/mic": 1.0})


def play(decisions: list[tuple[str, float] | None], rule: EventRule = RULE, update_s: float = 0) -> list[tuple]:
    """What a sequence of decisions, one per slot, raises: (slot, phase, label)."""
    track, raised = Track(), []
    for slot, given in enumerate(decisions):
        if given is not None:
            t0 = slot * HOP
            changes = step(track, rule, "none", decision(*given), t0, t0 + S, round(update_s * 1e9))
            raised += [(slot, change.phase, change.label) for change in changes]
    return raised


RAIN, WEAK, LOW, NONE = ("rain", 0.9), ("rain", 0.5), ("rain", 0.3), ("none", 0.9)


def test_an_episode_needs_enough_windows_running():
    assert play([RAIN, NONE, RAIN, NONE]) == []
    assert play([RAIN, RAIN]) == [(1, "start", "rain")]
    assert play([RAIN], EventRule(0.6, 0.4, 1, 0)) == [(0, "start", "rain")]


def test_hysteresis_keeps_it_alive_between_the_thresholds():
    assert play([RAIN, RAIN, WEAK, WEAK, WEAK, LOW, WEAK, LOW, LOW]) == [(1, "start", "rain"), (8, "end", "rain")]


def test_none_is_never_an_event():
    assert play([NONE] * 9) == []


def test_cool_down_is_event_time_and_holds_for_the_same_label_only():
    sequence = [RAIN, RAIN, NONE, NONE, *[RAIN] * 12]
    assert play(sequence) == [(1, "start", "rain"), (3, "end", "rain"), (11, "start", "rain")]
    dog = [("dog-bark", 0.9)] * 2
    assert play([RAIN, RAIN, *dog]) == [(1, "start", "rain"), (3, "end", "rain"), (3, "start", "dog-bark")]


def test_an_episode_that_goes_on_is_told_again():
    raised = play([RAIN] * 12, update_s=2.0)
    assert raised == [(1, "start", "rain"), (5, "update", "rain"), (9, "update", "rain")]


def test_a_long_silence_ends_an_episode_where_the_decisions_ended():
    track = Track()
    for slot in (0, 1):
        step(track, RULE, "none", decision(*RAIN), slot * HOP, slot * HOP + S, 0)
    (end,) = step(track, RULE, "none", decision(*RAIN), 100 * HOP, 100 * HOP + S, 0)
    assert (end.phase, end.time, end.began) == ("end", HOP + S, 0)
    assert not track.label


def moment(slot: int) -> Moment:
    tokens, facts = np.zeros((4, 8)), {"audio.level": -20.0}
    window = StreamWindow("a", "mic", "audio", "room", slot * HOP, 16000.0, tokens=tokens, facts=facts)
    return Moment("s", "home", slot, slot * HOP, (window,))


@pytest.mark.parametrize("restarts", [False, True])
def test_an_episode_whose_sense_falls_silent_ends_once_while_others_go_on(restarts: bool):
    """It lasted until the last decision, and is the same event whoever finds that none came: others' moments, the next
    decision, or silence of the whole group.
    """
    episodes, ends, states = new_episodes(), [], []
    for slot in range(40):
        if restarts:
            episodes = new_episodes(json.loads(json.dumps(episodes.state())))
        decisions = {"event-detection": decision(*RAIN)} if slot < 4 else {}
        ends += [(slot, event) for event in episodes.step(moment(slot), decisions) if event.phase == "end"]
        states.append(json.loads(json.dumps(episodes.state())))
    ((slot, end),) = ends
    assert slot == 14  # the first that begins more than 5 s after the last decision's window did
    assert (end.label, end.time, end.confidence, end.attribution) == ("rain", iso(3 * HOP + S), 0.0, {})
    asked_again = new_episodes(states[3]).step(moment(20), {"event-detection": decision(*RAIN)})
    assert [end] == asked_again == new_episodes(states[3]).finish("s", "home")
    assert new_episodes(states[-1]).finish("s", "home") == []


def random_decisions(seed: int, count: int) -> list[Decision]:
    chance, found, label = random.Random(seed), [], "none"
    for _ in range(count):
        if chance.random() < 0.25:
            label = chance.choice(("none", "rain", "rooster", "chainsaw"))
        found.append(decision(label, chance.uniform(0.2, 1.0)))
    return found


def new_episodes(state=None) -> Episodes:
    tasks = {name: task for name, task in TASKS.items() if isinstance(task, Classification)}
    rules, none = ({name: getattr(task, of) for name, task in tasks.items()} for of in ("rule", "none_label"))
    return Episodes(rules, none, "model", 2.0, state)


@pytest.mark.parametrize("seed", range(5))
def test_a_restart_at_every_moment_changes_nothing(seed: int):
    decisions = random_decisions(seed, 300)
    whole, restarted, calm, broken = new_episodes(), new_episodes(), [], []
    for slot, given in enumerate(decisions):
        calm += whole.step(moment(slot), {"event-detection": given})
        restarted = new_episodes(json.loads(json.dumps(restarted.state())))
        broken += restarted.step(moment(slot), {"event-detection": given})
    assert calm == broken
    assert len({event.id for event in calm}) == len(calm) > 20


@pytest.mark.parametrize("seed", range(5))
def test_episodes_alternate_and_their_events_belong_together(seed: int):
    episodes, events = new_episodes(), []
    for slot, given in enumerate(random_decisions(seed, 300)):
        events += episodes.step(moment(slot), {"event-detection": given})
    events += episodes.finish("s", "home")
    current = None
    for event in events:
        assert decode_event(encode_json(event)) == event
        if event.phase == "start":
            assert current is None
            current = event
            assert event.facts == {"a/mic/audio.level": -20.0}
            assert event.attribution == {"a/mic": 1.0}
        assert (event.episode, event.label, event.began) == (current.id, current.label, current.began)
        assert event.duration_s == pytest.approx(
            (datetime.fromisoformat(event.time) - datetime.fromisoformat(event.began)).total_seconds()
        )
        if event.phase == "end":
            current = None
    assert current is None


def test_times_are_iso_8601_utc():
    assert iso(1_700_000_000_500_000_000) == "2023-11-14T22:13:20.500Z"
