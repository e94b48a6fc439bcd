"""Preference files: our own layout, those of public benchmarks, and what is wrong with one."""

import json
from collections import Counter
from io import BytesIO
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from librehps.errors import PreferenceError
from librehps.evaluate.scored_pairs import MediaScore, join
from librehps.media.archived import Remote
from librehps.preferences.media import items_of
from librehps.preferences.pairs import Pair
from librehps.preferences.read import read_preferences
from make_media import picture
from preference_data import write_rows


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four pictures, 0.png to 3.png."""
    for index in range(4):
        picture(seed=index).save(tmp_path / f"{index}.png")
    return tmp_path


def row(a: int, b: int, **more: object) -> dict:
    return {"prompt": "x", "media_a": f"{a}.png", "media_b": f"{b}.png", **more}


def test_preferences_votes_ratings_and_own_columns(folder: Path) -> None:
    rows = [
        row(0, 1, overall="a", style="tie", temporal=None, severity="mild", index=7),
        row(1, 2, votes_a=3, votes_b=1, alignment_votes_a=0, alignment_votes_b=2),
        row(2, 3, overall=0.25, rating_a=4, rating_b=2.5, benchmark="mine"),
        row(0, 3),
    ]
    read = read_preferences(write_rows(folder / "p.jsonl", rows))
    first, second, third = read.pairs
    assert first.preference == {"overall": 1.0, "style": 0.5}
    assert first.extra == {"severity": "mild"}
    assert (first.index, second.index) == (7, 1)
    assert second.preference == {"overall": 0.75, "alignment": 0.0}
    assert (third.benchmark, third.rating_a, third.rating_b) == ("mine", 4, 2.5)
    assert read.left_out == {"no preference on any axis": 1}
    assert len(items_of(read.pairs)) == 4


def test_csv_and_parquet_say_the_same(folder: Path) -> None:
    rows = [row(0, 1, overall=1.0), row(1, 2, overall=None), row(2, 3, overall=0.5)]
    pq.write_table(pa.Table.from_pylist(rows), folder / "p.parquet")
    lines = ["prompt,media_a,media_b,overall"]
    lines += [f"x,{r['media_a']},{r['media_b']},{r['overall'] or ''}" for r in rows]
    (folder / "p.csv").write_text("\n".join(lines))
    by_csv, by_parquet = (read_preferences(folder / f"p.{s}") for s in ("csv", "parquet"))
    assert by_csv.pairs == by_parquet.pairs
    assert by_csv.left_out == by_parquet.left_out == {"no preference on any axis": 1}
    assert by_csv.ties() == 1


BENCHMARKS = {
    "hpdv3": [
        {"prompt": "x", "path1": "0.png", "path2": "1.png", "choice_dist": [12, 4]},
        {"prompt": "x", "path1": "2.png", "path2": "3.png"},
    ],
    "hpdv2": [{"prompt": "x", "image_path": ["0.png", "1.png", "2.png"], "rank": [2, 1, 2]}],
    "hpdv2-train": [
        {"prompt": "x", "file_path": ["0.png", "1.png"], "human_preference": [0, 1]},
        {"prompt": "x", "file_path": ["2.png", "3.png"], "human_preference": [1, 0]},
    ],
    "imagereward": [
        {"id": 1, "prompt": "x", "generations": ["0.png", "1.png", "2.png"], "ranking": [1, 2, 3]}
    ],
    "visionreward": [
        {"prompt": "x", "win_image_path": "0.png", "lose_image_path": "1.png"},
        {"prompt": "x", "win_image_path": "2.png", "lose_image_path": "3.png"},
    ],
}
EXPECTED = {
    "hpdv3": ("hpdv3", [0.75, 1.0]),
    "hpdv2": ("hpdv2", [0.0, 0.5, 1.0]),
    "hpdv2-train": ("hpdv2", [0.0, 1.0]),
    "imagereward": ("imgrew", [1.0, 1.0, 1.0]),
    "visionreward": ("vrr", [1.0, 1.0]),
}


@pytest.mark.parametrize("name", BENCHMARKS)
def test_benchmark_files_are_known_by_their_fields(folder: Path, name: str) -> None:
    file = folder / "b.json"
    file.write_text(json.dumps(BENCHMARKS[name]))
    auto, named = read_preferences(file), read_preferences(file, name)
    assert auto.pairs == named.pairs
    benchmark, preferences = EXPECTED[name]
    assert {pair.benchmark for pair in auto.pairs} == {benchmark}
    assert [pair.preference["overall"] for pair in auto.pairs] == preferences
    assert [pair.index for pair in auto.pairs] == list(range(len(preferences)))


def test_ranks_written_as_text_are_compared_as_numbers(folder: Path) -> None:
    rows = [{"prompt": "x", "image_path": ["0.png", "1.png"], "rank": ["10", "9"]}] * 2
    read = read_preferences(write_rows(folder / "b.jsonl", rows))
    assert [pair.preference["overall"] for pair in read.pairs] == [0, 0]


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"image_path": ["0.png", "1.png"], "rank": [None, 1]}, "rank: expected numbers"),
        ({"path1": "0.png", "path2": "1.png", "choice_dist": ["3", "1"]}, "two vote counts"),
        ({"file_path": ["0.png", "1.png"], "human_preference": [2, 0]}, "values of 0 or 1"),
        ({"path_A": "0.png", "path_B": "1.png", "Overall": ["A"]}, "expected A, B or same"),
    ],
)
def test_values_of_a_benchmark_that_mean_nothing_are_refused(
    folder: Path, more: dict, words: str
) -> None:
    file = write_rows(folder / "b.jsonl", [{"prompt": "x", **more}] * 2)
    with pytest.raises(PreferenceError, match=words):
        read_preferences(file)


def test_pick_a_pic_holds_bytes(folder: Path) -> None:
    def jpeg(seed: int) -> bytes:
        file = BytesIO()
        picture(seed=seed).save(file, "JPEG")
        return file.getvalue()

    rows = [
        {"caption": "x", "jpg_0": jpeg(0), "jpg_1": jpeg(1), "label_0": 0.5, "label_1": 0.5},
        {"caption": "x", "jpg_0": jpeg(1), "jpg_1": jpeg(2), "label_0": 0.0, "label_1": 1.0},
    ]
    pq.write_table(pa.Table.from_pylist(rows), folder / "p.parquet")
    read = read_preferences(folder / "p.parquet")
    assert [pair.preference["overall"] for pair in read.pairs] == [0.5, 0.0]
    assert read.ties() == 1
    assert len(items_of(read.pairs)) == 3


def test_videogen_maps_only_the_axes_that_mean_the_same(folder: Path) -> None:
    text = "path_A,path_B,prompt,VQ,MQ,TA,Overall\n0.png,1.png,x,A,B,same,A\n2.png,3.png,x,A,,B,B\n"
    (folder / "v.csv").write_text(text)
    first, second = read_preferences(folder / "v.csv").pairs
    assert first.preference == {"overall": 1.0, "alignment": 0.5, "temporal": 0.0}
    assert first.extra["VQ"] == "A"
    assert second.preference == {"overall": 0.0, "alignment": 0.0}


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([{"prompt": "x", "media_a": "0.png", "overall": 1}], "lacks the column media_b"),
        (
            [row(0, 1, overall=3), row(1, 2, overall=1)],
            "a, b or tie, got 3",
        ),
        ([row(0, 1, overall="left"), row(1, 2, overall=1)], "a, b or tie, got 'left'"),
        ([row(0, 9, overall=1), row(1, 2, overall=1)], "1 media files not found"),
        (
            [row(0, 1, overall=1, pair_id="p"), row(1, 2, overall=1, pair_id="p")],
            "1 duplicate values of pair_id: p",
        ),
        ([row(0, 1, overall=1)], "expected at least 2 pairs, got 1"),
        ([], "holds no rows"),
        ([row(0, 1, overall=1), {"prompt": "x"}], "line 2 lacks media_a, media_b"),
        ([row(0, 1, overall=1, votes_a=1, votes_b=2)] * 2, "both a preference and votes"),
    ],
)
def test_a_wrong_file_gets_one_clear_message(folder: Path, rows: list, words: str) -> None:
    file = write_rows(folder / "p.jsonl", rows)
    with pytest.raises(PreferenceError) as raised:
        read_preferences(file)
    assert words in str(raised.value)
    assert str(folder) in str(raised.value)


def test_missing_media_can_be_left_out(folder: Path) -> None:
    rows = [row(0, 1, overall=1), row(1, 2, overall=0), row(2, 9, overall=1)]
    read = read_preferences(write_rows(folder / "p.jsonl", rows), skip_missing=True)
    assert len(read.pairs) == 2
    assert read.left_out == {"media file missing": 1}


def test_votes_against_the_preferred_side_are_not_guessed_at(folder: Path) -> None:
    entry = {"prompt": "x", "path1": "0.png", "path2": "1.png", "choice_dist": [1, 9]}
    (folder / "h.json").write_text(json.dumps([entry] * 2))
    with pytest.raises(PreferenceError, match="expected path1 to win"):
        read_preferences(folder / "h.json")


def test_urls_that_differ_in_a_token_are_two_media_and_their_scores_are_found_without_it() -> None:
    one, other = (Remote(f"https://host.test/image?token={name}") for name in "ab")
    pair = Pair("1", "x", one, other, {"overall": 1.0}, "", 0)
    items = items_of([pair])
    assert [item.media for item in items.values()] == [one, other]
    assert not any("token" in item.id for item in items.values())
    score = MediaScore({"overall": 1.0}, {"overall": 1.0}, 0.0)
    assert len(join([pair], {("https://host.test/image", "x"): score}, Counter())) == 1
