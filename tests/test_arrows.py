"""The arrows of ARCHITECTURE.md: lsp → infill → engine, and each foreign library behind one package."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

MODULE = re.compile(r"`((?:engine|infill|lsp|benchmarks)\.[a-z_]+(?:\.\w+)*)")
"""A module of ours, or something in one, as texts speak of it. Files and settings have such names too."""

MAY_IMPORT = {"lsp": {"lsp", "infill", "engine"}, "infill": {"infill", "engine"}, "engine": {"engine"}}
"""Which of our packages each may import."""

ONLY_IN = {
    "tree_sitter": "infill",
    "msgspec": "engine",
    "pathspec": "infill",
    "torch": "engine",
    "safetensors": "engine",
    "tokenizers": "engine",
    "huggingface_hub": "engine",
    "triton": "engine",
    "gguf": "engine",
    "pygls": "lsp",
    "lsprotocol": "lsp",
}
"""The one package each of these libraries (and whatever begins with its name and `_`) is imported in."""

NOWHERE = {"transformers", "peft", "compressed_tensors"}

LAYERS = {
    "engine": (
        {"errors"},
        {"request", "config", "audience"},
        {"text", "native", "quant"},
        {"kernels"},
        {"networks"},
        {"checkpoints"},
        {"caches", "training"},
        {"denoising"},
        {"causal"},
        {"generation"},
        {"inprocess"},
        {"service", "measure"},
        {"resident", "remote"},
    ),
    "infill": (
        {"errors", "request", "ignore", "project_config"},
        {"code"},
        {"hole", "snippets"},
        {"context", "checks", "cuts"},
        {"postprocess", "repair"},
        {"outcomes"},
        {"pipeline"},
        {"reuse", "marked", "fixes", "workspace", "corpus"},
        {"variants", "evaluate"},
    ),
}
"""The parts of a package; each may import what is above it here, and itself."""


def imported(source: str, package: str) -> Iterator[str]:
    """The first part of each module that a file of `package` imports, at any depth of the code."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield package if node.level else (node.module or "").split(".")[0]
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in (
            "__import__",
            "importlib.import_module",
        ):
            first = node.args[0] if node.args else None
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                yield first.value.split(".")[0]


def wrong_arrows(root: Path) -> list[str]:
    """Every import under `root` that no arrow allows, as `file imports module`."""
    wrong = []
    for package, allowed in MAY_IMPORT.items():
        for path in sorted((root / package).rglob("*.py")):
            for module in imported(path.read_text("utf-8"), package):
                home = next(
                    (p for lib, p in ONLY_IN.items() if module == lib or module.startswith(lib + "_")), None
                )
                against = module in MAY_IMPORT and module not in allowed
                if against or module in NOWHERE or (home is not None and home != package):
                    wrong.append(f"{path.relative_to(root).as_posix()} imports {module}")
    return wrong


def parts_imported(source: str, package: str) -> Iterator[str]:
    """The parts of `package` that a file imports, at any depth of the code, for types alone too."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module == package:
            names = [f"{package}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        else:
            continue
        yield from (name.split(".")[1] for name in names if name.startswith(f"{package}."))


def wrong_layers(root: Path) -> list[str]:
    """Every import under `root` that goes against `LAYERS`, as `file imports part`."""
    wrong = []
    for package, layers in LAYERS.items():
        rank = {part: index for index, layer in enumerate(layers) for part in layer}
        for path in sorted((root / package).rglob("*.py")):
            own = path.relative_to(root / package).parts[0].removesuffix(".py")
            wrong += [
                f"{path.relative_to(root).as_posix()} imports {part}"
                for part in parts_imported(path.read_text("utf-8"), package)
                if own != "__init__" and part != own and rank[part] >= rank[own]
            ]
    return wrong


def test_no_arrow_is_wrong() -> None:
    assert wrong_arrows(ROOT) == []


def test_no_part_imports_one_above_it() -> None:
    assert wrong_layers(ROOT) == []


@pytest.mark.parametrize(
    ("path", "source", "part"),
    [
        ("engine/networks/a.py", "from engine.caches.prefix import PrefixCache\n", "caches"),
        ("engine/text/a.py", "def f():\n    from engine import networks\n", "networks"),
        ("engine/native/a.py", "import engine.quant.weight\n", "quant"),
        ("infill/hole.py", "from infill.pipeline import fill_all\n", "pipeline"),
        ("engine/request.py", "if TYPE_CHECKING:\n    from engine.text.tokenizer import Tokenizer\n", "text"),
    ],
)
def test_a_part_that_imports_one_above_it_is_found(tmp_path: Path, path: str, source: str, part: str) -> None:
    (tmp_path / path).parent.mkdir(parents=True)
    (tmp_path / path).write_text(source)
    assert wrong_layers(tmp_path) == [f"{path} imports {part}"]


def test_modules_that_texts_speak_of_exist() -> None:
    """Such as `engine.caches.prefix` in a docstring: nobody is sent to a place that is no more."""
    ours = (ROOT / folder for folder in (*MAY_IMPORT, "benchmarks", "tests"))
    code = [path for folder in ours for path in folder.rglob("*.py")]
    told = [*code, *ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]
    parts = {f"infill.{part}" for layer in LAYERS["infill"] for part in layer}
    missing = [
        f"{path.relative_to(ROOT).as_posix()} names {name}"
        for path in told
        if path.name not in ("LOG.md", "CHANGELOG.md")  # which tell of the past
        for name in MODULE.findall(path.read_text("utf-8"))
        if not name.startswith("infill.") or ".".join(name.split(".")[:2]) in parts
        if name not in ("engine.log", "engine.sock") and not _is_there(name)
    ]
    assert missing == []


def _is_there(name: str) -> bool:
    """Whether the dotted `name` is that of a module of ours, a package, or something in a module."""
    place = ROOT
    for step in name.split("."):
        place /= step
        if place.with_suffix(".py").exists():
            return True
        if not place.is_dir():
            return False
    return True


@pytest.mark.parametrize(
    ("path", "source", "module"),
    [
        ("infill/a.py", "import lsp.server\n", "lsp"),
        ("engine/a.py", "from infill.request import Reason\n", "infill"),
        ("engine/sub/a.py", "def f():\n    import lsp\n", "lsp"),
        ("lsp/a.py", "from tree_sitter import Parser\n", "tree_sitter"),
        ("engine/a.py", "import tree_sitter_python\n", "tree_sitter_python"),
        ("lsp/a.py", "import pathspec\n", "pathspec"),
        ("lsp/a.py", "if True:\n    import torch.nn\n", "torch"),
        ("infill/a.py", "import json, safetensors\n", "safetensors"),
        ("infill/a.py", "import tokenizers\n", "tokenizers"),
        ("lsp/a.py", "import importlib\nimportlib.import_module('huggingface_hub')\n", "huggingface_hub"),
        ("engine/a.py", "from pygls.server import X\n", "pygls"),
        ("infill/a.py", "import lsprotocol.types as t\n", "lsprotocol"),
        ("engine/a.py", "import transformers\n", "transformers"),
        ("lsp/a.py", "import triton.language as tl\n", "triton"),
        ("engine/a.py", "from compressed_tensors import x\n", "compressed_tensors"),
    ],
)
def test_a_wrong_arrow_is_found(tmp_path: Path, path: str, source: str, module: str) -> None:
    (tmp_path / path).parent.mkdir(parents=True)
    (tmp_path / path).write_text(source)
    assert wrong_arrows(tmp_path) == [f"{path} imports {module}"]


def test_right_arrows_are_left_alone(tmp_path: Path) -> None:
    sources = {
        "lsp/a.py": "import infill.request, engine.request, pygls\nfrom . import b\n",
        "infill/a.py": "import engine, tree_sitter, tree_sitter_go\nfrom .b import c\n",
        "engine/a.py": "import torch, tokenizers\nfrom engine import request\n",
    }
    for path, source in sources.items():
        (tmp_path / path).parent.mkdir()
        (tmp_path / path).write_text(source)
    assert wrong_arrows(tmp_path) == []
