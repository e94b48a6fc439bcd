"""Settings: what the digest covers, and records of version 0.1.0."""

from dataclasses import replace
from pathlib import Path

import pytest

from librehps import AXES, LibreHPS
from librehps.errors import UsageError
from librehps.runs.same_run import check_same_settings
from librehps.settings import Settings, comparable, differing

# What version 0.1.0 wrote for some run, and the digest in its rows.
OLD = {
    "model": "m",
    "fingerprint": "0123456789ab",
    "layout": "ba9876543210",
    "dtype": "float32",
    "attention": "sdpa",
    "delta_rule": "torch",
    "pixel_budget": 200704,
    "num_frames": 8,
    "version": "0.1.0",
}
OLD_DIGEST = "c8337da88ec7"


def test_a_record_of_the_first_version_keeps_its_digest() -> None:
    read = Settings.from_record(OLD)
    assert (read.numerics, read.axes, read.digest) == (1, AXES, OLD_DIGEST)
    assert (read.background, read.color_management) == ("keep", False)
    assert (read.animated, read.sample) == ("still", "index")
    assert read.weights == "full"
    assert Settings.from_record(read.record()) == read


def test_a_new_version_changes_no_digest_and_new_numerics_do(tiny: LibreHPS) -> None:
    settings = tiny.settings
    later = replace(settings, version="9.9.9")
    assert later.digest == settings.digest
    assert differing(settings.record(), later.record()) == []
    # What a version without quantised weights wrote.
    earlier = {name: value for name, value in settings.record().items() if name != "weights"}
    assert Settings.from_record(earlier) == settings
    assert differing(settings.record(), earlier) == []
    moved = replace(settings, numerics=settings.numerics + 1)
    assert moved.digest != settings.digest
    assert differing(settings.record(), moved.record()) == ["numerics"]


@pytest.mark.parametrize(
    ("before", "now", "hint"),
    [
        ("torch", "triton", "Use the same options and set LIBREHPS_KERNELS=torch, or --overwrite"),
        ("triton", "torch", "Use the same options, or --overwrite to start over."),
        ("fla", "triton", "Another version of librehps wrote it"),
    ],
)
def test_a_run_on_other_kernels_is_refused_with_a_way_out(
    before: str, now: str, hint: str, tiny: LibreHPS
) -> None:
    record = replace(tiny.settings, delta_rule=before).record()
    with pytest.raises(UsageError) as raised:
        check_same_settings(record, replace(tiny.settings, delta_rule=now), Path("x"), "resume")
    assert str(raised.value) == f"cannot resume x: started with delta_rule {before}, now {now}"
    assert (raised.value.hint or "").startswith(hint)


def test_a_file_that_says_nothing_differs_from_one_that_does() -> None:
    assert comparable({}) == {}
    assert differing(OLD, {**OLD, "background": "white"}) == ["background"]
    assert differing(OLD, {**OLD, "version": "0.2.0", "numerics": 1}) == []
    assert differing(OLD, {**OLD, "dtype": "bfloat16"}) == ["dtype"]


@pytest.mark.parametrize(
    ("name", "value"),
    [("background", "black"), ("color_management", False), ("animated", "still"),
     ("sample", "time")],
)  # fmt: skip
def test_each_media_option_is_in_the_digest(tiny: LibreHPS, name: str, value: object) -> None:
    found = LibreHPS.foresee("tiny", **{name: value})
    assert differing(tiny.settings.record(), found.record()) == [name]
    assert found.digest != tiny.settings.digest


@pytest.mark.parametrize("weights", ["int8", "nf4"])
def test_quantised_weights_are_in_the_digest(tiny: LibreHPS, weights: str) -> None:
    found = LibreHPS.foresee("tiny", weights=weights)
    assert found.fingerprint == tiny.settings.fingerprint
    assert differing(tiny.settings.record(), found.record()) == ["weights"]
    assert found.digest != tiny.settings.digest
    assert Settings.from_record(found.record()) == found
