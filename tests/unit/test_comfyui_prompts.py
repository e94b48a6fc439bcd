"""Prompts in ComfyUI graphs: the texts that the saved picture depends on."""

import json
import re
from io import BytesIO
from typing import Any

import pytest
from PIL import Image

from embedded import graph, png, prompt_of, text_to_image
from librehps.errors import EmptyPromptError, PromptError
from librehps.media.metadata import prompt_of_clip
from make_media import picture

BOTH = {"positive": ["6", 0], "negative": ["7", 0]}


def node_chain(length: int) -> dict[str, Any]:
    links = {str(at): {"conditioning": [str(at + 1), 0]} for at in range(100, 100 + length)}
    return {**links, str(100 + length): {"text": "a red cat", "clip": ["4", 1]}}


def adapter_chain(length: int) -> dict[str, Any]:
    """Return nodes of an unknown class that hand on both prompts in other slots."""
    ends = range(100, 100 + length)
    links = {f"{at}": {"positive": [f"{at + 1}", 1], "negative": [f"{at + 1}", 2]} for at in ends}
    links[f"{99 + length}"] = BOTH
    return {name: ("SomeAdapter", {**both, "model": ["4", 0]}) for name, both in links.items()}


def many_ways(count: int) -> dict[str, Any]:
    """Return a node that links to each of its own outputs."""
    links = {f"image{at}": ["10", at] for at in range(count)}
    return {"9": saver("10"), "10": ("SomeFilter", {**links, "note": "x" * 1_000_000})}


def many_savers(count: int) -> dict[str, Any]:
    """Return savers of one picture that as many nodes changed."""
    chain = {
        f"f{at}": ("SomeFilter", {"image": [f"f{at + 1}", 0], "note": "x" * 3_000})
        for at in range(count)
    }
    savers = {f"s{at}": saver("f0") for at in range(count)}
    return {**chain, f"f{count}": ("SomeFilter", {"image": ["8", 0]}), **savers}


def many_texts(count: int, length: int) -> dict[str, Any]:
    """Return prompts that each join a long text with another word."""
    joins = {
        f"j{at}": ("StringConcatenate", {"string_a": ["11", 0], "string_b": f"{at}"})
        for at in range(count)
    }
    encoders = {f"e{at}": encoder([f"j{at}", 0]) for at in range(count)}
    combined = {f"conditioning_{at}": [f"e{at}", 0] for at in range(count)}
    return {"3": sampler(positive=["10", 0]), "10": combined, "11": {"value": "x" * length},
            **joins, **encoders}  # fmt: skip


def sampler(**inputs: Any) -> tuple[str, dict[str, Any]]:
    return "KSampler", {"seed": 1, "steps": 20, "model": ["4", 0], **inputs}


def encoder(text: Any, kind: str = "CLIPTextEncode", **more: Any) -> tuple[str, dict[str, Any]]:
    return kind, {"text": text, "clip": ["4", 1], **more}


def saver(node: str, slot: int = 0, prefix: str = "ComfyUI", kind: str = "SaveImage") -> Any:
    return kind, {"filename_prefix": prefix, "images": [node, slot]}


TOLD = {
    "plain": {},
    "two samplers": {
        "3": sampler(**BOTH, latent_image=["10", 0]),
        "10": sampler(**BOTH, latent_image=["5", 0]),
    },
    "a sampler that is not saved": {
        "10": sampler(positive=["11", 0], negative=["7", 0]),
        "11": encoder("a dog"),
        "12": ("VAEDecode", {"samples": ["10", 0], "vae": ["4", 2]}),
        "13": ("PreviewImage", {"images": ["12", 0]}),
    },
    "no saver": {"9": ("PreviewImage", {"images": ["8", 0]})},
    "nothing after the sampler": {"8": {}, "9": {}},
    "custom saver": {"9": ("Image Save", {"filename_prefix": "x", "images": ["8", 0]})},
    "saver with texts": {
        "9": ("Save Image w/Metadata", {"positive": "a dog", "steps": 5, "images": ["8", 0]})
    },
    "saver in the middle": {
        "9": ("Image Save", {"images": ["8", 0], "prompt": "a dog", "steps": 5}),
        "10": saver("9"),
    },
    "upscaled": {
        "9": saver("10"),
        "10": ("ImageUpscaleWithModel", {"upscale_model": ["11", 0], "image": ["8", 0]}),
        "11": ("UpscaleModelLoader", {"model_name": "x.pth"}),
    },
    "upscaled without words": {
        "9": saver("10"),
        "10": ("UltimateSDUpscale", {"image": ["8", 0], "steps": 5, "positive": ["11", 0]}),
        "11": encoder(""),
    },
    "unknown nodes between": {
        "9": saver("10"),
        "10": ("SomeFilter", {"image": ["11", 0], "amount": 5, "mask": ["12", 0]}),
        "11": ("CleanMemory", {"anything": ["8", 0]}),
        "12": ("SegmentByWords", {"prompt": "face", "image": ["8", 0]}),
    },
    "text from a node": {"6": encoder(["10", 0]), "10": {"value": "a red cat"}},
    "text from nodes": {
        "6": encoder(["10", 0]),
        "10": {"text": ["11", 0]},
        "11": {"string": "a red cat"},
    },
    "text that is shown": {
        "6": encoder(["10", 0]),
        "10": ("ShowText|pysssss", {"text": ["11", 0], "text_0": "a dog"}),
        "11": ("String Literal", {"string": "a red cat"}),
    },
    "one of several texts": {
        "6": encoder(["10", 1]),
        "10": ("Text String", {"text": "a dog", "text_b": "a red cat", "text_c": "", "text_d": ""}),
    },
    "joined by Impact": {"6": encoder(["10", 0]), "10": ("Text Concatenate", {
        "delimiter": " ", "clean_whitespace": "true", "text_a": "a", "text_b": ["11", 0],
        "text_c": ""}), "11": {"value": " red cat "}},
    "joined by JoinStrings": {"6": encoder(["10", 0]), "10": ("JoinStrings", {
        "delimiter": " ", "string1": "a red", "string2": "cat"})},
    "joined in order": {"6": encoder(["10", 0]), "10": ("JoinStringMulti", {
        "inputcount": 10, "delimiter": " ", "return_list": False,
        "string_1": "a", "string_10": "cat", "string_2": "red"})},
    "filled wildcards": {"6": ("ImpactWildcardEncode", {
        "wildcard_text": "a __c__ cat", "populated_text": "a red cat", "mode": "populate",
        "model": ["4", 0], "clip": ["4", 1]}), "3": sampler(positive=["6", 2])},
    "filled wildcards in a string": {"6": encoder(["10", 0]), "10": ("ImpactWildcardProcessor", {
        "wildcard_text": "a __c__ cat", "populated_text": "a red cat", "seed": 5})},
    "through a control net": {
        "3": sampler(positive=["10", 0], negative=["10", 1], latent_image=["5", 0]),
        "10": ("ControlNetApplyAdvanced", {**BOTH, "strength": 1, "image": ["11", 0]}),
        "11": ("LoadImage", {"image": "my pose.png"}),
    },
    "unknown node of both prompts": {
        "3": sampler(positive=["10", 1], negative=["10", 2]),
        "10": ("SomeAdapter", {**BOTH, "model": ["4", 0]}),
    },
    "instant id": {
        "3": sampler(positive=["10", 1], negative=["10", 2], model=["10", 0]),
        "10": ("ApplyInstantID", {**BOTH, "model": ["4", 0], "image": ["11", 0]}),
        "11": ("LoadImage", {"image": "face.png"}),
    },
    "swapped prompts": {
        "3": sampler(positive=["10", 2], negative=["10", 1]),
        "10": ("ApplyInstantID", {"positive": ["7", 0], "negative": ["6", 0]}),
    },
    "guider": {
        "3": ("SamplerCustomAdvanced", {"noise": ["1", 0], "guider": ["10", 0],
                                        "latent_image": ["5", 0]}),
        "10": ("BasicGuider", {"model": ["4", 0], "conditioning": ["11", 0]}),
        "11": ("FluxGuidance", {"guidance": 3.5, "conditioning": ["6", 0]}),
    },
    "cfg guider": {
        "3": ("SamplerCustomAdvanced", {"guider": ["10", 0]}),
        "10": ("CFGGuider", BOTH),
    },
    "dual guider": {
        "3": ("SamplerCustomAdvanced", {"guider": ["10", 0]}),
        "10": ("DualCFGGuider", {"cond1": ["6", 0], "cond2": ["7", 0], "negative": ["7", 0]}),
    },
    "two encoders": {"6": {"width": 1024, "text_g": "a red cat", "text_l": "a red cat"}},
    "one encoder empty": {"6": {"text_g": "a red cat", "text_l": ""}},
    "unused encoders": {"6": encoder("a red cat", text_g="a dog", text_l="x", with_SDXL=False)},
    "flux": {"6": {"clip_l": "", "t5xxl": "a red cat", "guidance": 3.5}},
    "hidream": {"6": {"clip_l": "a red cat", "clip_g": "", "t5xxl": "", "llama": "a red cat"}},
    "kandinsky": {"6": {"clip_l": "a red cat", "qwen25_7b": "a red cat"}},
    "qwen": {"6": {"prompt": "a red cat", "clip": ["4", 1], "image": ["2", 0]}},
    "loader of both": {
        "3": sampler(positive=["10", 1], negative=["10", 2]),
        "10": {"ckpt_name": "x", "positive": "a red cat", "negative": "blurry"},
    },
    "loader of linked prompts": {
        "3": ("KSampler (Efficient)", {"positive": ["10", 1], "negative": ["10", 2], "steps": 5}),
        "8": saver("3", 5),
        "9": ("KSampler (Efficient)", {"positive": ["3", 1], "negative": ["3", 2]}),
        "10": ("Efficient Loader", {"positive": ["11", 0], "negative": ["12", 0]}),
        "11": ("PrimitiveStringMultiline", {"value": "a red cat"}),
        "12": ("PrimitiveStringMultiline", {"value": "blurry"}),
    },
    "basic pipe": {
        "3": sampler(positive=["11", 3], negative=["11", 4]),
        "10": ("ToBasicPipe", {"model": ["4", 0], **BOTH}),
        "11": ("FromBasicPipe", {"basic_pipe": ["10", 0]}),
    },
    "basic pipe, second version": {
        "3": sampler(positive=["11", 4], negative=["11", 5]),
        "10": ("ToBasicPipe", {"model": ["4", 0], **BOTH}),
        "11": ("FromBasicPipe_v2", {"basic_pipe": ["10", 0]}),
    },
    "edited pipe": {
        "3": ("ImpactKSamplerBasicPipe", {"basic_pipe": ["11", 0], "latent_image": ["5", 0]}),
        "10": ("ToBasicPipe", {"positive": ["7", 0], "negative": ["7", 0]}),
        "11": ("EditBasicPipe", {"basic_pipe": ["10", 0], "positive": ["6", 0]}),
    },
    "detailer pipe": {
        "9": saver("10"),
        "10": ("FaceDetailerPipe", {"image": ["8", 0], "detailer_pipe": ["11", 0], "steps": 5}),
        "11": ("ToDetailerPipe", {**BOTH, "wildcard": ""}),
    },
    "contexts": {
        "3": sampler(positive=["10", 4], negative=["10", 5]),
        "10": ("Context (rgthree)", {"base_ctx": ["11", 0], "model": ["4", 0]}),
        "11": ("Context Big (rgthree)", BOTH),
    },
    "picture in a context": {
        "9": saver("10", 7),
        "10": ("Context (rgthree)", {"base_ctx": ["11", 0], "positive": ["12", 0]}),
        "11": ("Context (rgthree)", {**BOTH, "images": ["8", 0]}),
        "12": encoder("a dog for the next step"),
    },
    "easy-use pipe": {
        "3": ("easy preSampling", {"pipe": ["10", 0], "steps": 5}),
        "8": ("easy kSampler", {"pipe": ["3", 0], "image_output": "Save", "save_prefix": "x"}),
        "9": ("easy kSampler", {"pipe": ["12", 0], "image_output": "Preview"}),
        "10": ("easy fullLoader", {"positive": ["11", 0], "negative": "blurry"}),
        "11": ("easy positive", {"positive": "a red cat"}),
        "12": ("easy fullLoader", {"positive": "a dog", "negative": ""}),
    },
    "easy-use pipe that is edited": {
        "8": ("easy kSampler", {"pipe": ["10", 0], "image_output": "Save", "save_prefix": "x"}),
        "9": {},
        "10": ("easy pipeEdit", {"pipe": ["11", 0], "optional_positive": "", "clip_skip": -1,
                                 "conditioning_mode": "replace"}),
        "11": ("easy fullLoader", {"positive": "a red cat", "negative": "blurry"}),
    },
    "wan wrapper": {
        "3": ("WanVideoSampler", {"text_embeds": ["10", 0], "cache_args": ["12", 0]}),
        "6": ("WanVideoTextEncode", {"positive_prompt": "a red cat", "t5": ["2", 0]}),
        "10": ("WanVideoApplyNAG", {"original_text_embeds": ["6", 0],
                                    "nag_text_embeds": ["11", 0]}),
        "11": ("WanVideoTextEncodeSingle", {"prompt": "blurry"}),
        "12": ("SomeCache", {"steps": 5, "device": "main device"}),
    },
    "tinyterra pipe": {
        "3": ("ttN pipeKSampler", {"pipe": ["10", 0], "image_output": "Hide"}),
        "8": ("ttN pipeKSampler", {"pipe": ["3", 0], "image_output": "Hide/Save"}),
        "9": {},
        "10": ("ttN pipeLoader", {"positive": "a red cat", "negative": "blurry"}),
    },
    "hunyuan wrapper": {
        "3": ("HyVideoSampler", {"hyvid_embeds": ["6", 0], "steps": 5, "model": ["4", 0]}),
        "6": ("HyVideoTextEncode", {"prompt": "a red cat", "text_encoders": ["2", 0]}),
    },
    "rerouted": {
        "3": sampler(positive=["10", 0]),
        "10": ("Reroute", {"": ["11", 0]}),
        "11": ("ImpactSwitch", {"select": 2, "input1": ["7", 0], "input2": ["6", 0]}),
    },
    "switched": {
        "3": sampler(positive=["10", 0]),
        "10": ("Any Switch (rgthree)", {"any_01": ["6", 0], "any_02": ["11", 0]}),
        "11": ("ConditioningSetArea", {"conditioning": ["6", 0], "strength": 1}),
    },
    "upscaled in steps": {
        "8": ("VAEDecode", {"samples": ["10", 0]}),
        "10": ("IterativeLatentUpscale", {"samples": ["3", 0], "steps": 3, "upscaler": ["11", 0]}),
        "11": ("PixelKSampleUpscalerProvider", {**BOTH, "steps": 20, "vae": ["4", 2]}),
    },
    "tuple of models and prompts": {
        "3": ("KSampler SDXL (Eff.)", {"sdxl_tuple": ["10", 0], "steps": 20}),
        "10": ("Pack SDXL Tuple", {"BASE_POSITIVE": ["6", 0], "BASE_NEGATIVE": ["7", 0]}),
    },
    "layers": {
        "9": saver("10"),
        "10": ("LayeredDiffusionDecodeRGBA", {"samples": ["3", 0], "images": ["8", 0]}),
    },
    "size from a list": {"5": ("CR Ratio", {"aspect": "3:4 portrait 896x1152", "seed": 5})},
    "api node": {"9": saver("10"), "10": ("FluxProUltraImageNode", {
        "prompt": "a red cat", "prompt_upsampling": False, "seed": 3, "negative_prompt": "x"})},
    "api node with a linked text": {
        "9": saver("10"),
        "10": ("OpenAIGPTImage1", {"prompt": ["11", 0], "seed": 3}),
        "11": {"value": "a red cat"},
    },
    "api node that edits": {"9": saver("10"), "10": ("GeminiImageNode", {
        "prompt": "a red cat", "images": ["11", 0]}), "11": ("LoadImage", {"image": "x.png"})},
    "same combined": {"3": sampler(positive=["10", 0]), "10": {"conditioning_1": ["6", 0],
                                                              "conditioning_2": ["6", 0]}},
    "long chain of both prompts": {
        "3": sampler(positive=["100", 1], negative=["100", 2]),
        **adapter_chain(10_000),
    },
    "long chain": {"3": sampler(positive=["100", 0]), **node_chain(5_000)},
}  # fmt: skip


@pytest.mark.parametrize("name", TOLD)
def test_graphs_that_tell(name: str) -> None:
    assert prompt_of(png(prompt=graph(text_to_image(**TOLD[name])))) == "a red cat"


def test_graphs_as_they_come() -> None:
    """Graphs may hold NaN, which is not JSON, titles, and entries of other shapes."""
    nodes = json.loads(graph(text_to_image()))
    text = json.dumps({**nodes, "12": {"is_changed": [float("nan")]}, "13": 5, "14": None})
    assert "NaN" in text
    assert prompt_of(png(prompt=text, workflow='{"nodes": []}')) == "a red cat"


def test_graphs_in_exif() -> None:
    for tag, kind in ((0x0110, "WEBP"), (0x010F, "JPEG"), (0x010E, "WEBP")):
        exif = Image.Exif()
        exif[tag] = f"Prompt:{graph(text_to_image())}"
        file = BytesIO()
        picture(16, 16).save(file, kind, exif=exif)
        assert prompt_of(file.getvalue()) == "a red cat"


UNTOLD: dict[str, tuple[dict[str, Any], str]] = {
    "samplers disagree": (
        {"3": sampler(**BOTH, latent_image=["10", 0]), "10": sampler(positive=["7", 0])},
        "more than one text",
    ),
    "savers disagree": (
        {"10": saver("11"), "11": ("FluxProNode", {"prompt": "a dog"})},
        "got 2",
    ),
    "upscaler disagrees": (
        {"9": saver("10"), "11": encoder("sharp details"),
         "10": ("UltimateSDUpscale", {"image": ["8", 0], "steps": 5, "positive": ["11", 0]})},
        "got 2",
    ),
    "first frame has its own": (
        {"9": saver("10"), "10": ("WanVideoSampler", {"image_embeds": ["11", 0], "steps": 5,
                                                      "text_embeds": ["12", 0]}),
         "11": ("WanVideoImageToVideoEncode", {"start_image": ["8", 0]}),
         "12": ("WanVideoTextEncode", {"positive_prompt": "it rolls", "t5": ["2", 0]})},
        "got 2",
    ),
    "reference has its own": (
        {"9": saver("10"), "10": sampler(positive=["11", 0]), "12": encoder("make it blue"),
         "11": ("ReferenceLatent", {"conditioning": ["12", 0], "latent": ["3", 0]})},
        "got 2",
    ),
    "edited by words": (
        {"9": saver("10"), "10": ("SomeEditor", {"image": ["8", 0], "instruction": "paint it"})},
        "got 2",
    ),
    "combined": (
        {"3": sampler(positive=["10", 0]), "10": {"conditioning_1": ["6", 0],
                                                  "conditioning_2": ["7", 0]}},
        "got 2",
    ),
    "cond1 and cond2 of another class": (
        {"3": sampler(positive=["10", 0]), "10": ("Blend", {"cond1": ["6", 0], "cond2": ["7", 0]})},
        "got 2",
    ),
    "encoders disagree": ({"6": {"text_g": "a red cat", "text_l": "a dog"}}, "got 2"),
    "keywords and a text": ({"6": {"clip_l": "cat", "llama": "a red cat"}}, "got 2"),
    "text is computed": (
        {"6": encoder(["10", 0]), "10": ("SomeLLM", {"text": "a cat", "model": "llm"})},
        "'SomeLLM' computes the text",
    ),
    "text is styled": (
        {"6": encoder(["10", 0]), "10": ("SDXLPromptStyler", {
            "text_positive": "a cat", "text_negative": "", "style": "neon"})},
        "'SDXLPromptStyler'",
    ),
    "text is no string": (
        {"6": encoder(["10", 0]), "10": ("Tagger", {"image": ["2", 0]})}, "'Tagger'"
    ),
    "text of another type": ({"6": encoder(["10", 0]), "10": {"text": 5}}, "'X'"),
    "text in a loop": ({"6": encoder(["10", 0]), "10": {"text": ["10", 0]}}, "loop"),
    "text that grows": (
        {"6": encoder(["100", 0]),
         **{str(at): ("JoinStrings", {"delimiter": "a", "string1": [str(at + 1), 0],
                                      "string2": [str(at + 1), 0]}) for at in range(100, 150)},
         "150": {"value": "long"}},
        "too long",
    ),
    "empty texts that double": (
        {"6": encoder(["100", 0]),
         **{str(at): ("JoinStrings", {"delimiter": "", "string1": [str(at + 1), 0],
                                      "string2": [str(at + 1), 0]}) for at in range(100, 180)}},
        "loop",
    ),
    "template": ({"6": encoder("a __color__ cat")}, "template"),
    "template with its own mark": (
        {"6": encoder("a ~~color~~ cat", "CLIPTextEncode (NSP)", noodle_key="~~")},
        "'CLIPTextEncode .NSP.' fills a template",
    ),
    "wildcards that were not kept": (
        {"6": ("ImpactWildcardEncode", {"wildcard_text": "a __c__ cat", "populated_text": ""})},
        "template",
    ),
    "schedule": (
        {"6": encoder('"0": "a cat"', "BatchPromptSchedule", max_frames=9)},
        "'BatchPromptSchedule' fills",
    ),
    "prompts by windows": (
        {"3": ("WanVideoSampler", {"text_embeds": ["6", 0]}),
         "6": ("WanVideoTextEncode", {"positive_prompt": "a cat | a dog"})},
        "'WanVideoTextEncode' fills",
    ),
    "unknown encoder": ({"6": ("SomeEncoder", {"words": "a cat", "clip": ["4", 1]})},
                        "'SomeEncoder' is not known"),
    "unknown generator": (
        {"9": saver("10"), "10": ("SomeGenerator", {"words": "a cat"})}, "'SomeGenerator'"
    ),
    "switch of two": (
        {"3": sampler(positive=["10", 0]),
         "10": ("Any Switch (rgthree)", {"any_01": ["6", 0], "any_02": ["7", 0]})},
        "got 2",
    ),
    "generator without words": (
        {"9": saver("10"), "10": ("TextToImage", {"subject": "cat"})}, "'TextToImage'"
    ),
    "unknown picture": (
        {"9": saver("10"), "10": ("SomeService", {"words": "a cat in a hat"})}, "'SomeService'"
    ),
    "unknown sampler": (
        {"3": ("MagicNode", {"magic": ["6", 3], "steps": 5, "latent_image": ["5", 0]}),
         "6": {"words": "a cat"}},
        "'MagicNode'",
    ),
    "other picture": ({"9": saver("10"), "10": ("LoadImage", {"image": "x.png"})}, "'SaveImage'"),
    "missing node": ({"3": sampler(positive=["99", 0])}, "'99'"),
    "loop": ({"3": sampler(positive=["10", 0]), "10": {"conditioning": ["10", 0]}}, "'SaveImage'"),
    "text that is added": (
        {"3": sampler(positive=["10", 1], negative=["10", 2]),
         "10": ("SomeLoader", {"positive": "a cat", "negative": "", "prepend_positive": "red"})},
        "'SomeLoader' adds",
    ),
    "text that changes a pipe": (
        {"3": ("easy kSampler", {"pipe": ["10", 0]}),
         "10": ("easy pipeEdit", {"pipe": ["11", 0], "optional_positive": "sharp",
                                  "conditioning_mode": "concat"}),
         "11": ("easy fullLoader", {"positive": "a cat", "negative": ""})},
        "'easy pipeEdit' changes",
    ),
    "either output": (
        {"3": sampler(positive=["10", 1]), "10": ("SomeAdapter", BOTH)},
        "'SomeAdapter' hands on both prompts; output 1",
    ),
    "a loop through a delimiter": (
        {"6": encoder(["10", 0]),
         "10": ("StringConcatenate", {"string_a": "a", "delimiter": ["10", 0]})},
        "form a loop",
    ),
    "one node by many ways": (many_ways(2_000), "too large"),
    "one node by many savers": (many_savers(1_000), "too large"),
    "many long texts": (many_texts(40, 1 << 20), "too large"),
    "no sampler": ({"3": {"positive": 5}, "8": {}, "9": {}}, "no node that makes a picture"),
    "odd links": ({"3": sampler(positive=[[], 0])}, "'KSampler'"),
}  # fmt: skip


@pytest.mark.parametrize("name", UNTOLD)
def test_graphs_that_do_not_tell(name: str) -> None:
    nodes, words = UNTOLD[name]
    with pytest.raises(PromptError, match=words) as refusal:
        prompt_of(png(prompt=graph(text_to_image(**nodes))))
    assert "the prompt cannot be told" in str(refusal.value)
    # By its class, which a search finds, and not by its number in this graph.
    assert not re.search(r"node '(10|3)'", str(refusal.value))


def test_prompts_without_words() -> None:
    for nodes in ({"6": encoder(" ")}, {"6": ("ConditioningZeroOut", {"conditioning": ["7", 0]})}):
        with pytest.raises(EmptyPromptError):
            prompt_of(png(prompt=graph(text_to_image(**nodes))))


TWO = text_to_image(
    **{
        "9": saver("8", prefix="%date%/still"),
        "10": saver("11", prefix="clips\\moving", kind="VHS_VideoCombine"),
        "11": ("VAEDecode", {"samples": ["12", 0], "vae": ["4", 2]}),
        "12": sampler(positive=["13", 0]),
        "13": encoder("a dog runs"),
    }
)


def test_one_of_two_savers_by_format_and_name() -> None:
    text = graph(TWO)
    tags = {"prompt": text}
    assert prompt_of_clip(tags) == ("a dog runs", "comfyui")
    assert prompt_of(png(prompt=text), "still_00001_") == "a red cat"
    assert prompt_of(png(prompt=text), "moving_00001") == "a dog runs"
    for stem in ("", "renamed", "still", "still_of_moving_1"):
        with pytest.raises(PromptError, match="more than one text"):
            prompt_of(png(prompt=text), stem)


def test_a_saver_that_only_previews_does_not_count() -> None:
    kind, inputs = TWO["10"]
    nodes = {**TWO, "10": (kind, {**inputs, "save_output": False})}
    assert prompt_of(png(prompt=graph(nodes))) == "a red cat"
