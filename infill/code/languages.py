"""Which languages there are: LSP language ids, file extensions, and where a grammar comes from.

It does not load a grammar (`infill.code.syntax` does), so that asking what a file is costs nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePath

PLAIN = "plaintext"
"""The language id of a text we have no grammar for."""


@dataclass(frozen=True, kw_only=True)
class Language:
    """A language with a grammar.

    `module` is the grammar's wheel and `function` its entry point. `indent` is one level of indentation
    where a file shows none of its own. `opener` is the character that ends a line opening a block.
    """

    id: str
    module: str
    extensions: tuple[str, ...]
    function: str = "language"
    indent: str = "    "
    opener: str = "{"


_TABLE = (
    Language(id="python", module="tree_sitter_python", extensions=(".py", ".pyi", ".pyw"), opener=":"),
    Language(
        id="javascript", module="tree_sitter_javascript", extensions=(".js", ".mjs", ".cjs"), indent="  "
    ),
    Language(id="javascriptreact", module="tree_sitter_javascript", extensions=(".jsx",), indent="  "),
    Language(
        id="typescript",
        module="tree_sitter_typescript",
        function="language_typescript",
        extensions=(".ts", ".mts", ".cts"),
        indent="  ",
    ),
    Language(
        id="typescriptreact",
        module="tree_sitter_typescript",
        function="language_tsx",
        extensions=(".tsx",),
        indent="  ",
    ),
    Language(id="go", module="tree_sitter_go", extensions=(".go",), indent="\t"),
    Language(id="rust", module="tree_sitter_rust", extensions=(".rs",)),
    Language(id="java", module="tree_sitter_java", extensions=(".java",)),
    Language(id="c", module="tree_sitter_c", extensions=(".c", ".h")),
    Language(
        id="cpp",
        module="tree_sitter_cpp",
        extensions=(".cc", ".cpp", ".cxx", ".c++", ".hh", ".hpp", ".hxx", ".h++", ".ipp", ".inl"),
    ),
)

LANGUAGES = {language.id: language for language in _TABLE}
"""Every language with a grammar, by LSP language id."""

_BY_EXTENSION = {extension: language.id for language in _TABLE for extension in language.extensions}


def language_of(path: str) -> str:
    """The LSP language id of a file by its name, `PLAIN` for one we do not know."""
    return _BY_EXTENSION.get(PurePath(path).suffix.lower(), PLAIN)
