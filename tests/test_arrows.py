"""The arrows of ARCHITECTURE.md: lsp → infill → engine, and each foreign library behind one package."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

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


def test_no_arrow_is_wrong() -> None:
    assert wrong_arrows(ROOT) == []


def test_there_is_something_to_walk() -> None:
    for package in MAY_IMPORT:
        assert list((ROOT / package).rglob("*.py")), package


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
