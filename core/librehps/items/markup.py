"""Markup of prompts: tags such as `<lora:name:0.8>`, and weights such as `(red:1.3)`."""

import re

_TAG = r"<\s*(?:lora|lyco|locon|loha|hypernet)\s*:[^<>]*>"
# Tags in a row, with the commas and spaces around them.
_TAGS = re.compile(rf"([\s,]*)((?:{_TAG}[\s,]*)+)", re.IGNORECASE)
_WEIGHTED = re.compile(r"\(([^()\[\]]*?)\s*:\s*[+-]?\d*\.?\d+\s*\)")
# Twice the same brackets: a round or curly pair raises the weight, a square one lowers it.
_DOUBLED = re.compile(r"\(\(([^()]*)\)\)|\[\[([^\[\]]*)\]\]|\{\{([^{}]*)\}\}")
_NUMBERED = re.compile(r"[+-]?\d*\.?\d+::(.*?)::")
_ESCAPED = re.compile(r"\\([()\[\]])")
# Stand-ins for escaped brackets, which no prompt may hold.
_HIDDEN = {"(": "\x01", ")": "\x02", "[": "\x03", "]": "\x04"}


def without_tags(prompt: str) -> str:
    """Return the prompt without tags that load a network, which are no words of the prompt."""
    return _TAGS.sub(lambda found: _gap(found, prompt), prompt)


def _gap(found: re.Match[str], prompt: str) -> str:
    """Return what remains between the words around removed tags."""
    if found.start() == 0 or found.end() == len(prompt):
        return ""
    around = found[1] + re.sub(_TAG, "", found[2], flags=re.IGNORECASE)
    if "," in around:
        return ", "
    return "\n" if "\n" in around else " "


def without_weights(prompt: str) -> str:
    """Return the prompt without weights: `(red:1.3)` and `((red))` become `red`.

    A single pair of brackets stays; `\\(` becomes `(`.
    """
    prompt = _ESCAPED.sub(lambda found: _HIDDEN[found[1]], prompt)
    before = None
    while before != prompt:
        before = prompt
        prompt = _WEIGHTED.sub(r"\1", prompt)
        prompt = _DOUBLED.sub(
            lambda found: next(g for g in found.groups() if g is not None), prompt
        )
        prompt = _NUMBERED.sub(r"\1", prompt)
    for bracket, hidden in _HIDDEN.items():
        prompt = prompt.replace(hidden, bracket)
    return prompt
