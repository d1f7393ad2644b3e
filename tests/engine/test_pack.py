"""Packing: an example's tokens are those of the text itself, and shards keep every example."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.training import pack, tokenizer
from engine.training.pack import UNUSED, Cut, CutDocument, Example, Kind

CODER = tokenizer.load(Path(tokenizer.__file__).parents[1] / "models" / "embedded" / "tokenizer.json")
FUNCTION = (
    "def area(width, height):\n    # sizes in metres\n    result = width * height\n    return result\n\n\n"
)
TEXT = "".join(FUNCTION.replace("area", f"area_{number}") for number in range(40))


def decode(ids: list[int]) -> str:
    text: str = CODER.decode(ids, skip_special_tokens=False)
    return text


def encode(text: str) -> list[int]:
    ids: list[int] = CODER.encode(text, add_special_tokens=False).ids
    return ids


def pack_one(text: str, start: int, end: int, *, seed: int = 0, empty: bool = False) -> Example | None:
    cut = Cut(end=end, starts=(start,), kinds=(Kind.NODE,), suffix_is_empty=empty)
    return next(pack.pack([CutDocument(text=text, cuts=(cut,), seed=seed)], CODER), None)


def example_at(marked: str, *, seed: int = 0) -> Example:
    """The example of a text with its hole between « and »."""
    start, end = marked.index("«"), marked.index("»") - 1
    example = pack_one(marked.replace("«", "").replace("»", ""), start, end, seed=seed)
    assert example is not None
    return example


@settings(max_examples=150, deadline=None)
@given(st.integers(1, len(TEXT)), st.integers(1, 60), st.integers(0, 10**6))
def test_tokens_are_those_of_the_text(end: int, length: int, seed: int) -> None:
    example = pack_one(TEXT, max(0, end - length), end, seed=seed)
    assert example is not None
    prefix = decode(example.prefix)
    assert TEXT[:end].endswith(prefix)
    assert example.prefix == encode(prefix)
    assert len(example.prefix) <= pack.PREFIX_TOKENS
    suffix = decode(example.suffix)
    assert TEXT[end:].startswith(suffix)
    assert example.suffix == encode(TEXT[end:])[: len(example.suffix)]
    assert len(example.suffix) <= pack.SUFFIX_TOKENS


@settings(max_examples=100, deadline=None)
@given(
    st.text(st.sampled_from("ab_ 1(\n\t\r\fé日🚨\u2028"), min_size=1, max_size=80),
    st.data(),
)
def test_tokens_are_those_of_awkward_text(text: str, data: st.DataObject) -> None:
    end = data.draw(st.integers(1, len(text)))
    start = data.draw(st.integers(0, end - 1))
    example = pack_one(text, start, end)
    if example is None:  # the window began after the hole did
        return
    assert text[:end].encode().endswith(decode(example.prefix).encode())
    assert example.prefix == encode(decode(example.prefix))
    assert text[end:].startswith(decode(example.suffix).rstrip("\ufffd"))
    middle = decode(example.prefix[example.holes[0][0] :])
    assert middle.endswith(text[start:end]), "the middle holds the hole, and what its first token adds"


def test_windows_begin_with_a_line_and_differ() -> None:
    begins, lengths = Counter[int](), []
    for seed in range(300):
        example = pack_one(TEXT, len(TEXT) - 5, len(TEXT), seed=seed)
        assert example is not None
        prefix = decode(example.prefix)
        at = len(TEXT) - len(prefix)
        assert TEXT[at - 1] == "\n", "a window begins after a newline"
        assert decode(example.prefix[example.holes[0][0] :]).endswith(TEXT[-5:]), "the middle is all there"
        lengths.append(len(example.prefix) / pack.PREFIX_TOKENS)
        begins[at] += 1
    assert len(begins) > 10
    # Half of them are about as long as there is room, the others any length.
    assert 0.5 < sum(length >= 0.7 for length in lengths) / 300 < 0.8
    assert sum(length < 0.2 for length in lengths) > 15


def test_a_short_file_is_mostly_kept_whole() -> None:
    text = FUNCTION * 2
    prefixes = [decode(e.prefix) for seed in range(100) if (e := pack_one(text, 140, 150, seed=seed))]
    assert 60 < prefixes.count(text[:150]) < 100


def test_a_line_longer_than_the_window_is_cut() -> None:
    text = "x = " + "abc + " * 400 + "d\n"
    example = pack_one(text, len(text) - 10, len(text) - 1)
    assert example is not None
    assert len(example.prefix) == pack.PREFIX_TOKENS
    assert text[:-1].endswith(decode(example.prefix))


def test_a_start_moves_back_to_a_token() -> None:
    example = example_at("value = self.comp«ute(1)»\n")
    (start, _) = example.holes[0]
    assert decode(example.prefix[:start]) in ("value = self.", "value = self.comp")
    assert decode(example.prefix[start:]).endswith("ute(1)")


@pytest.mark.parametrize(
    ("marked", "middle"),
    [
        ("if x:\n    «return y»\n", "return y"),
        ("if x:\n  «  return y»\n", "\n    return y"),
        ("if x:\n«    return y»\n", "\n    return y"),
        ("if x:\n    return« y»\n", " y"),
        ("if x:\n    return «y»\n", " y"),
    ],
)
def test_middles_begin_where_a_token_does(marked: str, middle: str) -> None:
    example = example_at(marked)
    assert decode(example.prefix[example.holes[0][0] :]) == middle


def test_holes_are_sorted_shortest_first_and_unique() -> None:
    text = "result = function(first, second)\n"
    end = len(text) - 1
    starts = (0, text.index("("), text.index("second"), text.index("second") + 2)
    cut = Cut(end=end, starts=starts, kinds=(Kind.LINE, Kind.NODE, Kind.REST_OF_LINE, Kind.RANDOM))
    (example,) = pack.pack([CutDocument(text=text, cuts=(cut,), seed=1)], CODER)
    indices = [index for index, _ in example.holes]
    assert indices == sorted(set(indices), reverse=True)
    assert dict(example.holes)[0] is Kind.LINE
    assert all(0 <= index < len(example.prefix) for index in indices)


def test_middles_too_long_for_a_canvas_are_dropped() -> None:
    tokens = encode(TEXT)
    fits = len(decode(tokens[: -pack.MIDDLE_TOKENS]))
    assert pack_one(TEXT, fits, len(TEXT)) is not None
    assert pack_one(TEXT, fits - 8, len(TEXT)) is None


def test_an_empty_suffix_is_empty() -> None:
    example = pack_one(TEXT, 100, 110, empty=True)
    assert example is not None
    assert example.suffix == []


def test_suffixes_vary_in_length() -> None:
    lengths = [len(e.suffix) for seed in range(100) if (e := pack_one(TEXT, 400, 410, seed=seed))]
    assert lengths.count(pack.SUFFIX_TOKENS) > 50
    assert min(lengths) < pack.SUFFIX_TOKENS / 2


def test_batches_do_not_change_examples() -> None:
    rng = random.Random(0)
    documents = [
        CutDocument(
            text=TEXT[i * 50 :],
            cuts=tuple(
                Cut(end=end, starts=(end - 9,), kinds=(Kind.RANDOM,))
                for end in sorted(rng.sample(range(10, 900), 5))
            ),
            seed=i,
        )
        for i in range(7)
    ]
    assert list(pack.pack(documents, CODER, batch=2)) == list(pack.pack(documents, CODER, batch=64))


def numbered(count: int) -> list[Example]:
    """Examples that differ in every array."""
    return [
        Example(
            suffix=[20 + i] * (i % 3),
            prefix=[1000 + i] * (5 + i % 4),
            holes=[(2, Kind(i % 6)), (1, Kind.NODE)],
        )
        for i in range(count)
    ]


def unpack(shard: pack.Shard) -> list[Example]:
    offsets = shard.offsets()
    found = []
    for i in range(len(shard)):
        tokens = shard.tokens[offsets[i] : offsets[i + 1]].tolist()
        at = int(shard.suffix_lens[i])
        used = int(shard.n_starts[i])
        kinds = [Kind(kind) for kind in shard.kinds[i, :used]]
        holes = list(zip(shard.starts[i, :used].tolist(), kinds, strict=True))
        assert (shard.starts[i, used:] == UNUSED).all()
        found.append(Example(suffix=tokens[:at], prefix=tokens[at:], holes=holes))
    return found


def test_collecting_keeps_examples() -> None:
    assert unpack(pack.collect(numbered(10))) == numbered(10)


def test_shards_hold_every_example_once_and_shuffled(tmp_path: Path) -> None:
    examples = numbered(100)
    paths = pack.write_shards(pack.collect(examples), tmp_path, "train", seed=3, size=30)
    assert [path.name for path in paths] == [f"train-000{i}.npz" for i in range(4)]
    found = [example for path in paths for example in unpack(pack.read_shard(path))]
    assert found != examples
    assert sorted(map(repr, found)) == sorted(map(repr, examples))


def test_writing_is_repeatable_and_removes_stale_files(tmp_path: Path) -> None:
    shard = pack.collect(numbered(20))
    first = [path.read_bytes() for path in pack.write_shards(shard, tmp_path, "train", seed=3, size=5)]
    again = [path.read_bytes() for path in pack.write_shards(shard, tmp_path, "train", seed=3, size=5)]
    assert first == again
    (tmp_path / "heldout-0000.npz").touch()
    pack.write_shards(shard, tmp_path, "train", seed=3, size=20)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["heldout-0000.npz", "train-0000.npz"]


def test_no_examples_give_no_files(tmp_path: Path) -> None:
    assert pack.write_shards(pack.collect([]), tmp_path, "train", seed=0) == []


def test_a_shard_without_an_array_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "train-0000.npz"
    np.savez_compressed(path, tokens=np.zeros(3, np.uint16))
    with pytest.raises(KeyError):
        pack.read_shard(path)
