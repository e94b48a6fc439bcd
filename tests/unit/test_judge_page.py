"""The page's server: its guard, its media, and that nothing tells raters who made what."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from judge_data import session_of, write_scores
from librehps.judge.app import Page, make_app
from librehps.judge.media import Shelf
from librehps.judge.server import Place
from librehps.judge.session import Plan, Session
from librehps.media.images import load_rgb_array

HOME, TOKEN = "http://127.0.0.1:8000", "t" * 22
ORIGIN = {"Origin": HOME}
SECRET = b"made by ant"


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    made = session_of(write_scores(tmp_path), tmp_path / "pairs.jsonl", Plan(5, 0))
    yield made
    made.judgements.close()


@pytest.fixture
def client(session: Session) -> Iterator[TestClient]:
    yield from _client(session, None)


def _client(session: Session, rater: str | None) -> Iterator[TestClient]:
    shelf = Shelf(session.pool)
    page = Page(session, shelf, rater, lambda: ["the end"])
    access = Place(token=TOKEN).options().access
    yield TestClient(make_app(page, access), base_url=HOME)
    shelf.close()


def test_only_the_page_of_the_address_is_answered(client: TestClient) -> None:
    assert client.get(f"/{TOKEN}/").status_code == 200
    for path in ("/", "/x/", f"/{TOKEN}x/", "/page.js"):
        assert client.get(path).status_code == 401
    assert client.get(f"/{TOKEN}/", headers={"Host": "evil.example"}).status_code == 421
    asked = {"rater": "ann"}
    assert client.post(f"/{TOKEN}/next", json=asked, headers=ORIGIN).status_code == 200
    for headers in ({}, {"Origin": "http://127.0.0.1:8001"}, {"Origin": "null"}):
        assert client.post(f"/{TOKEN}/next", json=asked, headers=headers).status_code == 403
    bad = {"Origin": "http://[evil"}
    assert client.post(f"/{TOKEN}/next", json=asked, headers=bad).status_code == 403
    form = {**ORIGIN, "Content-Type": "text/plain"}
    assert client.post(f"/{TOKEN}/next", content="{}", headers=form).status_code == 415


@pytest.mark.parametrize(
    "path", ["../session.py", "%2e%2e/session.py", "media/x/left", "session.py"]
)
def test_no_other_file_is_reached(client: TestClient, path: str) -> None:
    assert client.get(f"/{TOKEN}/{path}").status_code in (401, 404)


def test_every_answer_has_a_policy(client: TestClient) -> None:
    for path in (f"/{TOKEN}/", f"/{TOKEN}/nothing", "/"):
        headers = client.get(path).headers
        assert headers["content-security-policy"].startswith("default-src 'none'")
        assert headers["x-content-type-options"] == "nosniff"
    for name in ("", "page.css", "page.js"):
        text = client.get(f"/{TOKEN}/{name}").text
        assert "http:" not in text and "https:" not in text


def test_answers_are_kept_and_tell_nothing_of_the_makers(
    client: TestClient, session: Session
) -> None:
    state = client.post(f"/{TOKEN}/next", json={"rater": " ann "}, headers=ORIGIN).json()
    seen = [str(state)]
    for count in range(1, 6):
        question = state["question"]
        for side in ("left", "right"):
            answer = client.get(f"/{TOKEN}/media/{question['ticket']}/{side}")
            assert answer.headers["content-type"] == "image/png"
            seen.append(str(answer.headers))
        given = {"rater": "ann", "ticket": question["ticket"], "sides": {"overall": "tie"}}
        state = client.post(f"/{TOKEN}/answer", json=given, headers=ORIGIN).json()
        seen.append(str(state))
        assert state["judged"] == count == len(session.judgements.rows)
        late = client.post(f"/{TOKEN}/answer", json=given, headers=ORIGIN)
        assert late.status_code == 409
    assert state["question"] is None and state["summary"] == ["the end"]
    assert not any(word in text for text in seen for word in ("ant", "bee", "cow", ".png", "_mu"))
    undone = client.post(f"/{TOKEN}/undo", json={"rater": "ann"}, headers=ORIGIN).json()
    assert undone["judged"] == 4 and undone["question"] is not None


@pytest.mark.parametrize(
    "body",
    [
        {"rater": ""},
        {"rater": "\u0007"},
        {"rater": "a" * 65},
        {"rater": "ann", "more": 1},
        {"rater": "ann", "ticket": "x", "sides": {"overall": "both"}},
        {"rater": "ann", "ticket": "x", "sides": {"style": "left"}},
        {"rater": "ann", "ticket": "x", "sides": {}, "seconds": -1},
    ],
)
def test_invalid_requests(client: TestClient, session: Session, body: dict) -> None:
    path = "answer" if "ticket" in body else "next"
    assert client.post(f"/{TOKEN}/{path}", json=body, headers=ORIGIN).status_code == 422
    assert session.judgements.rows == []


def test_a_page_of_one_rater(session: Session) -> None:
    for client in _client(session, "ann"):
        assert client.get(f"/{TOKEN}/start").json()["rater"] == "ann"
        other = client.post(f"/{TOKEN}/next", json={"rater": "bob"}, headers=ORIGIN)
        assert other.status_code == 403


def test_formats_that_browsers_lack_are_sent_as_png(session: Session, tmp_path: Path) -> None:
    file = tmp_path / "x.tiff"
    Image.new("RGB", (8, 6), "red").save(file)
    shelf = Shelf(session.pool)
    assert shelf.problem(file) is None
    session.pool.__dict__["find"] = lambda item: file
    sent = shelf.response(0)
    assert sent.media_type == "image/png" and sent.body.startswith(b"\x89PNG")
    shelf.close()


@pytest.mark.parametrize(
    ("suffix", "options"),
    [
        ("png", {}),
        ("jpg", {"comment": SECRET, "progressive": True}),
        ("webp", {"xmp": SECRET, "lossless": True}),
        ("gif", {"comment": SECRET}),
        ("avif", {}),
    ],
)
@pytest.mark.parametrize("orientation", [1, 6])
def test_images_are_sent_without_their_metadata(
    session: Session, tmp_path: Path, suffix: str, options: dict, orientation: int
) -> None:
    file, exif, texts = tmp_path / f"x.{suffix}", Image.Exif(), PngInfo()
    exif[0x010E], exif[0x0112] = SECRET.decode(), orientation
    texts.add_text("prompt", SECRET.decode())
    noise = np.random.default_rng(0).integers(0, 255, (18, 24, 3), np.uint8)
    Image.fromarray(noise).save(file, exif=exif.tobytes(), pnginfo=texts, **options)
    # Some programs append notes to the file.
    whole = file.read_bytes() + (b"" if suffix == "avif" else SECRET)
    file.write_bytes(whole)
    assert SECRET in whole
    shelf = Shelf(session.pool)
    session.pool.__dict__["find"] = lambda item: file
    sent = shelf.response(0)
    shelf.close()
    assert SECRET not in sent.body
    is_kept = suffix == "gif" or (suffix != "avif" and orientation == 1)
    assert (sent.media_type != "image/png") == (is_kept and suffix != "png")
    assert np.array_equal(load_rgb_array(sent.body), load_rgb_array(whole))


def test_clips_are_sent_in_ranges(client: TestClient, session: Session, tmp_path: Path) -> None:
    clip = tmp_path / "x.mp4"
    clip.write_bytes(b"\0\0\0\x18ftypisom" + bytes(100))
    session.pool.__dict__["find"] = lambda item: clip
    state = client.post(f"/{TOKEN}/next", json={"rater": "ann"}, headers=ORIGIN).json()
    assert state["question"]["left"] == {"kind": "video"}
    path = f"/{TOKEN}/media/{state['question']['ticket']}/left"
    part = client.get(path, headers={"Range": "bytes=4-11"})
    assert (part.status_code, part.content) == (206, b"ftypisom")
    assert part.headers["content-type"] == "video/mp4"
    # The time of the file may tell generators apart.
    assert part.headers["last-modified"].endswith("1970 00:00:00 GMT")


def test_clips_that_browsers_do_not_play_are_left_out(session: Session, tmp_path: Path) -> None:
    shelf = Shelf(session.pool)
    clip = tmp_path / "my clip.avi"
    clip.write_bytes(b"RIFF\0\0\0\0AVI LIST" + bytes(100))
    assert "ffmpeg -i 'my clip.avi' 'my clip.mp4'" in str(shelf.problem(clip))
    torn = tmp_path / "torn.png"
    Image.effect_noise((64, 64), 50).save(torn)
    torn.write_bytes(torn.read_bytes()[:2000])
    assert "damaged" in str(shelf.problem(torn))
    shelf.close()


def test_a_rater_has_one_spelling(client: TestClient, session: Session) -> None:
    for name in ("Jose\u0301", " Jos\u00e9  "):
        state = client.post(f"/{TOKEN}/next", json={"rater": name}, headers=ORIGIN).json()
        given = {"rater": name, "ticket": state["question"]["ticket"], "sides": {}}
        client.post(f"/{TOKEN}/answer", json=given, headers=ORIGIN)
    assert {row.rater for row in session.judgements.rows} == {"Jos\u00e9"}
