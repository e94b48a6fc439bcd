"""Names of ComfyUI nodes and of their inputs: which hold texts, which lead to a prompt."""

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from librehps.media.metadata.comfyui.graph import Link, Node, as_link, unknown

# Inputs that a text encoder encodes.
ENCODED = frozenset(
    ("text", "text_g", "text_l", "prompt", "user_prompt", "positive_prompt", "clip_l", "clip_g",
     "t5xxl", "bert", "mt5xl", "llama", "qwen25_7b", "text_positive", "positive_text",
     "text_pos_g", "text_pos_l", "positive_g", "positive_l", "pos_g", "pos_l")
)  # fmt: skip
# Inputs with a text of a node that makes pictures: an API, an editor, a pipeline.
_TEXTS = re.compile(
    r"(.*_)?(prompt|text|caption|instructions?|query|question|description)s?(_\w)?|positive_\w+"
)
_NOT_TEXTS = re.compile(
    r".*(negative|system|upsampl|enhance|style|prefix|weight|mode|color|font).*"
)
# Links to the prompt of a sampler or a guider.
POSITIVE = re.compile(
    r"(\w+_)?(positive|pos)(_\w+)?|(\w+_)?conditioning(\d|_\w+)?|cond\d?|guider|"
    r"(original_)?(text|hyvid|prompt|cond\w*)_embeds?(_\w+)?|embeds"
)
# Pairs of prompts that a node hands on in one or two outputs.
PAIR, NEGATIVES = ("positive", "pos", "optional_positive"), ("negative", "neg")
# Texts that a node adds to a prompt in its own way.
ADDED = ("prepend_positive", "append_positive")
# A guider whose `cond1` is the positive prompt and `cond2` the negative one.
DUAL_GUIDER = "DualCFGGuider"
NEGATIVE = re.compile(r"(?:.*_)?(?:negative|neg|uncond|empty_conditioning)(?:_.*)?")
# Links to pipes and contexts, and to a sampler that an upscaler runs.
PIPE = re.compile(r"(\w+_)?(pipe|context|ctx|sdxl_tuple|upscaler)(_?\d+|_opt)?")
# Links that carry neither a picture nor a prompt.
SKIPPED = re.compile(
    r"(.*_)?(model|clip|vae|control_?net|lora|lora_stack|mask|segs|detector|unet|"
    r"sampler|sigmas|noise|scheduler|hook|seed|width|height|steps|cfg|denoise|strength|fps|"
    r"frame_rate|batch_size|length|audio|filename\w*|t5|clip_vision|ipadapter|insightface|"
    r"script|sam_model_opt|token_\w+|cnet_stack|num_frames|scale(_by|_factor)?|factor|ratio)s?(_?\d+|_opt)?|"
    r".*(model|mask|detector|strength|seed).*|.*(args|options|config|settings|params)"
)
# Links to a picture, by their names.
PICTURE = re.compile(r"(\w+_)?(image|latent|pixel|frame|video|sample|reference|img|media)\w*")
# The only input of a node that hands on what it is given.
_ANYTHING = re.compile(r"|\*|any\w*|input|value|source")
# Classes that make a picture from a prompt, and inputs that only such classes have.
_MAKERS = re.compile(r"(?<!up)(?<!re)sampler", re.I)
_MAKER_INPUTS = frozenset(
    ("steps", "cfg", "cfg_scale", "guidance_scale", "sampler_name", "noise_seed",
     "num_inference_steps")
)  # fmt: skip
# Classes that make a picture if no picture leads to them.
_GENERATORS = re.compile(r"generat|diffus|text.?to|txt2|t2[iv]|inference", re.I)
# Classes that bring a picture, a size or a number from outside, with nothing before them.
_SOURCES = re.compile(
    r"load|empty|primitive|int\b|float|number|seed|size|resolution|ratio|color|solid|blank|"
    r"constant|latent|path|url|input|receive|fetch|video.?info|math",
    re.I,
)

_CONTEXT = ("pipe", "model", "clip", "vae", "positive", "negative", "latent", "image", "seed")
_EFFICIENT = ("model", "positive", "negative", "latent", "vae", "image")
_TTN = ("pipe", "model", "positive", "negative", "latent", "vae", "clip", "image", "seed")
_DETAILER = ("model", "clip", "vae", "positive", "negative")
_INSTANT_ID = ("model", "positive", "negative")
# Outputs of nodes that hand on both prompts among other things.
OUTPUTS: dict[str, tuple[str, ...]] = {
    "FromBasicPipe": _DETAILER,
    "FromBasicPipe_v2": ("pipe", *_DETAILER),
    "FromDetailerPipe": _DETAILER,
    "FromDetailerPipe_v2": ("pipe", *_DETAILER),
    "FromDetailerPipe_SDXL": ("pipe", *_DETAILER),
    "Context (rgthree)": _CONTEXT,
    "Context Big (rgthree)": _CONTEXT,
    "Context Switch (rgthree)": _CONTEXT,
    "Context Switch Big (rgthree)": _CONTEXT,
    "Context Merge (rgthree)": _CONTEXT,
    "Context Merge Big (rgthree)": _CONTEXT,
    "KSampler (Efficient)": _EFFICIENT,
    "KSampler Adv. (Efficient)": _EFFICIENT,
    "Efficient Loader": ("model", "positive", "negative", "latent", "vae", "clip"),
    "ApplyInstantID": _INSTANT_ID,
    "ApplyInstantIDAdvanced": _INSTANT_ID,
    "easy fullLoader": ("pipe", "model", "vae", "clip", "positive", "negative", "latent"),
    "easy fullkSampler": ("pipe", "image", *_TTN[1:7], "seed"),
    "easy pipeOut": _TTN,
    "easy pipeIn": ("pipe",),
    "ttN pipeLoader_v2": _TTN,
    "ttN pipeLoader": _TTN,
    "ttN pipeKSampler_v2": _TTN,
    "ttN pipeKSampler": _TTN,
    "ttN pipeOUT": _TTN,
}
# Classes that output some of their inputs unchanged, a picture too.
BUSES = re.compile(r"Context .*\(rgthree\)")
# A wildcard node's text after and before its wildcards were filled.
POPULATED, WILDCARDS = "populated_text", "wildcard_text"
# Classes that make the text of a prompt without effect.
ZEROED = ("ConditioningZeroOut",)


@lru_cache(maxsize=1 << 14)
def is_named(pattern: re.Pattern[str], name: str) -> bool:
    """Return whether a pattern matches the whole name of an input, in any case."""
    return pattern.fullmatch(name.lower().replace(" ", "_")) is not None


def output_name(node: Node, slot: int) -> str | None:
    """Return the name of an output of a known class; None for other classes."""
    names = OUTPUTS.get(node.kind, ())
    return names[slot] if 0 <= slot < len(names) else None


def pair_value(node: Node, is_negative: bool) -> Any:
    """Return the input with one prompt of a node that hands on both; None for other nodes."""
    names: tuple[str, ...] = NEGATIVES if is_negative else PAIR
    if node.kind == DUAL_GUIDER:
        names = ("cond2",) if is_negative else ("cond1",)
    values = [node.inputs[name] for name in names if name in node.inputs]
    found = [value for value in values if as_link(value) or isinstance(value, str)]
    if any(node.inputs.get(name) for name in ADDED) and not is_negative:
        raise unknown(node, "adds a text to its prompt at run time")
    # An empty text leaves the prompt of a pipe as it is.
    is_kept = found == [""] and pipe_links(node)
    return None if is_kept else next(iter(found), None)


def outputs_text(node: Node) -> bool:
    """Return whether a node may output a string: no input holds a model, a prompt or a pipe."""
    names = [name for name, _ in node.links()]
    if any(
        is_named(p, name) for p in (POSITIVE, PIPE, SKIPPED) for name in names if name != "positive"
    ):
        return False
    return bool(names) or any(isinstance(value, str) for value in node.inputs.values())


def positive_links(node: Node) -> list[tuple[str, Link]]:
    """Return the links to prompts of a node that makes pictures."""
    found = [(n, link) for n, link in node.links() if is_named(POSITIVE, n)]
    return [(n, link) for n, link in found if not is_named(NEGATIVE, n)]


def passed_links(node: Node) -> list[Link]:
    """Return the link that a node hands on unchanged, or all links that a switch may hand on."""
    links = list(node.links())
    if "switch" in node.kind.lower():
        selected = [link for name, link in links if name == f"input{node.inputs.get('select')}"]
        return selected or [link for _, link in links]
    return [link for name, link in links if len(node.inputs) == 1 and is_named(_ANYTHING, name)]


def pipe_links(node: Node) -> list[Link]:
    """Return the links to pipes and contexts, which hold prompts among other things."""
    return [link for name, link in node.links() if is_named(PIPE, name)]


def encoded_texts(node: Node) -> Iterator[Any]:
    """Yield the texts, or links to texts, that a text encoder encodes."""
    if POPULATED in node.inputs:
        yield populated(node)
        return
    for name, value in node.inputs.items():
        # smZ nodes keep the texts of both encoders, and use one pair of them.
        is_used = name == "text" or node.inputs.get("with_SDXL") is not False
        if name in ENCODED and is_used and (isinstance(value, str) or as_link(value)):
            yield value


def populated(node: Node) -> Any:
    """Return the text that a wildcard node filled; the template where no filled text is kept."""
    return node.inputs[POPULATED] or node.inputs.get(WILDCARDS, "")


def own_texts(node: Node) -> Iterator[Any]:
    """Yield the texts, or links to texts, of a node that makes pictures from a text."""
    for name, value in node.inputs.items():
        is_text = isinstance(value, str) and value.strip()
        if (name in PAIR and is_text) or ((is_text or as_link(value)) and _is_text_name(name)):
            yield value


def _is_text_name(name: str) -> bool:
    return is_named(_TEXTS, name) and not (is_named(_NOT_TEXTS, name) or is_named(POSITIVE, name))


def picture_links(node: Node) -> list[tuple[str, Link]]:
    """Return the links that may carry a picture, a latent or a clip."""
    return [
        (name, link)
        for name, link in node.links()
        if not any(is_named(p, name) for p in (SKIPPED, NEGATIVE, POSITIVE, PIPE, _TEXTS))
    ]


def is_maker(node: Node) -> bool:
    """Return whether a node makes a picture, by its class or its inputs."""
    return bool(_MAKERS.search(node.kind)) or not _MAKER_INPUTS.isdisjoint(node.inputs)


def is_unknown_end(node: Node) -> bool:
    """Return whether no picture leads to a node that is no known source of one."""
    if picture_links(node):
        return False
    if _GENERATORS.search(node.kind):
        return True
    if _SOURCES.search(node.kind):
        return False
    # A sentence may be the prompt of a generator that is not known.
    texts = [value for value in node.inputs.values() if isinstance(value, str)]
    return any(node.links()) or any(" " in text.strip() for text in texts)
