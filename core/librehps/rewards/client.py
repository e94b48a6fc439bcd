"""A client of the reward server, which stands where a model stands in the reward functions."""

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
from librehps.rewards.transport import Patience, TooLargeError, check_address, checked_token, post
from librehps.scores.columns import axes_in_rows
from librehps.types import BatchItem, Item

Row = Mapping[str, Any]
# An item's place in its part, and its JSON text.
Entry = tuple[int, bytes]
BEGIN, SEPARATOR, END = b'{"items": [', b", ", b"]}"
ENVELOPE = len(BEGIN) + len(END)
# Of every client, since one with a lock of its own could not be pickled.
_SETTINGS_LOCK = Lock()


@dataclass
class RewardClient:
    """Asks the reward server at `url`, with `token` where it wants one.

    A busy or absent server is asked again `retries` times, after waits that double from half a
    second to a minute, each up to a quarter longer. An answer has `timeout` seconds to begin, and
    is given up after them unless it is whole. A request holds at most `batch_size` items, and
    `body_limit` bytes unless one item alone has more; what the server finds too much is halved.
    `parallel` of them are under way. `settings` is the digest of what the scores depend on, once
    known; where it changes, RewardServerError is raised, since scores of two models would be mixed.
    Clips are sent as files, by path or bytes; frames in memory get an error row. It can be pickled.
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
            raise UsageError("retries, batch_size, body_limit and parallel are whole numbers")
        if self.retries < 0 or not min(self.timeout, *counts) > 0:
            raise UsageError(
                "retries are 0 or more; timeout, batch_size, body_limit and parallel above 0"
            )

    def score(self, items: Sequence[Item | BatchItem]) -> list[Row | None]:
        """The row of each item, in order: default columns; None for one that has no score.

        A path is sent as the file is, pixels in memory as PNG, so that the scores are those of
        `score_image`. Raises RewardServerError.
        """
        return [row if row["status"] == "ok" else None for row in self.rows(items)]

    def rows(self, items: Sequence[Item | BatchItem]) -> list[Row]:
        """As `score`, with the rows of errors: status, error_type, error."""
        listed = [
            item if isinstance(item, Item) else Item(str(at), item.image, item.prompt, "image")
            for at, item in enumerate(items)
        ]
        parts = [listed[i : i + self.batch_size] for i in range(0, len(listed), self.batch_size)]
        pool = ThreadPoolExecutor(self.parallel, thread_name_prefix="reward")
        over = Event()
        try:
            asked = [pool.submit(self._part, part, over) for part in parts]
            for one in wait(asked, return_when=FIRST_EXCEPTION).done:
                # Raises what is fatal, without the others, which may wait for minutes.
                one.result()
            return [row for one in asked for row in one.result()]
        finally:
            over.set()
            pool.shutdown(wait=False, cancel_futures=True)

    def _part(self, items: list[Item], over: Event) -> list[Row]:
        """In a thread: encode, send, wait, unless it is over."""
        rows: dict[int, Row] = {}
        entries: list[Entry] = []
        for at, item in enumerate(items):
            try:
                entries.append((at, json.dumps({"id": str(at), **_fields(item)}).encode()))
            except ItemError as error:
                rows[at] = _error_row(error)
        for group in self._groups(entries):
            rows |= self._ask(group, over)
        return [{**rows[at], "id": item.id} for at, item in enumerate(items)]

    def _groups(self, entries: list[Entry]) -> Iterator[list[Entry]]:
        """Neighbours that fit in one body together; one that does not fit is alone."""
        group: list[Entry] = []
        size = ENVELOPE
        for entry in entries:
            taken = len(entry[1]) + len(SEPARATOR)
            if group and size + taken > self.body_limit:
                yield group
                group, size = [], ENVELOPE
            group.append(entry)
            size += taken
        if group:
            yield group

    def _ask(self, group: list[Entry], over: Event) -> dict[int, Row]:
        """Rows by place; what the server finds too much for a request is halved."""
        body = BEGIN + SEPARATOR.join(text for _, text in group) + END
        address = f"{self.url.rstrip('/')}/score"
        try:
            answer = post(address, body, self.token, Patience(self.retries, self.timeout, over))
        except TooLargeError as error:
            if len(group) == 1:
                return {group[0][0]: _error_row(MediaError(str(error)))}
            half = len(group) // 2
            return self._ask(group[:half], over) | self._ask(group[half:], over)
        self._check_settings(answer.get("settings"))
        return dict(zip((at for at, _ in group), _rows_of(answer, group, address), strict=True))

    def _check_settings(self, digest: Any) -> None:
        with _SETTINGS_LOCK:
            if self.settings is None:
                self.settings = digest
        if digest != self.settings:
            raise RewardServerError(
                f"the server's settings changed from {self.settings} to {digest}: its scores "
                "cannot be compared with those before",
                hint="Make a new RewardClient to go on with the new ones.",
            )


def _rows_of(answer: Row, group: list[Entry], address: str) -> list[Row]:
    """The rows of an answer, one for each entry and of its id; raises RewardServerError."""
    rows = answer.get("items")
    whole = isinstance(rows, list) and all(isinstance(r, dict) and "status" in r for r in rows)
    if not whole or [r.get("id") for r in rows or ()] != [str(at) for at, _ in group]:
        raise RewardServerError(f"{address} answers other items than it was asked for")
    for row in rows or ():
        _check_numbers(row, address)
    return list(rows or ())


def _check_numbers(row: Row, address: str) -> None:
    for name in (column for axis in axes_in_rows([row]) for column in (axis, f"{axis}_mu")):
        if not isinstance(row.get(name), Real | None):
            raise RewardServerError(f"{address} answers {row[name]!r} for {name}, not a number")


def _error_row(error: ItemError) -> Row:
    return {"status": "error", "error_type": type(error).__name__, "error": str(error)}


def _fields(item: Item) -> dict[str, Any]:
    """An item as the server reads it; raises ItemError."""
    from librehps.media.media import Media

    if item.problem is not None:
        raise item.problem
    _check_prompt(item.prompt)
    content = Media(item.media)
    kind = item.kind or content.kind()
    if content.is_encoded:
        media = content.data
    elif kind == "video":
        raise UnsupportedMediaError("a video is sent to a server as a file, not as frames")
    else:
        media = _png(item.media)
    name = "video_b64" if kind == "video" else "image_b64"
    return {"prompt": item.prompt, name: base64.b64encode(media).decode()}


def _check_prompt(prompt: Any) -> None:
    """Raise PromptError for what would spoil the whole request, since it is no text."""
    if not isinstance(prompt, str) or not prompt.strip():
        raise EmptyPromptError("the prompt is empty, or no text")
    try:
        prompt.encode()
    except UnicodeEncodeError as error:
        raise PromptError(f"the prompt is not valid Unicode text: {error.reason}") from error


def _png(source: Any) -> bytes:
    """Pixels as `score_image` reads them, without loss, packed lightly since time counts."""
    from io import BytesIO

    from PIL import Image

    from librehps.media.images import load_pixels

    pixels = load_pixels(source).permute(1, 2, 0).contiguous()
    file = BytesIO()
    Image.fromarray(pixels.numpy()).save(file, "PNG", compress_level=1)
    return file.getvalue()
