"""Prompts in the metadata of images: where each format keeps texts, and hostile files."""

import struct
import warnings
import zlib
from io import BytesIO

import pytest
from PIL import Image

from embedded import NEGATIVE, SETTINGS, commented, graph, png, prompt_of, raw_png, text_to_image
from librehps.errors import EmptyPromptError, PromptError
from librehps.media.metadata.texts import MAX_TEXT_CHARS
from make_media import picture


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


@pytest.mark.parametrize("text", ["a red cat", '{"seed": 5}', "[]"])
def test_parameters_that_do_not_end_a_prompt(text: str) -> None:
    with pytest.raises(PromptError, match="parameters"):
        prompt_of(png(parameters=text))


@pytest.mark.parametrize("text", [NEGATIVE, SETTINGS, f" \n{NEGATIVE}"])
def test_empty_prompts(text: str) -> None:
    with pytest.raises(EmptyPromptError):
        prompt_of(png(parameters=text))


@pytest.mark.parametrize(
    "text",
    ["", "[]", "5", '{"3": ', "{}", "[" * 100_000, '{"a":' * 100_000, "1" * 10_000,
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
        with pytest.raises(PromptError, match="too long"):
            prompt_of(raw_png(kind, head + bomb))


def test_many_compressed_texts_cannot_fill_the_memory() -> None:
    """Each of the texts is short enough, but not all of them."""
    data = png(parameters=f"a cat\n{NEGATIVE}")
    at, bomb = data.index(b"IDAT") - 4, zlib.compress(b"x" * MAX_TEXT_CHARS)
    for place, is_read in ((b"comment", True), (b"other", False)):
        body = place + b"\0\0" + bomb
        chunk = struct.pack(">I", len(body)) + b"zTXt" + body + bytes(4)
        whole = data[:at] + 20 * chunk + data[at:]
        if not is_read:
            assert prompt_of(whole) == "a cat"
            continue
        with pytest.raises(PromptError, match="too much text"):
            prompt_of(whole)


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
    whole = (
        png(prompt=graph(text_to_image())),
        commented("JPEG", b"UNICODE\0" + NEGATIVE.encode("utf-16-be")),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for data in whole:
            for at in range(0, min(len(data), 1500), 3):
                for broken in (data[:at], data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :]):
                    try:
                        prompt_of(broken)
                    except PromptError:
                        continue


def test_texts_after_the_pixels_are_read() -> None:
    text = f"parameters\0a cat\n{NEGATIVE}".encode()
    assert prompt_of(raw_png(b"tEXt", text, before=b"IEND")) == "a cat"


def test_a_wrong_checksum_of_a_text_does_not_matter() -> None:
    data = bytearray(raw_png(b"tEXt", f"parameters\0a cat\n{NEGATIVE}".encode()))
    data[data.index(b"IDAT") - 5] ^= 0xFF
    assert prompt_of(bytes(data)) == "a cat"


def test_comments_of_other_places() -> None:
    """The comment of a GIF, of a JPEG, of a TIFF, and of the first directory of EXIF data."""
    text = f"a cat\n{NEGATIVE}".encode()
    for kind in ("GIF", "JPEG"):
        file = BytesIO()
        picture(16, 16).save(file, kind, comment=text)
        assert prompt_of(file.getvalue()) == "a cat", kind
    for kind in ("JPEG", "WEBP", "TIFF", "AVIF"):
        file, exif = BytesIO(), Image.Exif()
        exif[0x9286] = text.decode()
        picture(16, 16).save(file, kind, exif=exif)
        assert prompt_of(file.getvalue()) == "a cat", kind
    # An AVIF may name the brand of all images of its container first.
    assert prompt_of(file.getvalue().replace(b"ftypavif", b"ftypmif1", 1)) == "a cat"
