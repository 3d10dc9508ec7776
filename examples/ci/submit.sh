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
number=$(mktemp)
trap 'rm -rf "$directory" "$number"' EXIT
sbatch=

# A pipeline that is cancelled takes its job with it.
cancel() {
    trap '' HUP INT TERM
    # It may be on its way to the controller, which then answers with the number.
    for _ in 1 2 3 4 5; do
        if [ -s "$number" ]; then
            scancel "$(cut -d';' -f1 "$number")" || true
            break
        fi
        sleep 1
    done
    kill "$sbatch" || true
    exit "$1"
}
trap 'cancel 129' HUP
trap 'cancel 130' INT
trap 'cancel 143' TERM

# The environment of a pipeline is full of secrets, which would go to the controller's spool, the
# node and the job. --export=NIL would keep them back, but not SLURM_JWT.
status=0
sbatch --parsable --wait --export-file=/dev/null --chdir="$directory" \
    --output="$directory/output" "$@" "$script" > "$number" &
sbatch=$!
# Unlike a command in the foreground, this one lets a signal through at once.
wait "$sbatch" || status=$?
sed 's/^/job /' "$number"
cat "$directory/output" || status=1
exit "$status"
