"""The state that a replay keeps over a kill."""

from pathlib import Path

import pytest

from edge.clock import ManualClock
from edge.config import BrokerConfig
from edge.replay import Replay, _state


def test_a_kill_while_the_note_is_written_leaves_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Half a note would stand in the way of every later replay."""
    order, note = (
        Replay(tmp_path / "a.csv", "home", BrokerConfig(), folder=tmp_path),
        tmp_path / "replay" / "replay.json",
    )

    def killed(path: Path, _: str) -> None:
        path.write_bytes(b'{"path": "a')
        raise SystemExit

    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(Path, "write_text", killed)
        with _state(order, ManualClock()):
            pass
    assert not note.exists()
    with _state(order, ManualClock()) as (folder, now):
        assert note.exists()
    assert (folder, now) == (tmp_path / "replay", None)
    assert not note.parent.exists()
