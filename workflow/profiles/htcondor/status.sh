#!/bin/sh
# Prints the state of a job of HTCondor: running, success or failed.
find_in_queue() {
    if answer=$(condor_q "$1" -format '%d\n' JobStatus 2> /dev/null); then
        case $answer in
            "") echo gone ;;
            5) # held, for example because it needs more memory than it asked for
                condor_rm "$1" > /dev/null 2>&1
                echo gone
                ;;
            *) echo queued ;;
        esac
    else
        echo unknown
    fi
}
. "$(dirname "$0")/../status.sh"
