"""Preferences with the scores of their media, for evaluate and calibrate."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from librehps.files import counted
from librehps_cli.ui.errors import row_error
from librehps_cli.ui.load import load_scorer, renames
from librehps_cli.ui.options import PromptOptions
from librehps_cli.ui.output import Output
from librehps_cli.ui.pair_options import PairsOptions, PreferenceOptions
from librehps_cli.ui.scoring_options import ScoringOptions

if TYPE_CHECKING:
    from librehps import ScoredRow
    from librehps.evaluate.judged import Judged, Watch
    from librehps.preferences.column_names import PairColumns
    from librehps.preferences.pairs import Preferences


def judge_pairs(
    file: str,
    preferences: PreferenceOptions,
    models: ScoringOptions,
    scores: list[str] | None,
    save_scores: Path | None,
    check: "Callable[[Preferences], None]",
    out: Output,
) -> "Judged":
    """Return the pairs of a file with scores, from scored files or from the model.

    `check` refuses pairs that are of no use, before the model scores their media.
    """
    from librehps.errors import UsageError
    from librehps.evaluate.judged import judge_media, judge_table
    from librehps.runs.scored import find_calibrators
    from librehps.scores.score_table import read_scores

    if scores and save_scores is not None:
        raise UsageError(
            "--save-scores: no scores to write, since --scores reads them",
            hint="Leave out one of them.",
        )
    table = read_scores(scores) if scores else None
    read = load_preferences(file, preferences)
    print_pair_counts(read, out)
    check(read)
    if table is not None:
        fits = find_calibrators(
            table, models.calibration, model=models.model, revision=models.revision
        )
        judged = judge_table(read, table, fits)
    else:
        scorer = load_scorer(models, PromptOptions(), out)
        judged = judge_media(
            read, scorer, models.calibration, save_scores=save_scores, watch=_watch(out)
        )
    print_skipped_pairs(judged, out)
    return judged


def load_preferences(file: str, options: PreferenceOptions) -> "Preferences":
    """Return the preferences of a file."""
    from librehps.preferences.read import read_preferences

    return read_preferences(
        file,
        options.format,
        options.root,
        options.skip_missing,
        keep_markup=options.keep_markup,
        columns=pair_columns(options),
    )


def pair_columns(options: PairsOptions) -> "PairColumns | None":
    """Return the named and renamed columns of a file of pairs, None if no flag is given."""
    from librehps.preferences.column_names import PairColumns

    values = options.winner_values
    columns = PairColumns(
        options.a_column,
        options.b_column,
        options.winner_column,
        options.prompt_column,
        () if values is None else tuple(value.strip() for value in values.split(",")),
        renames(options.rename or []),
    )
    return columns if columns != PairColumns() else None


def print_pair_counts(read: "Preferences", out: Output) -> None:
    """Print the number of pairs of a file, and of ties on overall."""
    out.note(f"{counted(len(read.pairs), 'pair')}, {counted(read.ties(), 'tie')} on overall")


def scores_beside(output: Path) -> Path:
    """Return the file for scores that a refused calibration keeps; one that is written deletes it.

    Raises UsageError if the file exists: it may be an output of the user.
    """
    from librehps.errors import UsageError
    from librehps.scores.writer import check_output

    file = output.with_suffix(".scores.parquet")
    if file.exists():
        raise UsageError(
            f"{file} already exists: scores that an earlier command kept",
            hint=f"Use them: --scores {file}. Or delete the file, and score again.",
        )
    check_output(file, overwrite=False)
    return file


@contextmanager
def keeping_scores(file: Path | None, is_asked: bool, out: Output) -> Iterator[None]:
    """Name the file of the scores if the block refuses the fit, else delete it unless asked for."""
    from librehps.errors import CalibrationError

    try:
        yield
    except CalibrationError:
        if file is not None:
            out.note(f"the scores are kept: to use them, add --scores {file}")
        raise
    if file is not None and not is_asked:
        file.unlink(missing_ok=True)


def print_skipped_pairs(judged: "Judged", out: Output) -> None:
    """Print the number of skipped pairs by reason."""
    for reason, count in judged.left_out.items():
        out.note(f"skipped {counted(count, 'pair')}: {reason}")


def _watch(out: Output) -> "Watch":
    """Return a function that shows progress, and prints each media file with an error."""

    def watch(rows: "Iterable[ScoredRow]", total: int) -> "Iterator[ScoredRow]":
        for row in out.progress(rows, total):
            if row.error is not None:
                name = row.item.media if isinstance(row.item.media, Path) else row.item.id
                out.error(row_error(name, str(row.error), type(row.error).__name__))
            yield row

    return watch
