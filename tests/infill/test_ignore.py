"""What is left alone: secrets by name, and what ignore files say, as Git understands them."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

import pytest

from infill.ignore import IgnoreRules, secret


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


@pytest.mark.parametrize(
    "path",
    [
        *(".env", "app/.env.local", "prod.env", ".envrc", ".ENV", "a/.Env.Production", ".env.example"),
        *("server.pem", "tls.key", "ca.crt", "store.p12", "id_rsa", "id_rsa.pub", "ID_ED25519", "deploy_rsa"),
        *(".netrc", "_netrc", ".npmrc", ".pypirc", ".pgpass", ".git-credentials", ".htpasswd"),
        *("credentials", "credentials.json", "Secrets.yaml", "secrets.py", "secret.txt", "db.secret"),
        *("service-account-7.json", "prod.tfvars", "terraform.tfstate.backup", "kubeconfig"),
        *(".secrets.toml", ".secret.yaml", ".flaskenv"),
        *("aws_credentials", "application_default_credentials.json"),
        *(".env~", "tls.key.bak", ".server.pem.swp", "terraform.tfvars.old", ".pypirc.orig~"),
        *(".config/gcloud/access_tokens.db", "/home/me/.config/gh/hosts.yml"),
        *(".ssh/config", "/home/me/.aws/config", ".kube/cache/x.json", "a/.docker/config.json"),
    ],
)
def test_a_secret_is_known_by_its_name(path: str) -> None:
    found = secret(PurePosixPath(path))
    assert found is not None
    assert found.secret
    assert "may hold secrets" in found.message


@pytest.mark.parametrize(
    "path",
    [
        "environment.py",
        "env.py",
        "key.py",
        "keys.ts",
        "secretary.go",
        "token.rs",
        "certificate.java",
        "check_credentials.py",
        "monkey.py~",
        "gcloud/deploy.py",
        "config/gh/a.go",
        "ssh/a.c",
    ],
)
def test_code_about_secrets_is_no_secret(path: str) -> None:
    assert secret(PurePosixPath(path)) is None


@pytest.mark.parametrize(
    ("rules", "path", "ignored"),
    [
        ({".gitignore": "*.log\n"}, "a.log", True),
        ({".gitignore": "*.log\n"}, "deep/er/a.log", True),
        ({".gitignore": "/a.py\n"}, "a.py", True),
        ({".gitignore": "/a.py\n"}, "b/a.py", False),
        ({".gitignore": "build/\n"}, "build/x/a.py", True),
        ({".gitignore": "build/\n"}, "build", False),  # a file of that name
        ({".gitignore": "*.py\n!keep.py\n"}, "keep.py", False),
        ({".gitignore": "!keep.py\n*.py\n"}, "keep.py", True),  # the last one counts
        ({".gitignore": "build/\n!build/keep.py\n"}, "build/keep.py", True),  # its folder is out
        ({".gitignore": "build/*\n!build/keep.py\n"}, "build/keep.py", False),
        ({".gitignore": "a/**/z.py\n"}, "a/b/c/z.py", True),
        ({".gitignore": "# *.py\n\\#x.py\n"}, "#x.py", True),
        ({".gitignore": "# *.py\n"}, "a.py", False),
        ({".gitignore": "*.py\n", "b/.gitignore": "!*.py\n"}, "b/a.py", False),  # the nearer one counts
        ({"b/.gitignore": "*.py\n"}, "a.py", False),
        ({"b/.gitignore": "/c/a.py\n"}, "b/c/a.py", True),
        ({".infillignore": "*.py\n"}, "a.py", True),
        ({".gitignore": "*.py\n", ".infillignore": "!a.py\n"}, "a.py", False),
        ({".gitignore": "!a.py\n", ".infillignore": "*.py\n"}, "a.py", True),
        ({".infillignore": "*.py\n", "b/.gitignore": "!*.py\n"}, "b/a.py", True),  # the nearer one is Git's
        ({".infillignore": "!a.py\n", "b/.gitignore": "*.py\n"}, "b/a.py", False),
        ({".infillignore": "*.py\n", "b/.infillignore": "!*.py\n"}, "b/a.py", False),
        ({".gitignore": "!.env\n", ".infillignore": "!.env\n"}, ".env", True),  # no rule brings it back
        ({".gitignore": "\ufeff*.py\n"}, "a.py", True),
        ({".gitignore": "!\n/\n*.py\r\n"}, "a.py", True),  # what is no pattern costs nothing else
        ({".gitignore": "*a*a*a*a*a*a*a*b\n*.py\n"}, "a" * 200 + ".py", True),  # nor does a hostile one
        ({}, "a.py", False),
    ],
)
def test_ignore_files(tmp_path: Path, rules: dict[str, str], path: str, ignored: bool) -> None:
    write(tmp_path, rules)
    write(tmp_path, {path: ""})
    assert (IgnoreRules(tmp_path).refusal(tmp_path / path) is not None) is ignored


def test_the_reason_names_the_ignore_file(tmp_path: Path) -> None:
    write(tmp_path, {"b/.infillignore": "*.py\n"})
    refusal = IgnoreRules(tmp_path).refusal(tmp_path / "b" / "a.py")
    assert refusal is not None
    assert refusal.message == f"ignored by {os.path.join('b', '.infillignore')}"
    assert not refusal.secret


def test_rules_between_the_repository_and_the_folder_count(tmp_path: Path) -> None:
    write(tmp_path, {".git/HEAD": "", ".gitignore": "*.log\n", "part/a.log": "", "part/a.py": ""})
    rules = IgnoreRules(tmp_path / "part")
    assert rules.refusal(tmp_path / "part" / "a.log") is not None
    assert rules.refusal(tmp_path / "part" / "a.py") is None


def test_rules_above_the_repository_do_not(tmp_path: Path) -> None:
    write(tmp_path, {".gitignore": "*.py\n", "repository/.git/HEAD": "", "repository/a.py": ""})
    assert IgnoreRules(tmp_path / "repository").refusal(tmp_path / "repository" / "a.py") is None


def test_an_ignored_folder_that_was_opened_is_worked_in(tmp_path: Path) -> None:
    write(tmp_path, {".git/HEAD": "", ".gitignore": "scratch/\n", "scratch/a.py": "", "scratch/.env": ""})
    rules = IgnoreRules(tmp_path / "scratch")
    assert rules.refusal(tmp_path / "scratch" / "a.py") is None
    assert rules.refusal(tmp_path / "scratch" / ".env") is not None


def test_a_changed_ignore_file_is_read_again(tmp_path: Path) -> None:
    write(tmp_path, {"a.py": ""})
    rules = IgnoreRules(tmp_path)
    assert rules.refusal(tmp_path / "a.py") is None
    write(tmp_path, {".gitignore": "*.py\n"})
    assert rules.refusal(tmp_path / "a.py") is not None
    (tmp_path / ".gitignore").unlink()
    assert rules.refusal(tmp_path / "a.py") is None


def test_a_link_to_a_secret_is_a_secret(tmp_path: Path) -> None:
    write(tmp_path, {".env": "TOKEN=1"})
    (tmp_path / "settings.py").symlink_to(tmp_path / ".env")
    refusal = IgnoreRules(tmp_path).refusal(tmp_path / "settings.py")
    assert refusal is not None
    assert refusal.secret


def test_an_ignore_file_that_is_no_plain_file_says_nothing(tmp_path: Path) -> None:
    write(tmp_path, {"rules": "*.py\n", "a.py": "", "b/.gitignore/x": ""})
    (tmp_path / ".gitignore").symlink_to(tmp_path / "rules")
    assert IgnoreRules(tmp_path).refusal(tmp_path / "a.py") is None
    assert IgnoreRules(tmp_path).refusal(tmp_path / "b" / "a.py") is None
