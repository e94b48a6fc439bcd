"""A source split by the items' ids: which part an item is in, and whether all parts are there."""

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from librehps.errors import UsageError

# Of names in a message.
LISTED = 8
AS_FILES = "Files named one by one are read as they are."


def in_shard(identity: str, which: int, count: int) -> bool:
    """Whether an id falls into a shard, from 1; it does so on every machine alike."""
    digest = hashlib.sha256(identity.encode(errors="surrogateescape")).digest()
    return int.from_bytes(digest[:8], "big") % count == which - 1


def parse_shard(text: str) -> tuple[int, int]:
    """(which, count) of `3/8`; raises UsageError."""
    found = re.fullmatch(r"(\d+)/(\d+)", text)
    which, count = (int(number) for number in found.groups()) if found else (0, 0)
    if not 1 <= which <= count:
        raise UsageError(f"--shard {text}: expected I/N with 1 <= I <= N, as in 3/8")
    return which, count


def check_shards(folder: Path, requests: Mapping[Path, Mapping[str, Any]]) -> None:
    """Raise UsageError where files of a folder are shards of a run, but not each of them once.

    `requests` is what each file was asked as; runs are told apart by everything but the shard.
    """
    runs: dict[str, dict[tuple[int, int], Path]] = {}
    for file, request in requests.items():
        if request.get("shard") is None:
            continue
        # The machines of one run may work in different folders.
        rest = {name: value for name, value in request.items() if name not in ("shard", "folder")}
        files = runs.setdefault(json.dumps(rest, sort_keys=True), {})
        other = files.setdefault(parse_shard(str(request["shard"])), file)
        if other != file:
            raise UsageError(
                f"{other} and {file} are both shard {request['shard']} of one run",
                hint=f"Keep one of them in {folder}. {AS_FILES}",
            )
    for files in runs.values():
        _check_all(folder, files)


def _check_all(folder: Path, files: Mapping[tuple[int, int], Path]) -> None:
    counts = {count: file for (_, count), file in files.items()}
    if len(counts) > 1:
        (one, file), (two, other) = list(counts.items())[:2]
        raise UsageError(
            f"{file} is of a run in {one} shards, and {other} of the same run in {two}",
            hint=f"Keep those of one in {folder}. {AS_FILES}",
        )
    [count] = counts
    first = next(iter(files.values()))
    missing = [f"{at}/{count}" for at in range(1, count + 1) if (at, count) not in files]
    if missing:
        raise UsageError(
            f"{folder} is unfinished: beside {first.name} it lacks {listed('shard', missing)}"
            " of the same paths and flags",
            hint=f"Score what is missing with --shard {missing[0]} into the folder. {AS_FILES}",
        )


def listed(noun: str, names: list[str]) -> str:
    """The noun and the names, cut where they are many."""
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return f"{noun}{'s' * (len(names) > 1)} {', '.join(names[:LISTED])}{more}"
