"""What is shown of the rest of a workspace: small projects with a cursor in one of their files."""

from __future__ import annotations

from pathlib import Path

import pytest

from infill.code.document import Document
from infill.code.languages import language_of
from infill.ignore import IgnoreRules
from infill.workspace.gather import Place, gather, near, used_names
from infill.workspace.index import Index
from infill.workspace.similar import OtherText
from tests.infill.marked import request_for
from tests.infill.test_ignore import write


def snippets(
    root: Path, files: dict[str, str], path: str, others: tuple[OtherText, ...] = (), budget: int = 2000
) -> list[str]:
    """`path: text` of every snippet for the cursor in the marked text of `path`."""
    language = language_of(path)
    request = request_for(files[path], language)
    write(root, {**files, path: request.text})
    index = Index()
    index.set_folders([IgnoreRules(root)])
    index.scan()
    place = Place(document=Document(request.text, language), offset=request.offset, root=root, path=path)
    return [f"{s.path}: {s.text}" for s in gather(index, place, others, budget_chars=budget)]


@pytest.mark.parametrize(
    ("files", "path", "expected"),
    [
        (  # what is imported and used, the nearest first; what is only imported, last
            {
                "app.py": "from lib import far, near, never\nfar()\n" + "\n" * 20 + "near()\n█\n",
                "lib.py": "def never(): pass\ndef near(a: int) -> str:\n    '''Is near.'''\n"
                "def far(): pass\n",
            },
            "app.py",
            [
                'lib.py: def near(a: int) -> str:\n    """Is near."""',
                "lib.py: def far():\n    ...",
                "lib.py: def never():\n    ...",
            ],
        ),
        (  # a type with its members
            {
                "app.py": "from pkg.lib import Shop\nshop = Shop(█)\n",
                "pkg/lib.py": "class Shop(Base):\n  '''Sells.'''\n  open: bool\n"
                "  def __init__(self, a): pass\n",
            },
            "app.py",
            [
                'pkg/lib.py: class Shop(Base):\n    """Sells."""\n    open: bool\n'
                "    def __init__(self, a): ..."
            ],
        ),
        (  # of a module, what is used of it
            {
                "app.py": "import pkg.lib\nfrom pkg import other\npkg.lib.f(█)\nother.g()\n",
                "pkg/lib.py": "def f(): pass\ndef unused(): pass\n",
                "pkg/other.py": "def g(): pass\n",
            },
            "app.py",
            ["pkg/lib.py: def f():\n    ...", "pkg/other.py: def g():\n    ..."],
        ),
        (  # through what a package passes on
            {
                "app.py": "from pkg import f as g\ng(█)\n",
                "pkg/__init__.py": "from ._impl import f\nfrom .more import *\n",
                "pkg/_impl.py": "def f(): pass\n",
                "pkg/more.py": "def f(): pass\n",
            },
            "app.py",
            ["pkg/_impl.py: def f():\n    ..."],
        ),
        (  # packages that pass on each other's names go round once
            {
                "app.py": "from a import f\nf(█)\n",
                "a/__init__.py": "from b import *\n",
                "b/__init__.py": "from a import *\n",
            },
            "app.py",
            [],
        ),
        (  # the same folder, what this file defines itself left out
            {
                "app.py": "def mine(): pass\nmine(theirs(█))\n",
                "other.py": "def mine(): pass\ndef theirs(): pass\ndef unused(): pass\n",
                "inner/third.py": "def theirs(): pass\n",
            },
            "app.py",
            ["other.py: def theirs():\n    ..."],
        ),
        (  # the word that is being typed says nothing yet
            {"app.py": "from lib import pri\nx = pri█\n", "lib.py": "def print_all(): pass\n"},
            "app.py",
            [],
        ),
        (  # of equal names the file that is nearer
            {
                "a/app.py": "from util import f\nf(█)\n",
                "a/util.py": "def f(near): pass\n",
                "b/util.py": "def f(far): pass\n",
            },
            "a/app.py",
            ["a/util.py: def f(near):\n    ..."],
        ),
        (
            {
                "src/app.ts": "import { total } from './lib/sum';\n"
                "import Shop from './shop';\ntotal(new Shop(█))\n",
                "src/lib/sum.ts": "/** Adds up. */\nexport const total = (a: number[]): number => 1;\n",
                "src/shop.ts": "export default class Shop { open(): void {} }\n",
            },
            "src/app.ts",
            [
                "src/lib/sum.ts: // Adds up.\nconst total = (a: number[]): number;",
                "src/shop.ts: export default class Shop {\n    open(): void;\n}",
            ],
        ),
        (
            {
                "cmd/main.go": 'package main\nimport "e.com/p/shop"\nfunc main() { shop.Open(helper(█)) }\n',
                "cmd/help.go": "package main\nfunc helper() int { return 1 }\n",
                "shop/shop.go": "package shop\n// Open opens.\nfunc Open(a int) {}\n",
            },
            "cmd/main.go",
            ["shop/shop.go: // Open opens.\nfunc Open(a int);", "cmd/help.go: func helper() int;"],
        ),
        (
            {
                "src/main.rs": "mod shop;\nuse crate::shop::Shop;\nfn main() { Shop::open(█) }\n",
                "src/shop.rs": "pub struct Shop { a: u8 }\nimpl Shop { pub fn open() -> Shop { } }\n",
            },
            "src/main.rs",
            ["src/shop.rs: pub struct Shop { a: u8 } {\n    pub fn open() -> Shop;\n}"],
        ),
        (
            {
                "a/App.java": "package a;\nimport b.Shop;\nclass App { void run() { new Shop(█) } }\n",
                "b/Shop.java": "package b;\npublic class Shop { public Shop(int n) {} }\n",
            },
            "a/App.java",
            ["b/Shop.java: public class Shop {\n    public Shop(int n);\n}"],
        ),
        (
            {
                "main.c": '#include "inc/shop.h"\nint main() { open_shop(█); }\n',
                "inc/shop.h": "/* Opens. */\nint open_shop(int n);\nint close_shop(void);\n",
            },
            "main.c",
            ["inc/shop.h: // Opens.\nint open_shop(int n);"],
        ),
    ],
)
def test_gather(tmp_path: Path, files: dict[str, str], path: str, expected: list[str]) -> None:
    assert snippets(tmp_path, files, path) == expected


def test_secrets_and_ignored_files_are_not_shown(tmp_path: Path) -> None:
    files = {
        "app.py": "from secrets import key\nfrom made import thing\nkey(thing(█))\n",
        "secrets.py": "def key(): pass\n",
        "made.py": "def thing(): pass\n",
        ".gitignore": "made.py\n",
    }
    assert snippets(tmp_path, files, "app.py") == []


def test_like_code_of_other_texts_the_likest_first(tmp_path: Path) -> None:
    loop = "for {0} in orders:\n    total += {0}.price * {0}.count\n    report(total)\n"
    others = (
        OtherText("weak.py", "python", "def report(total):\n    price = count = orders = 1\n"),
        OtherText("none.py", "python", "import os\nos.getcwd()\n"),
        OtherText("like.py", "python", "x = 1\n" * 40 + loop.format("order")),
        OtherText("like.go", "go", loop.format("order")),
    )
    files = {"app.py": loop.format("item") + "█\n"}
    found = snippets(tmp_path, files, "app.py", others)
    assert [snippet.partition(":")[0] for snippet in found] == ["like.py", "weak.py"]
    assert loop.format("order").strip() in found[0]


def test_a_small_budget_makes_small_snippets(tmp_path: Path) -> None:
    members = "".join(f"    def method_{n}(self, argument: int) -> str: pass\n" for n in range(40))
    files = {"app.py": "from lib import A\nA().method_33(█)\n", "lib.py": f"class A:\n{members}"}
    [large] = snippets(tmp_path, files, "app.py", budget=4000)
    [small] = snippets(tmp_path, files, "app.py", budget=300)
    assert len(small) < 250 < len(large) < 1000
    assert "method_33" in small  # what is used comes before what is not


def test_typing_does_not_change_what_is_gathered(tmp_path: Path) -> None:
    text = "from lib import alpha, beta\n" + "x = 1\n" * 30 + "alpha()\nbeta(█)\n"
    files = {"app.py": text, "lib.py": "def alpha(): pass\ndef beta(): pass\n"}
    first = snippets(tmp_path, files, "app.py")
    assert len(first) == 2
    for typed in ("a", "al", "alpha", "alpha(", "alpha(1)\n", "alpha(1)\nb"):
        assert snippets(tmp_path, {**files, "app.py": text.replace("█", typed + "█")}, "app.py") == first


def test_the_surroundings_move_in_blocks() -> None:
    text = "".join(f"line {n}\n" for n in range(200))
    spans = [near(text, text.index(f"line {n}\n") + 3) for n in range(100, 120)]
    assert [n for n in range(101, 120) if spans[n - 100] != spans[n - 101]] == [104, 112]
    start, end = spans[4]
    assert text[start:end].startswith("line 64\n")
    assert text[start:end].endswith("line 127\n")


@pytest.mark.parametrize("text", ["", "a", "\n", "a\nb", "a\n" * 5])
def test_the_surroundings_of_a_short_text_are_all_of_it(text: str) -> None:
    for offset in range(len(text) + 1):
        assert near(text, offset) == (0, len(text))


def test_names_have_their_least_distance() -> None:
    text = "one\n" + "\n" * 20 + "two three\n" + "one\n"
    assert used_names(text, (0, len(text)), text.index("three") + 2) == {"one": 0, "two": 0}
