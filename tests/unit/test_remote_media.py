"""Media at URLs: reads overlap, each error is told by its kind, outages pause the run."""

import io
import json
import logging
import random
import shutil
import threading
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from conftest import Cli
from librehps import Item, LibreHPS
from librehps.engine import outage
from librehps.engine.decode import Decoder
from librehps.engine.outage import LIMIT_VARIABLE
from librehps.engine.reading import ByteBudget
from librehps.errors import (
    MediaDeniedError,
    MediaError,
    MediaNotFoundError,
    NetworkError,
    OutageError,
    StorageError,
)
from librehps.items.source import Source, SourceOptions
from librehps.media.archived import Remote
from librehps.media.parquet_column import ParquetColumn
from librehps.storage import retry, store
from make_media import picture
from web_server import WebServer, every_third, serving


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the waits between attempts take no time."""
    monkeypatch.setattr(retry, "sleep", lambda seconds: None)


def png(seed: int) -> bytes:
    content = io.BytesIO()
    picture(32, 32, seed).save(content, "PNG")
    return content.getvalue()


# Eight pictures, so that most items are read and decoded, but need no forward.
FILES = {f"/{at:02}.png": png(at % 8) for at in range(64)}


def items(web: WebServer, count: int = 64) -> list[Item]:
    return [Item(name, Remote(web.url + name), "x", "image") for name in sorted(FILES)[:count]]


def test_reads_overlap_however_few_threads_decode(tiny: LibreHPS) -> None:
    engine = tiny.engine(batch_size=4)
    engine.workers = 1
    # The server answers no request before so many have come.
    with serving(FILES, together=24) as web:
        rows = list(engine.run(items(web)))
        assert web.most_at_once >= 24
    assert [(row.item.id, row.status) for row in rows] == [(name, "ok") for name in sorted(FILES)]


def test_bytes_ahead_are_bounded() -> None:
    budget = ByteBudget(10)
    budget.take(30)
    budget.change(-30)
    budget.take(6)
    budget.change(-2)
    budget.take(6)
    budget.change(-10)
    budget.take(10)


def test_each_failure_is_told_by_its_kind_and_may_be_tried_again(
    tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    problems: dict[str, object] = {
        "00": 503, "01": 429, "02": "stall", "03": "short", "04": "drop", "05": 403, "06": 404,
        "07": 400,
    }  # fmt: skip
    import fsspec

    def fail(*_: object, **__: object) -> None:
        raise LookupError("a bug of the driver")

    monkeypatch.setattr(fsspec.get_filesystem_class("memory"), "cat_file", fail)
    monkeypatch.setenv("LIBREHPS_READ_TIMEOUT", "0.4")
    output, manifest = tmp_path / "out.jsonl", tmp_path / "list.jsonl"
    with serving(FILES, fail=lambda path, n: problems.get(path[1:3])) as web:
        urls = [f"{web.url}/{at:02}.png?X-Amz-Signature=hidden" for at in range(9)]
        urls += ["http://127.0.0.1:1/a.png", "memory://bucket/a.png", "nosuch://bucket/a.png"]
        manifest.write_text("".join(json.dumps({"media": url}) + "\n" for url in urls))
        ways = ("--model", "tiny", "--prompt", "x", "--allow-remote", "-o", output)
        done = cli("score", manifest, *ways)
        assert done.returncode == 3, done.stderr
        text = output.read_text()
        rows = [json.loads(line) for line in text.splitlines()]
        assert "hidden" not in text + done.stdout + done.stderr
        assert [row["error_type"] for row in rows] == [
            *["NetworkError"] * 5, "MediaDeniedError", "MediaNotFoundError", "MediaError", None,
            "NetworkError", "MediaError", "MediaError",
        ]  # fmt: skip
        words = ["HTTP 503", "HTTP 429", "timeout", "incomplete answer", "cannot be read",
                 "access denied (HTTP 403", "does not exist", "HTTP 400"]  # fmt: skip
        assert all(word in row["error"] for word, row in zip(words, rows, strict=False))
        assert "connection refused" in rows[9]["error"]
        assert "LookupError: a bug of the driver" in rows[10]["error"]
        problems.clear()
        done = cli("score", manifest, *ways, "--resume", "--retry-errors")
    rows = [json.loads(line) for line in output.read_text().splitlines()]
    assert [row["status"] for row in rows] == ["ok"] * 9 + ["error"] * 3


def test_a_server_that_fails_every_third_time_costs_no_row(tiny: LibreHPS) -> None:
    with serving(FILES, fail=every_third) as web:
        assert all(row.status == "ok" for row in tiny.engine().run(items(web)))
        assert max(web.requests.values()) == 2


def test_a_network_error_inside_a_row_group_loses_no_later_cell() -> None:
    # Larger than one request, so that the batches of the row group have begun at the error.
    cells = [random.Random(at).randbytes(1 << 18) for at in range(12)]
    content = io.BytesIO()
    pq.write_table(pa.table({"image": cells}), content)
    broken = [False]

    def fail(path: str, n: int) -> object:
        return 503 if broken[0] and n > 4 else None

    with serving({"/a.parquet": content.getvalue()}, fail=fail) as web:
        column = ParquetColumn(web.url + "/a.parquet", "image")
        broken[0] = True
        with pytest.raises(NetworkError):
            column.cell(0)
        broken[0] = False
        assert [column.cell(row) for row in range(12)] == cells


def packed(seeds: range, group_rows: int = 100) -> bytes:
    """Return a Parquet file of pictures, all of one size before compression."""
    content = io.BytesIO()
    table = pa.table({"image": [random.Random(seed).randbytes(1 << 18) for seed in seeds]})
    pq.write_table(table, content, row_group_size=group_rows, compression="none")
    return content.getvalue()


def test_a_parquet_file_that_is_replaced_gives_no_cell_of_another_version() -> None:
    files = {"/a.parquet": packed(range(20), 10)}
    with serving(files) as web:
        url = web.url + "/a.parquet"
        column, known = ParquetColumn(url, "image"), store.stat(url)
        with store.opened(url, known) as open_file:
            first = column.cell(0)
            files["/a.parquet"] = packed(range(20, 40), 10)
            assert store.stat(url).size == known.size, "only the stamp tells them apart"
            with pytest.raises(MediaError, match=r"a\.parquet changed while it was read"):
                column.cell(10)
            open_file.seek(4 << 20)
            with pytest.raises(StorageError, match="changed while it was read"):
                open_file.read(1)
        assert ParquetColumn(url, "image").cell(0) != first


def test_pictures_of_a_parquet_file_at_a_url_are_those_of_the_last_list(tiny: LibreHPS) -> None:
    def listed(*seeds: int) -> bytes:
        content = io.BytesIO()
        table = {"image": [png(seed) for seed in seeds], "prompt": ["x"] * len(seeds)}
        pq.write_table(pa.table(table), content)
        return content.getvalue()

    files = {"/a.parquet": listed(1, 2)}
    with serving(files) as web:
        both = list[list[float]]()
        for seeds in ((1, 2), (2, 1)):
            files["/a.parquet"] = listed(*seeds)
            found = Source([f"{web.url}/a.parquet"], SourceOptions())
            both.append([row.score.overall.raw_mean for row in tiny.score_items(found.items())])
    assert both[0] == both[1][::-1] and both[0][0] != both[0][1]


Heal = Callable[[], None]


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> tuple[list[float], list[Heal]]:
    """Let pauses take no time; return their seconds, and what to do in the next ones."""
    seconds, steps = list[float](), list[Heal]()

    def pause(_: object, wait: float) -> bool:
        seconds.append(wait)
        if steps:
            steps.pop(0)()
        return False

    monkeypatch.setattr(outage, "pause", pause)
    return seconds, steps


Pauses = tuple[list[float], list[Heal]]


@pytest.fixture
def one_lane() -> Iterator[None]:
    """Let a window be four batches, whatever the number of cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def failing_after(first: int, status: object) -> Callable[[str, int], object]:
    return lambda path, n: status if int(path[1:3]) >= first else None


@pytest.mark.parametrize("status", [503, "drop", 403])
def test_an_outage_pauses_the_run_and_loses_no_row(
    tiny: LibreHPS, pauses: Pauses, status: object, caplog: pytest.LogCaptureFixture
) -> None:
    seconds, steps = pauses
    with serving(FILES, fail=failing_after(32, status)) as web:
        steps += [lambda: None, lambda: setattr(web, "fail", lambda path, n: None)]
        rows = list(tiny.engine(batch_size=32).run(items(web)))
    assert [row.status for row in rows] == ["ok"] * 64
    assert seconds == [5.0, 10.0]
    assert "32 items in a row cannot be read: the run pauses, next try in 5 s" in caplog.text


@pytest.mark.usefixtures("pauses")
def test_an_outage_that_stays_ends_the_run_which_can_be_resumed(tmp_path: Path, cli: Cli) -> None:
    output, manifest = tmp_path / "out.jsonl", tmp_path / "list.jsonl"
    with serving(FILES, fail=failing_after(32, 503)) as web:
        lines = [json.dumps({"media": web.url + name}) for name in sorted(FILES)]
        manifest.write_text("\n".join(lines))
        ways = ("--model", "tiny", "--prompt", "x", "--allow-remote", "-o", output)
        done = cli("score", manifest, *ways, "--batch-size", "8")
        assert done.returncode == 1
        assert "items in a row cannot be read, for" in done.stderr
        assert "Continue with --resume" in done.stderr
        web.fail = lambda path, n: None
        web.requests.clear()
        assert cli("score", manifest, *ways, "--resume").returncode == 0
        assert len(web.requests) <= 32
    rows = [json.loads(line) for line in output.read_text().splitlines()]
    assert [row["status"] for row in rows] == ["ok"] * 64


def test_a_run_without_outages_writes_error_rows(
    tiny: LibreHPS, monkeypatch: pytest.MonkeyPatch, pauses: Pauses
) -> None:
    monkeypatch.setenv(LIMIT_VARIABLE, "0")
    with serving(FILES, fail=failing_after(0, 503)) as web:
        rows = list(tiny.engine(batch_size=32).run(items(web)))
    assert all(isinstance(row.error, NetworkError) for row in rows) and not pauses[0]


def test_access_that_was_never_given_is_no_outage(tiny: LibreHPS, pauses: Pauses) -> None:
    with serving(FILES, fail=failing_after(0, 403)) as web:
        rows = list(tiny.engine(batch_size=32).run(items(web)))
    assert all(isinstance(row.error, MediaDeniedError) for row in rows) and not pauses[0]


@pytest.mark.parametrize("comes_back", [True, False])
def test_a_folder_that_vanishes_pauses_the_run(
    tmp_path: Path,
    tiny: LibreHPS,
    pauses: Pauses,
    one_lane: None,
    monkeypatch: pytest.MonkeyPatch,
    comes_back: bool,
) -> None:
    decode, done, first_window = Decoder.decode, count(1), threading.Event()

    def counted(*args: Any, **options: Any) -> Any:
        decoded = decode(*args, **options)
        if next(done) >= 32:
            first_window.set()
        return decoded

    monkeypatch.setattr(Decoder, "decode", counted)
    mount, away = tmp_path / "mount", tmp_path / "away"
    mount.mkdir()
    for name, content in FILES.items():
        (mount / name[1:]).write_bytes(content)

    def source() -> Iterator[Item]:
        for at, name in enumerate(sorted(FILES)):
            if at == 32:
                # After the first window was decoded: its rows are due.
                assert [one.status for one in rows] == []
                assert first_window.wait(60)
                shutil.move(mount, away)
            yield Item(name, mount / name[1:], "x")

    rows = []
    if comes_back:
        pauses[1].append(lambda: shutil.move(away, mount))
        rows = list(tiny.engine(batch_size=8).run(source()))
        assert [row.status for row in rows].count("ok") >= 64 - 19
        assert len(pauses[0]) == 1
        return
    with pytest.raises(OutageError, match="does not exist"):
        for row in tiny.engine(batch_size=8).run(source()):
            rows.append(row)
            assert row.error is None or isinstance(row.error, MediaNotFoundError)
    assert sum(pauses[0]) <= 600


def test_a_stop_ends_a_pause(
    tiny: LibreHPS, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    engine = tiny.engine(batch_size=32)

    def pause(stop: object, seconds: float) -> bool:
        engine.stop.set()
        return True

    monkeypatch.setattr(outage, "pause", pause)
    with serving(FILES, fail=failing_after(32, 503)) as web:
        rows = list(engine.run(items(web)))
    assert [row.status for row in rows] == ["ok"] * 32


def named(web: WebServer, names: list[str]) -> list[Item]:
    return [Item(f"{at}", Remote(web.url + name), "x") for at, name in enumerate(names)]


def refused(ports: list[int]) -> list[Item]:
    """Return items of hosts that refuse connections."""
    return [Item(f"dead-{n}", Remote(f"http://127.0.0.1:{p}/a"), "x") for n, p in enumerate(ports)]


@pytest.mark.parametrize("is_first", [True, False])
def test_many_dead_hosts_in_a_row_pause_no_run(
    tiny: LibreHPS, pauses: Pauses, is_first: bool
) -> None:
    dead = refused(list(range(1, 25)))
    with serving(FILES) as web:
        good = items(web, 40)
        run = [*dead, *good] if is_first else [*good[:20], *dead, *good[20:]]
        rows = list(tiny.engine(batch_size=32).run(run))
    assert [row.item.id for row in rows] == [item.id for item in run]
    assert {row.item.id for row in rows if row.error} == {item.id for item in dead}
    assert pauses[0] == []


@pytest.mark.slow
@pytest.mark.parametrize(("gave_files", "longest"), [(False, 60), (True, 600)])
def test_a_dead_host_among_living_ones_costs_its_rows_only(
    tiny: LibreHPS,
    pauses: Pauses,
    gave_files: bool,
    longest: float,
    caplog: pytest.LogCaptureFixture,
) -> None:
    names = sorted(FILES)
    with serving(FILES) as web, serving(FILES, fail=failing_after(8, 503)) as lost:
        first = named(lost, names[:8]) if gave_files else []
        dead = named(lost, names[8:40])
        run = [*items(web, 32), *first, *dead, *items(web, 32), *dead]
        rows = list(tiny.engine(batch_size=32).run(run))
    statuses = ["ok"] * (32 + len(first)) + ["error"] * 32 + ["ok"] * 32 + ["error"] * 32
    assert [row.status for row in rows] == statuses
    assert longest / 2 < sum(pauses[0]) <= longest
    assert "while other hosts answer" in caplog.text


def test_a_network_that_is_away_pauses_the_run_whatever_the_hosts(
    tiny: LibreHPS, pauses: Pauses
) -> None:
    names, away = sorted(FILES), [False]

    def fail(path: str, n: int) -> object:
        away[0] = away[0] or path == names[50]
        return "drop" if away[0] else None

    pauses[1].append(lambda: (setattr(one, "fail", lambda path, n: None), None)[1])
    with serving(FILES, fail=fail) as one:
        run = [*items(one, 51), *refused(list(range(1, 25)))]
        rows = list(tiny.engine(batch_size=32).run(run))
    assert [row.status for row in rows] == ["ok"] * 51 + ["error"] * 24
    assert pauses[0] == [5.0]
