"""A verdict on each row of a file of pairs; each media file is scored once a prompt."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from librehps_cli.ui.errors import exit_code
from librehps_cli.ui.load import load_scorer
from librehps_cli.ui.options import ModelOptions, PairsOptions, PromptOptions
from librehps_cli.ui.output import Output, percent
from librehps_cli.ui.result_options import OutputOptions

if TYPE_CHECKING:
    from librehps import ScoredRow
    from librehps.preferences.media import Key
    from librehps.preferences.pairs import Pair
    from librehps_cli.commands.compare import VerdictOptions

Record = dict[str, Any]


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
    from librehps.decide.compare import judged
    from librehps.preferences.media import items_of, keys_of
    from librehps.preferences.read import read_unjudged
    from librehps.scores.table import table_of, write_table

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
        one, two = (rows[key] for key in keys_of(pair))
        found = judged(one, two, scorer.axes, calibrator, verdict.symmetric, verdict.explain)
        facts = {"calibrated": calibrator is not None, "settings": scorer.settings.digest}
        records.append(_with_their_own({**_named(pair), **found, **facts}, pair))
    if result.file is not None:
        write_table(table_of(records, scorer.axes), scorer.settings.record(), result.file)
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
    from librehps.rowfiles import KNOWN, names_rows

    if not names_rows(file):
        raise UsageError(
            f"{file} alone has nothing to be compared with",
            hint=f"Give two or more of one prompt, or a file of pairs ({KNOWN}).",
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
    from librehps.types import media_text

    return {
        "pair_id": pair.pair_id,
        "prompt": pair.prompt,
        "media_a": media_text(pair.media_a),
        "media_b": media_text(pair.media_b),
    }


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
