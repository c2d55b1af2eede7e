#!/bin/sh
# The script of a job for the profiles sge, pbs and htcondor. It writes down the exit status of the
# job, which status.sh reads, so the cluster needs no accounting. Snakemake fills in single braces.
# properties = {properties}
cd "${{PBS_O_WORKDIR:-.}}" || exit 1 # PBS starts jobs in the home folder
# Grid Engine and PBS may start the script as a login shell, which sets PATH again.
PATH=${{SGE_O_PATH:-${{PBS_O_PATH:-$PATH}}}}
export PATH
(
{exec_job}
)
status=$?
id=${{JOB_ID:-${{PBS_JOBID:-$1}}}} # Grid Engine, PBS, HTCondor
mkdir -p .snakemake/ended
echo "$status" > ".snakemake/ended/$id.new"
mv ".snakemake/ended/$id.new" ".snakemake/ended/$id"
exit "$status"
