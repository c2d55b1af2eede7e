#!/usr/bin/env bash
# Cancel all jobs of the cluster that start.sh started, stop it and remove its files.
set -uo pipefail

DIR=/var/lib/evo2-tasks-slurm
MARK='# written by the tests of evo2-tasks'

alive() { [ -s "$1" ] && kill -0 "$(cat "$1")" 2>/dev/null; }

if alive $DIR/slurmctld.pid; then
    squeue -h -o %A 2>/dev/null | sort -u | xargs -r timeout 10 scancel 2>/dev/null
    for _ in $(seq 50); do
        [ -n "$(timeout 10 squeue -h -t R,CG,S 2>/dev/null)" ] || break
        sleep 0.2
    done
fi
for name in slurmd slurmctld munged; do
    file=$DIR/$name.pid
    alive "$file" || continue
    pid=$(cat "$file")
    kill -TERM "$pid"
    for _ in $(seq 100); do
        kill -0 "$pid" 2>/dev/null || break
        sleep 0.1
    done
    if kill -0 "$pid" 2>/dev/null; then kill -KILL "$pid"; fi
done
for file in slurm.conf gres.conf cgroup.conf; do
    if grep -qsF "$MARK" "/etc/slurm/$file"; then rm -f "/etc/slurm/$file"; fi
done
rm -rf "$DIR"
