"""What this machine could measure with, and why not where it could not: what `edge sensors` shows."""

from dataclasses import dataclass

from broker.errors import ConfigError
from edge.sensors import host, microphone


@dataclass(frozen=True, slots=True)
class Available:
    """A sensor of the table: its modalities, whether it can be used now, and which devices or why not."""

    sensor: str
    modalities: tuple[str, ...]
    usable: bool
    detail: str


def available() -> list[Available]:
    """One row per sensor of the table, and one for the host's temperatures, fans and battery, which are facts only."""
    return [
        Available("simulator", ("imu", "audio"), True, "imu at wrist or pocket, audio in the room; option seed"),
        Available(
            "replay", ("imu", "audio", "gps", "gaze", "pose"), True, "CSV, WAV, FLAC, OGG, sp_sw_har; option path"
        ),
        _microphone(),
        _accelerometer(),
        _host(),
    ]


def _microphone() -> Available:
    try:
        names = microphone.names()
    except ConfigError as error:
        return Available("microphone", ("audio",), False, str(error))
    return Available("microphone", ("audio",), bool(names), ", ".join(names) or "no input device")


def _accelerometer() -> Available:
    names = host.accelerometers()
    return Available("accelerometer", ("imu",), bool(names), ", ".join(names) or f"none in {host.IIO}")


def _host() -> Available:
    found = [f"{each.name} {each.value:g} {each.unit}" for each in host.survey()]
    return Available("host", (), bool(found), ", ".join(found) or "the system tells no temperatures, fans or battery")
