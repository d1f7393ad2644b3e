"""The corpus build from wheels to shards, on small wheels made here; nothing is fetched from outside."""

from __future__ import annotations

import gzip
import json
import subprocess
import zipfile
from collections import Counter
from pathlib import Path

import pytest

from engine.training import pack
from engine.training import tokenizer as training
from infill.corpus import __main__ as cli
from infill.corpus import fetch, manifest
from infill.corpus.build import Source, keep_rates
from infill.corpus.clean import Drop
from infill.corpus.documents import Cleaned, clean_package
from infill.corpus.duplicates import Benchmark, SeenDocuments
from infill.corpus.fetch import FetchError
from infill.corpus.manifest import Package


def module(name: str, functions: int = 12) -> str:
    return "".join(
        f"def {name}_{i}(first, second):\n"
        f"    {name} = first * {i} + second\n"
        f"    return {name}.compute(first)\n\n\n"
        for i in range(functions)
    )


def make_wheel(cache: Path, name: str, files: dict[str, str], licence: str = "MIT") -> Package:
    """Write a wheel into `cache` and give its manifest entry."""
    cache.mkdir(parents=True, exist_ok=True)
    path = cache / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        text = f"Metadata-Version: 2.4\nName: {name}\nVersion: 1.0\nLicense-Expression: {licence}\n\n{name}"
        archive.writestr(f"{name}-1.0.dist-info/METADATA", text)
        for file, content in files.items():
            archive.writestr(file, content)
    return Package(
        name=name,
        version="1.0",
        licence="MIT",
        split="heldout" if name.startswith("held") else "train",
        wheel=path.name,
        sha256=fetch.sha256(path),
    )


def make_corpus(out: Path) -> list[Package]:
    """Three training packages and one that is held out, with a document that two of them share."""
    wheels = out / "wheels"
    return [
        make_wheel(wheels, "alpha", {"alpha/a.py": module("ant"), "alpha/shared.py": module("both")}),
        make_wheel(wheels, "beta", {"beta/b.py": module("bee"), "beta/notes.txt": module("text")}),
        make_wheel(wheels, "gamma", {"gamma/c.py": module("cat"), "gamma/_vendor/d.py": module("dog")}),
        make_wheel(wheels, "held", {"held/h.py": module("hen"), "held/shared.py": module("both")}),
    ]


def write_manifest(path: Path, packages: list[Package]) -> Path:
    path.write_text("".join(package.toml() for package in packages))
    return path


def build(tmp_path: Path, packages: list[Package], *more: str) -> int:
    path = write_manifest(tmp_path / "manifest.toml", packages)
    places = ["--out", str(tmp_path / "data"), "--tokenizer", str(tmp_path / "tokenizer.json")]
    return cli.main(["build", "--manifest", str(path), *places, *more])


def snapshot(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.iterdir()}


@pytest.fixture(autouse=True)
def no_pip(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let pip fail at once, as without a network."""

    def refuse(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(command, 1, "", f"ERROR: No matching distribution: {command[-1]}")

    monkeypatch.setattr(fetch.subprocess, "run", refuse)


def test_one_command_builds_tokenizer_and_shards(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert build(tmp_path, make_corpus(tmp_path / "data")) == 0
    coder = training.load(tmp_path / "tokenizer.json")
    shards = {path.name: pack.read_shard(path) for path in (tmp_path / "data" / "shards").iterdir()}
    assert sorted(shards) == ["heldout-0000.npz", "train-0000.npz"]
    texts = {name: coder.decode(shard.tokens.tolist()) for name, shard in shards.items()}
    assert "hen_" in texts["heldout-0000.npz"]
    assert "hen_" not in texts["train-0000.npz"]
    assert all(name in texts["train-0000.npz"] for name in ("ant_", "bee_", "cat_"))
    assert "dog_" not in texts["train-0000.npz"], "vendored code is left out"
    assert "both_" not in texts["train-0000.npz"], "what is held out is not trained on"
    printed = capsys.readouterr().out
    assert "alpha 1.0" in printed
    assert f"{len(shards['train-0000.npz']):,} examples" in printed
    assert "duplicate" in printed


def test_a_second_build_reuses_and_repeats(tmp_path: Path) -> None:
    packages = make_corpus(tmp_path / "data")
    assert build(tmp_path, packages) == 0
    data = tmp_path / "data"
    cleaned, shards = snapshot(data / "clean"), snapshot(data / "shards")
    tokenizer = (tmp_path / "tokenizer.json").read_bytes()
    assert build(tmp_path, packages) == 0
    assert snapshot(data / "clean") == cleaned, "cleaned documents are not made again"
    assert {n: content for n, (_, content) in snapshot(data / "shards").items()} == {
        n: content for n, (_, content) in shards.items()
    }
    assert (tmp_path / "tokenizer.json").read_bytes() == tokenizer


def test_a_tokenizer_that_is_there_is_kept_unless_told(tmp_path: Path) -> None:
    packages = make_corpus(tmp_path / "data")
    other = training.train([module("zebra")], vocab_size=300)
    path = tmp_path / "tokenizer.json"
    training.save(other, path)
    before = path.read_bytes()
    assert build(tmp_path, packages) == 0
    assert path.read_bytes() == before
    assert build(tmp_path, packages, "--retrain-tokenizer") == 0
    assert path.read_bytes() != before


def test_packages_can_be_limited(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert build(tmp_path, make_corpus(tmp_path / "data"), "--limit-packages", "1") == 0
    printed = capsys.readouterr().out
    assert "alpha 1.0" in printed
    assert "held 1.0" in printed
    assert "beta 1.0" not in printed


def test_documents_that_overlap_a_benchmark_are_dropped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    task = {"prompt": module("bee", 3), "canonical_solution": "", "suffix": "", "test": "assert True\n"}
    bench = tmp_path / "bench.jsonl.gz"
    with gzip.open(bench, "wt") as file:
        file.write(json.dumps(task) + "\n")
    assert build(tmp_path, make_corpus(tmp_path / "data"), "--exclude-overlap", str(bench)) == 0
    assert Drop.OVERLAP.value in capsys.readouterr().out
    coder = training.load(tmp_path / "tokenizer.json")
    shard = pack.read_shard(tmp_path / "data" / "shards" / "train-0000.npz")
    assert "bee_" not in coder.decode(shard.tokens.tolist())


@pytest.mark.parametrize("content", ["not json\n", '{"prompt": "x"}\n', "[]\n"])
def test_a_malformed_benchmark_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str
) -> None:
    bench = tmp_path / "bench.jsonl.gz"
    with gzip.open(bench, "wt") as file:
        file.write(content)
    assert build(tmp_path, make_corpus(tmp_path / "data"), "--exclude-overlap", str(bench)) == 1
    assert "corpus: " in capsys.readouterr().err


def test_a_reserved_package_fails_the_build(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    packages = make_corpus(tmp_path / "data")
    path = write_manifest(tmp_path / "manifest.toml", packages)
    path.write_text(path.read_text().replace('name = "beta"', 'name = "Flask"'))
    assert cli.main(["build", "--manifest", str(path), "--out", str(tmp_path / "data")]) == 1
    assert "Flask 1.0: reserved" in capsys.readouterr().err
    assert not (tmp_path / "data" / "shards").exists()


def test_another_wheel_fails_the_build(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    packages = make_corpus(tmp_path / "data")
    make_wheel(tmp_path / "data" / "wheels", "alpha", {"alpha/a.py": module("other")})
    assert build(tmp_path, packages) == 1
    assert "sha256" in capsys.readouterr().err


def test_another_licence_fails_the_build(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    package = make_wheel(tmp_path / "data" / "wheels", "delta", {}, licence="GPL-3.0-only")
    assert build(tmp_path, [package]) == 1
    assert "GPL-3.0-only" in capsys.readouterr().err


def test_a_package_that_cannot_be_had_is_named(tmp_path: Path) -> None:
    package = make_wheel(tmp_path / "elsewhere", "delta", {})
    with pytest.raises(FetchError, match=r"delta 1\.0: ERROR: No matching distribution: delta==1\.0"):
        fetch.fetch(package, tmp_path / "wheels")


def test_a_broken_wheel_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a-1-py3-none-any.whl"
    path.write_bytes(b"no zip")
    with pytest.raises(FetchError, match="a-1-py3-none-any"):
        fetch.metadata(path)


def test_add_extends_the_manifest(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = tmp_path / "data"
    expected = make_wheel(data / "wheels", "delta", {"delta/a.py": module("ant")})
    make_wheel(data / "wheels", "copyleft", {}, licence="GPL-3.0-only")
    path = tmp_path / "manifest.toml"
    path.touch()
    options = ["--manifest", str(path), "--out", str(data)]
    assert cli.main(["add", "delta==1.0", "copyleft==1.0", "absent==1.0", *options]) == 1
    assert manifest.read(path) == [expected]
    errors = capsys.readouterr().err
    assert "copyleft 1.0" in errors
    assert "absent 1.0" in errors


def test_tests_are_capped(tmp_path: Path) -> None:
    files = {f"a/m{i}.py": module(f"mod{i}") for i in range(6)}
    files |= {f"a/tests/test_{i}.py": module(f"check{i}") for i in range(6)}
    package = make_wheel(tmp_path, "alpha", files)
    cleaned = clean_package(package, tmp_path / package.wheel, tmp_path / "clean", Benchmark())
    texts = list(cleaned.texts())
    assert sum("check" in text for text in texts) == 2
    assert len(texts) == 8
    assert cleaned.dropped[Drop.TESTS] == 4


def test_cleaning_again_after_a_change_of_benchmark(tmp_path: Path) -> None:
    package = make_wheel(tmp_path, "alpha", {"a/m.py": module("ant")})
    wheel = tmp_path / package.wheel
    assert len(list(clean_package(package, wheel, tmp_path / "clean", Benchmark()).texts())) == 1
    benchmark = Benchmark([module("ant", 2)])
    assert list(clean_package(package, wheel, tmp_path / "clean", benchmark).texts()) == []


def test_duplicates_and_near_duplicates() -> None:
    seen = SeenDocuments()
    assert seen.add(module("ant", 40)) is None
    assert seen.add(module("ant", 40)) is Drop.DUPLICATE
    assert seen.add(module("ant", 40).replace("    ", "\t")) is Drop.DUPLICATE
    assert seen.add(module("ant", 40) + module("bee", 5)) is Drop.NEAR_DUPLICATE
    assert seen.add(module("ant", 10) + module("bee", 40)) is None
    assert seen.add("x = 1\n") is None
    assert seen.add("x = 1\n\n") is Drop.DUPLICATE


WORDS = "def alpha beta gamma delta epsilon zeta eta theta iota kappa lamda mu nu xi"


@pytest.mark.parametrize(
    ("text", "overlap"),
    [
        (WORDS, True),
        ("before " + WORDS.replace(" ", "(\n  ").upper() + " after", True),
        (" ".join(WORDS.split()[1:14]), True),
        (" ".join(WORDS.split()[:12]), False),
        (WORDS.replace("eta theta", "eta, other, theta"), False),
        ("1 2 3 4 5 6 7 8 9 10 11 12 13 14", False),
    ],
)
def test_overlap_means_thirteen_words_in_a_row(text: str, overlap: bool) -> None:
    assert Benchmark([WORDS, "1 2 3 4 5 6 7 8 9 10 11 12 13 14"]).overlaps(text) is overlap


def source(chars: int) -> Source:
    package = Package(name="a", version="1", licence="MIT", split="train", wheel="a.whl", sha256="0" * 64)
    made = Source(cleaned=Cleaned(package=package, path=Path("unused"), dropped=Counter()))
    made.chars = chars
    return made


@pytest.mark.parametrize("sizes", [[100] * 100, [10_000] + [100] * 99, [5000, 4000] + [7] * 60, [30, 0, 900]])
def test_no_package_dominates(sizes: list[int]) -> None:
    rates = keep_rates([source(size) for size in sizes])
    used = [size * rate for size, rate in zip(sizes, rates, strict=True)]
    share = max(0.03, 2 / len(sizes))
    assert all(0 <= rate <= 1 for rate in rates)
    assert max(used) <= share * sum(used) * 1.001
    smallest = min(size for size in sizes if size)
    assert rates[sizes.index(smallest)] == 1, "small packages are used whole"


def test_an_empty_corpus_builds_nothing(tmp_path: Path) -> None:
    training.save(training.train([module("ant")], vocab_size=300), tmp_path / "tokenizer.json")
    assert build(tmp_path, []) == 0
    assert list((tmp_path / "data" / "shards").iterdir()) == []
