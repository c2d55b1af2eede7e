#!/bin/sh
# Prints the state of a job of Grid Engine: running, success or failed.
find_in_queue() {
    if answer=$(qstat -j "$1" 2>&1); then
        case $answer in
            *"error reason"*) # it would stay in the queue, in state Eqw
                qdel "$1" > /dev/null 2>&1
                echo gone
                ;;
            *) echo queued ;;
        esac
    else
        case $answer in
            *"do not exist"*) echo gone ;;
            *) echo unknown ;;
        esac
    fi
}
. "$(dirname "$0")/../status.sh"
