"""Becomes another program that dies with its parent, under another account if asked. Run as a script, never imported.

    python -I -S leash.py <parent pid> <uid or -> <gid or -> <program> [argument …]

The kernel sends SIGTERM when the thread that started this process ends, whatever ended it (prctl(2), PR_SET_PDEATHSIG).
The setting survives exec and is cleared by a change of account, so the account changes first. Only the standard library
is used, and the interpreter is gone once the program runs.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    parent, uid, gid, *command = sys.argv[1:]
    _, descriptors_max = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors_max, descriptors_max))
    if uid != "-":
        os.setgroups([])
        os.setgid(int(gid))
        os.setuid(int(uid))
    os.umask(0o077)
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0) != 0:
        sys.exit(f"{command[0]} can't be tied to its parent: {os.strerror(ctypes.get_errno())}.")
    if os.getppid() != int(parent):
        sys.exit(f"{command[0]} was not started: its parent had already gone.")
    try:
        os.execv(command[0], command)
    except OSError as error:
        sys.exit(f"{command[0]} can't be started: {error.strerror}.")


if __name__ == "__main__":
    main()
