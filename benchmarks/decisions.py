"""How long decisions on millions of scored rows take, beside the same questions in DuckDB.

    pip install duckdb
    python benchmarks/decisions.py [--rows 1000000] [--folder DIR]

Writes a Parquet file of 8 generators, each with a picture of every prompt (about 1 kB of JSON a
row), then runs each command and each query in a process of its own, and prints CPU seconds (user
and system) and the peak of memory in MB.
"""

# ruff: noqa: S608 - queries of this file's own text
import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from librehps.types import AXES

GENERATORS, GROUP_ROWS, PROMPT_WORDS = 8, 65_536, 26
NEGATIVE = "blurry, low quality, distorted hands, extra fingers, watermark, text, bad anatomy"
WORDS = np.array(["light", "city", "portrait", "forest", "oil", "dramatic", "glass", "mountain",
                  "neon", "ancient", "robot", "garden", "storm", "detailed", "lens"])  # fmt: skip
COMMANDS = {
    "filter": ("filter", "--min", "overall=0.9", "-o", "out.parquet"),
    "top 10 % of prompts": ("filter", "--top", "10%", "--per", "prompt", "-o", "out.parquet"),
    "best-of-n": ("best-of-n", "-q", "-o", "out.parquet"),
    "leaderboard": ("leaderboard", "--by", "generator", "--json", "-q"),
}
TO_FILE = "copy (select * exclude (r, n) from ({}) where {}) to 'out.parquet' (compression zstd)"
RANKED = (
    "select *, row_number() over (partition by prompt order by overall_mu desc) r, "
    "count(*) over (partition by prompt) n from 's.parquet' where status = 'ok'"
)
WINS = " union all ".join(
    f"select '{axis}', a.generator, b.generator, count(*), avg((a.{axis}_mu > b.{axis}_mu)::int), "
    f"avg(a.{axis}) from scored a join scored b using (p) where a.generator < b.generator group by "
    "all"
    for axis in AXES[:4]
)
QUERIES = {
    "filter": "copy (select * from 's.parquet' where status = 'ok' and overall >= 0.9) "
    "to 'out.parquet' (compression zstd)",
    "top 10 % of prompts": TO_FILE.format(RANKED, "r <= ceil(n * 0.1)"),
    "best-of-n": TO_FILE.format(RANKED, "r = 1"),
    "leaderboard": "with scored as (select *, hash(prompt) p from 's.parquet' where status = 'ok') "
    f"select * from ({WINS})",
}
MEASURED = """
import resource, subprocess, sys
done = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(done.returncode, used.ru_utime + used.ru_stime, used.ru_maxrss // 1024)
sys.stderr.write(done.stderr.decode()[-500:])
"""
BY_HAND = """
import sys, duckdb
connection = duckdb.connect()
connection.execute("set memory_limit = '800MB'; set temp_directory = 'spilled'")
connection.execute(sys.argv[1]).fetchall()
"""


def prompt(number: int) -> str:
    words = np.random.default_rng(number).integers(0, len(WORDS), PROMPT_WORDS)
    return f"{' '.join(WORDS[words])} number {number}"


def tables(rows: int) -> Iterator[pa.Table]:
    """Scored rows as `librehps score` writes them, one generator after the other."""
    rng = np.random.default_rng(0)
    count = rows // GENERATORS
    for generator in range(GENERATORS):
        for start in range(0, count, GROUP_ROWS):
            numbers = range(start, min(start + GROUP_ROWS, count))
            yield table(generator, numbers, rng)


def table(generator: int, numbers: range, rng: np.random.Generator) -> pa.Table:
    count = len(numbers)
    failed = rng.random(count) < 0.001
    ids = [f"generator-{generator}/{number:08d}.png" for number in numbers]
    hashes = rng.bytes(count * 20).hex()
    columns: dict[str, object] = {
        "id": ids,
        "media": [f"/data/renders/{name}" for name in ids],
        "kind": ["image"] * count,
        "prompt": [prompt(number) for number in numbers],
        "group": pa.nulls(count, pa.string()),
    }
    for axis in AXES[:4]:
        mu = rng.normal(generator / 20, size=count).astype(np.float32)
        columns[axis] = pa.array(1 / (1 + np.exp(-mu)), mask=failed)
        columns[f"{axis}_mu"] = pa.array(mu, mask=failed)
    return pa.table(
        columns
        | {
            "status": np.where(failed, "error", "ok").tolist(),
            "settings": ["0123456789ab"] * count,
            "generator": [f"generator-{generator}"] * count,
            "seed": rng.integers(0, 2**31, count),
            "negative_prompt": [NEGATIVE] * count,
            "digest": [hashes[40 * at : 40 * at + 40] for at in range(count)],
        }
    )


def write_rows(file: Path, rows: int) -> None:
    parts = tables(rows)
    first = next(parts)
    with pq.ParquetWriter(file, first.schema, compression="zstd") as writer:
        writer.write_table(first)
        for part in parts:
            writer.write_table(part)


def measured(folder: Path, *command: str) -> str:
    """CPU seconds and megabytes of a command, or its exit code; outputs are deleted."""
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, *command],
        cwd=folder, capture_output=True, text=True, check=True,
    )  # fmt: skip
    code, seconds, megabytes = done.stdout.split()
    (folder / "out.parquet").unlink(missing_ok=True)
    # 3: some rows of the file are errors.
    is_done = code in ("0", "3")
    return f"{float(seconds):7.1f} s {megabytes:>6} MB" if is_done else done.stderr[-200:]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path, help="where the temporary file is written")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder = Path(name)
        write_rows(folder / "s.parquet", arguments.rows)
        size = (folder / "s.parquet").stat().st_size / 1e6
        print(f"{arguments.rows} rows, {size:.0f} MB of Parquet; librehps, then DuckDB by hand")
        for question, (command, *options) in COMMANDS.items():
            ours = [sys.executable, "-m", "librehps_cli", command, "s.parquet", *options]
            theirs = [sys.executable, "-c", BY_HAND, QUERIES[question]]
            figures = [measured(folder, *words) for words in (ours, theirs)]
            print(f"{question:22}{'   '.join(figures)}", flush=True)


if __name__ == "__main__":
    main()
