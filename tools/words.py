"""Check that docstrings can be read alone: none begins with a word that leans on another sentence.

    python tools/words.py FOLDER...

Prints each docstring that does, and exits with 1 if there is one.
"""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

# Prepositions, conjunctions and pronouns: what they belong to stands elsewhere.
LEANING = frozenset(
    ["also", "and", "as", "at", "before", "but", "by", "for", "from", "if", "in", "it", "its", "of",
     "on", "one", "or", "over", "so", "such", "that", "these", "they", "this", "those", "to",
     "until", "what", "when", "where", "whether", "which", "while", "who", "whose", "with",
     "within"]
)  # fmt: skip
Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def leaning_docstrings(source: str) -> Iterator[tuple[int, str]]:
    """Yield (line, first line of the docstring) of each that begins with a leaning word."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, Documented):
            continue
        docstring = ast.get_docstring(node)
        words = re.findall(r"[A-Za-z]+", docstring or "")
        if docstring and words and words[0].lower() in LEANING:
            yield getattr(node, "lineno", 1), docstring.splitlines()[0]


def main(folders: list[str]) -> int:
    """Print what leans in the folders' Python files; return the exit code."""
    found = [
        f"{file}:{line}: {text}"
        for folder in folders
        for file in sorted(Path(folder).rglob("*.py"))
        for line, text in leaning_docstrings(file.read_text())
    ]
    print(*found, sep="\n", end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
