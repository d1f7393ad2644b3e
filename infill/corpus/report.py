"""Says in plain text what a build made: one line a package, then the totals and the mix of holes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from engine.training.pack import Kind, Shard
from infill.corpus.build import Built, Source
from infill.corpus.clean import Drop

_PERCENTILES = (10, 25, 50, 75, 90, 99)
_SHORT_TOKENS = 31


def report(built: Built) -> str:
    """The whole report, ready to print."""
    parts = [_package_table(built.sources), _drop_table(built.sources)]
    for split, shard in built.shards.items():
        chosen = [source for source in built.sources if source.package.split == split]
        size = sum(path.stat().st_size for path in built.paths[split])
        parts.append(
            f"{split}: {len(chosen)} packages, {sum(len(s.kept) for s in chosen):,} documents, "
            f"{sum(s.chars for s in chosen):,} characters\n{_shard_lines(shard)}\n"
            f"  {len(built.paths[split])} files, {size / 1e6:.1f} MB"
        )
    return "\n\n".join(parts)


def _package_table(sources: Sequence[Source]) -> str:
    rows = [("package", "split", "licence", "kept", "dropped", "characters", "examples")]
    for source in sources:
        package = source.package
        counts = (len(source.kept), source.dropped.total(), source.chars, source.examples)
        texts = (f"{package.name} {package.version}", package.split, package.licence[:24])
        rows.append((*texts, *(f"{n:,}" for n in counts)))  # type: ignore[arg-type]
    return _table(rows, left=3)


def _drop_table(sources: Sequence[Source]) -> str:
    dropped: Counter[Drop] = Counter()
    for source in sources:
        dropped.update(source.dropped)
    rows = [("dropped because", "files"), *((r.value, f"{n:,}") for r, n in dropped.most_common() if n)]
    return _table(rows, left=1)


def _shard_lines(shard: Shard) -> str:
    """Counts of one split's examples; lengths are in tokens, a middle's with its end-of-middle token."""
    used = np.arange(shard.starts.shape[1]) < shard.n_starts[:, None]
    lengths = (shard.prefix_lens[:, None].astype(int) - shard.starts + 1)[used]
    kinds = np.bincount(shard.kinds[used], minlength=len(Kind)) / max(len(lengths), 1)
    mix = ", ".join(f"{kind.name.lower()} {kinds[kind]:.1%}" for kind in Kind)
    lines = [
        f"{len(shard):,} examples, {len(lengths):,} holes, {len(shard.tokens):,} tokens",
        f"holes: {mix}",
    ]
    if len(lengths):
        percentiles = np.percentile(lengths, _PERCENTILES)
        texts = ", ".join(f"p{p} {value:.0f}" for p, value in zip(_PERCENTILES, percentiles, strict=True))
        lines.append(
            f"middle lengths: {texts}; {(lengths <= _SHORT_TOKENS).mean():.1%} up to {_SHORT_TOKENS}"
        )
        means = shard.prefix_lens.mean(), shard.suffix_lens.mean()
        lines.append(f"mean prefix {means[0]:.0f} tokens, mean suffix {means[1]:.0f}")
    return "\n".join(f"  {line}" for line in lines)


def _table(rows: Sequence[Sequence[str]], *, left: int) -> str:
    """Align columns: the first `left` to the left, the others to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i < left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )
