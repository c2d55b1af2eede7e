"""Other users of this machine, whom the superuser can become in a process."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
GROUP = 54_320
TIME_LIMIT_S = 600

# The home of the superuser is closed to others, and Python may be in it. In a mount namespace of
# the process, an open folder is in the place of the home, and has Python's folder only.
OPEN_PYTHON = """
set -e
if [ -n "$CLOSED" ]; then
    mount --bind "$PYTHON" "$SPARE"
    mount -t tmpfs -o mode=755 tmpfs "$CLOSED"
    mkdir -p "$PYTHON"
    mount --bind "$SPARE" "$PYTHON"
fi
umask "$MASK"
exec setpriv --reuid "$USER_ID" --regid "$GROUP_ID" --clear-groups "$@"
"""


@dataclass(frozen=True)
class User:
    """A user: the number, the home, and the umask of the processes."""

    uid: int
    home: Path
    umask: int = 0o027

    def run(self, *command: object, cwd: Path | None = None, **variables: str) -> "Ended":
        """Run a program as this user.

        Args:
            command: The program and its arguments.
            cwd: The working directory. Default: the home.
            variables: Variables of the environment, besides those that Python and the home need.
        """
        python = Path(sys.base_prefix)
        closed = [path for path in python.parents if not path.stat().st_mode & 1]
        done = subprocess.run(
            ["unshare", "--mount", "sh", "-c", OPEN_PYTHON, "sh", *map(str, command)],
            cwd=cwd or self.home,
            env={
                "PATH": os.pathsep.join([str(Path(sys.executable).parent), "/usr/bin", "/bin"]),
                "PYTHONPATH": str(ROOT),
                "PYTHONDONTWRITEBYTECODE": "1",
                "OMP_NUM_THREADS": "1",
                "LANG": "C.UTF-8",
                "HOME": str(self.home),
                "LOGNAME": f"user-{self.uid}",
                "CLOSED": str(closed[-1]) if closed else "",
                "PYTHON": str(python),
                "SPARE": str(self.home.parent / "spare"),
                "MASK": f"{self.umask:o}",
                "USER_ID": str(self.uid),
                "GROUP_ID": str(GROUP),
                **variables,
            },
            capture_output=True,
            text=True,
            timeout=TIME_LIMIT_S,
            check=False,
        )
        return Ended(done.returncode, done.stdout, done.stderr)


@dataclass(frozen=True)
class Ended:
    """A program that has ended."""

    status: int
    stdout: str
    stderr: str
