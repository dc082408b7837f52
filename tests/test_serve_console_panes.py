"""The console without a browser: what a person has typed or chosen stays, and strangers stay outside."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest
from nicegui import Client, background_tasks, core, ui
from nicegui.page import page
from starlette.responses import PlainTextResponse

from backend.serve.align import GroupKey
from backend.serve.api import Parts
from backend.serve.console.ask import Ask
from backend.serve.console.desk import Desk
from backend.serve.console.mount import MOST_PAGES, Guard, Pages
from backend.serve.console.page import Page
from backend.serve.console.parts import set_text, text
from backend.serve.dialogue import Question
from tests.serving import new_metrics

HERE, THERE, LATE = (GroupKey("s", name) for name in ("here", "there", "late"))


class Slow:
    """A dialogue whose answers wait; one that is left takes a moment to end."""

    model = "m"

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.go_on, self.ended = asyncio.Event(), asyncio.Event()

    async def answer(self, question: Question) -> AsyncIterator[str]:
        self.asked.append(question.text)
        try:
            await self.go_on.wait()
            yield "Yes."
        finally:
            await asyncio.sleep(0.05)
            self.ended.set()


class Few(Desk):
    """A desk of few groups, and a dialogue if any."""

    dialogue = None

    def __init__(self, *keys: GroupKey) -> None:
        super().__init__(Parts(new_metrics().registry, None))
        self.keys = list(keys)

    def groups(self) -> list[GroupKey]:
        return self.keys


@pytest.fixture
async def client(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Client]:
    """A browser that has not connected."""
    monkeypatch.setattr(core, "loop", asyncio.get_running_loop())
    before = set(background_tasks.running_tasks)
    client = Client(page(""))
    yield client
    client.delete()
    tasks = background_tasks.running_tasks - before
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def sent(client: Client) -> list[str]:
    """The programs that the browser will run."""
    await asyncio.sleep(0.01)  # they are handed over by tasks
    return [data["code"] for _, kind, data in client.outbox.messages if kind == "run_javascript"]


def new_ask(client: Client, dialogue: Slow) -> Ask:
    desk = Few(HERE, THERE)
    desk.dialogue = dialogue
    with client:
        ask = Ask(desk, lambda *_: asyncio.sleep(0), 60.0)
    ask.turn_to(HERE)
    return ask


async def pressed(ask: Ask, words: str) -> asyncio.Task[None]:
    """Type and press Enter, and let it begin."""
    ask._entry.value = words
    sending = background_tasks.create(ask._send_entry(), context=ask._entry.parent_slot)
    await asyncio.sleep(0.01)
    return sending


async def test_what_is_typed_while_an_answer_comes_stays(client: Client):
    dialogue = Slow()
    ask = new_ask(client, dialogue)
    first = await pressed(ask, "First?")
    assert ask._entry.value == ""
    await (await pressed(ask, "Second?"))
    assert (ask._entry.value, dialogue.asked) == ("Second?", ["First?"])
    dialogue.go_on.set()
    await first
    await (await pressed(ask, "Second?"))
    assert (ask._entry.value, dialogue.asked) == ("", ["First?", "Second?"])


async def test_a_question_that_was_left_does_not_end_the_next_one(client: Client):
    dialogue = Slow()
    ask = new_ask(client, dialogue)
    left = await pressed(ask, "First?")
    ask.turn_to(THERE)
    second = await pressed(ask, "Second?")
    await dialogue.ended.wait()
    await asyncio.gather(left, return_exceptions=True)
    assert dialogue.asked == ["First?", "Second?"] and not second.done()
    assert not ask._button.enabled
    await (await pressed(ask, "Third?"))
    assert dialogue.asked == ["First?", "Second?"]
    dialogue.go_on.set()
    await second
    assert ask._button.enabled


async def test_a_question_that_was_left_lets_another_be_asked(client: Client):
    ask = new_ask(client, Slow())
    left = await pressed(ask, "First?")
    ask.turn_to(THERE)
    await asyncio.gather(left, return_exceptions=True)
    assert ask._button.enabled


async def test_a_group_that_was_wanted_stays_in_the_address_until_it_is_heard_of(client: Client):
    desk = Few(HERE, THERE)
    with client:
        shown = Page(client, desk, 60.0, "s/late")
    assert shown._key == HERE and not any("history" in code for code in await sent(client))
    desk.keys.append(LATE)
    shown._update_top()
    assert (shown._key, shown._group.value) == (LATE, "s/late")


async def test_a_page_goes_nowhere_else_after_a_persons_choice(client: Client):
    desk = Few(HERE, THERE)
    with client:
        shown = Page(client, desk, 60.0, "s/late")
    with client:
        shown._group.value = "s/there"
    assert shown._key == THERE and "?group=s/there" in (await sent(client))[-1]
    desk.keys.append(LATE)
    shown._update_top()
    assert (shown._key, shown._group.value) == (THERE, "s/there")


async def test_long_words_are_cut_with_a_sign_and_a_persons_own_are_not(client: Client):
    with client:
        label = text("x" * 300)
    assert label.text == "x" * 239 + "…"
    set_text(label, "y" * 240)
    assert label.text == "y" * 240
    dialogue = Slow()
    dialogue.go_on.set()
    await (await pressed(new_ask(client, dialogue), "z" * 300))
    assert any(isinstance(one, ui.label) and one.text == "z" * 300 for one in client.elements.values())


async def test_pages_that_never_connect_occupy_none(client: Client):
    pages, made = Pages(), []
    for _ in range(3 * MOST_PAGES):
        made.append(Client(page("")))
        assert pages.admit(made[-1])
    there = [one for one in made if not one.is_deleted]
    assert there == made[-MOST_PAGES:]
    for one in there:
        for handler in 2 * one.connect_handlers:  # again, after a pause of the network
            one.safe_invoke(handler)
    assert not pages.admit(client)
    there[0].delete()
    assert pages.admit(client)
    for one in there[1:]:
        one.delete()


OURS = {"host": "127.0.0.1:8600"}
ELSEWHERE = OURS | {"sec-fetch-site": "cross-site"}


@pytest.mark.parametrize(
    ("bound", "headers", "code"),
    [
        ("127.0.0.1", OURS, 200),
        ("127.0.0.1", {"host": "LOCALHOST:8600"}, 200),
        ("127.0.0.1", {"host": "[::1]:8600"}, 200),
        ("127.0.0.1", {"host": "evil.example:8600"}, 400),
        ("127.0.0.1", {"host": "127.0.0.1.evil.example"}, 400),
        ("127.0.0.1", {"host": "[::1"}, 400),
        ("127.0.0.1", {"host": ""}, 400),
        ("Hub.Home", {"host": "hub.home:8600"}, 200),
        ("192.168.1.5", {"host": "192.168.1.6:8600"}, 400),
        ("0.0.0.0", {"host": "hub.home:8600"}, 200),
        ("::", {"host": "hub.home"}, 200),
        ("127.0.0.1", ELSEWHERE | {"sec-fetch-dest": "image"}, 403),
        ("127.0.0.1", ELSEWHERE | {"sec-fetch-dest": "iframe"}, 403),
        ("127.0.0.1", ELSEWHERE | {"sec-fetch-dest": "document"}, 200),  # a link that a person follows
        ("127.0.0.1", OURS | {"sec-fetch-site": "same-origin", "sec-fetch-dest": "empty"}, 200),
    ],
)
async def test_the_console_answers_to_its_own_names_and_pages_and_is_never_framed(bound, headers, code):
    transport = httpx.ASGITransport(Guard(PlainTextResponse("in"), bound))
    async with httpx.AsyncClient(transport=transport, base_url="http://x") as http:
        answer = await http.get("/", headers=headers)
    assert answer.status_code == code
    assert answer.headers["content-security-policy"] == "frame-ancestors 'none'"
