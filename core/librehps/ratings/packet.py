"""Ratings written into an XMP packet by edits of single places, and taken out of it again.

Everything else in the packet keeps its bytes: comments, spaces, and what other tools wrote.
"""

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from librehps.ratings.packet_scan import OURS, RDF, XMP, Property, Scan, scan, text_of

SIDECAR = (
    f'<?xml version="1.0" encoding="UTF-8"?>\n'
    f'<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="librehps">\n'
    f' <rdf:RDF xmlns:rdf="{RDF}">\n'
    f"</rdf:RDF>\n"
    f"</x:xmpmeta>\n"
).encode()
EMBEDDED = (
    f'<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n'
    f'<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="librehps">\n'
    f' <rdf:RDF xmlns:rdf="{RDF}">\n'
    f"</rdf:RDF>\n"
    f"</x:xmpmeta>\n"
    f'<?xpacket end="w"?>'
).encode()
_BLOCK = f'<rdf:Description xmlns:rdf="{RDF}" xmlns:xmp="{XMP}" xmlns:librehps="{OURS}" rdf:about='
_IS_BLOCK = re.compile(
    re.escape(_BLOCK.encode()) + rb"(\"[^\"]*\"|'[^']*')( (xmp|librehps):\w+=\"[^\"]*\")*/>\n"
)
# Our copy of the rating, which tells a rating that somebody has changed since.
STARS = "stars"
Edit = tuple[int, int, bytes]


class Unrated(NamedTuple):
    """A packet without our properties, and the properties that it had.

    `is_edited`: somebody has changed the rating since, and it stays.
    """

    packet: bytes
    ours: Mapping[str, str]
    is_edited: bool


class Rated(NamedTuple):
    """A packet with a rating, and the other rating that it replaces, None if there was none."""

    packet: bytes
    previous: str | None


def rated(packet: bytes, rating: int, facts: Mapping[str, object]) -> Rated:
    """Return the packet with the rating, and with `facts` as properties in our own namespace.

    A rating that was there is remembered in the packet. Raises a MediaError like `scan`.
    """
    base = unrated(packet).packet
    found = scan(base)
    ours = {STARS: rating, **facts}
    properties = list[tuple[str, object]]()
    edits = list[Edit]()
    previous = found.ratings[0].value if found.ratings else None
    if previous is None:
        properties.append(("xmp:Rating", rating))
    else:
        place = found.ratings[0]
        edits.append((place.value_start, place.value_end, text_of(rating)))
        # As it stands there, so that it comes back byte for byte.
        ours["previous"] = base[place.value_start : place.value_end].decode()
    properties += [(f"librehps:{name}", value) for name, value in ours.items()]
    block = _BLOCK.encode() + found.about
    for name, value in properties:
        block += b" " + name.encode() + b'="' + text_of(value) + b'"'
    end = found.rdf_end or 0
    return Rated(_edited(base, [*edits, (end, end, block + b"/>\n")]), previous)


def unrated(packet: bytes) -> Unrated:
    """Return the packet without our properties, and with the rating that was there before.

    A rating that somebody has changed since stays.
    """
    found = scan(packet)
    ours = {place.name[1]: place.value for place in found.ours}
    if not ours:
        return Unrated(packet, {}, is_edited=False)
    rating = found.ratings[0] if found.ratings else None
    is_edited = rating is None or rating.value.strip() != ours.get(STARS)
    edits = list[Edit]()
    if rating is not None and not is_edited:
        if "previous" in ours:
            edits.append((rating.value_start, rating.value_end, ours["previous"].encode()))
        else:
            edits.append((rating.start, rating.end, b""))
    edits += [(place.start, place.end, b"") for place in found.ours]
    block = _own_block(packet, found, rating if is_edited else None)
    if block is not None:
        edits = [edit for edit in edits if not block[0] <= edit[0] < block[1]]
        edits.append((*block, b""))
    return Unrated(_edited(packet, edits), ours, is_edited)


def _own_block(packet: bytes, found: Scan, kept: Property | None) -> tuple[int, int] | None:
    """Return the place of the rdf:Description that `rated` wrote, if it is unchanged.

    `kept` is a rating that must stay.
    """
    tags = {place.tag for place in found.ours}
    [tag] = tags if len(tags) == 1 else [None]
    if tag is None or (kept is not None and kept.tag == tag):
        return None
    match = _IS_BLOCK.match(packet, tag[0])
    return None if match is None else match.span()


def _edited(packet: bytes, edits: Iterable[Edit]) -> bytes:
    """Return the packet with each place replaced by other bytes; no two places overlap."""
    for start, end, text in sorted(edits, reverse=True):
        packet = packet[:start] + text + packet[end:]
    return packet
