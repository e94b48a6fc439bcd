"""Items from webdataset tars, in which members with the same stem form one sample."""

import json
import logging
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path, PurePosixPath
from typing import Any

from librehps.errors import (
    BrokenMediaError,
    ItemError,
    MediaError,
    PromptError,
    StorageError,
    UsageError,
)
from librehps.files import BYTE, counted, printable
from librehps.items.column_names import check_renamed
from librehps.items.passed_over import SPECIAL, PassedOver
from librehps.items.rows import ColumnOptions, check_ranges, invalid_prompt
from librehps.media.archived import TarMember
from librehps.media.media import kind_by_name
from librehps.media.named import PROMPT_NAMES
from librehps.media.tar_index import MAX_TEXT_BYTES, TEXT_SUFFIXES, Member, TarIndex
from librehps.rowfiles.text import decode_text
from librehps.storage import store
from librehps.storage.url_path import AnyPath, UrlPath, address
from librehps.types import Item

log = logging.getLogger("librehps")

BRACES = re.compile(r"\{(\d+)\.\.(\d+)\}|\{([^{}]*,[^{}]*)\}")
# Compressed tars, by suffix and by first bytes, and the command that decompresses them.
PACKED = (
    ((".tar.gz", ".tgz"), b"\x1f\x8b", "gunzip -k"),
    ((".tar.zst", ".tzst"), b"\x28\xb5\x2f\xfd", "zstd -d"),
    ((".tar.xz", ".txz"), b"\xfd7zXZ\0", "unxz -k"),
    ((".tar.bz2", ".tbz2", ".tbz"), b"BZh", "bunzip2 -k"),
    ((".tar.lz4",), b"\x04\x22\x4d\x18", "lz4 -d"),
)
TAR_MAGIC_AT = 257
GROUP_FIELD = "group"
# Fields of a longer .json member are no columns: thousands of items are listed together.
MAX_FIELDS_BYTES = 1 << 16
TAR_SUFFIXES = (".tar", *(suffix for suffixes, _, _ in PACKED for suffix in suffixes))


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


def names_tar(path: str | Path) -> bool:
    """Return whether the path has the suffix of a tar, compressed or not."""
    return str(path).lower().endswith(TAR_SUFFIXES)


class Tar:
    """The items of one tar: each image or video, with the prompt in the sample's .txt or .json.

    Ids begin with `name`. Other fields of the .json are own columns; `left_out` are those with
    `reserved` names. Members that cannot be read, and a tar that is cut short, are items with a
    problem. Raises UsageError for a compressed tar.
    """

    has_prompts = True

    def __init__(
        self, file: AnyPath, name: str, options: ColumnOptions, reserved: frozenset[str]
    ) -> None:
        self._file, self._name, self._options = file, name, options
        self._reserved, self._unread = reserved, 0
        self.left_out: dict[str, None] = {}
        self._encoded = set[str]()
        self.passed_over = PassedOver()
        self.container = file
        _check_packed(file)
        check_ranges(file, "members of a tar")

    def __iter__(self) -> Iterator[Item]:
        index = TarIndex(self._file)
        self._encoded = set[str]()
        try:
            if index.skipped:
                self.passed_over.add("", SPECIAL, index.skipped)
            is_told = has_texts = False
            for members in index.samples():
                has_texts |= any(m.name.lower().endswith(TEXT_SUFFIXES) for m in members)
                is_last = index.last is not None and members[0].sample == index.last.sample
                for item in self._sample(members, index):
                    if is_last and has_texts and index.damage and _lacks_prompt(item):
                        # Its prompt would have followed.
                        item = replace(item, problem=BrokenMediaError(index.damage))
                    is_told |= str(item.problem) == index.damage
                    yield item
            if index.damage and not is_told:
                problem = BrokenMediaError(index.damage)
                yield Item(printable(self._name), self._file, None, problem=problem)
            if self._unread:
                files = counted(self._unread, ".json file")
                log.warning("%s: the fields of %s are not columns (invalid JSON, or more than %d "
                            "KiB)", self._file, files, MAX_FIELDS_BYTES >> 10)  # fmt: skip
        finally:
            index.close()

    def _sample(self, members: list[Member], index: TarIndex) -> Iterator[Item]:
        media = [m for m in members if kind_by_name(m.name)]
        for member in members:
            if not kind_by_name(member.name) and not member.name.lower().endswith(TEXT_SUFFIXES):
                self.passed_over.add(member.name)
        for member in media:
            prompt: str | None = None
            problem: ItemError | None = None
            fields: dict[str, Any] = {}
            stored = TarMember(address(self._file), member.name, member.offset, member.size)
            try:
                found = self._content(member, index, MediaError)
                stored = TarMember(address(self._file), member.name, found.offset, found.size)
                prompt, fields = self._texts(member.name, members, index)
            except ItemError as error:
                problem = error
            number = index.earlier(member)
            name, kind = self._id(member.name, number), kind_by_name(member.name)
            group = fields.pop(self._options.group or GROUP_FIELD, None)
            group = None if group is None else printable(group)
            own = self._own(fields, member.name)
            yield Item(name, stored, prompt, kind, group, own, problem)

    def _id(self, name: str, number: int) -> str:
        """Return the id of the member that has `number` earlier members of its name."""
        whole = printable(f"{self._name}/{name}")
        found = f"{whole}#{number + 1}" if number else whole
        if BYTE.search(whole):
            # A name of undecodable bytes and another one may be the same text.
            while found in self._encoded:
                number += 1
                found = f"{whole}#{number + 1}"
            self._encoded.add(found)
        return found

    def _content(self, member: Member, index: TarIndex, error: type[ItemError]) -> Member:
        """Return the member that holds the content; raises `error` for a link to none."""
        try:
            found = index.target(member)
        except ValueError as reason:
            raise error(f"{self._file}::{member.name} {reason}") from reason
        if found.problem is not None:
            raise (BrokenMediaError if found.problem == index.damage else error)(found.problem)
        return found

    def _texts(
        self, name: str, members: list[Member], index: TarIndex
    ) -> tuple[str | None, dict[str, Any]]:
        """Return the prompt of a member, and the other fields of its sample's .json."""
        field = self._options.prompt
        text = self._beside(name, ".txt", members) if field is None else None
        if text is not None:
            prompt: str | None = self._text(text, index).strip()
            try:
                return prompt, self._short(self._beside(name, ".json", members), index)
            except ItemError:
                # The item has its prompt, and can be scored.
                self._unread += 1
                return prompt, {}
        text = self._beside(name, ".json", members)
        if text is None:
            return None, {}
        fields = self._fields(text, index)
        names = (field,) if field else PROMPT_NAMES
        used = next((n for n in names if isinstance(fields.get(n), str)), None)
        prompt = None if used is None else fields.pop(used)
        if wrong := invalid_prompt(prompt):
            raise PromptError(f"{self._file}::{text.name}: {wrong}")
        return prompt, self._short(text, index, fields)

    def _short(
        self, text: Member | None, index: TarIndex, fields: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Return the fields of a .json member, read unless given; none of a long one."""
        if text is None:
            return {}
        if self._content(text, index, PromptError).size > MAX_FIELDS_BYTES:
            self._unread += 1
            return {}
        return self._fields(text, index) if fields is None else fields

    def _fields(self, text: Member, index: TarIndex) -> dict[str, Any]:
        try:
            content: Any = json.loads(self._text(text, index))
        except (json.JSONDecodeError, RecursionError) as error:
            raise PromptError(f"{self._file}::{text.name}: invalid JSON: {error}") from error
        return content if isinstance(content, dict) else {}

    def _own(self, fields: Mapping[str, Any], name: str) -> dict[str, Any]:
        """Return the fields that are own columns, with their new names."""
        new = [self._options.rename.get(field, field) for field in fields]
        check_renamed(new, f"{self._file}::{name}")
        named = dict(zip(new, fields.values(), strict=True))
        self.left_out |= dict.fromkeys(name for name in named if name in self._reserved)
        return {name: value for name, value in named.items() if name not in self._reserved}

    def _beside(self, name: str, suffix: str, members: Sequence[Member]) -> Member | None:
        """Return the member with this suffix and the same stem, else the sample's only one.

        Of two members of one name the later one counts, as when a tar is unpacked.
        """
        found = {m.name.removeprefix("./"): m for m in members if m.name.lower().endswith(suffix)}
        stem = str(PurePosixPath(name).with_suffix(""))
        same = [m for path, m in found.items() if path[: -len(suffix)] == stem]
        if not same and len(found) > 1:
            raise PromptError(
                f"{self._file}::{name}: {len(found)} {suffix} files in its sample, "
                f"expected {PurePosixPath(stem).name}{suffix}"
            )
        return next(iter(same or found.values()), None)

    def _text(self, member: Member, index: TarIndex) -> str:
        place = f"{self._file}::{member.name}"
        found = self._content(member, index, PromptError)
        if found.size > MAX_TEXT_BYTES:
            raise PromptError(
                f"{place} is too long for a prompt ({found.size} bytes; at most {MAX_TEXT_BYTES})"
            )
        try:
            return decode_text(index.text(found))
        except ValueError as error:
            raise PromptError(f"{place}: {error}") from error


def _lacks_prompt(item: Item) -> bool:
    return item.prompt is None and item.problem is None


def _check_packed(file: AnyPath) -> None:
    """Raise UsageError for a compressed tar, by its suffix or its first bytes."""
    try:
        head = store.read_range(address(file), 0, TAR_MAGIC_AT + 5)
    except StorageError:
        # The index of the tar reports the error.
        return
    # A tar begins with the name of its first member, which may be "BZh.png".
    is_plain = head[TAR_MAGIC_AT:] == b"ustar"
    for suffixes, magic, command in PACKED:
        if (head.startswith(magic) and not is_plain) or file.name.lower().endswith(suffixes):
            raise UsageError(
                f"{file}: a compressed tar is not read (its members cannot be found by offset)",
                hint=_how_to_unpack(file, suffixes, command),
            )


def _how_to_unpack(file: AnyPath, suffixes: tuple[str, ...], command: str) -> str:
    if isinstance(file, UrlPath):
        return f"Decompress it, and upload the tar: {command} {shlex.quote(file.name)}"
    name = file if file.name.lower().endswith(suffixes) else f"{file}{suffixes[0][4:]}"
    rename = "" if name == file else f"mv {shlex.quote(str(file))} {shlex.quote(str(name))}"
    commands = [rename, f"{command} {shlex.quote(str(name))}"]
    return f"Decompress it: {' && '.join(filter(None, commands))}"
