"""librehps serve with a model of one axis that scores images only."""

import json
from pathlib import Path

import pytest

import forks
from make_media import clip
from serve_client import Server, file_b64

GOLDEN = Path(__file__).parents[1] / "golden_hpsv3"
PROMPT = "a cat sitting on a windowsill"


def test_scores_compares_and_refuses_clips(tmp_path: Path) -> None:
    cases = json.loads((GOLDEN / "expected.json").read_text())["images"]
    mu = {case["image"]: case["mu"] for case in cases if case["prompt"] == PROMPT}
    film = clip(tmp_path / "clip.mp4") or tmp_path / "clip.mp4"
    server = Server.start(
        command=(
            *(*forks.librehps(), "serve", "--device", "cpu", "--port", "0"),
            *("--model", str(GOLDEN / "checkpoint")),
        )
    )
    try:
        names = ("sq448.png", "wide.png")
        images = [{"image_b64": file_b64(GOLDEN / "media" / name)} for name in names]
        items = [{**image, "prompt": PROMPT} for image in images]
        items.append({"video_b64": file_b64(Path(film)), "prompt": PROMPT})
        answer = server.post("/score", {"items": items})
        assert answer.status == 200, answer
        *stills, refused = answer.json["items"]
        for name, still in zip(names, stills, strict=True):
            assert still["overall_mu"] == pytest.approx(mu[name], abs=5e-3)
            assert "alignment" not in still
        assert refused["error_type"] == "UnsupportedMediaError"
        assert "images only" in refused["error"]
        told = server.post("/compare", {"prompt": PROMPT, "a": images[0], "b": images[1]}).json
        assert (told["winner"], told["calibrated"]) == ("b", False)
        assert [*told["scores"]["a"]] == ["overall", "overall_mu"]
        schema = server.get("/openapi.json").json["components"]["schemas"]
        assert "overall_mu" in schema["ItemScores"]["properties"]
        assert "style" not in schema["ItemScores"]["properties"]
    finally:
        assert server.stop() == 0
