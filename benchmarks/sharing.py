"""Does one model of all sets gain by sharing? Its figures beside those of one model per set, on the same people.

    backend train --recipe RECIPE --data DIR --out RUNS/RECIPE --set validation=0.15      # real, sp-sw-har, esc10 ...
    python -m benchmarks.sharing RUNS/real RUNS/sp-sw-har RUNS/esc10 ...

Reads what the runs measured on the people that they held out; a run that held out others is refused. Writes
benchmarks/results/sharing.json and prints the table of the README.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from backend.checkpoint import load_checkpoint
from backend.data import DATASETS

RESULT = Path(__file__).parent / "results" / "sharing.json"
LESS_IS_BETTER = ("error_cm", "mae_mm", "epe_mm")


def measured(run: Path) -> dict[str, dict[str, Any]]:
    """By set and task, the accuracy of a run on the people that it held out, or else the task's metric; and who."""
    held = load_checkpoint(run).record["people"]
    found: dict[str, dict[str, Any]] = {}
    for name, report in json.loads((run / "validation.json").read_text()).items():
        for one in (report, *report.get("tasks", {}).values()):
            if not one["n"]:
                continue
            metric = "accuracy" if "accuracy" in one else one["metric"]
            floor = next((one[kind] for kind in ("majority", "constant", "bicubic") if metric in one.get(kind, {})), {})
            found[f"{name}/{one['task']}"] = {
                "metric": metric,
                "value": one[metric],
                "interval": one["interval"].get(metric),
                "floor": floor.get(metric),
                "n": one["n"],
                "people": held[name]["validation"],
            }
    return found


def answers(dataset: str) -> tuple[str, ...]:
    """The tasks and masks that a set is measured by."""
    return (*DATASETS[dataset].tasks, *DATASETS[dataset].masks)


def beside(shared: Mapping[str, Any], alone: Mapping[str, Any]) -> dict[str, Any]:
    """Both runs' figures of one task of one set, and how much better (in the metric's unit) the shared model is."""
    gain = shared["value"] - alone["value"]
    gain = -gain if shared["metric"] in LESS_IS_BETTER else gain
    return {"shared": shared, "alone": alone, "gain": round(gain, 4)}


def table(rows: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Markdown: one row per set and task."""
    yield "| set, task | metric | people, n | floor | one model of all | one model of this set | sharing gains |"
    yield "|---|---|---|---:|---:|---:|---:|"
    for name, row in rows.items():
        both = row["shared"], row["alone"]
        said = [
            f"{x['value']:.3g}" + (" [{:.3g}, {:.3g}]".format(*x["interval"]) if x["interval"] else "") for x in both
        ]
        about = f"{len(both[0]['people'])}, {both[0]['n']}"
        floor = "" if both[0]["floor"] is None else f"{both[0]['floor']:.3g}"
        where = name.replace("/", ", ")
        yield f"| {where} | {both[0]['metric']} | {about} | {floor} | {said[0]} | {said[1]} | {row['gain']:+.3g} |"


def main() -> None:
    """Compare, write JSON, show the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shared", type=Path, help="folder of the run of all sets")
    parser.add_argument("alone", type=Path, nargs="+", help="folders of the runs of one set each")
    parser.add_argument("--out", type=Path, default=RESULT)
    options = parser.parse_args()
    everything, rows = measured(options.shared), {}
    taught = {f"{name}/{task}" for name in load_checkpoint(options.shared).record["people"] for task in answers(name)}
    for run in options.alone:
        for name, alone in measured(run).items():
            if name not in everything:
                continue
            if everything[name]["people"] != alone["people"]:
                sys.exit(
                    f"error: {run}: held out {alone['people']} of {name}, {options.shared} others; same validation?"
                )
            rows[name] = beside(everything[name], alone)
    options.out.write_text(json.dumps(rows, indent=1) + "\n")
    for name in sorted(taught - rows.keys()):
        why = "nobody was held out" if name not in everything else "no run of this set alone"
        print(f"{name}: not compared, {why}")
    print("\n".join(table(rows)))


if __name__ == "__main__":
    main()
