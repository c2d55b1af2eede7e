#!/bin/sh
# Prints the state of a job of PBS: running, success or failed.
find_in_queue() {
    if answer=$(qstat "$1" 2>&1); then
        echo queued
    else
        case $answer in
            *"Unknown Job"* | *"has finished"*) echo gone ;;
            *) echo unknown ;;
        esac
    fi
}
. "$(dirname "$0")/../status.sh"
