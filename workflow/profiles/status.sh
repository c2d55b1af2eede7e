# Prints whether a job is running, or ended with success, or failed. The status.sh of a profile reads
# this file after it has defined the function `find_in_queue`, which prints `queued`, `gone` or
# `unknown`. The first argument is the number of the job.
# shellcheck shell=sh
ended=.snakemake/ended/$1 # written by jobscript.sh
if [ -e "$ended" ]; then
    if [ "$(cat "$ended")" = 0 ]; then echo success; else echo failed; fi
    rm -f "$ended" "$ended.missing"
    exit 0
fi
case $(find_in_queue "$1") in
    gone)
        # Killed; or another node has written the exit status, and it is not visible here yet.
        mkdir -p .snakemake/ended
        [ -e "$ended.missing" ] || : > "$ended.missing"
        if [ -n "$(find "$ended.missing" -mmin +1)" ]; then
            rm -f "$ended.missing"
            echo failed
        else
            echo running
        fi
        ;;
    *) # An error of the query, for example while the scheduler restarts, must not end the run.
        echo running
        ;;
esac
