"""What a run's folder holds, and whose files they are: what gives way, what is kept, what agrees.

It knows nothing of how a run trains or measures.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

from backend.data import DATASETS
from backend.tasks import TASKS
from backend.train.config import config_from_json
from backend.train.state import METRICS, STATE, saved_steps
from broker.errors import CheckpointError, ConfigError

CONFIG, TESTED, FOLDS = "train.json", "test.json", "folds.json"
ADAPTED, PICTURE = "adapt.json", "adapt.png"
"""What `backend train adapt` leaves beside its checkpoint."""
_PICTURES = tuple(
    f"{kind}-{name}-{task}.png" for kind in ("confusion", "errors") for name in DATASETS for task in TASKS
)
FOLDS_FILES = (FOLDS, *_PICTURES)
"""What a run over folds writes into its folder, beside the folds' own."""
RUN_FILES = (
    CONFIG, STATE, METRICS, TESTED, "validation.json", "config.json", "model.safetensors", "MODEL_CARD.md",
    "curves.png", ADAPTED, PICTURE, *_PICTURES,
)  # fmt: skip
"""What one training, or adaptation, writes into its folder."""
_NAMED = 5  # of the settings that differ, so many are told with their values


def standing(out: Path, resume: bool, overwrite: bool, *, folds: bool = False, resumable: bool = True) -> list[Path]:
    """The files of the run in `out` that gives way to a new one; with `folds` those of every fold and seed.

    Nothing is touched here. What is not `resumable` is done in one go.

    Raises:
        ConfigError: there is a run, and it is to be neither resumed nor overwritten; or it is to be both; or a file
            that no run has written is in the way.
    """
    if resume and overwrite:
        raise ConfigError("--resume goes on with the run in OUT, --overwrite removes it; choose one")
    there = _run_files(out, folds=folds)
    if there and not (resume or overwrite):
        resuming = "go on with it by --resume, or give" if resumable else "give"
        raise ConfigError(
            f"{out}: holds a run ({there[0].relative_to(out)}); {resuming} another --out, or replace it by --overwrite"
        )
    written = _among(_folds_of(out), RUN_FILES) if folds else _among([out], set(RUN_FILES) - {TESTED})
    others = sorted(set(written) - set(there))
    if others and not resume:
        raise ConfigError(
            f"{out}: {others[0].relative_to(out)} is in the way, and no run's ({CONFIG} is missing beside it); "
            "move it, or give another --out"
        )
    return there


def make_room(out: Path, there: Iterable[Path]) -> None:
    """Make the folder, and remove the files of the run that was there."""
    for path in there:
        path.unlink(missing_ok=True)
    out.mkdir(parents=True, exist_ok=True)


def untouched(out: Path) -> str:
    """What a KeyboardInterrupt says where an old run was to be removed, and was not yet."""
    return f"the run in {out} is as it was; the same command removes it and begins anew"


def _run_files(out: Path, *, folds: bool) -> list[Path]:
    """What is a run's in `out`, and with `folds` in its folds' folders, if they hold a configuration or a state."""
    found = set(_among(filter(is_run, [out]), RUN_FILES))
    for home in [out, *numbered(out, "seed")] if folds else []:
        trained = [folder for folder in numbered(home, "fold") if is_run(folder)]
        found.update(_among(trained, RUN_FILES))
        if trained or (home / FOLDS).is_file():
            found.update(_among([home], FOLDS_FILES))
    return sorted(found)


def _folds_of(out: Path) -> list[Path]:
    return [folder for home in (out, *numbered(out, "seed")) for folder in numbered(home, "fold")]


def is_run(folder: Path) -> bool:
    """Whether a training has begun there."""
    return any((folder / name).is_file() for name in (CONFIG, STATE, ADAPTED))


def numbered(folder: Path, name: str) -> list[Path]:
    """The folders fold-0, fold-1 ... (or seed-1 ...) in a folder."""
    return sorted(path for path in folder.glob(f"{name}-*") if re.fullmatch(rf"{name}-\d+", path.name))


def _among(folders: Iterable[Path], names: Iterable[str]) -> Iterator[Path]:
    """Those of the files that are there."""
    names = tuple(names)
    return (folder / name for folder in folders for name in names if (folder / name).is_file())


def kept(out: Path, *, overwrite: bool = False) -> str:
    """What an interrupted run has on disk, and how it goes on, in words; `overwrite` if it was called with it."""
    folders = [out] if is_run(out) else _folds_of(out)
    if not any(map(is_run, folders)):
        return "no step was saved; run it again"
    steps = [saved for saved in map(saved_steps, folders) if saved]
    again = f"the same command with {'--resume in place of --overwrite' if overwrite else '--resume'}"
    if not steps:
        return f"{out} has no step yet; {again} begins with the first"
    what = f"{sum(steps)} step{'s' * (sum(steps) > 1)}"
    what += f" of {len(steps)} trainings are kept in {out}" if len(steps) > 1 else f" kept in {out}"
    return f"{what}; {again} goes on"


def agree(config: Any, out: Path, read: Callable[[Any], Any] = config_from_json) -> None:
    """Write the configuration into a folder that has none; otherwise compare the two, the other as `read` reads it.

    Raises:
        ConfigError: the run there has another configuration; the text names both values of what differs.
        CheckpointError: its configuration is damaged or missing.
    """
    path = out / CONFIG
    if not path.is_file():
        if there := [name for name in (STATE, TESTED) if (out / name).is_file()]:
            remedy = "train anew with --overwrite" if there[0] == STATE else f"remove {there[0]}"
            raise CheckpointError(f"{path}: missing beside {there[0]}; {remedy}")
        out.mkdir(parents=True, exist_ok=True)
        write_json(path, config.to_json())
    try:
        saved = read(read_json(path, "train anew with --overwrite"))
    except ConfigError as error:
        raise CheckpointError(f"{path}: {error}; train anew with --overwrite") from None
    if saved != config:
        changed = [k for k, v in vars(config).items() if vars(saved)[k] != v]
        told = [text for k in changed for text in _told(k, vars(saved)[k], vars(config)[k])]
        more = [f"{len(told) - _NAMED} more"] if len(told) > _NAMED else []
        raise ConfigError(
            f"--resume: {', '.join(changed)} differ from the run in {out} ({', '.join(told[:_NAMED] + more)}); resume "
            "with the same settings"
        )


def _told(name: str, there: Any, here: Any) -> Iterator[str]:
    """Of a setting, or of what in it differs, both values."""
    pair = [asdict(one) if is_dataclass(one) and not isinstance(one, type) else one for one in (there, here)]
    if any(isinstance(one, dict) for one in pair) and all(isinstance(one, dict | None) for one in pair):
        old, new = (one or {} for one in pair)
        for key in old | new:
            if old.get(key) != new.get(key):
                yield from _told(f"{name}.{key}", old.get(key), new.get(key))
    else:
        yield f"{name} is {pair[0]} there and {pair[1]} here"


def write_json(path: Path, value: Any) -> None:
    """The whole file or none: what is there counts as done."""
    part = path.with_name(f"{path.name}.part")
    part.write_text(json.dumps(value, indent=1) + "\n")
    part.replace(path)


def read_json(path: Path, remedy: str) -> Any:
    """What the file holds; raises CheckpointError, which names the remedy, where it is damaged."""
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise CheckpointError(f"{path}: damaged ({error}); {remedy}") from None
