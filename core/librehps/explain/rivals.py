"""Rivals of a word: words of the same kind, any of which could stand in its place in a prompt."""

KINDS: tuple[tuple[str, ...], ...] = (
    ("red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black", "white"),
    ("circle", "square", "triangle", "star", "cross"),
    ("left of", "right of", "above", "below"),
    ("inside", "outside"),
    ("in front of", "behind"),
    ("one", "two", "three", "four", "five"),
    ("small", "large"),
    ("wooden", "metal", "glass", "stone", "plastic"),
    ("round", "square", "triangular"),
    ("day", "night"),
    ("man", "woman", "child"),
    ("cat", "dog", "bird", "horse"),
)
# Words of two or three parts that are one word to the reader, longest first.
COMPOUNDS = ("in front of", "left of", "right of", "on top of", "next to")
ARTICLES = ("a", "an", "the")


def rivals_of(word: str) -> list[str]:
    """Return the words that could stand in a word's place; empty for a word of no known kind."""
    low = word.lower()
    for kind in KINDS:
        if low in kind:
            return [other for other in kind if other != low]
    return []
