"""The settings of `backend serve`: serve.toml, then environment (IOTLM_SERVE_*), then flags. Nothing is read elsewhere.

site = "+"                      # one site, or + for all
checkpoint = "runs/home"        # a folder; left out: the bundled model
llm = "models/qwen"             # where the language model lies that the checkpoint was trained with and does not keep
lateness_s = 1.0                # how long a moment waits for a stream that is silent
max_wait_s = 30.0               # how long a moment waits for a stream that delivers, but is behind; 4 for a gps
idle_s = 5.0                    # silence after which what is open is closed
tasks = ["event-detection"]     # what is told of all groups; left out: every task that the model knows
console = true                  # whether a browser finds the console at /console
update_s = 10.0                 # an event that goes on is told again this often; 0: never
[broker]
host = "127.0.0.1"              # port, username, password, ca, cert, key
[groups]
home = ["watch", "phone"]       # devices fused together; any other device is a group of its own
[groups.kitchen]                # the same, and of this group only these tasks
devices = ["camera", "oven"]
tasks = ["activity-recognition"]
[batch]
size = 64                       # moments; deadline_ms: longest wait for a full batch under load
[store]
url = "sqlite:///iotlm.db"      # keep_windows, keep_events
[http]
port = 8600                     # host; 0: any free port
[dialogue]
time_s = 20.0                   # for the language model; minutes, hours, zone, together, waiting, session_s, sessions
[limits]
pending = 50000                 # windows in memory; pending_bytes, devices, pending_per_device, payload ...
"""

import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from backend.serve.ingest import Limits
from broker.errors import ConfigError
from broker.messages import LIMIT
from broker.topics import check_name
from edge.config import BrokerConfig, Section, layered, read_toml


class ServeBrokerConfig(BrokerConfig):
    """Where the broker is and how to prove who we are, as a device says it; and under which name.

    The name is a new one in every process unless given: a broker throws out whoever came before under the same name,
    and two backends would do that to each other for ever.
    """

    client_id: str = Field(default_factory=lambda: f"iotlm-backend-{secrets.token_hex(4)}", min_length=1)


class BatchConfig(Section):
    """How moments are gathered for the model."""

    size: int = Field(default=64, ge=1, le=4096)
    deadline_ms: float = Field(default=20.0, ge=0)


class StoreConfig(Section):
    """The database, by SQLAlchemy URL, and the newest rows to keep."""

    url: str = "sqlite:///iotlm.db"
    keep_windows: int = Field(default=1_000_000, ge=1)
    keep_events: int = Field(default=1_000_000, ge=1)


class HttpConfig(Section):
    """Where metrics, health and events can be asked for; port 0 takes any free one."""

    host: str = "127.0.0.1"
    port: int = Field(default=8600, ge=0, le=65535)


class DialogueConfig(Section):
    """How questions are answered, and what keeps that bounded.

    `minutes` and `hours`: how far back numbers and happenings are looked at where a question names no time; `zone`:
    IANA name of the time zone of answers, the machine's if empty. `time_s`: what the language model has not said by
    then is told without it. `together`: answers that it says at once; `waiting`: questions on their way, further ones
    are refused. `session_s`, `sessions`: how long a conversation is remembered after its last question, and how many.
    """

    minutes: float = Field(default=10.0, gt=0, le=1440)
    hours: float = Field(default=24.0, gt=0, le=24 * 366)
    zone: str = ""
    time_s: float = Field(default=20.0, gt=0)
    together: int = Field(default=16, ge=1, le=256)
    waiting: int = Field(default=64, ge=1)
    session_s: float = Field(default=900.0, gt=0)
    sessions: int = Field(default=1_000, ge=1)

    @field_validator("zone")
    @classmethod
    def _zone(cls, value: str) -> str:
        try:
            return value and ZoneInfo(value).key
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError("an IANA time zone is wanted, such as Europe/Berlin") from None


class LimitsConfig(Section):
    """What keeps memory bounded; see `backend.serve.ingest.Limits`."""

    payload: int = Field(default=LIMIT, ge=1024)
    devices: int = Field(default=10_000, ge=1)
    pending_per_device: int = Field(default=1_024, ge=1)
    pending: int = Field(default=50_000, ge=1)
    pending_bytes: int = Field(default=1 << 30, ge=1)
    dead_letters: int = Field(default=256, ge=1)
    ahead_s: float = Field(default=300.0, ge=0)

    def limits(self) -> Limits:
        """The same as ingest takes it."""
        return Limits(**self.model_dump())


class GroupConfig(Section):
    """Devices fused together, and the tasks told of them; a list alone names the devices.

    A group without devices is that of the device of its name.
    """

    devices: list[str] = Field(default_factory=list)
    tasks: list[str] | None = None

    @model_validator(mode="before")
    @classmethod
    def _devices_alone(cls, value: Any) -> Any:
        if isinstance(value, str):
            raise ValueError('a list of devices is wanted, such as ["watch", "phone"]')
        return {"devices": value} if isinstance(value, list) else value


class ServeConfig(BaseSettings):
    """Everything that `backend serve` can be told."""

    model_config = SettingsConfigDict(env_prefix="IOTLM_SERVE_", env_nested_delimiter="__", extra="forbid", frozen=True)

    site: str = "+"
    checkpoint: str | None = None
    llm: str | None = None
    device: str = "cpu"
    lateness_s: float = Field(default=1.0, ge=0)
    idle_s: float = Field(default=5.0, gt=0)
    max_wait_s: float = Field(default=30.0, gt=0)
    update_s: float = Field(default=10.0, ge=0)
    console: bool = True
    broker: ServeBrokerConfig = ServeBrokerConfig()
    tasks: list[str] | None = None
    groups: dict[str, GroupConfig] = Field(default_factory=dict)
    batch: BatchConfig = BatchConfig()
    store: StoreConfig = StoreConfig()
    http: HttpConfig = HttpConfig()
    dialogue: DialogueConfig = DialogueConfig()
    limits: LimitsConfig = LimitsConfig()

    @field_validator("site")
    @classmethod
    def _site(cls, value: str) -> str:
        return value if value == "+" else _name(value, "site")

    @field_validator("groups")
    @classmethod
    def _groups(cls, value: dict[str, GroupConfig]) -> dict[str, GroupConfig]:
        seen: dict[str, str] = {}
        for name, group in value.items():
            _name(name, "group")
            for device in group.devices:
                if (other := seen.setdefault(_name(device, "device"), name)) != name:
                    raise ValueError(f"device {device!r} is in {other!r} and in {name!r}; a device has one group")
        for name, group in value.items():
            if not group.devices and name in seen:
                raise ValueError(
                    f"{name!r} is a group of its own and a device in {seen[name]!r}; a device has one group"
                )
        return value


def load(path: Path | None, flags: Mapping[str, Any]) -> ServeConfig:
    """Flags (keys like "broker.port") over the environment over the settings in a file, if any.

    Raises:
        ConfigError: the file cannot be read, or a setting is unknown or out of range; the text names it.
    """
    values = {} if path is None else read_toml(path)
    return layered(
        ServeConfig, values, flags, f"{path or 'settings'}: {{}}; backend/serve/README.md lists all settings"
    )


def _name(value: str, field: str) -> str:
    try:
        return check_name(value, field)
    except ConfigError as error:
        raise ValueError(str(error)) from None
