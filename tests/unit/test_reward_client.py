"""The client of the reward server, against a small stand-in on loopback.

A stand-in, since it must fail on command: refuse, drop connections, answer late or nonsense.
"""

import asyncio
import os
import pickle
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from email.utils import formatdate
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from conftest import EXAMPLES
from librehps import BatchItem, Item, LibreHPS
from librehps.errors import RewardServerError, UsageError
from librehps.media.images import load_pixels
from librehps.rewards import AsyncRewardClient, RewardClient, ddpo_reward, exchange, trl_reward
from reward_stand_in import (
    BOUND,
    PROMPT,
    STILLS,
    Act,
    Handler,
    StandIn,
    cut_short,
    drop,
    items,
    nothing_listens,
    refuse,
    say,
)  # fmt: skip

pytest_plugins = ["reward_stand_in"]

MEDIA = EXAMPLES / "media"


def test_every_way_to_give_an_image_has_its_exact_score(
    serve: Callable[..., StandIn], tiny: LibreHPS, tmp_path: Path
) -> None:
    path = MEDIA / "torn.png"
    pixels = load_pixels(path)
    grey = tmp_path / "grey.png"
    Image.fromarray((np.arange(64 * 64).reshape(64, 64) * 15).astype(np.uint16)).save(grey)
    ways = [path, str(path), path.read_bytes(), Image.open(path), pixels, pixels.float() / 255]
    server = serve()
    rows = RewardClient(server.url).score(items([*ways, grey, Image.open(grey)]))
    for at in range(8):
        sent = server.tensors[0][str(at)]
        found = sent.tobytes() if sent.ndim == 1 else torch.from_numpy(sent).permute(2, 0, 1)
        source = grey if at > 5 else path
        assert torch.equal(load_pixels(found), load_pixels(source))
        assert (sent.ndim == 1) == (at in (0, 1, 2, 6))
    assert [row["id"] for row in rows] == [f"n{at}" for at in range(8)]
    alone = tiny.score_image(path, PROMPT)
    for row in rows[:6]:
        assert row["overall_mu"] == pytest.approx(alone.overall.raw_mean, abs=BOUND)
    assert rows[6]["style_mu"] == pytest.approx(rows[7]["style_mu"], abs=BOUND)


def test_clips_go_as_files_and_errors_cost_their_item(
    serve: Callable[..., StandIn], tiny: LibreHPS
) -> None:
    client = RewardClient(serve().url)
    uneven = [Image.new("RGB", (64, 64)), Image.new("RGB", (64, 65))]
    media = [MEDIA / "steady.mp4", MEDIA / "gone.png", uneven, b"no picture"]
    assert [row is None for row in client.score(items(media))] == [False, True, True, True]
    rows = client.rows(items(media))
    assert rows[0]["temporal_mu"] == pytest.approx(
        tiny.score_video(media[0], PROMPT).temporal.raw_mean, abs=BOUND
    )
    errors = [row.get("error_type") for row in rows]
    assert errors[1:] == ["MediaNotFoundError", "UnsupportedMediaError", "UnsupportedMediaError"]
    assert client.score([BatchItem(STILLS[0], PROMPT)])[0]["status"] == "ok"
    assert client.score([]) == []


def test_it_asks_again_and_waits_as_told(
    serve: Callable[..., StandIn], waits: list[float], tiny: LibreHPS
) -> None:
    later = formatdate(time.time() + 30, usegmt=True)
    server = serve(
        refuse(429, Retry_After="7"),
        drop,
        refuse(500),
        refuse(503, Retry_After=later),
        refuse(503, Retry_After="soon"),
        refuse(429, Retry_After="86400"),
        cut_short,
    )
    client = RewardClient(server.url, retries=7)
    (row,) = client.score(items(STILLS[:1]))
    expected = tiny.score_image(STILLS[0], PROMPT).overall.raw_mean
    assert row["overall_mu"] == pytest.approx(expected, abs=BOUND)
    least = [7, 1, 2, 28, 8, exchange.MAX_WAIT_S, 32]
    assert len(waits) == 7
    for waited, bound in zip(waits, least, strict=True):
        assert bound <= waited <= 1.25 * bound + 3
    assert all(request == server.asked[0] for request in server.asked)


def test_it_gives_up_after_the_last_try(
    serve: Callable[..., StandIn], waits: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    server = serve(*[refuse(503)] * 3)
    with pytest.raises(RewardServerError, match="503: not now") as found:
        RewardClient(server.url, retries=2).score(items(STILLS[:1]))
    assert "3 times" in found.value.hint
    assert caplog.text.count("retry in") == 2
    with nothing_listens() as url, pytest.raises(RewardServerError, match="cannot reach"):
        RewardClient(url, retries=1).score(items(STILLS[:1]))


def test_it_does_not_wait_longer_than_the_timeout(serve: Callable[..., StandIn]) -> None:
    asleep = threading.Event()
    server = serve(lambda handler: asleep.wait(5))
    with pytest.raises(RewardServerError, match="timed out"):
        RewardClient(server.url, retries=0, timeout=0.2).score(items(STILLS[:1]))
    asleep.set()


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (refuse(401), "401"),
        (refuse(422), "422"),
        (refuse(302, Location="http://127.0.0.1:9/elsewhere"), "302"),
        (say(b"<html>"), "invalid JSON"),
        (say([]), "expected a JSON object"),
        (say({"items": []}), "items differ"),
        (say({"items": [{"id": "5", "status": "ok"}]}), "items differ"),
        (say({"items": ["ok"]}), "items differ"),
        (
            say({"items": [{"id": "0", "status": "ok", "overall_mu": "1"}]}),
            "overall_mu: expected a number, got '1'",
        ),
    ],
)
def test_what_would_be_the_same_again_is_raised_at_once(
    serve: Callable[..., StandIn], act: Act, message: str, waits: list[float]
) -> None:
    with pytest.raises(RewardServerError, match=message):
        RewardClient(serve(act).url).score(items(STILLS[:1]))
    assert not waits


def test_the_token_goes_to_the_server_alone(serve: Callable[..., StandIn]) -> None:
    server = serve()
    client = RewardClient(f"{server.url}/", "s3cret-token")
    client.score(items(STILLS[:1]))
    assert server.headers[0]["Authorization"] == "Bearer s3cret-token"
    assert server.headers[0]["path"] == "/score"
    assert "s3cret" not in repr(client)
    elsewhere = serve()
    redirecting = serve(refuse(307, Location=f"{elsewhere.url}/score"))
    with pytest.raises(RewardServerError, match="307"):
        RewardClient(redirecting.url, "s3cret-token").score(items(STILLS[:1]))
    assert not elsewhere.headers


def test_batches_are_cut_by_items_and_by_bytes(serve: Callable[..., StandIn]) -> None:
    server = serve()
    media = [path.read_bytes() for path in STILLS * 3]
    expected = RewardClient(server.url, batch_size=12).score(items(media))
    assert [len(request["items"]) for request in server.asked] == [12]
    server.asked.clear()
    rows = RewardClient(server.url, batch_size=5, parallel=1).score(items(media))
    assert [len(request["items"]) for request in server.asked] == [5, 5, 2]
    limit = int(1.5 * max(map(len, media))) + 1000
    server.asked.clear()
    server.sizes.clear()
    small = RewardClient(server.url, batch_size=12, body_limit=limit).score(items(media))
    assert max(server.sizes) <= limit
    assert 12 > len(server.asked) > 2
    for found in (rows, small):
        assert [row["id"] for row in found] == [row["id"] for row in expected]
        assert [r["overall_mu"] for r in found] == pytest.approx(
            [r["overall_mu"] for r in expected], abs=BOUND
        )


def test_what_would_spoil_a_request_is_not_sent(serve: Callable[..., StandIn]) -> None:
    server = serve()
    prompts: list = [PROMPT, None, " ", 5, "lone \ud800", PROMPT]
    listed = [Item(str(at), STILLS[0], prompt) for at, prompt in enumerate(prompts)]
    rows = RewardClient(server.url).rows(listed)
    assert [row["status"] for row in rows] == ["ok", *["error"] * 4, "ok"]
    assert rows[4]["error_type"] == "PromptError"
    assert [len(request["items"]) for request in server.asked] == [2]


def test_a_body_that_is_too_large_is_halved(serve: Callable[..., StandIn]) -> None:
    server = serve()
    media = [path.read_bytes() for path in STILLS]
    server.largest = int(2.2 * max(map(len, media))) + 1000
    large = np.random.default_rng(0).integers(0, 256, (256, 256, 3), dtype=np.uint8)
    rows = RewardClient(server.url).rows(items([*media, Image.fromarray(large)]))
    assert [row["status"] for row in rows] == ["ok"] * 4 + ["error"]
    assert "413" in rows[4]["error"]
    # body_limit is for cutting alone: whether an item is too large, the server says.
    rows = RewardClient(server.url, body_limit=1).rows(items(media))
    assert [row["status"] for row in rows] == ["ok"] * 4


def test_more_items_than_the_server_takes_are_halved(serve: Callable[..., StandIn]) -> None:
    def refuse_many(handler: Handler) -> None:
        handler.say(422, b'{"error_type": "TooManyItems", "error": "2 items at most"}')

    server = serve(refuse_many)
    rows = RewardClient(server.url).rows(items(STILLS))
    assert [row["status"] for row in rows] == ["ok"] * 4
    assert [len(request["items"]) for request in server.asked] == [4, 2, 2]


@pytest.mark.timeout(50)
def test_a_fatal_refusal_does_not_wait_for_the_others(serve: Callable[..., StandIn]) -> None:
    waiting = threading.Event()

    def later(handler: Handler) -> None:
        handler.say(503, b"", Retry_After="60")
        waiting.set()

    def never(handler: Handler) -> None:
        waiting.wait(5)
        handler.say(401, b'{"detail": "no token"}')

    server = serve(later, never)
    with pytest.raises(RewardServerError, match="401"):
        RewardClient(server.url, batch_size=1, parallel=2).score(items(STILLS[:2]))
    wait_for = [thread for thread in threading.enumerate() if thread.name.startswith("reward")]
    for thread in wait_for:
        thread.join(2)
    assert not any(thread.is_alive() for thread in wait_for)


@pytest.mark.timeout(50)
def test_an_interrupt_does_not_wait(serve: Callable[..., StandIn]) -> None:
    def interrupted(handler: Handler) -> None:
        handler.say(503, b"", Retry_After="60")
        main = threading.main_thread().ident
        threading.Timer(0.2, signal.pthread_kill, [main, signal.SIGINT]).start()

    # What a shell started in the background ignores the signal.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            RewardClient(serve(interrupted).url).score(items(STILLS[:1]))
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize(
    "head", [b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", b"HTTP/1.1 2"]
)
def test_an_answer_that_trickles_has_a_deadline(serve: Callable[..., StandIn], head: bytes) -> None:
    def trickle(handler: Handler) -> None:
        handler.wfile.write(head)
        # Until the client has left: nothing but its own deadline ends this.
        with suppress(OSError):
            while not stopped.wait(0.05):
                handler.wfile.write(b"0")

    stopped = threading.Event()
    with pytest.raises(RewardServerError, match="timed out"):
        RewardClient(serve(trickle).url, retries=0, timeout=0.3).score(items(STILLS[:1]))
    stopped.set()


@pytest.mark.parametrize("is_waiting", [False, True])
@pytest.mark.parametrize("is_async", [False, True])
def test_closing_ends_the_calls_in_progress(
    serve: Callable[..., StandIn], is_waiting: bool, is_async: bool
) -> None:
    def hang(handler: Handler) -> None:
        if is_waiting:
            handler.say(503, b"", Retry_After="60")
        asked.set()
        stopped.wait(20)

    async def closed_soon() -> None:
        call = asyncio.create_task(client.score(items(STILLS[:1])))
        await asyncio.to_thread(asked.wait)
        await client.aclose()
        await call

    asked, stopped = threading.Event(), threading.Event()
    server = serve(hang)
    client = (AsyncRewardClient if is_async else RewardClient)(server.url)
    with pytest.raises(RewardServerError, match="the client was closed"):
        if is_async:
            asyncio.run(closed_soon())
        else:
            with ThreadPoolExecutor(1) as pool:
                call = pool.submit(client.score, items(STILLS[:1]))
                asked.wait()
                client.close()
                call.result()
    stopped.set()
    assert len(server.asked) == 1


def test_a_proxy_is_not_asked_for_this_machine(
    serve: Callable[..., StandIn], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    assert RewardClient(serve().url, retries=0).score(items(STILLS[:1])) != [None]


CLIP = np.stack([load_pixels(path).permute(1, 2, 0).numpy() for path in STILLS] * 3)


@pytest.mark.parametrize(
    "clip",
    [
        CLIP,
        torch.from_numpy(CLIP).permute(0, 3, 1, 2),
        torch.from_numpy(CLIP).permute(0, 3, 1, 2).float() / 255,
        [Image.fromarray(frame) for frame in CLIP],
        [*CLIP],
        STILLS * 3,
    ],
    ids=["array", "bytes", "floats", "pillow", "arrays", "paths"],
)
def test_clips_in_memory_have_the_scores_of_their_frames(
    serve: Callable[..., StandIn], tiny: LibreHPS, clip: Any
) -> None:
    server = serve()
    (row,) = RewardClient(server.url).rows(items([clip]))
    assert np.array_equal(server.tensors[0]["0"], CLIP)
    here = tiny.score_video([Image.fromarray(frame) for frame in CLIP], PROMPT)
    assert row["frames"] == [*here.frames]
    assert row["temporal_mu"] == pytest.approx(here.temporal.raw_mean, abs=BOUND)
    server.reads.remove("binary")
    (old,) = RewardClient(server.url).rows(items([clip]))
    assert old["temporal_mu"] == pytest.approx(row["temporal_mu"], abs=BOUND)


def test_reward_functions_send_clips(serve: Callable[..., StandIn], tiny: LibreHPS) -> None:
    client = RewardClient(serve().url)
    clips = torch.rand(2, 3, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    (there, _), (here, _) = (
        ddpo_reward(one)()(clips, [PROMPT] * 2, None) for one in (client, tiny)
    )
    assert there.tolist() == pytest.approx(here.tolist(), abs=BOUND)
    assert trl_reward(client)([PROMPT] * 2, clips) == pytest.approx(here.tolist(), abs=BOUND)
    one_frame, _ = ddpo_reward(client)()(clips[:, :1], [PROMPT] * 2, None)
    assert one_frame.isfinite().all()
    assert pickle.loads(pickle.dumps(ddpo_reward(client))) == ddpo_reward(client)  # noqa: S301 - our own
    with pytest.raises(UsageError, match="use a RewardClient"):
        ddpo_reward(AsyncRewardClient("http://127.0.0.1:8000"))()


def test_a_server_of_json_alone_is_asked_so_from_then_on(
    serve: Callable[..., StandIn], tiny: LibreHPS, caplog: pytest.LogCaptureFixture
) -> None:
    server = serve()
    server.reads.clear()
    client = RewardClient(server.url)
    clip = [Image.open(path) for path in STILLS]
    rows = client.rows(items([STILLS[0], clip, Image.open(STILLS[1])]))
    assert [row["status"] for row in rows] == ["ok", "error", "ok"]
    assert "too old to read frames" in rows[1]["error"]
    for row, path in zip(rows[::2], STILLS, strict=False):
        expected = tiny.score_image(path, PROMPT).overall.raw_mean
        assert row["overall_mu"] == pytest.approx(expected, abs=BOUND)
    links, asked = server.links, len(server.asked)
    rows = client.rows(items([clip, STILLS[0]]))
    assert [row["status"] for row in rows] == ["error", "ok"]
    # One request more, on the connection that is open.
    assert (server.links, len(server.asked)) == (links, asked + 1)
    assert caplog.text.count("reads JSON only") == 1


def test_a_refusal_that_names_frames_is_raised_as_it_is(serve: Callable[..., StandIn]) -> None:
    def invalid(handler: Handler) -> None:
        handler.say(422, b'{"error": "expected one of image_b64, frames_b64"}')

    clip = [Image.open(path) for path in STILLS]
    server = serve(invalid, invalid)
    for media in (STILLS[0], clip):
        with pytest.raises(RewardServerError, match="422: expected one of"):
            RewardClient(server.url).rows(items([media]))
    assert len(server.asked) == 2


def test_what_the_bytes_do_not_tell_goes_with_its_kind(serve: Callable[..., StandIn]) -> None:
    server = serve()
    frames = [Image.open(path) for path in STILLS]
    file = BytesIO()
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:], duration=100)
    rows = RewardClient(server.url).rows(
        [Item("a", file.getvalue(), PROMPT, "video"), Item("b", file.getvalue(), PROMPT)]
    )
    assert [row["status"] for row in rows] == ["ok", "ok"]
    assert "video_b64" in server.asked[0]["items"][0]
    assert len(server.tensors[0]["1"]) == len(file.getvalue())


def test_a_child_and_many_threads_share_one_client(serve: Callable[..., StandIn]) -> None:
    server = serve()
    client = RewardClient(server.url)
    expected = client.score(items(STILLS[:1]))
    assert client.score(items(STILLS[:1])) == expected
    assert server.links == 1
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = 0 if client.score(items(STILLS[:1])) == expected else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert server.links == 2
    with ThreadPoolExecutor(8) as pool:
        found = [*pool.map(lambda _: client.score(items(STILLS[:1])), range(24))]
    assert found == [expected] * 24
    assert server.links <= 10
    client.close()
    assert client.score(items(STILLS[:1])) == expected


@pytest.mark.parametrize("token", ["s3cret\nX: y", "s3cret\x7f", "s3cr\u00e9t", b"s3cret"])
def test_a_token_that_no_header_takes_is_not_shown(token: Any) -> None:
    with pytest.raises(UsageError) as found:
        RewardClient("http://127.0.0.1:8000", token)
    assert "s3cr" not in f"{found.value} {found.value.hint}"
    assert RewardClient("http://127.0.0.1:8000", " s3cret\n").token == "s3cret"  # noqa: S105


def test_a_server_whose_settings_change_is_an_error(serve: Callable[..., StandIn]) -> None:
    server = serve()
    client = RewardClient(server.url)
    client.score(items(STILLS[:1]))
    assert client.settings == server.model.settings.digest
    server.settings = "0123456789ab"
    with pytest.raises(RewardServerError, match="settings changed"):
        client.score(items(STILLS[:1]))


def test_it_stands_where_a_model_stands(serve: Callable[..., StandIn], tiny: LibreHPS) -> None:
    client = RewardClient(serve().url)
    mix = {"overall": 1.0, "style": 0.5}
    here, there = trl_reward(tiny, weights=mix), trl_reward(client, weights=mix)
    media = [*STILLS, MEDIA / "gone.png"]
    one, two = (f(prompts=[PROMPT] * 5, completions=media) for f in (here, there))
    assert one[:4] == pytest.approx(two[:4], abs=BOUND)
    assert one[4] is two[4] is None
    images = torch.stack([load_pixels(path) for path in STILLS]).float() / 255
    (one, _), (two, info) = (
        ddpo_reward(model)("cpu")(images, [PROMPT] * 4, None) for model in (tiny, client)
    )
    assert one.tolist() == pytest.approx(two.tolist(), abs=BOUND)
    assert info["scored"].all()
    with pytest.raises(UsageError, match="unsupported with a server"):
        trl_reward(client, resize="device")
    # Trainers that spawn workers send them the reward function.
    again = pickle.loads(pickle.dumps(there))  # noqa: S301 - our own
    assert again(prompts=[PROMPT], completions=STILLS[:1]) == pytest.approx(
        there(prompts=[PROMPT], completions=STILLS[:1])
    )


@pytest.mark.parametrize(
    "wrong",
    [
        {"url": "file:///etc/passwd"},
        {"url": "localhost:8000"},
        {"url": "http://"},
        {"url": "http://127.0.0.1:port"},
        {"url": "http://127.0.0.1:99999"},
        {"url": "http://a b:8000"},
        {"url": "http://user:word@127.0.0.1"},
        {"url": "http://127.0.0.1?x=1"},
        {"batch_size": 0.5},
        {"retries": -1},
        {"batch_size": 0},
        {"timeout": 0},
        {"timeout": "5"},
        {"timeout": None},
        {"timeout": float("inf")},
        {"url": None},
        {"url": b"http://127.0.0.1:8000"},
        {"url": ["http://127.0.0.1:8000", "http://127.0.0.1:8000/"]},
        {"parallel": 0},
        {"url": []},
        {"url": ["http://127.0.0.1:8000", "http://127.0.0.1:8000"]},
        {"url": ["http://127.0.0.1:8000", "127.0.0.1:8001"]},
    ],
)
def test_what_cannot_be_asked_is_refused(wrong: dict) -> None:
    with pytest.raises(UsageError):
        RewardClient(**{"url": "http://127.0.0.1:8000", **wrong})
