"""`backend ask`: a question to a running backend, and its answer as it is told.

Over HTTP, not MQTT: the backend listens on this machine's loopback unless told otherwise, so this needs no name,
password or certificate of a broker; a backend that is not there is noticed at once, and one that dies in the middle,
too. It needs nothing beyond the standard library, and knows nothing of models or sensors.
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from broker.errors import ConfigError, LinkDown

_PATH = "/v1/chat/completions"
_MODEL = "iotlm"
_LONGEST = 1 << 20  # bytes of one line of an answer


class Asking:
    """One question on its way.

    Args:
        url: where the backend answers, as `backend serve` says it.
        question: what is asked.
        metadata: site, group, session and sensors, as far as they are named.
        timeout_s: how long nothing may be heard.

    Raises:
        ConfigError: `url` is none.
    """

    def __init__(self, url: str, question: str, metadata: dict[str, str], timeout_s: float) -> None:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        try:
            port = parts.port
        except ValueError:
            port = None
            parts = parts._replace(netloc="")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError(f"--url {url!r}: an address such as http://127.0.0.1:8600 is wanted")
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._connection = kind(parts.hostname, port, timeout=timeout_s)
        self._path, self._url, self._timeout_s = f"{parts.path.rstrip('/')}{_PATH}", url, timeout_s
        messages = [{"role": "user", "content": question}]
        self._body = {"model": _MODEL, "messages": messages, "stream": True, "metadata": metadata}
        self.rests: dict[str, Any] = {}
        """What the answer rests on, once it has been told."""

    def parts(self) -> Iterator[str]:
        """The answer as it comes.

        Raises:
            LinkDown: there is no backend, or it has gone, or says nothing.
            ConfigError: it has no answer, and says why.
        """
        try:
            yield from self._parts()
        except TimeoutError:
            raise LinkDown(
                f"{self._url}: nothing was heard for {self._timeout_s:g} s; --timeout waits longer"
            ) from None
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise LinkDown(f"{self._url}: {reason}; is `backend serve` running there?") from None
        finally:
            self._connection.close()

    def _parts(self) -> Iterator[str]:
        headers = {"content-type": "application/json"}
        self._connection.request("POST", self._path, json.dumps(self._body), headers)
        response = self._connection.getresponse()
        if response.status != http.client.OK:
            raise ConfigError(_reason(response.read(_LONGEST), response.status))
        while line := response.readline(_LONGEST):
            if not line.startswith(b"data: "):
                continue
            if (body := line.removeprefix(b"data: ").strip()) == b"[DONE]":
                return
            chunk = json.loads(body)
            if "error" in chunk:
                raise ConfigError(_reason(body, 0))
            self.rests = chunk.get("iotlm", self.rests)
            for choice in chunk["choices"]:
                if text := choice["delta"].get("content"):
                    yield text
        raise LinkDown(f"{self._url}: the backend has gone in the middle of its answer")


def rests_on(rests: dict[str, Any]) -> list[str]:
    """What an answer rests on, a line each."""
    lines = [f"answered by {rests['model'][:12]}, {rests['status']}"]
    for one in rests["evidence"]:
        told = [one["claim"], one["status"]]
        if one["fact"]:
            told.append(f"{one['fact']} of {one['stream']} is {one['value']:.4g} {one['unit']}".rstrip())
        elif one["stream"]:
            told.append(one["stream"])
        if one["began"]:
            told.append(one["began"] if one["began"] == one["ended"] else f"{one['began']} to {one['ended']}")
        if one["events"]:
            told.append(f"{len(one['events'])} events: {', '.join(name[:8] for name in one['events'][:4])}")
        lines.append(f"  {'; '.join(told)}")
    weights = sorted(rests["attribution"].items(), key=lambda each: -each[1])
    if weights:
        lines.append(f"  weights: {', '.join(f'{stream} {weight:.0%}' for stream, weight in weights)}")
    return lines


def _reason(body: bytes, status: int) -> str:
    try:
        return str(json.loads(body)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return f"the backend refused with status {status}"
