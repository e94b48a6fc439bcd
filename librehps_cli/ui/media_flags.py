"""Flags that say how media files become pixels, for every command that decodes media."""

from dataclasses import dataclass
from typing import Annotated, get_args

import typer

from librehps.choices import Animated, Sample, VideoBackend
from librehps_cli.ui.help import MEDIA


@dataclass(frozen=True)
class MediaFlags:
    """Flags that say how files become pixels: the fields of MediaOptions, and the frames."""

    num_frames: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Frames sampled from a video (default: the model's).",
            rich_help_panel=MEDIA,
        ),
    ] = None
    sample: Annotated[
        Sample,
        typer.Option(
            metavar="HOW",
            help="Sample equal spans of a video by frame number (index), or by time stamp (time).",
            rich_help_panel=MEDIA,
        ),
    ] = "index"
    animated: Annotated[
        Animated,
        typer.Option(
            metavar="AS",
            help="Score an animated GIF, WebP, PNG or AVIF as a clip, or its first frame as a "
            "still.",
            rich_help_panel=MEDIA,
        ),
    ] = "clip"
    background: Annotated[
        str,
        typer.Option(
            metavar="COLOR",
            help="Colour below transparent pixels: white, black, #RRGGBB, or keep (drop the alpha "
            "channel).",
            rich_help_panel=MEDIA,
        ),
    ] = "white"
    color_management: Annotated[
        bool,
        typer.Option(
            "--color-management/--no-color-management",
            help="Convert embedded colour profiles to sRGB.",
            rich_help_panel=MEDIA,
        ),
    ] = True


@dataclass(frozen=True)
class DecodeFlags(MediaFlags):
    """Flags that say how files become pixels, and which decoder reads videos."""

    video_backend: Annotated[
        VideoBackend,
        typer.Option(
            metavar="NAME",
            help=f"Video decoder: {', '.join(get_args(VideoBackend))}.",
            rich_help_panel=MEDIA,
        ),
    ] = "auto"
