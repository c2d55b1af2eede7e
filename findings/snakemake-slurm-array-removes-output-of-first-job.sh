#!/bin/sh
# In a job array of Snakemake's SLURM plugin (--slurm-array-jobs), each task also checks, and removes,
# the output of the array's first job. If a task fails, the output of the first job is removed, though
# that job has succeeded and Snakemake has counted it as done. If a task ends well while the first job
# still runs, it fails after --latency-wait seconds, because the output of the first job is missing.
#
# Versions: Snakemake 9.27.1, plugin for SLURM 2.8.0 (jobstep 0.6.1), Python 3.11. The commands of
# SLURM are stand-ins here, which run the tasks one after the other; SLURM 22.05.8 gave the same.
# Seen, for three jobs, of which the second one fails:
#   jobs that ran their command to its end   1 3
#   outputs at the end                       3
# Exit code 0 if that is so, 1 if not.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q snakemake==9.27.1 snakemake-executor-plugin-slurm==2.8.0 \
    snakemake-executor-plugin-slurm-jobstep==0.6.1
cd "$folder"
cat > Snakefile <<'SNAKE'
rule all:
    input: expand("made/{i}", i=range(3))
    localrule: True

rule train:
    output: "made/{i}"
    resources: mem_mb=100, runtime=5, slurm_account="lab", slurm_partition="cpu"
    shell: "[ $SLURM_ARRAY_TASK_ID != 2 ] && echo $SLURM_ARRAY_TASK_ID > {output} && cat {output} >> ran"
SNAKE
mkdir bin
cat > bin/sbatch <<'SH'
#!/bin/sh
for argument in "$@"; do
    case $argument in --wrap=*) command=${argument#--wrap=} ;; esac
done
export SLURM_JOB_ID=7 SLURM_ARRAY_JOB_ID=7 SLURM_ARRAY_TASK_MIN=1
for task in 1 3 2; do
    if SLURM_ARRAY_TASK_ID=$task sh -c "$command" > "task$task.log" 2>&1; then
        echo "7_$task|COMPLETED"
    else
        echo "7_$task|FAILED"
    fi
done > states
echo 7
SH
printf '#!/bin/sh\ncat states\n' > bin/squeue
for name in sinfo sacctmgr sshare; do printf '#!/bin/sh\nexit 0\n' > bin/$name; done
printf "#!/bin/sh\necho MaxArraySize = 1001\necho MinJobAge = 300 sec\n" > bin/scontrol
cat > bin/srun <<'SH'
#!/bin/sh
while [ "${1#-}" != "$1" ]; do shift; done
exec "$@"
SH
chmod +x bin/*
PATH=$PWD/bin:$PATH timeout 200 venv/bin/snakemake --executor slurm --jobs 3 --keep-going --nocolor \
    --slurm-array-jobs train --slurm-status-command squeue --slurm-init-seconds-before-status-checks 1 \
    --latency-wait 1 > log 2>&1 || true
{
    echo "jobs that ran their command to its end   $(sort ran | paste -sd ' ' -)"
    echo "outputs at the end                       $(cat made/* | paste -sd ' ' -)"
} | tee seen
cat > expected <<'TEXT'
jobs that ran their command to its end   1 3
outputs at the end                       3
TEXT
diff expected seen
