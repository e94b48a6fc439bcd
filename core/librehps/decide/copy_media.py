"""Copy, link or move chosen media into a folder, each file named by its id, rank or score."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from librehps.choices import Way
from librehps.decide.naming import Naming
from librehps.decide.place import Copied, place
from librehps.errors import MediaError, UsageError
from librehps.media.archived import is_remote
from librehps.media.named import NOT_ALLOWED, CellOptions, Found, media_named
from librehps.scores.replaced import with_media
from librehps.scores.score_table import Scores, ScoreTable, as_score_table
from librehps.scores.select import media_paths, text_column
from librehps.storage.places import shown


def copy_media(
    scores: Scores,
    folder: str | Path,
    *,
    link: bool = False,
    move: bool = False,
    naming: Naming | None = None,
    sidecars: bool | None = None,
    root: str | Path | None = None,
    allow_remote: bool = False,
) -> Copied:
    """Copy the media of each row to `folder`/id; `link` to the files, or `move` them, instead.

    `naming` gives other names than ids. Ids that lead out of the folder are shortened, and equal
    names are numbered. `sidecars` (`a.txt`, `a.json`, `a.xmp`, `a.png.xmp`) go
    with their media; by default only when these are moved. `root` is the folder or URL in which the
    media lie now (default: where the scored file says). URLs that the rows name are read with
    `allow_remote` only. Raises UsageError for a row without a path or an id, and the errors of
    `place`.
    """
    given = as_score_table(scores)
    way = way_of(link, move)
    ids = text_column(given.source, "id")
    if ids.null_count:
        raise UsageError("cannot copy media: a row has no id to name the file")
    names = (naming or Naming()).names(given, ids.to_pylist())
    copied = place(media_of(given, root, allow_remote), names, Path(folder), way, sidecars)
    return with_moves(copied, given, names, Path(folder)) if way == "move" else copied


def way_of(link: bool, move: bool) -> Way:
    """Return the way that two flags choose; raises UsageError for both."""
    if link and move:
        raise UsageError("link and move cannot be used together")
    return "move" if move else "link" if link else "copy"


def with_moves(copied: Copied, scores: ScoreTable, names: Sequence[str], folder: Path) -> Copied:
    """Return the result of a move with the new path of each row's media."""
    texts, whole = media_paths(scores.source).to_pylist(), folder.resolve()
    pairs = zip(texts, names, strict=True)
    moved = {text: str(whole / name) for text, name in pairs if name not in copied.failed}
    return replace(copied, moved=moved)


def moved_rows(scores: ScoreTable, moved: Mapping[str, str]) -> ScoreTable:
    """Return the rows with the new paths of `Copied.moved` in the column media."""
    return scores.of(with_media(scores.source, moved))


def media_of(
    scores: ScoreTable, root: str | Path | None = None, allow_remote: bool = False
) -> list[Found]:
    """Return the media of each row, or the error that says why they cannot be read.

    Raises UsageError for a row without a path.
    """
    texts: list[str] = media_paths(scores.source).to_pylist()
    return [one for one in media_named_in(scores, texts, root, allow_remote) if one is not None]


def media_named_in(
    scores: ScoreTable,
    texts: Sequence[str | None],
    root: str | Path | None = None,
    allow_remote: bool = False,
) -> list[Found | None]:
    """Return the media of each text of the column media, None for none."""
    folder = scores.folder.under(root)
    places = {text: folder.whole(text) for text in texts if text is not None}
    named = media_named(places.values(), CellOptions(*folder.cells()))
    if not allow_remote:
        # Below a URL that the user gave, reading is what the user asked for.
        given = str(root) if root is not None and is_remote(str(root)) else None
        named |= {place: _refused(place) for place in named
                  if is_remote(place) and not (given and place.startswith(given))}  # fmt: skip
    return [None if text is None else named[places[text]] for text in texts]


def _refused(place: str) -> MediaError:
    return MediaError(f"{shown(place)}: {NOT_ALLOWED}")
