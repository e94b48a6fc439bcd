"""The Ray engine by itself, with items that end their processes, or what nobody foresaw."""

import json
import subprocess

import pytest

import forks
from make_media import picture

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("forked_ray")]

POISON = """
import json, os, sys
from dataclasses import replace
from functools import partial
from librehps import LibreHPS
from librehps.runs.ray import cluster as ray, engine

def find(item, content):
    if item.id.startswith("decoded"):
        os._exit(9)
    if item.id.startswith("odd"):
        raise KeyError("nobody foresaw this")
    return replace(item, prompt="a red circle")

def load():
    found = engine.ready_of
    def fatal(table):
        return [os._exit(9) if one.item.id == "scored" else (at, one) for at, one in found(table)]
    engine.ready_of = fatal
    return LibreHPS.from_pretrained("tiny")

def told(ids):
    left = {at: '{"id": "%s", "media": "%s"}' % (id, media) for at, id in enumerate(ids)}
    try:
        for table in engine.RayEngine(here, layout, decoding, scoring).run(left.items, len(ids)):
            for row in table.to_pylist():
                yield [row["id"], row["status"], row["error"]]
                del left[row["librehps.index"]]
    except engine.EngineError as error:
        yield ["ended", "", str(error)]

media, runs = sys.argv[1], json.loads(sys.argv[2])
here = ray.RayOptions()
engine.MAX_FAILED_TASKS = engine.MAX_TASK_ATTEMPTS = 2
with ray.connected(here):
    layout = ray.find_layout(here, "cpu")
    settings = ray.foresee(partial(LibreHPS.foresee, "tiny"), layout)
    decoding = engine.Decoding(os.getcwd(), "tiny", None, False, 64, "auto", find)
    scoring = engine.Scoring(load, settings, {}, 1)
    found = {name: list(told(ids)) for name, ids in runs.items()}
json.dump(found, sys.stdout)
"""

GOOD = [f"g{index:02}" for index in range(20)]
RUNS = {
    "some": ["decoded", *GOOD, "scored"],
    "all": [f"decoded{index}" for index in range(24)],
    "odd": ["odd"],
}
Told = dict[str, list[list[str | None]]]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Told:
    """(id, status, error) of each row of each run, or ("ended", "", why) where it ended."""
    media = tmp_path_factory.mktemp("media") / "a.png"
    picture(64, 48).save(media)
    done = subprocess.run(
        [*forks.python(), "-c", POISON, media, json.dumps(RUNS)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found: Told = json.loads(done.stdout)
    return found


def test_items_that_kill_every_process_are_error_rows(told: Told) -> None:
    died = ["error", "all 4 processes that tried this item died"]
    wanted = [*([name, "ok", None] for name in GOOD), ["decoded", *died], ["scored", *died]]
    assert sorted(told["some"], key=str) == sorted(wanted, key=str)


def test_where_all_processes_die_the_run_ends(told: Told) -> None:
    (name, _, why), *_ = told["all"]
    assert name == "ended"
    assert why is not None and why.startswith("Ray failed:")


def test_what_nobody_foresaw_ends_the_run_and_says_where(told: Told) -> None:
    ((name, _, why),) = told["odd"]
    assert name == "ended"
    assert why is not None and "KeyError: 'nobody foresaw this' (" in why
