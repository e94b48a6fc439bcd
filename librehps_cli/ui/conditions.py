"""Flags of the rows that a decision takes, which several commands share."""

from typing import Annotated

import typer

from librehps_cli.ui.help import CONDITIONS

Where = Annotated[
    list[str] | None,
    typer.Option(
        "--where",
        metavar="COLUMN=VALUE",
        help="Take rows with exactly this value, or with COLUMN!=VALUE another one. Repeatable: "
        "several values of one column are alternatives.",
        rich_help_panel=CONDITIONS,
    ),
]
Distinct = Annotated[
    bool,
    typer.Option(
        "--distinct",
        help="Of near-duplicates keep the best only (needs scores with --columns full).",
        rich_help_panel=CONDITIONS,
    ),
]
DistinctBits = Annotated[
    int | None,
    typer.Option(
        "--distinct-bits",
        metavar="N",
        help="Bits of 256 (0 to 96) in which the perceptual hashes of near-duplicates differ at "
        "most (default: 46); implies --distinct.",
        show_default=False,
        rich_help_panel=CONDITIONS,
    ),
]


def distinct_of(distinct: bool, bits: int | None) -> bool | int:
    """Return the library's option `distinct` for both flags; bits imply --distinct."""
    return distinct if bits is None else bits
