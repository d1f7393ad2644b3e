"""Where an import may lie: paths to look for, best first. It does not look: `infill.workspace.index` does."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass

from infill.workspace.imports import Import

_MODULES = (".py", "/__init__.py", ".pyi", "/__init__.pyi")
_SCRIPTS = (".ts", ".tsx", ".d.ts", ".js", ".jsx", ".mjs", ".cjs", ".mts", ".cts")


@dataclass(frozen=True, slots=True)
class Sought:
    """A path with forward slashes, from the workspace folder where it is `exact`, else how a path ends.

    With `folder` it names a folder, all of whose files are meant.
    """

    path: str
    exact: bool = False
    folder: bool = False


def sought(imported: Import, importer: str, language: str) -> list[Sought]:
    """What an import in the file `importer` (relative to its workspace folder) may mean."""
    here = posixpath.dirname(importer)
    if language == "python":
        return _python(imported, here)
    if language.startswith(("javascript", "typescript")):
        return _script(imported.module, here)
    if language == "go":
        return _go(imported.module)
    if language == "rust":
        return _rust(imported, importer)
    if language == "java":
        if imported.name == "*":
            return [Sought(imported.module, folder=True)]
        return [Sought(f"{imported.module}/{imported.name}.java"), Sought(f"{imported.module}.java")]
    return [_exact(here, imported.module), Sought(imported.module)]


def as_module(imported: Import, language: str) -> Import | None:
    """The import of a name read as one of a module of that name; None where it cannot be meant so."""
    if imported.name in ("", "*") or language not in ("python", "rust"):
        return None
    separator = "/" if language == "rust" else "" if imported.module.endswith(".") else "."
    return Import(f"{imported.module}{separator}{imported.name}", "", imported.alias)


def _exact(folder: str, path: str) -> Sought:
    return Sought(posixpath.normpath(posixpath.join(folder, path)), exact=True)


def _python(imported: Import, here: str) -> list[Sought]:
    level = len(imported.module) - len(imported.module.lstrip("."))
    path = imported.module[level:].replace(".", "/")
    if not level:
        return [Sought(path + end) for end in _MODULES]
    up = posixpath.join(here, *[".."] * (level - 1))
    return [_exact(up, path + end if path else end.lstrip("/")) for end in _MODULES if path or "/" in end]


def _script(module: str, here: str) -> list[Sought]:
    if module.startswith("."):
        exact, path = True, posixpath.normpath(posixpath.join(here, module))
    elif module.startswith(("@/", "~/")):  # what most projects call their own folder
        exact, path = False, module[2:]
    else:
        return []
    stem = path.removesuffix(".js")  # as TypeScript has it: the name of what will be made of the file
    ends = ["", *_SCRIPTS, *(f"/index{end}" for end in _SCRIPTS)]
    paths = [path, *(stem + end for end in ends[1:])]
    return [Sought(p, exact=exact) for p in paths]


def _go(module: str) -> list[Sought]:
    parts = module.split("/")
    if "." not in parts[0]:  # the standard library has no domain
        return [Sought(module, folder=True)] if len(parts) > 1 else []
    return [Sought("/".join(parts[start:]), folder=True) for start in range(1, len(parts))]


def _rust(imported: Import, importer: str) -> list[Sought]:
    first, _, rest = imported.module.partition("/")
    here = posixpath.dirname(importer)
    if posixpath.basename(importer) not in ("mod.rs", "lib.rs", "main.rs"):
        here = importer.removesuffix(".rs")  # a module's own modules lie in a folder of its name
    own = {"self": here, "super": posixpath.dirname(here), "crate": _crate(importer)}
    if first not in own:
        return []
    base = posixpath.normpath(posixpath.join(own[first], rest))
    paths = [f"{base}.rs", f"{base}/mod.rs", f"{base}/lib.rs", f"{base}/main.rs"]
    return [Sought(posixpath.normpath(path), exact=True) for path in paths]


def _crate(importer: str) -> str:
    """The folder of a crate's sources: the last one called `src`, or the importer's own."""
    parts = posixpath.dirname(importer).split("/")
    if "src" not in parts:
        return "/".join(parts)
    return "/".join(parts[: len(parts) - parts[::-1].index("src")])
