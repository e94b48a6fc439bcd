"""What evaluate and calibrate do first: read the preferences, and have each media's scores."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from librehps_cli.ui.load import load_scorer
from librehps_cli.ui.options import ModelOptions, PreferenceOptions, PromptOptions
from librehps_cli.ui.output import Output

if TYPE_CHECKING:
    from librehps import Item, LibreHPS, ScoredRow
    from librehps.decide.calibrators import PlattCalibrators
    from librehps.evaluate.scored_pairs import MediaScore, ScoredPairs
    from librehps.preferences.media import Key
    from librehps.preferences.pairs import Preferences


@dataclass(frozen=True)
class Judged:
    """Scored pairs, whose model, its calibrators, and how many media could not be scored."""

    pairs: "ScoredPairs"
    model: str | None
    fingerprint: str | None
    settings: str | None
    calibrators: "PlattCalibrators | None"
    failed: int
    left_out: dict[str, int]


def judge_pairs(
    file: Path,
    preferences: PreferenceOptions,
    models: ModelOptions,
    scores: list[Path] | None,
    save_scores: Path | None,
    out: Output,
) -> Judged:
    """The file's pairs with scores, by the model or from scored files."""
    from librehps.scores.read import read_table

    if scores:
        table, settings = read_table(scores)
        origin = str(scores[0])
        return judge_table(file, preferences, table, settings, origin, models.calibration, out)
    read, left_out = _read(file, preferences, out)
    scorer = load_scorer(models, PromptOptions(), out)
    found, failed = _from_model(scorer, read, save_scores, out)
    pairs = _joined(read, found, left_out, out)
    record = scorer.settings
    return Judged(
        pairs=pairs,
        model=record.model,
        fingerprint=record.fingerprint,
        settings=record.digest,
        calibrators=scorer.calibrators(models.calibration),
        failed=failed,
        left_out=dict(left_out),
    )


def judge_table(
    file: Path,
    preferences: PreferenceOptions,
    table: Any,
    record: dict[str, Any],
    origin: str,
    calibration: Path | None,
    out: Output,
) -> Judged:
    """The file's pairs with the scores of a table that is already read."""
    from librehps.evaluate.scored_pairs import scores_in

    read, left_out = _read(file, preferences, out)
    pairs = _joined(read, scores_in(table, origin), left_out, out)
    facts = _facts(table, record, calibration)
    return Judged(pairs=pairs, failed=0, left_out=dict(left_out), **facts)


def _read(
    file: Path, preferences: PreferenceOptions, out: Output
) -> tuple["Preferences", Counter[str]]:
    read = load_preferences(file, preferences)
    out.note(f"{len(read.pairs)} pairs, {read.ties()} of them ties on overall")
    return read, Counter(read.left_out)


def _joined(
    read: "Preferences", found: dict["Key", "MediaScore"], left_out: Counter[str], out: Output
) -> "ScoredPairs":
    from librehps.evaluate.scored_pairs import join

    pairs = join(read.pairs, found, left_out)
    for reason, count in left_out.items():
        out.note(f"left out: {count} pairs ({reason})")
    return pairs


def load_preferences(file: Path, options: PreferenceOptions) -> "Preferences":
    from librehps.preferences.read import read_preferences

    return read_preferences(file, options.format, options.root, options.skip_missing)


def _facts(table: Any, record: dict[str, Any], calibration: Path | None) -> dict[str, Any]:
    """What scored files say of their model, and the calibrators for it."""
    from librehps.decide.calibrators import load_for

    model, fingerprint = record.get("model"), record.get("fingerprint")
    calibrators = None if calibration is None else load_for(calibration, model, fingerprint)
    digests = table.column("settings").to_pylist() if "settings" in table.column_names else []
    facts = {"model": model, "fingerprint": fingerprint, "calibrators": calibrators}
    return {**facts, "settings": next(iter(digests), None)}


def _from_model(
    scorer: "LibreHPS", read: "Preferences", save_scores: Path | None, out: Output
) -> tuple[dict["Key", "MediaScore"], int]:
    """Every media of the pairs scored once; those that cannot be are named on stderr."""
    from librehps.evaluate.scored_pairs import scores_of
    from librehps.preferences.media import items_of

    items = list(items_of(read.pairs).values())
    failed: list[ScoredRow] = []
    rows = out.progress(_kept(scorer, items, save_scores), len(items))
    found = scores_of(rows, failed)
    for row in failed:
        out.error(f"{row.item.media if isinstance(row.item.media, Path) else row.item.id}: "
                  f"{row.error} ({type(row.error).__name__})")  # fmt: skip
    return found, len(failed)


def _kept(scorer: "LibreHPS", items: list["Item"], file: Path | None) -> Iterator["ScoredRow"]:
    """The rows of the items, written to the file on their way."""
    if file is None:
        yield from scorer.score_items(items)
        return
    from librehps.scores.columns import full_columns
    from librehps.scores.row import to_full_record
    from librehps.scores.writer import open_sink

    with open_sink(file, scorer.settings, full_columns(scorer.axes)) as sink:
        for row in scorer.score_items(items):
            sink.write(to_full_record(row, scorer.settings))
            yield row
