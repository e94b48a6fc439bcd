"""Words that options take: spelled once, taken by flags and Python alike, refused by name."""

import ast
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
import torch

from librehps import choices
from librehps.choices import check_choice
from librehps.errors import AttentionError, UsageError
from librehps.evaluate.calibration import METHODS
from librehps.items.prompts import find_prompts
from librehps.media.videos import choose_backend
from librehps.models.attention import Host, candidates
from librehps.models.device import DTYPES, choose_dtype
from librehps.preferences.formats import FORMATS
from librehps.preferences.read import read_preferences
from librehps.rewards.reward_spec import SUFFIX
from librehps.scores.columns import chosen_columns
from librehps.train.options import EPOCHS, RATES, TrainOptions

ROOT = Path(__file__).parents[2]
CPU = torch.device("cpu")
HOST = Host("cpu", torch.float32, None, frozenset())


def test_every_word_has_something_behind_it() -> None:
    tables: list[tuple[Any, tuple[str, ...]]] = [
        (choices.Dtype, ("auto", *DTYPES)),
        (choices.PairsFormat, ("auto", *FORMATS)),
        (choices.CalibrationMethod, tuple(METHODS)),
        (choices.RewardScale, tuple(SUFFIX)),
        (choices.TrainedPart, tuple(EPOCHS)),
        (choices.TrainedPart, tuple(RATES)),
    ]
    for literal, words in tables:
        assert get_args(literal) == words


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: choose_dtype("int4", CPU), "unknown dtype 'int4': auto, float32, .*, bf16"),
        (lambda: choose_backend("vlc"), "unknown video backend 'vlc': auto, decord"),
        (lambda: find_prompts(None, "exif", True), "unknown prompt_from 'exif': auto"),
        (lambda: chosen_columns("fuller", {}), "unknown columns 'fuller': default, full"),
        (lambda: read_preferences("p.csv", "hpdv9"), "unknown format 'hpdv9': auto, pairs"),
        (lambda: TrainOptions(part="toes"), "unknown part 'toes': heads, lora, full"),
        (lambda: TrainOptions(sigma="odd"), "unknown sigma 'odd': plain, aware"),
    ],
)
def test_python_refuses_another_word_by_name(call: Callable[[], object], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        call()
    with pytest.raises(AttentionError, match="unknown attention 'fa9': auto, fa4"):
        candidates("fa9", HOST)


@pytest.mark.parametrize("name", get_args(choices.Dtype))
def test_every_dtype_is_understood(name: str) -> None:
    check_choice(name, choices.Dtype, "dtype")
    wanted = {"16": torch.float16, "bf": torch.bfloat16}
    dtype, _ = choose_dtype(name, CPU)
    short = name.replace("bfloat", "bf")
    assert dtype == wanted.get(short[:2], wanted.get(short[-2:], torch.float32))


def literals(file: Path) -> list[tuple[str, ...]]:
    """Words of each Literal that a file spells out."""
    found = []
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Subscript) and ast.unparse(node.value) == "Literal":
            found.append(tuple(ast.literal_eval(f"({ast.unparse(node.slice)},)")))
    return found


def test_no_set_of_words_is_spelled_twice() -> None:
    files = [*(ROOT / "core" / "librehps").rglob("*.py"), *(ROOT / "librehps_cli").rglob("*.py")]
    home = ROOT / "core" / "librehps" / "choices.py"
    elsewhere = {file for file in files if file != home and any(len(w) > 1 for w in literals(file))}
    assert elsewhere == set()
    names = [name for name, value in vars(choices).items() if len(get_args(value)) > 1]
    assert len(names) > 15
