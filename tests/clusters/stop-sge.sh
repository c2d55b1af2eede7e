#!/usr/bin/env bash
# Remove all jobs of the Grid Engine that start-sge.sh started, and stop it.
set -uo pipefail

export SGE_ROOT=/var/lib/gridengine SGE_CELL=default
DIR=/var/lib/evo2-tasks-sge
[ -d $DIR ] || exit 0
timeout 10 qdel -f -u root >/dev/null 2>&1
for name in sge_execd sge_qmaster; do
    pids=$(pgrep -x $name) || continue
    # shellcheck disable=SC2086 # several numbers
    kill -TERM $pids
    for _ in $(seq 100); do
        pgrep -x $name >/dev/null || break
        sleep 0.1
    done
done
rm -rf $DIR
