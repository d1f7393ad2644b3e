"""The corpus from the command line: `python -m infill.corpus build` and `… add NAME==VERSION`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from infill.corpus import fetch, manifest
from infill.corpus.build import TOKENIZER, build
from infill.corpus.duplicates import Benchmark
from infill.corpus.licences import contradiction, declared
from infill.corpus.report import report


def main(arguments: list[str] | None = None) -> int:
    """Run one command; 0 when it did what it was asked, 1 with a message when not."""
    options = _parser().parse_args(arguments)
    try:
        if options.command == "add":
            return _add(options)
        return _build(options)
    except (manifest.ManifestError, fetch.FetchError, OSError, ValueError) as error:
        print(f"corpus: {error}", file=sys.stderr)
        return 1


def _build(options: argparse.Namespace) -> int:
    packages = manifest.read(options.manifest)
    train = [package for package in packages if package.split == "train"]
    chosen = set(train[: options.limit_packages])
    built = build(
        [package for package in packages if package.split == "heldout" or package in chosen],
        options.out,
        benchmark=Benchmark.read(options.exclude_overlap),
        tokenizer_path=options.tokenizer,
        retrain_tokenizer=options.retrain_tokenizer,
    )
    print(report(built))
    return 0


def _add(options: argparse.Namespace) -> int:
    """Download packages, check their licences, and write their entries; report those that cannot be had."""
    failed = 0
    for requirement in options.requirements:
        name, _, version = requirement.partition("==")
        try:
            entry = _entry(name, version, options)
            manifest.append(entry, options.manifest)
            print(f"{requirement}: {entry.licence}")
        except (fetch.FetchError, manifest.ManifestError) as error:
            print(f"corpus: {error}", file=sys.stderr)
            failed += 1
    return int(failed > 0)


def _entry(name: str, version: str, options: argparse.Namespace) -> manifest.Package:
    cache = options.out / "wheels"
    wheel = fetch.find(name, version, cache)
    if wheel is None:
        fetch.download(name, version, cache)
        wheel = fetch.find(name, version, cache)
    if wheel is None:
        raise fetch.FetchError(f"{name} {version}: pip left no wheel of that name and version")
    licence = options.licence or declared(fetch.metadata(wheel))
    if (problem := contradiction(licence, fetch.metadata(wheel))) is not None:
        raise fetch.FetchError(f"{name} {version}: {problem}")
    checksum = fetch.sha256(wheel)
    return manifest.Package(
        name=name, version=version, licence=licence, split=options.split, wheel=wheel.name, sha256=checksum
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m infill.corpus", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    make = commands.add_parser("build", help="fetch, clean, cut and pack all packages of the manifest")
    make.add_argument("--tokenizer", type=Path, default=TOKENIZER, help="where the tokenizer is or goes")
    make.add_argument("--retrain-tokenizer", action="store_true", help="train it even where it is there")
    make.add_argument("--limit-packages", type=int, metavar="N", help="only the first N training packages")
    make.add_argument(
        "--exclude-overlap",
        type=Path,
        nargs="+",
        default=[],
        metavar="FILE.jsonl.gz",
        help="drop documents that share 13 words in a row with a task of these benchmarks",
    )
    add = commands.add_parser("add", help="extend the manifest")
    add.add_argument("requirements", nargs="+", metavar="NAME==VERSION")
    add.add_argument("--split", choices=manifest.SPLITS, default="train")
    add.add_argument("--licence", help="SPDX expression; by default what the wheel declares")
    for command in (make, add):
        command.add_argument("--out", type=Path, default=Path(".data"), help="where everything is kept")
        command.add_argument("--manifest", type=Path, default=manifest.MANIFEST)
    return parser


if __name__ == "__main__":
    sys.exit(main())
