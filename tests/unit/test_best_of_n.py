"""Best of n: groups, scores, picks, and the gain of more samples."""

from itertools import combinations

import numpy as np
import pyarrow as pa
import pytest

from librehps.decide.curve import MAX_POINTS, curve, expected_best
from librehps.decide.groups import group_by, group_by_pattern
from librehps.decide.names import MAX_SLUG_BYTES, readable_names
from librehps.decide.probability import Platt
from librehps.decide.rank import MAX_NAMED_TIES, pick_best, rank
from librehps.decide.weights import Weights, parse_weights
from librehps.errors import UsageError

FIT = Platt(2, 0.5)


def ranked(scores: list[float], groups: str) -> list[list[int]]:
    found = rank(np.array(scores), np.array([ord(name) for name in groups]))
    return [
        found.rows[start : start + size].tolist()
        for start, size in zip(found.starts, found.sizes, strict=True)
    ]


def picks(scores: list[float], groups: str, *args: object, **options: object) -> list:
    return pick_best(rank(np.array(scores), np.array([ord(n) for n in groups])), *args, **options)


def test_groups_keep_their_order_and_equals_theirs() -> None:
    assert ranked([1, 5, 3, 5, 2, np.nan], "bababa") == [[2, 4, 0], [1, 3]]
    assert ranked([np.nan], "a") == []
    assert ranked([], "") == []


def test_picks() -> None:
    first, second = picks([1, 3, 2, 2.5, 2], "ppgpg", FIT)
    assert (first.rows, first.scored, first.margins) == ((1,), 3, (0.5,))
    assert first.win_probabilities == (FIT.probability(0.5),)
    assert (second.rows, second.ties, second.win_probabilities) == ((2,), ((4,),), (0.5,))
    assert (first.tied, second.tied) == ((0,), (1,))
    [alone] = picks([1], "a", FIT)
    assert (alone.margins, alone.win_probabilities, alone.abstained) == ((None,), (None,), False)


def test_many_ties_are_counted_and_the_first_named() -> None:
    [pick] = picks([1.0] * 50_000 + [0.5], "a" * 50_001, FIT, top=1000)
    assert set(pick.tied) == {49_999}
    assert pick.ties[0] == tuple(range(1, MAX_NAMED_TIES + 1))
    assert pick.ties[3] == (0, 1, 2, *range(4, MAX_NAMED_TIES + 1))
    [pick] = picks([3.0, 2.0, 2.0, 1.0], "aaaa", FIT, top=4)
    assert (pick.tied, pick.ties) == ((0, 1, 1, 0), ((), (2,), (1,), ()))


def test_the_best_so_many() -> None:
    [pick] = picks([1, 4, 3], "aaa", FIT, top=2)
    assert (pick.rows, pick.margins) == ((1, 2), (1, 2))
    [pick] = picks([1, 4, 3], "aaa", FIT, top=9)
    assert (pick.rows, pick.margins) == ((1, 2, 0), (1, 2, None))


def test_abstaining_looks_at_the_last_chosen_and_the_first_that_is_not() -> None:
    scores, sure = [9.0, 1.0, 0.9], FIT.probability(8)
    assert [p.abstained for p in picks(scores, "aaa", FIT, abstain_below=0.9)] == [False]
    assert [p.abstained for p in picks(scores, "aaa", FIT, 2, 0.9)] == [True]
    assert [p.abstained for p in picks(scores, "aaa", FIT, 3, 0.9)] == [False]
    assert [p.abstained for p in picks(scores, "aaa", FIT, abstain_below=sure)] == [False]


TABLE = pa.table(
    {
        "id": ["a/1_x.png", "a/2_x.png", "b/1_y.png", "c.png"],
        "media": ["r/a/1_x.png", None, "r/b/1_y.png", "c.png"],
        "prompt": ["p", "q", "p", "p"],
        "group": [None, None, "g", "p"],
        "seed": [1, 2, 1, None],
        "overall_mu": pa.array([1.0, 2.0, 3.0, 4.0], pa.float32()),
        "temporal_mu": pa.array([None, 1.0, None, None], pa.float32()),
    }
)


def labels(per: str) -> tuple[list[int], list[str]]:
    groups = group_by(TABLE, per)
    _, codes = np.unique(groups.codes, return_inverse=True)
    return codes.tolist(), groups.labels.to_pylist()


def test_groups_by_column_and_folder() -> None:
    codes, names = labels("prompt")
    assert names == ["p", "q", "p", "p"]
    assert codes[0] == codes[2] == codes[3] != codes[1]
    codes, names = labels("group")
    # A group called as a prompt is another one than the prompt's.
    assert names == ["p", "q", "g", "p"]
    assert len(set(codes)) == 4
    codes, names = labels("folder")
    assert names == ["r/a", "a", "r/b", "."]
    assert labels("all") == ([0, 0, 0, 0], ["all"] * 4)
    with pytest.raises(UsageError, match="cannot group by seed: 1 rows"):
        group_by(TABLE, "seed")
    with pytest.raises(UsageError, match="no column nothing"):
        group_by(TABLE, "nothing")


def test_groups_by_pattern() -> None:
    part = TABLE.slice(0, 3)
    assert group_by_pattern(part, r"(\d)_(\w)").labels.to_pylist() == ["1 x", "2 x", "1 y"]
    assert group_by_pattern(part, r"^\w").codes.tolist() == [0, 0, 1]
    paths = pa.table({"id": ["a b/c_1", "a/b c_2", "a b/c_3"]})
    assert group_by_pattern(paths, r"^([^/]*)/(.*)_").codes.tolist() == [0, 1, 0]
    with pytest.raises(UsageError, match="empty text"):
        group_by_pattern(paths, "x*")
    with pytest.raises(UsageError, match=r"1 of 4 ids do not match '_': 'c.png'"):
        group_by_pattern(TABLE, "_")
    with pytest.raises(UsageError, match="invalid regular expression"):
        group_by_pattern(TABLE, "(")


def test_mixes() -> None:
    weights = parse_weights("overall=2, temporal=0.5")
    np.testing.assert_equal(weights.scores(TABLE), [np.nan, 4.5, np.nan, np.nan])
    assert (weights.axis, Weights({"style": 3}).axis, parse_weights("style=-1").axis) == (
        None,
        "style",
        None,
    )
    assert dict(parse_weights("overall=1,style=0").weights) == {"overall": 1}
    for bad in ("", "overall", "=1", "overall=1,overall=2", "overall=nan", "style=0"):
        with pytest.raises(UsageError):
            parse_weights(bad)
    with pytest.raises(UsageError, match="no column style_mu"):
        parse_weights("style=1").scores(TABLE)


def test_the_expected_best_is_the_mean_over_all_subsets() -> None:
    values = np.sort(np.random.default_rng(1).normal(size=7))
    found = expected_best(values, 7)
    for n in range(1, 8):
        every = [max(chosen) for chosen in combinations(values, n)]
        assert found[n - 1] == pytest.approx(np.mean(every), abs=1e-12)


def test_a_curve_of_one_large_group() -> None:
    """Quantiles of a uniform: the best of n of them is expected at n / (n + 1)."""
    values = np.linspace(0, 1, 50_000)
    found = curve(rank(values, np.zeros(len(values), dtype=int)), values)
    assert (len(found.points), found.most) == (MAX_POINTS, 50_000)
    for n, point in enumerate(found.points, 1):
        assert point.value == pytest.approx(n / (n + 1), abs=1e-3)


def test_a_curve_over_groups() -> None:
    scores = np.array([0.1, 0.3, 0.2, 0.6, 0.4, 0.8])
    found = curve(rank(scores, np.array([0, 0, 1, 1, 2, 2])), scores)
    assert [point.value for point in found.points] == pytest.approx([0.4, (0.3 + 0.6 + 0.8) / 3])
    assert all(p.low <= p.value <= p.high for p in found.points)
    assert (found.groups, found.left_out, found.most) == (3, 0, 2)


def test_a_short_group_does_not_cut_the_curve() -> None:
    codes = np.array([g for g in range(20) for _ in range(1 if g == 3 else 4)])
    found = curve(rank(np.arange(len(codes), dtype=float), codes), np.ones(len(codes)))
    assert (len(found.points), found.groups, found.left_out) == (4, 19, 1)


def test_a_curve_is_within_its_interval_of_what_other_samples_give() -> None:
    """The truth by brute force: the best of n fresh samples, for 20,000 prompts."""
    rng = np.random.default_rng(5)
    hits = 0
    for _ in range(40):
        level = rng.normal(size=(60, 1))
        seen = (level + rng.normal(size=(60, 8))).ravel()
        found = curve(rank(seen, np.repeat(np.arange(60), 8)), seen)
        fresh = rng.normal(size=(20_000, 1)) + rng.normal(size=(20_000, 8))
        truth = [fresh[:, :n].max(axis=1).mean() for n in range(1, 9)]
        hits += sum(p.low <= t <= p.high for p, t in zip(found.points, truth, strict=True))
    # 95 % of 320 are 304; the eight of one curve go together.
    assert hits >= 280


def test_readable_names() -> None:
    prompts = [
        "A cat, on a sill!",
        "a cat on a sill",
        "../../etc/passwd",
        "日本の猫",
        "?!",
        "x" * 999,
    ]
    names = readable_names(prompts, [".png"] * 6, [1] * 6)
    assert names[:3] == ["A-cat-on-a-sill.png", "a-cat-on-a-sill-2.png", "etc-passwd.png"]
    assert names[3:5] == ["日本の猫.png", "untitled.png"]
    assert len(names[5]) == MAX_SLUG_BYTES + 4
    assert readable_names(["a", "a"], ["", ""], [1, 2]) == ["a-1", "a-2"]
    many = readable_names(["a", "a-2", "a", "a"], ["", "", "", ""], [1] * 4)
    assert len({name.lower() for name in many}) == 4
