"""What a person at the backend should hear of a stream, once: why its windows lead to no event.

A device learns that its windows are committed, and no more; whoever looks after the backend reads the rest in its
log. Names are the devices' own words, so they are quoted and counted. It refuses to know what any notice means.
"""

import logging

log = logging.getLogger(__name__)

_MOST = 1_000  # strangers may make up names without end


class Notices:
    """Says each thing about each stream once, for as long as the process lives.

    Args:
        most: notices after which all further ones are left out.
    """

    def __init__(self, most: int = _MOST) -> None:
        self._said: set[tuple[str, str]] = set()
        self._most = most

    def say(self, stream: str, reason: str, text: str) -> None:
        """Warn that `stream` has met `reason` for the first time; `text` says what that means and what helps."""
        if (stream, reason) in self._said or len(self._said) >= self._most:
            return
        self._said.add((stream, reason))
        log.warning("stream %.200r: %s", stream, text)
        if len(self._said) == self._most:
            log.warning("%d notices were given; further ones are left out", self._most)
