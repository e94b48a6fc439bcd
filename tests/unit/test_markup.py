"""Markup of prompts: tags that load networks, and weights."""

import pytest

from librehps.markup import without_tags, without_weights


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("a red cat", "a red cat"),
        ("<lora:x:0.8> a red cat", "a red cat"),
        ("a red cat <lora:x:0.8>", "a red cat"),
        ("a red cat, <lora:x:0.8>, <LoRA:y:1:0.5>", "a red cat"),
        ("a red <lora:x:0.8> cat", "a red cat"),
        ("a red cat, <lora:x:0.8>, on a mat", "a red cat, on a mat"),
        ("a red cat <lora:x:0.8><lyco:y>, on a mat", "a red cat, on a mat"),
        ("a red cat\n<hypernet:x:1>\non a mat", "a red cat\non a mat"),
        ("a red cat<lora:x:0.8>on a mat", "a red cat on a mat"),
        ("<lora:x:0.8>", ""),
        ("5 < 6, a <b> cat, <lora>", "5 < 6, a <b> cat, <lora>"),
        ("a cat ,  on a mat", "a cat ,  on a mat"),
    ],
)
def test_tags_are_removed(text: str, plain: str) -> None:
    assert without_tags(text) == plain


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("a (red:1.3) cat", "a red cat"),
        ("a (red cat:.5), (on a mat : 1)", "a red cat, on a mat"),
        ("a ((red)) [[old]] {{big}} cat", "a red old big cat"),
        ("a (((red))) cat", "a (red) cat"),
        ("a ((red:1.2) cat:1.1)", "a red cat"),
        ("1.3::red cat::, on a mat", "red cat, on a mat"),
        ("a cat (sitting)", "a cat (sitting)"),
        (r"a cat \(cartoon\), (\(red\):1.3)", "a cat (cartoon), (red)"),
        ("at 10:30 (about 5:30 pm)", "at 10:30 (about 5:30 pm)"),
        ("a red cat", "a red cat"),
    ],
)
def test_weights_are_removed(text: str, plain: str) -> None:
    assert without_weights(text) == plain


def test_markup_without_an_end_takes_no_time() -> None:
    for text in (
        "(" * 20_000,
        "<lora:" * 20_000,
        "{{" * 20_000,
        "1::" * 20_000,
        " , " * 20_000,
        "1" * 20_000,
    ):
        without_tags(text)
        without_weights(text)
