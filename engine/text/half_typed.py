"""How much of what stands before a cursor is a token that is only half typed.

A prompt ends at a token's boundary, as in training; what was typed of the next token goes along apart, and
every canvas begins with it (`engine.request.Prompt.typed`). Plain text; offsets are code points.
"""

from __future__ import annotations

_LONGEST_WORD = 64  # a longer "word" is data, and typing it again would fill the canvas
_WIDEST_INDENTATION = 64  # likewise
_LONGEST_PUNCTUATION = 8  # of a longer run, a ruler say, this much is healed


def typed_before(text: str, start: int) -> str:
    """What was typed of the token at `start`: a word, a run of punctuation, one space, or an indentation.

    The prefix that is left ends at a token boundary, as in training; a canvas must begin with the rest.
    Words and punctuation take one space before them into their token, and a lone space is the beginning
    of such a token. An indentation is one token with the line ending before it, so on a blank line both
    are taken back: a line ending alone would say that the line begins at the margin.
    """
    margin = _line_start(text, start)
    if margin > 0 and start - margin <= _WIDEST_INDENTATION and not text[margin:start].strip(" \t"):
        return text[margin - (2 if text.startswith("\r\n", margin - 2) and margin >= 2 else 1) : start]
    begin = start
    while begin > 0 and in_word(text[begin - 1]):
        begin -= 1
        if start - begin > _LONGEST_WORD:
            return ""
    if begin == start:
        earliest = max(0, start - _LONGEST_PUNCTUATION)
        while begin > earliest and _is_punctuation(text[begin - 1]):
            begin -= 1
    if text[begin - 1 : begin] == " " and begin > 0 and not _is_indentation(text, begin):
        begin -= 1
    return text[begin:start]


def in_word(char: str) -> bool:
    """Whether a character can be part of an identifier."""
    return char == "_" or char.isalnum() or ("a" + char).isidentifier()


def _is_punctuation(char: str) -> bool:
    # A lone surrogate has no bytes that a model could be made to say.
    return not char.isspace() and not in_word(char) and not "\ud800" <= char <= "\udfff"


def _is_indentation(text: str, end: int) -> bool:
    """Whether nothing but blanks lies between the line's start and `end`."""
    return not text[_line_start(text, end) : end].strip(" \t")


def _line_start(text: str, offset: int) -> int:
    return max(text.rfind("\n", 0, offset), text.rfind("\r", 0, offset)) + 1
