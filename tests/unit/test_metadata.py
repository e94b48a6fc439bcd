"""Prompts that pictures carry, as each generator writes them, and as an enemy might."""

import json
import struct
import warnings
import zlib
from io import BytesIO
from typing import Any

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from librehps.errors import EmptyPromptError, PromptError
from librehps.media.metadata import prompt_of_image
from librehps.media.metadata.texts import MAX_TEXT_CHARS
from make_media import picture

SETTINGS = "Steps: 20, Sampler: DPM++ 2M, CFG scale: 7, Seed: 1, Size: 512x512, Version: v1.10"
NEGATIVE = f"Negative prompt: blurry, ugly\n{SETTINGS}"


def prompt_of(data: bytes, stem: str = "") -> str | None:
    found = prompt_of_image(BytesIO(data), stem)
    return None if found is None else found.text


def png(**texts: str) -> bytes:
    """A PNG with these text chunks: Latin-1 where that will do, else UTF-8, as Pillow does it."""
    info = PngInfo()
    for key, text in texts.items():
        info.add_text(key, text)
    file = BytesIO()
    picture(16, 16).save(file, "PNG", pnginfo=info)
    return file.getvalue()


def raw_png(kind: bytes, body: bytes) -> bytes:
    """A PNG with a chunk of any content before its pixels."""
    whole = png()
    at = whole.index(b"IDAT") - 4
    check = zlib.crc32(kind + body)
    chunk = struct.pack(">I", len(body)) + kind + body + struct.pack(">I", check)
    return whole[:at] + chunk + whole[at:]


def commented(kind: str, comment: bytes) -> bytes:
    """A picture with an EXIF user comment."""
    exif = Image.Exif()
    exif[0x010E] = "a description"
    exif.get_ifd(0x8769)[0x9286] = comment
    file = BytesIO()
    picture(16, 16).save(file, kind, exif=exif.tobytes())
    return file.getvalue()


def graph(nodes: dict[str, dict[str, Any]]) -> bytes:
    """A PNG with a ComfyUI graph of these inputs."""
    record = {name: {"class_type": "X", "inputs": inputs} for name, inputs in nodes.items()}
    return png(prompt=json.dumps(record), workflow='{"nodes": []}')


def text_to_image(**more: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {
        "3": {"seed": 1, "model": ["4", 0], "positive": ["6", 0], "negative": ["7", 0]},
        "4": {"ckpt_name": "x.safetensors"},
        "6": {"text": "a red cat", "clip": ["4", 1]},
        "7": {"text": "blurry", "clip": ["4", 1]},
        **more,
    }


@pytest.mark.parametrize(
    ("text", "prompt"),
    [
        (f"a red cat\n{NEGATIVE}", "a red cat"),
        (f"a red cat\n{SETTINGS}", "a red cat"),
        (f"a red cat,\non a mat\n{NEGATIVE}", "a red cat,\non a mat"),
        (f"a red cat\r\n{NEGATIVE}", "a red cat"),
        (f"a (red:1.2) cat <lora:x:0.8>\n{SETTINGS}", "a (red:1.2) cat <lora:x:0.8>"),
        (f"stairs\nSteps: 3 of them\n{SETTINGS}", "stairs\nSteps: 3 of them"),
        (f"stairs\nSteps: many\n{SETTINGS}\nTemplate: x", "stairs\nSteps: many"),
        (f"no Negative prompt: here\n{SETTINGS}", "no Negative prompt: here"),
        (f"猫 é\n{NEGATIVE}", "猫 é"),
        (f"é ü\n{NEGATIVE}", "é ü"),
    ],
)
def test_automatic1111_in_png(text: str, prompt: str) -> None:
    assert prompt_of(png(parameters=text)) == prompt


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize(
    ("charset", "encoding"),
    [
        (b"UNICODE\0", "utf-16-be"),
        (b"UNICODE\0", "utf-16-le"),
        (b"UNICODE\0", "utf-16"),
        (b"ASCII\0\0\0", "utf-8"),
        (b"\0" * 8, "utf-8"),
    ],
)
def test_automatic1111_in_exif(kind: str, charset: bytes, encoding: str) -> None:
    comment = charset + f"a 猫 🐱\n{NEGATIVE}".encode(encoding)
    assert prompt_of(commented(kind, comment)) == "a 猫 🐱"


def test_exif_of_either_byte_order() -> None:
    comment = b"ASCII\0\0\0" + f"a cat\n{SETTINGS}".encode()
    for mark, order in ((b"II*\0", "<"), (b"MM\0*", ">")):
        directory = struct.pack(f"{order}IHHHIII", 8, 1, 0x8769, 4, 1, 26, 0)
        inner = struct.pack(f"{order}HHHIII", 1, 0x9286, 7, len(comment), 44, 0)
        file = BytesIO()
        picture(16, 16).save(file, "JPEG", exif=b"Exif\0\0" + mark + directory + inner + comment)
        assert prompt_of(file.getvalue()) == "a cat"


def test_utf8_where_png_wants_latin1() -> None:
    text = f"a 猫, café\n{NEGATIVE}".encode()
    assert prompt_of(raw_png(b"tEXt", b"parameters\0" + text)) == "a 猫, café"


def test_compressed_text() -> None:
    text = zlib.compress(f"a cat\n{NEGATIVE}".encode())
    assert prompt_of(raw_png(b"zTXt", b"parameters\0\0" + text)) == "a cat"
    assert prompt_of(raw_png(b"iTXt", b"parameters\0\1\0\0\0" + text)) == "a cat"


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF", "GIF", "BMP"])
def test_pictures_that_say_nothing(kind: str) -> None:
    file = BytesIO()
    picture(16, 16).save(file, kind)
    assert prompt_of(file.getvalue()) is None


@pytest.mark.parametrize(
    "comment",
    [b"", b"ASCII\0\0\0", b"ASCII\0\0\0Holiday, 1999", b"UNICODE\0\0H\0o\0l", b"JIS\0\0\0\0\0x"],
)
def test_other_user_comments_say_nothing(comment: bytes) -> None:
    assert prompt_of(commented("JPEG", comment)) is None


@pytest.mark.parametrize("data", [b"", b"no picture", b"\x89PNG\r\n\x1a\n", png()[:40], b"GIF89a"])
def test_what_is_no_picture_says_nothing(data: bytes) -> None:
    assert prompt_of(data) is None


def test_only_listed_formats_are_opened() -> None:
    file = BytesIO()
    picture(16, 16).save(file, "PPM")
    assert prompt_of(file.getvalue()) is None


@pytest.mark.parametrize("text", ["a red cat", '{"sui_image_params": {"prompt": "a cat"}}', " "])
def test_parameters_that_do_not_end_a_prompt(text: str) -> None:
    with pytest.raises(PromptError, match="parameters"):
        prompt_of(png(parameters=text))


@pytest.mark.parametrize("text", [NEGATIVE, SETTINGS, f" \n{NEGATIVE}"])
def test_empty_prompts(text: str) -> None:
    with pytest.raises(EmptyPromptError):
        prompt_of(png(parameters=text))


def test_invoke() -> None:
    record = {"generation_mode": "txt2img", "positive_prompt": "a 猫", "negative_prompt": "x"}
    assert prompt_of(png(invokeai_metadata=json.dumps(record))) == "a 猫"
    for text in ('{"positive_prompt": null}', "{}", "[]", "a cat"):
        with pytest.raises(PromptError, match="invokeai_metadata"):
            prompt_of(png(invokeai_metadata=text))


def node_chain(length: int) -> dict[str, dict[str, Any]]:
    links = {str(at): {"conditioning": [str(at + 1), 0]} for at in range(100, 100 + length)}
    return {**links, str(100 + length): {"text": "a red cat", "clip": ["4", 1]}}


COMFY = {
    "plain": {},
    "two samplers": {"8": {"positive": ["6", 0], "negative": ["7", 0], "latent": ["3", 0]}},
    "text from a node": {"6": {"text": ["9", 0]}, "9": {"value": "a red cat"}},
    "text from nodes": {
        "6": {"text": ["9", 0]},
        "9": {"text": ["10", 0]},
        "10": {"string": "a red cat"},
    },
    "through a control net": {
        "3": {"positive": ["9", 0], "negative": ["9", 1]},
        "9": {"positive": ["6", 0], "negative": ["7", 0], "strength": 1},
    },
    "guider": {
        "3": {"noise": ["1", 0], "guider": ["9", 0], "sigmas": ["2", 0]},
        "9": {"model": ["4", 0], "conditioning": ["10", 0]},
        "10": {"guidance": 3.5, "conditioning": ["6", 0]},
    },
    "cfg guider": {"3": {"guider": ["9", 0]}, "9": {"positive": ["6", 0], "negative": ["7", 0]}},
    "two encoders": {"6": {"width": 1024, "text_g": "a red cat", "text_l": "a red cat"}},
    "one encoder empty": {"6": {"text_g": "a red cat", "text_l": ""}},
    "flux": {"6": {"clip_l": "", "t5xxl": "a red cat", "guidance": 3.5}},
    "qwen": {"6": {"prompt": "a red cat", "clip": ["4", 1], "image": ["2", 0]}},
    "loader of both": {
        "3": {"positive": ["9", 1], "negative": ["9", 2]},
        "9": {"ckpt_name": "x", "positive": "a red cat", "negative": "blurry"},
    },
    "same combined": {"3": {"positive": ["9", 0]}, "9": {"conditioning_1": ["6", 0],
                                                        "conditioning_2": ["6", 0]}},
    "long chain": {"3": {"positive": ["100", 0]}, **node_chain(20_000)},
}  # fmt: skip


@pytest.mark.parametrize("name", COMFY)
def test_comfy_graphs(name: str) -> None:
    assert prompt_of(graph(text_to_image(**COMFY[name]))) == "a red cat"


def test_comfy_graphs_as_they_come() -> None:
    """Graphs may hold NaN, which is not JSON, titles, and nodes of other shapes."""
    nodes = {name: {"class_type": "X", "inputs": inputs, "_meta": {"title": "t"}}
             for name, inputs in text_to_image().items()}  # fmt: skip
    text = json.dumps({**nodes, "12": {"is_changed": [float("nan")]}, "13": 5, "14": None})
    assert "NaN" in text
    assert prompt_of(png(prompt=text)) == "a red cat"


def test_comfy_in_webp() -> None:
    record = {name: {"inputs": inputs} for name, inputs in text_to_image().items()}
    exif = Image.Exif()
    exif[0x010F] = "workflow:{}"
    exif[0x0110] = f"prompt:{json.dumps(record)}"
    file = BytesIO()
    picture(16, 16).save(file, "WEBP", exif=exif)
    assert prompt_of(file.getvalue()) == "a red cat"


UNCLEAR = {
    "samplers disagree": {"8": {"positive": ["7", 0]}},
    "combined": {"3": {"positive": ["9", 0]}, "9": {"conditioning_1": ["6", 0],
                                                   "conditioning_2": ["7", 0]}},
    "encoders disagree": {"6": {"text_g": "a red cat", "text_l": "a dog"}},
    "text is computed": {"6": {"text": ["9", 0]}, "9": {"text": "a cat", "model": "llm"}},
    "text is no string": {"6": {"text": ["9", 0]}, "9": {"image": ["2", 0]}},
    "text in a loop": {"6": {"text": ["9", 0]}, "9": {"text": ["9", 0]}},
    "unknown node": {"6": {"wildcard": "a cat"}},
    "missing node": {"3": {"positive": ["99", 0]}},
    "loop": {"3": {"positive": ["9", 0]}, "9": {"conditioning": ["9", 0]}},
    "other output": {"3": {"positive": ["9", 1]},
                     "9": {"positive": ["6", 0], "negative": ["7", 0]}},
    "no sampler": {"3": {"positive": 5}},
    "odd links": {"3": {"positive": [[], 0]}},
}  # fmt: skip


@pytest.mark.parametrize("name", UNCLEAR)
def test_comfy_graphs_that_do_not_tell(name: str) -> None:
    with pytest.raises(PromptError, match="cannot read the prompt"):
        prompt_of(graph(text_to_image(**UNCLEAR[name])))


@pytest.mark.parametrize(
    "text",
    ["a cat", "", "[]", "5", "NaN", '{"3": ', "[" * 100_000, '{"a":' * 100_000, "1" * 10_000,
     '{"3": {"inputs": {"positive": ["3", 0]}}}', " " * (MAX_TEXT_CHARS + 1)],
)  # fmt: skip
def test_prompt_chunks_that_are_no_graph(text: str) -> None:
    with pytest.raises(PromptError):
        prompt_of(png(prompt=text))


def test_text_that_no_output_could_hold() -> None:
    with pytest.raises(PromptError, match="Unicode"):
        prompt_of(png(invokeai_metadata='{"positive_prompt": "a \\ud800 cat"}'))
    with pytest.raises(PromptError, match="Unicode"):
        comment = b"ASCII\0\0\0caf\xe9\n" + SETTINGS.encode()
        prompt_of(commented("JPEG", comment))


def test_compressed_text_cannot_fill_the_memory() -> None:
    bomb = zlib.compress(bytes(1 << 26))
    for kind, head in ((b"zTXt", b"parameters\0\0"), (b"iTXt", b"parameters\0\1\0\0\0")):
        assert prompt_of(raw_png(kind, head + bomb)) is None


def test_exif_cannot_fill_the_memory() -> None:
    """Thousands of entries, each of them the whole of the block."""
    entries = [struct.pack("<HHII", tag, 7, 1 << 20, 0) for tag in range(0x9000, 0xF000)]
    exif = b"II*\0" + struct.pack("<IH", 8, len(entries)) + b"".join(entries)
    assert prompt_of(raw_png(b"eXIf", exif + bytes(1 << 20))) is None


def test_pixels_stay_encoded(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError

    data = png(parameters=f"a cat\n{SETTINGS}"), commented("JPEG", b"ASCII\0\0\0x"), png()
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", refuse)
    assert [prompt_of(each) for each in data] == ["a cat", None, None]


def test_any_cut_and_any_flipped_byte_are_survived() -> None:
    whole = graph(text_to_image()), commented("JPEG", b"UNICODE\0" + NEGATIVE.encode("utf-16-be"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for data in whole:
            for at in range(0, min(len(data), 1500), 3):
                for broken in (data[:at], data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :]):
                    try:
                        prompt_of(broken)
                    except PromptError:
                        continue
