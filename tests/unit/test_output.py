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


def test_a_table_for_60_columns_shortens_headings_and_breaks_no_figure(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    axes = ["overall", "alignment", "coherence", "style", "temporal"]
    row = ["a_name_of_an_image.png", *(f"{share:.3f}" for share in (0.1, 0.5, 0.9, 1.0, 0))]
    monkeypatch.setenv("COLUMNS", "60")
    Output(json=False).table(["item", *axes, "beats\nnext"], [[*row, "95.0%"]])
    lines = capsys.readouterr().out.splitlines()
    assert all(len(line) <= 60 for line in lines)
    assert lines[1].split() == ["item", "overa.", "align.", "coher.", "style", "tempo.", "next"]
    assert lines[2].split()[1:] == ["0.100", "0.500", "0.900", "1.000", "0.000", "95.0%"]
    wide = ["ties", "acc with\nties", "nll", "nll\ncal.", "confident", "spearman"]
    Output(json=False).table(["benchmark", *wide], [["pairs", "0", *["0.890"] * 5]])
    assert capsys.readouterr().out.splitlines()[-1].split() == ["pairs", "0", *["0.890"] * 5]
