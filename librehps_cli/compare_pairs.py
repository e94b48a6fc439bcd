"""A verdict on each row of a file of pairs; each media file is scored once a prompt."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from librehps.types import AXES
from librehps_cli.errors import exit_code
from librehps_cli.options import ModelOptions, PairsOptions, PromptOptions
from librehps_cli.output import Output, percent
from librehps_cli.results import OutputOptions
from librehps_cli.scoring import load_scorer

if TYPE_CHECKING:
    from librehps import ScoredRow
    from librehps.decide.probability import Platt
    from librehps.preferences.media import Key
    from librehps.preferences.pairs import Pair
    from librehps_cli.compare import VerdictOptions

Record = dict[str, Any]
VERDICT = ("winner", "win_probability", "p_a_wins", "confident")


def compare_pairs(
    file: Path,
    verdict: "VerdictOptions",
    prompts: PromptOptions,
    options: PairsOptions,
    models: ModelOptions,
    result: OutputOptions,
    out: Output,
) -> int:
    """Judge the pairs of a file, to a file or to stdout; gives the exit code."""
    from librehps.preferences.media import items_of, keys_of
    from librehps.preferences.read import read_unjudged
    from librehps.sink.table import write_table

    _check(file, prompts)
    result.check()
    pairs = read_unjudged(file, options.format, options.root)
    scorer = load_scorer(models, prompts, out)
    calibrator = scorer.calibrator(models.calibration)
    items = items_of(pairs)
    scored = out.progress(scorer.score_items(items.values()), len(items))
    rows: dict[Key, ScoredRow] = dict(zip(items, scored, strict=True))
    records = []
    for pair in pairs:
        judged = _judged(tuple(rows[key] for key in keys_of(pair)), calibrator, verdict)
        facts = {"calibrated": calibrator is not None, "settings": scorer.settings.digest}
        records.append(_with_their_own({**_named(pair), **judged, **facts}, pair))
    if result.file is not None:
        write_table(_table(records), scorer.settings.record(), result.file)
    elif out.json or result.to_stdout:
        out.records(records)
    else:
        _print(records, out)
    failed = [record for record in records if record["status"] == "error"]
    for record in failed:
        out.error(f"{record['pair_id']}: {record['error']} ({record['error_type']})")
    out.note(f"{len(records) - len(failed)} pairs judged, {len(failed)} errors")
    return exit_code(len(records) - len(failed), len(failed))


def _check(file: Path, prompts: PromptOptions) -> None:
    from librehps.errors import UsageError
    from librehps.preferences.tables import READERS

    if file.suffix.lower() not in READERS:
        raise UsageError(
            f"{file} alone has nothing to be compared with",
            hint=f"Give two or more of one prompt, or a file of pairs ({' '.join(READERS)}).",
        )
    if prompts.prompt is not None or prompts.prompt_from is not None:
        raise UsageError("a file of pairs has its own prompts: leave out --prompt")


def _with_their_own(record: Record, pair: "Pair") -> Record:
    """The record and the file's other columns; raises UsageError where one has a name of ours."""
    from librehps.errors import UsageError

    taken = sorted(record.keys() & pair.extra.keys())
    if taken:
        raise UsageError(
            f"the columns {', '.join(taken)} have names of the output",
            hint="Rename them in the file of pairs.",
        )
    return {**record, **pair.extra}


def _named(pair: "Pair") -> Record:
    from librehps.pipeline.row import media_text

    return {
        "pair_id": pair.pair_id,
        "prompt": pair.prompt,
        "media_a": media_text(pair.media_a),
        "media_b": media_text(pair.media_b),
    }


def _judged(
    rows: "tuple[ScoredRow, ...]", calibrator: "Platt | None", options: "VerdictOptions"
) -> Record:
    """The verdict and what it stands on, or the error that there is none for."""
    from librehps.decide.probability import judge

    one, two = rows
    problem = _problem(one, two)
    record: Record = dict.fromkeys(VERDICT)
    for axis in AXES:
        for side, row in zip("ab", rows, strict=True):
            found = getattr(row.score, axis, None)
            record[f"{axis}_{side}"] = found and found.mean
            record[f"{axis}_mu_{side}"] = found and found.raw_mean
    if problem is None and one.score is not None and two.score is not None:
        verdict = judge(
            one.score.overall, two.score.overall, calibrator, symmetric=options.symmetric
        )
        likelier = max(verdict.probability, 1 - verdict.probability)
        values = (verdict.winner, likelier, verdict.probability, verdict.confident)
        record.update(zip(VERDICT, values, strict=True))
    if options.explain:
        record.update(_gaps(record))
    kind, text = problem or (None, None)
    status = "ok" if problem is None else "error"
    return {**record, "status": status, "error_type": kind, "error": text}


def _problem(one: "ScoredRow", two: "ScoredRow") -> tuple[str, str] | None:
    """(error type, message) of the first that cannot be scored, or of two that do not compare."""
    for row in (one, two):
        if row.error is not None:
            return type(row.error).__name__, str(row.error)
    if one.kind != two.kind:
        return "KindMismatchError", f"a is {one.kind} and b is {two.kind}: they do not compare"
    return None


def _gaps(record: Mapping[str, Any]) -> Record:
    pairs = {axis: (record[f"{axis}_mu_a"], record[f"{axis}_mu_b"]) for axis in AXES}
    return {
        f"{axis}_gap": None if a is None or b is None else a - b for axis, (a, b) in pairs.items()
    }


def _table(records: list[Record]) -> Any:
    import pyarrow as pa

    names = dict.fromkeys(name for record in records for name in record)
    columns = {}
    for name in names:
        values = [record.get(name) for record in records]
        kinds = {type(value) for value in values if value is not None}
        is_mixed = len(kinds - {int, float}) > 0 and len(kinds) > 1
        columns[name] = [v if v is None else str(v) for v in values] if is_mixed else values
    return pa.table(columns)


def _print(records: list[Record], out: Output) -> None:
    rows = [
        [
            str(record["pair_id"]),
            record["winner"] or "-",
            "-" if record["win_probability"] is None else percent(record["win_probability"]),
            *("-" if record[n] is None else f"{record[n]:.3f}" for n in ("overall_a", "overall_b")),
            record["prompt"],
        ]
        for record in records
    ]
    out.table(["item", "winner", "in", "overall a", "overall b", "prompt"], rows)
