"""The examples for clusters: Ray's own schema, and Slurm's script with a stand-in."""

import json
import os
import shlex
import subprocess
from pathlib import Path

import jsonschema
import pytest
import ray
import yaml

import forks
from conftest import EXAMPLES, Cli
from make_media import picture

SCRIPT = EXAMPLES / "slurm_array.sh"


def test_the_cluster_is_one_that_ray_takes() -> None:
    config = yaml.safe_load((EXAMPLES / "ray_cluster.yaml").read_text())
    schema = Path(ray.__file__).parent / "autoscaler" / "ray-schema.json"
    jsonschema.validate(config, json.loads(schema.read_text()))
    kinds = config["available_node_types"]
    assert config["head_node_type"] in kinds
    assert kinds["gpu"]["min_workers"] == kinds["gpu"]["max_workers"] == config["max_workers"] == 8


def test_the_job_for_kubernetes() -> None:
    """The fields that KubeRay requires; both kinds of nodes see the paths of the command."""
    job = yaml.safe_load((EXAMPLES / "kuberay_job.yaml").read_text())
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    assert job["metadata"]["name"]
    cluster = job["spec"]["rayClusterSpec"]
    workers = cluster["workerGroupSpecs"][0]
    assert workers["minReplicas"] <= workers["replicas"] <= workers["maxReplicas"]
    words = shlex.split(job["spec"]["entrypoint"])
    gpus = workers["template"]["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"]
    actors = words[words.index("--concurrency") + 1]
    assert int(actors) == workers["maxReplicas"] * int(gpus)
    paths = [word for word in words[2:] if "/" in word]
    for group in (cluster["headGroupSpec"], workers):
        assert set(group["rayStartParams"]) <= {"num-cpus"}
        pod = group["template"]["spec"]
        mount = pod["containers"][0]["volumeMounts"][0]
        assert mount["name"] == pod["volumes"][0]["name"]
        assert all(path.startswith(mount["mountPath"] + "/") or path == mount["mountPath"]
                   for path in paths)  # fmt: skip


def test_a_ray_cluster_in_a_slurm_job(tmp_path: Path) -> None:
    """The commands of the script, with stand-ins that write down how they were called."""
    log = tmp_path / "log"
    for name in ("srun", "librehps"):
        (tmp_path / name).write_text(f'#!/bin/sh\necho "{name} $RAY_ADDRESS $*" >> {log}\n')
    (tmp_path / "scontrol").write_text("#!/bin/sh\nprintf 'n1\\nn2\\n'\n")
    for name in ("srun", "librehps", "scontrol"):
        (tmp_path / name).chmod(0o755)
    slurm = {"JOB_NUM_NODES": 2, "JOB_NODELIST": "n[1-2]", "JOB_ID": 7, "GPUS_ON_NODE": 4,
             "CPUS_PER_TASK": 16}  # fmt: skip
    done = subprocess.run(
        ["bash", EXAMPLES / "slurm_ray.sh", "m.parquet", "out", "--model", "tiny"],
        capture_output=True, text=True, check=False,
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}",
             **{f"SLURM_{name}": str(value) for name, value in slurm.items()}},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = log.read_text().splitlines()
    assert any("--nodelist=n1 ray start --head --port=20007" in line for line in lines)
    assert all("--cpus-per-task=16" in line for line in lines if " ray start " in line)
    assert any("--exclude=n1 ray start --address=n1:20007" in line for line in lines)
    assert (
        "librehps n1:20007 score m.parquet --model tiny --engine ray --num-gpus 1 --concurrency 8 "
        "-o out --resume"
    ) in lines


@pytest.mark.parametrize(("end", "code"), [(0, 0), (3, 0), (1, 1)])
def test_a_job_of_a_running_cluster(tmp_path: Path, end: int, code: int) -> None:
    """Rows of errors are no failure of the job, whose command `ray` gets and runs."""
    scripts = {
        "ray": f'echo "$*" > {tmp_path}/log\nwhile [ "$1" != -- ]; do shift; done; shift; "$@"',
        "librehps": f'echo "$*" >> {tmp_path}/log\nexit {end}',
    }
    for name, script in scripts.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
    done = subprocess.run(
        ["bash", EXAMPLES / "ray_job.sh", "http://h:8265", "/m 1.parquet", "/out", "--json"],
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}, check=False,
    )  # fmt: skip
    assert done.returncode == code
    asked, scored = (tmp_path / "log").read_text().splitlines()
    assert asked.startswith("job submit --address http://h:8265 -- sh -c ")
    assert scored == "score /m 1.parquet --json --engine ray -o /out --resume"


def submitted(
    folder: Path, which: int, *arguments: object, shards: str = "", **array: int
) -> subprocess.CompletedProcess[str]:
    """A task of an array of two, with `srun` and `librehps` of our own on the path."""
    path = folder / "bin"
    path.mkdir(exist_ok=True)
    commands = {"srun": 'exec "$@"', "librehps": f'exec {shlex.join(forks.librehps())} "$@"'}
    for name, line in commands.items():
        (path / name).write_text(f"#!/bin/sh\n{line}\n")
        (path / name).chmod(0o755)
    slurm = {"ID": which, "COUNT": 2, "MIN": 1, "MAX": 2, **array}
    return subprocess.run(
        ["bash", SCRIPT, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "SHARDS": shards, "PATH": f"{path}:{os.environ['PATH']}",
             **{f"SLURM_ARRAY_TASK_{name}": str(value) for name, value in slurm.items()}},
    )  # fmt: skip


@pytest.mark.slow
def test_an_array_of_two(tmp_path: Path, cli: Cli) -> None:
    assert subprocess.run(["bash", "-n", SCRIPT], check=False).returncode == 0
    media, scores = tmp_path / "m", tmp_path / "scores"
    media.mkdir()
    for index in range(8):
        picture(seed=index).save(media / f"{index}.png")
    (media / "7.png").write_bytes(b"")
    for which in (1, 2):
        done = submitted(tmp_path, which, media, scores, "--prompt", "x", "--model", "tiny")
        assert done.returncode == 0, done.stderr
    assert sorted(f.name for f in scores.iterdir()) == ["00001.parquet", "00002.parquet"]
    for array in ({}, {"shards": "2", "MIN": 2, "COUNT": 1}):
        again = submitted(tmp_path, 2, media, scores, "--prompt", "x", "--model", "tiny", **array)
        assert "is complete" in again.stderr
    best = cli("best-of-n", scores, "--per", "prompt", "--top", 8, "--json")
    ids = [json.loads(line)["id"] for line in best.stdout.splitlines()]
    assert sorted(ids) == [f"{index}.png" for index in range(7)]


def test_what_the_script_cannot_do(tmp_path: Path) -> None:
    assert "usage: sbatch" in submitted(tmp_path, 1).stderr
    missing = submitted(tmp_path, 1, tmp_path / "none", tmp_path / "s", "--prompt", "x")
    assert missing.returncode == 2


@pytest.mark.parametrize("array", [{"MAX": 7, "COUNT": 4}, {"MIN": 2, "MAX": 3}])
def test_arrays_that_would_leave_parts_out(tmp_path: Path, array: dict[str, int]) -> None:
    done = submitted(tmp_path, 3, tmp_path, tmp_path / "s", "--prompt", "x", **array)
    assert done.returncode == 2
    assert "SHARDS=N sbatch" in done.stderr
    assert not (tmp_path / "s").exists()
