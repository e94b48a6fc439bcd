"""Files of pairs under other column names: recognised where the meaning is certain, else named."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from librehps.errors import PreferenceError, UsageError
from librehps.preferences.column_names import PairColumns
from librehps.preferences.read import read_preferences, read_unjudged
from make_media import picture
from preference_data import write_rows


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four pictures, 0.png to 3.png."""
    for index in range(4):
        picture(seed=index).save(tmp_path / f"{index}.png")
    return tmp_path


def rows_of(a: str, b: str, more: list[dict], prompt: str = "prompt") -> list[dict]:
    return [{prompt: "x", a: "0.png", b: "1.png", **extra} for extra in more]


def overall(file: Path, columns: PairColumns | None = None) -> list[float]:
    read = read_preferences(file, columns=columns)
    assert [pair.media_a.name for pair in read.pairs] == ["0.png"] * len(read.pairs)
    return [pair.preference["overall"] for pair in read.pairs]


@pytest.mark.parametrize(
    ("a", "b", "winner", "values", "expected"),
    [
        ("image_a", "image_b", "winner", ["a", "B", "tie"], [1, 0, 0.5]),
        ("image_a", "image_b", "winner", ["image_a", "image_b", "Tie (both bad)"], [1, 0, 0.5]),
        ("Image A", "Image B", "Winner", ["model_a", "Image B is better", "equal"], [1, 0, 0.5]),
        ("image_1", "image_2", "label", [1, 2, "same"], [1, 0, 0.5]),
        ("image1", "image2", "preference", ["1", "2", "draw"], [1, 0, 0.5]),
        ("image_0", "image_1", "winner", [0, 1, "tie"], [1, 0, 0.5]),
        ("left", "right", "choice", ["left", "right", "neither"], [1, 0, 0.5]),
        ("left_image", "right_image", "better", ["right", "left", "both"], [0, 1, 0.5]),
        ("video_a_path", "video_b_path", "preferred", ["b", "a", "skip"], [0, 1]),
        ("image_1", "image_2", "winner", ["1.0", 2.0, "skip"], [1, 0]),
        ("image_a", "image_b", "chosen", ["a", "b", "tie"], [1, 0, 0.5]),
        ("path_a", "path_b", "winner", ["1.png", "0.png", None], [0, 1]),
        ("media_a", "media_b", "winner", ["a", "b", "tie"], [1, 0, 0.5]),
        ("chosen", "rejected", "seed", [1, 2, 3], [1, 1, 1]),
        ("img_better", "img_worse", "seed", [1, 2, 3], [1, 1, 1]),
        ("winner_image", "loser_image", "seed", [1, 2, 3], [1, 1, 1]),
    ],
)
def test_columns_with_a_certain_meaning(
    folder: Path, a: str, b: str, winner: str, values: list, expected: list
) -> None:
    file = write_rows(folder / "p.jsonl", rows_of(a, b, [{winner: v} for v in values]))
    assert overall(file) == expected
    assert len(read_unjudged(file)) == 3


def test_a_csv_file_means_the_same_as_json_lines(folder: Path) -> None:
    (folder / "p.csv").write_text("caption,image_1,image_2,label\nx,0.png,1.png,2\nx,0.png,1.png,1")
    assert overall(folder / "p.csv") == [0, 1]


@pytest.mark.parametrize(
    ("a", "b", "more", "words"),
    [
        ("image_a", "image_b", {"winner": 1}, "not certain what 1 means .a is image_a"),
        ("image_a", "image_b", {"winner": True}, "not certain what True means"),
        ("image_1", "image_2", {"label": 0}, "not certain what 0 means"),
        ("image_1", "image_2", {"preference": 0.75}, "not certain what 0.75 means"),
        ("image_0", "image_1", {"label": 1}, "not certain what 1 means"),
        ("image_1", "image_2", {"winner": -1}, "not certain what -1 means"),
        ("image_0", "image_1", {"winner": "-1"}, "not certain what '-1' means"),
        ("image_a", "image_b", {"winner": "a", "overall": 0.1}, "both overall and winner say"),
        ("image_1", "image_2", {"winner": "left"}, "not certain what 'left' means"),
        ("image_a", "image_b", {"winner": "a", "label": "a"}, "several columns.*winner, label"),
        ("image_a", "image_b", {"clip_a": "2.png", "clip_b": "3.png", "winner": "a"},
         "several columns may hold the pair: .*clip_a and clip_b"),
        ("image_a", "image_b", {"seed": 1}, "no column says which side is preferred"),
        ("chosen", "rejected", {"overall": 0.2}, "both overall and chosen, rejected say"),
        ("chosen", "rejected", {"winner": "a"}, "both the columns chosen, rejected and .* winner"),
        ("image_a", "image_b", {"winner": "a", "win_probability": 0.8}, "verdicts of a model"),
        ("path1", "path2", {"winner": "b"}, "fit hpdv3, but winner may say"),
        ("media_a", "media_b", {"winner": "a", "axis": "colour"}, "axis: expected overall.*colour"),
    ],
)  # fmt: skip
def test_an_uncertain_meaning_is_refused_by_name(
    folder: Path, a: str, b: str, more: dict, words: str
) -> None:
    file = write_rows(folder / "p.jsonl", rows_of(a, b, [more, more]))
    with pytest.raises(PreferenceError, match=words) as raised:
        read_preferences(file)
    assert str(file) in str(raised.value)
    assert raised.value.hint


@pytest.mark.parametrize(
    ("columns", "row", "expected"),
    [
        (PairColumns("ours", "theirs", "who", "brief"), {"who": "a"}, 1),
        (PairColumns("ours", "theirs", "who", "brief"), {"who": "theirs"}, 0),
        (PairColumns("ours", "theirs", "who", "brief", ("1", "0", "2")), {"who": 2.0}, 0.5),
        (PairColumns("ours", "theirs", prompt="brief"), {"overall": 0.25}, 0.25),
        (PairColumns("ours", "theirs", "who", "brief", ("True", "false")), {"who": False}, 0),
        (PairColumns("ours", "theirs", "who", "brief", ("1", "0")), {"who": "0.0"}, 0),
        (PairColumns(rename={"ours": "media_a", "theirs": "media_b", "brief": "prompt",
                             "who": "winner"}), {"who": "b"}, 0),
    ],
)  # fmt: skip
def test_columns_can_be_named(
    folder: Path, columns: PairColumns, row: dict, expected: float
) -> None:
    rows = rows_of("ours", "theirs", [row, row], prompt="brief")
    assert overall(write_rows(folder / "p.jsonl", rows), columns) == [expected] * 2


@pytest.mark.parametrize(
    ("names", "winner", "expected"),
    [
        (("image_a", "image_b"), "a", 0),
        (("image_a", "image_b"), "Image B", 1),
        (("left", "right"), "left", 0),
        (("img1", "img10"), "img1", 0),
    ],
)
def test_sides_named_the_other_way_round(
    folder: Path, names: tuple[str, str], winner: str, expected: float
) -> None:
    """A value such as `a` is the file's image_a, whichever side the user calls a."""
    rows = rows_of(names[1], names[0], [{"winner": winner}] * 2)
    file = write_rows(folder / "p.jsonl", rows)
    assert overall(file, PairColumns(names[1], names[0])) == [expected] * 2


def test_a_winner_named_like_a_model_is_on_the_side_of_this_model(folder: Path) -> None:
    """Sides change from row to row, so that a model is no side."""
    models = [("sdxl", "flux", "sdxl"), ("flux", "sdxl", "sdxl"), ("flux", "sdxl", "tie")]
    more = [{"model_a": a, "model_b": b, "winner": winner} for a, b, winner in models]
    file = write_rows(folder / "p.jsonl", rows_of("image_a", "image_b", more))
    assert overall(file) == [1, 0, 0.5]
    named = PairColumns(winner="winner", winner_values=("sdxl", "flux", "tie"))
    assert overall(file, named) == [1, 0, 0.5]


def test_a_winner_is_read_next_to_ratings_and_axes(folder: Path) -> None:
    more = [{"winner": "b", "rating_a": 5, "rating_b": 1, "style": "a"}] * 2
    pairs = read_preferences(
        write_rows(folder / "p.jsonl", rows_of("image_a", "image_b", more))
    ).pairs
    assert [dict(pair.preference) for pair in pairs] == [{"overall": 0, "style": 1}] * 2
    assert pairs[0].rating_a == 5


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: PairColumns(a="x"), "both or neither of --a-column and --b-column"),
        (lambda: PairColumns(a="x", b="x"), "the same column: x"),
        (lambda: PairColumns(winner_values=("1",)), "--winner-values: expected A,B"),
        (lambda: PairColumns(winner_values=("1", "1")), "--winner-values: expected A,B"),
        (lambda: PairColumns(winner_values=("A", "a")), "--winner-values: expected A,B"),
        (lambda: PairColumns(winner_values=("a", "", "tie")), "--winner-values: expected A,B"),
    ],
)
def test_wrong_names_are_refused(make: object, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        make()  # type: ignore[operator]


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        (PairColumns("ours", "gone"), "lacks the column gone"),
        (PairColumns(prompt="gone"), "lacks the column gone"),
        (PairColumns(rename={"gone": "x"}), "--rename: column not found: gone"),
        (PairColumns(rename={"winner": "prompt"}), "two columns the same name"),
    ],
)
def test_named_columns_must_be_there(folder: Path, columns: PairColumns, words: str) -> None:
    rows = rows_of("image_a", "image_b", [{"winner": "a", "ours": "0.png"}] * 2)
    file = write_rows(folder / "p.jsonl", rows)
    with pytest.raises((PreferenceError, UsageError), match=words):
        read_preferences(file, columns=columns)


def test_names_are_refused_for_a_layout_with_fixed_columns(folder: Path) -> None:
    file = write_rows(folder / "p.jsonl", rows_of("path1", "path2", [{}, {}]))
    with pytest.raises(UsageError, match="unsupported with --format hpdv3"):
        read_preferences(file, "hpdv3", columns=PairColumns(winner="winner"))


def test_a_judgement_is_read_on_its_axis_and_raters_are_kept_together(folder: Path) -> None:
    rows = rows_of(
        "media_a",
        "media_b",
        [
            {"winner": "a", "axis": "alignment", "rater": "anna", "pair_id": "7"},
            {"winner": "b", "axis": "alignment", "rater": "bo", "pair_id": "7"},
            {"winner": "tie", "axis": "overall", "rater": "bo", "pair_id": "7"},
        ],
    )
    pairs = read_preferences(write_rows(folder / "p.jsonl", rows)).pairs
    assert [dict(pair.preference) for pair in pairs] == [
        {"alignment": 1},
        {"alignment": 0},
        {"overall": 0.5},
    ]
    assert [pair.pair_id for pair in pairs] == ["7/anna", "7/bo", "7/bo#2"]
    assert {pair.index for pair in pairs} == {0}, "one side of the split for calibration"
    assert [pair.extra["rater"] for pair in pairs] == ["anna", "bo", "bo"]


def imagereward_rows(folder: Path) -> list[dict]:
    """Three images of one prompt and two of another, as ImageRewardDB's Parquet holds them."""
    ranks = [("p1", 1, 7, 7), ("p2", 1, 5, 6), ("p1", 2, 4, 7), ("p1", 2, 4, 3), ("p2", 2, 2, 7)]
    return [
        {
            "image": {"bytes": (folder / f"{n % 4}.png").read_bytes(), "path": f"{n}.webp"},
            "prompt_id": prompt,
            "prompt": f"prompt {prompt}",
            "classification": "People",
            "image_amount_in_total": 3,
            "rank": rank,
            "overall_rating": overall_rating,
            "image_text_alignment_rating": alignment,
            "fidelity_rating": 5,
        }
        for n, (prompt, rank, overall_rating, alignment) in enumerate(ranks)
    ]


@pytest.mark.parametrize("column", ["image", "image_path"])
def test_imagerewarddb_is_told_from_hpdv2(folder: Path, column: str) -> None:
    rows = imagereward_rows(folder)
    if column == "image_path":
        rows = [{**row, "image_path": f"{n % 4}.png"} for n, row in enumerate(rows)]
        rows = [{k: v for k, v in row.items() if k != "image"} for row in rows]
    pq.write_table(pa.Table.from_pylist(rows), folder / "i.parquet")
    pairs = read_preferences(folder / "i.parquet").pairs
    found = [(pair.prompt, pair.preference["overall"], pair.preference["alignment"])
             for pair in pairs]  # fmt: skip
    assert found == [
        ("prompt p1", 1, 0.5),
        ("prompt p1", 1, 1),
        ("prompt p1", 0.5, 1),
        ("prompt p2", 1, 0),
    ]
    assert (pairs[0].benchmark, pairs[0].rating_a, pairs[0].rating_b) == ("imgrew", 7, 4)


def test_a_named_layout_that_does_not_fit_is_refused(folder: Path) -> None:
    row = {"prompt": "x", "prompt_id": "p", "rank": 1, "file_path": "0.png", "human_preference": 1}
    file = write_rows(folder / "p.jsonl", [row, row])
    for name, words in (
        ("imagerewarddb", "expected a media path, got None"),
        ("hpdv2-train", "line 1: expected two images and two values of 0 or 1"),
        ("hpdv2", "line 1 lacks image_path"),
        ("labelstudio", "lacks the columns media_a, media_b"),
        ("argilla", "lacks the columns media_a, media_b"),
    ):
        with pytest.raises(PreferenceError, match=words):
            read_preferences(file, name)  # type: ignore[arg-type]


def test_columns_of_two_layouts_are_refused(folder: Path) -> None:
    row = {"prompt": "x", "path1": "0.png", "path2": "1.png", "media_a": "0.png",
           "media_b": "1.png", "overall": 1}  # fmt: skip
    file = write_rows(folder / "p.jsonl", [row, row])
    with pytest.raises(PreferenceError, match="fit several layouts: pairs, hpdv3"):
        read_preferences(file)
    assert read_preferences(file, "hpdv3").pairs[0].benchmark == "hpdv3"


def test_a_picture_inside_json_is_read(folder: Path) -> None:
    import base64

    content = (folder / "0.png").read_bytes()
    url = "data:image/png;base64," + base64.b64encode(content).decode()
    rows = [{"prompt": "x", "image_a": url, "image_b": "1.png", "winner": "a"}] * 2
    (folder / "p.json").write_text(json.dumps(rows))
    assert read_preferences(folder / "p.json").pairs[0].media_a == content
    broken = [{**rows[0], "image_a": "data:image/png,%00"}] * 2
    (folder / "q.json").write_text(json.dumps(broken))
    with pytest.raises(PreferenceError, match="entry 1: invalid data URL"):
        read_preferences(folder / "q.json")
