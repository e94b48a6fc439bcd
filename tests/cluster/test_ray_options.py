"""`--engine ray`: what it refuses, and how actors are spread over the nodes of a cluster."""

import importlib.util
import re
from pathlib import Path

import pytest

from conftest import Cli
from librehps.errors import UsageError
from librehps.runs.options import RayOptions
from librehps.runs.ray.cluster import spread
from make_media import picture


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--engine", "ray"), "Add -o FOLDER"),
        (("--engine", "ray", "-o", "-"), "Add -o FOLDER"),
        (("--engine", "ray", "-o", "x.parquet"), "a folder, such as -o scores"),
        (("--num-gpus", "1"), "need --engine ray"),
        (
            ("--engine", "ray", "-o", "x", "--num-gpus", "1.5"),
            "expected at most 1 or a whole number",
        ),
        (("--engine", "ray", "-o", "x", "--ray-address", "ray://h:1"), "cannot stream data"),
        (
            ("--engine", "ray", "-o", "x", "--ray-address", "http://h:1"),
            "expected HOST:PORT or auto",
        ),
        (("--concurrency", "2", "-o", "x.parquet"), "need --engine ray"),
    ],
)
def test_what_cannot_be_meant(
    tmp_path: Path, cli: Cli, arguments: tuple[str, ...], said: str
) -> None:
    picture().save(tmp_path / "a.png")
    done = cli("score", tmp_path / "a.png", "--prompt", "x", "--model", "tiny", *arguments)
    assert done.returncode == 2
    assert said in done.stderr


def node(cores: float = 0, gpus: float = 0) -> dict[str, float]:
    return {"CPU": cores, "GPU": gpus, "memory": 1e9}


@pytest.mark.parametrize(
    ("asked", "nodes", "layout"),
    [
        (RayOptions(), [node(16, 8), node(), node(16, 2)], (10, 1.0, 0.0)),
        (RayOptions(num_gpus=2, actors=3), [node(4, 4), node(4, 3)], (3, 2.0, 0.0)),
        (RayOptions(num_gpus=0.1), [node(4, 1)], (10, 0.1, 0.0)),
        (RayOptions(num_gpus=0, actors=2), [node(4, 1)], (2, 0.0, 2.0)),
        (RayOptions(), [node(), node(8), node(8)], (2, 0.0, 8.0)),
        # As many cores for each as both find on one node.
        (RayOptions(), [node(2), node(4)], (2, 0.0, 2.0)),
    ],
)
def test_places(
    asked: RayOptions, nodes: list[dict[str, float]], layout: tuple[int, float, float]
) -> None:
    found = spread(asked, "auto", nodes)
    assert (found.actors, found.num_gpus, found.num_cpus) == layout


@pytest.mark.parametrize(
    ("asked", "nodes", "said"),
    [
        (RayOptions(), [node()], "no node with cores or GPUs"),
        (
            RayOptions(num_gpus=1),
            [node(8)],
            "1 actors with 1 GPUs each do not fit: the cluster has 0 GPUs",
        ),
        # Together they have three, but no actor lives on two nodes.
        (RayOptions(num_gpus=3), [node(8, 2), node(8, 1)], "has 3 GPUs, for 0 actors"),
        (RayOptions(actors=9), [node(8)], "9 actors do not fit: the cluster has 8 cores"),
    ],
)
def test_no_room(asked: RayOptions, nodes: list[dict[str, float]], said: str) -> None:
    with pytest.raises(UsageError, match=re.escape(said)):
        spread(asked, "auto", nodes)


def test_a_cluster_that_is_not_there(tmp_path: Path, cli: Cli) -> None:
    picture().save(tmp_path / "a.png")
    command = ("score", tmp_path / "a.png", "--prompt", "x", "--model", "tiny", "--engine", "ray")
    done = cli(*command, "-o", tmp_path / "out", "--ray-address", "127.0.0.1:1")
    assert done.returncode == 1, done.stderr
    assert "Ray: cannot join at 127.0.0.1:1: " in done.stderr
    assert not (tmp_path / "out").exists()


def test_without_ray(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cli: Cli) -> None:
    picture().save(tmp_path / "a.png")
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: None if name == "ray" else found(name, *a)
    )
    command = ("score", tmp_path / "a.png", "--prompt", "x", "--engine", "ray")
    done = cli(*command, "-o", tmp_path / "out")
    assert done.returncode == 1
    assert "pip install -c constraints.txt '.[ray]'" in done.stderr
