"""Where holes are cut: within the text, nested, of every kind, and never blank."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.training.pack import MAX_HOLES, Cut, Kind
from infill.corpus import cut
from infill.corpus.clean import parse

FUNCTION = '''
def mean(values, default=None):
    """The arithmetic mean of the values.

    An empty list has the default for its mean.
    """
    if not values:
        return default  # nothing to divide by
    total = sum(float(value) for value in values)
    names = {"größe": [1, 2, 3], "total": total}

    return round(total / len(values), names["total"])

'''
TEXT = FUNCTION * 30


def cuts_of(text: str, *, seed: int = 0, chars_per_cut: float = 40) -> list[Cut]:
    return cut.cut(text, parse(text), rng=random.Random(seed), chars_per_cut=chars_per_cut)


def primary(text: str, kind: Kind) -> list[str]:
    """The middles of the holes that were drawn from the mix as `kind`."""
    found = [c for seed in range(5) for c in cuts_of(text, seed=seed) if c.kinds[0] is kind]
    assert found, f"no hole of kind {kind.name}"
    return [text[c.starts[0] : c.end] for c in found]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, len(FUNCTION)))
def test_holes_are_nested_text(seed: int, shift: int) -> None:
    text = TEXT[shift:]
    for found in cuts_of(text, seed=seed):
        assert 1 <= len(found.starts) == len(found.kinds) <= MAX_HOLES
        assert len(set(found.starts)) == len(found.starts)
        assert found.end <= len(text)
        for start in found.starts:
            middle = text[start : found.end]
            assert start >= 0
            assert middle.strip(), "a hole holds more than blanks"
            assert len(middle) <= cut.LONGEST_MIDDLE


def test_the_mix_is_as_stated() -> None:
    drawn = Counter(found.kinds[0] for seed in range(40) for found in cuts_of(TEXT, seed=seed))
    for kind, share in cut.MIX.items():
        assert drawn[kind] / drawn.total() == pytest.approx(share, abs=0.06), kind.name


def test_cuts_are_as_dense_as_asked_in_code() -> None:
    text = "\n".join(f"value_{i} = compute(first, second)[{i}]" for i in range(2000)) + "\n"
    assert len(cuts_of(text, chars_per_cut=350)) == pytest.approx(len(text) / 350, rel=0.1)


def test_the_same_seed_gives_the_same_cuts() -> None:
    assert cuts_of(TEXT, seed=5) == cuts_of(TEXT, seed=5)
    assert cuts_of(TEXT, seed=5) != cuts_of(TEXT, seed=6)


def test_lines_are_whole_without_indentation_and_newline() -> None:
    lines = {line.strip() for line in TEXT.split("\n")}
    assert set(primary(TEXT, Kind.LINE)) <= lines


def test_the_rest_of_a_line_ends_with_the_line() -> None:
    for middle in primary(TEXT, Kind.REST_OF_LINE):
        assert "\n" not in middle
        assert f"{middle}\n" in TEXT


def test_several_lines_begin_and_end_with_text() -> None:
    middles = primary(TEXT, Kind.LINES)
    assert any("\n" in middle for middle in middles)
    for middle in middles:
        assert middle == middle.strip()
        assert f"{middle}\n" in TEXT
        assert middle.count("\n") <= 7


def test_nodes_are_pieces_of_syntax() -> None:
    middles = set(primary(TEXT, Kind.NODE))
    assert middles & {
        "values, default=None",
        "(values, default=None)",
        "total / len(values)",
        '"total": total',
    }
    for middle in middles - {"größe"}:
        assert middle.count("(") == middle.count(")"), f"{middle!r} is unbalanced"


def test_empty_suffixes_are_marked() -> None:
    for found in cuts_of(TEXT):
        assert found.suffix_is_empty == (Kind.EMPTY_SUFFIX in found.kinds)


def test_a_hole_at_a_line_end_has_the_whole_line_beside_it() -> None:
    ends = [c for seed in range(10) for c in cuts_of(TEXT, seed=seed) if c.kinds[0] is Kind.REST_OF_LINE]
    joined = sum(Kind.LINE in found.kinds for found in ends)
    assert joined > len(ends) / 2


def test_offsets_are_code_points() -> None:
    text = 'names = {"größe日本🚨": compute(first, second)}\n' * 30
    balanced = {"first, second", "(first, second)", "compute(first, second)", "compute", "first", "second"}
    assert balanced & set(primary(text, Kind.NODE))


def test_prose_is_cut_less_often() -> None:
    prose = '"""' + "Words about the matter.\n" * 200 + '"""\n'
    code = "value = compute(first)\n" * 200
    ends = [found.end for found in cuts_of(prose + code)]
    in_prose = sum(end < len(prose) for end in ends)
    assert 0 < in_prose < 0.5 * (len(ends) - in_prose)


@pytest.mark.parametrize("text", ["x", "x = 1", "\n\n\n   \n", "é", "def f():\n    pass"])
def test_tiny_texts_do_no_harm(text: str) -> None:
    for seed in range(30):
        for found in cuts_of(text, seed=seed, chars_per_cut=1):
            assert text[found.starts[0] : found.end].strip()


def test_imports_at_the_top_are_dropped() -> None:
    imports = "from __future__ import annotations\n\nimport os\nfrom a import (\n    b,\n)\n"
    text = f'"""Docs é."""\n{imports}\nx = 1\nimport c\n'
    assert cut.without_imports(text, parse(text)) == '"""Docs é."""\n\n\nx = 1\nimport c\n'


def test_text_without_imports_is_kept() -> None:
    assert cut.without_imports(FUNCTION, parse(FUNCTION)) == FUNCTION
