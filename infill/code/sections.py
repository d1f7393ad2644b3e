"""A long text cut into sections that are parsed each by itself, and kept so while it is edited.

Why: tree-sitter cannot use a list of statements again as a whole after an edit in it, it goes through it
one by one, and a long file is such a list. In sections a keystroke costs the same in a file of fifty
thousand lines as in one of five hundred. What is one statement, a class of ten thousand lines say, is not
cut.

A cut lies before a statement that begins a line at the margin and could not be read as going on with the
one above. Where an edit could change that, in a section's first or last statement, the section is made one
with its neighbour first. What this cannot see is an edit that takes whole sections in: an opening quote
without its end makes one section faulty, and the ones below are read as they were.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate, pairwise
from operator import attrgetter

from tree_sitter import Node, Tree

from infill.code.section import Edit, Section

SPLIT_CHARS = 6000
"""What is longer is cut, where it can be."""
_SECTION_BYTES = 1500  # the least of a part


_TEXT = attrgetter("text")


def bounds_of(sections: Sequence[Section]) -> list[int]:
    """Where in the text each section begins, and where the last ends."""
    return list(accumulate(map(len, map(_TEXT, sections)), initial=0))


def edited(
    sections: Sequence[Section], starts: Sequence[int], edit: Edit, budget_s: float | None = None
) -> tuple[Section, ...]:
    """The sections of a text with an edit made, those that it may concern being made one.

    `starts` are where the sections begin in the text, and `edit` is one of the text.
    """
    first, last = (max(0, bisect_right(starts, at) - 1) for at in (edit.start, edit.end))
    if first > 0 and edit.start - starts[first] < sections[first].head:
        first -= 1
    to_go = starts[last] + len(sections[last].text) - edit.end
    if last + 1 < len(sections) and to_go < sections[last].tail:
        last += 1
    whole = sections[first] if first == last else _joined(sections[first : last + 1])
    moved = Edit(edit.start - starts[first], edit.end - starts[first], edit.new)
    return (*sections[:first], whole.edited(moved, budget_s), *sections[last + 1 :])


def parts(section: Section) -> tuple[Section, ...]:
    """What a section is better cut into, as far as is known without parsing it; itself if into nothing.

    Where only an older section has been parsed, its parts, and what has been edited since.
    """
    if len(section.text) <= SPLIT_CHARS:
        return (section,)
    if section.parsed.tree is not None:
        if section.parsed.parts is None:
            section.parsed.parts = _cut(section, section.parsed.tree)
        return section.parsed.parts
    for at in range(len(section.steps) - 1, -1, -1):
        older = section.steps[at].parsed.parts
        if older is not None and len(older) > 1:
            for step in section.steps[at:]:
                older = edited(older, bounds_of(older)[:-1], step.edit)
            return older
    return (section,)


def _cut(section: Section, tree: Tree) -> tuple[Section, ...]:
    """The parts between which statements begin that stand for themselves."""
    statements, last = tree.root_node.children, tree.root_node.end_byte
    # Whoever types there goes on doing so, and an edit in a section's middle concerns nobody else.
    typed = section.index.byte(section.steps[-1].edit.start) if section.steps else -1
    firsts = [0]  # which statement begins each part
    begin = 0
    for at, (above, node) in enumerate(pairwise(statements), 1):
        large = min(node.start_byte - begin, last - node.start_byte) >= _SECTION_BYTES
        apart = not above.start_byte <= typed <= node.end_byte
        if large and apart and _stands_alone(node, above, section.language):
            firsts.append(at)
            begin = node.start_byte
    if len(firsts) == 1:
        return (section,)
    sound = not tree.root_node.has_error  # else: what is missing may be no statement's
    ends = [*(section.index.offset(statements[at].start_byte) for at in firsts[1:]), len(section.text)]
    rows = [statements[a:b] for a, b in pairwise([*firsts, len(statements)])]
    return tuple(
        _part(section, start, end, row, sound)
        for start, end, row in zip([0, *ends[:-1]], ends, rows, strict=True)
    )


def _part(section: Section, start: int, end: int, statements: Sequence[Node], sound: bool) -> Section:
    """The section from one code point to another, which holds these statements."""
    code = [node for node in statements if not node.is_extra] or list(statements)
    return Section(
        text=section.text[start:end],
        language=section.language,
        head=section.index.offset(code[0].end_byte) - start + 1,
        tail=end - section.index.offset(code[-1].start_byte) + 1,
        sound=sound,
    )


def _joined(sections: Sequence[Section]) -> Section:
    """One section of several; the first one's tree is used again."""
    first, rest = sections[0], "".join(section.text for section in sections[1:])
    if first.parsed.tree is None:
        whole = Section(text=first.text + rest, language=first.language, budget_s=first.budget_s)
    else:
        whole = first.edited(Edit(len(first.text), len(first.text), rest))
    whole.head, whole.tail = first.head, sections[-1].tail
    return whole


def _stands_alone(node: Node, above: Node, language: str) -> bool:
    """Whether a statement begins a line at the margin and cannot be read as going on with the one above."""
    own_line = above.end_point.row < node.start_point.row or above.end_point.column == 0
    if node.start_point.column != 0 or not own_line or not node.is_named or node.is_extra:
        return False
    if node.has_error or node.is_missing or above.has_error:
        return False
    return language == "python" or node.type not in ("expression_statement", "statement_block")
