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
from typing import Annotated, Any, ClassVar, TypeVar, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PrivateAttr, ValidationError, field_validator
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
        raise ValueError(str(error).removeprefix(f"it {value[:80]!r}: ")) from None


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
    _origin: str = PrivateAttr("settings")

    @field_validator("streams", mode="before")
    @classmethod
    def _named(cls, value: Any) -> Any:
        """A stream without a name has its modality's."""
        if not isinstance(value, list | tuple):
            return value
        return [{"name": row.get("modality"), **row} if isinstance(row, dict) else row for row in value]

    @property
    def origin(self) -> str:
        """The name of the file that they are from, for errors that are found out later."""
        return self._origin

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
    made = layered(EdgeConfig, values, flags or {}, f"{path or 'settings'}: {{}}; edge/README.md lists all settings")
    made._origin = str(path or "settings")
    return made


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
        raise ConfigError(complaint.format(_first_problem(error, kind))) from None
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


_WANTED = {
    "int": "a whole number", "float": "a number", "bool": "true or false", "string": "a text in quotes",
    "path": "a path in quotes", "tuple": "a list", "list": "a list", "dict": "a table", "model": "a table",
    "too_short": "at least one", "less_than_equal": "at most {le}", "less_than": "less than {lt}",
    "greater_than_equal": "at least {ge}", "greater_than": "more than {gt}",
}  # fmt: skip


def wanted(detail: Mapping[str, Any]) -> str:
    """What pydantic misses, in our words; `detail` is one of its errors."""
    words = _WANTED.get(detail["type"]) or _WANTED.get(detail["type"].partition("_")[0])
    if words is None:
        return str(detail["msg"]).removeprefix("Value error, ")
    return f"{words.format(**detail.get('ctx', {}))} is wanted"


def _first_problem(error: ValidationError | SettingsError, kind: type[BaseModel]) -> str:
    """What a person has to mend first: setting, value, reason. An unknown name comes before what it leaves out."""
    if isinstance(error, SettingsError):
        return str(error)
    details = error.errors()
    detail = next((each for each in details if each["type"] == "extra_forbidden"), details[0])
    where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in detail["loc"])[1:] or "settings"
    if detail["type"] == "missing":
        return f"{where} is missing"
    if detail["type"] == "extra_forbidden":
        return f"{where} is unknown; known: {', '.join(_section_at(kind, detail['loc'][:-1]).model_fields)}"
    if detail["type"] == "tuple_type" and isinstance(detail["input"], dict):
        return f"[{where}] is one table: write [[{where}]], because there may be several"
    reason = wanted(detail)
    if reason.startswith(f"{where} "):  # it names setting and value itself
        return reason
    return f"{where} = {str(detail.get('input'))[:80]}: {reason}"


def _section_at(kind: type[BaseModel], place: Iterable[int | str]) -> type[BaseModel]:
    """The section of settings at a place in them, such as ("streams", 0)."""
    for name in place:
        if isinstance(name, str) and name in kind.model_fields:
            about = kind.model_fields[name].annotation
            types = [each for each in (about, *get_args(about)) if isinstance(each, type)]
            kind = next((each for each in types if issubclass(each, BaseModel)), kind)
    return kind


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
        if isinstance(section, dict) and isinstance(section.get(key), str) and section[key]:
            section[key] = str(folder / section[key])


def _nested(flags: Mapping[str, Any]) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for name, value in flags.items():
        section, _, key = name.rpartition(".")
        (nested.setdefault(section, {}) if section else nested)[key] = value
    return nested
