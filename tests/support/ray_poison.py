"""The Ray engine by itself, with items that end their processes, or what nobody foresaw.

    python tests/support/ray_poison.py MEDIA FOLDER RUNS

Joins the cluster of RAY_ADDRESS, and prints (id, status, error) of each row of each run, or
("ended", "", why) where it ended, as JSON; RUNS are lists of ids by name.
"""

import json
import os
import sys
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path

from librehps import Item, LibreHPS
from librehps.errors import EngineError
from librehps.items.item_columns import columns_of
from librehps.runs.options import RayOptions
from librehps.runs.parts_job import PartsJob
from librehps.runs.ray import actor, cluster, connection, engine, pool
from librehps.scores.read import read_table


def find(item, content):
    if item.id.startswith("decoded"):
        os._exit(9)
    if item.id.startswith("odd"):
        raise KeyError("nobody foresaw this")
    return replace(item, prompt="a red circle")


def load():
    from librehps.engine import engine as local

    class Window(local.Window):
        def __init__(self, ready, *more):
            if any(one.item.id == "scored" and one.decoded for one in ready):
                os._exit(9)
            super().__init__(ready, *more)

    local.Window = Window
    return LibreHPS.from_pretrained("tiny")


class Listing:
    def __init__(self, ids):
        self.ids = ids

    def item_columns(self):
        return [columns_of([Item(name, Path(media), None) for name in self.ids])]

    def facts(self):
        return {
            "own_columns": {},
            "has_prompts": False,
            "skipped": 0,
            "containers": [],
            "dropped": [],
        }


def told(name, ids):
    pool.MAX_DEATHS = 2 if name == "all" else 16
    output = Path(folder, name)
    with PartsJob(output, resume=False) as job:
        job.begin(settings, {}, Listing(ids), "default")
        scoring = actor.Scoring(load, settings, find, job.journal.folder.absolute(), os.getcwd(), 1)
        workers = pool.Pool(here, layout, scoring, notes.append)
        with closing(engine.RayEngine(workers, connection.Head.of_cluster())) as scorer:
            try:
                for _ in job.run_parts(scorer.run):
                    pass
            except EngineError as error:
                return [["ended", "", str(error)]]
        job.finish(settings, "default")
    return [[row["id"], row["status"], row["error"]] for row in read_table([output])[0].to_pylist()]


media, folder, runs = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
here, notes = connection.resolved(RayOptions(actors=1)), []
connection.HEAD_PROBE_INTERVAL_S = 0
with connection.connected(here):
    layout = cluster.find_layout(here, "cpu")
    settings = cluster.foresee(partial(LibreHPS.foresee, "tiny"), layout)
    found = {name: told(name, ids) for name, ids in runs.items()}
    found["notes"] = [["", "", note] for note in notes]
json.dump(found, sys.stdout)
