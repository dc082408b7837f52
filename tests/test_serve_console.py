"""The web console in a real browser, on a real backend: signals, events, answers and what they rest on; no stranger's
word becomes a program, no page loads anything from elsewhere, and a phone is wide enough.
"""

import contextlib
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import pytest
from paho.mqtt import publish
from playwright.sync_api import Browser, Page, expect, sync_playwright

from backend.serve.console.lines import MOST_POINTS
from backend.serve.console.mount import MOST_PAGES
from backend.serve.events import iso
from backend.serve.store import Commit, Store
from broker.messages import encode_frame, encode_json
from edge.clock import SECOND
from tests.conftest import Mosquitto, free_port, need
from tests.serving import HOP, imu_frame, status
from tests.test_serve_store import event

EVIL = '<img src=x onerror="window.boom=1">'
SLOW_MS = 30_000  # a test waits so long for what is to come; it asserts no time
CHART = "(box) => getElement(Number(box.querySelector('.nicegui-echart').id.slice(1))).chart.getOption()"
EDGE = """\
site = "home"
device = "watch"
[broker]
host = "127.0.0.1"
port = {port}
[spool]
path = "{folder}/spool.db"
[[streams]]
sensor = "simulator"
modality = "imu"
placement = "wrist"
[[streams]]
sensor = "simulator"
modality = "thermal"
placement = "room"
"""


@contextlib.contextmanager
def running(*command: str, log: Path) -> Iterator[None]:
    """A process of ours, ended politely."""
    with log.open("w") as out:
        process = subprocess.Popen([sys.executable, "-m", *command], stdout=out, stderr=subprocess.STDOUT)
        try:
            yield
        finally:
            process.terminate()
            try:
                assert process.wait(20) == 0, log.read_text()
            finally:
                process.kill()


def wait_until(condition: Callable[[], bool]) -> None:
    """Return when it holds."""
    end = time.monotonic() + SLOW_MS / 1000
    while True:
        with contextlib.suppress(httpx.TransportError):
            if condition():
                return
        assert time.monotonic() < end
        time.sleep(0.1)


@dataclass
class Served:
    """A backend, its broker, and what its page said of it from the start on."""

    url: str
    broker: Mosquitto
    said: list[str]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The system's Chromium; Playwright's own are never downloaded."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=need("chromium"), args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def served(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A backend without a language model, a simulated watch, and a stranger whose words are programs."""
    folder = tmp_path_factory.mktemp("console")
    store, now = Store(f"sqlite:///{folder}/s.db"), time.time_ns() // HOP * HOP
    evil = replace(event("e1"), site="home", group="evil", label=EVIL, time=iso(now), began=iso(now - 60 * SECOND))
    store.commit(Commit(events=[evil]), publish=False)
    store.close()
    port, said = free_port(), []
    with contextlib.ExitStack() as stack:
        broker = Mosquitto(folder)
        stack.callback(broker.kill)
        (folder / "edge.toml").write_text(EDGE.format(port=broker.port, folder=folder))
        more = ["--broker", f"127.0.0.1:{broker.port}", "--http-port", str(port), "--llm", "none"]
        log, url = folder / "backend.log", f"http://127.0.0.1:{port}"
        stack.enter_context(running("backend.cli", "serve", "--store", str(folder / "s.db"), *more, log=log))
        wait_until(lambda: httpx.get(f"{url}/healthz").status_code == 200)
        with opened(browser, url) as page:
            for words in ("the model is being loaded", "no device has been heard of yet"):
                page.locator(".top", has_text=words).wait_for()
                said.append(words)
        stack.enter_context(running("edge.cli", "run", "-c", str(folder / "edge.toml"), log=folder / "edge.log"))
        for topic, payload in strange_messages(now):
            publish.single(topic, payload, qos=1, port=broker.port)
        yield Served(url, broker, said)
    assert "Traceback" not in log.read_text()


def strange_messages(now: int) -> Iterator[tuple[str, bytes]]:
    """What a stranger publishes, by topic."""
    told = status()
    streams = tuple(replace(one, placement=EVIL) for one in told.streams)
    yield "iotlm/status/home/evil", encode_json(replace(told, version=EVIL, streams=streams))
    yield "iotlm/frames/home/evil/imu", encode_frame(replace(imu_frame(1, 0, placement=EVIL), t0=now))
    yield f"iotlm/frames/home/{EVIL}/imu", b"junk"


@contextlib.contextmanager
def opened(browser: Browser, url: str, width: int = 1280, query: str = "") -> Iterator[Page]:
    """A page of the console, which has no errors and asks nobody but its backend."""
    with browser.new_context(viewport={"width": width, "height": 844}, timezone_id="Asia/Kathmandu") as context:
        page, wrong = context.new_page(), []
        page.set_default_timeout(SLOW_MS)
        page.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda asked: wrong.append(asked.url) if not _own(asked.url, url) else None)
        page.goto(f"{url}/console/{query}")
        yield page
        assert page.evaluate("window.boom") is None
        assert wrong == []


def _own(asked: str, url: str) -> bool:
    return asked.startswith((url, url.replace("http:", "ws:"), "data:"))


def test_signals_and_events_appear_and_go_on(served: Served, browser: Browser):
    with opened(browser, served.url, query="?group=home/watch") as page:
        card = page.locator(".card", has_text="watch/imu")
        expect(card.locator("canvas")).to_be_visible(timeout=SLOW_MS)
        expect(card).to_contain_text("50 Hz, imu at wrist")
        expect(page.locator(".top")).to_contain_text("live")

        def newest() -> float:
            return card.evaluate(CHART)["dataset"][0]["source"][-1][0]

        option, first = card.evaluate(CHART), newest()
        assert [axis["name"] for axis in option["yAxis"]] == ["m/s²", "rad/s"]
        assert [series["name"] for series in option["series"]][:3] == ["acc x", "acc y", "acc z"]
        assert all(len(one["source"]) <= 2 * MOST_POINTS for one in option["dataset"])
        assert time.time() - first / 1000 < 60
        wait_until(lambda: newest() > first)
        frame = page.locator(".card", has_text="watch/thermal").locator("img")
        assert frame.evaluate("(img) => [img.naturalWidth, img.naturalHeight]") == [32, 24]
        expect(page.locator(".decision").first).to_contain_text("%", timeout=SLOW_MS)
        expect(page.locator(".event").first).to_be_visible(timeout=SLOW_MS)
        line = page.locator(".pane-events").evaluate(CHART)
        assert any(series["data"] for series in line["series"])
        here = page.locator(".event .when").first.inner_text()
        minutes = time.gmtime(time.time() + 5.75 * 3600)  # of the browser's zone
        assert here[:2] in {f"{minutes.tm_hour:02d}", f"{(minutes.tm_hour - 1) % 24:02d}"}
        weights = page.locator(".pane-events .nicegui-echart").nth(1)
        expect(weights).to_be_visible()
        expect(page.locator(".device", has_text="watch")).to_contain_text("online")


def test_what_an_answer_rests_on_is_seen_on_the_signal(served: Served, browser: Browser):
    with opened(browser, served.url, query="?group=home/watch") as page:
        card = page.locator(".card", has_text="watch/imu")
        expect(card.locator("canvas")).to_be_visible(timeout=SLOW_MS)
        expect(page.locator(".pane-ask")).to_contain_text("There is no language model")
        page.get_by_label("question", exact=True).fill(
            "What was the largest rms of the IMU on the wrist in the last 20 s?"
        )
        page.keyboard.press("Enter")
        expect(page.locator(".said")).to_contain_text(re.compile(r"largest rms of the IMU .* is [\d.]+ m/s2"))
        page.get_by_text("Evidence (").click()
        piece = page.locator(".piece", has_text="imu.rms")
        expect(piece).to_contain_text("watch/imu imu.rms = ")
        assert card.evaluate(CHART)["series"][0]["markArea"]["data"] == []
        piece.get_by_role("button", name="Show on the signal").click()
        expect(card).to_contain_text("Evidence, ")
        for series in (0, 3):  # of both panels
            [[began, ended]] = card.evaluate(CHART)["series"][series]["markArea"]["data"]
            assert SECOND // 10**6 <= ended["xAxis"] - began["xAxis"] <= 21_000
            assert time.time() - began["xAxis"] / 1000 < 90
        card.get_by_role("button", name="Back to live").click()
        expect(card.get_by_text("Evidence, ")).to_be_hidden()
        wait_until(lambda: card.evaluate(CHART)["series"][0]["markArea"]["data"] == [])
        page.get_by_label("question", exact=True).fill("What is the speed of the GPS?")
        page.get_by_role("button", name="ask", exact=True).click()
        expect(page.locator(".said").nth(1)).to_contain_text("I cannot tell")


def test_a_phone_is_wide_enough(served: Served, browser: Browser):
    with opened(browser, served.url, width=390, query="?group=home/watch") as page:
        expect(page.locator(".card canvas").first).to_be_visible(timeout=SLOW_MS)
        for tab in ("Events", "Ask", "Devices", "Signals"):
            page.get_by_role("tab", name=tab).click()
            shown = page.locator(f".pane-{tab.lower()}")
            expect(shown).to_be_visible()
            expect(page.locator(".pane:visible")).to_have_count(1)
            assert page.evaluate("[document.documentElement.scrollWidth, document.body.scrollWidth]") == [390, 390]


def test_a_strangers_words_are_text(served: Served, browser: Browser):
    with opened(browser, served.url, query="?group=home/evil") as page:
        expect(page.locator(".device")).to_contain_text(EVIL, timeout=SLOW_MS)  # version and placement
        expect(page.locator(".card", has_text="evil/imu")).to_contain_text(EVIL)
        expect(page.locator(".event", has_text=EVIL)).to_have_count(1)  # a label
        line = page.locator(".pane-events").evaluate(CHART)
        assert EVIL in line["yAxis"][0]["data"]
        page.get_by_text("Messages that could not be used").click()
        expect(page.locator(".letter").first).to_contain_text("iotlm/frames/home/<img")
        for question in (f"{EVIL} Which sensors are there?", "{{7*7}} ${7*7} `x` :rms <script>boom=1</script>"):
            page.get_by_label("question", exact=True).fill(question)
            page.keyboard.press("Enter")
            expect(page.locator(".question").last).to_have_text(question)
            expect(page.locator(".said").last).not_to_be_empty()
        assert page.locator("[onerror]").count() == 0


def test_nobody_elses_page_may_talk_to_it(served: Served):
    where = f"{served.url}/console/_nicegui_ws/socket.io/?EIO=4&transport=polling"
    assert httpx.get(where, headers={"origin": "http://elsewhere.example"}).status_code == 400
    assert httpx.get(where, headers={"origin": served.url}).status_code == 200
    page, api = f"{served.url}/console/", f"{served.url}/healthz"
    for headers in ({"host": "elsewhere.example"}, {"sec-fetch-site": "cross-site", "sec-fetch-dest": "image"}):
        assert httpx.get(page, headers=headers).status_code in (400, 403)
        assert httpx.get(api, headers=headers).status_code == 200
    assert httpx.get(page).headers["content-security-policy"] == "frame-ancestors 'none'"


def test_a_browser_is_led_to_it_and_a_machine_is_not(served: Served):
    assert httpx.get(served.url).json()["paths"][0] == "/metrics"
    led = httpx.get(served.url, headers={"accept": "text/html,*/*"})
    assert (led.status_code, led.headers["location"]) == (307, "/console/")


def test_it_says_how_the_backend_is_and_its_pages_are_few(served: Served, browser: Browser):
    """The last one with this backend: it has no broker any more, and as many pages as it may."""
    assert len(served.said) == 2
    with opened(browser, served.url) as page:
        expect(page.locator(".top")).to_contain_text("live", timeout=SLOW_MS)
        served.broker.kill()
        expect(page.locator(".top")).to_contain_text("the broker is away", timeout=SLOW_MS)
        fetched = [httpx.get(f"{served.url}/console/").status_code for _ in range(2 * MOST_PAGES)]
        assert set(fetched) == {200}  # whoever does not connect occupies no page
        found = [connected(served.url) for _ in range(MOST_PAGES)]
        assert found[0] and not found[-1]


def connected(url: str) -> bool:
    """Fetch a page and connect as its script does; false where there is no room for it."""
    answer = httpx.get(f"{url}/console/")
    if answer.status_code == 503:
        return False
    name = re.search(r"client_id\W+([0-9a-f-]{36})", answer.text)[1]
    asked = {"EIO": "4", "transport": "polling", "client_id": name, "implicit_handshake": "true"}
    asked |= {"tab_id": name, "document_id": name, "next_message_id": "0"}
    with httpx.Client(base_url=f"{url}/console/_nicegui_ws/") as http:
        opened = http.get("socket.io/", params=asked).text
        asked["sid"] = re.search(r'"sid":"([^"]+)"', opened)[1]
        http.post("socket.io/", params=asked, content="40")
        return http.get("socket.io/", params=asked).text.startswith("40")
