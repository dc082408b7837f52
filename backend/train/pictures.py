"""Pictures of a run: the curves of its losses and the confusion matrix of a task, as PNG files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np


def _axes(width: float, height: float) -> tuple[Any, Any]:
    # Figures without pyplot: no window system is touched and nothing global is left behind.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots()


def draw_curves(metrics: Path, picture: Path) -> None:
    """Losses over steps from a metrics.jsonl, each smoothed over a fiftieth of the run."""
    lines = [json.loads(line) for line in metrics.read_text().splitlines()]
    names = sorted({name for line in lines for name in line} - {"step", "lr", "grad_norm", "loss"})
    figure, axes = _axes(10, max(4.5, 0.22 * len(names)))
    for name in names:
        points = [(line["step"], line[name]) for line in lines if name in line]
        if not points:
            continue
        steps, values = np.array(points).T
        width = max(1, len(values) // 50)
        smooth = np.convolve(values, np.ones(width) / width, "valid")
        axes.plot(steps[width - 1 :], smooth, "o--" if name.startswith("validation") else "-", label=name)
    axes.set(xlabel="step", ylabel="loss", yscale="log")
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small", loc="upper left", bbox_to_anchor=(1, 1))
    figure.savefig(picture, dpi=120)


def draw_report(report: dict[str, Any], folder: Path, dataset: str) -> None:
    """A picture of one task's report in a folder: a confusion matrix, or how far estimates are off."""
    if "confusion" in report:
        draw_confusion(report, folder / f"confusion-{dataset}-{report['task']}.png")
    elif "percentiles" in report:
        draw_errors(report, folder / f"errors-{dataset}-{report['task']}.png")


def draw_errors(report: dict[str, Any], picture: Path) -> None:
    """The share of estimates that are off by no more than a distance, beside the mean of all, and of a constant."""
    figure, axes = _axes(6, 4)
    axes.plot(report["percentiles"], np.linspace(0, 100, len(report["percentiles"])))
    metric = report["metric"]
    axes.axvline(report[metric], linestyle="--", label=f"mean {report[metric]:.2f}")
    axes.axvline(report["constant"][metric], linestyle=":", color="grey", label="always the mean of the truth")
    axes.set(xlabel=metric.replace("_", " in "), ylabel="% of estimates", title=f"{report['task']}, n = {report['n']}")
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    figure.savefig(picture, dpi=120)


def draw_shots(report: dict[str, Any], picture: Path) -> None:
    """How well labels are told by the windows that they were taught by, and what was known before, of `adapt.json`."""
    figure, axes = _axes(6, 4)
    curve = report["curve"]
    windows = [row["windows"] for row in curve]
    axes.errorbar(
        windows, [row["taught"] for row in curve], [row["spread"] for row in curve], marker="o", capsize=3,
        label="taught: recall, recordings left out",
    )  # fmt: skip
    if known := [row for row in curve if row["known"] is not None]:
        axes.plot([row["windows"] for row in known], [row["known"] for row in known], marker="s", label="known: after")
    if held := report["known"].values():
        n = sum(one["n"] for one in held)
        before = sum(one["before"]["accuracy"] * one["n"] for one in held) / n
        axes.axhline(before, linestyle="--", color="grey", label="known: before")
    axes.set(xlabel="windows of each label", ylabel="share that is right", ylim=(0, 1.02))
    axes.set_title(f"{report['task']}: {', '.join(report['labels'])}" if curve else "no label has two recordings")
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    figure.savefig(picture, dpi=120)


def draw_confusion(report: dict[str, Any], picture: Path) -> None:
    """The confusion matrix of a report of `evaluate.measure`, in shares of the true label."""
    table = np.array(report["confusion"], float)
    labels = report["labels"]
    share = table / np.maximum(table.sum(1, keepdims=True), 1)
    figure, axes = _axes(1.5 + 0.75 * len(labels), 1.2 + 0.6 * len(labels))
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(len(labels)), labels, rotation=40, ha="right")
    axes.set_yticks(range(len(labels)), labels)
    axes.set(xlabel="decided", ylabel="true")
    for y, row in enumerate(share):
        for x, value in enumerate(row):
            axes.text(x, y, f"{100 * value:.0f}", ha="center", va="center", color="white" if value > 0.5 else "black")
    axes.set_title(f"{report['task']}: accuracy {report['accuracy']:.3f}, n = {report['n']} (% of true)")
    figure.savefig(picture, dpi=120)
