"""`broker run`: the real programs, started and ended as a user does."""

import asyncio
import signal
import subprocess
import sys

import aiomqtt
import pytest

from broker import server, topics
from broker.errors import ConfigError
from broker.link import Message, MqttLink
from tests.conftest import free_port, need, wait_listening


@pytest.mark.parametrize("flag", [[], ["--embedded"]], ids=["mosquitto", "embedded"])
async def test_broker_run_carries_messages_and_ends_by_signal(flag, tmp_path):
    if not flag:
        need("mosquitto")
    port = free_port()
    command = [sys.executable, "-m", "broker.cli", "run", "--port", str(port), "--directory", str(tmp_path), *flag]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        line = process.stdout.readline()
        assert f"127.0.0.1:{port}" in line
        assert ("for demonstration only" in line) == bool(flag)
        if flag:
            assert "retained messages of other topics" in process.stdout.readline()
        wait_listening(port)
        async with aiomqtt.Client("127.0.0.1", port, timeout=10) as client:
            await client.subscribe("iotlm/events/#", qos=1)
            await client.publish("iotlm/events/home/alice/task", b"hello", qos=1)
            assert (await anext(aiter(client.messages))).payload == b"hello"
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0
        process.stdout.close()
    assert (tmp_path / ("embedded.json" if flag else "mosquitto.conf")).read_text()


async def test_retained_messages_of_others_do_not_reach_our_programs(tmp_path, caplog):
    """The embedded broker sends them to whoever connects."""
    port = free_port()
    flags = ["--port", str(port), "--directory", str(tmp_path), "--embedded"]
    command = [sys.executable, "-m", "broker.cli", "run", *flags]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            wait_listening(port)
            async with MqttLink("127.0.0.1", port, "view") as view, MqttLink("127.0.0.1", port, "watch") as watch:
                await view.subscribe("iotlm/status/+/+")
                await watch.wait_connected()
                await watch.publish("iotlm/status/home/watch", b"kept", retain=True)
                assert (await anext(view.messages())).payload == b"kept"
                async with MqttLink("127.0.0.1", port, "phone") as phone:
                    await phone.subscribe("iotlm/acks/home/phone")
                    await phone.wait_connected()
                    await asyncio.sleep(0.5)
                    strays = phone._inbox.qsize()
                    await watch.publish("iotlm/acks/home/phone", b"mine")
                    got = await asyncio.wait_for(anext(phone.messages()), 10)
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(10)
    assert (got.topic, got.payload) == ("iotlm/acks/home/phone", b"mine")
    assert strays, "amqtt has mended it: `broker run` and the README may forget about it"
    assert not [record for record in caplog.records if record.name.startswith(("broker", "edge"))]


async def test_the_embedded_broker_takes_no_mqtt_5_and_the_link_by_3(tmp_path, caplog):
    caplog.set_level("INFO", "broker.link")
    port = free_port()
    flags = ["--port", str(port), "--directory", str(tmp_path), "--embedded"]
    command = [sys.executable, "-m", "broker.cli", "run", *flags]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            wait_listening(port)
            async with MqttLink("127.0.0.1", port, "backend", version="5") as link:
                await asyncio.wait_for(link.wait_connected(), 10)
                await link.subscribe(topics.ASK_ALL)
                await link.publish(topics.ask("home", "alice"), b"?", response_topic="r", correlation=b"c")
                got = await asyncio.wait_for(anext(link.messages()), 10)
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(10)
    assert got == Message("iotlm/ask/home/alice", b"?")
    assert [record.getMessage() for record in caplog.records] == [
        f"127.0.0.1:{port} takes no MQTT 5: by 3.1.1, without response topics",
        f"connected to 127.0.0.1:{port} as backend",
    ]


def test_a_taken_port_is_one_line(mosquitto, tmp_path):
    command = [sys.executable, "-m", "broker.cli", "run", "--port", str(mosquitto.port), "--directory", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        f"error: port {mosquitto.port} on 127.0.0.1: Address already in use; choose another --port"
    ]


def test_off_loopback_nothing_is_anonymous(tmp_path):
    with pytest.raises(ConfigError, match="--password-file"):
        server.ServerConfig(tmp_path, host="0.0.0.0", port=free_port()).check(embedded=False)
    passwords = tmp_path / "passwords"
    passwords.write_text("")
    config = server.ServerConfig(tmp_path, host="0.0.0.0", port=free_port(), password_file=passwords)
    config.check(embedded=False)
    assert "allow_anonymous false" in server.mosquitto_conf(config)
    with pytest.raises(ConfigError, match="install mosquitto"):
        config.check(embedded=True)
