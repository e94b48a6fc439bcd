"""Remarks on items that were read in a way worth knowing; a run counts them in notes."""

from collections.abc import Mapping

from librehps.settings import Settings

TAGS, WEIGHTS = "tags", "weights"
TRANSPARENT, ANIMATED, VARIABLE, PAGES = "transparent", "animated", "variable", "pages"
# One and several: {n} is the count, the rest are settings.
_NOTES = {
    TAGS: (
        "1 prompt had <lora:...> tags, which were removed (--keep-markup keeps them)",
        "{n} prompts had <lora:...> tags, which were removed (--keep-markup keeps them)",
    ),
    WEIGHTS: (
        "1 prompt had weights, which were removed (--strip-weights)",
        "{n} prompts had weights, which were removed (--strip-weights)",
    ),
    TRANSPARENT: (
        "1 image has transparent pixels: shown on {background} (--background)",
        "{n} images have transparent pixels: shown on {background} (--background)",
    ),
    ANIMATED: (
        "1 animated image is scored as a video (--animated still: first frame)",
        "{n} animated images are scored as videos (--animated still: first frame)",
    ),
    PAGES: (
        "1 TIFF has several pages: the first one is scored",
        "{n} TIFFs have several pages: the first one of each is scored",
    ),
    VARIABLE: (
        "1 video has a variable frame rate: sampled by frame number (--sample time: by time)",
        "{n} videos have a variable frame rate: sampled by frame number (--sample time: by time)",
    ),
}


def notes_of(counts: Mapping[str, int], settings: Settings | None = None) -> list[str]:
    """Return a sentence for each kind of remark that was counted.

    Remarks on prompts need no settings.
    """
    background = "" if settings is None else settings.background
    return [
        texts[counts[remark] > 1].format(n=counts[remark], background=background)
        for remark, texts in _NOTES.items()
        if counts.get(remark)
    ]
