#!/bin/sh
# Submits a job and waits for its end: shows what it wrote, and ends as it ended.
#
#     submit.sh SCRIPT [OPTIONS OF SBATCH]...
#
# SLURM_SHARED is a directory that the nodes have under the same name, and the token's user can
# write to.
set -eu

# Some runners keep a secret of type file where others can write, and straw uses no such file.
if [ -n "${SLURM_JWT_FILE:-}" ]; then
    SLURM_JWT=$(cat "$SLURM_JWT_FILE")
    export SLURM_JWT
    unset SLURM_JWT_FILE
fi

script=$1
shift
directory=$(mktemp -d "$SLURM_SHARED/job-XXXXXXXX")
trap 'rm -rf "$directory"' EXIT
status=0
sbatch --wait --chdir="$directory" --output="$directory/output" "$@" "$script" || status=$?
cat "$directory/output" || status=1
exit "$status"
