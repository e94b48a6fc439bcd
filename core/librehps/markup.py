"""Markup of prompts: tags such as `<lora:name:0.8>`, and weights such as `(red:1.3)`."""

import re

_TAG = re.compile(r"<\s?(?:lora|lyco|locon|loha|hypernet)\s?:[^<>]*>", re.IGNORECASE)
_SEPARATORS = " \t\r\n,"
_NUMBER = r"[+-]?(?:\d{1,4}(?:\.\d{0,4})?|\.\d{1,4})"
_WEIGHTED = re.compile(rf"\(([^()\[\]]*):\s?{_NUMBER}\s?\)")
# Twice the same brackets: round and curly ones raise the weight, square ones lower it.
_DOUBLED = re.compile(r"\(\(([^()]*)\)\)|\[\[([^\[\]]*)\]\]|\{\{([^{}]*)\}\}")
_NUMBERED = re.compile(rf"(?<![\d.]){_NUMBER}::([^:]*)::")
_ESCAPED = re.compile(r"\\([()\[\]])")
# Stand-ins for escaped brackets, which no prompt may hold.
_HIDDEN = {"(": "\x01", ")": "\x02", "[": "\x03", "]": "\x04"}
# Weights within weights.
MAX_DEPTH = 16


def without_tags(prompt: str) -> str:
    """Return the prompt without tags that load a network, which are no words of the prompt."""
    if "<" not in prompt:
        return prompt
    parts = _TAG.split(prompt)
    kept: list[str] = []
    gap = ""
    for at, part in enumerate(parts):
        body = part.lstrip(_SEPARATORS) if at else part
        words = body.rstrip(_SEPARATORS) if at < len(parts) - 1 else body
        gap += part[: len(part) - len(body)]
        if words:
            kept += [_separator(gap), words] if kept else [words]
            gap = ""
        gap += body[len(words) :]
    return "".join(kept)


def _separator(gap: str) -> str:
    """Return what remains of the separators around removed tags."""
    if "," in gap:
        return ", "
    return "\n" if "\n" in gap else " "


def without_weights(prompt: str) -> str:
    """Return the prompt without weights: `(red:1.3)` and `((red))` become `red`.

    A single pair of brackets stays; `\\(` becomes `(`.
    """
    prompt = _ESCAPED.sub(lambda found: _HIDDEN[found[1]], prompt)
    for _ in range(MAX_DEPTH):
        before = prompt
        prompt = _WEIGHTED.sub(lambda found: found[1].rstrip(), prompt)
        prompt = _DOUBLED.sub(lambda found: found[found.lastindex or 0], prompt)
        prompt = _NUMBERED.sub(r"\1", prompt)
        if prompt == before:
            break
    for bracket, hidden in _HIDDEN.items():
        prompt = prompt.replace(hidden, bracket)
    return prompt
