"""The documentation is true: every file is in the README's tree, every command and flag that is written down exists."""

import itertools
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
from pydantic import BaseModel

from backend.model.encoders import build_encoder
from backend.serve.config import ServeConfig
from backend.train.tables.page import page
from benchmarks.senses import table
from edge.config import EdgeConfig

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
DOCUMENTS = sorted(p for p in ROOT.rglob("*.md") if ".venv" not in p.parts and "runs" not in p.parts)
COMMANDS = {"broker": "broker.cli", "edge": "edge.cli", "backend": "backend.cli"}


def tree() -> set[str]:
    """Paths in the README's tree of files."""
    block = README.split("## Where things are")[1].split("```text\n")[1].split("```")[0]
    found, folders = set(), []
    for line in block.splitlines():
        depth, words = (len(line) - len(line.lstrip())) // 2, line.split()
        folders = folders[:depth]
        if words[0].endswith("/"):
            folders.append(words[0])
        else:  # files that belong together share a line
            names = itertools.takewhile(lambda word: word.endswith((".py", ".toml")), words)
            found |= {"".join(folders) + name for name in names}
    return found


def test_the_tree_names_every_file_and_no_other():
    there = {
        str(path.relative_to(ROOT))
        for top in ("broker", "edge", "backend", "export")
        for path in (ROOT / top).rglob("*.py")
    }
    trivial = {
        f"{top}/__init__.py" for top in ("broker", "edge", "backend", "export", "edge/simulator", "backend/data/paper")
    }
    assert tree() == there - trivial


def written_commands() -> list[tuple[str, str, str]]:
    """(document, command, flags) of every line in the documents that calls one of ours."""
    found = set()
    for path in DOCUMENTS:
        for line in path.read_text().splitlines():
            match = re.match(r"(?: {4}|`)?(broker|edge|backend) ((?:data |train )?[a-z]+)\b([^#`]*)", line)
            if match and (line.startswith("    ") or line.startswith("`")):
                flags = " ".join(re.findall(r"(?<!\S)--[a-z-]+", match[3]))
                found.add((path.name, f"{match[1]} {match[2]}", flags))
    return sorted(found)


@pytest.mark.parametrize("program", COMMANDS)
def test_every_command_that_is_written_down_exists_with_its_flags(program):
    helps: dict[str, str] = {}
    for document, command, flags in written_commands():
        name, _, verb = command.partition(" ")
        if name != program:
            continue
        if verb not in helps:
            line = [sys.executable, "-m", COMMANDS[name], *verb.split(), "--help"]
            done = subprocess.run(line, capture_output=True, text=True, check=False, env={"COLUMNS": "200", "PATH": ""})
            assert done.returncode == 0, f"{document}: `{command}`: {done.stderr}"
            helps[verb] = done.stdout
        for flag in flags.split():
            assert re.search(rf"{flag}\b", helps[verb]), f"{document}: `{command}` has no {flag}"
    assert helps


def test_links_between_documents_lead_somewhere():
    for path in DOCUMENTS:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", path.read_text()):
            assert (path.parent / target).exists(), f"{path.name} links to {target}, which does not exist"


def settings_of(kind: type[BaseModel]) -> set[str]:
    """Names of all settings, those of a section as section.name."""
    names = set()
    for name, about in kind.model_fields.items():
        inner = next((t for t in (about.annotation, *get_args(about.annotation)) if is_section(t)), None)
        names |= {f"{name}.{each}" for each in settings_of(inner)} if inner else {name}
    return names


def is_section(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


@pytest.mark.parametrize(
    ("kind", "document"), [(EdgeConfig, "edge/README.md"), (ServeConfig, "backend/serve/README.md")]
)
def test_every_setting_is_written_down_and_no_other(kind: type[BaseModel], document: str):
    table = (ROOT / document).read_text().split("## Settings")[1].split("\n## ")[0]
    written = set()
    for line in table.splitlines():
        first = line.split("|")[1] if line.startswith("|") else ""
        section, colon, rest = first.partition(":")
        prefix = section.strip(" `") + "." if colon else ""
        written |= {prefix + name for name in re.findall(r"`([a-z0-9_]+)`", rest if colon else first)}
    assert written == settings_of(kind)


def test_the_table_of_senses_is_the_measured_one():
    report = json.loads((ROOT / "benchmarks" / "results" / "senses.json").read_text())
    assert "\n".join(table(report)) in (ROOT / "README.md").read_text()
    for modality, measured in report["senses"].items():
        encoder = build_encoder(modality, {"tokens": 4, "dim": 128})
        assert sum(p.numel() for p in encoder.parameters()) == measured["parameters"], f"{modality} was measured before"


def test_the_page_of_the_papers_tables_is_that_of_its_figures():
    report = json.loads((ROOT / "benchmarks" / "results" / "tables.json").read_text())
    pictures = [path.name for path in (ROOT / "benchmarks").glob("tables-*.png")]
    said = (ROOT / "benchmarks" / "tables.md").read_text()
    made = page(report, pictures)
    pictured = re.compile(r"^!\[.*\n", re.MULTILINE)
    assert pictured.sub("", said) == pictured.sub("", made)
    assert set(re.findall(r"\((tables-.*?\.png)\)", said)) == set(pictures)
