"""Read preferences and get the scores of their media, for evaluate and calibrate."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from librehps_cli.ui.load import load_scorer
from librehps_cli.ui.options import ModelOptions, PreferenceOptions, PromptOptions
from librehps_cli.ui.output import Output

if TYPE_CHECKING:
    from librehps import ScoredRow
    from librehps.evaluate.judged import Judged, Watch
    from librehps.preferences.pairs import Preferences


def judge_pairs(
    file: Path,
    preferences: PreferenceOptions,
    models: ModelOptions,
    scores: list[Path] | None,
    save_scores: Path | None,
    out: Output,
) -> "Judged":
    """The file's pairs with scores, by the model or from scored files."""
    from librehps.evaluate.judged import judge_media, judge_table
    from librehps.scores.score_table import read_scores

    if scores:
        table = read_scores(scores)
        read = load_preferences(file, preferences)
        tell_pairs(read, out)
        judged = judge_table(read, table, models.calibration)
    else:
        read = load_preferences(file, preferences)
        tell_pairs(read, out)
        scorer = load_scorer(models, PromptOptions(), out)
        judged = judge_media(
            read, scorer, models.calibration, save_scores=save_scores, watch=_watch(out)
        )
    tell_left_out(judged, out)
    return judged


def load_preferences(file: Path, options: PreferenceOptions) -> "Preferences":
    """The preferences of a file."""
    from librehps.preferences.read import read_preferences

    return read_preferences(file, options.format, options.root, options.skip_missing)


def tell_pairs(read: "Preferences", out: Output) -> None:
    """Say how many pairs a file holds."""
    out.note(f"{len(read.pairs)} pairs, {read.ties()} of them ties on overall")


def tell_left_out(judged: "Judged", out: Output) -> None:
    """Count the pairs that are left out, by reason."""
    for reason, count in judged.left_out.items():
        out.note(f"left out: {count} pairs ({reason})")


def _watch(out: Output) -> "Watch":
    """Show progress, and name on stderr each media that could not be scored."""

    def watch(rows: "Iterable[ScoredRow]", total: int) -> "Iterator[ScoredRow]":
        for row in out.progress(rows, total):
            if row.error is not None:
                name = row.item.media if isinstance(row.item.media, Path) else row.item.id
                out.error(f"{name}: {row.error} ({type(row.error).__name__})")
            yield row

    return watch
