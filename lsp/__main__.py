"""`python -m lsp` is `infill`."""

from __future__ import annotations

import sys

if __name__ == "__main__":
    from lsp.cli import main

    sys.exit(main())
