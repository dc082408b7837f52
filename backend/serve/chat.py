"""Dialogue as an OpenAI-compatible API: `/v1/models` and `/v1/chat/completions`, whole or as server-sent events.

A model is a group: `iotlm/SITE/GROUP`; `iotlm` alone is the only one there is, or the one that `metadata` or lines of
the system's message name. What else such a message says is passed over: nobody tells the language model what to do.
Beside what OpenAI's clients know, an answer has the field `iotlm`: what it rests on. It knows neither sensors nor
models.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import logging
import re
import secrets
import time
from collections.abc import AsyncGenerator, Callable
from dataclasses import asdict, dataclass
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from backend.serve.align import GroupKey
from backend.serve.dialogue import Dialogue, Question, Told
from broker.errors import ConfigError, MessageError
from broker.questions import MAX_QUESTION, MAX_TOKENS, MAX_WHOLE, TOKENS
from broker.topics import ID, KEY, check_name
from edge.config import wanted

log = logging.getLogger(__name__)

MODEL = "iotlm"
_MOST_BYTES = 1 << 20
_STATUS = {"group": 404, "model": 404, "busy": 429, "starting": 503, "failed": 500}
_TYPES = {404: "not_found_error", 429: "rate_limit_error", 500: "server_error", 503: "server_error"}
_FIELD = re.compile(r"\s*(site|group|session|sensors)\s*[:=]")


class _Message(BaseModel):
    role: str
    content: str | list[dict[str, Any]] | None = None

    @property
    def text(self) -> str:
        """What it says; raises MessageError for what is no text."""
        if not isinstance(self.content, list):
            return self.content or ""
        if any(part.get("type") != "text" or not isinstance(part.get("text"), str) for part in self.content):
            raise MessageError("messages", "only parts of type text can be read")
        return "".join(part["text"] for part in self.content)


class _StreamOptions(BaseModel):
    include_usage: bool = False


class _Body(BaseModel):
    """What counts of a request; all else is passed over, so is `temperature`: answers are the likeliest ones."""

    model_config = ConfigDict(extra="ignore")

    model: str = Field(max_length=256)
    messages: list[_Message] = Field(min_length=1, max_length=256)
    stream: bool | None = False
    stream_options: _StreamOptions | None = None
    max_tokens: int | None = Field(default=None, ge=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)
    n: int | None = Field(default=1, ge=1, le=1)
    metadata: dict[str, str] | None = None


@dataclass(frozen=True)
class _Reply:
    """What all objects of one answer have."""

    id: str
    created: int
    model: str

    def body(self, kind: str, choices: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model, "choices": choices, **more}

    def chunk(self, delta: dict[str, str], finish: str | None = None, **more: Any) -> str:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return _event(self.body("chat.completion.chunk", [choice], **more))


def add_chat(app: FastAPI, dialogue: Callable[[], Dialogue | None]) -> None:
    """Add the routes; `dialogue` gives None until the model is loaded."""

    @app.get("/v1/models")
    async def models() -> dict[str, Any]:
        there = dialogue()
        names = [f"{MODEL}/{key.site}/{key.group}" for key in there.groups()] if there else []
        return {"object": "list", "data": [_model(name) for name in names]}

    @app.get("/v1/models/{name:path}")
    async def model(name: str) -> Response:
        try:
            key = _group(_ready(dialogue()), name, {})
        except MessageError as error:
            return _refusal(error)
        return JSONResponse(_model(f"{MODEL}/{key.site}/{key.group}"))

    @app.post("/v1/chat/completions")
    async def completions(request: Request) -> Response:
        try:
            body = await _read(request)
            there = _ready(dialogue())
            question = _question(body, there)
            reply = _Reply(
                f"chatcmpl-{secrets.token_hex(12)}",
                int(time.time()),
                f"{MODEL}/{question.group.site}/{question.group.group}",
            )
            parts = there.answer(question)
            if not body.stream:
                return await _whole(parts, reply, question)
            first = await anext(parts)  # what is refused is refused by a status
        except MessageError as error:
            return _refusal(error)
        except Exception:
            return _refusal(_failed())
        usage = bool(body.stream_options and body.stream_options.include_usage)
        told = _stream(first, parts, reply, question, usage)
        return StreamingResponse(told, media_type="text/event-stream", headers={"cache-control": "no-store"})


async def _read(request: Request) -> _Body:
    """The request; raises MessageError."""
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise MessageError("content-type", "application/json is wanted")
    raw = bytearray()
    async for piece in request.stream():
        raw += piece
        if len(raw) > _MOST_BYTES:
            raise MessageError("size", f"more than {_MOST_BYTES} bytes")
    try:
        return _Body.model_validate_json(bytes(raw))
    except ValidationError as error:
        detail = error.errors()[0]
        where = ".".join(map(str, detail["loc"])) or "body"
        raise MessageError(where, wanted(detail)) from None


def _ready(dialogue: Dialogue | None) -> Dialogue:
    if dialogue is None:
        raise MessageError("starting", "the model is being loaded")
    return dialogue


def _question(body: _Body, dialogue: Dialogue) -> Question:
    """The last of the user's messages, with the turns before it; raises MessageError."""
    *earlier, last = [one for one in body.messages if one.role in ("user", "assistant")] or [_Message(role="")]
    if last.role != "user" or not last.text.strip():
        raise MessageError("messages", "the last message must be the user's, and say something")
    if len(last.text) > MAX_QUESTION:
        raise MessageError("messages", f"a question has at most {MAX_QUESTION} characters")
    said = [one.text for one in body.messages if one.role in ("system", "developer")]
    fields = _fields("\n".join(said)) | (body.metadata or {})
    sensors = tuple(re.split(r"[,\s]+", fields["sensors"].strip())) if fields.get("sensors", "").strip() else ()
    if strange := [one for one in sensors if not re.fullmatch(KEY, one)]:
        raise MessageError("sensors", f"{strange[0][:40]!r} is no device/stream")
    session = fields.get("session", "")
    if session and not re.fullmatch(ID, session):
        raise MessageError("session", "1 to 64 of A-Z, a-z, 0-9, '-' and '_' are wanted")
    most = body.max_completion_tokens or body.max_tokens or TOKENS
    turns = tuple((one.text[:MAX_QUESTION], other.text[:MAX_WHOLE]) for one, other in _pairs(earlier))
    return Question(
        _group(dialogue, body.model, fields), last.text, session, turns, sensors, min(most, MAX_TOKENS), "http"
    )


def _fields(said: str) -> dict[str, str]:
    """What the lines of a system's message name, each on a line of its own."""
    found = {match[1]: line[match.end() :].strip() for line in said.split("\n") if (match := _FIELD.match(line))}
    return {name: value for name, value in found.items() if value}


def _pairs(messages: list[_Message]) -> list[tuple[_Message, _Message]]:
    """Questions, each with the answer behind it."""
    return [
        (one, other) for one, other in itertools.pairwise(messages) if (one.role, other.role) == ("user", "assistant")
    ]


def _group(dialogue: Dialogue, model: str, fields: dict[str, str]) -> GroupKey:
    """The group that a model's name means; raises MessageError."""
    known = dialogue.groups()
    names = ", ".join(f"{MODEL}/{key.site}/{key.group}" for key in known[:20]) or "no group yet"
    parts = model.split("/")
    if parts[0] != MODEL or len(parts) not in (1, 3):
        raise MessageError("model", f"{model[:80]!r} is none; there: {names}")
    if len(parts) == 3:
        site, group = parts[1:]
    else:
        site, group = fields.get("site", ""), fields.get("group", "")
        fitting = [key for key in known if site in ("", key.site) and group in ("", key.group)]
        if len(fitting) == 1:
            return fitting[0]
        if len(fitting) > 1 or not (site and group):
            raise MessageError("group", f"name one by the model, or by site and group in metadata; there: {names}")
    try:
        return GroupKey(check_name(site, "site"), check_name(group, "group"))
    except ConfigError as error:
        raise MessageError("group", str(error)) from None


async def _whole(parts: AsyncGenerator[str | Told, None], reply: _Reply, question: Question) -> Response:
    async with contextlib.aclosing(parts):
        told = [part async for part in parts if isinstance(part, Told)][-1]
    message = {"role": "assistant", "content": told.text, "refusal": None}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": _finish(told)}
    return JSONResponse(reply.body("chat.completion", [choice], usage=_usage(told), iotlm=_about(told, question)))


async def _stream(
    first: str | Told, parts: AsyncGenerator[str | Told, None], reply: _Reply, question: Question, usage: bool
) -> AsyncGenerator[str, None]:
    """Chunks; when the client goes away this is closed, and with it the answer."""
    async with contextlib.aclosing(parts):
        yield reply.chunk({"role": "assistant", "content": ""})
        part: str | Told | None = first
        try:
            while part is not None:
                if isinstance(part, Told):
                    yield reply.chunk({}, _finish(part), iotlm=_about(part, question))
                    if usage:
                        yield _event(reply.body("chat.completion.chunk", [], usage=_usage(part)))
                else:
                    yield reply.chunk({"content": part})
                part = await anext(parts, None)
        except Exception as error:
            yield _event(_error(error if isinstance(error, MessageError) else _failed()))
        yield "data: [DONE]\n\n"


def _finish(told: Told) -> str:
    return "length" if told.cut else "stop"


def _usage(told: Told) -> dict[str, int]:
    return {
        "prompt_tokens": told.prompt,
        "completion_tokens": told.tokens,
        "total_tokens": told.prompt + told.tokens,
    }


def _about(told: Told, question: Question) -> dict[str, Any]:
    return {
        "site": question.group.site,
        "group": question.group.group,
        "session": question.session,
        "model": told.model,
        "status": told.standing,
        "evidence": [asdict(one) for one in told.evidence],
        "attribution": dict(told.attribution),
    }


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": MODEL}


def _event(body: dict[str, Any]) -> str:
    return f"data: {json.dumps(body, ensure_ascii=False, separators=(',', ':'))}\n\n"


def _failed() -> MessageError:
    """What somebody hears of an error that nobody thought of; the log has the rest."""
    log.exception("a question could not be answered")
    return MessageError("failed", "the backend failed; its log says more")


def _error(error: MessageError) -> dict[str, Any]:
    status = _STATUS.get(error.reason, 400)
    kind = _TYPES.get(status, "invalid_request_error")
    return {"error": {"message": str(error), "type": kind, "param": error.reason, "code": error.reason}}


def _refusal(error: MessageError) -> JSONResponse:
    status = _STATUS.get(error.reason, 400)
    later = {"retry-after": "2"} if status in (429, 503) else None
    return JSONResponse(_error(error), status_code=status, headers=later)
