"""The client of the reward server, which reward functions accept in place of a model."""

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import KW_ONLY, dataclass, field
from numbers import Real
from threading import Event, Lock
from typing import Any

from librehps.errors import (
    EmptyPromptError,
    ItemError,
    MediaError,
    PromptError,
    RewardServerError,
    UnsupportedMediaError,
    UsageError,
)
from librehps.rewards.transport import (
    RetryPolicy,
    TooLargeError,
    check_address,
    checked_token,
    post,
)
from librehps.scores.columns import axes_in_rows
from librehps.types import BatchItem, Item

Row = Mapping[str, Any]
# An item's index in its batch, and its JSON text.
Entry = tuple[int, bytes]
BEGIN, SEPARATOR, END = b'{"items": [', b", ", b"]}"
ENVELOPE_BYTES = len(BEGIN) + len(END)
# Shared by all clients, since a client with its own lock could not be pickled.
_SETTINGS_LOCK = Lock()


@dataclass
class RewardClient:
    """A client that scores items on the reward server at `url`, with `token` if required.

    A request to a busy or absent server is retried `retries` times, after waits that double from
    0.5 s to 60 s, each up to 25 % longer at random. `timeout` is the limit in seconds for the start
    of an answer and for the whole answer. A request has at most `batch_size` items and `body_limit`
    bytes (a single item may be larger); a request that the server finds too large is split in half.
    At most `parallel` requests run at the same time. `settings` is the digest of the server's
    settings after the first answer; RewardServerError is raised if the digest changes, since the
    scores of two models would be mixed. Videos are sent as files, from a path or bytes; a video
    given as frames gets an error row. A client can be pickled.
    """

    url: str
    token: str | None = field(default=None, repr=False)
    _: KW_ONLY
    retries: int = 8
    timeout: float = 120.0
    batch_size: int = 16
    body_limit: int = 16 << 20
    parallel: int = 4
    settings: str | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        check_address(self.url)
        self.token = checked_token(self.token)
        counts = (self.batch_size, self.body_limit, self.parallel)
        if not all(isinstance(n, int) for n in (self.retries, *counts)):
            raise UsageError("retries, batch_size, body_limit, parallel: expected integers")
        if self.retries < 0 or not min(self.timeout, *counts) > 0:
            raise UsageError(
                "expected retries >= 0, and timeout, batch_size, body_limit, parallel > 0"
            )

    def score(self, items: Sequence[Item | BatchItem]) -> list[Row | None]:
        """Return the row of each item, in order, with the default columns; None without a score.

        A file is sent unchanged and pixels in memory as PNG, so that the scores equal those of
        `score_image`. Raises RewardServerError.
        """
        return [row if row["status"] == "ok" else None for row in self.rows(items)]

    def rows(self, items: Sequence[Item | BatchItem]) -> list[Row]:
        """Return the row of each item, in order; an error row has status, error_type and error."""
        listed = [
            item if isinstance(item, Item) else Item(str(at), item.image, item.prompt, "image")
            for at, item in enumerate(items)
        ]
        parts = [listed[i : i + self.batch_size] for i in range(0, len(listed), self.batch_size)]
        pool = ThreadPoolExecutor(self.parallel, thread_name_prefix="reward")
        over = Event()
        try:
            futures = [pool.submit(self._part, part, over) for part in parts]
            for future in wait(futures, return_when=FIRST_EXCEPTION).done:
                # Raise a fatal error now; the other requests may wait for minutes.
                future.result()
            return [row for future in futures for row in future.result()]
        finally:
            over.set()
            pool.shutdown(wait=False, cancel_futures=True)

    def _part(self, items: list[Item], over: Event) -> list[Row]:
        """Return the rows of one batch, unless `over` is set; runs in a thread."""
        rows: dict[int, Row] = {}
        entries: list[Entry] = []
        for at, item in enumerate(items):
            try:
                entries.append((at, json.dumps({"id": str(at), **_fields(item)}).encode()))
            except ItemError as error:
                rows[at] = _error_row(error)
        for group in self._groups(entries):
            rows |= self._send(group, over)
        return [{**rows[at], "id": item.id} for at, item in enumerate(items)]

    def _groups(self, entries: list[Entry]) -> Iterator[list[Entry]]:
        """Yield groups of neighbours that fit in one body; a larger entry is a group of its own."""
        group: list[Entry] = []
        size = ENVELOPE_BYTES
        for entry in entries:
            taken = len(entry[1]) + len(SEPARATOR)
            if group and size + taken > self.body_limit:
                yield group
                group, size = [], ENVELOPE_BYTES
            group.append(entry)
            size += taken
        if group:
            yield group

    def _send(self, group: list[Entry], over: Event) -> dict[int, Row]:
        """Return rows by index; a group that the server finds too large is split in half."""
        body = BEGIN + SEPARATOR.join(text for _, text in group) + END
        address = f"{self.url.rstrip('/')}/score"
        try:
            answer = post(address, body, self.token, RetryPolicy(self.retries, self.timeout, over))
        except TooLargeError as error:
            if len(group) == 1:
                return {group[0][0]: _error_row(MediaError(str(error)))}
            half = len(group) // 2
            return self._send(group[:half], over) | self._send(group[half:], over)
        self._check_settings(answer.get("settings"))
        return dict(zip((at for at, _ in group), _rows_of(answer, group, address), strict=True))

    def _check_settings(self, digest: Any) -> None:
        with _SETTINGS_LOCK:
            if self.settings is None:
                self.settings = digest
        if digest != self.settings:
            raise RewardServerError(
                f"{self.url}: server settings changed from {self.settings} to {digest}: "
                "old and new scores cannot be compared",
                hint="Make a new RewardClient to use the new settings.",
            )


def _rows_of(answer: Row, group: list[Entry], address: str) -> list[Row]:
    """Return the rows of an answer, one for each entry; raises RewardServerError."""
    rows = answer.get("items")
    whole = isinstance(rows, list) and all(isinstance(r, dict) and "status" in r for r in rows)
    if not whole or [r.get("id") for r in rows or ()] != [str(at) for at, _ in group]:
        raise RewardServerError(
            f"{address}: invalid answer: the items differ from those of the request"
        )
    for row in rows or ():
        _check_numbers(row, address)
    return list(rows or ())


def _check_numbers(row: Row, address: str) -> None:
    for name in (column for axis in axes_in_rows([row]) for column in (axis, f"{axis}_mu")):
        if not isinstance(row.get(name), Real | None):
            raise RewardServerError(
                f"{address}: invalid answer: {name}: expected a number, got {row[name]!r}"
            )


def _error_row(error: ItemError) -> Row:
    return {"status": "error", "error_type": type(error).__name__, "error": str(error)}


def _fields(item: Item) -> dict[str, Any]:
    """Return the JSON fields of an item for the server; raises ItemError."""
    from librehps.media.media import Media
    from librehps.rewards.pictures import readable

    item = readable(item)
    if item.problem is not None:
        raise item.problem
    _check_prompt(item.prompt)
    content = Media(item.media)
    kind = item.kind or content.kind()
    if content.is_encoded:
        media = content.data
    elif kind == "video":
        raise UnsupportedMediaError(
            "unsupported video in memory: give the server a video file (path or bytes)"
        )
    else:
        media = _png(item.media)
    name = "video_b64" if kind == "video" else "image_b64"
    return {"prompt": item.prompt, name: base64.b64encode(media).decode()}


def _check_prompt(prompt: Any) -> None:
    """Raise PromptError for an invalid prompt, which would fail the whole request."""
    if not isinstance(prompt, str) or not prompt.strip():
        raise EmptyPromptError("empty prompt, or not a string")
    try:
        prompt.encode()
    except UnicodeEncodeError as error:
        raise PromptError(f"invalid Unicode in the prompt: {error.reason}") from error


def _png(source: Any) -> bytes:
    """Return pixels as PNG, lossless, as `score_image` reads them; compressed lightly for speed."""
    from io import BytesIO

    from PIL import Image

    from librehps.media.images import load_pixels

    pixels = load_pixels(source).permute(1, 2, 0).contiguous()
    file = BytesIO()
    Image.fromarray(pixels.numpy()).save(file, "PNG", compress_level=1)
    return file.getvalue()
