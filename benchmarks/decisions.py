"""CPU time and memory of decisions on millions of scored rows, and of the same queries in DuckDB.

    pip install duckdb
    python benchmarks/decisions.py [--rows 1000000] [--only leaderboard] [--folder DIR]

Writes a Parquet file of 8 generators, each with a picture of every prompt (about 1 kB of JSON a
row), then runs each command and each query in a process of its own, and prints CPU seconds (user
and system) and the peak of memory in MB. `start` is the time of a command on a few rows, which is
part of every other figure. Without DuckDB only the commands are run.
"""

# ruff: noqa: S608 - queries of this file's own text
import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from librehps.scores.columns import LONG, REAL, TEXT
from librehps.scores.json_text import json_lines
from librehps.types import AXES

GENERATORS, GROUP_ROWS, FEW_ROWS = 8, 65_536, 800
# A prompt is some phrases in a row, and its number.
PHRASES, PHRASE_WORDS, PROMPT_PHRASES = 4096, 9, 3
# JSON Lines are ten times larger than Parquet.
JSON_SHARE = 10
NEGATIVE = "blurry, low quality, distorted hands, extra fingers, watermark, text, bad anatomy"
WORDS = np.array(["light", "city", "portrait", "forest", "oil", "dramatic", "glass", "mountain",
                  "neon", "ancient", "robot", "garden", "storm", "detailed", "lens"])  # fmt: skip
LIMITS = ("overall >= 0.7", "style >= 0.6", "coherence <= 0.9", "seed <= 2000000000")
TO_FILE = "copy (select * exclude (r, n) from ({}) where {}) to 'out.parquet' (compression zstd)"
CHOSEN = "copy (select * from '{}' where status = 'ok' and {}) to 'out.parquet' (compression zstd)"
RANKED = (
    "select *, row_number() over (partition by {0} order by overall_mu desc) r, "
    "count(*) over (partition by {0}) n from 's.parquet' where status = 'ok'"
)
WINS = " union all ".join(
    f"select '{axis}', a.generator, b.generator, count(*), avg(case when a.{axis}_mu > b.{axis}_mu "
    f"then 1 when a.{axis}_mu = b.{axis}_mu then 0.5 else 0 end), avg(a.{axis}), avg(b.{axis}) "
    "from scored a join scored b using (p) where a.generator < b.generator group by all"
    for axis in AXES[:4]
)
BOARD = (
    "with scored as (select *, hash(prompt) p from 's.parquet' where status = 'ok' {}) "
    f"select * from ({WINS})"
)
# Two columns as z-scores within the prompt; a group without a deviation counts as nothing.
Z = "coalesce(({0} - avg({0}) over p) / nullif(stddev_pop({0}) over p, 0), 0)"
SUMMED = (
    "select *, {0} s from {1} where status = 'ok' and overall_mu is not null and {2} is not null "
    "window p as (partition by prompt)"
)
BEST = (
    "copy (select * exclude (r) from (select *, row_number() over (partition by prompt order by s "
    "desc) r from ({})) where r = 1) to 'out.parquet' (compression zstd)"
)
JOINED = (
    "(select s.*, t.overall_mu other from 's.parquet' s join 't.parquet' t using (media, prompt))"
)
SUM = ("--weights", "overall=1,style=0.5")
TWO = ("--with", "other=t.parquet", "--weights", "overall=1,other.overall=0.5")
WRITE, TABLE = ("-q", "-o", "out.parquet"), ("--by", "generator", "--json", "-q")
# A question, the words of the command, and the query; None where SQL has no such answer.
QUESTIONS: dict[str, tuple[Sequence[str], str | None]] = {
    "start": (("filter", "few.parquet", "--min", "overall=0.9", *WRITE),
              CHOSEN.format("few.parquet", "overall >= 0.9")),
    "filter": (("filter", "s.parquet", "--min", "overall=0.9", *WRITE),
               CHOSEN.format("s.parquet", "overall >= 0.9")),
    "filter by 4 columns": (
        ("filter", "s.parquet", "--min", "overall=0.7", "--min", "style=0.6", "--max",
         "coherence=0.9", "--max", "seed=2000000000", *WRITE),
        CHOSEN.format("s.parquet", " and ".join(LIMITS))),
    "top 10 % of prompts": (("filter", "s.parquet", "--top", "10%", "--per", "prompt", *WRITE),
                            TO_FILE.format(RANKED.format("prompt"), "r <= ceil(n * 0.1)")),
    "best-of-n": (("best-of-n", "s.parquet", *WRITE),
                  TO_FILE.format(RANKED.format("prompt"), "r = 1")),
    "best 3 of n": (("best-of-n", "s.parquet", "--top", "3", *WRITE),
                    TO_FILE.format(RANKED.format("prompt"), "r <= 3")),
    "best of folders": (("best-of-n", "s.parquet", "--per", "folder", *WRITE),
                        TO_FILE.format(RANKED.format("parse_dirpath(media)"), "r = 1")),
    "leaderboard": (("leaderboard", "s.parquet", *TABLE), BOARD.format("")),
    "leaderboard of two": (
        ("leaderboard", "s.parquet", "--only", "generator-0", "--only", "generator-7", *TABLE),
        BOARD.format("and generator in ('generator-0', 'generator-7')")),
    "weights": (("best-of-n", "s.parquet", *SUM, *WRITE),
                BEST.format(SUMMED.format("overall_mu + 0.5 * style_mu", "'s.parquet'",
                                          "style_mu"))),
    "weights of z-scores": (
        ("best-of-n", "s.parquet", *SUM, "--normalise", "prompt", *WRITE),
        BEST.format(SUMMED.format(f"{Z.format('overall_mu')} + 0.5 * {Z.format('style_mu')}",
                                  "'s.parquet'", "style_mu"))),
    "weights of two models": (
        ("best-of-n", "s.parquet", *TWO, *WRITE),
        BEST.format(SUMMED.format(f"{Z.format('overall_mu')} + 0.5 * {Z.format('other')}",
                                  JOINED, "other"))),
    "filter by two models": (
        ("filter", "s.parquet", *TWO, "--top", "10%", "--per", "prompt", *WRITE), None),
    "leaderboard by weights": (
        ("leaderboard", "s.parquet", *SUM, "--normalise", "prompt", *TABLE), None),
    "report": (("report", "s.parquet", "-q", "-o", "page.html", "--overwrite"), None),
    "report by generator": (
        ("report", "s.parquet", "--by", "generator", "-q", "-o", "page.html", "--overwrite"), None),
    "filter of JSON Lines": (("filter", "s.jsonl", "--min", "overall=0.9", *WRITE),
                             CHOSEN.format("s.jsonl", "overall >= 0.9")),
}  # fmt: skip
MEASURED = """
import resource, subprocess, sys
try:
    done = subprocess.run(sys.argv[2:], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                          timeout=float(sys.argv[1]))
    code, told = done.returncode, done.stderr
except subprocess.TimeoutExpired:
    code, told = -9, b"no answer in " + sys.argv[1].encode() + b" s"
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(code, used.ru_utime + used.ru_stime, used.ru_maxrss // 1024)
sys.stderr.write(told.decode()[-2000:])
"""
BY_HAND = """
import sys, duckdb
connection = duckdb.connect()
connection.execute("set memory_limit = '800MB'; set temp_directory = 'spilled'")
connection.execute(sys.argv[1]).fetchall()
"""


def phrases() -> Any:
    words = WORDS[np.random.default_rng(0).integers(0, len(WORDS), (PHRASES, PHRASE_WORDS))]
    return pa.array([" ".join(row) for row in words])


def prompts(numbers: Any, known: Any) -> Any:
    rng = np.random.default_rng(int(numbers[0]))
    parts = [known.take(pa.array(rng.integers(0, PHRASES, len(numbers))))
             for _ in range(PROMPT_PHRASES)]  # fmt: skip
    return pc.binary_join_element_wise(*parts, "number", text(numbers), " ")


def text(numbers: Any) -> Any:
    return pa.array(numbers).cast(pa.string())


def same(value: str, count: int) -> Any:
    return pa.array([value]).take(pa.array(np.zeros(count, np.int8)))


def digests(count: int, rng: np.random.Generator) -> Any:
    ends = np.arange(count + 1, dtype=np.int32) * 40
    data = pa.py_buffer(rng.bytes(count * 20).hex().encode())
    return pa.StringArray.from_buffers(count, pa.py_buffer(ends), data)


def tables(rows: int) -> Iterator[pa.Table]:
    """Scored rows as `librehps score` writes them, one generator after the other."""
    rng, known = np.random.default_rng(0), phrases()
    count = rows // GENERATORS
    for generator in range(GENERATORS):
        for start in range(0, count, GROUP_ROWS):
            numbers = np.arange(start, min(start + GROUP_ROWS, count))
            yield table(generator, numbers, known, rng)


def table(generator: int, numbers: Any, known: Any, rng: np.random.Generator) -> pa.Table:
    count, join = len(numbers), pc.binary_join_element_wise
    failed = rng.random(count) < 0.001
    ids = join(f"generator-{generator}/", pc.utf8_lpad(text(numbers), 8, "0"), ".png", "")
    columns: dict[str, object] = {
        "id": ids,
        "media": join("/data/renders/", ids, ""),
        "kind": same("image", count),
        "prompt": prompts(numbers, known),
        "group": pa.nulls(count, pa.string()),
    }
    for axis in AXES[:4]:
        mu = rng.normal(generator / 20, size=count).astype(np.float32)
        columns[axis] = pa.array(1 / (1 + np.exp(-mu)), mask=failed)
        columns[f"{axis}_mu"] = pa.array(mu, mask=failed)
    return pa.table(
        columns
        | {
            "status": pa.array(["ok", "error"]).take(pa.array(failed.astype(np.int8))),
            "settings": same("0123456789ab", count),
            "generator": same(f"generator-{generator}", count),
            "seed": rng.integers(0, 2**31, count),
            "negative_prompt": same(NEGATIVE, count),
            "digest": digests(count, rng),
        }
    )


def write_rows(file: Path, rows: int) -> None:
    parts = tables(rows)
    first = next(parts)
    with pq.ParquetWriter(file, first.schema, compression="zstd") as writer:
        writer.write_table(first)
        for part in parts:
            writer.write_table(part)


def write_other(file: Path, rows: int) -> None:
    """The same pictures scored by another model, in another order."""
    names = ["id", "media", "prompt", "overall", "overall_mu", "status"]
    rng = np.random.default_rng(1)
    with pq.ParquetWriter(file, next(tables(rows)).select(names).schema) as writer:
        for part in tables(rows):
            mu = pa.array(10 * rng.normal(size=len(part)).astype(np.float32))
            scored = part.select(names).set_column(4, "overall_mu", mu)
            writer.write_table(scored.take(pa.array(rng.permutation(len(part)))))


def write_json(file: Path, rows: int) -> None:
    with file.open("wb") as lines:
        for part in tables(rows):
            kinds = {f.name: REAL if pa.types.is_float32(f.type) else LONG if f.name == "seed"
                     else TEXT for f in part.schema}  # fmt: skip
            for batch in part.to_batches():
                lines.write(json_lines(batch, kinds))


def measured(folder: Path, limit: float, *command: str) -> str:
    """CPU seconds and megabytes of a command, or its error in a line; outputs are deleted."""
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, str(limit), *command],
        cwd=folder, capture_output=True, text=True, check=True,
    )  # fmt: skip
    code, seconds, megabytes = done.stdout.split()
    (folder / "out.parquet").unlink(missing_ok=True)
    # 3: some rows of the file are errors.
    if code not in ("0", "3"):
        said = done.stderr.splitlines()
        errors = [line for line in said if "Error" in line] or said
        return f"   {(errors or [f'exit code {code}'])[-1][:90]}"
    return f"{float(seconds):7.1f} s {megabytes:>6} MB"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path, help="where the temporary files are written")
    parser.add_argument("--only", nargs="+", choices=QUESTIONS, default=QUESTIONS, metavar="NAME")
    parser.add_argument("--limit", type=float, default=900, help="seconds for each command")
    arguments = parser.parse_args()
    has_duckdb = find_spec("duckdb") is not None
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder = Path(name)
        write_rows(folder / "s.parquet", arguments.rows)
        write_rows(folder / "few.parquet", FEW_ROWS)
        write_other(folder / "t.parquet", arguments.rows)
        write_json(folder / "s.jsonl", arguments.rows // JSON_SHARE)
        size = (folder / "s.parquet").stat().st_size / 1e6
        print(f"{arguments.rows} rows, {size:.0f} MB of Parquet; 1/{JSON_SHARE} as JSON Lines")
        print(f"librehps{', then DuckDB by hand' if has_duckdb else '; DuckDB is not installed'}")
        for question in arguments.only:
            words, query = QUESTIONS[question]
            commands = [[sys.executable, "-m", "librehps_cli", *words]]
            if has_duckdb and query:
                commands.append([sys.executable, "-c", BY_HAND, query])
            figures = [measured(folder, arguments.limit, *words) for words in commands]
            print(f"{question:22}{'   '.join(figures)}", flush=True)


if __name__ == "__main__":
    main()
