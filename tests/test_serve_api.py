"""What can be asked over HTTP, of a backend that runs."""

import asyncio
import contextlib
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from backend.serve.api import Parts, create_app
from backend.serve.config import load
from backend.serve.pipeline import Pipeline
from backend.serve.server import _api
from backend.serve.store import Commit, Store
from broker import topics
from broker.errors import ConfigError
from broker.memory import MemoryBroker, MemoryLink
from tests.serving import Device, imu_frame, new_metrics, small_model
from tests.test_serve_store import event

CHAT = ["/v1/models", "/v1/models/{name:path}", "/v1/chat/completions"]


def client(parts: Parts) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(create_app(parts)), base_url="http://backend")


async def test_readiness_follows_broker_model_and_store(tmp_path: Path):
    metrics, store = new_metrics(), Store(f"sqlite:///{tmp_path}/s.db")
    parts = Parts(metrics.registry, store)
    async with client(parts) as http:
        assert (await http.get("/healthz")).status_code == 200
        answer = await http.get("/readyz")
        assert (answer.status_code, answer.json()) == (503, {"broker": False, "model": False, "store": True})
        link = MemoryLink(MemoryBroker())
        parts.link, parts.pipeline = link, Pipeline(load(None, {}), link, small_model(), store, metrics)
        async with link:
            assert (await http.get("/readyz")).status_code == 200
            link.disconnect()
            assert (await http.get("/readyz")).json()["broker"] is False


async def test_events_are_replayed_from_an_offset(tmp_path: Path):
    store = Store(f"sqlite:///{tmp_path}/s.db")
    store.commit(Commit(events=[event(f"e{i}") for i in range(7)]), publish=False)
    async with client(Parts(new_metrics().registry, store)) as http:
        seen, after = [], 0
        while True:
            page = (await http.get("/events", params={"after": after, "limit": 3})).json()
            if not page["events"]:
                break
            seen += [e["id"] for e in page["events"]]
            after = page["last"]
        assert seen == [f"e{i}" for i in range(7)]
        assert page["newest"] == 7
        for bad in ({"after": -1}, {"limit": 0}, {"limit": 100_000}, {"after": 1 << 70}):
            assert (await http.get("/events", params=bad)).status_code == 422
        refused = (await http.get("/events", params={"limit": 100_000})).json()
        assert refused == {"error": "limit = 100000: at most 1000 is wanted"}
        nowhere, written = await http.get("/nowhere"), await http.post("/events")
        assert (nowhere.status_code, written.status_code, written.headers["allow"]) == (404, 405, "GET")
        assert nowhere.json() == {"error": "GET /nowhere: Not Found; GET / lists the paths"}
        assert written.json() == {"error": "POST /events: Method Not Allowed; GET / lists the paths"}
        assert (await http.get("/")).json() == {
            "paths": ["/metrics", "/healthz", "/readyz", "/events", "/devices", "/dead-letters", *CHAT]
        }


async def test_metrics_devices_and_bad_frames(tmp_path: Path):
    metrics, store = new_metrics(), Store(f"sqlite:///{tmp_path}/s.db")
    broker = MemoryBroker()
    link = MemoryLink(broker)
    pipeline = Pipeline(load(None, {}), link, small_model(), store, metrics)
    task = asyncio.create_task(pipeline.run())
    async with MemoryLink(broker) as a, client(Parts(metrics.registry, store, link, pipeline)) as http:
        while not link.filters:
            await asyncio.sleep(0.01)
        await a.publish(topics.frames("s", "watch", "imu"), b"junk")
        await a.publish("iotlm/status/s/watch", b"{}")
        await asyncio.wait_for(Device(a, "s", "watch", [imu_frame(i + 1, i) for i in range(10)]).run(), 20)
        text = (await http.get("/metrics")).text
        samples = {
            (sample.name, *sorted(sample.labels.values())): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }
        assert samples["iotlm_windows_committed_total",] == 10
        assert samples["iotlm_frames_total", "accepted"] == 10
        assert samples["iotlm_bad_frames_total", "encoding"] == 1
        assert samples["iotlm_bad_frames_total", "version"] == 1
        again = [imu_frame(i + 1, 10 + i, epoch="e2") for i in range(3)]  # the device has a new spool
        await asyncio.wait_for(Device(a, "s", "watch", again).run(), 20)
        (device,) = (await http.get("/devices")).json()
        assert device == {"site": "s", "device": "watch", "epoch": "e2", "committed": 3, "pending": 0}
        letters = (await http.get("/dead-letters")).json()
        assert [(letter["topic"], letter["reason"], letter["head"]) for letter in letters] == [
            ("iotlm/frames/s/watch/imu", "encoding", b"junk".hex()),
            ("iotlm/status/s/watch", "version", b"{}".hex()),
        ]
    task.cancel()
    await asyncio.wait({task})


def test_settings_are_layered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    file = tmp_path / "serve.toml"
    file.write_text('lateness_s = 2\n[broker]\nport = 1999\nhost = "file"\n[groups]\nhome = ["watch", "phone"]\n')
    monkeypatch.setenv("IOTLM_SERVE_BROKER__HOST", "environment")
    monkeypatch.setenv("IOTLM_SERVE_LATENESS_S", "3")
    config = load(file, {"lateness_s": 4})
    assert (config.broker.port, config.broker.host, config.lateness_s) == (1999, "environment", 4)
    assert config.groups["home"].devices == ["watch", "phone"]


def test_tasks_are_named_for_all_groups_and_for_one(tmp_path: Path):
    file = tmp_path / "serve.toml"
    file.write_text('tasks = ["a"]\n[groups]\nhome = ["x"]\n[groups.kitchen]\ndevices = ["y"]\ntasks = ["b"]\n')
    config = load(file, {"groups": {"kitchen": {"devices": ["z"]}}})
    assert config.tasks == ["a"]
    assert {name: (group.devices, group.tasks) for name, group in config.groups.items()} == {
        "home": (["x"], None),
        "kitchen": (["z"], ["b"]),
    }


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        ({"broker.port": 0}, "broker.port = 0"),
        ({"brocker": 1}, "^settings: brocker is unknown; known: site,"),
        ({"groups": {"a": ["x"], "b": ["x"]}}, "a device has one group"),
        (
            {"groups": {"a": ["w"], "w": {"tasks": ["t"]}}},
            "^settings: groups = .*'w' is a group of its own and a device in 'a'",
        ),
        ({"groups": {"a": "watch"}}, r"^settings: groups\.a = watch: a list of devices is wanted"),
        ({"groups": {"A": ["x"]}}, "group 'A'"),
        ({"site": "a/b"}, "^settings: site 'a/b': a name has"),
        ({"limits.pending": 0}, "limits.pending = 0"),
    ],
)
def test_a_wrong_setting_is_named(flags: dict, named: str):
    with pytest.raises(ConfigError, match=named):
        load(None, flags)


def test_a_file_that_is_missing_or_broken_is_named(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"none\.toml"):
        load(tmp_path / "none.toml", {})
    (tmp_path / "typo.toml").write_text("tsks = []")
    with pytest.raises(ConfigError, match=r"typo\.toml: tsks is unknown; .*; backend/serve/README\.md lists all"):
        load(tmp_path / "typo.toml", {})
    (tmp_path / "bad.toml").write_text("a = [")
    with pytest.raises(ConfigError, match="no valid TOML"):
        load(tmp_path / "bad.toml", {})


async def test_without_the_setting_there_is_no_console(tmp_path: Path):
    with contextlib.closing(Store(f"sqlite:///{tmp_path}/s.db")) as store:
        config = load(None, {"console": False, "http.port": 0})
        async with _api(config, Parts(new_metrics().registry, store)) as url, httpx.AsyncClient() as http:
            assert (await http.get(f"{url}console/")).status_code == 404
            assert "paths" in (await http.get(url, headers={"accept": "text/html"})).json()
