"""Builds the training data: packages → documents → tokenizer → cuts → shards.

Every step keeps its result on disk and is skipped when that is there, except the last, which is fast. The
same manifest, tokenizer and rules give the same shards.

It does not know how packages are fetched or holes are chosen.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from engine.training import pack, tokenizer
from engine.training.tokenizer import Tokenizer
from infill.corpus import cut
from infill.corpus.clean import Drop, parse
from infill.corpus.documents import Cleaned, clean_package, seed_of
from infill.corpus.duplicates import Benchmark, SeenDocuments
from infill.corpus.fetch import fetch
from infill.corpus.manifest import Package

TOKENIZER = Path("engine/models/embedded/tokenizer.json")
LARGEST_SHARE = 0.03
"""The most of a split's characters, and so of its examples, that one package may give."""
IMPORT_DROPOUT = 0.5
TOKENIZER_CHARS = 60_000_000
HELDOUT_CHARS_PER_CUT = 350
SHUFFLE_SEED = 0


@dataclass(kw_only=True)
class Source:
    """One package on its way through the build; sizes are in characters of kept documents."""

    cleaned: Cleaned
    kept: set[int] = field(default_factory=set)
    chars: int = 0
    examples: int = 0
    dropped: Counter[Drop] = field(default_factory=Counter)

    @property
    def package(self) -> Package:
        """The manifest's entry."""
        return self.cleaned.package

    def texts(self) -> Iterator[str]:
        """The documents that survived the comparison with other packages."""
        return (text for index, text in enumerate(self.cleaned.texts()) if index in self.kept)


@dataclass(frozen=True, kw_only=True)
class Built:
    """What a build made: the sources with their counts, and per split the packed examples and files."""

    sources: list[Source]
    shards: dict[str, pack.Shard]
    paths: dict[str, list[Path]]


def build(
    packages: list[Package],
    out: Path,
    *,
    benchmark: Benchmark,
    tokenizer_path: Path = TOKENIZER,
    retrain_tokenizer: bool = False,
    say: Callable[[str], None] = print,
) -> Built:
    """Run all steps for `packages`, with everything but the tokenizer under `out`.

    Raises:
        FetchError: a package cannot be had as the manifest says.
    """
    sources = []
    for package in packages:
        say(f"{package.name} {package.version}")
        wheel = fetch(package, out / "wheels")
        sources.append(Source(cleaned=clean_package(package, wheel, out / "clean", benchmark)))
    drop_duplicates(sources)
    if retrain_tokenizer or not tokenizer_path.exists():
        say("training the tokenizer")
        tokenizer.save(tokenizer.train(tokenizer_texts(sources)), tokenizer_path)
    coder = tokenizer.load(tokenizer_path)
    shards, paths = {}, {}
    for split in ("heldout", "train"):
        say(f"packing {split}")
        chosen = [source for source in sources if source.package.split == split]
        shards[split] = pack.collect(_examples(chosen, coder, dropout=split == "train"))
        paths[split] = pack.write_shards(shards[split], out / "shards", split, seed=SHUFFLE_SEED)
    return Built(sources=sources, shards=shards, paths=paths)


def drop_duplicates(sources: Iterable[Source]) -> None:
    """Mark each source's documents that repeat none seen before, held-out packages going first."""
    seen = SeenDocuments()
    for source in sorted(sources, key=lambda s: (s.package.split != "heldout", s.package.name)):
        source.dropped.update(source.cleaned.dropped)
        for index, text in enumerate(source.cleaned.texts()):
            if (reason := seen.add(text)) is not None:
                source.dropped[reason] += 1
            else:
                source.kept.add(index)
                source.chars += len(text)


def tokenizer_texts(sources: Iterable[Source]) -> Iterator[str]:
    """Training documents for the tokenizer, the same share of each package after capping large ones."""
    train = [source for source in sources if source.package.split == "train"]
    rates = keep_rates(train)
    total = sum(source.chars * rate for source, rate in zip(train, rates, strict=True))
    portion = min(1.0, TOKENIZER_CHARS / max(total, 1))
    for source, rate in zip(train, rates, strict=True):
        yield from (text for text in source.texts() if seed_of(text) / 2**64 < portion * rate)


def keep_rates(sources: list[Source]) -> list[float]:
    """For each source the share of it to use, so that none exceeds `LARGEST_SHARE` of what is used.

    Where there are too few sources for that, none gives more than twice its equal share.
    """
    sizes = [source.chars for source in sources]
    share = max(LARGEST_SHARE, 2 / max(len(sizes), 1))
    low, high = 0.0, float(max(sizes, default=0))
    for _ in range(60):  # bisection for the largest cap that keeps to the share
        cap = (low + high) / 2
        fits = cap <= share * sum(min(size, cap) for size in sizes)
        low, high = (cap, high) if fits else (low, cap)
    return [min(1.0, high / size) if size else 0.0 for size in sizes]


def _examples(sources: list[Source], coder: Tokenizer, *, dropout: bool) -> Iterator[pack.Example]:
    rates = keep_rates(sources) if dropout else [1.0] * len(sources)
    spacing = cut.CHARS_PER_CUT if dropout else HELDOUT_CHARS_PER_CUT
    for source, rate in zip(sources, rates, strict=True):
        if not rate:
            continue
        texts = source.texts()
        documents = (_cut_document(text, spacing / rate, dropout) for text in texts)
        for example in pack.pack(documents, coder):
            source.examples += 1
            yield example


def _cut_document(text: str, chars_per_cut: float, dropout: bool) -> pack.CutDocument:
    seed = seed_of(text)
    rng = random.Random(seed)
    tree = parse(text)
    if dropout and rng.random() < IMPORT_DROPOUT:
        text = cut.without_imports(text, tree)
        tree = parse(text)
    cuts = cut.cut(text, tree, rng=rng, chars_per_cut=chars_per_cut)
    return pack.CutDocument(text=text, cuts=tuple(cuts), seed=seed)
