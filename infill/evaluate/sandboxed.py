"""What the sandbox's subprocess runs: takes limits on itself, then runs the program it is sent.

Never imported: `infill.evaluate.sandbox` runs this file by `python -I`, so it may use the standard
library only. On standard input it gets one JSON object with `program`, `token`, `cpu_s` and
`memory_bytes`; on standard output it says the token if the program reached its end, otherwise what it
failed with.
"""

import contextlib
import json
import os
import sys
from typing import Any

_ALWAYS_FORBIDDEN = (
    "socket.",
    "subprocess.",
    "shutil.",
    "ctypes.",
    "ftplib.",
    "smtplib.",
    "urllib.",
    "webbrowser.",
    "winreg.",
    "os.system",
    "os.exec",
    "os.fork",
    "os.posix_spawn",
    "os.spawn",
    "os.startfile",
    "os.kill",
    "os.remove",
    "os.rename",
    "os.rmdir",
    "os.mkdir",
    "os.link",
    "os.symlink",
    "os.truncate",
    "os.chmod",
    "os.chown",
    "os.utime",
    "os.putenv",
    "signal.pthread_kill",
)
_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000


def main() -> None:
    """Read the order, restrict this process, run the program, answer."""
    order = json.loads(sys.stdin.buffer.read())
    answer = _take_standard_streams()
    _leave_the_network()
    _limit(order["cpu_s"], order["memory_bytes"])
    sys.addaudithook(_forbid)
    try:
        exec(compile(order["program"], "program.py", "exec"), {"__name__": "__main__"})
    except BaseException as error:
        said = f"{type(error).__name__}: {error}".removesuffix(": ")
    else:
        said = order["token"]
    os.write(answer, said.encode("utf-8", "replace")[:4000])
    # Not through atexit functions or threads that the program may have left.
    os._exit(0)


def _take_standard_streams() -> int:
    """Point the program's standard streams nowhere; return the descriptor to answer on."""
    answer = os.dup(1)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nowhere, descriptor)
    return answer


def _leave_the_network() -> None:
    """Move to a network namespace with nothing in it, where the system lets us; Linux only."""
    if sys.platform != "linux":
        return
    with contextlib.suppress(Exception):
        import ctypes

        ctypes.CDLL(None).unshare(_CLONE_NEWUSER | _CLONE_NEWNET)


def _limit(cpu_s: int, memory_bytes: int) -> None:
    try:
        import resource
    except ImportError:  # Windows: only the time limit outside holds
        return
    limits = {
        "RLIMIT_CPU": cpu_s,
        "RLIMIT_AS": memory_bytes,
        "RLIMIT_NPROC": 0,
        "RLIMIT_FSIZE": 0,
        "RLIMIT_CORE": 0,
    }
    for name, value in limits.items():
        if hasattr(resource, name):
            # macOS refuses some of them; the others still hold.
            with contextlib.suppress(ValueError, OSError):
                resource.setrlimit(getattr(resource, name), (value, value))


def _forbid(event: str, arguments: tuple[Any, ...]) -> None:
    """An audit hook: it cannot be taken off again, and it sees the calls whoever makes them."""
    if event == "open":
        mode, flags = arguments[1], arguments[2]
        writes = os.O_WRONLY | os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_TRUNC
        if (isinstance(mode, str) and set(mode) & set("wax+")) or (isinstance(flags, int) and flags & writes):
            raise PermissionError("writing files is forbidden here")
    elif event.startswith(_ALWAYS_FORBIDDEN):
        raise PermissionError(f"{event} is forbidden here")


if __name__ == "__main__":
    main()
