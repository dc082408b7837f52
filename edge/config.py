"""The settings of a device: edge.toml, then environment (IOTLM_EDGE_*), then flags. Nothing is read elsewhere.

site = "home"                   # names are made of a-z, 0-9 and '-'
device = "watch"
[broker]
host = "127.0.0.1"              # port, username, password, keepalive; ca, cert, key: PEM files, relative to this file
[spool]
path = "watch.db"               # relative to this file; left out: the user's state folder. max_mb, window
[metrics]
port = 9600                     # left out: none; host
[[streams]]
name = "imu"                    # left out: the modality
sensor = "simulator"            # `edge sensors` lists them
modality = "imu"
placement = "wrist"             # rate, window_s, hop_s
encoder = "imu.onnx"            # relative to this file; left out: windows travel raw. provider = "cuda"
host_facts = true               # temperature, fan and battery of the device travel with the windows
options = { seed = 1 }          # the sensor's own; a path among them is relative to this file
"""

import os
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from broker.errors import ConfigError
from broker.topics import check_name


def _name(value: str) -> str:
    try:
        return check_name(value, "it")
    except ConfigError as error:
        raise ValueError(str(error)) from None


Name = Annotated[str, AfterValidator(_name)]


class Section(BaseModel):
    """A table of a settings file: unknown keys are errors."""

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="forbid", frozen=True)


class BrokerConfig(Section):
    """Where the broker is and how to prove who we are. Giving `ca` turns TLS on."""

    host: str = "127.0.0.1"
    port: int = Field(default=1883, ge=1, le=65535)
    username: str | None = None
    password: str | None = None
    ca: str | None = None
    cert: str | None = None
    key: str | None = None
    keepalive: int = Field(default=30, ge=1)


class SpoolConfig(Section):
    """Where frames wait, how many megabytes of them, and how many may be unacknowledged."""

    path: Path | None = None
    max_mb: float = Field(default=256.0, gt=0)
    window: int = Field(default=64, ge=1, le=1024)


class MetricsConfig(Section):
    """Where Prometheus may ask; port 0 takes any free one, no port answers nobody."""

    host: str = "127.0.0.1"
    port: int | None = Field(default=None, ge=0, le=65535)


class StreamConfig(Section):
    """One stream: a sensor, what it measures, where it sits, and how its windows travel."""

    name: Name
    sensor: str
    modality: str
    placement: Name
    rate: float = Field(default=0.0, ge=0)
    window_s: float = Field(default=0.0, ge=0)
    hop_s: float = Field(default=0.0, ge=0)
    encoder: Path | None = None
    provider: str = "cpu"
    host_facts: bool = False
    options: dict[str, Any] = Field(default_factory=dict)


class EdgeConfig(BaseSettings):
    """Everything that `edge run` can be told."""

    model_config = SettingsConfigDict(env_prefix="IOTLM_EDGE_", env_nested_delimiter="__", extra="forbid", frozen=True)

    site: Name
    device: Name
    broker: BrokerConfig = BrokerConfig()
    spool: SpoolConfig = SpoolConfig()
    metrics: MetricsConfig = MetricsConfig()
    streams: tuple[StreamConfig, ...] = Field(min_length=1)

    @field_validator("streams", mode="before")
    @classmethod
    def _named(cls, value: Any) -> Any:
        """A stream without a name has its modality's."""
        if not isinstance(value, list | tuple):
            return value
        return [{"name": row.get("modality"), **row} if isinstance(row, dict) else row for row in value]

    @property
    def spool_path(self) -> Path:
        """The spool's file; by default in the user's state folder (XDG base directories)."""
        return self.spool.path or state_folder() / f"{self.site}-{self.device}.db"


def load(path: Path | None, flags: Mapping[str, Any] | None = None) -> EdgeConfig:
    """Flags (keys like "broker.port") over the environment over the settings in a file, if any.

    Raises:
        ConfigError: the file cannot be read, or a setting is missing, unknown or out of range; the text names it.
    """
    values = {} if path is None else _read(path)
    return layered(EdgeConfig, values, flags or {}, f"{path or 'settings'}: {{}}; edge/README.md lists all settings")


Settings = TypeVar("Settings", bound=BaseSettings)


def layered(kind: type[Settings], values: Mapping[str, Any], flags: Mapping[str, Any], complaint: str) -> Settings:
    """Settings of a kind: flags (keys like "broker.port") over the environment over a file's values.

    Raises:
        ConfigError: a setting is missing, unknown or out of range; `complaint` with its name, value and reason.
    """

    class Layered(kind):  # type: ignore[misc, valid-type]
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            return init_settings, env_settings, InitSettingsSource(settings_cls, dict(values))

    try:
        made: Settings = Layered(**_nested(flags))
    except (ValidationError, SettingsError) as error:
        raise ConfigError(complaint.format(_first_problem(error))) from None
    return made


def parse_address(text: str) -> tuple[str, int]:
    """Host and port of "host:port", "host" (port 1883) or "[::1]:1883".

    Raises:
        ConfigError: it is none of these.
    """
    host, colon, port = text.rpartition(":")
    if not colon or text.endswith("]"):
        host, port = text, "1883"
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isdecimal() or not 1 <= int(port) <= 65535:
        raise ConfigError(f"broker {text!r}: write HOST:PORT, such as 127.0.0.1:1883")
    return host, int(port)


def state_folder() -> Path:
    """Where devices keep their spools when nothing else is said."""
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "iotlm" / "edge"


def read_toml(path: Path) -> dict[str, Any]:
    """The values of a settings file; the broker's PEM files in it are relative to it, wherever the command is called.

    Raises:
        ConfigError: it cannot be read or is no TOML.
    """
    try:
        values = tomllib.loads(path.read_text())
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: no valid TOML: {error}") from None
    _settle(path.parent, [(values.get("broker"), key) for key in ("ca", "cert", "key")])
    return values


def _first_problem(error: ValidationError | SettingsError) -> str:
    """What a person has to mend first: setting, value, reason."""
    if isinstance(error, SettingsError):
        return str(error)
    detail = error.errors()[0]
    where = ".".join(map(str, detail["loc"])) or "settings"
    if detail["type"] == "missing":
        return f"{where} is missing"
    return f"{where} = {str(detail.get('input'))[:80]}: {detail['msg']}"


def _read(path: Path) -> dict[str, Any]:
    """The settings of a device's file; all paths in it are relative to it."""
    values = read_toml(path)
    streams = values.get("streams")
    rows = [row for row in streams if isinstance(row, dict)] if isinstance(streams, list) else []
    _settle(path.parent, [(values.get("spool"), "path"), *((row, "encoder") for row in rows)])
    _settle(path.parent, [(row.get("options"), "path") for row in rows])
    return values


def _settle(folder: Path, named: Iterable[tuple[Any, str]]) -> None:
    """Make the paths in these sections, under these keys, paths below a folder; what is no path stays to be refused."""
    for section, key in named:
        if isinstance(section, dict) and isinstance(section.get(key), str):
            section[key] = str(folder / section[key])


def _nested(flags: Mapping[str, Any]) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for name, value in flags.items():
        section, _, key = name.rpartition(".")
        (nested.setdefault(section, {}) if section else nested)[key] = value
    return nested
