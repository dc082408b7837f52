"""`backend train`: a whole recipe, or one stage of it. What each prints; the work is in modules of its own.

Heavy imports stand inside the commands, so that `backend --help` answers at once.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from broker.command import new_app
from broker.errors import IotlmError

if TYPE_CHECKING:
    from backend.train.config import TrainConfig

train = new_app("Train a checkpoint, or with --folds measure a recipe on people left out.", alone=True)

Recipe = Annotated[str | None, typer.Option(help="simulator, sp-sw-har, esc10, bundled ...")]
Data = Annotated[
    Path | None,
    typer.Option(help="folder that holds the datasets; simulated ones need none", exists=True, file_okay=False),
]
Out = Annotated[Path | None, typer.Option(help="folder of the run", file_okay=False)]
Llm = Annotated[
    str | None, typer.Option(help="folder or hub name of a language model: stage 2 comes after, and keeps it")
]
Resume = Annotated[bool, typer.Option("--resume", help="go on where the run in OUT stopped")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="remove the run in OUT and train anew")]
Settings = Annotated[list[str] | None, typer.Option("--set", help="field=value of the recipe")]


@contextmanager
def _one_speaks() -> Iterator[None]:
    """Of several processes that train together only the first says why it ends."""
    try:
        yield
    except (IotlmError, typer.Abort):
        if os.environ.get("RANK", "0") == "0":
            raise
        raise typer.Exit(1) from None


@train.callback(invoke_without_command=True)
def whole(
    context: typer.Context,
    recipe: Recipe = None,
    data: Data = None,
    out: Out = None,
    llm: Llm = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
    folds: Annotated[int | None, typer.Option(help="leave people out fold by fold and report the mean")] = None,
    seeds: Annotated[int, typer.Option(help="with --folds: train every fold with as many seeds", min=1)] = 1,
    settings: Settings = None,
) -> None:
    """Train a checkpoint: stage 1, and with --llm stage 2 after it. Or measure a recipe on people left out: --folds."""
    if context.invoked_subcommand is not None:
        return
    for name, value in (("--recipe", recipe), ("--out", out)):
        if value is None:  # not required of the stages, which stand below this command
            context.fail(f"Missing option '{name}'.")
    assert recipe is not None and out is not None
    from broker.errors import ConfigError

    if folds is None and seeds > 1:
        raise ConfigError(f"--seeds {seeds}: goes with --folds; one training has the seed that --set seed=... gives it")
    if folds is not None and llm is not None:
        raise ConfigError(f"--folds {folds}: measures stage 1; leave --llm out, or see `backend eval --tables`")
    more = [] if folds is None else [f"folds={folds}"]
    config = _configured(recipe, [*(settings or []), *more])
    if folds is not None:
        with _running(config, out, overwrite) as (runs, about):
            runs.train_folds(config, data, out, seeds=seeds, resume=resume, overwrite=overwrite, **about)
    elif llm is None:
        _train(config, data, out, resume, overwrite)
    else:
        from backend.model.llms import read_llm
        from backend.train.folder import agree, standing

        first = out / "pretrain"
        read_llm(llm)  # before hours of stage 1: whether it is there
        standing(out, resume, overwrite)
        if overwrite or not (first / "MODEL_CARD.md").is_file():
            _train(config, data, first, resume and (first / "train.json").is_file(), overwrite)
        else:
            agree(config, first)
        again = resume and (out / "train.json").is_file()
        _train(_second(first, llm, "soft", "lora", True, []), data, out, again, overwrite)


@train.command()
def pretrain(
    recipe: Annotated[str, typer.Option(help="simulator, sp-sw-har, esc10, bundled ...")],
    out: Annotated[Path, typer.Option(help="folder of the run", file_okay=False)],
    data: Data = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
    settings: Settings = None,
) -> None:
    """Stage 1 (Eq. 2 of the paper): encoders, adapter and heads, over all tasks of a recipe."""
    _train(_configured(recipe, settings or []), data, out, resume, overwrite)


@train.command()
def instruct(
    start: Annotated[Path, typer.Option(help="folder of a checkpoint of stage 1", exists=True, file_okay=False)],
    llm: Annotated[str, typer.Option(help="folder or hub name of a language model")],
    out: Annotated[Path, typer.Option(help="folder of the run", file_okay=False)],
    data: Data = None,
    conditioning: Annotated[
        str, typer.Option(help="soft: soft tokens in the input; gated: attention beside it")
    ] = "soft",
    tuning: Annotated[str, typer.Option(help="of the language model: frozen, lora or full")] = "lora",
    keep: Annotated[bool, typer.Option(help="keep the language model's weights in the checkpoint")] = False,
    resume: Resume = False,
    overwrite: Overwrite = False,
    settings: Settings = None,
) -> None:
    """Stage 2 (Eq. 3): a language model between adapter and heads, and answers in words to the tasks' prompts."""
    _train(_second(start, llm, conditioning, tuning, keep, settings or []), data, out, resume, overwrite)


def _configured(recipe: str, settings: list[str]) -> TrainConfig:
    from backend import recipes
    from backend.train.config import with_settings

    return with_settings(recipes.recipe(recipe), settings)


def _second(start: Path, llm: str, conditioning: str, tuning: str, keep: bool, settings: list[str]) -> TrainConfig:
    """The configuration of stage 2 upon a checkpoint, which says what it was trained with."""
    from backend import recipes
    from backend.checkpoint import load_checkpoint
    from backend.choices import build
    from backend.model.language import LanguageConfig, resolved
    from backend.train.config import config_from_json, with_settings
    from broker.errors import ConfigError

    record = load_checkpoint(start).record
    if "config" not in record:
        raise ConfigError(f"--start {start}: does not say what it was trained with; give the folder of a training")
    language = build(
        LanguageConfig,
        {"llm": llm, "conditioning": conditioning, "tuning": tuning, "kept": keep},
        lambda problem: ConfigError(f"language model: {problem}"),
    )
    first = config_from_json(record["config"])
    return with_settings(recipes.instructed(first, str(start), resolved(language)), settings)


def _train(config: TrainConfig, data: Path | None, out: Path, resume: bool, overwrite: bool) -> None:
    with _running(config, out, overwrite) as (runs, about):
        runs.train(config, data, out, resume=resume, overwrite=overwrite, **about)


@contextmanager
def _running(config: TrainConfig, out: Path, overwrite: bool) -> Iterator[tuple[Any, dict[str, Any]]]:
    """The module that trains, and the console and group to do it with; an interruption says what is kept."""
    from rich.console import Console

    from backend.train import run as runs
    from backend.train.folder import kept
    from backend.train.group import joined

    with _one_speaks(), joined(config) as group:
        try:
            yield runs, {"console": Console(quiet=not group.first), "group": group}
        except KeyboardInterrupt as stop:
            raise typer.Abort(str(stop) or kept(out, overwrite=overwrite)) from None


@train.command("language")
def language_model(
    out: Annotated[Path, typer.Option(help="folder of the run", file_okay=False)],
    size: Annotated[str, typer.Option(help="tiny, small or medium: 0.7, 2 or 5.3 million parameters")] = "medium",
    steps: Annotated[int | None, typer.Option(help="steps of 1 792 tokens", min=1)] = None,
    seed: Annotated[int, typer.Option(help="of weights and texts", min=0)] = 0,
    settings: Settings = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
) -> None:
    """Train the small language model and its tokenizer, on texts about sensors that are made on the way."""

    from rich.console import Console

    from backend.train.config import with_settings
    from backend.train.folder import kept
    from backend.train.language import SIZES, train_language
    from broker.errors import ConfigError

    if size not in SIZES:
        raise ConfigError(f"--size {size}: choose one of {', '.join(SIZES)}")
    named = [f"seed={seed}", *([] if steps is None else [f"steps={steps}"])]
    config = with_settings(SIZES[size], [*named, *(settings or [])])
    try:
        train_language(config, out, Console(), resume=resume, overwrite=overwrite)
    except KeyboardInterrupt as stop:
        raise typer.Abort(str(stop) or kept(out, overwrite=overwrite)) from None


@train.command("talk")
def talk_to(
    start: Annotated[Path, typer.Option(help="folder of a checkpoint, after stage 2", exists=True, file_okay=False)],
    out: Annotated[Path, typer.Option(help="folder of the run", file_okay=False)],
    data: Data = None,
    llm: Annotated[str | None, typer.Option(help="a language model in place of the checkpoint's own")] = None,
    settings: Settings = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
) -> None:
    """Stage 3: the language model learns to answer questions about what sensors show, from tokens and facts."""
    from rich.console import Console

    from backend.train.config import with_settings
    from backend.train.folder import kept
    from backend.train.talk import TalkConfig, talk

    config = with_settings(TalkConfig(str(start)), settings or [])
    try:
        talk(config, data, out, Console(), llm=llm, resume=resume, overwrite=overwrite)
    except KeyboardInterrupt as stop:
        raise typer.Abort(str(stop) or kept(out, overwrite=overwrite)) from None


@train.command()
def adapt(
    dataset: Annotated[
        Path, typer.Option(help="folder of LABEL/*.frames, by `edge record`", exists=True, file_okay=False)
    ],
    out: Annotated[Path, typer.Option(help="folder for the new checkpoint", file_okay=False)],
    checkpoint: Annotated[Path | None, typer.Option(help="folder of a checkpoint; default: the bundled")] = None,
    task: Annotated[str | None, typer.Option(help="task to teach, where the sensors tell several")] = None,
    data: Annotated[
        list[Path] | None,
        typer.Option(help="folder of sets that it learned from, to rehearse; may be repeated", exists=True),
    ] = None,
    words: Annotated[list[str] | None, typer.Option(help='LABEL="a few words", of a new label')] = None,
    overwrite: Overwrite = False,
) -> None:
    """Teach a trained checkpoint new labels, or a device that it has not seen, by a few recordings."""
    from rich.console import Console

    from backend.train.adapt import Order
    from backend.train.adapt import adapt as work
    from broker.errors import ConfigError

    said = {}
    for one in words or []:
        label, equals, text = one.partition("=")
        if not equals or not text.strip() or len(text) > 80:
            raise ConfigError(f"--words {one!r}: write LABEL=words, at most 80 letters")
        said[label] = text.strip()
    order = Order(dataset, out, checkpoint, task, tuple(data or ()), said, overwrite)
    try:
        work(order, Console())
    except KeyboardInterrupt:
        raise typer.Abort(f"nothing was written to {out}; the same command begins anew") from None
