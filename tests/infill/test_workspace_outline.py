"""What a file defines and imports, in each language, and where an import may lie."""

from __future__ import annotations

import pytest

from infill.code.syntax import grammar, parse
from infill.workspace.definitions import MOST_DEFINITIONS, Definition, definitions
from infill.workspace.imports import Import, imports
from infill.workspace.resolve import Sought, as_module, sought

TEXTS = {
    "python": """\
LIMIT: int = 3
TABLE = {
    "a": 1,
}
try:
    def late(): pass
except ImportError:
    late = None

@wraps(1)
def f(a,
      b: int = 2) -> str:
    '''Does f.

    At length.'''
    def inner(): pass

class A(B):
    x: int = 2
    @property
    def m(self):
        return 1
""",
    "javascript": """\
// Not about it.

/** Does f.
 *  At length. */
export async function f(a) { function inner() {} }
export default class A extends B { x = 1; m(a) { } }
const g = (x) => x + 1, k = { a: 1,
  b: 2 };
""",
    "typescript": """\
export interface I { a: string; }
type U = A | B;
abstract class C<T> { private x: number = 2; m(a: string): void { } }
export const g = async (x: number): Promise<number> => { return x; };
namespace N { export function inner(): void {} }
""",
    "go": """\
package p
// Runs.
// At length.
func (r *T[K]) M(a int) error { return nil }
func F() {}
// T is.
type T struct { a int }
const ( A = 1
B = 2 )
""",
    "rust": """\
/// Does f.
#[inline]
pub fn f<T>(a: T) -> u8 { 1 }
impl Show for Bar<T> { fn m(&self) {} }
trait Q { fn q(&self); }
pub struct S { a: u8 }
mod z { pub fn deep() {} }
""",
    "java": """\
package p;
/** An A. */
public class A extends B { private int x = 1; A(int a) {} int m(String s) { return 1; } }
interface I { void q(); }
""",
    "c": """\
#ifndef G
#define N 3
#define M(a) a
struct S { int a; };
typedef struct { int b; } T;
/* Does f. */
static int *f(int a) { return 0; }
int proto(int);
#endif
""",
    "cpp": "namespace n {\ntemplate <class T> class V : W { V(int a); int size() const { return 1; } };\n}\n",
}

EXPECTED = {
    "python": [
        "LIMIT|LIMIT: int = 3|",
        "TABLE|TABLE = { ...|",
        "late|def late():|",
        "late|late = None|",
        "f|@wraps(1)\ndef f(a,\n      b: int = 2) -> str:|Does f.",
        "A|class A(B):|",
        "A.x|x: int = 2|",
        "A.m|@property\ndef m(self):|",
    ],
    "javascript": [
        "f|export async function f(a)|Does f.",
        "A|export default class A extends B|",
        "A.x|x = 1|",
        "A.m|m(a)|",
        "g|const g = (x)|",
        "k|const k = { a: 1, ...|",
    ],
    "typescript": [
        "I|export interface I { a: string; }|",
        "U|type U = A \u007c B;|",
        "C|abstract class C<T>|",
        "C.x|private x: number = 2|",
        "C.m|m(a: string): void|",
        "g|const g = async (x: number): Promise<number>|",
        "inner|export function inner(): void|",
    ],
    "go": [
        "T.M|func (r *T[K]) M(a int) error|Runs.",
        "F|func F()|",
        "T|type T struct { a int }|T is.",
        "A|const A = 1|",
        "B|const B = 2|",
    ],
    "rust": [
        "f|pub fn f<T>(a: T) -> u8|Does f.",
        "Bar.m|fn m(&self)|",
        "Q|trait Q|",
        "Q.q|fn q(&self);|",
        "S|pub struct S { a: u8 }|",
        "deep|pub fn deep()|",
    ],
    "java": [
        "A|public class A extends B|An A.",
        "A.x|private int x = 1;|",
        "A.A|A(int a)|",
        "A.m|int m(String s)|",
        "I|interface I|",
        "I.q|void q();|",
    ],
    "c": [
        "N|#define N 3|",
        "M|#define M(a) a|",
        "S|struct S { int a; }|",
        "T|typedef struct { int b; } T;|",
        "f|static int *f(int a)|Does f.",
        "proto|int proto(int);|",
    ],
    "cpp": [
        "V|template <class T> class V : W|",
        "V.V|V(int a);|",
        "V.size|int size() const|",
    ],
}


def outline(text: str, language: str) -> tuple[tuple[Definition, ...], tuple[Import, ...]]:
    rules, source = grammar(language), text.encode()
    assert rules is not None
    tree = parse(rules, source, None, 5.0)
    assert tree is not None
    return definitions(tree, source, language), imports(tree, source, language)


@pytest.mark.parametrize("language", TEXTS)
def test_definitions(language: str) -> None:
    found, _ = outline(TEXTS[language], language)
    shown = [f"{d.container}.{d.name}|{d.signature}|{d.doc}".lstrip(".") for d in found]
    assert shown == EXPECTED[language]


def test_a_line_is_where_a_definition_begins() -> None:
    found, _ = outline(TEXTS["python"], "python")
    assert [d.line for d in found if d.name in ("f", "m")] == [9, 19]


def test_a_file_that_defines_too_much_is_cut_short() -> None:
    found, _ = outline("".join(f"x{n} = {n}\n" for n in range(MOST_DEFINITIONS + 9)), "python")
    assert len(found) == MOST_DEFINITIONS


def test_a_long_signature_is_cut_at_a_line() -> None:
    [found], _ = outline("def f(\n" + "    argument_with_a_name,\n" * 200 + "): pass\n", "python")
    assert len(found.signature) <= 600
    assert found.signature.endswith(",")


@pytest.mark.parametrize(
    ("language", "text", "expected"),
    [
        ("python", "import a.b, c as d", [("a.b", "", "a.b"), ("c", "", "d")]),
        ("python", "from ..x import (y as z, w)", [("..x", "y", "z"), ("..x", "w", "w")]),
        ("python", "from . import q\nfrom m import *", [(".", "q", "q"), ("m", "*", "")]),
        ("python", "if T:\n    from a import b\ntry:\n    import c\nexcept E:\n    import d\n", "b c d"),
        ("javascript", "import d, {a as b} from './x'", [("./x", "default", "d"), ("./x", "a", "b")]),
        ("javascript", "import * as ns from '../y'; import 'side'", [("../y", "", "ns")]),
        (
            "javascript",
            "const r = require('./z'), {p} = require('./q')",
            [("./z", "", "r"), ("./q", "p", "p")],
        ),
        (
            "typescript",
            "import type {T} from './t'\nexport * from './e'",
            [("./t", "T", "T"), ("./e", "*", "")],
        ),
        ("typescript", "export { q as r } from './q'", [("./q", "q", "r")]),
        ("go", 'package p\nimport ("fmt"; x "e.com/p/foo")', [("fmt", "", "fmt"), ("e.com/p/foo", "", "x")]),
        (
            "rust",
            "use crate::a::{b::C, d as e, f::*, self};\nmod m;\nuse super::x;",
            [
                *(("crate/a/b", "C", "C"), ("crate/a", "d", "e"), ("crate/a/f", "*", "")),
                *(("crate", "a", "a"), ("self/m", "", "m"), ("super", "x", "x")),
            ],
        ),
        (
            "java",
            "import a.b.C;\nimport static a.b.C.d;\nimport a.q.*;",
            [("a/b", "C", "C"), ("a/b", "C", "C"), ("a/q", "*", "")],
        ),
        ("c", '#include "x/y.h"\n#include <z.h>\n', [("x/y.h", "*", ""), ("z.h", "*", "")]),
    ],
)
def test_imports(language: str, text: str, expected: object) -> None:
    _, found = outline(text, language)
    if isinstance(expected, str):
        assert [one.alias for one in found] == expected.split()
    else:
        assert isinstance(expected, list)
        assert found == tuple(dict.fromkeys(Import(*one) for one in expected))


@pytest.mark.parametrize(
    ("language", "importer", "imported", "expected"),
    [
        ("python", "p/q/m.py", Import("a.b", "", "a.b"), Sought("a/b.py")),
        ("python", "p/q/m.py", Import("a", "b", "b"), Sought("a/__init__.py")),
        ("python", "p/q/m.py", Import(".n", "x", "x"), Sought("p/q/n.py", exact=True)),
        ("python", "p/q/m.py", Import("..n", "x", "x"), Sought("p/n.py", exact=True)),
        ("python", "p/q/m.py", Import(".", "n", "n"), Sought("p/q/__init__.py", exact=True)),
        ("typescript", "s/m.ts", Import("../t/x", "y", "y"), Sought("t/x.ts", exact=True)),
        ("typescript", "s/m.ts", Import("./x.js", "y", "y"), Sought("s/x.ts", exact=True)),
        ("typescript", "s/m.ts", Import("./x", "y", "y"), Sought("s/x/index.ts", exact=True)),
        ("typescript", "s/m.ts", Import("@/x", "y", "y"), Sought("x.ts")),
        ("go", "m.go", Import("e.com/u/p/foo", "", "foo"), Sought("p/foo", folder=True)),
        ("rust", "c/src/a/m.rs", Import("crate/b", "C", "C"), Sought("c/src/b.rs", exact=True)),
        ("rust", "c/src/a/m.rs", Import("super", "x", "x"), Sought("c/src/a.rs", exact=True)),
        ("rust", "c/src/a/m.rs", Import("self/n", "", "n"), Sought("c/src/a/m/n.rs", exact=True)),
        ("java", "a/M.java", Import("b/c", "D", "D"), Sought("b/c/D.java")),
        ("c", "s/m.c", Import("../x.h", "*", ""), Sought("x.h", exact=True)),
        ("c", "s/m.c", Import("lib/x.h", "*", ""), Sought("lib/x.h")),
    ],
)
def test_where_an_import_may_lie(language: str, importer: str, imported: Import, expected: Sought) -> None:
    assert expected in sought(imported, importer, language)


@pytest.mark.parametrize(
    ("language", "imported", "module"),
    [
        ("python", Import("a", "b", "c"), Import("a.b", "", "c")),
        ("python", Import("..", "b", "b"), Import("..b", "", "b")),
        ("rust", Import("crate/a", "b", "b"), Import("crate/a/b", "", "b")),
        ("python", Import("a", "*", ""), None),
        ("java", Import("a", "B", "B"), None),
    ],
)
def test_a_name_may_be_a_module(language: str, imported: Import, module: Import | None) -> None:
    assert as_module(imported, language) == module


def test_packages_from_elsewhere_are_not_looked_for() -> None:
    assert sought(Import("react", "x", "x"), "m.ts", "typescript") == []
    assert sought(Import("fmt", "", "fmt"), "m.go", "go") == []
    assert sought(Import("std/fs", "File", "File"), "src/m.rs", "rust") == []
