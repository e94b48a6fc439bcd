"""Readers of the texts that generators write: each returns the prompt, or None for other texts."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from librehps.errors import PromptError
from librehps.media.lazy import Lazy
from librehps.media.metadata.comfyui.graph import as_graph, is_graph
from librehps.media.metadata.comfyui.walk import prompt_in
from librehps.media.metadata.infotext import prompt_of_infotext
from librehps.media.metadata.texts import Origin, json_object, parsed

# Parts of a SwarmUI prompt that are for a region, a stage or a clip made from the picture.
# Such a part may hold other tags.
_SWARM_PARTS = re.compile(
    r"<(segment|object|region|refiner|video|videoswap|extend|base)\b[^<>]*[<>]"
)
_JOB_ID = re.compile(r"Job ID:\s{0,9}[0-9a-f-]{8,}$", re.IGNORECASE)
_FLAGS = re.compile(r"(^|\s)--[a-z]\w*(\s.*)?$", re.DOTALL)
# Flags of Midjourney: with a number, with a word, or alone. Any text may hold --other words.
_OWN_FLAGS = re.compile(
    r"(?:^|\s)--(?:"
    r"(?:v|version|niji|ar|aspect|s|stylize|c|chaos|w|weird|q|quality|seed|sameseed|iw|sw|sv|cw|ow|"
    r"dw|stop|r|repeat|exp|bs|h|width|height)\s+\.?\d|"
    r"(?:no|style|sref|cref|oref|dref|p|profile|motion)\s+\S|"
    r"(?:niji|p|profile|raw|tile|fast|relax|turbo|draft|hd|sd|test|testp|creative|video|public|"
    r"stealth|beta|uplight|upbeta|upanime)(?=\s+--|\s*$))"
)
_LINKS = re.compile(r"^(<?https?://\S+\s+)+")
_DREAM = re.compile(r'^\s*"(.*)"(\s+-|\s*$)', re.DOTALL)


@dataclass(frozen=True)
class Context:
    """A text to read; `others` are all texts of the file by place, `origin` the file."""

    place: str
    text: str
    others: Mapping[str, str]
    origin: Origin

    @Lazy
    def record(self) -> dict[str, Any]:
        """The text as a JSON object; empty if the text is no JSON object."""
        return json_object(self.text) or {}


def a1111(context: Context) -> str | None:
    """Return the prompt of an infotext, as AUTOMATIC1111, Forge and many savers write it."""
    return prompt_of_infotext(context.text)


def comfyui(context: Context) -> str | None:
    """Return the prompt of a graph: the text itself, or the `prompt` of a JSON object."""
    if context.place == "prompt" and context.text.lstrip().startswith("{"):
        return prompt_in(as_graph(parsed(context.text, "prompt")), context.origin)
    inner = context.record.get("prompt")
    inner = json_object(inner) if isinstance(inner, str) else inner
    for record in (context.record, inner):
        if isinstance(record, dict) and is_graph(record):
            return prompt_in(as_graph(record), context.origin)
    return None


def civitai(context: Context) -> str | None:
    """Return the prompt that Civitai's generator keeps next to the nodes of its graph."""
    extra = context.record.get("extraMetadata")
    return _text((json_object(extra) or {}).get("prompt")) if isinstance(extra, str) else None


def plain(context: Context) -> str | None:
    """Return a `prompt` that is no JSON, as Easy Diffusion and many scripts write it."""
    if context.text.lstrip().startswith("{"):
        return None
    if context.text.strip() and not any(map(str.isalpha, context.text)):
        raise PromptError(f"the file's `prompt` is not a text ({context.text.strip()[:20]!r})")
    return context.text


def swarmui(context: Context) -> str | None:
    """Return the prompt of SwarmUI's parameters; raises PromptError for one of several parts."""
    parameters = context.record.get("sui_image_params")
    prompt = _text(parameters.get("prompt")) if isinstance(parameters, dict) else None
    if prompt and (part := _SWARM_PARTS.search(prompt)):
        raise PromptError(
            "the prompt cannot be told: the file's SwarmUI prompt has more than one text "
            f"({part.group()[:40]!r} begins another)"
        )
    return prompt


def fooocus(context: Context) -> str | None:
    """Return the user's own prompt in Fooocus's parameters, not the one that styles expand."""
    if not {"full_prompt", "metadata_scheme", "prompt_expansion"} & context.record.keys():
        return None
    return _text(context.record.get("prompt"))


def ruined_fooocus(context: Context) -> str | None:
    """Return the prompt of RuinedFooocus's parameters."""
    if "fooocus" not in str(context.record.get("software")).lower():
        return None
    return _text(context.record.get("prompt")) or _text(context.record.get("Prompt"))


def novelai(context: Context) -> str | None:
    """Return the prompt of NovelAI's comment; raises PromptError if characters have their own."""
    record, others = context.record, context.others
    if isinstance(record.get("Comment"), str | dict):
        # The hidden copy, and a WebP's comment, hold all texts of a PNG in one object.
        others, inner = record, record["Comment"]
        record = inner if isinstance(inner, dict) else json_object(inner) or {}
    if not {"v4_prompt", "uc", "n_samples", "request_type"} & record.keys():
        return None
    v4 = record.get("v4_prompt")
    caption = v4.get("caption") if isinstance(v4, dict) else None
    characters = caption.get("char_captions") if isinstance(caption, dict) else None
    characters = characters if isinstance(characters, list) else []
    if any(isinstance(c, dict) and c.get("char_caption") for c in characters):
        raise PromptError(
            "the prompt cannot be told: the file's NovelAI comment has more than one text "
            "(characters have their own)"
        )
    description = others.get("Description", others.get("description"))
    return _text(record.get("prompt")) or _text(description)


def midjourney(context: Context) -> str | None:
    """Return the description of a Midjourney picture without job, flags and image links.

    None for a text with neither a job nor a flag of Midjourney.
    """
    text = _JOB_ID.sub("", context.text.strip()).rstrip()
    if text == context.text.strip() and not _OWN_FLAGS.search(text):
        return None
    return _LINKS.sub("", _FLAGS.sub("", text).strip())


def invokeai(context: Context) -> str | None:
    """Return the positive prompt of InvokeAI 3 and later."""
    prompt = parsed(context.text, context.place).get("positive_prompt")
    if not isinstance(prompt, str):
        raise PromptError("the file's `invokeai_metadata` has no `positive_prompt`")
    return prompt


def invokeai_2(context: Context) -> str | None:
    """Return the prompt of InvokeAI 1 and 2 without its negative part in brackets."""
    image = parsed(context.text, context.place).get("image")
    prompts = image.get("prompt") if isinstance(image, dict) else None
    if isinstance(prompts, str):
        return _without_brackets(prompts)
    prompts = prompts if isinstance(prompts, list) else []
    found = [p.get("prompt") for p in prompts if isinstance(p, dict)]
    if len(found) != 1 or not isinstance(found[0], str):
        raise PromptError(
            f"the prompt cannot be told: the file's `sd-metadata` has {len(found)} texts; expected "
            "one"
        )
    return _without_brackets(found[0])


def dream(context: Context) -> str | None:
    """Return the prompt of InvokeAI's `Dream` command: "a cat [blurry]" -s 50 -S 7."""
    found = _DREAM.match(context.text)
    return _without_brackets(found[1]) if found else None


def json_prompt(context: Context) -> str | None:
    """Return the `prompt` of any other JSON object, as scripts and Easy Diffusion write it."""
    names = ("prompt", "Prompt", "positive_prompt")
    return next((text for n in names if (text := _text(context.record.get(n)))), None)


def unknown_parameters(context: Context) -> str | None:
    """Raise PromptError: no reader knows the file's `parameters`."""
    raise PromptError(
        "the file's `parameters` are in no known format: expected AUTOMATIC1111's (a line "
        "'Negative prompt:' or 'Steps:' after the prompt) or JSON with a prompt"
    )


def only_workflow(context: Context) -> str | None:
    """Raise PromptError: a ComfyUI workflow without the graph that ran."""
    if '"nodes"' not in context.text:
        return None
    raise PromptError(
        "the prompt cannot be told: the file has a ComfyUI `workflow`, but no `prompt` (the "
        "graph that ran)"
    )


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _without_brackets(prompt: str) -> str:
    """Return the prompt without its parts in square brackets, also with brackets inside."""
    kept: list[str] = []
    depth = 0
    for part in re.split(r"([\[\]])", prompt):
        if part == "[":
            depth += 1
        elif part == "]":
            depth = max(0, depth - 1)
        elif not depth:
            kept.append(part.strip())
    return " ".join(filter(None, kept))
