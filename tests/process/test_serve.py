"""librehps serve, as a process: what it answers, and that it equals offline scoring."""

import json
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from conftest import EXAMPLES
from librehps import AXES, Item, LibreHPS
from make_media import bad_media, clip, picture
from serve_client import Answer, Server, encoded, file_b64, png_b64

PROMPT = "a red circle left of a blue square"
BROKEN = "iVBORw0KGgoAAAA="


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("media")
    picture(96, 64, 1).save(folder / "one.png")
    clip(folder / "clip.mp4")
    return folder


@pytest.fixture(scope="module")
def server(root: Path) -> Iterator[Server]:
    running = Server.start("--media-root", root)
    yield running
    assert running.stop() == 0


def scored(server: Server, *items: dict) -> list[dict]:
    answer = server.post("/score", {"items": list(items)})
    assert answer.status == 200, answer
    return answer.json["items"]


def test_scores_equal_offline(server: Server, tiny: LibreHPS, root: Path) -> None:
    files = sorted(EXAMPLES.glob("media/*.png"))
    items = [Item(f.name, f, f"{PROMPT} {at % 3}") for at, f in enumerate(files * 3)]
    items.append(Item("clip", root / "clip.mp4", PROMPT, "video"))
    wanted = list(tiny.score_items(items))

    def ask(item: Item) -> dict:
        field = "video_b64" if item.kind == "video" else "image_b64"
        fields = {field: file_b64(item.media), "prompt": item.prompt, "id": item.id}
        return scored(server, fields)[0]

    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(ask, items))
    for row, got in zip(wanted, found, strict=True):
        assert got["id"] == row.item.id and got["status"] == "ok"
        assert got["error"] is None and got["error_type"] is None
        for axis in AXES:
            value = getattr(row.score, axis, None)
            if value is None:
                assert got[axis] is None and got[f"{axis}_mu"] is None
            else:
                assert got[axis] == pytest.approx(value.mean, abs=1e-4)
                assert got[f"{axis}_mu"] == pytest.approx(value.raw_mean, abs=2e-3)


def test_settings_are_those_of_offline_scores(server: Server, tiny: LibreHPS) -> None:
    assert server.post("/score", {"items": []}).json["settings"] == tiny.settings.digest
    assert server.get("/health").json["settings"] == tiny.settings.digest


def test_one_broken_picture_is_one_error(server: Server) -> None:
    good = {"prompt": PROMPT, "image_b64": png_b64()}
    items = [
        good,
        {"prompt": PROMPT, "image_b64": BROKEN, "id": "broken"},
        {"prompt": PROMPT, "image_b64": "not base64!"},
        {"prompt": PROMPT, "image_b64": ""},
        {"prompt": " ", "image_b64": png_b64()},
        {"prompt": "word " * 5000, "image_b64": png_b64()},
        {"prompt": PROMPT, "video_b64": png_b64()},
        {"prompt": PROMPT, "path": "absent.png", "id": "absent"},
        good,
    ]
    found = scored(server, *items)
    assert [item["error_type"] for item in found] == [
        None, "BrokenMediaError", "BrokenMediaError", "EmptyFileError", "EmptyPromptError",
        "PromptTooLongError", "UnsupportedMediaError", "MediaNotFoundError", None,
    ]  # fmt: skip
    assert [found[at]["id"] for at in (0, 1, 7)] == ["0", "broken", "absent"]
    assert all(item["overall"] is None for item in found if item["status"] == "error")
    assert found[0]["overall_mu"] == pytest.approx(found[-1]["overall_mu"])


def test_errors_of_clips_name_the_field(server: Server, tmp_path: Path) -> None:
    bad_media(tmp_path)
    for name in ("broken.mp4", "short.mp4"):
        item = {"prompt": PROMPT, "video_b64": file_b64(tmp_path / name)}
        error = scored(server, item)[0]["error"]
        assert error.startswith("video_b64") and "/" not in error


def test_base64_may_have_lines_be_a_data_url_or_be_safe_in_urls(server: Server) -> None:
    text = png_b64()
    lines = "\n".join(text[at : at + 76] for at in range(0, len(text), 76))
    url_safe = text.translate(str.maketrans("+/", "-_")).rstrip("=")
    found = scored(
        server,
        *(
            {"prompt": PROMPT, "image_b64": t}
            for t in (
                text,
                lines,
                f"data:image/png;base64,{text}",
                f"DATA:;base64,{text}",
                url_safe,
            )
        ),
    )
    assert len({round(item["overall_mu"], 3) for item in found}) == 1


def test_paths_in_a_root(server: Server, root: Path) -> None:
    paths = ["one.png", str(root / "one.png"), "clip.mp4"]
    found = scored(server, *({"prompt": PROMPT, "path": path} for path in paths))
    assert [item["status"] for item in found] == ["ok"] * 3
    assert found[0]["overall_mu"] == pytest.approx(found[1]["overall_mu"], abs=2e-3)
    assert found[2]["temporal"] is not None
    absent = scored(server, {"prompt": PROMPT, "path": "gone.png"})[0]
    assert str(root) not in absent["error"]


def test_samples_of_rl_trainers(server: Server) -> None:
    picture_turn = {"text": PROMPT, "image_b64": png_b64()}
    requests = [
        {"history": [picture_turn], "required_rewards": ["librehps"], "metadata": {"any": [1]}},
        {"history": [{"text": PROMPT, "video_path": "clip.mp4"}]},
        {"history": [{"text": PROMPT, "image_b64": BROKEN}], "required_rewards": ["librehps"]},
        {"history": [picture_turn], "required_rewards": ["librehps", "beauty"]},
        {"history": [picture_turn], "required_rewards": ["beauty"]},
        {"history": [{"text": "no picture"}]},
        {"history": [picture_turn, picture_turn]},
        {"history": [{"text": PROMPT}, {"image_b64": png_b64()}]},
    ]
    answer = server.post("/score", {"requests": requests})
    assert answer.status == 200 and set(answer.json) == {"results", "errors", "settings"}
    results, errors = answer.json["results"], answer.json["errors"]
    assert len(results) == len(errors) == len(requests)
    assert [set(result) for result in results] == [
        {"librehps"}, {"librehps"}, set(), {"librehps"}, set(), set(), set(), {"librehps"},
    ]  # fmt: skip
    assert [set(error) for error in errors] == [
        set(), set(), {"librehps"}, {"beauty"}, {"beauty"}, {"librehps"}, {"librehps"}, set(),
    ]  # fmt: skip
    still, film = results[0]["librehps"], results[1]["librehps"]
    known = server.get("/rewards").json["rewards"]["librehps"]
    assert set(film) == set(known) and set(known) - set(still) == {"temporal", "temporal_mu"}
    assert all(isinstance(value, float) for value in film.values())
    assert errors[2]["librehps"].startswith("BrokenMediaError")
    assert results[7]["librehps"]["overall_mu"] == pytest.approx(still["overall_mu"], abs=2e-3)


def test_compare(server: Server, tiny: LibreHPS) -> None:
    a, b = EXAMPLES / "media" / "torn.png", EXAMPLES / "media" / "match.png"
    body = {"prompt": PROMPT, "a": {"image_b64": file_b64(a)}, "b": {"image_b64": file_b64(b)}}
    for symmetric in (True, False):
        found = server.post("/compare", {**body, "symmetric": symmetric}).json
        told = tiny.compare_images(a, b, PROMPT, tiny.calibrator(), symmetric=symmetric)
        assert (found["winner"], found["confident"]) == (told.winner, told.confident)
        assert found["p_a_wins"] == pytest.approx(told.probability, abs=1e-3)
        assert found["win_probability"] == pytest.approx(
            max(told.probability, 1 - told.probability), abs=1e-3
        )
    assert found["calibrated"] is True and found["settings"] == tiny.settings.digest
    assert found["scores"]["a"]["overall_mu"] == pytest.approx(
        told.score_a.overall.raw_mean, abs=2e-3
    )


@pytest.mark.parametrize(
    ("side", "error_type"),
    [({"image_b64": BROKEN}, "BrokenMediaError"), ({"path": "clip.mp4"}, "KindsDiffer")],
)
def test_compare_says_what_is_wrong(server: Server, side: dict, error_type: str) -> None:
    answer = server.post("/compare", {"prompt": PROMPT, "a": {"image_b64": png_b64()}, "b": side})
    assert (answer.status, answer.json["error_type"]) == (422, error_type)
    assert "b" in answer.json["error"]


@pytest.mark.parametrize(
    ("path", "body", "words"),
    [
        ("/score", {}, 'body.items: required field is missing. Example of a body: {"items": [{"'),
        ("/score", [], "body: expected an object. Example"),
        ("/compare", {"pairs": []}, 'body.b: required field is missing. Example of a body: {"pro'),
        ("/compare", {"prompt": 1, "a": {}, "b": []}, "body.prompt: expected text; body.a: expe"),
    ],
)
def test_an_invalid_request_names_the_field(
    server: Server, path: str, body: Any, words: str
) -> None:
    answer = server.post(path, body)
    assert (answer.status, answer.json["error_type"]) == (422, "InvalidRequest")
    assert words in answer.json["error"]
    example = answer.json["error"].partition("Example of a body: ")[2].replace("..", png_b64())
    assert server.post(path, json.loads(example)).status == 200


@pytest.mark.parametrize(
    "body",
    [
        b"{", b"[]", b"1", b"null", b"{}", b'"\xff"', b'{"items": 1}', b"",
        b"[" * 100_000, b'{"\\ud800": 1}', b'{"requests": NaN, "items": []}', b'{"requests": {}}',
        b'{"requests": [], "protocol_version": "2"}', b'{"items": [], "more": 1}',
    ],
)  # fmt: skip
def test_bodies_that_are_not_as_documented(server: Server, body: bytes) -> None:
    answer = server.post("/score", body)
    assert answer.status in (400, 422), answer
    assert set(answer.json) == {"error_type", "error"} and len(answer[1]) < 1000


def test_other_paths_and_methods(server: Server) -> None:
    for answer, status in ((server.get("/nothing"), 404), (server.get("/score"), 405)):
        assert answer.status == status and set(answer.json) == {"error_type", "error"}
    for path in ("/docs", "/redoc"):
        assert server.get(path).status == 404


def test_openapi_has_examples_and_errors(server: Server) -> None:
    schema = server.get("/openapi.json").json
    score = schema["paths"]["/score"]["post"]
    assert {"401", "408", "413", "421", "422", "429", "503", "504"} <= set(score["responses"])
    parts = schema["components"]["schemas"]
    assert all(parts[name]["examples"] for name in ("Plain", "Rewards", "CompareBody"))
    assert "HTTPValidationError" not in json.dumps(schema["paths"])


def test_metrics_count(server: Server) -> None:
    def value(line: str) -> float:
        text = server.get("/metrics")[1].decode()
        return next((float(x.split()[-1]) for x in text.splitlines() if x.startswith(line)), 0.0)

    lines = ('librehps_requests_total{path="/score",status="200"}',
             'librehps_requests_total{path="other",status="404"}',
             'librehps_items_total{outcome="ok"}',
             'librehps_items_total{outcome="BrokenMediaError"}',
             "librehps_batch_items_count",
             'librehps_request_seconds_count{path="/score"}')  # fmt: skip
    before = [value(line) for line in lines]
    items = [{"prompt": PROMPT, "image_b64": text} for text in (png_b64(), BROKEN)]
    scored(server, *items)
    server.get("/some/path")
    assert [value(line) - was for line, was in zip(lines, before, strict=True)] == [1] * 6
    assert value("librehps_queue_items") == 0


def test_clients_share_batches(server: Server) -> None:
    def batches() -> float:
        text = server.get("/metrics")[1].decode()
        return float(text.split("\nlibrehps_batch_items_count ")[1].split()[0])

    before = batches()
    pictures = [encoded(picture(seed=seed)) for seed in range(48)]
    with ThreadPoolExecutor(48) as pool:
        list(pool.map(lambda p: scored(server, {"prompt": PROMPT, "image_b64": p}), pictures))
    assert batches() - before < 24


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_under_load_loses_nothing(number: signal.Signals) -> None:
    server = Server.start("--drain-s", "60")
    body = {"items": [{"prompt": PROMPT, "image_b64": png_b64(at)} for at in range(2)]}
    # Whether the request was begun before the signal, and what came of it.
    seen: list[tuple[bool, object]] = []
    signalled, ended, busy = threading.Event(), threading.Event(), threading.Event()

    def ask() -> None:
        while not ended.is_set():
            is_early = not signalled.is_set()
            try:
                seen.append((is_early, server.post("/score", body)))
            except OSError as error:
                seen.append((is_early, error))
                return
            if len(seen) > 16:
                busy.set()

    clients = [threading.Thread(target=ask) for _ in range(16)]
    for thread in clients:
        thread.start()
    busy.wait()
    signalled.set()
    server.process.send_signal(number)
    try:
        assert server.process.wait(60) == 0
    finally:
        ended.set()
    for thread in clients:
        thread.join()
    # A port that is closed has taken nothing.
    reached = [(early, a) for early, a in seen if not isinstance(a, ConnectionRefusedError)]
    taken = [answer for is_early, answer in reached if is_early]
    assert len(taken) > 16 and all(isinstance(answer, Answer) for answer in taken)
    whole = [a for _, a in seen if isinstance(a, Answer) and a.status == 200]
    assert len(whole) > 16 and all(len(answer.json["items"]) == 2 for answer in whole)
    late = [answer for _, answer in seen if isinstance(answer, Answer) and answer.status != 200]
    assert all(answer.status == 503 for answer in late)
    assert all(answer.header("Connection") == "close" for answer in late)
