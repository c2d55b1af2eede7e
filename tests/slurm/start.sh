#!/usr/bin/env bash
# Start a SLURM cluster of one node on this machine, for tests: loopback only, no accounting, GPUs
# that are links to /dev/null. Needs root and Debian or Ubuntu. A second call finds it running.
set -euo pipefail

DIR=/var/lib/evo2-tasks-slurm
MARK='# written by the tests of evo2-tasks'
NUM_CPUS=8
MEMORY_MB=32000

fail() { echo "slurm: $*" >&2; exit 1; }
alive() { [ -s "$1" ] && kill -0 "$(cat "$1")" 2>/dev/null; }
node_is_up() { sinfo -h -o %T 2>/dev/null | grep -qxE 'idle|mixed|allocated'; }
wait_for() { # seconds, then a command
    local end=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        [ "$SECONDS" -lt "$end" ] || return 1
        sleep 0.2
    done
}

[ "$(id -u)" = 0 ] || fail 'needs root'
if [ -e /etc/slurm/slurm.conf ] && ! grep -qF "$MARK" /etc/slurm/slurm.conf; then
    fail '/etc/slurm/slurm.conf belongs to another cluster'
fi
if alive $DIR/slurmctld.pid && alive $DIR/slurmd.pid && node_is_up; then
    exit 0
fi

missing=()
for pair in munged:munge slurmctld:slurmctld slurmd:slurmd sbatch:slurm-client; do
    command -v "${pair%:*}" >/dev/null || missing+=("${pair#*:}")
done
if [ ${#missing[@]} -gt 0 ]; then
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

node=$(uname -n)
node=${node%%.*}
mkdir -p $DIR/spool $DIR/state /etc/slurm

if ! munge -n 2>/dev/null | unmunge >/dev/null 2>&1; then
    install -d -o munge -g munge -m 755 /run/munge
    install -d -o munge -g munge -m 700 /var/lib/munge /var/log/munge /etc/munge
    if [ ! -s /etc/munge/munge.key ]; then
        (umask 077 && head -c 128 /dev/urandom >/etc/munge/munge.key)
        chown munge:munge /etc/munge/munge.key
    fi
    setpriv --reuid=munge --regid=munge --init-groups munged --force >/dev/null 2>&1
    wait_for 10 test -s /run/munge/munged.pid || fail 'munged did not start'
    cp /run/munge/munged.pid $DIR/munged.pid
fi

# slurmd wants device files; the number at the end becomes the index in CUDA_VISIBLE_DEVICES.
for i in 0 1; do ln -sfn /dev/null $DIR/nvidia$i; done
cat >/etc/slurm/gres.conf <<CONF
$MARK
AutoDetect=off
NodeName=$node Name=gpu Type=h100 File=$DIR/nvidia[0-1]
CONF

# From 23.02 on the plugin for cgroups can be switched off; before, cgroup/v1 does nothing here.
plugin=cgroup/v1
version=$(slurmd -V | awk '{print $2}')
if [ "$(printf '%s\n' 23.02 "$version" | sort -V | head -1)" = 23.02 ]; then plugin=disabled; fi
printf '%s\nCgroupPlugin=%s\n' "$MARK" "$plugin" >/etc/slurm/cgroup.conf

# proctrack/pgid: linuxproc loses a process whose parent has died. OverMemoryKill: no cgroups.
cat >/etc/slurm/slurm.conf <<CONF
$MARK
ClusterName=evo2-tasks
SlurmctldHost=$node(127.0.0.1)
SlurmctldPort=16817
SlurmdPort=16818
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
StateSaveLocation=$DIR/state
SlurmdSpoolDir=$DIR/spool
SlurmctldPidFile=$DIR/slurmctld.pid
SlurmdPidFile=$DIR/slurmd.pid
SlurmctldLogFile=$DIR/slurmctld.log
SlurmdLogFile=$DIR/slurmd.log
ProctrackType=proctrack/pgid
TaskPlugin=task/none
MpiDefault=none
SlurmdParameters=config_overrides
ReturnToService=2
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=2,sched_interval=2,batch_sched_delay=1
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
DefMemPerCPU=500
MinJobAge=600
MaxArraySize=1001
KillWait=5
OverTimeLimit=0
InactiveLimit=0
Waittime=0
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=2
JobAcctGatherParams=OverMemoryKill
AccountingStorageType=accounting_storage/none
GresTypes=gpu
NodeName=$node NodeAddr=127.0.0.1 CPUs=$NUM_CPUS RealMemory=$MEMORY_MB State=UNKNOWN Gres=gpu:h100:2
PartitionName=cpu Nodes=$node Default=YES MaxTime=1-00:00:00 State=UP
PartitionName=gpu Nodes=$node Default=NO MaxTime=1-00:00:00 State=UP
CONF

alive $DIR/slurmctld.pid || slurmctld
wait_for 30 scontrol ping || fail "slurmctld did not start: see $DIR/slurmctld.log"
alive $DIR/slurmd.pid || slurmd || fail "slurmd did not start: see $DIR/slurmd.log"
if ! wait_for 20 node_is_up; then
    scontrol update NodeName="$node" State=RESUME 2>/dev/null || true
    wait_for 20 node_is_up || fail "the node is not idle: see $DIR/slurmd.log"
fi
