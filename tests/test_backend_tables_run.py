"""`backend eval --tables`, small: every cell once, resumed where it stopped, and a page that says what was measured."""

import io
import json
import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from rich.console import Console
from typer.testing import CliRunner

from backend.checkpoint import load_checkpoint
from backend.cli import app
from backend.train.state import saved_steps
from backend.train.tables import cells, rows
from backend.train.tables.cells import RESULT
from backend.train.tables.command import PAGE, REPORT, measure_tables, parts
from backend.train.tables.declared import (
    ENCODERS,
    IOT_LM,
    MULTI,
    MULTI_MT,
    STAGE_1,
    TABLES,
    TAKEN_OUT,
    UNIMODAL,
    declare,
)
from backend.train.tables.plan import minutes
from backend.train.tables.rows import FULL, SMOKE
from broker.errors import ConfigError
from tests.small_llms import write_llm

QUIET = Console(file=io.StringIO())


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """All tables of the simulator at the smallest size."""
    out = tmp_path_factory.mktemp("tables")
    llms = [Path(write_llm(out / name, seed=n)) for n, name in enumerate(("tiny", "small"))]
    return out, measure_tables(out, None, QUIET, smoke=True, llms=llms, publish=out / "kept")


def test_every_table_has_a_figure_for_every_task(done):
    _, report = done
    assert report["cells"]["done"] == report["cells"]["of"] and not report["not_done"]
    for table in ("1", "2", "3"):
        for row, columns in report["tables"][table]["simulator"].items():
            assert len(columns) == 4, (table, row)
            assert all(one["people"] == 2 for one in columns.values())
    assert {"always the same answer", "shuffled sensors"} <= report["tables"]["1"]["simulator"].keys()
    assert len(report["tables"]["4"]["simulator"][f"{MULTI_MT}, 0 shots"]) == 2
    sizes = report["tables"]["5"]["simulator"]
    assert {"tiny", "small", f"tiny{TAKEN_OUT}", f"small{TAKEN_OUT}"} == sizes.keys()
    for name, one in sizes[f"small{TAKEN_OUT}"].items():
        assert one["reference"]["row"] == "small" and one["parameters"] < sizes["small"][name]["parameters"]
    first = report["tables"]["1"]["simulator"][IOT_LM]["gaze-estimation@synthetic_touch"]
    assert first["learned"] < first["parameters"]
    assert report["tables"]["1"]["simulator"][MULTI]["gaze-estimation@synthetic_touch"]["reference"]["row"] == IOT_LM
    disturbed = report["disturbances"]["simulator"][MULTI_MT]
    assert {"none", "noise 0.3", "context 0 s", "main sense 1 s late", "without imu"} <= disturbed.keys()
    assert report["gate"]["simulator"][MULTI_MT]["gaze-estimation@synthetic_touch"]["pairs"] == 8
    assert report["tables"]["1"]["simulator"][UNIMODAL]["gaze-estimation@synthetic_touch"]["paper"] == 2.26
    assert {"before", "after"} <= report["calibration"]["simulator"][MULTI]["touch-contact@synthetic_touch"].keys()


def test_the_page_holds_every_row_and_the_papers_numbers_beside(done):
    out, report = done
    text = (out / PAGE).read_text()
    for row in report["tables"]["1"]["simulator"]:
        assert f"| {row} |" in text
    assert "| IoT-LM | 0.95 | 11.5 | 99.6 | 3.24 | 94.6 | 93.8 | 89.2 | 16.3 |" in text
    assert "nothing here claims them" in text
    for line in text.splitlines():
        if line.startswith("!["):
            assert (out / line.partition("](")[2].rstrip(")")).stat().st_size < 150_000
    assert json.loads((out / REPORT).read_text()) == json.loads(json.dumps(report))


def test_what_is_worth_keeping_is_copied_without_cells(done):
    out, _ = done
    kept = {path.name for path in (out / "kept").iterdir()}
    assert {"results", PAGE, "tables-1-simulator.png"} <= kept and "cells" not in kept
    assert (out / "kept" / "results" / REPORT).read_text() == (out / REPORT).read_text()


def test_what_is_done_is_not_done_again_and_what_is_lost_is(done, monkeypatch):
    out, report = done
    asked = []
    monkeypatch.setitem(cells.KINDS, "train", lambda cell, work, tell: asked.append(cell.title) or {"columns": {}})
    llms = [out / "tiny", out / "small"]
    again = measure_tables(out, None, QUIET, smoke=True, llms=llms)
    assert not asked and again["tables"] == report["tables"]
    lost = next(out.glob(f"cells/3/*/simulator/*/0/{RESULT}"))
    kept = lost.read_text()
    lost.unlink()
    measure_tables(out, None, QUIET, smoke=True, only="3")
    assert len(asked) == 1 and asked[0].startswith("table 3, ")
    lost.write_text(kept)


def test_an_interrupted_training_goes_on_to_the_same_result(done, tmp_path):
    out, _ = done
    whole = declare(SMOKE, ["simulator"], ["1"], [])
    cell = next(c for c in whole.cells.values() if c.row == UNIMODAL and c.config.model.modalities == ("gaze",))
    work = cells.Work(tmp_path, cells.People(out / "data", SMOKE.amount, None))
    shutil.copytree(out / "cells" / "encoders", tmp_path / "cells" / "encoders")
    with pytest.raises(KeyboardInterrupt):
        cells.do(cell, work, lambda line: os.kill(os.getpid(), signal.SIGINT))
    assert cell.result(tmp_path) is None and saved_steps(cell.folder(tmp_path)) == 1
    steps = []
    found = cells.do(cell, work, lambda line: steps.append(line["step"]))
    assert steps == [2] and found["columns"] == cell.result(out)["columns"]


def test_stage_two_goes_on_to_the_same_result(done, tmp_path):
    """It begins with another cell's weights and with adapters of its own, which a resumed one has to find again."""
    out, _ = done
    whole = declare(replace(SMOKE, second=2), ["simulator"], ["1"], [out / "tiny"])
    cell = next(c for c in whole.cells.values() if c.row == IOT_LM)
    results = []
    for stops in (False, True):
        work = cells.Work(tmp_path / str(stops), cells.People(out / "data", SMOKE.amount, None))
        for folder in ("encoders", "1/stage-1"):
            shutil.copytree(out / "cells" / folder, work.out / "cells" / folder)
        if stops:
            with pytest.raises(KeyboardInterrupt):
                cells.do(cell, work, lambda line: os.kill(os.getpid(), signal.SIGINT))
            assert saved_steps(cell.folder(work.out)) == 1
        results.append(cells.do(cell, work, lambda line: None)["columns"])
    assert results[0] == results[1]


def test_two_processes_measure_what_one_does(done, tmp_path):
    _, report = done
    again = measure_tables(tmp_path / "out", None, QUIET, smoke=True, only="4", jobs=2)
    assert not again["not_done"]
    for row, columns in again["tables"]["4"]["simulator"].items():
        for name, one in columns.items():
            assert one["mean"] == report["tables"]["4"]["simulator"][row][name]["mean"], (row, name)


def test_all_rows_of_a_column_are_measured_on_the_same_windows(done):
    out, _ = done
    whole = declare(SMOKE, ["simulator"], ["1"], [out / "tiny"])
    windows = {}
    for place in whole.places:
        found = place.cell.result(out)["columns"][place.column.name]
        windows.setdefault((place.column.name, place.cell.seed), set()).add(found["windows"])
    assert windows and all(len(counts) == 1 for counts in windows.values())


def test_a_language_model_taken_out_answers_as_its_checkpoint_without_it(done):
    """And otherwise than with it: the row would say nothing where nothing were taken out."""
    out, _ = done
    whole = declare(SMOKE, ["simulator"], ["1", "5"], [out / "tiny"])
    work = cells.Work(out, cells.People(out / "data", SMOKE.amount, None))
    cell = next(c for c in whole.cells.values() if c.kind == "silence")
    with_it, without = cells._model_of(cell.base, work), load_checkpoint(cell.base.folder(out), "none").model
    assert with_it.config.language and not without.config.language
    column = cell.columns[0]
    test = cells._heard(cells._roles(cell.base, work, column.dataset).test, cell.base.config, [column])
    one, other = (cells.answers(model, test, [column])[column.name].said for model in (with_it, without))
    assert not np.array_equal(one, other)
    again = cells.measured(cell.base, work, without)
    assert again[column.name]["people"] == cell.result(out)["columns"][column.name]["people"]


def test_calibration_is_of_validation_people_and_shots_of_people_to_learn_from(done, monkeypatch):
    out, _ = done
    whole = declare(SMOKE, ["simulator"], ["1", "4"], [])
    work = cells.Work(out, cells.People(out / "data", SMOKE.amount, None))
    cell = next(c for c in whole.cells.values() if c.row == UNIMODAL)
    (column,) = cell.columns
    of = cells._roles(cell, work, column.dataset)
    test, validation, train = ({one.person for one in getattr(of, r)} for r in ("test", "validation", "train"))
    assert test and validation and train and not (test & train or test & validation or train & validation)
    seen = []
    monkeypatch.setattr(cells, "calibrated", lambda column, said: seen.append({*said.person}) or cells.Calibration())
    told = cells.measured(cell, work, cells._model_of(cell, work))[column.name]
    assert seen == [validation] and told["calibrated_on"] == "validation" and told["people"].keys() == test
    monkeypatch.setattr(cells, "learn", lambda config, sequences, *_: seen.append(sequences) or (None, 0.0))
    monkeypatch.setattr(cells, "answers", lambda *_: {})
    few = next(c for c in whole.cells.values() if c.kind == "few" and c.options["shots"] == 5)
    cells.few(few, work, lambda line: None)
    assert {one.person for one in seen[-1][few.columns[0].dataset]} <= train


def test_two_language_models_of_one_name_are_refused(tmp_path):
    llms = [Path(write_llm(tmp_path / where / "model")) for where in ("a", "b")]
    with pytest.raises(ConfigError, match="have one name"):
        declare(SMOKE, ["simulator"], ["5"], llms)


def test_two_at_once_in_one_folder_are_refused(tmp_path):
    with FileLock(tmp_path / "lock"), pytest.raises(ConfigError, match="is at work there"):
        measure_tables(tmp_path, None, QUIET, smoke=True, only="1")


def test_rows_that_tables_share_are_one_cell():
    whole = declare(FULL, ["simulator"], ["1", "2", "3"], [])
    at = {(p.table, p.row, p.column.name, p.cell.seed): p.cell for p in whole.places}
    for (table, row, column, seed), cell in at.items():
        if (table, row) == ("2", "single"):
            assert cell is at["1", UNIMODAL, column, seed]
        if (table, row) in (("2", "all"), ("3", "single")):
            assert cell is at["1", MULTI, column, seed]
        if (table, row) == ("3", "all"):
            assert cell.row == STAGE_1
    assert len({cell.digest for cell in at.values()}) == len({id(cell) for cell in at.values()})


def test_the_multitask_row_has_the_steps_of_both_stages():
    whole = declare(FULL, ["simulator"], ["1", "3"], [])
    cell = next(c for c in whole.cells.values() if c.row == MULTI_MT)
    first = next(c for c in whole.cells.values() if c.row == STAGE_1)
    assert cell.config.steps == first.config.steps + 3 * FULL.second


def test_a_cell_of_other_settings_has_another_digest():
    whole = declare(FULL, ["simulator"], ["1"], [])
    longer = declare(replace(FULL, steps=FULL.steps + 1), ["simulator"], ["1"], [])
    trained = {c.digest for c in whole.cells.values() if c.kind == "train" and c.row != ENCODERS}
    assert trained and not trained & longer.cells.keys()
    kept = {c.digest for c in whole.cells.values() if c.kind in ("prepare", "encode") or c.row == ENCODERS}
    assert kept and kept <= longer.cells.keys()


def test_everything_fits_three_hours_and_a_quarter_of_two_cores(tmp_path):
    write_llm(tmp_path / "small")
    whole = declare(FULL, ["simulator", "real"], TABLES, [tmp_path / "small"])
    assert sum(map(minutes, whole.cells.values())) < 390


def test_a_set_that_is_not_at_hand_is_told_and_the_rest_measured(data_dir, tmp_path):
    some = tmp_path / "some"
    some.mkdir()
    (some / "eyemu_gaze").symlink_to(data_dir / "eyemu_gaze")
    report = measure_tables(tmp_path / "out", some, QUIET, smoke=True, only="1,4", worlds="real")
    assert [one["set"] for one in report["absent"]] == ["capfingerid"]
    assert report["tables"]["1"]["real"][MULTI_MT].keys() == {"gaze-estimation@eyemu_gaze"}
    assert report["tables"]["4"]["real"][f"{MULTI_MT}, 0 shots"].keys() == {"gaze-estimation@eyemu_gaze"}
    assert "- capfingerid: " in (tmp_path / "out" / PAGE).read_text() and not report["not_done"]


def test_a_folder_without_any_set_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="holds none of eyemu_gaze, capfingerid"):
        measure_tables(tmp_path / "out", tmp_path, QUIET, smoke=True, worlds="real")


def test_a_decision_sees_no_row_older_than_a_crop_has_shown():
    whole = declare(FULL, ["simulator", "real"], TABLES, [])
    configs = [cell.config for cell in whole.cells.values() if cell.config is not None]
    assert configs and all(config.model.slots < config.slots for config in configs)


def test_cells_come_after_what_they_need():
    whole = declare(FULL, ["simulator", "real"], TABLES, [])
    place = {digest: n for n, digest in enumerate(whole.cells)}
    for digest, cell in whole.cells.items():
        needed = whole.needs(cell)
        assert all(place[one.digest] < place[digest] for one in needed)
        windows = "encode" if cell.seen_by else "prepare"
        assert cell.kind == "prepare" or any(one.kind == windows for one in needed)


def test_folders_of_cells_are_their_own():
    whole = declare(FULL, ["simulator", "real"], TABLES, [])
    folders = [cell.folder(Path("out")) for cell in whole.cells.values()]
    assert len(set(folders)) == len(folders)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--tables"], "--out"),
        (["--tables", "--out", "x", "--only", "9"], "choose among 1, 2, 3"),
        (["--tables", "--out", "x", "--worlds", "moon"], "choose among simulator, real"),
        (["--tables", "--out", "x", "--worlds", "real"], "--data"),
        (["--tables", "--out", "x", "--dataset", "esc10"], "--dataset: measures a checkpoint"),
        (["--out", "x"], "--out: goes with --tables"),
        ([], "--dataset and --root"),
    ],
)
def test_what_does_not_go_together_is_told_in_one_line(flags, said):
    done = CliRunner().invoke(app, ["eval", *flags])
    assert isinstance(done.exception, ConfigError) and said in str(done.exception)
    assert "\n" not in str(done.exception)


def test_a_plan_does_nothing(tmp_path):
    heard = io.StringIO()
    measure_tables(tmp_path / "a", None, Console(file=heard, width=120), only="1", planned=True)
    assert "core-minutes left" in heard.getvalue() and not (tmp_path / "a").exists()


def test_lists_keep_the_order_of_what_there_is():
    assert parts("--only", "D,1", TABLES) == ["1", "D"]
    with pytest.raises(ConfigError, match="names nothing"):
        parts("--only", " , ", TABLES)
    assert rows.FOLDS == 3
