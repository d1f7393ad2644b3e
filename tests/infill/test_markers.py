"""Which holes are found in a text: « and » surround each one that is expected."""

from __future__ import annotations

import pytest

from infill.code.document import Document
from infill.marked.markers import find_markers

PYTHON = [
    "def f(a):\n    «...»\n",
    "def f(a): «...»\n",
    'def f(a):\n    """Says so."""\n    «...»\n',
    "class A:\n    «...»\n",
    "if a:\n    «...»\nelse:\n    «...»\n",
    "def f():\n    x = ...\n    return x[..., 1]\n",
    "def f():\n    ...\n    return 1\n",
    "class P(Protocol):\n    def f(self): ...\n",
    "@overload\ndef f(): ...\n",
    "class P(typing.Protocol[T]):\n    def f(self): ...\n",
    "class P(asyncio.Protocol):\n    def f(self):\n        «...»\n",
    "@typing.overload\ndef f(): ...\n",
    "class P(BaseProtocol):\n    def f(self):\n        «...»\n",
    "@overloaded(x)\ndef f():\n    «...»\n",
    "class MyError(Exception): ...\n",
    "class MyError(requests.HTTPError):\n    ...\n",
    "class MyError(Exception):\n    def f(self):\n        «...»\n",
    "class A:\n    @abstractmethod\n    def f(self):\n        ...\n",
    "x = «___»\n",
    "f(«___», b=«___»)\n",
    "x.«___»()\n",
    "«___» = 1\n",
    "x = '___ ...'  # ___ ...\n",
    "____ = a___b\n",
    "x = 1\n«# fill»\n",
    "def f():\n    «# TODO: fill»\n",
    "def f():\n    «# TODO fill in here»\n    return 1\n",
    "# fill the buffer\nx = 'fill'\nfill = fill\n",
    "def f():\n    # TODO: fill in the totals«»\n",
    "# fill: the totals«»\nx = 1\n",
    "x = '''\n# fill\n'''\n",
]

OTHERS = [
    ("javascript", "function f(a) { «...» }\n"),
    ("javascript", "const f = (a) => {\n  «...»\n};\nf(...a, {...b});\n"),
    ("javascript", "let x = «___»; // ...\n«// fill»\n"),
    ("typescript", "class A {\n  f(): void {\n    «...»\n  }\n}\n"),
    ("typescriptreact", "const x = <a b={«___»} />;\n"),
    ("go", "package a\n\nfunc f(a ...int) int {\n\t«...»\n}\n\nvar x = [...]int{1}\n"),
    ("go", "package a\n\nfunc f() {\n\t«// TODO: fill»\n}\n"),
    ("rust", "fn f() -> i32 {\n    «todo!()»\n}\n"),
    ("rust", 'fn f() -> i32 {\n    «...»\n}\nfn g() { let s = "todo!()"; «unimplemented!()» }\n'),
    ("java", "class A {\n    int f(int... a) {\n        «...»\n    }\n}\n"),
    ("c", "int f(int a, ...) {\n    «...»\n}\nint x = «/* fill */»;\n"),
    ("cpp", "int f() { return «___»; }\n"),
    ("plaintext", "a «___» b ... # fill\n"),
]


def check(marked: str, language: str) -> None:
    document = Document(marked.replace("«", "").replace("»", ""), language)
    text, out, at = document.text, "", 0
    for marker in find_markers(document):
        out += text[at : marker.start] + "«" + text[marker.start : marker.end] + "»"
        at = marker.end
    assert out + text[at:] == marked


@pytest.mark.parametrize("marked", PYTHON)
def test_python(marked: str) -> None:
    check(marked, "python")


@pytest.mark.parametrize(("language", "marked"), OTHERS)
def test_other_languages(language: str, marked: str) -> None:
    check(marked, language)


def test_code_goes_below_a_comment_that_says_what_it_should_be() -> None:
    document = Document("def f():\r\n    # TODO: fill in the sum\r\n", "python")
    [marker] = find_markers(document)
    assert (marker.start, marker.end, marker.lead) == (37, 37, "\r\n    ")


def test_bodies_of_stubs_stay() -> None:
    document = Document("def f() -> int: ...\nx: int = ___\n", "python")
    assert [m.start for m in find_markers(document, stubs=True)] == [29]
    assert len(find_markers(document)) == 2


def test_only_the_markers_at_a_place_are_found() -> None:
    document = Document("a = ___\nb = ___\nc = ___\n", "python")
    assert [m.start for m in find_markers(document, 12, 12)] == [12]
    assert [m.start for m in find_markers(document, 15, 15)] == [12]
    assert [m.start for m in find_markers(document, 8, 20)] == [12, 20]
    assert find_markers(document, 8, 9) == []
