"""`python -m tests.editors.neovim.picture NVIM FILE.svg`: a picture of a suggestion in a real Neovim.

The example, the real server and the embedded model; each cell of the screen as Neovim shows it, the text that
is not in the buffer in grey.
"""

from __future__ import annotations

import html
import sys
import tempfile
from pathlib import Path

from tests.editors.neovim.child import ROOT, Neovim

ROWS, COLUMNS = 21, 82
CELL_WIDTH, LINE_HEIGHT, MARGIN = 8.4, 19, 14
BACKGROUND, TEXT, GHOST = "#14161b", "#e0e2ea", "#7f8490"

CELLS = """
local rows, columns = ...
local found = {}
for row = 1, rows do
  for col = 1, columns do
    local group = vim.fn.synIDtrans(vim.fn.synID(row, col, 1))
    found[#found + 1] = { vim.fn.screenstring(row, col), vim.fn.synIDattr(group, 'fg#', 'gui') }
  end
end
return found
"""


def draw(program: str) -> str:
    """The picture as SVG."""
    with tempfile.TemporaryDirectory() as folder:
        neovim = Neovim(program, Path(folder), {"INFILL_RUNTIME_DIR": f"{folder}/run"})
        try:
            neovim.nvim.command("set termguicolors noruler laststatus=0")
            neovim.setup()
            neovim.edit("stack.py", (ROOT / "examples" / "stack.py").read_text())
            neovim.ready()
            neovim.nvim.command("normal! 7Gzt")
            neovim.nvim.funcs.cursor(14, 26)
            neovim.keys("a")
            first = neovim.until(neovim.ghost, "suggested")
            assert "\n" not in first, "the picture is of a suggestion of one line"
            neovim.nvim.command("redraw")
            top = neovim.nvim.funcs.line("w0")
            cells = neovim.lua(CELLS.replace("synID(row,", f"synID(row + {top - 1},"), ROWS, COLUMNS)
            row, col = 14 - top, len("        self.items.append(")
        finally:
            neovim.close()
    begin = row * COLUMNS + col
    assert "".join(text for text, _ in cells[begin : begin + len(first)]) == first
    coloured = [(text, colour or TEXT) for text, colour in cells]
    coloured[begin : begin + len(first)] = [(text, GHOST) for text in first]
    return _svg([coloured[at : at + COLUMNS] for at in range(0, len(cells), COLUMNS)])


def _svg(lines: list[list[tuple[str, str]]]) -> str:
    width, height = COLUMNS * CELL_WIDTH + 2 * MARGIN, len(lines) * LINE_HEIGHT + 2 * MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height}" font-size="14" '
        'font-family="DejaVu Sans Mono, Menlo, Consolas, monospace" xml:space="preserve">',
        f'<rect width="100%" height="100%" rx="6" fill="{BACKGROUND}"/>',
    ]
    for number, line in enumerate(lines):
        y = MARGIN + (number + 0.75) * LINE_HEIGHT
        for column, text, colour in _runs(line):
            style = ' font-style="italic"' if colour == GHOST else ""
            x, length = MARGIN + column * CELL_WIDTH, len(text) * CELL_WIDTH
            parts.append(
                f'<text x="{x:.1f}" y="{y:.1f}" fill="{colour}" textLength="{length:.1f}"{style}>'
                f"{html.escape(text)}</text>"
            )
    return "\n".join([*parts, "</svg>", ""])


def _runs(line: list[tuple[str, str]]) -> list[tuple[int, str, str]]:
    """Cells of one colour that follow each other: where they begin, their text, the colour."""
    runs: list[tuple[int, str, str]] = []
    for column, (text, colour) in enumerate(line):
        if text == " ":
            continue
        if runs and runs[-1][2] == colour and runs[-1][0] + len(runs[-1][1]) == column:
            runs[-1] = (runs[-1][0], runs[-1][1] + text, colour)
        else:
            runs.append((column, text, colour))
    return runs


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(draw(sys.argv[1]))
