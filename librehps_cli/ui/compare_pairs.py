"""Verdicts on the rows of a file of pairs; each media file is scored once per prompt."""

from typing import TYPE_CHECKING, Any

from librehps.files import counted
from librehps_cli.ui.errors import INTERRUPTED, exit_code, row_error
from librehps_cli.ui.load import check_calibration, load_scorer, model_options
from librehps_cli.ui.options import PromptOptions
from librehps_cli.ui.output import Output, percent
from librehps_cli.ui.pair_options import PairsOptions, VerdictOptions
from librehps_cli.ui.preferences import pair_columns
from librehps_cli.ui.progress import CommandObserver
from librehps_cli.ui.result_options import OutputOptions
from librehps_cli.ui.scoring_options import ScoringOptions

if TYPE_CHECKING:
    from librehps.runs.compare import ComparedPairs
    from librehps.storage.url_path import AnyPath

Record = dict[str, Any]


def compare_pairs(
    file: str,
    verdict: VerdictOptions,
    prompts: PromptOptions,
    options: PairsOptions,
    models: ScoringOptions,
    result: OutputOptions,
    resume: bool,
    out: Output,
) -> int:
    """Write verdicts on the pairs of a file to a file or stdout, and return the exit code."""
    from librehps.errors import UsageError

    _check(file, prompts)
    asked: Record = {
        "calibrator": models.calibration,
        "symmetric": verdict.symmetric,
        "explain": verdict.explain,
        "format": options.format,
        "root": options.root,
        "keep_markup": prompts.keep_markup,
        "columns": pair_columns(options),
    }
    if result.file is not None and not result.is_delimited:
        ways = {"resume": resume, "overwrite": result.overwrite}
        return _to_file(file, result.file, models, prompts, asked | ways, out)
    if resume:
        raise UsageError("--resume needs an output file", hint="Add -o FILE.parquet or .jsonl.")
    result.check()
    from librehps.runs.compare import compare_pairs as decide

    found = decide(
        file, model=lambda: load_scorer(models, prompts, out), watch=out.progress, **asked
    )
    if result.file is not None:
        from librehps.scores.table import write_records

        write_records(found.records, result.file)
    elif out.json or result.to_stdout:
        out.records(found.records)
    else:
        _print(found.records, out)
    return _report(found, out)


def _to_file(
    file: str,
    output: "AnyPath",
    models: ScoringOptions,
    prompts: PromptOptions,
    asked: Record,
    out: Output,
) -> int:
    """Write the verdicts to a file, with a journal, and return the exit code."""
    check_calibration(models)
    from librehps.runs.pairs_run import compare_pairs_to

    observer = CommandObserver(out)
    summary, found = compare_pairs_to(
        file,
        output,
        model=model_options(models, prompts),
        observer=observer,
        stop=observer.stop,
        **asked,
    )
    if summary.interrupted:
        out.note("interrupted: scores are kept; continue with --resume")
        return INTERRUPTED
    if found is None:
        out.note(f"{output} is complete: {_counts(summary.ok, summary.failed)}")
        return exit_code(summary.ok, summary.failed)
    return _report(found, out)


def _report(found: "ComparedPairs", out: Output) -> int:
    """Print the errors and the counts; return the exit code."""
    for record in found.errors:
        out.error(row_error(record["pair_id"], record["error"], record["error_type"]))
    failed = len(found.errors)
    compared = len(found.records) - failed
    out.note(_counts(compared, failed))
    return exit_code(compared, failed)


def _counts(compared: int, failed: int) -> str:
    return f"{counted(compared, 'pair')} compared, {counted(failed, 'error')}"


def _check(file: str, prompts: PromptOptions) -> None:
    from librehps.errors import UsageError
    from librehps.rowfiles import KNOWN, names_rows

    if not names_rows(file):
        raise UsageError(
            f"{file}: expected two or more images or videos, or a file of pairs, got one file",
            hint=f"Add a second file, or give a file of pairs ({KNOWN}).",
        )
    if prompts.prompt is not None or prompts.prompt_from is not None:
        raise UsageError(
            f"--prompt and --prompt-from: unsupported with a file of pairs ({file} has prompts)",
            hint="Leave out --prompt and --prompt-from.",
        )
    if prompts.strip_weights:
        raise UsageError(
            "--strip-weights: unsupported with a file of pairs", hint="Leave out --strip-weights."
        )


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
