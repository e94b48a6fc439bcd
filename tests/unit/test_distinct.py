"""Near-duplicates: which rows of one look stay, and the hashes by which looks are told apart."""

import threading
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import distinct as planted
import librehps
from conftest import Cli
from librehps import LibreHPS, score_to
from librehps.decide import near_hashes
from librehps.decide.distinct import DEFAULT_BITS, count_looks, distinct_rows
from librehps.decide.near_hashes import apart, distances
from librehps.errors import UsageError
from librehps.runs.observer import RunObserver
from librehps.scores.read import open_table
from librehps.storage.url_path import UrlPath
from librehps.types import ScoredRow
from make_media import clip

QUALITIES = (95, 75, 50, 20)


def near(hashes: np.ndarray, most: int, rng: np.random.Generator) -> np.ndarray:
    """Hashes that differ from these in up to `most` bits."""
    bits = np.unpackbits(hashes.view(np.uint8), axis=1)
    for row in bits:
        row[rng.choice(len(row), rng.integers(0, most + 1), replace=False)] ^= 1
    return np.packbits(bits, axis=1).view(np.uint64)


def greedy(hashes: np.ndarray, limit: int) -> np.ndarray:
    """The rows that stay, by comparing each with all that stay so far."""
    kept: list[int] = []
    for at, one in enumerate(hashes):
        if not kept or distances(one, hashes[kept]).min() > limit:
            kept.append(at)
    return np.isin(np.arange(len(hashes)), kept)


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks so small that a few hundred hashes fill several indexes."""
    for name, value in {"BLOCK_ROWS": 32, "MAX_RECENT": 50, "MAX_PAIRS": 500, "GROWTH": 3}.items():
        monkeypatch.setattr(near_hashes, name, value)


@pytest.mark.parametrize("limit", [0, 1, 15, 16, 31, DEFAULT_BITS, 60])
@pytest.mark.parametrize("frames", [1, 3])
@pytest.mark.usefixtures("small_blocks")
def test_the_index_finds_all_that_comparing_all_pairs_finds(limit: int, frames: int) -> None:
    rng = np.random.default_rng(limit)
    looks = rng.integers(0, 2**64, (60, 4 * frames), dtype=np.uint64)
    hashes = np.concatenate([looks, *(near(looks, 40 * frames, rng) for _ in range(3))])
    hashes = hashes[rng.permutation(len(hashes))]
    kept = apart(hashes, limit * frames)
    assert np.array_equal(kept, greedy(hashes, limit * frames))
    assert 60 <= kept.sum() <= 240


def table_of(hashes: np.ndarray, **columns: list) -> pa.Table:
    rows = len(hashes)
    return pa.table(
        {
            "media": [f"{at}.png" for at in range(rows)],
            "status": ["ok"] * rows,
            "phash": [one.tobytes().hex() for one in hashes],
            **columns,
        }
    )


def test_groups_large_and_small_stills_and_clips_are_chosen_from_alike() -> None:
    rng = np.random.default_rng(0)
    looks = rng.integers(0, 2**64, (8, 4), dtype=np.uint64)
    hashes = near(looks[rng.integers(0, 8, 200)], 30, rng)
    codes = np.sort(rng.integers(0, 20, 200)) % 17
    codes[:80] = 3
    ranked = rng.permutation(200)[:180]
    kept = distinct_rows(table_of(hashes), ranked, codes)
    for code in set(codes.tolist()):
        rows = ranked[codes[ranked] == code]
        assert np.array_equal(kept[rows], greedy(hashes[rows], DEFAULT_BITS))
    assert kept.sum() == kept[ranked].sum()
    clips = pa.array([one.tobytes().hex() * 2 for one in hashes])
    assert np.array_equal(distinct_rows(pa.table({"phash": clips}), ranked, codes), kept)
    both = pa.table(
        {"phash": pa.concat_arrays([clips[:1], table_of(hashes)["phash"].chunk(0)[:1]])}
    )
    assert distinct_rows(both, np.arange(2), np.zeros(2, int)).all(), "a still is no clip"


def test_a_row_is_compared_with_rows_that_stay_only() -> None:
    """b is near a, and c near b but not a: c stays, since b does not."""
    bits = np.zeros((3, 256), np.uint8)
    bits[1, :40] = bits[2, :80] = 1
    table = table_of(np.packbits(bits, axis=1).view(np.uint64))
    assert distinct_rows(table, np.arange(3), np.zeros(3, int)).tolist() == [True, False, True]
    assert distinct_rows(table, np.array([1, 0, 2]), np.zeros(3, int)).tolist() == [
        False, True, False
    ]  # fmt: skip


def test_hashes_that_are_missing_or_not_of_this_kind_are_refused() -> None:
    table = table_of(np.ones((2, 4), np.uint64))
    both, one_group = np.arange(2), np.zeros(2, int)
    for column, message in {
        "ffff": "holds 'ffff'; expected 64 hexadecimal digits",
        "x" * 64: "expected 64 hexadecimal digits",
        None: "1 of 2 rows have no perceptual hash",
        "": "1 of 2 rows have no perceptual hash",
    }.items():
        wrong = table.set_column(2, "phash", pa.array(["0" * 64, column]))
        with pytest.raises(UsageError, match=message):
            distinct_rows(wrong, both, one_group)
        assert distinct_rows(wrong, both[:1], one_group).tolist() == [True, False]
    with pytest.raises(UsageError, match="no column phash") as error:
        distinct_rows(table.drop_columns("phash"), both, one_group)
    assert "--update --columns full" in (error.value.hint or "")


def test_planted_near_duplicates_are_found_and_others_are_left() -> None:
    pictures = planted.planted(60, seed=1)
    found = planted.judged(pictures, apart(planted.hashed(pictures), DEFAULT_BITS))
    assert (found.copies, found.precision) == (12, 1.0)
    assert set(found.missed) <= {"crop 4 %"}, "the others are near enough"
    assert found.recall >= 0.8


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder of one picture in six files, and another picture."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    one = planted.texture(1)
    for quality in QUALITIES:
        one.save(folder / f"q{quality}.jpg", quality=quality)
    one.save(folder / "q.png")
    one.save(folder / "q.webp", quality=80)
    planted.texture(2).save(folder / "other.png")
    return folder


ASKED = ("-p", "a cat", "-m", "tiny")


def test_four_qualities_of_a_picture_count_once(cli: Cli, pictures: Path, tmp_path: Path) -> None:
    file = tmp_path / "s.parquet"
    assert cli("score", pictures, *ASKED, "--columns", "full", "-o", file).returncode == 0
    best = cli("best-of-n", file, "--top", 4, "--distinct")
    assert len(best.stdout.splitlines()) == 2
    assert best.stdout == cli("best-of-n", pictures, *ASKED, "--top", 4, "--distinct").stdout
    kept = cli("filter", file, "--distinct")
    assert sorted(kept.stdout.splitlines()) == sorted(best.stdout.splitlines())
    assert "2 of 7 rows pass" in kept.stderr
    [top] = cli("filter", file, "--distinct", "--top", "50%").stdout.splitlines()
    assert top == best.stdout.splitlines()[0], "half of two looks"
    scores = librehps.read_scores(file)
    assert count_looks(scores) == (7, 2)
    rows = librehps.filter_rows(scores, distinct=True, by="overall").table
    ranked = sorted(scores.rows(), key=lambda row: -row["overall_mu"])
    alike = next(row["id"] for row in ranked if row["id"].startswith("q"))
    assert set(rows["id"].to_pylist()) == {alike, "other.png"}, "the best of its look stays"
    assert len(librehps.best_of_n(scores, top=9, distinct=True).records) == 2
    for wrong in (97, -1):
        done = cli("filter", file, "--distinct-bits", wrong)
        assert (done.returncode, "--distinct-bits: expected 0 to 96" in done.stderr) == (2, True)


def hashes_of(file: Path) -> dict[str, str | None]:
    table = pq.read_table(file)
    return dict(zip(table["id"].to_pylist(), table["phash"].to_pylist(), strict=True))


@pytest.fixture
def media(pictures: Path) -> Path:
    clip(pictures / "clip.mp4", frames=4)
    (pictures / "broken.png").write_bytes(b"no picture")
    return pictures


def test_the_cache_and_updates_give_the_same_hashes(
    media: Path, tmp_path: Path, tiny: LibreHPS
) -> None:
    """Kept scores of runs without hashes too: then media are read again, without a forward."""
    asked = {"prompt": "a cat", "model": tiny}
    plain, first, again = (tmp_path / f"{name}.parquet" for name in ("plain", "first", "again"))
    score_to(media, plain, **asked, update=True, cache=tmp_path / "kept")
    assert "phash" not in pq.read_table(plain).column_names
    for file in (first, again):
        score_to(media, file, **asked, columns="full", cache=tmp_path / "kept")
    whole = hashes_of(first)
    assert [name for name, phash in whole.items() if phash is None] == ["broken.png"]
    assert {len(phash or "") for phash in whole.values()} == {0, 64, 4 * 64}
    assert pq.read_table(again).equals(pq.read_table(first))
    score_to(media, plain, **asked, update=True, columns=["id", "phash"], cache="none")
    assert hashes_of(plain) == whole
    Image.new("RGB", (32, 32), "red").save(media / "new.png")
    kept = pq.read_table(plain)
    at, nothing = kept.schema.get_field_index("phash"), pa.nulls(len(kept), pa.string())
    pq.write_table(kept.set_column(at, "phash", nothing), plain)
    score_to(media, plain, **asked, update=True, columns=["id", "phash"], cache="none")
    found = hashes_of(plain)
    assert {name: found[name] for name in whole} == whole, "hashes that lack are made"
    assert found["new.png"] is not None


@pytest.mark.parametrize("name", ["parts", "x.jsonl"])
def test_outputs_in_a_bucket_have_hashes(
    media: Path, tmp_path: Path, tiny: LibreHPS, name: str
) -> None:
    output, asked = f"memory://hashes/{name}", {"prompt": "a cat", "model": tiny, "columns": "full"}
    score_to(media, tmp_path / "x.parquet", **asked)
    score_to(media, output, **asked, overwrite=True)
    rows = open_table([UrlPath(output)])[0].select(["id", "phash"]).to_pylist()
    assert {row["id"]: row["phash"] for row in rows} == hashes_of(tmp_path / "x.parquet")


class Stopping(RunObserver):
    """Stops a run after its first row, and keeps the notes."""

    def __init__(self) -> None:
        self.stop, self.notes = threading.Event(), list[str]()

    def note(self, message: str) -> None:
        self.notes.append(message)

    def scored(self, row: ScoredRow) -> None:
        self.stop.set()


@pytest.mark.slow
def test_a_run_that_was_started_without_hashes_ends_without(
    media: Path, tmp_path: Path, tiny: LibreHPS
) -> None:
    asked, file = {"prompt": "a cat", "model": tiny}, tmp_path / "s.parquet"
    (media / "broken.png").unlink()
    seen = Stopping()
    model = LibreHPS.from_pretrained("tiny", batch_size=1, workers=1)
    assert score_to(
        media, file, prompt="a cat", model=model, stop=seen.stop, observer=seen
    ).interrupted
    with pytest.raises(UsageError, match="columns not found: phash"):
        score_to(media, file, **asked, resume=True, columns=["id", "phash"])
    score_to(media, file, **asked, resume=True, columns="full", observer=seen)
    assert any("started without perceptual hashes" in note for note in seen.notes)
    assert "phash" not in (names := pq.read_table(file).column_names) and "sha256" in names
    assert score_to(media, file, **asked, resume=True, columns="full").was_complete
    score_to(media, file, **asked, update=True, columns="full")
    assert None not in hashes_of(file).values()
