#!/usr/bin/env bash
# Start Grid Engine on this machine, for tests: one node with two GPUs that are numbers only. Needs
# root and Debian or Ubuntu. A second call finds it running.
set -euo pipefail

MARK='# written by the tests of evo2-tasks'
export SGE_ROOT=/var/lib/gridengine SGE_CELL=default
COMMON=$SGE_ROOT/$SGE_CELL/common
DIR=/var/lib/evo2-tasks-sge

fail() { echo "grid engine: $*" >&2; exit 1; }
node_is_up() { qhost -h localhost 2>/dev/null | grep -q '^localhost .*lx-'; }
wait_for() { # seconds, then a command
    local end=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        [ "$SECONDS" -lt "$end" ] || return 1
        sleep 0.2
    done
}

[ "$(id -u)" = 0 ] || fail 'needs root'
if ! command -v sge_qmaster >/dev/null || ! command -v sge_execd >/dev/null || ! command -v qsub >/dev/null; then
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends gridengine-master gridengine-exec gridengine-client >/dev/null
fi
if [ ! -d $DIR ] && pgrep -x sge_qmaster >/dev/null; then
    fail 'another Grid Engine runs here'
fi
if [ -d $DIR ] && pgrep -x sge_qmaster >/dev/null && node_is_up; then
    exit 0
fi

mkdir -p $DIR
echo localhost >$COMMON/act_qmaster
printf '%s\nlocalhost %s\n' "$MARK" "$(uname -n)" >$COMMON/host_aliases
install -d -o sgeadmin -g sgeadmin -m 755 /var/run/gridengine
pgrep -x sge_qmaster >/dev/null || sge_qmaster
wait_for 30 qconf -sh || fail 'sge_qmaster did not start: see /var/spool/gridengine/qmaster/messages'

# Jobs of root; reports every second.
mkdir -p $DIR/conf
qconf -sconf | grep -v '^#' \
    | sed 's/^min_uid .*/min_uid 0/; s/^min_gid .*/min_gid 0/; s/^load_report_time .*/load_report_time 00:00:01/' \
    >$DIR/conf/global
(cd $DIR/conf && qconf -Mconf global >/dev/null)
qconf -ssconf \
    | sed -E 's/^(schedule_interval) .*/\1 0:0:1/; s/^(flush_submit_sec|flush_finish_sec) .*/\1 1/' >$DIR/schedule
qconf -Msconf $DIR/schedule >/dev/null
qconf -am root >/dev/null 2>&1 || true
qconf -ah localhost >/dev/null 2>&1 || true
qconf -as localhost >/dev/null 2>&1 || true
if ! qconf -sc | grep -q '^gpu '; then
    { qconf -sc; echo 'gpu gpu INT <= YES JOB 0 0'; } >$DIR/complex
    qconf -Mc $DIR/complex >/dev/null
fi
pgrep -x sge_execd >/dev/null || sge_execd
wait_for 20 node_is_up || fail 'sge_execd did not start: see /var/spool/gridengine/execd/localhost/messages'
wait_for 20 qconf -rattr exechost complex_values gpu=2 localhost || fail 'the node cannot be configured'
if ! qconf -sql 2>/dev/null | grep -qx evo2.q; then
    # The editor leaves the template as it is, so qconf adds nothing and fails.
    { EDITOR='cat' qconf -aq 2>/dev/null || true; } | sed -E 's/^qname .*/qname evo2.q/; s/^hostlist .*/hostlist localhost/
        s/^(load_thresholds|pe_list) .*/\1 NONE/; s/^slots .*/slots 8/; s/^shell .*/shell \/bin\/sh/' >$DIR/queue
    qconf -Aq $DIR/queue >/dev/null
fi
