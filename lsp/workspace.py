"""What the client has opened to work in: its folders, what of them is left alone, and what they say.

It decides whether a document may be looked at (`why_not`) and which settings count for it. In restricted
mode the folders' own `infill.toml` is not read; ignore files are, since all they can do is to take away.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from lsprotocol import types
from pygls.uris import to_fs_path

from infill.ignore import IgnoreRules, secret, secret_file
from infill.project_config import (
    FILE_NAME,
    LARGEST_BYTES,
    ProjectConfig,
    Switches,
    read_project_config,
    read_switches,
)
from lsp.settings import Settings, names_set, read_settings

PROJECT_SETTINGS = ("deadline_ms", "max_steps", "seed", "min_confidence")
"""The settings an `infill.toml` may have. Not the model, nor whatever else decides where code is sent."""

_FILE_SCHEMES = ("file", "vscode-notebook-cell")  # a notebook's cells have the path of its file
_OWN_OPTIONS = ("restricted", "languages", "paths")


@dataclass(frozen=True, kw_only=True)
class WorkspaceOptions:
    """The client's options that are about its folders.

    `restricted` is for folders the user does not trust: they are neither indexed nor asked what they want.
    `switches` count more than a project's own, and so do the settings whose names are in `given`.
    """

    restricted: bool = False
    given: frozenset[str] = frozenset()
    switches: Switches = field(default_factory=Switches)


def read_options(options: object) -> tuple[WorkspaceOptions, object, list[str]]:
    """The options about folders, the others, and one sentence for each thing that is wrong with the former.

    A value for `restricted` that is none counts as true: it was meant to say something.
    """
    if not isinstance(options, Mapping):
        return WorkspaceOptions(), options, []
    switches, problems = read_switches(options, "initializationOptions")
    restricted = options.get("restricted")
    if restricted is not None and not isinstance(restricted, bool):
        problems.append("setting 'restricted' should be true or false; the workspace is not trusted")
        restricted = True
    others = {name: value for name, value in options.items() if name not in _OWN_OPTIONS}
    return (
        WorkspaceOptions(restricted=bool(restricted), switches=switches, given=names_set(others)),
        others,
        problems,
    )


def folders_of(params: types.InitializeParams) -> list[str]:
    """The URIs of the folders a client begins with."""
    if params.workspace_folders:
        return [folder.uri for folder in params.workspace_folders]
    if params.root_uri:
        return [params.root_uri]
    return [Path(params.root_path).as_uri()] if params.root_path else []


def path_of(uri: str) -> Path | None:
    """The file a URI names; None for a text that is no file of this machine."""
    scheme, _, rest = uri.partition(":")
    if scheme not in _FILE_SCHEMES or not _path_in(uri):
        return None
    path = to_fs_path("file:" + rest.split("#")[0])
    return Path(path) if path and "\0" not in path else None


def _path_in(uri: str) -> str:
    """The path of any URI; "" where it has none or is none."""
    try:
        return unquote(urlsplit(uri).path)
    except ValueError:
        return ""


@dataclass(kw_only=True)
class Folder:
    """One folder of the workspace; `config` is what its `infill.toml` says."""

    uri: str
    rules: IgnoreRules
    config: ProjectConfig = field(default_factory=ProjectConfig)
    problems: list[str] = field(default_factory=list)

    @property
    def root(self) -> Path:
        """Where it lies, symbolic links resolved."""
        return self.rules.root

    def read_config(self) -> None:
        """Read its `infill.toml` again, if there is one."""
        self.config, self.problems = ProjectConfig(), []
        path = self.root / FILE_NAME
        try:
            # A link could lead out of the workspace.
            if path.is_symlink() or not path.is_file():
                return
            with path.open("rb") as file:
                data = file.read(LARGEST_BYTES + 1)
        except OSError as error:
            self.problems = [f"{FILE_NAME} cannot be read: {error.strerror or error}"]
            return
        if len(data) > LARGEST_BYTES:
            self.problems = [f"{FILE_NAME} is too large to be read"]
            return
        self.config, self.problems = read_project_config(data, PROJECT_SETTINGS)
        _, wrong = read_settings(dict(self.config.settings))
        self.problems += [f"{FILE_NAME}: {problem}" for problem in wrong]


class Folders:
    """The workspace's folders, and what holds for a document by where it lies."""

    def __init__(self, uris: Sequence[str] = (), options: WorkspaceOptions | None = None) -> None:
        self.options = options or WorkspaceOptions()
        self._folders: list[Folder] = []
        for uri in uris:
            self.add(uri)

    def __iter__(self) -> Iterator[Folder]:
        return iter(self._folders)

    def add(self, uri: str) -> list[str]:
        """Take a folder, and say what is wrong with its `infill.toml`; one that is no directory is none."""
        path = path_of(uri)
        if path is None or not os.path.isdir(path) or any(folder.uri == uri for folder in self._folders):
            return []
        folder = Folder(uri=uri, rules=IgnoreRules(path))
        if not self.options.restricted:
            folder.read_config()
        self._folders.append(folder)
        return folder.problems

    def reread(self, paths: Sequence[Path]) -> list[str]:
        """Read these `infill.toml` again, and say what is wrong with them; others do not count."""
        folders = {Path(os.path.realpath(path.parent)) for path in paths}
        problems = []
        for folder in self._folders if not self.options.restricted else ():
            if folder.root in folders:
                folder.read_config()
                problems += folder.problems
        return problems

    def remove(self, uri: str) -> None:
        """Forget a folder."""
        self._folders = [folder for folder in self._folders if folder.uri != uri]

    def of(self, path: Path) -> Folder | None:
        """The innermost folder a file lies in, symbolic links resolved."""
        real = Path(os.path.realpath(path))
        around = [folder for folder in self._folders if real.is_relative_to(folder.root)]
        return max(around, key=lambda folder: len(folder.root.parts), default=None)

    def is_secret(self, uri: str) -> bool:
        """Whether a document may hold secrets: its text is not even kept."""
        path = path_of(uri)
        named = secret(PurePosixPath(_path_in(uri)))
        return named is not None or (path is not None and secret_file(path) is not None)

    def why_not(self, uri: str, language: str) -> str | None:
        """Why there are no suggestions in a document, as a sentence; None where there are."""
        path = path_of(uri)
        if path is None:
            named = secret(PurePosixPath(_path_in(uri)))
            return named.message if named else self.options.switches.why_off(language, "")
        folder = self.of(path)
        refused = folder.rules.refusal(path) if folder else secret_file(path)
        if refused is not None:
            return refused.message
        if folder is None:
            return self.options.switches.why_off(language, "")
        inside = Path(os.path.realpath(path)).relative_to(folder.root).as_posix()
        return folder.config.switches.then(self.options.switches).why_off(language, inside)

    def settings(self, uri: str, given: Settings) -> Settings:
        """The settings for a document: the client's own before the project's before the defaults."""
        path = path_of(uri)
        folder = self.of(path) if path is not None else None
        if folder is None or not folder.config.settings:
            return given
        of_project, _ = read_settings(dict(folder.config.settings))
        unset = [name for name in folder.config.settings if name not in self.options.given]
        return replace(given, **{name: getattr(of_project, name) for name in unset})
