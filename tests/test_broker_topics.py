"""The topic grammar: what is built is parsed, and nothing else is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker import topics
from broker.errors import ConfigError, MessageError

NAMES = st.from_regex(r"[a-z0-9][a-z0-9-]{0,62}", fullmatch=True)


@given(NAMES, NAMES, NAMES)
def test_what_is_built_is_parsed(site, device, stream):
    assert topics.parse(topics.frames(site, device, stream)) == topics.FrameTopic(site, device, stream)
    assert topics.parse(topics.events(site, device, stream)) == topics.EventTopic(site, device, stream)
    assert topics.parse(topics.estimates(site, device, stream)) == topics.EstimateTopic(site, device, stream)
    assert topics.parse(topics.acks(site, device)) == topics.AckTopic(site, device)
    assert topics.parse(topics.status(site, device)) == topics.StatusTopic(site, device)


@pytest.mark.parametrize("name", ["", "A", "a/b", "+", "#", "-a", "a" * 64, "ä", "a b", "a\n"])
def test_a_name_that_does_not_fit_is_refused_with_the_field(name):
    with pytest.raises(ConfigError, match="device"):
        topics.acks("home", name)


@pytest.mark.parametrize(
    "topic",
    ["", "iotlm", "iotlm/frames/a/b", "iotlm/frames/a/b/c/d", "other/acks/a/b", "iotlm/acks/a/B", "iotlm/x/a/b"],
)
def test_a_foreign_topic_is_refused(topic):
    with pytest.raises(MessageError, match="topic"):
        topics.parse(topic)
