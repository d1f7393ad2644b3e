"""`python -m tests.editors.neovim.recording NVIM FILE.svg`: a real Neovim in a terminal, as a moving picture.

The real server and the embedded model: a suggestion while somebody types, then all holes of a file filled,
the canvas drawn meanwhile. The picture is SVG that repeats itself; each line of the screen is in it once
for each time it was there.
"""

from __future__ import annotations

import html
import os
import re
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

from tests.editors.neovim.child import LOADING_S, PLUGIN, ROOT
from tests.editors.others.terminal import Terminal

ROWS, COLUMNS = 18, 76
CELL_WIDTH, LINE_HEIGHT, MARGIN = 8.4, 19, 12
BACKGROUND, TEXT, CURSOR = "#14161b", "#e0e2ea", "#9b9ea4"
KEY_S, LAST_S, LONGEST_S = 0.14, 2.0, 0.7  # a slow machine's waits are not the point

BOX = '''class Box:
    def __init__(self, width, height):
        self.width = width
        self.height = height

    def area(self):
        """Width times height."""
        return

    def edges(self):
        return 2 * (self.width + self.height)
'''
HOLES = """class Account:
    def __init__(self, owner, balance):
        self.owner = ___
        self.balance = balance

    def deposit(self, amount):
        self.balance += amount

    def withdraw(self, amount):
        self.balance -= ___
"""
INIT = """
vim.opt.rtp:prepend({plugin!r})
vim.g.termfeatures = {{ osc52 = false }}
vim.opt.swapfile, vim.opt.showcmd, vim.opt.ruler, vim.opt.termguicolors = false, false, false, true
vim.opt.laststatus, vim.opt.statusline = 2, "%f%=%{{v:lua.require'infill'.statusline()}} "
require('infill').setup({{ cmd = {{ {python!r}, '-m', 'lsp', 'lsp' }}, keymaps = true }})
"""

Cell = tuple[str, str, str, bool]
"""Text, colour, background, whether italic."""
Line = tuple[Cell, ...]


class Recorder:
    """What a terminal showed, and when, in seconds of the recording."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal
        self.frames: list[tuple[float, tuple[Line, ...]]] = []
        self._now, self._last = 0.0, time.monotonic()

    def look(self) -> None:
        """Take what is shown if it has changed."""
        self._terminal.text()
        shown = tuple(self._line(row) for row in range(ROWS))
        passed = time.monotonic() - self._last
        if not self.frames or self.frames[-1][1] != shown:
            self._now += min(passed, LONGEST_S)
            self._last = time.monotonic()
            self.frames.append((self._now, shown))

    def wait(self, seconds: float) -> None:
        """Look on for so long."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.look()

    def until_shows(self, text: str) -> None:
        """Look on until a text is there."""

        def shown() -> bool:
            self.look()
            return text in self._terminal.text()

        self._terminal.until(shown, f"showed {text!r}", LOADING_S)

    def keys(self, keys: str) -> None:
        """Type as somebody does."""
        for key in keys:
            self._terminal.keys(key)
            self.wait(KEY_S)

    def end(self) -> float:
        """How long the recording is, with its end to be looked at."""
        return self._now + LAST_S

    def _line(self, row: int) -> Line:
        screen = self._terminal.screen
        cells = []
        for column in range(COLUMNS):
            cell = screen.buffer[row][column]
            front, back = _colour(cell.fg, TEXT), _colour(cell.bg, BACKGROUND)
            if cell.reverse:
                front, back = back, front
            if (row, column) == (screen.cursor.y, screen.cursor.x):
                front, back = BACKGROUND, CURSOR
            cells.append((cell.data or " ", front, back, bool(cell.italics)))
        return tuple(cells)


def _colour(name: str, otherwise: str) -> str:
    return f"#{name}" if len(name) == 6 and all(c in "0123456789abcdef" for c in name) else otherwise


def record(program: str) -> Recorder:
    """Neovim, driven."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "box.py").write_text(BOX)
        (folder / "holes.py").write_text(HOLES)
        (folder / "init.lua").write_text(INIT.format(plugin=str(PLUGIN), python=sys.executable))
        own = {f"XDG_{kind}_HOME": name for kind in ("CONFIG", "DATA", "STATE", "CACHE")}
        own |= {"INFILL_RUNTIME_DIR": f"{name}/run", "PYTHONPATH": str(ROOT), "COLORTERM": "truecolor"}
        command = [program, "-u", "init.lua", "box.py"]
        terminal = Terminal(command, folder, {**os.environ, **own}, ROWS, COLUMNS)
        try:
            terminal.until(lambda: "● infill" in terminal.text(), "ready", LOADING_S)
            terminal.keys("8GA")
            terminal.shows("-- INSERT --")
            recorder = Recorder(terminal)
            recorder.keys(" self")
            recorder.until_shows("return self.")
            recorder.wait(1.0)
            recorder.keys("\t\x1b")
            recorder.wait(1.0)
            terminal.keys(":silent edit! holes.py | call search('___')\r")
            recorder.until_shows("___")
            recorder.wait(1.0)
            recorder.keys(":Infill fill-all")
            terminal.keys("\r")
            recorder.until_shows("holes filled")
            recorder.wait(0.5)
        finally:
            terminal.close()
    return recorder


def _spans(recorder: Recorder) -> Iterator[tuple[int, Line, float, float]]:
    """Each line of the screen as long as it was there: its row, and from when to when."""
    times = [at for at, _ in recorder.frames] + [recorder.end()]
    for row in range(ROWS):
        at = 0
        for line, same in groupby(frame[row] for _, frame in recorder.frames):
            first, at = at, at + len(list(same))
            yield row, line, times[first] if first else 0.0, times[at]


def draw(recorder: Recorder) -> str:
    """The picture as SVG."""
    width, height = COLUMNS * CELL_WIDTH + 2 * MARGIN, ROWS * LINE_HEIGHT + 2 * MARGIN
    whole = recorder.end()
    rules: dict[tuple[str, str], str] = {}
    parts = []
    for row, line, start, end in _spans(recorder):
        drawn = _text(row, line)
        if not drawn:
            continue
        key = f"{start / whole:.2%}", f"{end / whole:.2%}"
        name = rules.setdefault(key, f"t{len(rules)}")
        always = key == ("0.00%", "100.00%")
        parts.append(drawn if always else f'<g class="{name}">{drawn}</g>')
    style = "".join(_rule(name, *key, whole) for key, name in rules.items())
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height}" font-size="14" '
            'font-family="DejaVu Sans Mono, Menlo, Consolas, monospace" xml:space="preserve">',
            f"<style>{style}</style>",
            f'<rect width="100%" height="100%" rx="6" fill="{BACKGROUND}"/>',
            *parts,
            "</svg>",
            "",
        ]
    )


def _rule(name: str, start: str, end: str, seconds: float) -> str:
    """Visible from one share of the time to another."""
    hidden, shown = "{visibility:hidden}", "{visibility:visible}"
    steps = f"0%{hidden if start != '0.00%' else shown}{start}{shown}"
    steps += f"{end}{hidden}100%{hidden}" if end != "100.00%" else f"100%{shown}"
    return f".{name}{{animation:{name} {seconds:.2f}s step-end infinite}}@keyframes {name}{{{steps}}}"


def _text(row: int, line: Line) -> str:
    y = MARGIN + row * LINE_HEIGHT
    parts, column = [], 0
    for style, same in groupby(line, key=lambda cell: cell[1:]):
        front, back, italic = style
        text = "".join(cell[0] for cell in same)
        x, length = MARGIN + column * CELL_WIDTH, len(text) * CELL_WIDTH
        column += len(text)
        if back != BACKGROUND:
            parts.append(
                f'<rect x="{x:.1f}" y="{y}" width="{length:.1f}" height="{LINE_HEIGHT}" fill="{back}"/>'
            )
        slant = ' font-style="italic"' if italic else ""
        for found in re.finditer(r"\S+(?: \S+)*", text):  # blanks in a row would count as one
            parts.append(
                f'<text x="{x + found.start() * CELL_WIDTH:.1f}" y="{y + 0.75 * LINE_HEIGHT:.1f}" '
                f'fill="{front}" textLength="{len(found[0]) * CELL_WIDTH:.1f}"{slant}>'
                f"{html.escape(found[0])}</text>"
            )
    return "".join(parts)


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(draw(record(sys.argv[1])))
