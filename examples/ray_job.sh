#!/usr/bin/env bash
# A run as a job of a running Ray cluster; `ray job submit` waits for its end and shows its output.
#
#   examples/ray_job.sh http://HEAD:8265 /shared/manifest.parquet /shared/scores
#
# Every path must be absolute, and the same on every node: the job starts in a folder that only the
# head has. The nodes need librehps with the extra `ray`, the head `ray[default]` for its job server.
# Submit the same again to continue after a failure: complete parts stay. Where the cluster uses
# tokens, set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN.
#
# Further arguments go to `librehps score` as they are (--num-gpus 1 --concurrency 64, --model ...).
set -euo pipefail

server=${1:?usage: ray_job.sh http://HEAD:8265 SOURCE FOLDER [ARGUMENTS]}
source=${2:?usage: ray_job.sh http://HEAD:8265 SOURCE FOLDER [ARGUMENTS]}
folder=${3:?usage: ray_job.sh http://HEAD:8265 SOURCE FOLDER [ARGUMENTS]}
shift 3

# The job joins the cluster at the variable RAY_ADDRESS, which Ray sets for it. An end with 3 is no
# failure: the run has finished, and the rows of items that could not be scored say why.
ray job submit --address "$server" -- sh -c '"$@" || [ $? = 3 ]' sh \
	librehps score "$source" "$@" --engine ray -o "$folder" --resume
