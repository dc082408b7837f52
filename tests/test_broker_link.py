"""Links: the same behaviour over a real mosquitto and in memory; what a cut connection does."""

import asyncio
import contextlib

import aiomqtt
import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from broker import topics
from broker.errors import ConfigError, LinkDown, MessageError
from broker.link import Message, MqttLink, Will
from broker.memory import Faults, MemoryBroker, MemoryLink, matches
from tests.conftest import Mosquitto


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
    """Two connected links, over mosquitto (3.1.1 or 5) or in memory."""
    if kind.startswith("mqtt"):
        port, version = request.getfixturevalue("mosquitto").port, "5" if kind == "mqtt5" else "3.1.1"
        links = [MqttLink("127.0.0.1", port, name, backoff=(0.05, 0.2), version=version) for name in ("one", "two")]
    else:
        broker = MemoryBroker()
        links = [MemoryLink(broker), MemoryLink(broker)]
    async with links[0] as one, links[1] as two:
        await asyncio.wait_for(asyncio.gather(one.wait_connected(), two.wait_connected()), 10)
        yield one, two


@pytest.mark.parametrize("kind", ["mqtt", "mqtt5", "memory"])
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


@pytest.mark.parametrize("kind", ["mqtt", "mqtt5", "memory"])
async def test_an_oversized_payload_is_refused_before_it_is_sent(kind, request):
    async with pair(kind, request) as (one, _):
        with pytest.raises(MessageError, match="size"):
            await one.publish("iotlm/frames/a/b/c", bytes(2 << 20))
        assert one.connected


@pytest.mark.parametrize("kind", ["mqtt5", "memory"])
async def test_a_response_topic_and_correlation_data_go_along(kind, request):
    async with pair(kind, request) as (one, two):
        await two.subscribe(topics.ASK_ALL)
        await two.subscribe("phone/replies")
        await one.publish(topics.ask("home", "alice"), b"?", response_topic="phone/replies", correlation=b"\x00\xff")
        (asked,) = await receive(two, 1)
        await one.publish(topics.check_reply(asked.response_topic), b"!", correlation=asked.correlation)
        (answered,) = await receive(two, 1)
        await one.publish("phone/replies", b"kept", retain=True, response_topic="r", correlation=b"c")
        await one.publish("phone/replies", b"bare")
        live, bare = await receive(two, 2)
    assert asked == Message("iotlm/ask/home/alice", b"?", False, "phone/replies", b"\x00\xff")
    assert answered == Message("phone/replies", b"!", False, "", b"\x00\xff")
    assert live == Message("phone/replies", b"kept", False, "r", b"c")
    assert bare == Message("phone/replies", b"bare")


@pytest.mark.parametrize("kind", ["mqtt5", "memory"])
async def test_what_was_retained_keeps_its_response_topic(kind, request):
    async with pair(kind, request) as (one, two):
        await one.publish("t", b"kept", retain=True, response_topic="r", correlation=b"c")
        await asyncio.sleep(0.2)
        await two.subscribe("t")
        assert await receive(two, 1) == [Message("t", b"kept", True, "r", b"c")]


@pytest.mark.parametrize("kind", ["mqtt", "mqtt5", "memory"])
async def test_too_much_correlation_data_is_refused(kind, request):
    async with pair(kind, request) as (one, _):
        with pytest.raises(MessageError, match="correlation: 65536 bytes"):
            await one.publish("t", b"", correlation=bytes(65_536))
        await one.publish("t", b"", correlation=bytes(65_535))
        assert one.connected


async def test_a_client_of_5_asks_and_a_link_of_3_hears_the_question_alone(mosquitto):
    """And a link of 5 hears those of 3, who say nowhere to answer."""
    new, old = (MqttLink("127.0.0.1", mosquitto.port, f"link{version}", version=version) for version in ("5", "3.1.1"))
    async with new, old:
        for link in (new, old):
            await link.wait_connected()
            await link.subscribe(topics.ASK_ALL)
        await new.publish("iotlm/ask/home/a", b"by 5", response_topic="r", correlation=b"c")
        assert await receive(old, 1) == [Message("iotlm/ask/home/a", b"by 5")]
        await old.publish("iotlm/ask/home/a", b"by 3", response_topic="r", correlation=b"c")
        assert await receive(new, 2) == [
            Message("iotlm/ask/home/a", b"by 5", False, "r", b"c"),
            Message("iotlm/ask/home/a", b"by 3"),
        ]


async def test_a_stranger_of_5_is_answered(mosquitto):
    """As mosquitto_rr does: it subscribes to a topic of its own and waits there."""
    properties = Properties(PacketTypes.PUBLISH)
    properties.ResponseTopic, properties.CorrelationData = "mine/7", b"q7"
    async with (
        aiomqtt.Client("127.0.0.1", mosquitto.port, protocol=aiomqtt.ProtocolVersion.V5) as stranger,
        MqttLink("127.0.0.1", mosquitto.port, "backend", version="5") as link,
    ):
        await link.wait_connected()
        await link.subscribe(topics.ASK_ALL)
        await stranger.subscribe("mine/7")
        await stranger.publish(topics.ask("home", "alice"), b"?", qos=1, properties=properties)
        (asked,) = await receive(link, 1)
        await link.publish(topics.check_reply(asked.response_topic), b"!", correlation=asked.correlation)
        answer = await asyncio.wait_for(anext(aiter(stranger.messages)), 10)
    assert (answer.payload, answer.properties.CorrelationData) == (b"!", b"q7")


@pytest.mark.parametrize("wild", ["r/+", "x" * 300, "/" * 202, "$SYS/x", "iotlm/acks/home/watch"])
async def test_mosquitto_passes_on_what_is_no_topic_and_the_check_does_not(wild, mosquitto):
    async with MqttLink("127.0.0.1", mosquitto.port, "backend", version="5") as link:
        await link.wait_connected()
        await link.subscribe(topics.ASK_ALL)
        await link.publish(topics.ask("home", "alice"), b"?", response_topic=wild)
        (asked,) = await receive(link, 1)
        assert asked.response_topic == wild
        with pytest.raises(MessageError, match="response_topic"):
            topics.check_reply(asked.response_topic)


async def test_a_link_of_5_publishes_no_more_at_once_than_the_broker_takes(tmp_path):
    broker = Mosquitto(tmp_path, "max_inflight_messages 3\n")
    try:
        async with MqttLink("127.0.0.1", broker.port, "x", version="5") as link:
            await link.wait_connected()
            assert link._client._client.max_inflight_messages == 3
            await link.subscribe("t")
            for i in range(100):
                await link.publish("t", str(i).encode())
            assert [m.payload for m in await receive(link, 100)] == [str(i).encode() for i in range(100)]
    finally:
        broker.kill()


async def test_a_broker_that_hangs_up_on_5_is_connected_to_by_3(caplog):
    """Without a word, as older ones do; it takes the client 10 s to give up on the first answer."""
    caplog.set_level("INFO", "broker.link")
    versions = []

    async def only_3(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        versions.append((await reader.readexactly(9))[8])  # level in CONNECT (MQTT 3.1.1, section 3.1.2.2)
        if versions[-1] == 4:
            writer.write(b"\x20\x02\x00\x00")  # CONNACK: accepted
            await reader.read()
        writer.close()

    async with await asyncio.start_server(only_3, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with MqttLink("127.0.0.1", port, "x", version="5") as link:
            await asyncio.wait_for(link.wait_connected(), 30)
    assert versions == [5, 4]
    assert [record.getMessage() for record in caplog.records] == [
        f"127.0.0.1:{port} takes no MQTT 5: by 3.1.1, without response topics",
        f"connected to 127.0.0.1:{port} as x",
    ]


@pytest.mark.parametrize("version", ["3.1.1", "5"])
async def test_after_the_broker_died_the_link_comes_back_with_its_subscriptions(mosquitto, version):
    async with MqttLink("127.0.0.1", mosquitto.port, "survivor", backoff=(0.05, 0.2), version=version) as link:
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


@pytest.mark.parametrize("version", ["3.1.1", "5"])
async def test_a_will_is_published_when_a_client_dies_and_only_then(mosquitto, version):
    will = Will(topics.status("home", "watch"), b"offline")
    async with aiomqtt.Client("127.0.0.1", mosquitto.port) as watcher:
        await watcher.subscribe(topics.STATUS_ALL)
        async with MqttLink("127.0.0.1", mosquitto.port, "watch", will=will, version=version) as link:
            await link.wait_connected()
            await link.publish(will.topic, b"online", retain=True)
        await asyncio.sleep(0.3)
        async with MqttLink("127.0.0.1", mosquitto.port, "watch", will=will, version=version) as link:
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


@pytest.mark.parametrize("version", ["3.1.1", "5"])
async def test_two_clients_of_one_name_are_told_so_in_one_line_each(mosquitto, caplog, version):
    """They throw each other out; after three times each says who it may be, and no more."""
    caplog.set_level("INFO", "broker.link")
    kind = {"backoff": (0.05, 1.5), "version": version}
    links = [MqttLink("127.0.0.1", mosquitto.port, "home.watch", **kind) for _ in range(2)]
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
