#!/usr/bin/env bash
# A Ray cluster in a Slurm job, and one run on it:
#
#   sbatch --nodes=8 examples/slurm_ray.sh /shared/manifest.parquet /shared/scores
#
# SOURCE, FOLDER and the working folder must be on storage that every node has. Submit the same again
# to continue after a failure or a time limit: complete parts stay. The run starts with the first
# node, and nodes that come later take their share. For machines without Ray: slurm_array.sh.
#
# Further arguments go to `librehps score` as they are (--prompt-from sidecar, --model ...).
#SBATCH --job-name=librehps-ray
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=64
#SBATCH --exclusive
#SBATCH --requeue
set -euo pipefail

source=${1:?usage: sbatch --nodes=N slurm_ray.sh SOURCE FOLDER [ARGUMENTS]}
folder=${2:?usage: sbatch --nodes=N slurm_ray.sh SOURCE FOLDER [ARGUMENTS]}
shift 2
nodes=${SLURM_JOB_NUM_NODES:?needs sbatch}
gpus=${SLURM_GPUS_ON_NODE:-0}

hosts=$(scontrol show hostnames "$SLURM_JOB_NODELIST")
head=${hosts%%$'\n'*}
# Two jobs on one node need two ports.
port=$((20000 + SLURM_JOB_ID % 20000))
export RAY_ADDRESS=$head:$port
# Else any user of the network could run commands on these nodes.
export RAY_AUTH_MODE=token
RAY_AUTH_TOKEN=${RAY_AUTH_TOKEN:-$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')}
export RAY_AUTH_TOKEN

# Slurm does not pass on the cores of a task, and gives a step one.
each=(srun --overlap --cpus-per-task="${SLURM_CPUS_PER_TASK:-1}")
one=("${each[@]}" --nodes=1 --ntasks=1 --nodelist="$head")
"${one[@]}" ray start --head --port="$port" --disable-usage-stats --block &
for _ in {1..60}; do
	"${one[@]}" ray health-check --address "$RAY_ADDRESS" >/dev/null 2>&1 && break
	sleep 2
done
if ((nodes > 1)); then
	"${each[@]}" --nodes=$((nodes - 1)) --ntasks=$((nodes - 1)) --exclude="$head" \
		ray start --address="$RAY_ADDRESS" --disable-usage-stats --block &
fi

actors=()
if ((gpus > 0)); then
	actors=(--num-gpus 1 --concurrency $((nodes * gpus)))
fi
code=0
# Joins the cluster at RAY_ADDRESS.
librehps score "$source" "$@" --engine ray "${actors[@]}" -o "$folder" --resume || code=$?
# 3: finished, and the rows of items that could not be scored say why.
[[ $code == 3 ]] || exit "$code"
