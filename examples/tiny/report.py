"""Evaluate a LibreHPS-Tiny on held-out pairs, calibrate it, run the controls, write the report.

    python examples/tiny/report.py --model runs/tiny --work runs/report

Writes WORK/REPORT.md, WORK/calibration.json and WORK/reliability.png. What a step needs and WORK
already holds is not made again: the pairs, and the scores of these weights.
"""

import argparse
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from string import Template
from typing import Any

from controls import read_rows, shuffle_prompts, statistics_accuracy
from pairs import BENCHMARKS

HERE = Path(__file__).parent
AXES = ("overall", "alignment", "coherence", "style", "temporal")
# What each figure was meant to reach; at most, for the last three.
AIMS = {"overall": 0.88, "alignment": 0.85, "coherence": 0.90, "style": 0.95, "temporal": 0.90}
ECE_AIM, SHUFFLED_AIM, STATISTICS_AIM = 0.03, 0.55, 0.75
SHUFFLED = 2000
GRADES = ("mild", "medium", "strong")
CARD = ("n", "pair_acc", "ece", "ece_calibrated", "brier", "brier_calibrated")
Record = dict[str, Any]


def librehps(*arguments: str | Path) -> str:
    """Run the command; gives what it prints."""
    command = [sys.executable, "-m", "librehps_cli", *map(str, arguments)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout


def evaluate(pairs: Path, *arguments: str | Path) -> Record:
    record: Record = json.loads(librehps("evaluate", pairs, "--json", "--quiet", *arguments))
    return record


def prepare(model: Path, work: Path) -> tuple[Path, Path]:
    """(scores, calibration) of the model on pairs rendered into WORK/pairs."""
    pairs, scores = work / "pairs", work / "scores.parquet"
    if not (pairs / "all.jsonl").exists():
        subprocess.run([sys.executable, HERE / "pairs.py", "--out", pairs], check=True)
        text = "".join((pairs / f"{name}.jsonl").read_text() for name in BENCHMARKS)
        (pairs / "all.jsonl").write_text(text)
    if not scores.exists():
        evaluate(pairs / "all.jsonl", "--model", model, "--save-scores", scores)
    calibration = work / "calibration.json"
    at = ("--scores", scores, "-o", calibration, "--overwrite", "--quiet")
    librehps("calibrate", pairs / "all.jsonl", *at)
    return scores, calibration


def shuffled_accuracy(model: Path, pairs: Path, benchmark: str) -> Record:
    """Accuracy on alignment where each pair has another's prompt."""
    rows = shuffle_prompts(read_rows(pairs / f"{benchmark}.jsonl"), SHUFFLED)
    file = pairs / f"shuffled-{benchmark}.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    record: Record = evaluate(file, "--model", model, "--split", "all")["axes"][0]
    return record


def table(headings: tuple[str, ...], rows: list[list[object]]) -> str:
    cells = [headings, ["---"] * len(headings), *rows]
    return "\n".join("| " + " | ".join(_cell(c) for c in row) + " |" for row in cells)


def _cell(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def card(whole: Record) -> str:
    rows = [*whole["benchmarks"], whole["aggregate"]]
    headings = ("benchmark", "n", "pair_acc", "ECE", "ECE calibrated", "Brier", "Brier calibrated")
    return table(headings, [[row["benchmark"], *(row[name] for name in CARD)] for row in rows])


def by_axis(found: dict[str, Record]) -> str:
    """Return a table by benchmark and axis: all, by severity class, unseen combinations."""
    rows: list[list[object]] = []
    for name, record in found.items():
        for axis in record["axes"]:
            low, high = axis["pair_acc_ci"]
            graded = [_of(record, "severity", grade, axis["axis"]) for grade in GRADES]
            unseen = _of(record, "combination", "unseen", axis["axis"])
            head: list[object] = [name, axis["axis"], axis["n"], AIMS[axis["axis"]]]
            rows.append([*head, axis["pair_acc"], f"{low:.3f} - {high:.3f}", *graded, unseen])
    headings = ("benchmark", "axis", "n", "aim", "pair_acc", "95 %", *GRADES, "unseen")
    return table(headings, rows)


def _of(record: Record, column: str, value: str, axis: str) -> float | None:
    rows = record["by"][column]
    found = [r["pair_acc"] for r in rows if (r[column], r["axis"]) == (value, axis)]
    return found[0] if found else None


def misses(found: dict[str, Record]) -> str:
    """Wrong verdicts on overall by what sets the two apart, most first."""
    total: Counter[str] = Counter()
    wrong: Counter[str] = Counter()
    for record in found.values():
        for row in record["by"]["defect"]:
            if row["axis"] == "overall":
                total[row["defect"]] += row["n"]
                wrong[row["defect"]] += round(row["n"] * (1 - row["pair_acc"]))
    kinds = sorted(total, key=lambda kind: -wrong[kind] / total[kind])
    rows: list[list[object]] = [[k, total[k], wrong[k], wrong[k] / total[k]] for k in kinds]
    return table(("what differs", "n", "misses", "share"), rows)


def controls(model: Path, pairs: Path) -> str:
    rows: list[list[object]] = []
    for name in BENCHMARKS:
        axis = shuffled_accuracy(model, pairs, name)
        control = "another pair's prompt"
        rows.append([name, control, "alignment", axis["n"], SHUFFLED_AIM, axis["pair_acc"]])
        held = read_rows(pairs / f"{name}.jsonl")
        named = [axis for axis in AXES if axis in held[0]]
        for axis_name, accuracy in statistics_accuracy(held, pairs, named).items():
            count = sum(row[axis_name] != 0.5 for row in held)
            control = "colour histogram, edge energy"
            rows.append([name, control, axis_name, count, STATISTICS_AIM, accuracy])
    return table(("benchmark", "control", "axis", "n", "at most", "pair_acc"), rows)


def write_report(model: Path, work: Path) -> None:
    scores, calibration = prepare(model, work)
    pairs = work / "pairs"
    known = ("--scores", scores, "--calibration", calibration, "--split", "held-out")
    by = ("--by", "severity", "--by", "combination", "--by", "defect")
    found = {name: evaluate(pairs / f"{name}.jsonl", *known, *by) for name in BENCHMARKS}
    whole = evaluate(pairs / "all.jsonl", *known, "--plot", work / "reliability.png")
    template = Template((HERE / "REPORT.template.md").read_text())
    parts = {
        "fingerprint": whole["fingerprint"],
        "ece_aim": str(ECE_AIM),
        "card": card(whole),
        "axes": by_axis(found),
        "controls": controls(model, pairs),
        "misses": misses(found),
    }
    (work / "REPORT.md").write_text(template.substitute(parts))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    write_report(arguments.model, arguments.work)


if __name__ == "__main__":
    main()
