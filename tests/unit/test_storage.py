"""Reading and writing of places: local paths, http(s) URLs, fsspec URLs; errors by their kind."""

import errno
import socket
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from librehps.errors import (
    StorageDeniedError,
    StorageError,
    StorageNetworkError,
    StorageNotFoundError,
    UsageError,
)
from librehps.storage import drivers, retry, store
from librehps.storage.places import host_of, name_of, shown
from librehps.storage.url_path import UrlPath
from web_server import serving

BODY = bytes(range(256)) * 40


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Make the waits between attempts no waits, and return their seconds."""
    found: list[float] = []
    monkeypatch.setattr(retry, "sleep", found.append)
    return found


@pytest.mark.parametrize("ranges", [True, False])
def test_a_file_on_the_web_is_read_whole_by_range_and_with_seeks(ranges: bool) -> None:
    table = pa.table({"a": list(range(1000)), "b": [f"text {n}" for n in range(1000)]})
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, row_group_size=100)
    files = {"/a.bin": BODY, "/t.parquet": sink.getvalue().to_pybytes(), "/none": b""}
    with serving(files, ranges=ranges) as web:
        url = f"{web.url}/a.bin"
        assert store.read(url) == BODY
        assert store.read_range(url, 300, 500) == BODY[300:800]
        assert store.read_range(url, len(BODY) - 5, 50) == BODY[-5:]
        assert store.read_range(url, len(BODY) + 5, 50) == b""
        assert (store.stat(url).size, store.stat(url).has_ranges) == (len(BODY), ranges)
        assert store.stat(f"{web.url}/none").size == 0
        assert store.exists(url) and not store.exists(f"{web.url}/b.bin")
        with store.open_file(f"{web.url}/t.parquet") as file:
            assert pq.ParquetFile(pa.PythonFile(file, mode="r")).read() == table


@pytest.mark.parametrize("problem", [503, 500, 429, "short", "drop", "stall", "stall body"])
def test_what_may_pass_is_tried_again(
    problem: object, waits: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    if "stall" in str(problem):
        monkeypatch.setenv("LIBREHPS_READ_TIMEOUT", "0.4")
    with serving({"/a": BODY}, fail=lambda path, n: problem if n < 3 else None) as web:
        assert store.read(f"{web.url}/a") == BODY
    with serving({"/a": BODY}, fail=lambda path, n: problem if n == 1 else None) as web:
        assert store.read_range(f"{web.url}/a", 10, 100) == BODY[10:110]
    assert len(waits) == 3 and waits[1] > waits[0] / 1.5


@pytest.mark.parametrize(
    ("problem", "cause"),
    [(503, "HTTP 503"), (429, "HTTP 429"), ("stall", "timeout"), ("short", "incomplete answer")],
)
def test_attempts_are_bounded_and_the_error_tells_its_cause(
    problem: object, cause: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if problem == "stall":
        monkeypatch.setenv("LIBREHPS_READ_TIMEOUT", "0.1")
    with serving({"/a": BODY}, fail=lambda path, n: problem) as web:
        with pytest.raises(StorageNetworkError, match=f"{cause}.*attempt 3 of 3") as caught:
            store.read(f"{web.url}/a")
        assert web.requests == {"/a": 3}
    assert (caught.value.cause, caught.value.host) == (cause, web.url.removeprefix("http://"))


@pytest.mark.parametrize(
    ("status", "kind"),
    [(404, StorageNotFoundError), (410, StorageNotFoundError), (401, StorageDeniedError),
     (403, StorageDeniedError), (400, StorageError), (501, StorageError)],
)  # fmt: skip
def test_what_stays_is_asked_once(status: int, kind: type[StorageError]) -> None:
    with serving({"/a": BODY}, fail=lambda path, n: status) as web:
        with pytest.raises(StorageError) as caught:
            store.read(f"{web.url}/a?token=abc")
        assert web.requests == {"/a": 1}
    assert type(caught.value) is kind and "abc" not in str(caught.value)


def test_another_part_than_the_one_asked_for_is_not_taken() -> None:
    other = (206, {"Content-Range": "bytes 0-6/9000"})
    with (
        serving({"/a": BODY}, fail=lambda path, n: other) as web,
        pytest.raises(StorageNetworkError, match="wrong part"),
    ):
        store.read_range(f"{web.url}/a", 10, 7)


@pytest.mark.parametrize(
    ("url", "origin", "parts", "below"),
    [
        ("https://h/a%20b/c.csv?x=/1", "https://h", ("https://h", "a b", "c.csv"),
         "https://h/a%20b/d%23%3F.png?x=/1"),
        ("s3://b/x%20/c.csv", "s3://b", ("s3://b", "x%20", "c.csv"), "s3://b/x%20/d#?.png"),
        ("hf://datasets/u/r/x/c.csv", "hf://datasets/u/r",
         ("hf://datasets", "u", "r", "x", "c.csv"), "hf://datasets/u/r/x/d#?.png"),
        ("hf://u/r@v/c.csv", "hf://u/r@v", ("hf://u", "r@v", "c.csv"), "hf://u/r@v/d#?.png"),
    ],
)  # fmt: skip
def test_parts_of_a_url(url: str, origin: str, parts: tuple[str, ...], below: str) -> None:
    path = UrlPath(url)
    assert (path.origin, path.parts, path.name) == (origin, parts, "c.csv")
    folder = path.parent
    for name in ("d#?.png", "./e/../d#?.png"):
        assert folder.below(name).url == below
    for name in ("/d.png", "C:\\d.png", "../" * len(parts) + "d.png"):
        assert folder.below(name) is None


def test_a_server_says_how_long_to_wait(waits: list[float]) -> None:
    asked = (429, {"Retry-After": "7"})
    with serving({"/a": BODY}, fail=lambda path, n: asked if n == 1 else None) as web:
        assert store.read(f"{web.url}/a") == BODY
    assert 7 <= waits[0] <= 10.5


def test_a_connection_refused_and_a_host_without_address(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(StorageNetworkError, match="connection refused"):
        store.read(f"http://127.0.0.1:{port}/a")

    def fail(*_: object, **__: object) -> None:
        raise socket.gaierror(-3, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(StorageNetworkError, match="DNS failure"):
        store.read("http://nowhere.invalid/a")


def test_a_driver_that_never_answers_or_fails_in_its_own_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import fsspec

    kind = fsspec.get_filesystem_class("memory")

    def fail(*_: object, **__: object) -> None:
        raise KeyError("a bug of the driver")

    monkeypatch.setattr(kind, "cat_file", fail)
    with pytest.raises(StorageError, match="KeyError: 'a bug of the driver'"):
        store.read("memory://bucket/a")
    with pytest.raises(StorageError, match=r"needs gcsfs: pip install 'librehps\[remote\]'"):
        monkeypatch.setitem(__import__("sys").modules, "gcsfs", None)
        store.read("gs://bucket/a")
    with serving({}, fail=lambda path, n: "stall") as web:
        monkeypatch.setattr(kind, "cat_file", lambda *_: web.over.wait(20))
        monkeypatch.setenv("LIBREHPS_READ_LIMIT", "0.2")
        with pytest.raises(StorageNetworkError, match="no answer in"):
            store.read("memory://bucket/a")


def test_the_stamp_of_a_file_changes_with_its_content(tmp_path: Path) -> None:
    for place in (f"memory://{tmp_path.name}/a.png", str(tmp_path / "a.png")):
        with pytest.raises(StorageNotFoundError, match=r"a\.png does not exist"):
            store.read(place)
        stamps = set()
        for content in (b"a", b"other"):
            with fsspec.open(place, "wb") as file:
                file.write(content)
            assert store.read(place) == content and store.stat(place).size == len(content)
            stamps.add(store.stat(place).stamp)
        assert len(stamps) == 2


@pytest.mark.parametrize(
    ("url", "plain", "host", "name"),
    [
        ("https://u:p@h/a.png?X-Amz-Signature=1&x=1", "https://h/a.png?x=1", "h", "a.png"),
        ("https://h/a.png?sv=2&sig=a%2Fb&se=3&x=1", "https://h/a.png?x=1", "h", "a.png"),
        ("https://h/a.png?token=1", "https://h/a.png", "h", "a.png"),
        ("s3://key:secret@bucket/a?.png", "s3://bucket/a?.png", "s3://bucket", "a?.png"),
        ("abfs://c@a.dfs/x", "abfs://c@a.dfs/x", "abfs://c@a.dfs", "x"),
        ("hf://datasets/u/r@main/x", "hf://datasets/u/r@main/x", "hf://datasets", "x"),
        ("zip://a.png::https://h/z.zip?sig=1", "zip://a.png::https://h/z.zip", "h", "a.png"),
    ],
)  # fmt: skip
def test_a_url_is_shown_without_what_grants_access(
    url: str, plain: str, host: str, name: str
) -> None:
    assert (shown(url), host_of(url), name_of(url)) == (plain, host, name)
    assert shown(f"cannot read '{url}' now") == f"cannot read '{plain}' now"


def test_an_invalid_limit_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIBREHPS_READ_ATTEMPTS", "many")
    with pytest.raises(UsageError, match="LIBREHPS_READ_ATTEMPTS: expected a number"):
        store.read("http://127.0.0.1:9/a")


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (OSError(errno.ESTALE, "Stale file handle"), StorageNetworkError),
        (OSError(errno.ENOTCONN, "Transport endpoint is not connected"), StorageNetworkError),
        (OSError(errno.EIO, "Input/output error"), StorageNetworkError),
        (PermissionError(errno.EACCES, "Permission denied"), StorageDeniedError),
        (NotADirectoryError(errno.ENOTDIR, "Not a directory"), StorageNotFoundError),
        (OSError(errno.ENAMETOOLONG, "File name too long"), StorageError),
    ],
)
def test_errors_of_a_mount_are_told_by_their_kind(
    error: OSError, kind: type[StorageError], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fail(*_: object, **__: object) -> bytes:
        raise error

    monkeypatch.setattr(Path, "read_bytes", fail)
    with pytest.raises(StorageError) as caught:
        store.read(tmp_path / "a.png")
    assert type(caught.value) is kind


def test_a_bucket_is_asked_once_a_read_and_tells_its_errors(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    problems: list[object] = []
    with serving({"/bucket/a": BODY}, fail=lambda *_: problems.pop(0) if problems else None) as web:
        monkeypatch.setenv("AWS_ENDPOINT_URL", web.url)
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
        drivers._system.cache_clear()
        assert store.read("s3://bucket/a") == BODY
        assert web.requests == {"/bucket/a": 1}
        problems += [503, "short", None]
        assert store.read("s3://bucket/a") == BODY
        assert web.requests == {"/bucket/a": 4}
        assert store.read_range("s3://bucket/a", len(BODY) - 5, 10) == BODY[-5:]
        assert store.read_range("s3://bucket/a", len(BODY) + 5, 10) == b""
        problems += [403]
        with pytest.raises(StorageDeniedError, match="HTTP 403"):
            store.read("s3://bucket/a")
        problems += [500] * 3
        with pytest.raises(StorageNetworkError, match="HTTP 500"):
            store.read("s3://bucket/a")
        with pytest.raises(StorageNotFoundError):
            store.read("s3://bucket/b")
    drivers._system.cache_clear()
