"""Items from webdataset tars, in which members with the same stem form one sample."""

import json
import re
import tarfile
from collections.abc import Iterator
from itertools import product
from pathlib import Path, PurePosixPath
from typing import Any

from librehps.errors import ItemError, PromptError, UsageError
from librehps.files import printable
from librehps.items.rows import PROMPT_NAMES
from librehps.media.archived import TarMember
from librehps.media.media import kind_by_name
from librehps.types import Item

BRACES = re.compile(r"\{(\d+)\.\.(\d+)\}|\{([^{}]*,[^{}]*)\}")
# A longer .txt or .json member is no caption.
MAX_TEXT_BYTES = 1 << 20


def expand_braces(pattern: str) -> list[str]:
    """Return the names that `{000..012}` and `{a,b}` stand for, as in shells; widths are kept."""
    parts, choices, at = [], [], 0
    for found in BRACES.finditer(pattern):
        parts.append(pattern[at : found.start()])
        first, last, names = found.groups()
        if names is not None:
            choices.append(names.split(","))
        else:
            width = len(first)
            step = 1 if int(first) <= int(last) else -1
            choices.append([f"{n:0{width}}" for n in range(int(first), int(last) + step, step)])
        at = found.end()
    parts.append(pattern[at:])
    filled = product(*choices)
    return ["".join(p + c for p, c in zip(parts, (*chosen, ""), strict=True)) for chosen in filled]


class Tar:
    """The items of one tar: each image or video, with the prompt in the sample's .txt or .json.

    Ids begin with `name`.
    """

    has_prompts = True

    def __init__(self, file: Path, name: str, prompt_field: str | None) -> None:
        self._file, self._name, self._field = file, name, prompt_field
        self.skipped = 0
        self.container = file

    def __iter__(self) -> Iterator[Item]:
        key = ""
        members: list[tarfile.TarInfo] = []
        for member in self._members():
            found = _key(member.name)
            if found != key and members:
                yield from self._sample(members)
                members = []
            key = found
            members.append(member)
        yield from self._sample(members)

    def _members(self) -> Iterator[tarfile.TarInfo]:
        """Yield the regular members in order, without the list of them that `tarfile` keeps."""
        try:
            with tarfile.open(self._file, "r:") as tar:
                while (member := tar.next()) is not None:
                    tar.members = []  # type: ignore[attr-defined]
                    if member.isfile():
                        yield member
                    elif not member.isdir():
                        self.skipped += 1
                self._check_end(tar.offset)
        except (tarfile.TarError, OSError) as error:
            raise UsageError(
                f"{self._file} cannot be read as a tar: {error}",
                hint="Compressed tars are not supported: decompress them first.",
            ) from error

    def _check_end(self, offset: int) -> None:
        """Raise UsageError unless the tar ends with a block of zeros.

        `tarfile` stops silently at a damaged header or a truncated file.
        """
        with self._file.open("rb") as file:
            file.seek(offset)
            if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
                raise UsageError(
                    f"{self._file} is damaged or truncated at byte {offset}",
                    hint="Download or pack the tar again.",
                )

    def _sample(self, members: list[tarfile.TarInfo]) -> Iterator[Item]:
        media = [m for m in members if kind_by_name(m.name)]
        self.skipped += sum(
            not kind_by_name(m.name) and not m.name.endswith((".txt", ".json")) for m in members
        )
        if not media:
            return
        for member in media:
            prompt: str | None = None
            problem: ItemError | None = None
            try:
                prompt = self._prompt(member.name, members)
            except PromptError as error:
                problem = error
            stored = TarMember(str(self._file), member.name, member.offset_data, member.size)
            name = printable(f"{self._name}/{member.name}")
            yield Item(name, stored, prompt, kind_by_name(member.name), problem=problem)

    def _prompt(self, name: str, members: list[tarfile.TarInfo]) -> str | None:
        text = self._beside(name, ".txt", members) if self._field is None else None
        if text is not None:
            return self._text(text).strip()
        text = self._beside(name, ".json", members)
        if text is None:
            return None
        try:
            content: Any = json.loads(self._text(text))
        except (ValueError, RecursionError) as error:
            raise PromptError(f"{self._file}::{text.name}: invalid JSON: {error}") from error
        fields = content if isinstance(content, dict) else {}
        names = (self._field,) if self._field else PROMPT_NAMES
        return next((fields[n] for n in names if isinstance(fields.get(n), str)), None)

    def _beside(
        self, name: str, suffix: str, members: list[tarfile.TarInfo]
    ) -> tarfile.TarInfo | None:
        """Return the member with this suffix and the same stem, else the sample's only one."""
        found = [m for m in members if m.name.lower().endswith(suffix)]
        stem = str(PurePosixPath(name).with_suffix(""))
        same = [m for m in found if m.name[: -len(suffix)] == stem]
        if not same and len(found) > 1:
            raise PromptError(
                f"{self._file}::{name}: {len(found)} {suffix} files in its sample, "
                f"expected {PurePosixPath(stem).name}{suffix}"
            )
        return next(iter(same or found), None)

    def _text(self, member: tarfile.TarInfo) -> str:
        if member.size > MAX_TEXT_BYTES:
            raise PromptError(
                f"{self._file}::{member.name} is too long for a prompt ({member.size} bytes; "
                f"at most {MAX_TEXT_BYTES})"
            )
        with self._file.open("rb") as file:
            file.seek(member.offset_data)
            content = file.read(member.size)
        try:
            return content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise PromptError(f"{self._file}::{member.name}: not valid UTF-8: {error}") from error


def _key(name: str) -> str:
    """Return the webdataset sample key: the name up to the first dot of its base name."""
    folder, _, base = name.rpartition("/")
    return f"{folder}/{base.split('.', 1)[0]}"
