"""Words that options take: spelled once, taken by flags and Python alike, refused by name."""

import ast
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
import torch

from librehps import LibreHPS, choices
from librehps.choices import check_choice
from librehps.decide.reward_spec import COLUMN_SUFFIX
from librehps.errors import AttentionError, UsageError
from librehps.evaluate.calibration import METHODS
from librehps.items.prompts import find_prompts
from librehps.media.videos import choose_backend
from librehps.models.attention import Host, candidates
from librehps.models.device import DTYPES, choose_dtype
from librehps.preferences.formats import FORMATS
from librehps.preferences.read import read_preferences
from librehps.scores.columns import chosen_columns
from librehps.train.options import DEFAULT_EPOCHS, DEFAULT_RATES, TrainOptions

ROOT = Path(__file__).parents[2]
CPU = torch.device("cpu")
HOST = Host("cpu", torch.float32, None, frozenset())


def test_every_word_has_something_behind_it() -> None:
    tables: list[tuple[Any, tuple[str, ...]]] = [
        (choices.Dtype, ("auto", *DTYPES)),
        (choices.PairsFormat, ("auto", *FORMATS)),
        (choices.CalibrationMethod, tuple(METHODS)),
        (choices.RewardScale, tuple(COLUMN_SUFFIX)),
        (choices.TrainedPart, tuple(DEFAULT_EPOCHS)),
        (choices.TrainedPart, tuple(DEFAULT_RATES)),
    ]
    for literal, words in tables:
        assert get_args(literal) == words


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (
            lambda: choose_dtype("int4", CPU),
            "dtype: expected auto, float32, .*, bf16.*, got 'int4'",
        ),
        (lambda: choose_backend("vlc"), "video backend: expected auto, decord.*, got 'vlc'"),
        (lambda: find_prompts(None, "exif", True), "prompt_from: expected auto.*, got 'exif'"),
        (lambda: chosen_columns("fuller", {}), "columns: expected default or full, got 'fuller'"),
        (lambda: read_preferences("p.csv", "hpdv9"), "format: expected auto, pairs.*, got 'hpdv9'"),
        (lambda: TrainOptions(part="toes"), "part: expected heads, lora or full, got 'toes'"),
        (lambda: TrainOptions(sigma="odd"), "sigma: expected plain or aware, got 'odd'"),
    ],
)
def test_python_refuses_another_word_by_name(call: Callable[[], object], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        call()
    with pytest.raises(AttentionError, match=r"attention: expected auto, fa4.*, got 'fa9'"):
        candidates("fa9", HOST)


@pytest.mark.parametrize("name", get_args(choices.Dtype))
def test_every_dtype_is_understood(name: str) -> None:
    check_choice(name, choices.Dtype, "dtype")
    wanted = {"16": torch.float16, "bf": torch.bfloat16}
    dtype, _ = choose_dtype(name, CPU)
    short = name.replace("bfloat", "bf")
    assert dtype == wanted.get(short[:2], wanted.get(short[-2:], torch.float32))


@pytest.mark.parametrize("name", ["torch.bfloat16", torch.bfloat16, "bf16", "bfloat16"])
def test_every_spelling_of_a_dtype_has_the_same_settings(name: str | torch.dtype) -> None:
    assert LibreHPS.foresee("tiny", dtype=name).dtype == "bfloat16"


@pytest.mark.parametrize("name", ["int4", "auto16", torch.float64, "torch.int8"])
def test_other_dtypes_are_refused_with_the_valid_ones(name: str | torch.dtype) -> None:
    short = str(name).removeprefix("torch.")
    valid = "auto, float32, bfloat16, float16, fp32, bf16 or fp16"
    with pytest.raises(UsageError, match=f"dtype: expected {valid}, got '{short}'"):
        choose_dtype(name, CPU)


def literals(file: Path) -> list[tuple[str, ...]]:
    """Words of each Literal that a file spells out."""
    found = []
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Subscript) and ast.unparse(node.value) == "Literal":
            found.append(tuple(ast.literal_eval(f"({ast.unparse(node.slice)},)")))
    return found


@pytest.mark.slow
def test_no_set_of_words_is_spelled_twice() -> None:
    files = [*(ROOT / "core" / "librehps").rglob("*.py"), *(ROOT / "librehps_cli").rglob("*.py")]
    home = ROOT / "core" / "librehps" / "choices.py"
    elsewhere = {file for file in files if file != home and any(len(w) > 1 for w in literals(file))}
    assert elsewhere == set()
    names = [name for name, value in vars(choices).items() if len(get_args(value)) > 1]
    assert len(names) > 15
