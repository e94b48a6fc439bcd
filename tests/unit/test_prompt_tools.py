"""Prompts as tools other than ComfyUI write them, in images and in the tags of clips."""

import gzip
import json
import re
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image

from embedded import NEGATIVE, commented, graph, png, prompt_of, text_to_image
from librehps import markup
from librehps.errors import EmptyPromptError, PromptError
from librehps.media.metadata import infotext, prompt_of_clip, prompt_of_image, texts, tools
from make_media import picture


def test_no_pattern_reads_a_text_again_and_again() -> None:
    """Each text would take hours if a pattern began anew at each place of it."""
    tokens = (" ", "\n ", "x", "1", "__a ", "{", "{|", "(", "((x", "[[", "{{", "<lora:", "1::",
              "1::x:", "<segment", "Job ID: ", "Job ID: abcdefab-", " --a!", " --v", " --tile  ",
              "http://a ", "Steps: 1", "Steps: 1, A", "\nSteps: 1, Ab", '" ', '"  -', "\n{ ",
              '\n"1 ')  # fmt: skip
    modules = (texts, tools, infotext, markup)
    patterns = [p for module in modules for p in vars(module).values() if isinstance(p, re.Pattern)]
    assert len(patterns) > 12
    for token in tokens:
        text = '"' + token * (100_000 // len(token)) + "\x05"
        for pattern in patterns:
            pattern.search(text)
            pattern.search(text[1:])
            pattern.match(text)
    with pytest.raises(PromptError, match="more than one text"):
        record = {"sui_image_params": {"prompt": "<segment" * 100_000}}
        prompt_of(png(parameters=json.dumps(record)))
    assert texts.checked("a cat\n" + " " * 500_000 + "x").startswith("a cat")


def source_of(data: bytes) -> str:
    found = prompt_of_image(BytesIO(data))
    assert found is not None
    return found.source


def novelai(**more: Any) -> dict[str, Any]:
    return {"prompt": "a cat", "uc": "lowres", "request_type": "PromptGenerateRequest", **more}


PARAMETERS = {
    "swarmui": {"sui_image_params": {"prompt": "a cat", "negativeprompt": "x"}},
    "fooocus": {"prompt": "a cat", "full_prompt": ["a styled cat"], "metadata_scheme": "fooocus"},
    "ruinedfooocus": {"Prompt": "a cat", "Negative": "x", "software": "RuinedFooocus"},
    "json": {"prompt": "a cat", "seed": 5},
}


@pytest.mark.parametrize("tool", PARAMETERS)
def test_parameters_in_json(tool: str) -> None:
    text = json.dumps(PARAMETERS[tool])
    in_webp = commented("WEBP", b"UNICODE\0" + text.encode("utf-16-le"))
    for data in (png(parameters=text), commented("JPEG", b"ASCII\0\0\0" + text.encode()), in_webp):
        assert (prompt_of(data), source_of(data)) == ("a cat", tool)
    # RuinedFooocus puts the same record into a clip's tag.
    assert prompt_of_clip({"metadata": text}) == ("a cat", tool)


@pytest.mark.parametrize(
    "tag", ["segment:<x:face>", "segment:face", "object:hand", "refiner", "video", "region:0,0"]
)
def test_swarmui_prompts_of_several_parts(tag: str) -> None:
    record = {"sui_image_params": {"prompt": f"a cat <{tag}> detailed"}}
    with pytest.raises(PromptError, match="more than one text"):
        prompt_of(png(parameters=json.dumps(record)))


def test_placeholders() -> None:
    """A saver's placeholder or empty text gives way to the graph next to it, and is no prompt."""
    nodes = graph(text_to_image())
    for text in ("unknown", "undefined", ""):
        assert prompt_of(png(parameters=f"{text}\n{NEGATIVE}", prompt=nodes)) == "a red cat"
    with pytest.raises(PromptError, match="'Unknown' is a placeholder"):
        prompt_of(png(parameters=f"Unknown\n{NEGATIVE}"))
    two = graph(text_to_image(**{"6": {"text_g": "a cat", "text_l": "a dog", "clip": ["4", 1]}}))
    with pytest.raises(PromptError, match="more than one text"):
        prompt_of(png(parameters=f"unknown\n{NEGATIVE}", prompt=two))
    # A text that was filled at run time is the best witness.
    assert prompt_of(png(parameters=f"a cat\n{NEGATIVE}", prompt=two)) == "a cat"


@pytest.mark.parametrize("text", ["a __color__ cat", "a {red|blue} cat", '"0": "a cat"'])
def test_templates(text: str) -> None:
    for data in (png(parameters=f"{text}\n{NEGATIVE}"), png(prompt=f"\n{text}")):
        with pytest.raises(PromptError, match="template"):
            prompt_of(data)


def test_invokeai() -> None:
    record = {"generation_mode": "txt2img", "positive_prompt": "a 猫", "negative_prompt": "x"}
    assert prompt_of(png(invokeai_metadata=json.dumps(record))) == "a 猫"
    for text in ('{"positive_prompt": null}', "{}", "[]", "a cat"):
        with pytest.raises(PromptError, match="invokeai_metadata"):
            prompt_of(png(invokeai_metadata=text))


def invoke_2(prompts: Any) -> bytes:
    return png(**{"sd-metadata": json.dumps({"image": {"prompt": prompts}})})


def test_invokeai_1_and_2() -> None:
    assert prompt_of(invoke_2([{"prompt": "a cat [blurry, [ugly]]", "weight": 1}])) == "a cat"
    assert prompt_of(invoke_2("a cat [blurry]")) == "a cat"
    for prompts in ([], None, 5, [{"prompt": "a"}, {"prompt": "b"}], [{"weight": 1}]):
        with pytest.raises(PromptError, match="cannot be told"):
            prompt_of(invoke_2(prompts))
    assert prompt_of(png(Dream='"a "red" cat [blurry]" -s 50 -S 7 -W 512')) == 'a "red" cat'
    assert prompt_of(png(Dream='"a cat"')) == "a cat"


@pytest.mark.parametrize(
    ("text", "prompt"),
    [
        ("a cat --v 6.1 --ar 1:1 Job ID: 01234567-89ab-cdef-0123-456789abcdef", "a cat"),
        ("a cat Job ID: 01234567-89ab-cdef-0123-456789abcdef", "a cat"),
        ("a well-lit cat --no blur, noise --v 7", "a well-lit cat"),
        ("https://s.mj.run/x <https://s.mj.run/y> a cat --v 6", "a cat"),
        ("a holiday in 1999 -- with a cat", None),
        ("a cat", None),
        ("My cat --taken in June, a holiday", None),
        ("a tile --no", None),
        ("a cat --raw --tile", "a cat"),
        ("a cat --newest 3 --ar 16:9", "a cat"),
        ("a cat --newest 3 Job ID: 01234567-89ab-cdef-0123-456789abcdef", "a cat"),
    ],
)
def test_midjourney(text: str, prompt: str | None) -> None:
    assert prompt_of(png(Description=text)) == prompt


def test_novelai() -> None:
    comment = json.dumps(novelai())
    old = json.dumps({"steps": 28, "uc": "lowres", "n_samples": 1})
    wrapped = json.dumps({"Description": "a cat", "Software": "NovelAI", "Comment": comment})
    in_webp = commented("WEBP", b"ASCII\0\0\0" + wrapped.encode())
    for data in (png(Comment=comment), png(Description="a cat", Comment=old), in_webp):
        assert (prompt_of(data), source_of(data)) == ("a cat", "novelai")
    captions = {"base_caption": "a cat", "char_captions": [{"char_caption": "a girl"}]}
    odd = novelai(v4_prompt={"caption": {"char_captions": 1.5}})
    assert prompt_of(png(Comment=json.dumps(odd))) == "a cat"
    with pytest.raises(PromptError, match="characters have their own"):
        prompt_of(png(Comment=json.dumps(novelai(v4_prompt={"caption": captions}))))


def hidden(content: bytes, mark: bytes, kind: str = "PNG", side: int = 64) -> bytes:
    """Return a picture with bits hidden in its alpha channel, column by column."""
    bits = np.unpackbits(
        np.frombuffer(mark + (len(content) * 8).to_bytes(4, "big") + content, "u1")
    )
    alpha = np.full(side * side, 255, np.uint8)
    alpha[: len(bits)] = 254 | bits
    pixels = np.full((side, side, 4), 200, np.uint8)
    pixels[..., 3] = alpha.reshape(side, side).T
    file = BytesIO()
    Image.fromarray(pixels, "RGBA").save(
        file, kind, **({} if kind == "PNG" else {"lossless": True})
    )
    return file.getvalue()


def test_novelai_hidden_in_alpha() -> None:
    text = json.dumps({"Comment": json.dumps(novelai())}).encode()
    for kind in ("PNG", "WEBP"):
        assert prompt_of(hidden(gzip.compress(text), b"stealth_pngcomp", kind)) == "a cat"
    assert prompt_of(hidden(f"a cat\n{NEGATIVE}".encode(), b"stealth_pnginfo")) == "a cat"
    for content in (b"", b"not gzip", gzip.compress(text)[:-9], gzip.compress(b"\xff")):
        assert prompt_of(hidden(content, b"stealth_pngcomp")) is None
    bomb = gzip.compress(bytes(1 << 26))
    with pytest.raises(PromptError, match="too long"):
        prompt_of(hidden(bomb, b"stealth_pngcomp", side=740))


def test_plain_prompts() -> None:
    data = png(prompt="a cat", negative_prompt="x", seed="5")
    assert (prompt_of(data), source_of(data)) == ("a cat", "plain")
    assert prompt_of(png(Prompt="a cat")) == "a cat"
    with pytest.raises(EmptyPromptError):
        prompt_of(png(prompt=" "))


def test_a_graph_in_the_first_directory_of_exif() -> None:
    record = {"prompt": json.loads(graph(text_to_image())), "workflow": {"nodes": []}}
    for kind in ("WEBP", "JPEG", "AVIF"):
        exif, file = Image.Exif(), BytesIO()
        exif[0x9286] = json.dumps(record)
        picture(16, 16).save(file, kind, exif=exif)
        assert prompt_of(file.getvalue()) == "a red cat", kind


def test_civitai() -> None:
    extra = {"extra": {"airs": []}, "extraMetadata": json.dumps({"prompt": "a cat", "steps": 25})}
    record = {**json.loads(graph(text_to_image())), **extra}
    data = commented("JPEG", b"UNICODE\0" + json.dumps(record).encode("utf-16-le"))
    assert (prompt_of(data), source_of(data)) == ("a cat", "civitai")
    del record["extraMetadata"]
    data = commented("JPEG", b"UNICODE\0" + json.dumps(record).encode("utf-16-be"))
    assert (prompt_of(data), source_of(data)) == ("a red cat", "comfyui")


@pytest.mark.parametrize(
    "tags",
    [
        {"prompt": graph(text_to_image()), "workflow": '{"nodes": []}'},
        {"PROMPT": graph(text_to_image())},
        {"COMMENT": json.dumps({"prompt": graph(text_to_image()), "workflow": {"nodes": []}})},
        {"comment": json.dumps({"prompt": json.loads(graph(text_to_image()))})},
        {"title": "a cat", "prompt": "a red cat"},
        {"comment": f"a red cat\n{NEGATIVE}"},
    ],
)
def test_tags_of_clips(tags: dict[str, str]) -> None:
    found = prompt_of_clip(tags)
    assert found is not None and found.text == "a red cat"


def test_tags_that_tell_no_prompt() -> None:
    for tags in (
        {},
        {"title": "a cat", "comment": "made with love"},
        {"description": "a cat --now"},
    ):
        assert prompt_of_clip(tags) is None
    with pytest.raises(PromptError, match="but no `prompt`"):
        prompt_of_clip({"workflow": '{"nodes": []}'})
