"""What a person hears of streams: each thing once, and not without end."""

import pytest

from backend.serve.notices import Notices


def test_each_thing_is_said_once_of_each_stream(caplog: pytest.LogCaptureFixture):
    notices = Notices()
    for stream, reason in (("a", "late"), ("a", "late"), ("a", "rate"), ("b", "late")):
        notices.say(stream, reason, f"it was {reason}")
    said = [record.message for record in caplog.records]
    assert said == ["stream 'a': it was late", "stream 'a': it was rate", "stream 'b': it was late"]


def test_strangers_with_names_without_end_do_not_fill_the_log(caplog: pytest.LogCaptureFixture):
    notices = Notices(most=3)
    for i in range(1000):
        notices.say(f"name\n{i}", "late", "it was late")
    assert len(caplog.records) == 4
    assert caplog.records[-1].message == "3 notices were given; further ones are left out"
    assert not any("\n" in record.message for record in caplog.records)
