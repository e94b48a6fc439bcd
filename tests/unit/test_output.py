"""Whom a command may ask."""

import sys
from io import StringIO

import pytest

from librehps_cli.ui.output import NOTEBOOKS, Output, figure


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


def test_a_narrow_table_drops_bars_before_it_breaks_a_figure(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    axes = ["overall", "alignment", "coherence", "style"]
    row = ["a_long_name.png", *(figure(share) for share in (0.1, 0.5, 0.9, 1.0))]
    for columns, has_bars in (("50", False), ("80", True)):
        monkeypatch.setenv("COLUMNS", columns)
        Output(json=False).table(["item", *axes], [row])
        printed = capsys.readouterr().out
        assert ("█" in printed) == has_bars
        assert printed.split()[:5] == ["item", *axes]
        assert len(printed.splitlines()) == 2
