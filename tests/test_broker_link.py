"""Links: the same behaviour over a real mosquitto and in memory; what a cut connection does."""

import asyncio
import contextlib

import aiomqtt
import pytest

from broker import topics
from broker.errors import ConfigError, LinkDown, MessageError
from broker.link import Message, MqttLink, Will
from broker.memory import Faults, MemoryBroker, MemoryLink, matches


async def receive(link, count, seconds=10.0):
    got = []

    async def collect():
        async for message in link.messages():
            got.append(message)
            if len(got) == count:
                return

    await asyncio.wait_for(collect(), seconds)
    return got


@contextlib.asynccontextmanager
async def pair(kind, request):
    """Two connected links, over mosquitto or in memory."""
    if kind == "mqtt":
        port = request.getfixturevalue("mosquitto").port
        links = [MqttLink("127.0.0.1", port, name, backoff=(0.05, 0.2)) for name in ("one", "two")]
    else:
        broker = MemoryBroker()
        links = [MemoryLink(broker), MemoryLink(broker)]
    async with links[0] as one, links[1] as two:
        await asyncio.wait_for(asyncio.gather(one.wait_connected(), two.wait_connected()), 10)
        yield one, two


@pytest.mark.parametrize("kind", ["mqtt", "memory"])
async def test_messages_arrive_in_order_and_retained_ones_later(kind, request):
    async with pair(kind, request) as (one, two):
        await one.publish("iotlm/status/home/watch", b"kept", retain=True)
        await asyncio.sleep(0.2)
        await two.subscribe("iotlm/status/+/+", "iotlm/frames/#")
        for i in range(100):
            await one.publish("iotlm/frames/home/watch/imu", str(i).encode())
        got = await receive(two, 101)
    assert got[0] == Message("iotlm/status/home/watch", b"kept", retain=True)
    assert [m.payload for m in got[1:]] == [str(i).encode() for i in range(100)]


@pytest.mark.parametrize("kind", ["mqtt", "memory"])
async def test_an_oversized_payload_is_refused_before_it_is_sent(kind, request):
    async with pair(kind, request) as (one, _):
        with pytest.raises(MessageError, match="size"):
            await one.publish("iotlm/frames/a/b/c", bytes(2 << 20))
        assert one.connected


async def test_after_the_broker_died_the_link_comes_back_with_its_subscriptions(mosquitto):
    async with MqttLink("127.0.0.1", mosquitto.port, "survivor", backoff=(0.05, 0.2)) as link:
        await link.wait_connected()
        await link.subscribe(topics.EVENTS_ALL)
        mosquitto.kill()
        while link.connected:
            await asyncio.sleep(0.02)
        with pytest.raises(LinkDown):
            await link.publish("iotlm/events/a/b/c", b"lost")
        mosquitto.start()
        await asyncio.wait_for(link.wait_connected(), 10)
        assert link.session == 2
        await link.publish("iotlm/events/a/b/c", b"back")
        assert [m.payload for m in await receive(link, 1)] == [b"back"]


async def test_each_connection_and_each_loss_is_told_once(mosquitto, caplog):
    caplog.set_level("INFO", "broker.link")
    mosquitto.kill()
    async with MqttLink("127.0.0.1", mosquitto.port, "talker", backoff=(0.05, 0.1)) as link:
        await asyncio.sleep(0.5)  # several attempts
        mosquitto.start()
        await asyncio.wait_for(link.wait_connected(), 10)
        mosquitto.kill()
        while link.connected:
            await asyncio.sleep(0.02)
        await asyncio.sleep(0.5)
        mosquitto.start()
        await asyncio.wait_for(link.wait_connected(), 10)
    where = f"127.0.0.1:{mosquitto.port}"
    told = [record.getMessage() for record in caplog.records if record.name == "broker.link"]
    begins = (f"no connection to {where}: ", f"connected to {where} as talker", f"lost the connection to {where}: ")
    assert [any(line.startswith(begin) for begin in begins) for line in told] == [True] * 4
    assert [line.split()[0] for line in told] == ["no", "connected", "lost", "connected"]
    assert told[1].endswith("as talker")
    assert " after " in told[3]


async def test_a_will_is_published_when_a_client_dies_and_only_then(mosquitto):
    will = Will(topics.status("home", "watch"), b"offline")
    async with aiomqtt.Client("127.0.0.1", mosquitto.port) as watcher:
        await watcher.subscribe(topics.STATUS_ALL)
        async with MqttLink("127.0.0.1", mosquitto.port, "watch", will=will) as link:
            await link.wait_connected()
            await link.publish(will.topic, b"online", retain=True)
        await asyncio.sleep(0.3)
        async with MqttLink("127.0.0.1", mosquitto.port, "watch", will=will) as link:
            await link.wait_connected()
            link._client._client.socket().shutdown(2)  # the cable is cut: no farewell
            payloads = []
            async with asyncio.timeout(10):
                async for message in watcher.messages:
                    payloads.append(message.payload)
                    if message.payload == b"offline":
                        break
    assert payloads == [b"online", b"offline"]


async def test_a_link_without_a_broker_waits_and_does_not_block():
    async with MqttLink("127.0.0.1", 1, "lonely") as link:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(link.wait_connected(), 0.3)
        assert not link.connected


async def test_unusable_tls_files_are_named():
    with pytest.raises(ConfigError, match=r"nowhere\.pem"):
        async with MqttLink("127.0.0.1", 1, "x", ca="nowhere.pem"):
            pass
    with pytest.raises(ConfigError, match=r"broker\.ca"):
        async with MqttLink("127.0.0.1", 1, "x", cert="a.pem", key="b.pem"):
            pass


async def test_memory_faults_drop_duplicate_and_delay():
    broker = MemoryBroker(seed=1)
    async with MemoryLink(broker) as sender, MemoryLink(broker, faults=Faults(drop=0.3, delay_s=0.05)) as receiver:
        sender.faults = Faults(duplicate=0.3)
        await receiver.subscribe("t")
        for i in range(1000):
            await sender.publish("t", str(i).encode())
        await asyncio.sleep(0.1)
        got = [int(receiver._inbox.get_nowait().payload) for _ in range(receiver._inbox.qsize())]
    assert 800 < len(got) < 1000  # 1000 x 1.3 x 0.7 = 910
    assert len(set(got)) < len(got)
    assert got != sorted(got)


async def test_a_cut_memory_link_leaves_its_will_and_comes_back():
    broker = MemoryBroker()
    will = Will("iotlm/status/a/b", b"offline")
    async with MemoryLink(broker, will=will) as link, MemoryLink(broker) as watcher:
        await watcher.subscribe(topics.STATUS_ALL)
        link.disconnect()
        with pytest.raises(LinkDown):
            await link.publish("x", b"")
        link.connect()
        assert link.connected
        assert link.session == 2
        assert (await receive(watcher, 1))[0].payload == b"offline"


@pytest.mark.parametrize(
    ("pattern", "topic", "expected"),
    [
        ("a/+/c", "a/b/c", True),
        ("a/#", "a/b/c", True),
        ("a/#", "b", False),
        ("a/+", "a/b/c", False),
        ("a/b", "a", False),
    ],
)
def test_topic_filters(pattern, topic, expected):
    assert matches(pattern, topic) is expected


async def test_two_clients_of_one_name_are_told_so_in_one_line_each(mosquitto, caplog):
    """They throw each other out; after three times each says who it may be, and no more."""
    caplog.set_level("INFO", "broker.link")
    links = [MqttLink("127.0.0.1", mosquitto.port, "home.watch", backoff=(0.05, 1.5)) for _ in range(2)]
    word = "another client may be using the name home.watch"

    def told() -> list[str]:
        return [record.getMessage() for record in caplog.records]

    async with links[0], links[1]:
        async with asyncio.timeout(30):
            while sum(word in line for line in told()) < 2:
                await asyncio.sleep(0.05)
        before = len(told())
        await asyncio.sleep(2.0)
        after = told()
    assert sum(word in line for line in after) == 2
    assert len(after) <= before + 1


async def test_a_link_alone_again_says_that_it_lasts(mosquitto, caplog):
    caplog.set_level("INFO", "broker.link")
    async with MqttLink("127.0.0.1", mosquitto.port, "home.watch", backoff=(0.05, 0.1)) as link:
        for _ in range(3):
            await asyncio.wait_for(link.wait_connected(), 10)
            link._client._client.socket().shutdown(2)
            while link.connected:
                await asyncio.sleep(0.01)
        await asyncio.wait_for(link.wait_connected(), 10)
        assert "another client may be" in caplog.records[-1].getMessage()
        await asyncio.sleep(2.2)
        assert caplog.records[-1].getMessage().endswith("as home.watch, and it lasts")


async def test_what_no_filter_asked_for_is_passed_over(caplog):
    """The embedded broker sends retained messages to everyone."""
    link = MqttLink("127.0.0.1", 1, "x")
    await link.subscribe("iotlm/acks/home/watch", "iotlm/events/#")
    for topic in ("iotlm/status/home/phone", "iotlm/acks/home/watch", "iotlm/events/a/b/c"):
        link._inbox.put_nowait(Message(topic, b""))
    assert [m.topic for m in await receive(link, 2)] == ["iotlm/acks/home/watch", "iotlm/events/a/b/c"]
    assert not caplog.records


async def test_a_connection_that_ends_as_it_begins_is_followed_by_another():
    """Confirmed and closed in one breath, as when another client of the name comes at that moment."""
    times = 0

    async def confirm_and_close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal times
        times += 1
        await reader.read(100)
        writer.write(b"\x20\x02\x00\x00")  # CONNACK (MQTT 3.1.1, section 3.2): accepted
        writer.close()

    async with await asyncio.start_server(confirm_and_close, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with MqttLink("127.0.0.1", port, "home.watch", backoff=(0.05, 0.1)), asyncio.timeout(10):
            while times < 3:
                await asyncio.sleep(0.02)
