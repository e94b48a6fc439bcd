"""The media that a bundle may take: a scored file of others could name any picture of the disk."""

import os
from collections.abc import Sequence
from pathlib import Path

from librehps.errors import MediaError
from librehps.media.archived import is_remote
from librehps.media.media import place_of
from librehps.media.named import Found
from librehps.scores.media_folder import MediaFolder, Origin
from librehps.scores.score_table import ScoreTable

# The reason why a bundle lacks media.
OUTSIDE = "outside the folder of the scored file, which needs --root FOLDER"


def permitted(
    scores: ScoreTable, media: Sequence[Found | None], root: str | Path | None
) -> list[Found | None]:
    """Return the media, with an error in place of those outside the scored file's folder and root.

    The folders that the file records do not count, since they are the words of its author.
    """
    if scores.folder.origins == MediaFolder.here().origins:
        # This process has scored them.
        return list(media)
    folders = _folders(scores.folder.origins, root)
    return [_checked(one, folders) for one in media]


def _folders(origins: Sequence[Origin], root: str | Path | None) -> list[Path]:
    """Return real paths; rows that come from no file may name media in the working folder."""
    found = [os.curdir if origin == Origin() else origin.now for origin in origins]
    if root is not None and not is_remote(str(root)):
        found.append(str(root))
    return [Path(os.path.realpath(folder)) for folder in found if folder is not None]


def _checked(media: Found | None, folders: Sequence[Path]) -> Found | None:
    place = place_of(media)
    if not place or is_remote(place):
        return media
    # Links are followed: one that leads out of the folder is as good as its target.
    real = Path(os.path.realpath(place))
    if any(real.is_relative_to(folder) for folder in folders):
        return media
    return MediaError(f"{place}: {OUTSIDE}")
