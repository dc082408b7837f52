"""The pane of questions: a chat with a group's sensors, in which what an answer rests on can be opened and seen.

Questions go to the same `Dialogue` as all others: a sentence is shown when it has been checked. One page asks one
question at a time, and remembers its own session. When the page goes, so does its question.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections import deque
from collections.abc import Awaitable, Callable
from datetime import tzinfo

from nicegui import ui

from backend.serve.align import GroupKey
from backend.serve.console.charts import unit_sign
from backend.serve.console.desk import Desk
from backend.serve.console.parts import box, ns, pane, set_text, span_words, text
from backend.serve.dialogue import FACTS_ALONE, Question, Told
from broker.errors import MessageError
from broker.messages import Evidence
from broker.questions import MAX_QUESTION

log = logging.getLogger(__name__)

Mark = Callable[[str, tuple[int, int], str], Awaitable[None]]
_MOST_TURNS = 30  # questions and answers that a page shows
_EXAMPLES = ("What is the person doing?", "Which sensors are there?", "What happened in the last 5 minutes?")
_STANDING = {
    "supported": "Checked; in the language model's own words.",
    "corrected": "Checked; not in the language model's own words.",
    "withheld": "Checked; a part of what the language model said is left out.",
}
_BY_FACTS = "Told by facts alone."
_ORDER = ("number", "label", "statement")  # what says most of an answer comes first
_MARKS = {"supported": "check_circle", "corrected": "build_circle", "withheld": "remove_circle"}


class Ask:
    """A conversation with a group's sensors.

    Args:
        desk: where the dialogue is.
        mark: shows a time on a stream's plot, for one of its facts.
        answer_s: how long an answer is waited for.
    """

    def __init__(self, desk: Desk, mark: Mark, answer_s: float) -> None:
        self._desk, self._mark, self._answer_s = desk, mark, answer_s
        self._key: GroupKey | None = None
        self._session = secrets.token_hex(16)
        self._asking: asyncio.Task[None] | None = None
        self._zone: tzinfo | None = None
        self._turns: deque[ui.element] = deque()
        with pane("ask", "Ask your sensors"):
            self._note = text("", "note")
            with box("chat").props('aria-live="polite"') as self._chat, box("examples") as self._examples:
                for example in _EXAMPLES:
                    ui.button(example, on_click=lambda _, words=example: self._send(words)).props(
                        "outline rounded no-caps size=sm"
                    )
            with box("entry"):
                self._entry = ui.input(placeholder="Ask about what is measured").props(
                    f'dense outlined maxlength={MAX_QUESTION} aria-label="question"'
                )
                self._entry.on("keydown.enter", self._send_entry)
                self._button = ui.button(icon="send", on_click=self._send_entry).props('dense flat aria-label="ask"')

    def turn_to(self, key: GroupKey) -> None:
        """Talk with another group."""
        self.leave()
        self._key, self._session = key, secrets.token_hex(16)
        for turn in self._turns:
            turn.delete()
        self._turns.clear()
        self._examples.set_visibility(True)

    def leave(self) -> None:
        """Nobody waits for the answer any more."""
        if self._asking is not None:
            self._asking.cancel()
            self._asking = None

    def update(self, zone: tzinfo) -> None:
        """Say who answers."""
        self._zone = zone
        dialogue = self._desk.dialogue
        alone = dialogue is not None and dialogue.model == FACTS_ALONE
        set_text(self._note, "There is no language model: answers are made from facts alone." if alone else "")
        self._note.set_visibility(alone)

    async def _send_entry(self) -> None:
        words = str(self._entry.value or "").strip()
        if words and self._may_ask:
            self._entry.value = ""
            await self._send(words)

    @property
    def _may_ask(self) -> bool:
        return self._key is not None and self._asking is None

    async def _send(self, words: str) -> None:
        if self._key is None or not self._may_ask:
            return
        self._asking = asyncio.current_task()
        self._examples.set_visibility(False)
        self._button.disable()
        try:
            with self._chat, box("turn") as turn:
                ui.label(words[:MAX_QUESTION]).classes("question")
                with box("answer") as answer:
                    said = ui.label("").classes("said")
                    busy = ui.spinner("dots", size="24px")
            self._turns.append(turn)
            if len(self._turns) > _MOST_TURNS:
                self._turns.popleft().delete()
            self._scroll(turn)
            told = await self._answer(Question(self._key, words[:MAX_QUESTION], self._session, way="console"), said)
            busy.delete()
            if told is not None:
                with answer:
                    self._stand(told)
            self._scroll(turn)
        finally:
            if self._asking is asyncio.current_task():  # one that was left may end when the next one has begun
                self._asking = None
            if self._asking is None and not self._button.is_deleted:
                self._button.enable()

    async def _answer(self, question: Question, said: ui.label) -> Told | None:
        """Show the answer as it comes; what it was, or None where there is none, which is said."""
        told, error = None, ""
        dialogue = self._desk.dialogue
        try:
            if dialogue is None:
                raise MessageError("starting", "the model is being loaded")
            async with asyncio.timeout(self._answer_s), contextlib.aclosing(dialogue.answer(question)) as parts:
                async for part in parts:
                    if isinstance(part, Told):
                        told = part
                    else:
                        said.set_text(said.text + part)
        except MessageError as refused:
            error = str(refused)
        except TimeoutError:
            error = f"there is no answer after {self._answer_s:.0f} s; ask again"
        except Exception:
            log.exception("a question could not be answered")
            error = "the backend failed; its log says more"
        if error:
            said.set_text(f"{said.text} ({error})" if said.text else f"No answer: {error}.")
            said.classes(add="is-error")
        return told

    def _stand(self, told: Told) -> None:
        """What an answer stands on."""
        text(_BY_FACTS if told.model == FACTS_ALONE else _STANDING[told.standing], "task")
        if not told.evidence and not told.attribution:
            return
        holds = [one for one in told.evidence if one.status == "supported"]
        fails = [one for one in told.evidence if one.status != "supported"]
        with ui.expansion(f"Evidence ({len(holds)})").props("dense").classes("evidence"):
            for one in sorted(holds, key=lambda one: one.kind not in _ORDER):
                self._piece(one)
            if fails:
                text("Said by the language model and not told:", "task")
                for one in fails:
                    self._piece(one)
            if told.attribution:
                ranked = sorted(told.attribution.items(), key=lambda item: -item[1])[:8]
                text("Weights: " + ", ".join(f"{stream} {weight:.0%}" for stream, weight in ranked), "facts")

    def _piece(self, one: Evidence) -> None:
        assert self._zone is not None
        with box(f"piece {one.status}"):
            ui.icon(_MARKS[one.status]).classes("mark")
            with box("what"):
                text(one.claim, "claim")
                value = "" if one.value is None else f"{one.value:.4g} {unit_sign(one.unit)}".strip()
                measured = " = ".join(filter(None, (" ".join(filter(None, (one.stream, one.fact))), value)))
                when = "" if one.kind == "time" else span_words(one.began, one.ended, self._zone)
                count = len(one.events)
                events = f"{count} event{'s' if count != 1 else ''}" if count else ""
                about = (one.kind if one.status == "supported" else one.status, measured, one.label, when, events)
                text("; ".join(filter(None, about)), "facts")
                began, ended = ns(one.began), ns(one.ended)
                about_more = one.stream or one.label or one.events
                if began is not None and ended is not None and about_more:
                    where = "Show on the signal" if one.stream else "Show on the time line"
                    span = (began, ended)
                    ui.button(where, on_click=lambda: self._mark(one.stream, span, one.fact)).props(
                        "flat dense no-caps size=sm"
                    )

    def _scroll(self, turn: ui.element) -> None:
        ui.run_javascript(f"document.getElementById('{turn.html_id}').scrollIntoView({{block: 'nearest'}})")
