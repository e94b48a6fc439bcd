"""Judging without a browser: which pairs are asked, what the file holds, and who reads it."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from conftest import Cli
from judge_data import judge, session_of, write_pictures, write_scores
from librehps.errors import OutputError, UsageError
from librehps.judge.agreement import between_raters, within_raters
from librehps.judge.beliefs import Answer, Beliefs
from librehps.judge.gather import SourceOptions, gather
from librehps.judge.session import Plan, StaleQuestionError
from librehps.judge.summary import summarise
from librehps.preferences.read import read_preferences

EVERY_PAIR = Plan(pairs=100, repeat=0.25)


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    return write_pictures(tmp_path)


def lines(file: Path) -> list[dict]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_no_pair_is_asked_twice_but_for_repeats(outputs: Path, tmp_path: Path) -> None:
    file = tmp_path / "pairs.jsonl"
    session = session_of(outputs, file, EVERY_PAIR)
    asked = judge(session, "ann", 100)
    rows = lines(file)
    # 4 prompts of 3 generators: 12 pairs, a quarter of them once more.
    assert len(asked) == len(rows) == 15
    times = Counter(row["index"] for row in rows)
    assert sorted(times.values()) == [1] * 9 + [2] * 3
    for row in (row for row in rows if row["repeat"]):
        [first] = [one for one in rows if one["index"] == row["index"] and not one["repeat"]]
        assert (first["left"], row["left"]) == ("a", "b")
        assert row["repeat_overall"] == "b" and "overall" not in row
    assert len({row["pair_id"] for row in rows}) == len(rows)
    assert {(r["generator_a"], r["generator_b"]) for r in rows} <= {
        (a, b) for a in ("ant", "bee", "cow") for b in ("ant", "bee", "cow") if a != b
    }
    session.judgements.close()


def test_a_restart_goes_on_with_the_same_pair(outputs: Path, tmp_path: Path) -> None:
    file = tmp_path / "pairs.jsonl"
    session = session_of(outputs, file, EVERY_PAIR)
    judge(session, "ann", 4)
    waiting = session.question("ann")
    session.judgements.close()
    again = session_of(outputs, file, EVERY_PAIR)
    assert again.judged("ann") == 4
    assert again.question("ann").sides == waiting.sides
    judge(again, "ann", 100)
    first = [row["index"] for row in lines(file) if not row["repeat"]]
    assert len(first) == len(set(first)) == 12
    again.judgements.close()


def test_a_second_rater_shares_some_pairs(outputs: Path, tmp_path: Path) -> None:
    file = tmp_path / "pairs.jsonl"
    session = session_of(outputs, file, Plan(pairs=6, repeat=0.25))
    judge(session, "ann", 6)
    judge(session, "bob", 6)
    rows = lines(file)
    shared = [row for row in rows if row["choice"] == "shared"]
    assert [row["rater"] for row in shared] == ["bob"]
    [before] = [r for r in rows if r["index"] == shared[0]["index"] and r["rater"] == "ann"
                and not r["repeat"]]  # fmt: skip
    assert (before["media_a"], before["media_b"]) == (shared[0]["media_a"], shared[0]["media_b"])
    session.judgements.close()


def test_undo_takes_the_line_back_and_asks_again(outputs: Path, tmp_path: Path) -> None:
    file = tmp_path / "pairs.jsonl"
    session = session_of(outputs, file, EVERY_PAIR)
    judge(session, "ann", 2)
    other = judge(session, "bob", 1)
    last = lines(file)[1]
    assert session.undo("ann")
    assert [row["rater"] for row in lines(file)] == ["ann", "bob"]
    question = session.question("ann")
    assert session.pool.media[question.a] == last["media_a"] and question.left == last["left"]
    with pytest.raises(StaleQuestionError):
        session.answer("bob", other[0].ticket, {"overall": "left"})
    judge(session, "ann", 1, "tie")
    assert [row["overall"] for row in lines(file)] == ["a", "a", "tie"]
    assert not session.undo("eve")
    session.judgements.close()


def test_ties_and_skips_are_read_as_such(outputs: Path, tmp_path: Path) -> None:
    file = tmp_path / "pairs.jsonl"
    session = session_of(outputs, file, Plan(100, 0.25), axes=("style", "overall"))
    for side in ("left", "right", "tie", "skip", "left", "left", "left"):
        judge(session, "ann", 1, side)
    session.judgements.close()
    read = read_preferences(file)
    repeats = sum(row["repeat"] for row in lines(file))
    assert repeats == 1
    assert [pair.preference for pair in read.pairs][:3] == [
        {"overall": p, "style": p} for p in (1.0, 0.0, 0.5)
    ]
    assert read.left_out == {"skipped by the rater": 1, "judged again by the same rater": 1}
    assert len(read.pairs) == 5


def test_the_file_may_be_torn_foreign_or_of_other_questions(outputs: Path, tmp_path: Path) -> None:
    file = tmp_path / "pairs.jsonl"
    session = session_of(outputs, file, EVERY_PAIR)
    judge(session, "ann", 3)
    with pytest.raises(UsageError, match="another process is writing"):
        session_of(outputs, file, EVERY_PAIR)
    session.judgements.close()
    whole = file.read_bytes()
    file.write_bytes(whole + b'{"pair_id": "3/ann')
    session_of(outputs, file, EVERY_PAIR).judgements.close()
    assert file.read_bytes() == whole
    with pytest.raises(UsageError, match="asks about overall, not style"):
        session_of(outputs, file, EVERY_PAIR, axes=("style",))
    foreign = tmp_path / "other.jsonl"
    foreign.write_text('{"prompt": "x"}\n')
    with pytest.raises(UsageError, match="line 1: not a judgement"):
        session_of(outputs, foreign, EVERY_PAIR)
    broken = whole.replace(b'"overall": "a"', b'"overall": "c"', 1)
    file.write_bytes(broken)
    with pytest.raises(UsageError, match="line 1: expected a, b, tie or null"):
        session_of(outputs, file, EVERY_PAIR)
    assert foreign.read_text() == '{"prompt": "x"}\n'


def test_scores_choose_the_pair_whose_winner_is_least_certain(tmp_path: Path) -> None:
    scores = write_scores(tmp_path)
    session = session_of(scores, tmp_path / "pairs.jsonl", Plan(12, 0))
    asked = judge(session, "ann", 4)
    makers = [{session.pool.generator(q.a), session.pool.generator(q.b)} for q in asked]
    assert makers[0] == {"ant", "bee"}
    # Both sides are drawn.
    assert {row["choice"] for row in lines(tmp_path / "pairs.jsonl")} == {"active"}
    session.judgements.close()
    plain = session_of(scores, tmp_path / "plain.jsonl", Plan(12, 0, random=True))
    judge(plain, "ann", 12)
    rows = lines(tmp_path / "plain.jsonl")
    assert {row["choice"] for row in rows} == {"random"}
    assert len({(row["generator_a"], row["generator_b"]) for row in rows}) > 3
    plain.judgements.close()


def test_answers_outweigh_the_scores() -> None:
    beliefs = Beliefs()
    answers = [Answer(0, 0, 1, 4.0, 2.0, 0.0), Answer(0, 1, 2, 2.0, 0.0, 1.0)] * 10
    beliefs.learn(answers)
    low, high, last = beliefs.strengths(0, [0, 1, 2], [4.0, 2.0, 0.0])
    assert low < high and last < high
    pairs = (np.zeros(3, np.int64), np.array([0, 1, 0]), np.array([1, 2, 2]))
    mu = np.array([4.0, 2.0, 0.0])
    told = beliefs.gain(*pairs, mu[pairs[1]], mu[pairs[2]])
    # The pair that nobody has judged, and that is close, tells most.
    assert told.argmax() == 2
    unknown = [np.zeros(1, np.int64), np.array([7]), np.array([8]), np.zeros(1), np.zeros(1)]
    assert beliefs.gain(*unknown)[0] > told.max()


def test_contradictory_answers_bring_contestants_together() -> None:
    pairs = [(0, 1), (1, 2), (2, 0)]
    clear, torn, one_by_one = Beliefs(), Beliefs(), Beliefs()
    clear.learn([Answer(0, a, b, 0.0, 0.0, float(a < b)) for a, b in pairs] * 8)
    answers = [Answer(0, a, b, 0.0, 0.0, outcome) for a, b in pairs for outcome in (1.0, 0.0)] * 4
    torn.learn(answers)
    for answer in answers:
        one_by_one.learn([answer])
    far, near = (one.strengths(0, [0, 1, 2, 9], [0.0] * 4) for one in (clear, torn))
    assert far[0] - far[2] > 4 and far[3] == 0
    assert np.abs(near).max() < 1e-6
    # A contestant without answers is expected to be as close as the others.
    known = (np.zeros(1, np.int64), np.array([0]), np.array([9]), np.zeros(1), np.zeros(1))
    unknown = (known[0], np.array([8]), *known[2:])
    told = [(one.gain(*known)[0], one.gain(*unknown)[0]) for one in (torn, one_by_one, clear)]
    assert told[2][1] > 2 * told[0][1]
    # A restart learns all at once.
    assert told[0] == pytest.approx(told[1], rel=1e-5)


def test_items_compete_where_no_generators_are_named(tmp_path: Path) -> None:
    scores = write_scores(tmp_path)
    session = session_of(scores, tmp_path / "pairs.jsonl", Plan(4, 0), by=None)
    asked = judge(session, "ann", 4)
    # One close pair of each prompt, before any prompt is asked twice.
    assert len({int(session.pool.prompt[q.a]) for q in asked}) == 4
    assert all({session.pool.media[q.a].split("/")[-2], session.pool.media[q.b].split("/")[-2]}
               == {"ant", "bee"} for q in asked)  # fmt: skip
    session.judgements.close()


def test_unreadable_media_are_left_out(outputs: Path, tmp_path: Path, caplog) -> None:
    from librehps.judge.media import Shelf

    (outputs / "ant" / "0.png").write_bytes(b"no picture")
    session = session_of(outputs, tmp_path / "pairs.jsonl", EVERY_PAIR)
    session._problem = Shelf(session.pool).problem
    asked = judge(session, "ann", 100)
    shown = {session.pool.media[item] for question in asked for item in question.sides}
    assert len(shown) == 11 and "outputs/ant/0.png" not in shown
    assert sum("0.png" in record.message for record in caplog.records) == 1
    session.judgements.close()


def test_agreement_is_krippendorffs_alpha(outputs: Path, tmp_path: Path) -> None:
    session = session_of(outputs, tmp_path / "pairs.jsonl", EVERY_PAIR)
    judge(session, "ann", 4)
    rows = list(session.judgements.rows)
    session.judgements.close()
    assert between_raters(rows, "overall").alpha is None
    from dataclasses import replace

    given = list(zip("abab", "abbb", strict=True))
    both = [replace(row, rater=rater, answers={"overall": pair[at]})
            for row, pair in zip(rows, given, strict=True)
            for at, rater in enumerate(("ann", "bob"))]  # fmt: skip
    found = between_raters(both, "overall")
    # Observed disagreement 2 / 8, expected 2 * 3 * 5 / (8 * 7).
    assert found.alpha == pytest.approx(1 - (2 / 8) / (30 / 56))
    assert (found.pairs, found.same) == (4, 0.75)
    again = [*rows, *(replace(row, choice="repeat") for row in rows)]
    assert within_raters(again, "overall").alpha == 1


def test_the_summary_says_what_the_pairs_suffice_for(outputs: Path, tmp_path: Path) -> None:
    session = session_of(outputs, tmp_path / "pairs.jsonl", EVERY_PAIR)
    judge(session, "ann", 100)
    text = "\n".join(summarise(session.judgements.rows, ["overall"]))
    session.judgements.close()
    assert "12 pairs with 12 judgements of 1 rater, 3 judged again, 0 skipped" in text
    assert "raters with themselves: alpha" in text
    assert "+-5 from 290" in text and "of at least 50 pairs" in text


def test_the_first_axis_needs_scores(tmp_path: Path, cli: Cli) -> None:
    scores = write_scores(tmp_path, prompts=1)
    done = cli("judge", scores, "--axis", "alignment", "--out", tmp_path / "x.jsonl", "--no-open")
    assert done.returncode == 2 and "alignment_mu" in done.stderr
    assert not (tmp_path / "x.jsonl.lock").exists()


def test_what_cannot_be_judged_is_refused(tmp_path: Path, cli: Cli) -> None:
    import tarfile

    outputs = write_pictures(tmp_path, prompts=1)
    alone = SourceOptions(prompt_from="sidecar")
    with pytest.raises(UsageError, match="no prompt has two media"):
        gather([str(outputs / "ant")], tmp_path / "pairs.jsonl", alone)
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        for name in ("ant", "bee"):
            tar.add(outputs / name / "0.png", f"{name}.png")
            tar.add(outputs / name / "0.txt", f"{name}.txt")
    with pytest.raises(UsageError, match="inside tars and Parquet files"):
        gather([str(tmp_path / "x.tar")], tmp_path / "pairs.jsonl", alone)
    for flags, reason in (
        (("--out", "pairs.parquet"), "name a .jsonl file"),
        (("--out", "pairs.jsonl", "--axis", "beauty"), "--axis: expected overall"),
        (("--out", "pairs.jsonl", "--repeat", "lots"), "--repeat: expected a share"),
        (("--out", "pairs.jsonl", "--port", "70000"), "--port"),
        (("--out", "pairs.jsonl", "--rater", " "), "--rater: expected a name"),
    ):
        done = cli("judge", outputs, "--prompt-from", "sidecar", "--no-open", *flags)
        assert done.returncode == 2 and reason in done.stderr, done.stderr


def test_a_full_disk_leaves_whole_lines(
    outputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "pairs.jsonl"
    session = session_of(outputs, file, EVERY_PAIR)
    judge(session, "ann", 1)
    whole = file.read_bytes()

    def full(handle: int, path: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("librehps.judge.judgements.sync_open", full)
    with pytest.raises(OutputError, match="No space left"):
        judge(session, "ann", 1)
    assert file.read_bytes() == whole and session.judged("ann") == 1
    monkeypatch.undo()
    judge(session, "ann", 1)
    session.judgements.close()
    assert len(lines(file)) == 2


def test_a_last_line_without_an_end_is_kept(outputs: Path, tmp_path: Path) -> None:
    file = tmp_path / "pairs.jsonl"
    session = session_of(outputs, file, EVERY_PAIR)
    judge(session, "ann", 2)
    session.judgements.close()
    whole = file.read_bytes()
    file.write_bytes(whole[:-1])
    again = session_of(outputs, file, EVERY_PAIR)
    again.judgements.close()
    assert again.judged("ann") == 2 and file.read_bytes() == whole
    foreign = tmp_path / "notes.jsonl"
    foreign.write_text("my notes")
    with pytest.raises(UsageError, match="line 1: not a judgement"):
        session_of(outputs, foreign, EVERY_PAIR)
    assert foreign.read_text() == "my notes"


def test_a_pair_whose_media_vanish_is_replaced(outputs: Path, tmp_path: Path) -> None:
    from librehps.judge.media import Shelf

    session = session_of(outputs, tmp_path / "pairs.jsonl", EVERY_PAIR)
    session._problem = Shelf(session.pool).problem
    question = session.question("ann")
    (tmp_path / session.pool.media[question.a]).unlink()
    other = session.question("ann")
    assert question.a not in other.sides
    session.judgements.close()


def test_answers_on_media_that_the_pool_lacks_stay(outputs: Path, tmp_path: Path) -> None:
    file = tmp_path / "pairs.jsonl"
    session = session_of(outputs, file, EVERY_PAIR)
    judge(session, "ann", 3)
    session.judgements.close()
    other = tmp_path / "other"
    other.mkdir()
    session = session_of(write_pictures(other), file, EVERY_PAIR)
    assert not session.undo("ann") and len(lines(file)) == 3
    session.judgements.close()
