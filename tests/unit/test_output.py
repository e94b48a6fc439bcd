"""Whom a command may ask."""

import sys
from io import StringIO

import pytest

from librehps_cli.ui.output import NOTEBOOKS, Output


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


def sit_down(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make all three streams a terminal, outside of any notebook."""
    for name in NOTEBOOKS:
        monkeypatch.delenv(name, raising=False)
    for stream in ("stdin", "stdout", "stderr"):
        monkeypatch.setattr(sys, stream, Terminal())


def test_a_person_at_a_terminal_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    sit_down(monkeypatch)
    assert Output().can_ask()


@pytest.mark.parametrize("stream", ["stdin", "stdout", "stderr"])
def test_nobody_is_asked_where_a_stream_is_no_terminal(
    monkeypatch: pytest.MonkeyPatch, stream: str
) -> None:
    sit_down(monkeypatch)
    monkeypatch.setattr(sys, stream, StringIO())
    assert not Output().can_ask()


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_nobody_is_asked_in_a_notebook(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    sit_down(monkeypatch)
    monkeypatch.setenv(name, "4711")
    assert not Output().can_ask()
