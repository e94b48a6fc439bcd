"""librehps best-of-n on scored files and on media."""

import csv
import json
import random
from pathlib import Path
from subprocess import CompletedProcess

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from conftest import EXAMPLES, Cli
from make_media import picture

TINY = ("--model", "tiny")
MEDIA = EXAMPLES / "media"
PROMPT = "a red circle left of a blue square"


def scored_row(name: str, mu: float | None, prompt: str = "a cat", **more: object) -> dict:
    axes = ("overall", "alignment", "coherence", "style", "temporal")
    row = dict.fromkeys((*axes, *(f"{axis}_mu" for axis in axes)))
    if mu is None:
        row |= {"status": "error", "error_type": "BrokenMediaError", "error": f"{name} is broken"}
    else:
        row |= {"status": "ok", "error_type": None, "error": None}
        row |= {f"{axis}_mu": mu for axis in axes[:4]}
        row |= dict.fromkeys(axes[:4], 1 / (1 + 2.718281828 ** (-mu)))
    found = {"id": name, "media": name, "kind": "image", "prompt": prompt, "group": None}
    return {**found, **row, "settings": "0123456789ab", **more}


@pytest.fixture(autouse=True)
def _in_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Paths are printed where their files exist."""
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b", "a.png"):
        Path(name).touch()


def write(file: Path, rows: list[dict]) -> Path:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


@pytest.fixture
def scores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two prompts of three and two; 1.png to 5.png lie in the working directory."""
    monkeypatch.chdir(tmp_path)
    for name in "12345":
        picture(seed=int(name)).save(f"{name}.png")
    values = [("1.png", 1.0, "a cat"), ("2.png", 3.0, "a cat"), ("3.png", 2.0, "a dog"),
              ("4.png", 2.5, "a cat"), ("5.png", 2.0, "a dog")]  # fmt: skip
    rows = [scored_row(name, mu, prompt, seed=int(name[0]) % 2) for name, mu, prompt in values]
    return write(tmp_path / "s.jsonl", rows)


@pytest.fixture
def fit(tmp_path: Path) -> Path:
    file = tmp_path / "c.json"
    file.write_text(json.dumps({"a": 2.0, "b": 0.3}))
    return file


def lines(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


def test_a_scored_file_needs_no_model(cli: Cli, scores: Path, fit: Path) -> None:
    done = cli("best-of-n", scores, "--model", "no/such")
    assert (done.returncode, done.stdout) == (0, "2.png\n3.png\n")
    assert "tied with 5.png" in done.stderr
    cat, dog = lines(cli("best-of-n", scores, "--json", "--calibration", fit).stdout)
    assert (cat["group"], cat["id"], cat["scored"], cat["margin"]) == ("a cat", "2.png", 3, 0.5)
    both = [1 / (1 + 2.718281828 ** -(2 * 0.5 + b)) for b in (0.3, -0.3)]
    assert cat["win_probability"] == pytest.approx(sum(both) / 2, abs=1e-6)
    assert (dog["ties"], dog["win_probability"]) == (["5.png"], 0.5)


def test_rows_on_stdin(cli: Cli, scores: Path) -> None:
    done = cli("best-of-n", "-", stdin=scores.read_text())
    assert (done.returncode, done.stdout) == (0, "2.png\n3.png\n")


@pytest.mark.parametrize(
    ("content", "code", "words"),
    [
        (json.dumps(scored_row("a", 1.0, "x " * 30_000)), 0, "a\n"),
        ("\n\n" + json.dumps(scored_row("a", 1.0)), 0, "a\n"),
        ("\ufeff" + json.dumps(scored_row("a", 1.0)), 0, "a\n"),
        ("", 1, "stdin holds no rows"),
        ("\n \n", 1, "stdin holds no rows"),
    ],
)
def test_odd_rows_on_stdin(cli: Cli, content: str, code: int, words: str) -> None:
    done = cli("best-of-n", "-", stdin=content)
    assert done.returncode == code, done.stderr
    assert words in done.stdout + done.stderr


def test_why_there_are_no_win_probabilities(cli: Cli, scores: Path) -> None:
    assert "no win probabilities: the scored file does not" in cli("best-of-n", scores).stderr
    record = {"model": "LibreHPS/LibreHPS-4B-v1.1", "fingerprint": "f"}
    Path(f"{scores}.settings.json").write_text(json.dumps(record))
    done = cli("best-of-n", scores, "--abstain-below", "0.6")
    assert done.returncode == 2
    assert "calibration.json of LibreHPS/LibreHPS-4B-v1.1 not found on this machine" in done.stderr


def test_odd_values(cli: Cli, tmp_path: Path) -> None:
    rows = [scored_row("a", 1.0), scored_row("b", 2.0, overall=None), scored_row("c", 3.0)]
    rows[2]["overall_mu"] = float("inf")
    file = write(tmp_path / "s.jsonl", rows)
    for way in ("--json", "--table", "--curve"):
        done = cli("best-of-n", file, way)
        assert done.returncode == 0, done.stderr
        assert "Warning" not in done.stderr
    [record] = lines(cli("best-of-n", file, "--json").stdout)
    assert (record["id"], record["overall"], record["scored"]) == ("b", None, 2)
    nameless = write(tmp_path / "n.jsonl", [scored_row("a", 1.0, id=None)])
    assert cli("best-of-n", nameless, "--table").returncode == 0
    pq.write_table(pa.Table.from_pylist([scored_row("a", 1.0, id=3)]), tmp_path / "i.parquet")
    numbered = cli("best-of-n", tmp_path / "i.parquet")
    assert (numbered.returncode, "holds int64, not text" in numbered.stderr) == (2, True)


def test_only_the_columns_that_decide_are_needed(cli: Cli, tmp_path: Path) -> None:
    needed = ("id", "media", "prompt", "status", "overall_mu")
    rows = [
        {name: scored_row(n, mu)[name] for name in needed} for n, mu in (("a", 1.0), ("b", 2.0))
    ]
    file = write(tmp_path / "s.jsonl", rows)
    assert cli("best-of-n", file).stdout == "b\n"
    assert "b" in cli("best-of-n", file, "--table").stdout
    assert len(lines(cli("best-of-n", file, "--curve").stdout)) == 2


def test_a_file_given_twice_is_noticed(cli: Cli, scores: Path) -> None:
    assert "5 duplicate rows" in cli("best-of-n", scores, scores).stderr


def test_media_and_their_scored_file_agree(cli: Cli, tmp_path: Path) -> None:
    asked = (MEDIA, "--prompt", PROMPT, *TINY)
    cli("score", *asked, "-o", tmp_path / "s.parquet")
    direct = cli("best-of-n", *asked, "--json", "--top", "3")
    stored = cli("best-of-n", tmp_path / "s.parquet", "--json", "--top", "3")
    first, second = lines(direct.stdout), lines(stored.stdout)
    assert [r["id"] for r in first] == [r["id"] for r in second]
    assert [r["rank"] for r in first] == [1, 2, 3]
    assert first[0]["id"] == "match.png"
    # The calibration of the model that the file names is found beside that model.
    assert second[0]["win_probability"] == pytest.approx(first[0]["win_probability"], abs=1e-3)
    assert second[0]["win_probability"] > 0.9


def test_groups(cli: Cli, scores: Path) -> None:
    assert cli("best-of-n", scores, "--per", "folder").stdout == "2.png\n"
    mixed = cli("best-of-n", scores, "--per", "seed")
    assert mixed.stdout == "3.png\n2.png\n"
    assert "different prompts are compared (2 prompts in 1 of 2 groups)" in mixed.stderr
    matched = cli("best-of-n", scores, "--per-match", "^[123]|.")
    assert matched.stdout == "1.png\n2.png\n3.png\n4.png\n5.png\n"


def test_another_axis_and_a_mix(cli: Cli, tmp_path: Path, fit: Path) -> None:
    rows = [scored_row("a", 2.0, alignment_mu=-1.0), scored_row("b", 1.0, alignment_mu=1.5)]
    file = write(tmp_path / "s.jsonl", rows)
    assert cli("best-of-n", file).stdout == "a\n"
    by_axis = cli("best-of-n", file, "--axis", "alignment", "--json", "--calibration", fit)
    [record] = lines(by_axis.stdout)
    # The calibrator speaks of overall alone.
    assert (record["id"], record["win_probability"]) == ("b", None)
    [record] = lines(cli("best-of-n", file, "--weights", "overall=1,alignment=.5", "--json").stdout)
    assert (record["id"], record["score"], record["margin"]) == ("b", 1.75, 0.25)


def test_abstaining(cli: Cli, scores: Path, fit: Path) -> None:
    asked = ("best-of-n", scores, "--abstain-below", "0.6", "--calibration", fit)
    assert cli(*asked).stdout == "2.png\n"
    assert [r["abstained"] for r in lines(cli(*asked, "--json").stdout)] == [False, True]
    assert cli(*asked, "--copy-to", "best").returncode == 0
    assert [path.name for path in Path("best").iterdir()] == ["a-cat.png"]
    assert "(abstained)" in cli(*asked, "--table").stdout


def test_copies_keep_the_prompt(cli: Cli, scores: Path) -> None:
    done = cli("best-of-n", scores, "--top", "2", "--copy-to", "best")
    assert (done.returncode, done.stdout) == (0, "")
    names = sorted(path.name for path in Path("best").iterdir())
    assert names == ["a-cat-1.png", "a-cat-2.png", "a-dog-1.png", "a-dog-2.png"]
    assert Path("best/a-cat-2.png").read_bytes() == Path("4.png").read_bytes()
    assert cli("best-of-n", scores, "--link-to", "linked").returncode == 0
    assert Path("linked/a-dog.png").resolve().name == "3.png"
    again = cli("best-of-n", scores, "--link-to", "linked")
    assert again.returncode == 2
    assert "files are never overwritten" in again.stderr


def test_outputs(cli: Cli, scores: Path) -> None:
    assert cli("best-of-n", scores, "-o", "best.parquet", "--top", "2").stdout == ""
    table = pq.read_table("best.parquet")
    assert table.column("id").to_pylist() == ["2.png", "4.png", "3.png", "5.png"]
    assert table.schema.field("margin").type == pa.float64()
    assert cli("best-of-n", scores, "-o", "best.parquet").returncode == 2
    assert cli("best-of-n", scores, "-o", "best.jsonl").returncode == 0
    assert [r["id"] for r in lines(Path("best.jsonl").read_text())] == ["2.png", "3.png"]
    assert len(lines(cli("best-of-n", scores, "-o", "-").stdout)) == 2
    # What was picked are whole rows, with columns of one's own: a scored file like any other.
    assert table.column("seed").to_pylist() == [0, 0, 1, 1]
    assert cli("filter", "best.parquet", "--min", "overall_mu=2.6").stdout == "2.png\n"
    assert cli("best-of-n", "best.parquet").stdout == "2.png\n3.png\n"
    clash = write(Path("clash.jsonl"), [scored_row("a", 1.0, margin=3)])
    done = cli("best-of-n", clash, "-o", "x.parquet")
    assert done.returncode == 2
    assert "columns with reserved names: margin" in done.stderr
    # Where no rows are printed or written, their names do not matter.
    for way in ((), ("--table",), ("--copy-to", "copies")):
        assert cli("best-of-n", clash, *way).returncode == 0


def test_copies_and_outputs_are_told_of(cli: Cli, scores: Path, fit: Path) -> None:
    done = cli("best-of-n", scores, "--copy-to", "best")
    assert "best of 3: 2.png" in done.stderr
    every = cli("best-of-n", scores, "--abstain-below", "1", "--calibration", fit, "--copy-to", "c")
    assert (every.returncode, every.stdout) == (0, "")
    assert every.stderr.count("abstained") == 2


def test_curve(cli: Cli, scores: Path) -> None:
    one, two = lines(cli("best-of-n", scores, "--curve").stdout)
    cat = [1.0, 3.0, 2.5]

    def mean(mu: float) -> float:
        return 1 / (1 + 2.718281828**-mu)

    pairs = [mean(max(a, b)) for a, b in ((cat[0], cat[1]), (cat[0], cat[2]), (cat[1], cat[2]))]
    assert two["expected_best"] == pytest.approx((sum(pairs) / 3 + mean(2)) / 2, abs=1e-6)
    singles = (sum(map(mean, cat)) / 3 + mean(2)) / 2
    assert one["expected_best"] == pytest.approx(singles, abs=1e-6)
    assert two["gain"] == pytest.approx(two["expected_best"] - one["expected_best"])
    assert one["low"] <= one["expected_best"] <= one["high"]
    assert "+0." in cli("best-of-n", scores, "--curve", "--table").stdout


def test_a_table_fits_80_columns(cli: Cli, tmp_path: Path) -> None:
    name = "renders/2026-11-25/" + "long" * 20 + "/the_file.png"
    rows = [scored_row(name, 1.0, "a prompt " * 30), scored_row("b", 2.0, "[red]other")]
    done = cli("best-of-n", write(tmp_path / "s.jsonl", rows), "--table", COLUMNS="80")
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert "ile.png" in done.stdout
    assert "[red]other" in done.stdout


OTHER = {"settings": "ffffffffffff"}
BAD = [
    ([scored_row("a", 1), scored_row("b", 2, **OTHER)], 2, "rows of 2 different settings"),
    ([{"id": "a", "status": "ok", "overall_mu": 1.0}], 2, "lacks the columns media, prompt"),
    ([scored_row("a", None), scored_row("b", None)], 1, "all 2 rows of"),
]


@pytest.mark.parametrize(("rows", "code", "words"), BAD)
def test_scored_files_that_cannot_be_used(
    cli: Cli, tmp_path: Path, rows: list, code: int, words: str
) -> None:
    done = cli("best-of-n", write(tmp_path / "s.jsonl", rows))
    assert (done.returncode, done.stdout) == (code, "")
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_no_rows_and_one_row(cli: Cli, tmp_path: Path) -> None:
    empty = pa.Table.from_pylist([scored_row("a", 1.0)]).slice(0, 0)
    pq.write_table(empty, tmp_path / "empty.parquet")
    done = cli("best-of-n", tmp_path / "empty.parquet")
    assert (done.returncode, done.stderr) == (1, f"error: {tmp_path}/empty.parquet holds no rows\n")
    one = cli("best-of-n", write(tmp_path / "s.jsonl", [scored_row("a", 1.0)]), "--json")
    [record] = lines(one.stdout)
    assert (one.returncode, record["margin"], record["scored"]) == (0, None, 1)


def test_rows_with_errors_take_no_part_and_are_counted(cli: Cli, tmp_path: Path) -> None:
    rows = [scored_row("a.png", 1.0), scored_row("b.png", None)]
    done = cli("best-of-n", write(tmp_path / "s.jsonl", rows))
    assert (done.returncode, done.stdout) == (0, "a.png\n")
    assert "1 row with errors left out" in done.stderr
    assert "no pick" not in done.stderr
    done = cli("filter", tmp_path / "s.jsonl", "--top", 5)
    assert (done.returncode, done.stdout) == (0, "a.png\n")
    assert "1 row with errors left out" in done.stderr


@pytest.mark.parametrize("options", [[], ["--per", "folder"], ["--per-match", "^x/."]])
def test_groups_without_a_score_are_named(cli: Cli, tmp_path: Path, options: list[str]) -> None:
    names = [f"x/{folder}/{n}.png" for folder in "abcd" for n in range(2)]
    lost = ("x/a/0.png", "x/b/0.png", "x/b/1.png")
    rows = [scored_row(name, None if name in lost else 1.0, name[:3]) for name in names]
    # The scores of a group without the chosen axis.
    rows[6] |= {"style_mu": None}
    rows[7] |= {"style_mu": None}
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "s.parquet")
    done = cli("best-of-n", tmp_path / "s.parquet", *options, "--json")
    assert (done.returncode, len(lines(done.stdout))) == (0, 3)
    said = "1 of 4 groups has no pick, since none of its rows has a score: 'x/b'\n"
    assert said in done.stderr
    file = write(tmp_path / "s.jsonl", rows)
    done = cli("best-of-n", file, *options, "--axis", "style", "--json")
    assert (done.returncode, len(lines(done.stdout))) == (0, 2)
    said = "2 of 4 groups have no pick, since none of their rows has a score: 'x/b', 'x/d'\n"
    assert said in done.stderr


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--axis", "beauty"), "no axis beauty"),
        (("--axis", "style", "--weights", "style=1"), "cannot be used together"),
        (("--per", "seed", "--per-match", "x"), "cannot be used together"),
        (("--per", "nothing"), "no column nothing"),
        (("--per-match", "["), "invalid regular expression"),
        (("--abstain-below", "0.9"), "does not name its model"),
        (("--abstain-below", "0.9", "--axis", "style"), "only overall has"),
        (("--prompt", "a cat"), "not allowed with the scored file"),
        (("--axis", "temporal"), "no row has a score on temporal"),
    ],
)
def test_usage(cli: Cli, scores: Path, options: tuple, words: str) -> None:
    done = cli("best-of-n", scores, *options)
    assert done.returncode == (1 if "temporal" in options else 2)
    assert words in done.stderr


def test_scored_files_and_media_do_not_mix(cli: Cli, scores: Path) -> None:
    done = cli("best-of-n", scores, "1.png", "--prompt", "x", *TINY)
    assert done.returncode == 2
    assert "is a scored file, 1.png is not" in done.stderr


@pytest.mark.slow
def test_two_clean_of_eight_are_found(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Chance is 25 %; these scenes are the same each time, and the built-in model finds 98 %."""
    monkeypatch.syspath_prepend(str(EXAMPLES / "tiny"))
    import drawing
    import sampling
    import scenes

    prompts, rows, clean = 60, [], set()
    for index in range(prompts):
        rng = random.Random(f"best of eight {index}")
        caption = scenes.random_caption(rng)
        kept = rng.sample(range(8), 2)
        for at in range(8):
            defects = drawing.Defects()
            while at not in kept and not defects.severity:
                defects = sampling.random_defects(rng, clips=False)
            name = f"{index:03d}_{at}.png"
            scene, _ = drawing.show(caption, defects, rng)
            drawing.render(scene, defects, rng, rng.choice((128, 192, 256))).save(tmp_path / name)
            rows.append((name, caption.text, index))
            if at in kept:
                clean.add(name)
    with (tmp_path / "items.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("media", "prompt", "group"), *rows])
    done = cli("best-of-n", tmp_path / "items.csv", *TINY, "-q")
    assert done.returncode == 0
    winners = [Path(line).name for line in done.stdout.splitlines()]
    assert len(winners) == prompts
    found = sum(name in clean for name in winners) / prompts
    print(f"a clean one in {found:.1%}")
    assert found >= 0.93


@pytest.mark.parametrize("call", ["unlink", "hardlink_to"])
def test_a_killed_move_of_scored_media_goes_on_with_the_same_choice(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    def run(*flags: object) -> CompletedProcess[str]:
        return cli("best-of-n", *flags, "--move-to", "best", *TINY, "--prompt-from", "folder",
                   "-o", "best.jsonl")  # fmt: skip

    def found() -> dict[str, bytes]:
        return {str(p): p.read_bytes() for p in Path().rglob("*") if p.suffix in (".png", ".jsonl")}

    for place in ("whole", "killed"):
        for seed in range(4):
            file = tmp_path / place / "in" / ("red", "blue")[seed % 2] / f"{seed}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            picture(seed=seed).save(file)
    monkeypatch.chdir("whole")
    assert run("in").returncode == 0
    whole, first = found(), Path("best.jsonl").read_text()
    monkeypatch.chdir("../killed")
    real, calls = getattr(Path, call), []

    def killed(self: Path, *args: object, **options: object) -> None:
        if self.parent.name in ("red", "blue", "best") and self.suffix == ".png":
            calls.append(self)
            if len(calls) == 2:
                raise KeyboardInterrupt
        real(self, *args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Path, call, killed)
        assert run("in").returncode == 130
    refused = run("in", "--animated", "still")
    assert (refused.returncode, "was interrupted" in refused.stderr) == (2, True), refused.stderr
    assert run("in").returncode == 0
    names = {name: content for name, content in found().items() if name.endswith(".png")}
    assert names == {name: content for name, content in whole.items() if name.endswith(".png")}
    second = Path("best.jsonl").read_text()
    assert second == first.replace("/whole/", "/killed/")
    assert not list(Path("best").glob("_moving*"))
