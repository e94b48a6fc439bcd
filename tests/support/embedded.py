"""Pictures with prompts in their metadata, as generators write them."""

import json
import struct
import zlib
from io import BytesIO
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from librehps.media.metadata import prompt_of_image
from make_media import picture

SETTINGS = "Steps: 20, Sampler: DPM++ 2M, CFG scale: 7, Seed: 1, Size: 512x512, Version: v1.10"
NEGATIVE = f"Negative prompt: blurry, ugly\n{SETTINGS}"


def prompt_of(data: bytes, stem: str = "") -> str | None:
    """Return the prompt in the metadata of an encoded image."""
    found = prompt_of_image(BytesIO(data), stem)
    return None if found is None else found.text


def png(**texts: str) -> bytes:
    """Return a PNG with these text chunks: Latin-1 if possible, else UTF-8, as Pillow writes."""
    info = PngInfo()
    for key, text in texts.items():
        info.add_text(key, text)
    file = BytesIO()
    picture(16, 16).save(file, "PNG", pnginfo=info)
    return file.getvalue()


def raw_png(kind: bytes, body: bytes, before: bytes = b"IDAT") -> bytes:
    """Return a PNG with a chunk of any content before its pixels, or before another chunk."""
    whole = png()
    at = whole.index(before) - 4
    check = zlib.crc32(kind + body)
    chunk = struct.pack(">I", len(body)) + kind + body + struct.pack(">I", check)
    return whole[:at] + chunk + whole[at:]


def commented(kind: str, comment: bytes) -> bytes:
    """Return a picture with an EXIF user comment."""
    exif = Image.Exif()
    exif[0x010E] = "a description"
    exif.get_ifd(0x8769)[0x9286] = comment
    file = BytesIO()
    picture(16, 16).save(file, kind, exif=exif.tobytes())
    return file.getvalue()


def graph(nodes: dict[str, Any]) -> str:
    """Return the JSON of a ComfyUI graph: name -> (class, inputs), or inputs of the class X."""
    pairs = {n: node if isinstance(node, tuple) else ("X", node) for n, node in nodes.items()}
    record = {
        name: {"class_type": kind, "inputs": inputs} for name, (kind, inputs) in pairs.items()
    }
    return json.dumps(record)


def text_to_image(**more: Any) -> dict[str, Any]:
    """Return a graph as ComfyUI's default one: a sampler `3`, prompts `6` and `7`, a saver `9`."""
    sampled = {"seed": 1, "steps": 20, "cfg": 7.0, "model": ["4", 0], "latent_image": ["5", 0]}
    return {
        "3": ("KSampler", {**sampled, "positive": ["6", 0], "negative": ["7", 0]}),
        "4": ("CheckpointLoaderSimple", {"ckpt_name": "x.safetensors"}),
        "5": ("EmptyLatentImage", {"width": 512, "height": 512, "batch_size": 1}),
        "6": ("CLIPTextEncode", {"text": "a red cat", "clip": ["4", 1]}),
        "7": ("CLIPTextEncode", {"text": "blurry", "clip": ["4", 1]}),
        "8": ("VAEDecode", {"samples": ["3", 0], "vae": ["4", 2]}),
        "9": ("SaveImage", {"filename_prefix": "shapes", "images": ["8", 0]}),
        **more,
    }
