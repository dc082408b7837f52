"""The house keeps its shape: one stack of imports, and a device that never loads the backend's libraries."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
STACK = ["broker", "edge", "backend", "export"]  # each may import itself and what stands before it


@pytest.mark.parametrize("folder", STACK)
def test_every_module_says_what_it_does_and_stays_small(folder):
    for path in sorted((ROOT / folder).rglob("*.py")):
        text = path.read_text()
        assert text.lstrip().startswith('"""'), f"{path.relative_to(ROOT)} has no docstring"
        assert len(text.splitlines()) <= 500, f"{path.relative_to(ROOT)} has over 500 lines"


def test_the_stack_of_imports_holds():
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports")], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("module", ["edge.cli", "edge.agent", "edge.simulator", "broker.cli"])
def test_a_device_loads_no_torch(module):
    heavy = "torch transformers pyarrow fastapi sqlalchemy matplotlib onnx sklearn scipy"
    code = f"import sys, {module}; print([m for m in {heavy.split()} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "program",
    ["from broker import main; main()", "from edge import main; main()", "from backend import main; main()", ""],
)
def test_ctrl_c_while_libraries_are_imported_is_one_line(tmp_path, program):
    """The first library of all, in place of which stands one that presses Ctrl-C."""
    (tmp_path / "typer.py").write_text("import os, signal, time\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(10)")
    command = [sys.executable, *(["-c", program] if program else ["-m", "export"])]
    paths = os.pathsep.join([str(tmp_path), str(ROOT)])
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | {"PYTHONPATH": paths}, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "interrupted\n")


@pytest.mark.parametrize(
    ("absent", "words"), [("pyarrow", "--help"), ("torch", "info"), ("uvicorn", "serve"), ("sqlalchemy", "serve")]
)
def test_a_device_that_is_asked_to_be_a_backend_says_what_to_install(absent, words, tmp_path):
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); sys.modules[{absent!r}] = None; import backend"
    command = [sys.executable, "-c", f"{code}; backend.main()", words]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"error: {absent} is not installed; pip install '.[backend]' in the clone\n"


def test_a_module_of_ours_that_is_missing_is_a_bug_and_no_package_to_install():
    code = "import sys; sys.modules['backend.data.command'] = None; import backend; backend.main()"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "Traceback" in done.stderr and "pip install" not in done.stderr


def test_console_scripts_begin_where_ctrl_c_is_answered():
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert scripts == {name: f"{name}:main" for name in ("broker", "edge", "backend")}
