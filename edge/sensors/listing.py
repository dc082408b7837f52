"""What this machine could measure with, and why not where it could not: what `edge sensors` shows."""

from dataclasses import dataclass

from broker.errors import ConfigError
from edge.sensors import SENSORS, Kind, host


@dataclass(frozen=True, slots=True)
class Available:
    """A sensor of the table: its modalities, whether it can be used now, and which devices or why not."""

    sensor: str
    modalities: tuple[str, ...]
    usable: bool
    detail: str


def available() -> list[Available]:
    """One row per sensor of the table."""
    return [_row(kind) for kind in SENSORS.values()]


def host_facts() -> str:
    """The host's temperatures, fans and battery, in words: no sensor, for they make no stream."""
    found = [f"{each.name} {each.value:g} {each.unit}" for each in host.survey()]
    return ", ".join(found) or "the system tells no temperatures, fans or battery"


def _row(kind: Kind) -> Available:
    try:
        return Available(kind.name, kind.modalities, True, kind.survey())
    except ConfigError as error:
        return Available(kind.name, kind.modalities, False, str(error))
