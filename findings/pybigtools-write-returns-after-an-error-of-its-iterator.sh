#!/bin/sh
# pybigtools takes the values of a bigWig from an iterator. If the iterator raises, write() prints the
# traceback and returns as if all had been written. The program goes on and ends with 0, and the file
# cannot be opened. So an error of the reader behind the iterator (a bad line, a lost network drive)
# costs the track and nothing says so to the caller. KeyboardInterrupt in the iterator is lost too:
# Ctrl-C does not end such a program.
#
# Versions: pybigtools 0.3.0, pyBigWig 0.3.29, Python 3.11.
# Seen, for an iterator that gives two values and raises:
#   ValueError, KeyboardInterrupt   write() returns None; no exception
#   opening the file                RuntimeError
#   an iterator that does not raise  two values in the file
# Exit code 0 if that is so, 1 if not.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q pybigtools==0.3.0 pyBigWig==0.3.29
cd "$folder"
cat > write.py <<'PYTHON'
"""A bigWig from an iterator that raises, and from one that does not."""

import pyBigWig
import pybigtools


def values(error):
    yield ("1", 0, 1, 1.0)
    yield ("1", 1, 2, 2.0)
    if error is not None:
        raise error


for error in (None, ValueError("line 3 is bad"), KeyboardInterrupt()):
    name = type(error).__name__
    track = pybigtools.open(f"{name}.bw", "w")
    try:
        print(name, "returned", track.write({"1": 100}, values(error)))
    except BaseException as raised:
        print(name, "raised", type(raised).__name__)
    try:
        with pyBigWig.open(f"{name}.bw") as file:
            print(name, file.intervals("1"))
    except RuntimeError:
        print(name, "cannot be opened")
PYTHON
venv/bin/python write.py > printed 2> errors || { cat errors; exit 1; }
grep -v "^Error occurred" printed > seen
cat seen
cat > expected <<'TEXT'
NoneType returned None
NoneType ((0, 1, 1.0), (1, 2, 2.0))
ValueError returned None
ValueError cannot be opened
KeyboardInterrupt returned None
KeyboardInterrupt cannot be opened
TEXT
cmp seen expected
