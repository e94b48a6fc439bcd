#!/usr/bin/env bash
# One GPU a task, each scores its own part of a source, and no task knows of another:
#
#   sbatch --array=1-64 examples/slurm_array.sh manifest.parquet scores
#
# Which part an item falls into follows from its id alone, so that the tasks need not run at once.
# Submit the same again to go on after a failure: what is scored stays. When all are done, the
# folder is read as one:
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
if [[ ${SLURM_ARRAY_TASK_MIN:?needs --array=1-N} != 1 ]]; then
	echo "the array must begin at 1" >&2
	exit 2
fi

mkdir -p "$folder"
part=$(printf '%05d' "$SLURM_ARRAY_TASK_ID")
code=0
# The count is of the array as it was submitted: give all tasks at once, not some of them.
srun librehps score "$source" "$@" --shard "$SLURM_ARRAY_TASK_ID/$SLURM_ARRAY_TASK_COUNT" \
	-o "$folder/$part.parquet" --resume || code=$?
# 3: finished, and the rows of items that could not be scored say why.
[[ $code == 3 ]] || exit "$code"
