"""The topic grammar: what is built is parsed, and nothing else is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker import topics
from broker.errors import ConfigError, MessageError
from broker.memory import matches

NAMES = st.from_regex(r"[a-z0-9][a-z0-9-]{0,62}", fullmatch=True)
IDS = st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True)


@given(NAMES, NAMES, NAMES, IDS)
def test_what_is_built_is_parsed(site, device, stream, question):
    assert topics.parse(topics.frames(site, device, stream)) == topics.FrameTopic(site, device, stream)
    assert topics.parse(topics.events(site, device, stream)) == topics.EventTopic(site, device, stream)
    assert topics.parse(topics.estimates(site, device, stream)) == topics.EstimateTopic(site, device, stream)
    assert topics.parse(topics.acks(site, device)) == topics.AckTopic(site, device)
    assert topics.parse(topics.status(site, device)) == topics.StatusTopic(site, device)
    assert topics.parse(topics.ask(site, device)) == topics.AskTopic(site, device)
    assert topics.parse(topics.answers(site, device, question)) == topics.AnswerTopic(site, device, question)
    assert topics.check_reply(topics.answers(site, device, question))


@pytest.mark.parametrize("name", ["", "A", "a/b", "+", "#", "-a", "a" * 64, "ä", "a b", "a\n"])
def test_a_name_that_does_not_fit_is_refused_with_the_field(name):
    with pytest.raises(ConfigError, match="device"):
        topics.acks("home", name)


@pytest.mark.parametrize("id", ["", "a/b", "+", "#", "a b", "a" * 65, "ä", "a.b", "a\n"])
def test_a_question_id_that_fits_no_level_is_refused(id):
    with pytest.raises(ConfigError, match="id"):
        topics.answers("home", "alice", id)


@pytest.mark.parametrize(
    "topic",
    [
        *("", "iotlm", "iotlm/frames/a/b", "iotlm/frames/a/b/c/d", "other/acks/a/b", "iotlm/acks/a/B", "iotlm/x/a/b"),
        *("iotlm/ask/a", "iotlm/ask/a/b/c", "iotlm/ask/a/B", "iotlm/answers/a/b", "iotlm/answers/a/b/c.d"),
        *("iotlm/answers/A/b/c", "iotlm/ask/+/+", "iotlm/answers/#", "iotlm/answers/a/b/"),
    ],
)
def test_a_foreign_topic_is_refused(topic):
    with pytest.raises(MessageError, match="topic"):
        topics.parse(topic)


def test_wildcards_cover_what_is_built():
    assert matches(topics.ASK_ALL, topics.ask("home", "alice"))
    assert matches(topics.ANSWERS_ALL, topics.answers("home", "alice", "Q_1"))
    assert not matches(topics.ASK_ALL, topics.answers("home", "alice", "Q_1"))


@pytest.mark.parametrize(
    "topic",
    ["r", "phone/replies/7", "/a//b/", "iotlm/answers/home/alice/Q_1", "iotlms/x", "küche/antwort 1", "x" * 256],
)
def test_a_topic_that_may_be_answered_on(topic):
    assert topics.check_reply(topic) == topic


@pytest.mark.parametrize(
    ("topic", "why"),
    [
        ("", "1 to 256"),
        ("x" * 257, "1 to 256"),
        ("/" * 64, "64 levels"),
        ("a/b\n", "printable"),
        ("a\0", "printable"),
        ("a\ufffe", "printable"),
        ("a\ud800", "printable"),
        ("a/+/b", "wildcard"),
        ("a+", "wildcard"),
        ("#", "wildcard"),
        ("iotlm/answers/home/alice/#", "wildcard"),
        ("$SYS/broker/uptime", "belongs to the broker"),
        ("$CONTROL/dynamic-security/v1", "belongs to the broker"),
        ("$share/g/a", "belongs to the broker"),
        ("iotlm", "not for answers"),
        ("iotlm/", "not for answers"),
        ("iotlm/x", "not for answers"),
        ("iotlm/answers", "not for answers"),
        ("iotlm/answers/home/alice", "not for answers"),
        ("iotlm/answers/home/alice/q/1", "not for answers"),
        (topics.frames("home", "watch", "imu"), "not for answers"),
        (topics.acks("home", "watch"), "not for answers"),
        (topics.status("home", "watch"), "not for answers"),
        (topics.events("home", "alice", "activity-recognition"), "not for answers"),
        (topics.estimates("home", "alice", "depth-estimation"), "not for answers"),
        (topics.ask("home", "alice"), "not for answers"),
    ],
)
def test_a_question_cannot_make_us_publish_elsewhere(topic, why):
    with pytest.raises(MessageError, match=why) as caught:
        topics.check_reply(topic)
    assert caught.value.reason == "response_topic"


@given(st.text(max_size=300))
def test_any_response_topic_is_taken_or_refused(topic):
    try:
        assert topics.check_reply(topic).encode()
    except MessageError as refused:
        assert refused.reason == "response_topic"
