"""Places of ratings and of our own properties in an XMP packet, as offsets into its bytes."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any
from xml.parsers import expat

from librehps.errors import BrokenMediaError, UnsupportedMediaError

RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
XMP = "http://ns.adobe.com/xap/1.0/"
OURS = "urn:librehps:ns:1.0/"
MAX_BYTES = 1 << 24
MAX_DEPTH = 200
# Encodings that an XML declaration may name: the packet is edited as UTF-8 bytes.
UTF8 = frozenset(("utf-8", "utf8", "us-ascii"))
UTF16 = (b"\xff\xfe", b"\xfe\xff")
_ATTRIBUTE = re.compile(rb"\s+([^\s=/>]+)\s*=\s*(\"[^\"]*\"|'[^']*')")
_TAG = re.compile(rb"<(?:[^\"'<>]|\"[^\"]*\"|'[^']*')*>")
Name = tuple[str, str]


@dataclass(frozen=True)
class Property:
    """A property of the picture: `start` to `end` with its name, and the place of its value.

    `tag` is the place of the whole tag that an attribute stands in, None for an element.
    """

    name: Name
    value: str
    start: int
    end: int
    value_start: int
    value_end: int
    tag: tuple[int, int] | None


@dataclass
class Scan:
    """The contents of a packet: `rdf_end` is where a further rdf:Description goes."""

    rdf_end: int | None = None
    about: bytes = b'""'
    ratings: list[Property] = field(default_factory=list)
    ours: list[Property] = field(default_factory=list)


# An untagged sidecar is the same for every picture, and most of the time went into reading it.
@lru_cache(maxsize=4)
def scan(packet: bytes) -> Scan:
    """Return the ratings and our properties; raises a MediaError for a packet of another kind.

    A document type is refused, since its entities may grow without bound.
    """
    if len(packet) > MAX_BYTES:
        raise UnsupportedMediaError(f"its XMP has {len(packet)} bytes (at most {MAX_BYTES})")
    # Some programs end a packet with zero bytes.
    whole = packet.rstrip(b"\0")
    if whole.startswith(UTF16) or b"\0" in whole:
        raise UnsupportedMediaError("its XMP is in UTF-16; expected UTF-8")
    reader = _Reader(whole)
    try:
        reader.parser.Parse(whole, True)
    except expat.ExpatError as error:
        raise BrokenMediaError(f"its XMP is not valid XML: {error}") from error
    if reader.found.rdf_end is None:
        raise UnsupportedMediaError("its XMP has no rdf:RDF element to add a rating to")
    if len(reader.found.ratings) > 1:
        raise UnsupportedMediaError("its XMP has several ratings")
    return reader.found


class _Reader:
    """The handlers of a parser, which collect a Scan."""

    def __init__(self, packet: bytes) -> None:
        self.packet, self.found = packet, Scan()
        self._path: list[tuple[Name, int]] = []
        self._has_about = False
        self._inner: list[str] = []
        self.parser = expat.ParserCreate(namespace_separator=" ")
        self.parser.ordered_attributes = True
        self.parser.buffer_text = True
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._inner.append
        self.parser.XmlDeclHandler = self._declared
        self.parser.StartDoctypeDeclHandler = self._doctype

    def _declared(self, _version: str, encoding: str | None, _alone: int) -> None:
        if encoding is not None and encoding.lower() not in UTF8:
            raise UnsupportedMediaError(f"its XMP is in {encoding}; expected UTF-8")

    def _doctype(self, *_: object) -> None:
        raise UnsupportedMediaError("its XMP has a document type, which XMP does not allow")

    def _start(self, text: str, attributes: Sequence[str]) -> None:
        name, at = _split(text), self.parser.CurrentByteIndex
        if name == (RDF, "Description") and [n for n, _ in self._path[-1:]] == [(RDF, "RDF")]:
            self._description(at, attributes)
        self._path.append((name, at))
        if len(self._path) > MAX_DEPTH:
            raise UnsupportedMediaError(f"its XMP is nested too deeply (at most {MAX_DEPTH})")
        self._inner.clear()

    def _description(self, at: int, attributes: Sequence[str]) -> None:
        tag = _TAG.match(self.packet, at)
        if tag is None:
            raise UnsupportedMediaError("its XMP is not UTF-8")
        raw = [m for m in _ATTRIBUTE.finditer(self.packet, at, tag.end())
               if m[1].partition(b":")[0] != b"xmlns"]  # fmt: skip
        for known, value, match in zip(attributes[::2], attributes[1::2], raw, strict=True):
            name = _split(known)
            if name == (RDF, "about") and not self._has_about:
                self.found.about, self._has_about = match[2], True
            spans = (match.start(), match.end(), match.start(2) + 1, match.end(2) - 1)
            self._keep(Property(name, value, *spans, (at, tag.end())))

    def _end(self, text: str) -> None:
        name, start = self._path.pop()
        at = self.parser.CurrentByteIndex
        parents = [n for n, _ in self._path[-2:]]
        is_property = parents == [(RDF, "RDF"), (RDF, "Description")]
        if not is_property and name != (RDF, "RDF"):
            return
        tag = _TAG.match(self.packet, start)
        # Such as <xmp:Rating/>, whose end is behind the tag.
        is_closed = tag is None or tag[0].endswith(b"/>")
        if name == (RDF, "RDF"):
            self.found.rdf_end = None if is_closed else at
            return
        opened = tag.end() if tag else start
        if is_closed:
            if name == (XMP, "Rating"):
                raise UnsupportedMediaError("its XMP has an empty rating")
            self._keep(Property(name, "", start, opened, opened, opened, None))
            return
        end = self.packet.index(b">", at) + 1
        self._keep(Property(name, "".join(self._inner), start, end, opened, at, None))

    def _keep(self, found: Property) -> None:
        if found.name == (XMP, "Rating"):
            self.found.ratings.append(found)
        elif found.name[0] == OURS:
            self.found.ours.append(found)


def _split(text: str) -> Name:
    space, _, local = text.rpartition(" ")
    return space, local


def text_of(value: Any) -> bytes:
    """Return a value as the text of an XML attribute in double quotes."""
    text = str(value).replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")
    # A line break in an attribute would be read as a space.
    return text.replace("\n", "&#10;").replace("\r", "&#13;").replace("\t", "&#9;").encode()
