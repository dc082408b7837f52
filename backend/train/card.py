"""The card that comes with a checkpoint: what it is, what it learned from, how right it is and where it is not.

Everything in it is read from the checkpoint's record and its validation reports; nothing is measured here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from backend.checkpoint import Checkpoint
from backend.tasks import TASKS

LIMITS = """\
- Activity was learned from scripted sequences of 10 to 20 s by adults at one site; free living holds much that has no
  label here, and every window gets one of the labels.
- The phone lay in a front trouser pocket, the watch on a wrist; other placements were not seen.
- Windows with two labels are decided for the longer one, and are where most errors are.
- Sounds are ten kinds from clips of freesound; speech, music and sirens were not learned as `none`.
- Simulated people and rooms are easier than real ones: figures on `synthetic` show that the demonstration works, no
  more.
- Age, gait and hand of the people were not balanced; look at the worst person beside the mean."""


def model_card(checkpoint: Checkpoint, reports: Mapping[str, dict[str, Any]]) -> str:
    """The card as Markdown."""
    record, model = checkpoint.record, checkpoint.model
    config = record["config"]
    lines = [
        f"# Model card: {config['recipe']} {checkpoint.digest[:12]}",
        "",
        f"{record['parameters']:,} parameters; modalities {', '.join(model.config.modalities)}; "
        f"fusion `{model.config.fusion}`; trained in {record['seconds'] / 60:.0f} min on one CPU core by "
        f"`backend train --recipe {config['recipe']}` ({config['steps']} steps, seed {config['seed']}).",
        "",
        "| task | labels | temperature | threshold |",
        "|---|---|---|---|",
    ]
    for task in model.config.tasks:
        labels = ", ".join(TASKS[task].labels)
        lines.append(f"| {task} | {labels} | {checkpoint.temperatures[task]:g} | {checkpoint.thresholds[task]:g} |")
    lines += ["", "Encoders: " + "; ".join(f"{m} `{d[:12]}`" for m, d in checkpoint.encoders.items()), ""]
    lines += ["## Data and split", "", "| set | licence | learned from | held out for calibration and figures |"]
    lines += ["|---|---|---|---|"]
    for name, people in record["people"].items():
        held = ", ".join(people["validation"]) if len(people["validation"]) <= 6 else f"{len(people['validation'])}"
        if record["calibrated_on"][name] == "train":
            held = "nobody: calibrated on those it learned from, so confidences are too high"
        lines.append(f"| {name} | {record['licences'][name]} | {len(people['train'])} | {held} |")
    lines += ["", "Splits keep a person (for sounds: a source recording) on one side.", ""]
    return "\n".join([*lines, *_figures(reports), "## Limits", "", LIMITS, ""])


def _figures(reports: Mapping[str, dict[str, Any]]) -> list[str]:
    if not reports:
        return ["## Figures", "", "None: nobody was held out of this training.", ""]
    lines = [
        "## Figures on people held out of this training",
        "",
        "95 % intervals by a bootstrap over people; few people were held out, so they are wide.",
        "",
        "| set | task | n | accuracy | macro-F1 | ECE | majority | shuffled sensors |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, report in reports.items():
        for one in (report, *report.get("tasks", {}).values()):
            limits = one["interval"]
            lines.append(
                f"| {name} | {one['task']} | {one['n']} | {_with(one['accuracy'], limits['accuracy'])} "
                f"| {_with(one['macro_f1'], limits['macro_f1'])} | {one['ece']:.3f} "
                f"| {one['majority']['accuracy']:.3f} | {one['shuffled']['accuracy']:.3f} |"
            )
    return [*lines, ""]


def _with(value: float, limits: list[float] | None) -> str:
    return f"{value:.3f} [{limits[0]:.3f}, {limits[1]:.3f}]" if limits else f"{value:.3f} (one person: no interval)"
