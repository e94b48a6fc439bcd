"""Small pictures of made-up generators, and judging in process."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from librehps.judge.gather import SourceOptions, gather
from librehps.judge.judgements import Judgements
from librehps.judge.session import Plan, Session

GENERATORS = ("ant", "bee", "cow")


def write_pictures(folder: Path, prompts: int = 4) -> Path:
    """Write a picture of each generator for each prompt, with its prompt beside it."""
    for place, name in enumerate(GENERATORS):
        home = folder / "outputs" / name
        home.mkdir(parents=True)
        for at in range(prompts):
            color = (80 * place, 40 * at, 120)
            Image.new("RGB", (24, 16), color).save(home / f"{at}.png")
            (home / f"{at}.txt").write_text(f"prompt {at}\n")
    return folder / "outputs"


def write_scores(folder: Path, prompts: int = 4) -> Path:
    """Write the pictures and a scored file of them: cow is far better than ant and bee."""
    write_pictures(folder, prompts)
    rows = [(name, at) for name in GENERATORS for at in range(prompts)]
    mu = [{"ant": 0.0, "bee": 0.1, "cow": 8.0}[name] + at / 100 for name, at in rows]
    table = pa.table({
        "id": [f"{name}/{at}.png" for name, at in rows],
        "media": [str(folder / "outputs" / name / f"{at}.png") for name, at in rows],
        "prompt": [f"prompt {at}" for _, at in rows],
        "status": ["ok"] * len(rows),
        "overall": [0.5] * len(rows),
        "overall_mu": mu,
        "overall_sigma": [0.7] * len(rows),
    })  # fmt: skip
    pq.write_table(table, folder / "scores.parquet")
    return folder / "scores.parquet"


def session_of(source: Path, output: Path, plan: Plan, axes=("overall",), **options) -> Session:
    """Return a session on scored files or media; close its `judgements` afterwards."""
    found = {"by": "folder", "prompt_from": "sidecar" if source.is_dir() else None, **options}
    judgements = Judgements(output, axes)
    return Session(gather([str(source)], output, SourceOptions(**found)), judgements, plan)


def judge(session: Session, rater: str, count: int, side: str = "left") -> list:
    """Answer the next `count` questions on every axis; return the questions."""
    asked = []
    for _ in range(count):
        question = session.question(rater)
        if question is None:
            break
        asked.append(question)
        sides = {} if side == "skip" else dict.fromkeys(session.judgements.axes, side)
        session.answer(rater, question.ticket, sides, 1.5)
    return asked
