"""Shards: a run split by item ids, and a check that a folder holds every shard once."""

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

from librehps.errors import UsageError
from librehps.storage.url_path import AnyPath

MAX_LISTED_NAMES = 8
AS_FILES = "Or name the files one by one: then nothing is checked."


def in_shard(identity: str, which: int, count: int) -> bool:
    """Return whether an id belongs to shard `which` of `count`, from 1; equal on all machines."""
    digest = hashlib.sha256(identity.encode(errors="surrogateescape")).digest()
    return int.from_bytes(digest[:8], "big") % count == which - 1


def parse_shard(text: str) -> tuple[int, int]:
    """Return (3, 8) of "3/8"; raises UsageError."""
    found = re.fullmatch(r"(\d+)/(\d+)", text)
    which, count = (int(number) for number in found.groups()) if found else (0, 0)
    if not 1 <= which <= count:
        raise UsageError(f"--shard: expected I/N with 1 <= I <= N, such as 3/8, got {text!r}")
    return which, count


def check_shards(folder: AnyPath, requests: Mapping[AnyPath, Mapping[str, Any]]) -> None:
    """Raise UsageError if a folder's files are shards of a run, with a missing or duplicate shard.

    `requests` are the requests stored in the files; equal requests, apart from the shard, are one
    run.
    """
    runs: dict[str, dict[tuple[int, int], AnyPath]] = {}
    for file, request in requests.items():
        if request.get("shard") is None:
            continue
        # The machines of one run may work in different folders.
        rest = {name: value for name, value in request.items() if name not in ("shard", "folder")}
        files = runs.setdefault(json.dumps(rest, sort_keys=True), {})
        other = files.setdefault(parse_shard(str(request["shard"])), file)
        if other != file:
            raise UsageError(
                f"duplicate shard {request['shard']} of one run: {other} and {file}",
                hint=f"Keep one of them in {folder}. {AS_FILES}",
            )
    for files in runs.values():
        _check_all(folder, files)


def _check_all(folder: AnyPath, files: Mapping[tuple[int, int], AnyPath]) -> None:
    counts = {count: file for (_, count), file in files.items()}
    if len(counts) > 1:
        (one, file), (two, other) = list(counts.items())[:2]
        raise UsageError(
            f"{folder} mixes shards of two splits: {file} is one of {one}, {other} one of {two}",
            hint=f"Keep the shards of one split in {folder}. {AS_FILES}",
        )
    [count] = counts
    first = next(iter(files.values()))
    missing = [f"{at}/{count}" for at in range(1, count + 1) if (at, count) not in files]
    if missing:
        raise UsageError(
            f"{folder} is unfinished: missing {listed('shard', missing)} of the run of {first.name}"
            " (same paths and flags)",
            hint=f"Score the missing items with --shard {missing[0]} into the folder. {AS_FILES}",
        )


def listed(noun: str, names: list[str]) -> str:
    """Return the noun and the first 8 names, with the number of the others."""
    left = len(names) - MAX_LISTED_NAMES
    more = f" and {left} more" if left > 0 else ""
    return f"{noun}{'s' * (len(names) > 1)} {', '.join(names[:MAX_LISTED_NAMES])}{more}"
