"""Outputs in a bucket hold the rows of a local run, however often the run or the server fails."""

import json
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import fsspec
import pyarrow.dataset as ds
import pytest

from bucket import Bucket, bucket, system, upload
from conftest import Cli
from librehps import LibreHPS, score_to
from librehps.errors import OutputError, UsageError
from librehps.runs.observer import RunObserver
from librehps.runs.parts_job import PartsJob
from librehps.runs.url_file_job import UrlFileJob
from librehps.scores import parts as parts_module
from librehps.scores import read
from librehps.scores.read import read_table
from librehps.storage import retry, writes
from librehps.storage.outputs import as_output
from make_media import picture
from run_data import assert_same

TOTAL, PART_ROWS = 14, 4
OUTPUTS = ["scores", "x.parquet", "x.jsonl"]


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of a few rows, and no waits between attempts."""
    monkeypatch.setattr(parts_module, "rows_of_part", lambda total: PART_ROWS)
    monkeypatch.setattr(retry, "sleep", lambda seconds: None)
    monkeypatch.setenv("LIBREHPS_READ_ATTEMPTS", "5")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures with own columns in a manifest; one file is no picture."""
    folder = tmp_path_factory.mktemp("pictures")
    rows = []
    for at in range(TOTAL):
        picture(32 + at % 3, 32, seed=at).save(folder / f"{at}.png")
        rows.append({"image": f"{at}.png", "prompt": f"red {at}", "seed": at, "cfg": at / 2})
    (folder / "5.png").write_text("no picture")
    (folder / "m.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.fixture(scope="module")
def model() -> LibreHPS:
    return LibreHPS.from_pretrained("tiny", batch_size=4, workers=2)


@pytest.fixture(scope="module")
def expected(
    pictures: Path, model: LibreHPS, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, list[dict]]:
    """The rows of a local run, by the suffix of its output."""
    folder, found = tmp_path_factory.mktemp("local"), {}
    for name in ("x.parquet", "x.jsonl"):
        score_to(pictures / "m.jsonl", folder / name, model=model)
        found[Path(name).suffix] = rows_of(str(folder / name), str(pictures))
    return {**found, "": found[".parquet"]}


@pytest.fixture(scope="module")
def s3(pictures: Path) -> Iterator[Bucket]:
    with bucket() as made:
        upload(pictures, f"{made.url}/pictures")
        yield made


@pytest.fixture
def target(s3: Bucket, request: pytest.FixtureRequest) -> str:
    """A folder of the bucket for this test alone."""
    return f"{s3.url}/{abs(hash(request.node.name))}"


def rows_of(output: str, media: str) -> list[dict]:
    """The rows, without where their media lie."""
    if output.endswith(".jsonl"):
        with fsspec.open(output, "r") as file:
            text = file.read()
        rows = list(map(json.loads, text.splitlines()))
    else:
        rows = read_table([as_output(output)])[0].to_pylist()
    return json.loads(json.dumps(rows).replace(media, "MEDIA"))


def check(output: str, media: str, expected: dict[str, list[dict]]) -> None:
    found = rows_of(output, media)
    assert_same(found, expected[Path(output).suffix])
    assert [row["cfg"] for row in found] == [row["cfg"] for row in expected[".parquet"]]
    assert not journal(output)


def journal(output: str) -> list[str]:
    files = fsspec.open(output).fs
    return files.find(f"{output}.journal") if files.exists(f"{output}.journal") else []


@pytest.mark.slow
@pytest.mark.parametrize("name", OUTPUTS)
def test_from_bucket_to_bucket(
    cli: Cli, s3: Bucket, target: str, small_parts: None, name: str, expected: dict
) -> None:
    output, source = f"{target}/{name}", f"{s3.url}/pictures"
    command = ("score", f"{source}/m.jsonl", "--model", "tiny", "-o", output)
    done = cli(*command)
    assert done.returncode == 3, done.stderr
    check(output, source, expected)
    top = cli("filter", output, "--top", "3").stdout.splitlines()
    assert len(top) == 3 and all(path.startswith(f"{source}/") for path in top)
    again = cli(*command)
    assert (again.returncode, "already exists" in again.stderr) == (2, True)
    complete = cli(*command, "--resume")
    assert complete.returncode == 3
    assert f"{output} is complete: 13 scored, 1 error;" in complete.stderr
    # The picture is there now.
    system().copy("bucket/pictures/4.png", "bucket/pictures/5.png")
    try:
        retried = cli(*command, "--retry-errors")
    finally:
        system().pipe("bucket/pictures/5.png", b"no picture")
    assert retried.returncode == 0, retried.stderr
    rows = rows_of(output, source)
    assert [row["status"] for row in rows] == ["ok"] * TOTAL
    assert [row["id"] for row in rows] == [row["id"] for row in expected[".parquet"]]
    assert not journal(output)
    assert cli(*command, "--overwrite").returncode == 3
    check(output, source, expected)


@pytest.mark.slow
def test_other_readers_take_the_folder(
    s3: Bucket, target: str, pictures: Path, model: LibreHPS, small_parts: None
) -> None:
    score_to(pictures / "m.jsonl", f"{target}/scores", model=model)
    found = ds.dataset(f"{target}/scores".removeprefix("s3://"), filesystem=system())
    assert found.count_rows() == TOTAL
    assert len(found.files) == 4


class Killed(BaseException):
    """The end of a process, which nothing in it can answer."""


def kill_at(monkeypatch: pytest.MonkeyPatch, moment: int, is_done: bool) -> None:
    """Let no write happen from one on; the last `is_done`, though the process never knows."""
    real, count = writes._done, 0

    def write(url: str, task: Any, extra_s: float = 0.0) -> Any:
        nonlocal count
        count += 1
        if count < moment:
            return real(url, task, extra_s)
        if count == moment and is_done:
            real(url, task, extra_s)
        raise Killed

    monkeypatch.setattr(writes, "_done", write)


def killed_and_resumed(
    pictures: Path, model: LibreHPS, output: str, moment: int, expected: dict
) -> int | None:
    """Return the rows that the resumed run kept; None if the run has fewer writes."""
    with pytest.MonkeyPatch.context() as patch:
        kill_at(patch, moment, is_done=moment % 2 == 0)
        try:
            score_to(pictures / "m.jsonl", output, model=model)
        except Killed:
            pass
        else:
            return None
    found = score_to(pictures / "m.jsonl", output, model=model, resume=True)
    assert (found.total, found.ok, found.failed) == (TOTAL, TOTAL - 1, 1)
    check(output, str(pictures), expected)
    return found.kept


@pytest.mark.slow
@pytest.mark.parametrize("name", OUTPUTS[:2])
def test_killed_at_any_write_and_resumed(
    pictures: Path, model: LibreHPS, small_parts: None, name: str, expected: dict
) -> None:
    moment, kept = 1, []
    while (found := killed_and_resumed(
        pictures, model, f"memory://{moment}/{name}", moment, expected)) is not None:  # fmt: skip
        kept.append(found)
        moment += 1
    assert len(kept) > 12
    assert {0, TOTAL} < set(kept)


@pytest.mark.slow
@pytest.mark.parametrize("moment", [2, 3, 7, 8, 11])
def test_killed_while_writing_to_a_bucket(
    pictures: Path, target: str, model: LibreHPS, small_parts: None, moment: int, expected: dict
) -> None:
    output = f"{target}/x.parquet"
    assert killed_and_resumed(pictures, model, output, moment, expected) is not None


@pytest.mark.slow
@pytest.mark.parametrize("name", OUTPUTS)
def test_a_server_that_fails_now_and_then(
    s3: Bucket, target: str, model: LibreHPS, small_parts: None, name: str, expected: dict
) -> None:
    """The first of three requests for the same thing is refused, cut short, or done in vain."""
    source, before = f"{s3.url}/pictures", s3.requests
    s3.fail_one = lambda n: ("lost", 503, "short")[n // 3 % 3] if n % 3 == 1 else None
    try:
        score_to(f"{source}/m.jsonl", f"{target}/{name}", model=model)
    finally:
        s3.fail_one = lambda n: None
    assert s3.requests - before > 80
    check(f"{target}/{name}", source, expected)


def test_the_disk_of_the_first_machine_is_gone(
    pictures: Path, model: LibreHPS, small_parts: None, tmp_path: Path, monkeypatch: Any
) -> None:
    """All that a resumed run needs is next to the output; the source is not listed again."""
    source, output = tmp_path / "pictures", "memory://moved/scores"
    shutil.copytree(pictures, source)
    with monkeypatch.context() as patch:
        kill_at(patch, 8, is_done=False)
        with pytest.raises(Killed):
            score_to(source, output, prompt="x", model=model)
    (source / "new.png").write_bytes((source / "1.png").read_bytes())
    for variable in ("HOME", "TMPDIR"):
        monkeypatch.setenv(variable, str(tmp_path))
    assert score_to(source, output, prompt="x", model=model, resume=True).total == TOTAL


@pytest.mark.parametrize(
    ("name", "at", "way"),
    [
        ("scores", "run_parts", "overwrite"),
        ("scores", "finish", "overwrite"),
        ("x.parquet", "finish", "overwrite"),
        ("x.parquet", "run_parts", "retry_errors"),
    ],
)
def test_two_processes_on_one_output(
    pictures: Path, model: LibreHPS, small_parts: None, name: str, at: str, way: str
) -> None:
    """A process whose run another one ends writes no part, no file, and no end of a run."""
    output, kind = f"memory://two/{at}/{way}/{name}", UrlFileJob if "." in name else PartsJob
    real, way_only = getattr(kind, at), {way: True}
    if way == "retry_errors":
        score_to(pictures, output, prompt="blue", model=model)
    with pytest.MonkeyPatch.context() as patch:

        def begun(job: PartsJob, *args: Any) -> Any:
            patch.undo()
            score_to(pictures, output, prompt="blue", model=model, **way_only)
            return real(job, *args)

        patch.setattr(kind, at, begun)
        mine = {"retry_errors": True, "prompt": "blue"} if way == "retry_errors" else {}
        source = pictures if mine else pictures / "m.jsonl"
        with pytest.raises(OutputError, match="another process has ended this run"):
            score_to(source, output, model=model, **mine)
    assert {row["prompt"] for row in rows_of(output, str(pictures))} == {"blue"}
    assert not journal(output)


@pytest.mark.parametrize("name", OUTPUTS[:2])
@pytest.mark.parametrize(
    ("killed_at", "said"), [(8, "is writing to"), (None, "has just finished the run")]
)
def test_another_run_while_this_process_lists_its_items(
    pictures: Path, model: LibreHPS, small_parts: None, name: str, killed_at: int, said: str
) -> None:
    """The other's rows and journal stay as they are."""
    output, create = f"memory://late{killed_at}/{name}", writes.create
    with pytest.MonkeyPatch.context() as patch:

        def late(url: str, content: bytes) -> bool:
            with pytest.MonkeyPatch.context() as other, suppress(Killed):
                other.setattr(writes, "create", create)
                kill_at(other, killed_at or 99, is_done=True)
                score_to(pictures / "m.jsonl", output, model=model)
            return create(url, content)

        patch.setattr(writes, "create", late)
        with pytest.raises(UsageError, match=f"another process {said}"):
            score_to(pictures / "m.jsonl", output, prompt="blue", model=model)
    found = score_to(pictures / "m.jsonl", output, model=model, resume=True)
    assert (found.total, found.was_complete) == (TOTAL, killed_at is None)
    assert "blue" not in {row["prompt"] for row in rows_of(output, str(pictures))}
    assert not journal(output)


@pytest.mark.parametrize("name", OUTPUTS[1:])
def test_a_retry_with_columns_that_the_file_lacks(
    pictures: Path, model: LibreHPS, name: str
) -> None:
    source, output = pictures / "m.jsonl", f"memory://lacking/{name}"
    for before, now in (("default", "full"), (["status", "overall"], "default")):
        score_to(source, output, model=model, columns=before, overwrite=True)
        with pytest.raises(UsageError, match="columns not found: "):
            score_to(source, output, model=model, columns=now, retry_errors=True)
        assert not journal(output)


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ("https://host/x.parquet", "a web server is for reading only"),
        ("https://host/x.parquet?X-Amz-Signature=hidden", "a web server is for reading only"),
        ("zip://x.parquet::s3://bucket/a.zip", "a chain of URLs is for reading only"),
        ("s3://key:hidden@bucket/x.parquet", "set them in the environment"),
        ("s3://bucket/x.parquet?X-Amz-Signature=hidden", "set them in the environment"),
        ("memory://bucket/x.csv", "unsupported output format '.csv'"),
        ("memory://", "the folder needs a name"),
        ("memory://bucket//x", "names cannot be empty"),
        ("memory://bucket/a/../x.jsonl", "names cannot be empty"),
        ("nothing://bucket/x", "no driver for nothing://"),
        (Path("s3://bucket/x"), "expected a URL as text"),
    ],
)
def test_outputs_that_are_refused(pictures: Path, output: str | Path, said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        score_to(pictures, output, prompt="x", model="tiny")
    assert "hidden" not in str(caught.value)


@pytest.mark.slow
def test_buckets_that_are_refused(s3: Bucket, cli: Cli) -> None:
    """The error comes before a model is loaded, which does not exist here."""
    source = (f"{s3.url}/pictures", "--prompt", "x", "--model", "no/model")
    for output, said in (("s3://gone/x", "its bucket does not exist"),
                         (f"{s3.url}/pictures", "which is not a part of scores"),
                         (f"{s3.url}/pictures/m.jsonl", "already exists")):  # fmt: skip
        done = cli("score", *source, "-o", output)
        assert (done.returncode, said in done.stderr) == (2, True), done.stderr
    pair = {"prompt": "x", "media_a": "1.png", "media_b": "2.png"}
    system().pipe("bucket/pairs.jsonl", json.dumps(pair).encode())
    done = cli("compare", f"{s3.url}/pairs.jsonl", "-m", "tiny", "-o", f"{s3.url}/y.parquet")
    assert (done.returncode, "expected a local file" in done.stderr) == (2, True), done.stderr


@pytest.mark.parametrize("name", ["x.parquet", "x.jsonl"])
def test_decisions_write_to_a_url(
    pictures: Path, model: LibreHPS, tmp_path: Path, cli: Cli, name: str
) -> None:
    score_to(pictures / "m.jsonl", tmp_path / "x.parquet", model=model)
    for command in (("filter", "--top", "3"), ("filter", "--ok-only")):
        url, local = f"memory://{command[1]}/{name}", tmp_path / name.replace("x.", "y.")
        for output in (url, local):
            found, again = (cli(command[0], tmp_path / "x.parquet", *command[1:], "-o", output)
                            for _ in range(2))  # fmt: skip
            assert found.returncode == 0, found.stderr
            assert "already exists" in again.stderr
        assert rows_of(url, str(pictures)) == rows_of(str(local), str(pictures))
        local.unlink()


def test_no_credentials_are_kept(
    pictures: Path, model: LibreHPS, small_parts: None, monkeypatch: Any
) -> None:
    for name in ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.setenv(name, "very-secret")
    with monkeypatch.context() as patch:
        kill_at(patch, 9, is_done=True)
        with pytest.raises(Killed):
            score_to(pictures / "m.jsonl", "memory://kept/scores", model=model)
    files = fsspec.filesystem("memory")
    found = files.find("/kept")
    assert len(found) > 3
    assert not any(b"very-secret" in files.cat(name) for name in found)


@pytest.mark.parametrize("memory", [0, 1 << 20])
@pytest.mark.parametrize("name", OUTPUTS[1:])
def test_a_retry_keeps_the_other_rows_of_a_file(
    pictures: Path, model: LibreHPS, small_parts: None, expected: dict, monkeypatch: Any,
    tmp_path: Path, name: str, memory: int,
) -> None:  # fmt: skip
    """Large files are not read whole; a file with more or fewer rows than items is refused."""
    monkeypatch.setattr(read, "MAX_BYTES_IN_MEMORY", memory)
    folder = shutil.copytree(pictures, tmp_path / "copied")
    output, source = f"memory://kept{memory}/{name}", folder / "m.jsonl"
    score_to(source, output, model=model)
    found = score_to(source, output, model=model, retry_errors=True)
    assert (found.kept, found.failed) == (TOTAL - 1, 1)
    check(output, str(folder), expected)
    lines = source.read_text().splitlines(keepends=True)
    for changed in (lines[:-1], [*lines, '{"image": "m.png", "prompt": ""}\n']):
        source.write_text("".join(changed))
        with pytest.raises(UsageError, match="the source has changed"):
            score_to(source, output, model=model, retry_errors=True)


@pytest.mark.parametrize("name", OUTPUTS[:2])
def test_an_observer_receives_each_row(pictures: Path, model: LibreHPS, name: str) -> None:
    observer, ids = RunObserver(), list[str]()
    observer.scored = lambda row: ids.append(row.item.id)
    output = f"memory://observed/{name}"
    score_to(pictures / "m.jsonl", output, model=model, observer=observer)
    assert ids == [row["id"] for row in rows_of(output, str(pictures))]


def test_a_local_url_is_a_path(pictures: Path, model: LibreHPS, tmp_path: Path) -> None:
    output = tmp_path / "x.parquet"
    assert score_to(pictures / "m.jsonl", f"file://{output}", model=model).output == output
    assert len(read_table([output])[0]) == TOTAL
