"""The command `evo2-tasks` as jobs start it, but for its imports, which are done once for all jobs.

A job is a copy of a process that has imported all steps and torch, with the folder, variables,
arguments and streams of whoever called the command. Where a variable differs that an import reads,
the command itself is started instead.
"""

import os
import stat
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

COMMANDS = Path(sys.executable).parent

CLIENT = """#!{python} -IS
import json, os, socket, sys

with socket.socket(socket.AF_UNIX) as server:
    server.connect({address!r})
    order = {{"folder": os.getcwd(), "variables": dict(os.environ), "arguments": sys.argv[1:]}}
    text = json.dumps(order).encode()
    socket.send_fds(server, [b"%16d" % len(text)], [0, 1, 2])
    server.sendall(text)
    status = server.makefile().read()
sys.exit(int(status))
"""

SERVER = """
import atexit, gc, importlib, json, os, pkgutil, select, shutil, socket, sys, threading, traceback

sys.path.remove("")
variables = dict(os.environ)  # an import may set some
import evo2_tasks.cli, evo2_tasks.evo2.modeling, evo2_tasks.steps

for module in pkgutil.iter_modules(evo2_tasks.steps.__path__):
    importlib.import_module("evo2_tasks.steps." + module.name)
gc.freeze()

command, address = sys.argv[1:]
READ_BY_IMPORTS = (
    "CUDA", "HF_", "HOME", "HUGGING", "LANG", "LC_", "PYTHON", "TORCH", "TRANSFORMERS", "XDG_"
)

def of_imports(variables):
    return {name: value for name, value in variables.items() if name.startswith(READ_BY_IMPORTS)}

def do(caller):
    size, streams, _, _ = socket.recv_fds(caller, 16, 3)
    with caller.makefile("rb") as file:
        order = json.loads(file.read(int(size)))
    copy = os.fork()
    if copy:
        for stream in streams:
            os.close(stream)
        status = os.waitstatus_to_exitcode(os.waitpid(copy, 0)[1])
        caller.sendall(b"%d" % (status if status >= 0 else 128 - status))
        os._exit(0)
    caller.close()
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(order["folder"])
    if of_imports(order["variables"]) != of_imports(variables):
        os.execve(command, [command, *order["arguments"]], order["variables"])
    os.environ.clear()
    os.environ.update(order["variables"])
    sys.argv = [command, *order["arguments"]]
    status = 1
    try:
        evo2_tasks.cli.main()
    except SystemExit as end:
        status = end.code or 0
    except BaseException:
        traceback.print_exc()
    # To take apart all that was imported would take longer than most jobs.
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)

listener = socket.socket(socket.AF_UNIX)
listener.bind(address)
listener.listen(64)
print("ready", flush=True)
children = set()
while sys.stdin not in (ready := select.select([sys.stdin, listener], [], [])[0]):
    caller, _ = listener.accept()
    copy = os.fork()
    if not copy:
        listener.close()
        do(caller)
    caller.close()
    children = {copy, *(one for one in children if not os.waitpid(one, os.WNOHANG)[0])}
shutil.rmtree(os.path.dirname(address))
"""


def start_commands() -> Path:
    """Start the process that is copied; gives the folder of the command that asks for a copy."""
    return _start_server()[1]


@cache
def _start_server() -> "tuple[subprocess.Popen[str], Path]":
    """The server of this process, which ends with its standard input, and the folder."""
    folder = Path(tempfile.mkdtemp(prefix="evo2-tasks-commands-"))
    address = folder / "socket"
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER, str(COMMANDS / "evo2-tasks"), str(address)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | threads,
        text=True,
    )
    assert server.stdout is not None
    assert server.stdout.readline() == "ready\n"
    command = folder / "evo2-tasks"
    command.write_text(CLIENT.format(python=sys.executable, address=str(address)))
    command.chmod(command.stat().st_mode | stat.S_IXUSR)
    return server, folder
