"""Ratings of one picture: in its sidecars, or inside the file."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from librehps.choices import SidecarNames
from librehps.errors import MediaError, MediaNotFoundError, UnsupportedMediaError
from librehps.ratings.containers import HEAD_BYTES, Webp, container_of
from librehps.ratings.files import Known, read_file, read_head, replace_file
from librehps.ratings.packet import EMBEDDED, SIDECAR, Rated, rated, unrated

# Our property in a sidecar that was made for the rating, and in a WebP file that got a header.
CREATED = "created"
SIMPLE_WEBP = {"container": "VP8X"}
Facts = Mapping[str, object]


class Change(NamedTuple):
    """The new content of a file: None deletes the file, and `before` is the file as it was read.

    `replaces`: another rating was there before. `is_edited`: somebody has changed the file since
    it was tagged, so that something of theirs stays.
    """

    file: Path
    before: Known
    after: bytes | None
    replaces: bool = False
    is_edited: bool = False

    @property
    def is_change(self) -> bool:
        """True unless the file is already as it should be."""
        return self.before.content != self.after

    def apply(self) -> None:
        """Write or delete the file; raises MediaError if that fails."""
        if self.is_change:
            replace_file(self.file, self.before, self.after)


@dataclass(frozen=True)
class Place:
    """The place of ratings: `sidecar` names, or inside the file (`embed`)."""

    sidecar: SidecarNames = "both"
    embed: bool = False

    @property
    def names_stem(self) -> bool:
        """True if sidecars without the picture's suffix are written."""
        return not self.embed and self.sidecar != "full"

    def changes(
        self, media: Path, rating: int | None, facts: Facts, is_shared: bool
    ) -> list[Change]:
        """Return the changes that give a picture its rating; None takes the rating away.

        `is_shared`: other media have this name with another suffix, so `a.xmp` is not theirs alone.
        """
        if self.embed:
            return [_embedded(media, rating, facts)]
        files = []
        if self.sidecar != "stem":
            files.append(media.with_name(f"{media.name}.xmp"))
        if self.sidecar != "full" and (rating is None or not is_shared):
            files.append(media.with_name(f"{media.stem}.xmp"))
        if not files:
            raise UnsupportedMediaError(
                f"other media would share its sidecar {media.stem}.xmp; use --sidecar full"
            )
        return [_sidecar(file, rating, facts) for file in files]


def _sidecar(file: Path, rating: int | None, facts: Facts) -> Change:
    known = read_file(file)
    before = known.content
    try:
        # A power loss may leave an empty file, which nobody wrote.
        base = unrated(before or SIDECAR)
        is_ours = base.packet == SIDECAR
        was_ours = CREATED in base.ours
        if rating is None:
            after = None if before is None or (base.ours and is_ours) else base.packet
            is_edited = base.is_edited or (was_ours and not is_ours)
            return Change(file, known, after, is_edited=is_edited)
        made = {CREATED: "sidecar"} if is_ours or was_ours else {}
        found = rated(base.packet, rating, {**facts, **made})
    except MediaError as error:
        raise type(error)(f"{file.name}: {error}") from error
    return Change(file, known, found.packet, _replaces(found, rating))


def _replaces(found: Rated, rating: int) -> bool:
    return found.previous is not None and found.previous.strip() != str(rating)


def _embedded(media: Path, rating: int | None, facts: Facts) -> Change:
    # First the format, since a video may not fit in memory.
    container = container_of(read_head(media, HEAD_BYTES))
    known = read_file(media)
    before = known.content
    if before is None:
        raise MediaNotFoundError("no such file")
    content, packet, is_edited = before, container.slot(before).packet, False
    base = None if packet is None else unrated(packet)
    if base is not None and base.ours:
        # As it was before any rating; a second rating starts from there too.
        packet, is_edited = base.packet, base.is_edited
        packet = None if packet == EMBEDDED else packet
        content = container.with_packet(content, packet)
        if packet is None and base.ours.get("container") and isinstance(container, Webp):
            content = container.simplified(content)
    if rating is None:
        return Change(media, known, content, is_edited=is_edited)
    if isinstance(container, Webp) and container.is_simple(content):
        facts = {**facts, **SIMPLE_WEBP}
    found = rated(packet or EMBEDDED, rating, facts)
    after = container.with_packet(content, found.packet)
    return Change(media, known, after, _replaces(found, rating))
