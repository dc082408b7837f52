"""The card that comes with a checkpoint: what it is, what it learned from, how right it is and where it is not.

Everything in it is read from the checkpoint's record and its validation reports; nothing is measured here.
"""

from __future__ import annotations

from collections.abc import Mapping
from textwrap import fill
from typing import Any

from backend.checkpoint import Checkpoint
from backend.tasks import Classification
from backend.train.examine import figures

_SIMULATED = (
    "Simulated people, rooms, streets and hands are easier than real ones: figures on `synthetic` and its kin show "
    "that the demonstration works, no more. Whatever was learned from them alone (of the bundled model gaze, pose, "
    "depth, joints, gestures, touch, all senses but motion and sound) has met no real sensor.",
)
LIMITS: dict[str, tuple[str, ...]] = {
    "sp_sw_har": (
        "Activity was learned from scripted sequences of 10 to 20 s by adults at one site; free living holds much that "
        "has no label here, and every window gets one of the labels.",
        "The phone lay in a front trouser pocket, the watch on a wrist; other placements were not seen.",
        "Windows with two labels are decided for the longer one, and are where most errors are.",
        "Age, gait and hand of the people were not balanced; look at the worst person beside the mean.",
    ),
    "esc10": ("Sounds are ten kinds from clips of freesound; speech, music and sirens were not learned as `none`.",),
    **dict.fromkeys(("synthetic", "synthetic_drive", "synthetic_touch"), _SIMULATED),
    "utd_mhad": ("Actions were done on request, one a clip, by eight people who faced one depth camera.",),
    "eyemu_gaze": (
        "Gaze was told from features less their mean over a whole round, which no device here subtracts: figures are "
        "offline ones.",
    ),
    "gazegraph_desktop": (
        "Eyes were followed by one kind of glasses, 5 minutes for each of six activities at a desk.",
    ),
    "capfingerid": ("Every image has one finger on one phone's panel; none shows no touch, or several.",),
    "capcontact": ("Contact was learned on one panel, as a camera beneath it saw it: displaced near the edges.",),
    "thermal_d6t": ("Postures were learned in one bedroom, before one array of 4 x 4 pixels.",),
    "htad": ("Who did the chores is not known: people may be on both sides of a split.",),
    "room_occupancy": ("People were counted in one room, whose sensors stayed where they were.",),
    "rgbd_7scenes": ("Depth of a room was learned from one sequence of one camera.",),
    "kitti_samples": ("Depth of a street was learned from single moments of one car's drives.",),
}
"""What was learned from a set tells nothing about, by set."""


def model_card(
    checkpoint: Checkpoint, reports: Mapping[str, dict[str, Any]], dialogue: Mapping[str, Any] | None = None
) -> str:
    """The card as Markdown; `dialogue` is the report of `eval --dialogue`."""
    record, model = checkpoint.record, checkpoint.model
    config = record["config"]
    lines = [
        f"# Model card: {config['recipe']} {checkpoint.digest[:12]}",
        "",
        f"{record['parameters']:,} parameters; modalities {', '.join(model.config.modalities)}; "
        f"fusion `{model.config.fusion}`; trained in {record['seconds'] / 60:.0f} min by the recipe "
        f"{config['recipe']} ({config['steps']} steps, seed {config['seed']})"
        + (f", from the checkpoint {record['start']['digest'][:12]}." if "start" in record else "."),
        "",
        *_language(checkpoint),
        *_answers(checkpoint),
        "",
    ]
    lines += ["## Data and split", "", "| set | licence | learned from | held out for calibration and figures |"]
    lines += ["|---|---|---|---|"]
    for name, people in record["people"].items():
        held = ", ".join(people["validation"]) if len(people["validation"]) <= 6 else f"{len(people['validation'])}"
        if record["calibrated_on"][name] == "train":
            held = "nobody: calibrated on those it learned from, so confidences are too high"
        lines.append(f"| {name} | {record['licences'][name]} | {len(people['train'])} | {held} |")
    lines += ["", "Splits keep a person (for sounds: a source recording) on one side.", ""]
    asked = ["## Dialogue", "", *dialogue_table(dialogue), ""] if dialogue is not None else []
    return "\n".join([*lines, *_figures(reports), *asked, "## Limits", "", *_limits(checkpoint), ""])


def dialogue_table(report: Mapping[str, Any]) -> list[str]:
    """Figures of `eval --dialogue`, with intervals, as Markdown."""
    lines = [
        f"{report['n']} questions in held-out wordings about {report['people']} people who were not learned from; 95 % "
        "intervals by a bootstrap over people. Claims are held against the facts and what the heads decided: after the "
        "verifier they hold by its own judgement.",
        "",
        "| | said, before the verifier | told, after it |",
        "|---|---|---|",
    ]
    for words, name in (
        ("answers right", "answer_accuracy"),
        ("claims that hold", "claim_precision"),
        ("answers that name a sensor which is not there", "absent_sensor_mentions"),
    ):
        lines.append(f"| {words} | {_within(report, f'{name}_unverified')} | {_within(report, name)} |")
    for words, name in (
        ("refusals that are right", "abstention_precision"),
        ("unanswerable questions refused", "abstention_recall"),
    ):
        lines.append(f"| {words} | | {_within(report, name)} |")
    sensors, edits = report["sensors"], report["edits"]
    lines += ["", "| labels, from tokens alone | right |", "|---|---|"]
    lines += [
        f"| as sensors show | {_within(report, 'label_accuracy')} |",
        f"| the heads, of the same moments | {report['label_accuracy_of_heads']:.3f} |",
        f"| tokens of other moments | {sensors['shuffled']:.3f} |",
        f"| tokens zeroed; without the sense that tells | {sensors['zeroed']:.3f}; {sensors['missing']:.3f} |",
        f"| always the commonest label | {report['chance']:.3f} |",
        "",
        "| kind of question | n | right | before the verifier |",
        "|---|---|---|---|",
    ]
    for kind, one in report["by_kind"].items():
        alone = one["answer_accuracy_unverified"]
        lines.append(f"| {kind} | {one['n']} | {one['answer_accuracy']:.3f} | {alone:.3f} |")
    lines += ["", "| before the verifier, given | right | claims that hold |", "|---|---|---|"]
    given = {"both": "tokens and lines", "free": "these, and said freely", "facts": "lines", "neither": "neither"}
    for mode, words in given.items():
        one = report["modes"][mode]
        lines.append(f"| {words} | {one['answer_accuracy_unverified']:.3f} | {one['claim_precision_unverified']:.3f} |")
    lines += [
        "",
        "| after an edit of what was measured | n | right before | after | both | both, before the verifier |",
    ]
    lines += ["|---|---|---|---|---|---|"]
    for how, one in edits.items():
        right = " | ".join(f"{one[key]:.3f}" for key in ("before", "after", "both", "both_unverified"))
        lines.append(f"| {how} | {one['n']} | {right} |")
    return lines


def _within(report: Mapping[str, Any], name: str) -> str:
    interval = report["intervals"][name]
    return f"{report[name]:.3f}" + (f" [{interval[0]:.3f}, {interval[1]:.3f}]" if interval is not None else "")


def _language(checkpoint: Checkpoint) -> list[str]:
    """What the language model is, where there is one."""
    language = checkpoint.model.language
    if language is None:
        return []
    of, size = language.config, sum(p.numel() for p in language.llm.parameters())
    where, kind = "kept here" if of.kept else f"read from `{of.llm}`", of.architecture.get("model_type", "unknown")
    return [
        f"Between adapter and heads stands a language model ({kind}, {size:,} parameters, {where}), conditioned by "
        f"{checkpoint.model.config.soft_tokens} soft tokens (`{of.conditioning}`). " + _learned(checkpoint.record),
        "",
    ]


def _learned(record: Mapping[str, Any]) -> str:
    """To what the language model can say something."""
    talk = record.get("talk")
    if talk is None:
        return "It learned to answer the tasks' prompts, and no others."
    return (
        f"In stage 3 ({talk['steps']} steps in {talk['seconds'] / 60:.0f} min, on the checkpoint "
        f"{talk['digest'][:12]}) it learned to answer questions about what sensors show, from soft tokens and lines of "
        "true statements."
    )


def adapted_card(checkpoint: Checkpoint, report: Mapping[str, Any]) -> str:
    """The card of a checkpoint that was taught by a few recordings, from the report on that, as Markdown."""
    labels, rehearsed = report["labels"], report["rehearsed"]
    lines = [
        f"# Model card: {checkpoint.digest[:12]}",
        "",
        f"The checkpoint {report['from'][:12]}, taught {', '.join(labels)} ({report['task']}) in "
        f"{report['seconds']:.0f} s by `backend train adapt`: a head of this one task. Encoders and all else are as "
        "they were. What it learned before is in the card of that checkpoint, and its limits are below.",
        "",
        *_answers(checkpoint),
        "",
        "## What it was taught",
        "",
        f"By {', '.join(report['streams'])}. Rehearsed meanwhile, decisions: "
        + (", ".join(f"{name} {n}" for name, n in rehearsed.items()) or "none")
        + ".",
        "",
        "| label | words | new | recordings | windows | found, recordings left out |",
        "|---|---|---|---|---|---|",
    ]
    by_class = (report["taught"] or {}).get("by_class", {})
    for label, one in labels.items():
        found = by_class.get(label, {})
        recall = f"{found['recall']:.3f} of {found['n']}" if found.get("n") else "not measured: one recording"
        counts = f"{one['recordings']} | {one['windows']}"
        lines.append(f"| {label} | {one['words']} | {'yes' if one['new'] else 'no'} | {counts} | {recall} |")
    lines += ["", "## What it knew before", ""]
    if report["known"]:
        lines += ["On people who were not rehearsed, among all labels, the new ones included.", ""]
        lines += ["| set | n | accuracy before | after | taken for what is new |", "|---|---|---|---|---|"]
        for name, one in report["known"].items():
            both = " | ".join(f"{one[when]['accuracy']:.3f}" for when in ("before", "after"))
            lines.append(f"| {name} | {one['n']} | {both} | {one['taken_for_new']:.3f} |")
    else:
        lines.append("Not measured: no set that the checkpoint learned from was at hand (`--data`).")
    own = (
        "What was taught has been met with these people, in these places and as the sensors sat then; windows that are "
        "like none of it get one of the labels nevertheless."
    )
    return "\n".join(
        [*lines, "", "## Limits", "", fill(f"- {own}", 120, subsequent_indent="  "), *_limits(checkpoint), ""]
    )


def _answers(checkpoint: Checkpoint) -> list[str]:
    """The table of tasks, and the encoders."""
    lines = ["| task | answers | temperature | threshold |", "|---|---|---|---|"]
    model = checkpoint.model
    for name, task in model.tasks.items():
        if isinstance(task, Classification):
            calibrated = f"{checkpoint.temperatures.get(name, 1):g} | {checkpoint.thresholds.get(name, task.rule.on):g}"
            lines.append(f"| {name} | {', '.join(task.labels)} | {calibrated} |")
        else:
            lines.append(f"| {name} | {task.size} numbers | | |")
    lines += [f"| {name} | a mask | | |" for name in model.config.masks]
    return [*lines, "", "Encoders: " + "; ".join(f"{m} `{d[:12]}`" for m, d in checkpoint.encoders.items())]


def _limits(checkpoint: Checkpoint) -> list[str]:
    limits = dict.fromkeys(limit for name in checkpoint.record.get("people", {}) for limit in LIMITS.get(name, ()))
    return [fill(f"- {limit}", 120, subsequent_indent="  ") for limit in limits]


def _figures(reports: Mapping[str, dict[str, Any]]) -> list[str]:
    if not reports:
        return ["## Figures", "", "None: nobody was held out of this training.", ""]
    lines = [
        "## Figures on people held out of this training",
        "",
        "95 % intervals by a bootstrap over people; few people were held out, so they are wide.",
        "",
        "| set | figures | floor: always the same answer | floor: shuffled sensors |",
        "|---|---|---|---|",
    ]
    for name, report in reports.items():
        for one in (report, *report.get("tasks", {}).values()):
            floor = one.get("majority", one.get("constant", {}))
            lines.append(f"| {name} | {figures(one)} | {_plain(floor)} | {_plain(one['shuffled'])} |")
    return [*lines, "", *_words(reports)]


def _words(reports: Mapping[str, dict[str, Any]]) -> list[str]:
    """What was answered in words."""
    said = {
        (name, one["task"]): one["text"]
        for name, report in reports.items()
        for one in (report, *report.get("tasks", {}).values())
        if "text" in one
    }
    if not said:
        return []
    lines = ["In words, to wordings of the questions that were held out of training:", ""]
    lines += [
        "| set | task | answers | right, or off by | of other moments | commonest | as the head | says that it cannot "
        "tell: where it could, where nobody could |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for (name, task), text in said.items():
        right, other = (
            f"{one['accuracy']:.3f}" if "accuracy" in one else _plain(one["off"]) for one in (text, text["shuffled"])
        )
        more = " | ".join(f"{text[key]:.3f}" if key in text else "" for key in ("majority", "as_head"))
        none = f"{text['cannot_tell']:.3f}" if "cannot_tell" in text else "not asked"
        lines.append(f"| {name} | {task} | {text['n']} | {right} | {other} | {more} | {text['refused']:.3f}, {none} |")
    return [*lines, ""]


def _plain(floor: Mapping[str, float]) -> str:
    return ", ".join(f"{key} {value:.3f}" for key, value in floor.items())
