#!/usr/bin/env bash
# One GPU a task, each scores its own part of a source, and no task knows of another:
#
#   sbatch --array=1-64 examples/slurm_array.sh manifest.parquet scores
#
# Which part an item falls into follows from its id alone, so that the tasks need not run at once.
# Submit the same again to go on after a failure: what is scored stays. Some tasks alone need to be
# told of how many they are:
#
#   SHARDS=64 sbatch --array=3,5 examples/slurm_array.sh manifest.parquet scores
#
# When all are done, the folder is read as one; while a part is missing or unfinished, it is refused:
#
#   librehps best-of-n scores --per prompt
#
# Further arguments go to `librehps score` as they are (--prompt-from sidecar, --model ...).
#SBATCH --job-name=librehps
#SBATCH --nodes=1
#SBATCH --ntasks=1
#SBATCH --gpus-per-task=1
#SBATCH --cpus-per-task=8
#SBATCH --mem=48G
#SBATCH --requeue
#SBATCH --signal=TERM@60
set -euo pipefail

source=${1:?usage: sbatch --array=1-N slurm_array.sh SOURCE FOLDER [ARGUMENTS]}
folder=${2:?usage: sbatch --array=1-N slurm_array.sh SOURCE FOLDER [ARGUMENTS]}
shift 2
task=${SLURM_ARRAY_TASK_ID:?needs --array=1-N}
shards=${SHARDS:-$SLURM_ARRAY_TASK_COUNT}
# The count is of the tasks submitted: of 1-7:2 it is 4, and some parts would never be scored.
if [[ -z ${SHARDS:-} ]] &&
	[[ $SLURM_ARRAY_TASK_MIN != 1 || $SLURM_ARRAY_TASK_MAX != "$SLURM_ARRAY_TASK_COUNT" ]]; then
	echo "the array must be 1-N; for some of N tasks: SHARDS=N sbatch --array=..." >&2
	exit 2
fi

mkdir -p "$folder"
part=$(printf '%05d' "$task")
code=0
srun librehps score "$source" "$@" --shard "$task/$shards" \
	-o "$folder/$part.parquet" --resume || code=$?
# 3: finished, and the rows of items that could not be scored say why.
[[ $code == 3 ]] || exit "$code"
