"""The settings of a device: file, environment, flags, and an error that names what is wrong."""

from pathlib import Path

import pytest

from broker.errors import ConfigError
from edge.config import load, parse_address

TOML = """
site = "home"
device = "watch"
[spool]
path = "state/watch.db"
[[streams]]
sensor = "simulator"
modality = "imu"
placement = "wrist"
encoder = "imu.onnx"
options = { seed = 3 }
[[streams]]
name = "room"
sensor = "microphone"
modality = "audio"
placement = "room"
"""


@pytest.fixture
def toml(tmp_path: Path) -> Path:
    path = tmp_path / "edge.toml"
    path.write_text(TOML)
    return path


def test_a_file_says_it_all_and_paths_are_relative_to_it(toml, tmp_path):
    config = load(toml)
    assert (config.site, config.device, config.broker.host, config.broker.port) == ("home", "watch", "127.0.0.1", 1883)
    assert [stream.name for stream in config.streams] == ["imu", "room"]
    assert config.spool_path == tmp_path / "state" / "watch.db"
    assert config.streams[0].encoder == tmp_path / "imu.onnx"
    assert config.streams[0].options == {"seed": 3}
    assert config.metrics.port is None


def test_the_path_of_a_recording_is_relative_to_the_settings_file(toml, tmp_path):
    toml.write_text(TOML.replace("options = { seed = 3 }", 'options = { path = "walk.csv" }'))
    assert load(toml).streams[0].options == {"path": str(tmp_path / "walk.csv")}
    toml.write_text(TOML.replace("options = { seed = 3 }", 'options = { path = "" }'))
    assert load(toml).streams[0].options == {"path": ""}  # the sensor says that it needs one


def test_tls_files_are_relative_to_the_settings_file_unless_absolute(toml, tmp_path):
    files = 'ca = "tls/ca.pem"\ncert = "watch.pem"\nkey = "/etc/watch.key"'
    toml.write_text(TOML.replace("[spool]", f"[broker]\n{files}\n[spool]"))
    broker = load(toml).broker
    assert (broker.ca, broker.cert) == (str(tmp_path / "tls/ca.pem"), str(tmp_path / "watch.pem"))
    assert broker.key == "/etc/watch.key"


def test_environment_goes_over_the_file_and_flags_over_both(toml, monkeypatch):
    monkeypatch.setenv("IOTLM_EDGE_BROKER__HOST", "broker.example")
    monkeypatch.setenv("IOTLM_EDGE_BROKER__PORT", "8883")
    monkeypatch.setenv("IOTLM_EDGE_DEVICE", "phone")
    config = load(toml, {"broker.port": 1884})
    assert (config.device, config.broker.host, config.broker.port) == ("phone", "broker.example", 1884)


def test_without_a_path_the_spool_lies_in_the_state_folder(toml, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    toml.write_text(TOML.replace('path = "state/watch.db"', ""))
    assert load(toml).spool_path == tmp_path / "iotlm" / "edge" / "home-watch.db"


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('site = "home"', "", "site is missing"),
        ('device = "watch"', 'device = "My Watch"', r"device = My Watch: .*a-z, 0-9"),
        ('device = "watch"', 'device = "watch"\ncolour = 1', "colour is unknown; known: site, device, broker"),
        ("[spool]", "[broker]\nport = 99999\n[spool]", r"broker\.port = 99999: .*65535"),
        ("[spool]", "[broker]\nprot = 1\n[spool]", r"broker\.prot is unknown; known: host, port"),
        ('name = "room"', 'name = "a/b"', r"streams\[1\]\.name = a/b: a name has"),
        ('modality = "audio"', "", r"streams\[1\]\.modality is missing"),
        ("site =", "site", "no valid TOML"),
        ('placement = "room"', 'placment = "room"', r"streams\[1\]\.placment is unknown; known: name, .*placement"),
        ("[spool]", '[broker]\nport = "abc"\n[spool]', r"broker\.port = abc: a whole number is wanted"),
        ("[spool]", "[broker]\nport = 1.5\n[spool]", r"broker\.port = 1\.5: a whole number is wanted"),
        ('site = "home"', 'site = "My Home"', "site = My Home: a name has 1 to 63"),
        ('site = "home"', "site = 7", "site = 7: a text in quotes is wanted"),
    ],
)
def test_what_is_wrong_is_named(toml, old, new, words):
    toml.write_text(TOML.replace(old, new))
    with pytest.raises(ConfigError, match=words):
        load(toml)


@pytest.mark.parametrize("text", ["streams = 3", 'streams = ["a"]', "spool = 1", "streams = []"])
def test_a_table_of_the_wrong_kind_is_named(tmp_path, text):
    (tmp_path / "edge.toml").write_text(f'site = "home"\ndevice = "watch"\n{text}\n')
    with pytest.raises(ConfigError, match=text.split()[0]):
        load(tmp_path / "edge.toml")


def test_one_pair_of_brackets_is_one_too_few(toml):
    toml.write_text(TOML.partition("[[streams]]\nname")[0].replace("[[streams]]", "[streams]"))
    with pytest.raises(ConfigError, match=r"\[streams\] is one table: write \[\[streams\]\]"):
        load(toml)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.toml: No such file"):
        load(tmp_path / "none.toml")


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:1884", ("127.0.0.1", 1884)),
        ("broker.example", ("broker.example", 1883)),
        ("[::1]:1884", ("::1", 1884)),
        ("[::1]", ("::1", 1883)),
    ],
)
def test_addresses(text, address):
    assert parse_address(text) == address


@pytest.mark.parametrize("text", ["", ":1883", "host:", "host:mqtt", "host:0", "host:70000"])
def test_what_is_no_address_is_refused(text):
    with pytest.raises(ConfigError, match="HOST:PORT"):
        parse_address(text)
