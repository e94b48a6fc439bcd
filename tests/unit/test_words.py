"""The lint of docstrings: each can be read alone."""

from pathlib import Path

import pytest

import words

PLANTED = '''
"""Reads scored files."""

def names(table):
    """Of the table's columns, those that the user wrote."""

class Reader:
    """A reader of one file."""

    def close(self):
        """Close the file."""
'''


def test_a_planted_docstring_is_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "planted.py"
    file.write_text(PLANTED)
    assert words.main([str(tmp_path)]) == 1
    said = f"{file}:4: Of the table's columns, those that the user wrote.\n"
    assert capsys.readouterr().out == said
    file.write_text(PLANTED.replace("Of the table's columns, those", "Return the columns"))
    assert words.main([str(tmp_path)]) == 0


@pytest.mark.parametrize("word", ["What", "Whether", "By", "One", "Those", "As", "To", "(of"])
def test_words_that_lean(word: str) -> None:
    assert list(words.leaning_docstrings(f'"""{word} x."""')) == [(1, f"{word} x.")]
