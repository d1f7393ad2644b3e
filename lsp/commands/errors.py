"""How a command ends when it cannot do what it was asked, and the exit codes of every command.

CommandError         its text is one line for the user; exit code 2
├── FileChanged      the file changed while the hole was being filled; nothing was written
└── PeerFailed       llama.cpp's server does not start or does not answer; see llama_peer
"""

from __future__ import annotations

import sys
from enum import IntEnum


class Exit(IntEnum):
    """The exit codes of `infill`, documented in its `--help`."""

    OK = 0
    NO_SUGGESTION = 1
    BAD_INPUT = 2
    NO_MODEL = 3
    INTERNAL_ERROR = 70
    INTERRUPTED = 130


EXIT_CODES_HELP = """\
exit codes:
  0    a suggestion was made (check: nothing was found; fix: something was fixed;
       doctor: nothing is wrong; lsp: the client shut the server down)
  1    no suggestion, the reason is on stderr (check: something was found; fix: there is
       nothing to fix, or no fix; doctor: something is wrong; lsp: the client just left)
  2    bad usage or bad input, or the result could not be written (check: a file could not
       be checked, whatever was found in the others)
  3    the model cannot be loaded
  70   an internal error; --debug shows where it is
  130  interrupted
"""


def say(message: str) -> None:
    """One line on standard error about what is wrong; a file's name in it cannot steer the terminal."""
    shown = "".join(c if c.isprintable() else "\ufffd" for c in " ".join(message.splitlines()))
    print(f"infill: {shown}", file=sys.stderr)


class CommandError(Exception):
    """What the user asked for cannot be done as asked; the text says why, in one line."""


class FileChanged(CommandError):
    """The file is no longer the one that was read."""
