"""Exports of Label Studio and Argilla, in the layouts that these tools write, read as pairs."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from librehps.errors import PreferenceError
from librehps.preferences.column_names import PairColumns
from librehps.preferences.read import read_preferences, read_unjudged
from make_media import picture


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four pictures, 0.png to 3.png."""
    for index in range(4):
        picture(seed=index).save(tmp_path / f"{index}.png")
    return tmp_path


def write(file: Path, rows: list) -> Path:
    file.write_text(json.dumps(rows))
    return file


def picked(side: str | None, name: str = "pw", to: str = "img-1,img-2") -> list[dict]:
    """Return the result of a Pairwise tag; None: submitted without a choice."""
    value = {"id": "x", "from_name": name, "to_name": to, "type": "pairwise", "origin": "manual"}
    return [] if side is None else [{**value, "value": {"selected": side}}]


def chosen(choice: str, name: str = "better") -> list[dict]:
    value = {"choices": [choice]}
    return [{"from_name": name, "to_name": "img-1", "type": "choices", "value": value}]


def annotation(result: list, by: Any = 1, **more: Any) -> dict:
    return {"id": 10, "completed_by": by, "result": result, "was_cancelled": False, **more}


def task(number: int, annotations: list[dict], **data: Any) -> dict:
    images = {"image1": "0.png", "image2": "1.png", "prompt": f"prompt {number}"}
    return {"id": number, "data": {**images, **data}, "annotations": annotations, "predictions": []}


def said(file: Path, columns: PairColumns | None = None) -> list[tuple]:
    pairs = read_preferences(file, columns=columns).pairs
    return [(p.pair_id, dict(p.preference), p.extra["rater"]) for p in pairs]


def test_label_studio_json_keeps_annotators_and_drops_skipped_tasks(folder: Path) -> None:
    user = {"id": 7, "email": "bo@host.test", "first_name": "Bo"}
    tasks = [
        task(1, [annotation(picked("left"), 1), annotation(picked("right"), user)], seed=3),
        task(2, [annotation(picked("left"), was_cancelled=True), annotation(picked(None), 1)]),
        task(3, []),
        task(4, [annotation(picked("right"), 1)], image1="2.png", overall=0.3),
    ]
    file = write(folder / "project-1.json", tasks)
    read = read_preferences(file)
    assert said(file) == [
        ("1/1", {"overall": 1}, 1),
        ("1/bo@host.test", {"overall": 0}, "bo@host.test"),
        ("4/1", {"overall": 0}, 1),
    ]
    assert read.left_out == {
        "annotation skipped by its annotator": 1,
        "no preference on any axis": 1,
        "task without an annotation": 1,
    }
    assert [pair.index for pair in read.pairs] == [0, 0, 1]
    assert read.pairs[0].extra["seed"] == 3
    assert [pair.pair_id for pair in read_unjudged(file)] == ["1", "2", "3", "4"]
    assert read_preferences(file, "labelstudio").pairs == read.pairs


@pytest.mark.parametrize("suffix", ["json", "csv"])
def test_label_studio_json_min_and_csv(folder: Path, suffix: str) -> None:
    rows = [
        {"image1": "0.png", "image2": "1.png", "prompt": "x", "id": n, "pw": [{"selected": side}],
         "annotator": by, "annotation_id": n, "created_at": "2026-01-01", "updated_at": "",
         "lead_time": 2.5, "notes": ""}
        for n, side, by in ((1, "left", 1), (1, "right", 2), (2, "right", 1))
    ]  # fmt: skip
    file = write(folder / "min.json", rows)
    if suffix == "csv":
        cells = [{**row, "pw": json.dumps(row["pw"]).replace('"', '""')} for row in rows]
        lines = [",".join(rows[0]), *(",".join(f'"{v}"' for v in row.values()) for row in cells)]
        file = folder / "min.csv"
        file.write_text("\n".join(lines))
    found = said(file)
    assert [preference for _, preference, _ in found] == [{"overall": side} for side in (1, 0, 0)]
    assert [str(rater) for *_, rater in found] == ["1", "2", "1"]
    assert len(read_unjudged(file)) == 2


def test_label_studio_json_min_holds_a_choice_as_text(folder: Path) -> None:
    rows = [
        {"left": "0.png", "right": "1.png", "caption": "x", "topic": "both", "id": n, "best": best,
         "annotator": 3, "annotation_id": n, "created_at": "", "updated_at": "", "lead_time": 1}
        for n, best in enumerate(("Left", "Right", "Tie"))
    ]  # fmt: skip
    file = write(folder / "min.json", rows)
    with pytest.raises(PreferenceError, match=r"several questions.*topic, best"):
        read_preferences(file)
    found = said(file, PairColumns(winner="best"))
    assert [preference["overall"] for _, preference, _ in found] == [1, 0, 0.5]


def test_label_studio_choices_with_a_tie_and_questions_on_axes(folder: Path) -> None:
    ties = [task(n, [annotation(chosen(c))]) for n, c in enumerate(("Left", "Right", "Tie"))]
    assert [p for _, p, _ in said(write(folder / "c.json", ties))] == [
        {"overall": 1},
        {"overall": 0},
        {"overall": 0.5},
    ]
    both = picked("left", "alignment") + picked("right", "style") + chosen("too dark", "why")
    axes = [task(n, [annotation(both)]) for n in range(2)]
    assert said(write(folder / "a.json", axes))[0][1] == {"alignment": 1, "style": 0}
    two = picked("left", "pw") + picked("right", "pw2")
    file = write(folder / "t.json", [task(n, [annotation(two)]) for n in range(2)])
    with pytest.raises(PreferenceError, match=r"several questions.*pw, pw2"):
        read_preferences(file)
    assert said(file, PairColumns(winner="pw2"))[0][1] == {"overall": 0}
    odd = [task(n, [annotation(chosen("Nice"))]) for n in range(2)]
    with pytest.raises(PreferenceError, match=r"no question whose answers.*better: Nice"):
        read_preferences(write(folder / "o.json", odd))


def test_label_studio_sides_must_be_certain(folder: Path) -> None:
    """The names of the compared tags say which is left, where they are the names of the data."""
    swapped = [task(n, [annotation(picked("left", to="image2,image1"))]) for n in range(2)]
    pairs = read_preferences(write(folder / "s.json", swapped)).pairs
    assert (pairs[0].media_a.name, pairs[0].preference) == ("1.png", {"overall": 1})
    for tags in ("img-2,img-1", "t2,t1", "img-right,img-left"):
        other = [task(n, [annotation(picked("left", to=tags))]) for n in range(2)]
        with pytest.raises(PreferenceError, match="not certain which of image1 and image2 is on"):
            read_preferences(write(folder / "o.json", other))
    # The first task says nothing, and two orders are no order.
    later = read_preferences(write(folder / "l.json", [task(7, []), *swapped])).pairs
    assert later[0].media_a.name == "1.png"
    both = [*swapped, task(3, [annotation(picked("left", to="image1,image2"))])]
    with pytest.raises(PreferenceError, match="in different orders: image1,image2 and image2,im"):
        read_preferences(write(folder / "b.json", both))
    with pytest.raises(PreferenceError, match="expected annotations with their results, got 17"):
        read_preferences(write(folder / "n.json", [task(1, [17])]))  # type: ignore[list-item]
    unnamed = [
        {**row, "data": {"one": "0.png", "two": "1.png", "text": "x"}}
        for row in [task(n, [annotation(picked("right"))]) for n in range(2)]
    ]
    file = write(folder / "u.json", unnamed)
    with pytest.raises(PreferenceError, match="lacks the columns prompt, media_a, media_b"):
        read_preferences(file)
    assert said(file, PairColumns("one", "two"))[0][1] == {"overall": 0}


def test_label_studio_paths_of_its_own_folders(folder: Path) -> None:
    (folder / "upload" / "1").mkdir(parents=True)
    picture(seed=5).save(folder / "upload" / "1" / "ab-5.png")
    data = {"image1": "/data/local-files/?d=0.png", "image2": "/data/upload/1/ab-5.png"}
    tasks = [task(n, [annotation(picked("left"))], **data) for n in range(2)]
    pair = read_preferences(write(folder / "p.json", tasks)).pairs[0]
    assert (pair.media_a, pair.media_b) == (folder / "0.png", folder / "upload/1/ab-5.png")


def record(number: int, **responses: list[tuple[str, Any, str]]) -> dict:
    """Return a flat record: each question with (user, value, status)."""
    row: dict[str, Any] = {
        "id": f"r{number}", "status": "completed", "_server_id": "s", "image_a": "0.png",
        "image_b": "1.png", "prompt": "x", "seed": 4,
    }  # fmt: skip
    for name, given in responses.items():
        users, values, status = (list(part) for part in zip(*given, strict=True))
        row |= {f"{name}.responses": values, f"{name}.responses.users": users,
                f"{name}.responses.status": status}  # fmt: skip
    return row


def nested(row: dict) -> dict:
    """Return the record as `to_json` writes it."""
    fields = {name: row[name] for name in ("image_a", "image_b", "prompt")}
    responses = {
        name.removesuffix(".responses"): [
            {"value": value, "user_id": user}
            for value, user in zip(row[name], row[f"{name}.users"], strict=True)
        ]
        for name in row
        if name.endswith(".responses")
    }
    return {"id": row["id"], "fields": fields, "metadata": {"seed": 4}, "suggestions": {},
            "responses": responses, "vectors": {}, "_server_id": "s"}  # fmt: skip


LABELS = [
    record(1, which=[("u1", "image_a", "submitted"), ("u2", "image_b", "submitted")],
           why=[("u1", "sharper", "submitted"), ("u2", "brighter", "submitted")]),
    record(2, which=[("u1", "tie", "submitted"), ("u2", "image_b", "discarded")]),
    record(3, which=[("u1", "image_a", "draft")]),
    record(4),
]  # fmt: skip


def test_argilla_labels_of_submitted_responses(folder: Path) -> None:
    def jpeg(name: str) -> dict:
        return {"bytes": (folder / name).read_bytes(), "path": None}

    names = dict.fromkeys(name for row in LABELS for name in row)
    rows = [{n: row.get(n) for n in names} for row in LABELS]
    rows = [{**r, "image_a": jpeg(r["image_a"]), "image_b": jpeg(r["image_b"])} for r in rows]
    pq.write_table(pa.Table.from_pylist(rows), folder / "r.parquet")
    read = read_preferences(folder / "r.parquet")
    assert said(folder / "r.parquet") == [
        ("r1/u1", {"overall": 1}, "u1"),
        ("r1/u2", {"overall": 0}, "u2"),
        ("r2/u1", {"overall": 0.5}, "u1"),
    ]
    assert read.left_out == {
        "response discarded, or a draft": 2,
        "record without a response": 1,
    }
    assert isinstance(read.pairs[0].media_a, bytes)
    assert read.pairs[0].extra["seed"] == 4
    assert [pair.pair_id for pair in read_unjudged(folder / "r.parquet")] == [
        "r1", "r2", "r3", "r4"]  # fmt: skip


def test_argilla_json_has_no_status_which_is_said(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = write(folder / "r.json", [nested(row) for row in LABELS])
    assert len(said(file)) == 5
    assert "does not say which responses are drafts or discarded" in caplog.text


@pytest.mark.parametrize(
    ("question", "values", "expected"),
    [
        (
            "rank",
            [["image_b", "image_a"], ["image_a", "image_b"]],
            [{"overall": 0}, {"overall": 1}],
        ),
        (
            "rank",
            [
                [{"rank": 2, "value": "image_a"}, {"rank": 1, "value": "image_b"}],
                [{"rank": 1, "value": "image_a"}, {"rank": 1, "value": "image_b"}],
            ],
            [{"overall": 0}, {"overall": 0.5}],
        ),
        ("style", ["image_a", "image_b"], [{"style": 1}, {"style": 0}]),
        ("which", ["Image A", "both bad"], [{"overall": 1}, {"overall": 0.5}]),
    ],
)
def test_argilla_rankings_and_questions_on_axes(
    folder: Path, question: str, values: list, expected: list
) -> None:
    rows = [record(n, **{question: [("u", v, "submitted")]}) for n, v in enumerate(values)]
    assert [p for _, p, _ in said(write(folder / "r.json", rows))] == expected


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([["image_a", "image_b"], ["image_b"]], "no question whose answers name a side"),
        ([None, "image_a"], "which: expected a response and a status for each of 1 users, got 2"),
    ],
)
def test_argilla_labels_without_an_order_and_lists_that_do_not_fit_are_refused(
    folder: Path, values: list, words: str
) -> None:
    rows = [record(n, which=[("u", v, "submitted")]) for n, v in enumerate(values)]
    if values[0] is None:
        rows[0]["which.responses"] = ["image_a", "image_b"]
    with pytest.raises(PreferenceError, match=words):
        read_preferences(write(folder / "r.json", rows))


def test_argilla_ratings_of_both_images_are_compared_and_of_one_refused(folder: Path) -> None:
    def rated(**ratings: list[int]) -> Path:
        rows = [
            record(n, **{k: [("u", v[n], "submitted")] for k, v in ratings.items()})
            for n in range(3)
        ]
        return write(folder / "r.json", rows)

    file = rated(rating_a=[5, 2, 3], rating_b=[4, 3, 3])
    assert [p["overall"] for _, p, _ in said(file)] == [1, 0, 0.5]
    file = rated(score=[1, 2, 3])
    with pytest.raises(PreferenceError, match="a rating of score does not name a side"):
        read_preferences(file)
    columns = PairColumns(winner="score", winner_values=("1", "3", "2"))
    assert [p["overall"] for _, p, _ in said(file, columns)] == [1, 0.5, 0]
