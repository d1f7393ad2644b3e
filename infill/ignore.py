"""Which files are left alone: those that may hold secrets, and those an ignore file names.

Secrets go by their names, wherever they lie, and no rule brings them back. `.gitignore` and `.infillignore`
mean what Git says they mean, nearer files before farther ones, and every `.infillignore` before any
`.gitignore`. It reads ignore files and nothing else: from the workspace folder, and from the folders between
it and the root of its Git repository.
"""

from __future__ import annotations

import logging
import os
import re
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase, translate
from functools import cache
from pathlib import Path, PurePath

from pathspec import GitIgnoreSpec
from pathspec.patterns.gitignore import GitIgnorePatternError

logger = logging.getLogger(__name__)

IGNORE_FILES = (".infillignore", ".gitignore")
"""The files with rules, the one that counts more first."""

SECRET_NAMES = (
    # environments
    *(".env", ".env.*", ".env-*", ".envrc", ".flaskenv", "*.env", "*.env.local"),
    # keys and certificates
    *("*.pem", "*.key", "*.p8", "*.p12", "*.pfx", "*.der", "*.crt", "*.cer", "*.csr", "*.jks", "*.keystore"),
    *(
        "*.truststore",
        "*.keytab",
        "*.ppk",
        "*.gpg",
        "*.pgp",
        "*.asc",
        "*.age",
        "*.agekey",
        "*.kdbx",
        "*.ovpn",
    ),
    *("id_rsa*", "id_dsa*", "id_ecdsa*", "id_ed25519*", "*_rsa", "*_ed25519", "authorized_keys"),
    # credentials of tools
    *(".netrc", "_netrc", ".pgpass", ".my.cnf", ".npmrc", ".pypirc", ".dockercfg", ".htpasswd", ".s3cfg"),
    *(".git-credentials", ".boto", ".terraformrc", ".vault-token", "kubeconfig", "*.kubeconfig"),
    *("credentials", "credentials.*", "*.credentials", "client_secret*.json", "service-account*.json"),
    # As data: a program about credentials is called so too.
    *(f"*[_-]credentials{kind}" for kind in ("", ".json", ".yml", ".yaml", ".toml", ".ini", ".csv", ".txt")),
    *("service_account*.json", "*.tfvars", "*.tfvars.json", "*.tfstate", "*.tfstate.*"),
    # whatever calls itself a secret
    *("secret", "secrets", "secret.*", "secrets.*", ".secret.*", ".secrets.*", "*.secret", "*.secrets"),
    *("passwords.*", "*.passwd"),
)
"""Names of files that may hold secrets, upper and lower case alike."""

SECRET_FOLDERS = frozenset({".ssh", ".gnupg", ".aws", ".azure", ".kube", ".gcloud", ".docker", ".secrets"})
"""Folders in which every file may hold secrets."""

SECRET_CONFIGS = frozenset({"gcloud", "gh", "rclone"})
"""Such folders where they lie in one called `.config`."""

_COPY = re.compile(r"(~|\.(bak|old|orig|save|swp|swo))+$")
"""What editors and people put behind the name of a file they keep a copy of."""

_LARGEST_BYTES = 256 * 1024  # of an ignore file; a larger one is no ignore file
_MOST_STARS = 5  # in one part of a pattern: each more multiplies what a hostile one costs


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a file is left alone, as a sentence for the user; `secret` where no ignore file decides it."""

    message: str
    secret: bool = False


def secret(path: PurePath) -> Refusal | None:
    """Why a file is taken to hold secrets, by its name and its folders' names; None if it is not."""
    name = path.name.lower()
    for shown in dict.fromkeys((name, _COPY.sub("", name))):
        if _any_secret().match(shown):
            rule = next(rule for rule in SECRET_NAMES if fnmatchcase(shown, rule))
            return Refusal(f"files named {rule} may hold secrets and are never read", secret=True)
    folder = _secret_folder(path.parts[:-1])
    if folder is not None:
        return Refusal(f"files in {folder} may hold secrets and are never read", secret=True)
    return None


def _secret_folder(parts: Sequence[str]) -> str | None:
    """The first of some nested folders in which every file may hold secrets."""
    around = ""
    for part in parts:
        name = part.lower()
        if name in SECRET_FOLDERS or (around == ".config" and name in SECRET_CONFIGS):
            return part
        around = name
    return None


def secret_file(path: Path) -> Refusal | None:
    """`secret` of a file and of what its symbolic links lead to."""
    found = secret(path)
    if found is not None or "\0" in str(path):  # what has that in its name is no file
        return found
    return secret(Path(os.path.realpath(path)))


@cache
def _any_secret() -> re.Pattern[str]:
    # Made on first use: it takes a server that starts a few milliseconds.
    return re.compile("|".join(translate(name) for name in SECRET_NAMES))


@dataclass(frozen=True, slots=True)
class _File:
    """One ignore file: what it says, and the state of the file (None: there is none) when it was read."""

    stamp: tuple[int, int] | None
    spec: GitIgnoreSpec | None


@dataclass(frozen=True, slots=True)
class _Rules:
    """One ignore file's rules for the paths below `folder`."""

    folder: str
    name: str
    spec: GitIgnoreSpec

    def decide(self, path: str, is_folder: bool) -> bool | None:
        """Whether they ignore `path`; None if they say nothing about it."""
        inside = os.path.relpath(path, self.folder).replace(os.sep, "/")
        return self.spec.check_file(inside + "/" if is_folder else inside).include


class FolderRules:
    """The rules for what lies directly in one folder that is not itself ignored."""

    def __init__(self, folder: Path, rules: tuple[_Rules, ...]) -> None:
        self._folder = str(folder)
        self._rules = rules  # what counts more first

    def refusal(self, name: str, *, is_folder: bool) -> Refusal | None:
        """Why an entry of this folder is left alone; None if it is not. A folder is asked for by itself."""
        path = os.path.join(self._folder, name)
        if found := secret(PurePath(path)):
            return found
        if is_folder and (name == ".git" or _secret_folder(PurePath(path).parts) is not None):
            return Refusal(f"{name} is not source code", secret=True)
        for rules in self._rules:
            ignored = rules.decide(path, is_folder)
            if ignored is not None:
                where = os.path.join(os.path.basename(rules.folder), rules.name)
                return Refusal(f"ignored by {where}") if ignored else None
        return None


class IgnoreRules:
    """The rules of one workspace folder; each ignore file is read again when it changes."""

    def __init__(self, root: Path) -> None:
        self.root = Path(os.path.realpath(root))
        """The folder, symbolic links resolved."""
        self._files: dict[Path, _File] = {}
        self._base = _repository(self.root)
        if self._of_folders(self.root) is not None:
            # Whoever opens an ignored folder wants to work there; the rules above it are not about that.
            self._base = self.root

    def refusal(self, path: Path) -> Refusal | None:
        """Why a file is left alone; None if it is not.

        Of a file outside the folder only the name counts. A symbolic link is judged by both its ends.
        """
        real = Path(os.path.realpath(path))
        if found := secret_file(path):
            return found
        if not real.is_relative_to(self._base) or real == self._base:
            return None
        return self._of_folders(real.parent) or self.folder(real.parent).refusal(real.name, is_folder=False)

    def _of_folders(self, folder: Path) -> Refusal | None:
        """Why `folder`, or one it lies in, is left alone."""
        above = self._base
        for part in folder.relative_to(self._base).parts:
            if found := self.folder(above).refusal(part, is_folder=True):
                return found
            above = above / part
        return None

    def folder(self, folder: Path) -> FolderRules:
        """The rules for what lies directly in `folder`, which lies in the workspace and has no links."""
        rules: list[_Rules] = []
        # Whatever a .gitignore farther in says, what the user keeps from us stays kept.
        for name in IGNORE_FILES:
            for above in (folder, *folder.parents):
                rules += self._rules(above, name)
                if above == self._base:
                    break
        return FolderRules(folder, tuple(rules))

    def _rules(self, folder: Path, name: str) -> list[_Rules]:
        path = folder / name
        known, stamp = self._files.get(path), _stamp(path)
        if known is None or known.stamp != stamp:
            known = _File(stamp, _read(path) if stamp is not None else None)
            self._files[path] = known
        return [_Rules(str(folder), name, known.spec)] if known.spec is not None else []


def _repository(folder: Path) -> Path:
    """The root of the Git repository `folder` lies in; `folder` itself without one."""
    return next((f for f in (folder, *folder.parents) if (f / ".git").exists()), folder)


def _stamp(path: Path) -> tuple[int, int] | None:
    """The state of an ignore file; None if there is none, or what has its name is no plain file."""
    try:
        found = path.lstat()  # as Git does: a link could lead out of the workspace
    except OSError:
        return None
    return (found.st_mtime_ns, found.st_size) if stat.S_ISREG(found.st_mode) else None


def _read(path: Path) -> GitIgnoreSpec | None:
    try:
        with path.open("rb") as file:
            data = file.read(_LARGEST_BYTES + 1)
    except OSError as error:
        logger.warning("%s cannot be read: %s", path, error.strerror or error)
        return None
    if len(data) > _LARGEST_BYTES:
        logger.warning("%s is too large for an ignore file", path)
        return None
    lines = data.decode("utf-8-sig", "replace").splitlines()
    return GitIgnoreSpec.from_lines(_usable(lines, path))


def _usable(lines: Iterable[str], path: Path) -> list[str]:
    """The lines that are patterns, or nothing; the others are said in the log."""
    usable = []
    for number, line in enumerate(lines, 1):
        stars = max(part.replace("**", "").count("*") for part in line.split("/"))
        try:
            GitIgnoreSpec.from_lines([line])
        except GitIgnorePatternError:
            stars = _MOST_STARS + 1
        if stars <= _MOST_STARS:
            usable.append(line)
        else:
            logger.warning("line %d of %s is no pattern we use", number, path)
    return usable
