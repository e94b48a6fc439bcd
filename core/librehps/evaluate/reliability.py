"""The reliability diagram: predicted probabilities against the share of wins."""

from collections.abc import Sequence
from pathlib import Path

from librehps.files import check_file, growing, writing

SUFFIXES = (".png", ".svg")


def check_plot(file: Path) -> None:
    """Raise UsageError for an unsupported format or a missing folder."""
    check_file(file, SUFFIXES, "use .png or .svg")


def plot_reliability(
    points: Sequence[tuple[float, float, int]], file: Path, title: str, calibrated: bool
) -> None:
    """Write the diagram of points (mean p, mean outcome, count), one per bin, to `file`."""
    from matplotlib.figure import Figure

    said, happened, counts = zip(*points, strict=True) if points else ((), (), ())
    figure = Figure(figsize=(5, 5.6), layout="constrained")
    upper, lower = figure.subplots(2, 1, height_ratios=(4, 1), sharex=True)
    upper.plot((0, 1), (0, 1), color="0.6", linewidth=1, linestyle="--", label="perfect")
    upper.plot(said, happened, marker="o", color="tab:blue", label="model")
    upper.set(ylabel="share of wins", ylim=(0, 1), xlim=(0, 1), aspect="auto")
    upper.set_title(title, fontsize=10)
    upper.legend(frameon=False, loc="upper left")
    lower.bar(said, counts, width=0.05, color="tab:blue")
    kind = "calibrated" if calibrated else "uncalibrated"
    lower.set(xlabel=f"P(a wins), {kind}, both orders", ylabel="pairs")
    with writing(file), growing(file) as partial:
        figure.savefig(partial, dpi=150, format=file.suffix[1:].lower())
