"""The naive way, for comparison with the protocol: MQTT QoS 1, automatic acknowledgement, no spool, no watermark.

    python -m benchmarks.naive send RECORDING PORT DEVICE START PERIOD     publish each window when it is due
    python -m benchmarks.naive store PORT DATABASE                         insert each message into SQLite

The sender is a live source: what it could not publish while it was dead is gone. Both ask the broker to keep their
session, reconnect by themselves, and trust the broker's acknowledgement, as most programs do.
"""

import sqlite3
import sys
import time
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

TOPIC = "naive/"


def connect(name: str, port: int) -> mqtt.Client:
    """A client with a session that the broker keeps."""
    client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=name, clean_session=False)
    client.reconnect_delay_set(1, 2)
    client.connect_async("127.0.0.1", port)
    return client


def send(recording: Path, port: int, device: str, start: float, period: float) -> None:
    """Publish window i of a recording at unix time start + i x period, until none is left."""
    from benchmarks.recordings import frames_of

    client = connect(f"naive-{device}", port)
    client.loop_start()
    for i, (t0, payload) in enumerate(frames_of(recording)):
        wait = start + i * period - time.time()
        if wait < -period:  # it was due while this process was dead
            continue
        time.sleep(max(0.0, wait))
        client.publish(f"{TOPIC}{device}/{t0}", payload, qos=1)
    time.sleep(3.0)
    client.disconnect()
    client.loop_stop()


def store(port: int, database: Path) -> None:
    """Insert what arrives, one transaction per message, for ever."""
    db = sqlite3.connect(database, isolation_level=None)
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("CREATE TABLE IF NOT EXISTS windows (device TEXT, t0 INTEGER)")

    def on_connect(client: mqtt.Client, *_: Any) -> None:
        client.subscribe(TOPIC + "#", qos=1)

    def on_message(_client: mqtt.Client, _data: Any, message: mqtt.MQTTMessage) -> None:
        _, device, t0 = message.topic.split("/")
        db.execute("INSERT INTO windows VALUES (?, ?)", (device, int(t0)))

    client = connect("naive-backend", port)
    client.on_connect, client.on_message = on_connect, on_message
    client.loop_forever(retry_first_connection=True)


if __name__ == "__main__":
    if sys.argv[1] == "send":
        send(Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4], float(sys.argv[5]), float(sys.argv[6]))
    else:
        store(int(sys.argv[2]), Path(sys.argv[3]))
