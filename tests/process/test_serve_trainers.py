"""The server as RL trainers use it: the requests of their clients, their batches and ranks."""

import base64
import math
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from librehps import Item, LibreHPS
from make_media import clip, picture
from serve_client import Server, file_b64, png_b64

PROMPT = "a red circle left of a blue square"
NAME = "tiny-1.0"
PART = f"{NAME}.overall_mu"
TURN = {"text": PROMPT, "image_b64": png_b64()}


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    running = Server.start("--reward-name", NAME)
    yield running
    assert running.stop() == 0


def jpeg(image: Image.Image) -> bytes:
    file = BytesIO()
    image.save(file, "JPEG", quality=95)
    return file.getvalue()


@pytest.fixture(scope="module")
def pictures() -> list[bytes]:
    return [jpeg(picture(64, 64, seed)) for seed in range(24)]


@pytest.fixture(scope="module")
def offline(tiny: LibreHPS, pictures: list[bytes]) -> list[float]:
    """The mu of `overall` of each picture under PROMPT."""
    items = [Item(str(at), content, PROMPT, "image") for at, content in enumerate(pictures)]
    return [row.score.overall.raw_mean for row in tiny.score_items(items)]


@dataclass
class TrainerClient:
    """A client that speaks as UniRL's do: one POST of all samples, three tries, no Retry-After."""

    url: str
    rewards: list[str]
    version: str | None = None
    is_told: bool = True
    http: httpx.Client = field(default_factory=lambda: httpx.Client(timeout=300, trust_env=False))

    def is_available(self) -> bool:
        """Raises ValueError if the server lacks a reward."""
        answer = self.http.get(f"{self.url}/health", timeout=5)
        if answer.status_code != 200:
            return False
        if missing := set(self.rewards) - set(answer.json()["rewards"]):
            raise ValueError(f"not served: {missing}")
        return True

    def score(self, samples: list[dict[str, Any]]) -> list[float]:
        """The first part of the first reward of each sample; raises where one is missing."""
        labels = [self._labels(at) for at in range(len(samples))]
        requests = [
            {**sample, "required_rewards": self.rewards, "metadata": {"at": at}, **labels[at]}
            for at, sample in enumerate(samples)
        ]
        raw = self._post({"protocol_version": "1", "requests": requests})
        assert len(raw["results"]) == len(raw["errors"]) == len(samples)
        for mine, theirs in zip(labels, raw.get("identities", []), strict=self.is_told):
            version = self.version or theirs["scorer_version"]
            assert {**mine, "scorer_version": version} == theirs
        found = [result[self.rewards[0]] for result in raw["results"]]
        assert all(math.isfinite(value) for parts in found for value in parts.values())
        return [next(iter(parts.values())) for parts in found]

    def _labels(self, at: int) -> dict[str, Any]:
        if not self.is_told:
            return {}
        return {
            "request_id": str(uuid.uuid4()), "sample_id": f"s{at}", "group_id": None,
            "source_rank": 3, "policy_version": None, "scorer_version": self.version,
            "idempotency_key": "0" * 64,
        }  # fmt: skip

    def _post(self, body: dict[str, Any]) -> Any:
        for _ in range(3):
            answer = self.http.post(f"{self.url}/score", json=body)
            if answer.status_code == 200:
                return answer.json()
            if 400 <= answer.status_code < 500 and answer.status_code != 429:
                break
        raise RuntimeError(answer.text)


def client(server: Server, *rewards: str, **options: Any) -> TrainerClient:
    return TrainerClient(f"http://127.0.0.1:{server.port}", list(rewards), **options)


def samples(pictures: list[bytes], count: int) -> list[dict[str, Any]]:
    texts = [base64.b64encode(content).decode() for content in pictures]
    return [
        {"history": [{"text": PROMPT, "image_b64": texts[at % len(texts)]}]} for at in range(count)
    ]


def posted(server: Server, *requests: Any, **more: Any) -> Any:
    answer = server.post("/score", {"requests": list(requests), **more})
    assert answer.status == 200, answer
    return answer.json


def test_names_of_rewards(server: Server, tiny: LibreHPS) -> None:
    listed, health = server.get("/rewards").json, server.get("/health").json
    assert next(iter(listed["rewards"])) == NAME and listed["rewards"][PART] == ["overall_mu"]
    assert set(listed["rewards"]) == {NAME, *(f"{NAME}.{p}" for p in listed["rewards"][NAME])}
    assert health["rewards"] == {name: ["ready"] for name in listed["rewards"]}
    for facts in (listed, health):
        assert facts["settings"] == tiny.settings.digest and facts["model"] == tiny.settings.model
    assert client(server, NAME, PART).is_available()
    with pytest.raises(ValueError, match="not served"):
        client(server, "librehps").is_available()


# The more are more than any window holds (256), in a body of the large ones (over 1 MiB).
@pytest.mark.parametrize("count", [96, pytest.param(600, marks=pytest.mark.slow)])
def test_one_post_of_all_samples(
    server: Server, pictures: list[bytes], offline: list[float], count: int
) -> None:
    found = client(server, PART).score(samples(pictures, count))
    wanted = [offline[at % len(offline)] for at in range(count)]
    assert found == pytest.approx(wanted, abs=2e-3)


def test_eight_ranks_at_once(server: Server, pictures: list[bytes], offline: list[float]) -> None:
    ranks = [client(server, PART, is_told=rank % 2 == 0) for rank in range(8)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda rank: rank.score(samples(pictures, 60)), ranks))
    wanted = [offline[at % len(offline)] for at in range(60)]
    for scores in found:
        assert scores == pytest.approx(wanted, abs=2e-3)


def test_rewards_of_one_part(server: Server, tmp_path: Path) -> None:
    still = {"history": [TURN], "required_rewards": [PART, f"{NAME}.temporal_mu", NAME, "x", PART]}
    film = {"history": [{"text": PROMPT, "video_b64": file_b64(clip(tmp_path / "clip.mp4"))}],
            "required_rewards": [f"{NAME}.temporal_mu"]}  # fmt: skip
    answer = posted(server, still, film)
    (result, video), (errors, none) = answer["results"], answer["errors"]
    assert result == {PART: {"overall_mu": result[NAME]["overall_mu"]}, NAME: result[NAME]}
    assert set(video) == {f"{NAME}.temporal_mu"} and not none
    assert (
        set(errors) == {f"{NAME}.temporal_mu", "x"}
        and "only videos" in errors[f"{NAME}.temporal_mu"]
    )
    assert NAME in errors["x"] and "alignment_mu" in errors["x"]


def test_edits_are_not_scored(server: Server) -> None:
    answer = posted(server, {"history": [TURN, TURN]}, {"history": [TURN]},
                    {"history": [{**TURN, "video_b64": ""}]})  # fmt: skip
    assert [set(result) for result in answer["results"]] == [set(), {NAME}, set()]
    assert answer["errors"][0][NAME].startswith("edits are not scored: the history has 2 images")
    assert "exactly one of" in answer["errors"][2][NAME]


def test_histories_of_several_turns(server: Server) -> None:
    def mu(*history: dict[str, Any]) -> float:
        return posted(server, {"history": [*history]})["results"][0][NAME]["overall_mu"]

    image = {"image_b64": TURN["image_b64"]}
    told = {"role": "system", "text": "Draw well."}, {"role": "assistant", "text": "Here!", **image}
    wanted = mu(TURN)
    assert mu(told[0], {"role": "user", "text": PROMPT}, told[1]) == pytest.approx(wanted, abs=2e-3)
    assert mu({"role": None, "text": PROMPT}, image) == pytest.approx(wanted, abs=2e-3)
    first, _, last = PROMPT.partition(" left ")
    several = {"text": f"{first}\n{last}", **image}
    assert mu({"text": first}, {"text": last}, image) == pytest.approx(mu(several), abs=2e-3)


def test_settings_that_a_client_demands(server: Server, tiny: LibreHPS) -> None:
    assert client(server, NAME, version=tiny.settings.digest).score([{"history": [TURN]}])
    pinned = [{"history": [TURN], "scorer_version": version, "sample_id": version}
              for version in (tiny.settings.digest, "another")]  # fmt: skip
    answer = posted(server, *pinned)
    assert [set(errors) for errors in answer["errors"]] == [set(), {NAME}]
    assert tiny.settings.digest in answer["errors"][1][NAME]
    assert [one["sample_id"] for one in answer["identities"]] == [tiny.settings.digest, "another"]
    assert {one["scorer_version"] for one in answer["identities"]} == {answer["settings"]}


def test_one_invalid_sample_is_one_error(server: Server) -> None:
    bad: list[Any] = [
        7, None, {}, {"history": {}}, {"history": [TURN], "required_rewards": NAME},
        {"history": [{"text": 3, "image_b64": TURN["image_b64"]}], "required_rewards": [PART]},
        {"history": [{"text": "x", "image_b64": {"a": 1}}], "sample_id": "s"},
        {"history": [TURN], "sample_id": [1]}, {"history": [TURN], "required_rewards": ["x"] * 99},
        {"history": [{"text": "\ud800", "image_b64": TURN["image_b64"]}]},
    ]  # fmt: skip
    answer = posted(server, {"history": [TURN]}, *bad, {"history": [TURN]})
    results, errors = answer["results"], answer["errors"]
    assert [set(result) for result in results] == [{NAME}, *[set()] * len(bad), {NAME}]
    assert [set(one) for one in errors[1:-1]] == [
        {PART if at == 5 else NAME} for at in range(len(bad))
    ]
    assert errors[6][PART].startswith("InvalidItemError: history.0.text: ")
    assert "function" not in str(errors) and ": :" not in str(errors)
    assert not errors[0] and not errors[-1]
    assert answer["identities"][7]["sample_id"] == "s"


def test_one_invalid_item_is_one_error(server: Server) -> None:
    good = {"prompt": PROMPT, "image_b64": TURN["image_b64"]}
    bad: list[Any] = [
        7, [], {}, {"prompt": "x"}, {**good, "prompt": 3}, {**good, "image_b64": {}},
        {**good, "promt": "x"}, {**good, "url": ""}, {**good, "prompt": "\ud800"},
        {**good, "id": "\udfff"}, {**good, "id": 7}, {**good, "id": "mine", "prompt": math.nan},
    ]  # fmt: skip
    answer = server.post("/score", {"items": [good, *bad, good]})
    assert answer.status == 200
    found = answer.json["items"]
    assert {item["error_type"] for item in found[1:-1]} == {"InvalidItemError"}
    assert [item["status"] for item in (found[0], found[-1])] == ["ok", "ok"]
    assert [item["id"] for item in found] == [*map(str, range(len(bad))), "mine", str(len(bad) + 1)]
    assert found[1]["error"] == "expected an object"
    assert all("prompt" in found[at]["error"] for at in (3, 5, 9, 12))
