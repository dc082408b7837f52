"""`backend info`: what a checkpoint is, for a person: what it decides, from what, and what it learned from."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from backend.checkpoint import Checkpoint
from backend.tasks import MASKS, Classification, Regression

_MANY = 50  # points that nobody wants to read one by one


def show(checkpoint: Checkpoint, console: Console) -> None:
    """Print the checkpoint: identity, tasks with their labels and thresholds, and data with their licences.

    A threshold is the confidence from which on a decision may begin an event.
    """
    record, model = checkpoint.record, checkpoint.model
    about = {
        "digest": checkpoint.digest,
        "recipe": record.get("config", {}).get("recipe", "not recorded"),
        "parameters": f"{sum(p.numel() for p in model.parameters()):,}",
        **_language(checkpoint),
        **{f"encoder of {modality}": digest for modality, digest in checkpoint.encoders.items()},
    }
    for name, value in about.items():
        console.print(f"{name:<16}  {value}", soft_wrap=True, highlight=False)
    console.print(_tasks(checkpoint))
    console.print(_data(checkpoint))


def _language(checkpoint: Checkpoint) -> dict[str, str]:
    language = checkpoint.model.language
    if language is None:
        return {}
    of, size = language.config, sum(p.numel() for p in language.llm.parameters())
    return {"language model": f"{size:,} parameters, {of.conditioning}, {'kept' if of.kept else f'from {of.llm}'}"}


def _tasks(checkpoint: Checkpoint) -> Table:
    table = Table(title="What it decides", title_justify="left", show_lines=True)
    table.add_column("task", no_wrap=True)
    for column in ("from", "asked where there is", "threshold", "answers"):
        table.add_column(column, overflow="fold")  # not cut: names are to be written as they are
    known = set(checkpoint.model.config.modalities)
    for name, task in checkpoint.model.tasks.items():
        senses = ", ".join(sorted(task.modalities & known))
        needs = ", ".join(str(need) for need in task.needs if need.modality in known) or "any of these"
        if isinstance(task, Classification):
            threshold = f"{checkpoint.thresholds.get(name, task.rule.on):g}"
            table.add_row(name, senses, needs, threshold, ", ".join(task.labels))
        else:
            assert isinstance(task, Regression)
            points = ", ".join(task.points) if len(task.points) <= _MANY else f"{len(task.points)} points"
            table.add_row(name, senses, needs, "", f"{points}: {', '.join(task.axes)} in {task.unit}")
    for name in checkpoint.model.config.masks:
        mask = MASKS[name]
        table.add_row(name, mask.modality, "any of these", "", f"a mask, {mask.finer} times as fine as the frame")
    return table


def _data(checkpoint: Checkpoint) -> Table:
    """Of whom it learned: people, or what counts as one in a set."""
    table = Table(title="What it learned from", title_justify="left")
    for column in ("dataset", "licence", "learned from", "held out"):
        table.add_column(column, overflow="fold")
    licences = checkpoint.record.get("licences", {})
    for name, roles in checkpoint.record.get("people", {}).items():
        held = len(roles["validation"]) + len(roles["test"])
        table.add_row(name, licences.get(name, "not recorded"), str(len(roles["train"])), str(held))
    if not table.rows:
        table.add_row("not recorded")
    return table
