"""Reads what a distribution says about its own licence and compares it with what the manifest says.

It does not read licence texts, nor judge the files inside: only METADATA's fields count.
"""

from __future__ import annotations

import re
from email.message import Message

PERMISSIVE = frozenset(
    {
        "0BSD",
        "Apache-2.0",
        "BSD-2-Clause",
        "BSD-3-Clause",
        "CC0-1.0",
        "ISC",
        "MIT",
        "MIT-0",
        "PSF-2.0",
        "Unlicense",
        "Zlib",
    }
)
"""SPDX identifiers whose code may be trained on."""

_BSD = frozenset({"BSD-2-Clause", "BSD-3-Clause"})
_CLASSIFIERS = {
    "Apache Software License": frozenset({"Apache-2.0"}),
    "BSD License": _BSD,
    "CC0 1.0 Universal (CC0 1.0) Public Domain Dedication": frozenset({"CC0-1.0"}),
    "ISC License (ISCL)": frozenset({"ISC"}),
    "MIT License": frozenset({"MIT"}),
    "MIT No Attribution License (MIT-0)": frozenset({"MIT-0"}),
    "Python Software Foundation License": frozenset({"PSF-2.0"}),
    "The Unlicense (Unlicense)": frozenset({"Unlicense"}),
    "Zero-Clause BSD (0BSD)": frozenset({"0BSD"}),
}
_PHRASES = [
    (re.compile(r"(the )?(mit|expat)( licen[cs]e)?"), frozenset({"MIT"})),
    (re.compile(r"(the )?(new |simplified |modified )?bsd( licen[cs]e)?"), _BSD),
    (re.compile(r"(the )?(bsd.3.clause|3.clause.bsd)( new)?( licen[cs]e)?"), frozenset({"BSD-3-Clause"})),
    (re.compile(r"(the )?(bsd.2.clause|2.clause.bsd)( licen[cs]e)?"), frozenset({"BSD-2-Clause"})),
    (
        re.compile(r"(the )?apache( software)?( licen[cs]e)?,?[ -]*(version |v\.?)?2(\.0)?( licen[cs]e)?"),
        frozenset({"Apache-2.0"}),
    ),
    (re.compile(r"isc( licen[cs]e)?"), frozenset({"ISC"})),
    (re.compile(r"(the )?unlicense"), frozenset({"Unlicense"})),
]
_LONGEST_NAME = 60
"""A longer `License` field holds a licence's text, which names other licences too."""


def identifiers(expression: str) -> frozenset[str]:
    """The identifiers in an SPDX expression of AND, OR and brackets."""
    return frozenset(re.split(r"\s+(?:AND|OR)\s+|[()\s]+", expression.strip())) - {"", "AND", "OR"}


def contradiction(expected: str, metadata: Message) -> str | None:
    """What in `metadata` speaks against the licence `expected`, or None where all of it agrees.

    A distribution that declares nothing we understand contradicts every expectation.
    """
    wanted = identifiers(expected)
    if unfit := wanted - PERMISSIVE:
        return f"{', '.join(sorted(unfit))} is not a permissive licence we know"
    if (declared := metadata.get("License-Expression")) is not None:
        same = identifiers(str(declared)) == wanted
        return None if same else f"License-Expression says {declared}, the manifest {expected}"
    evidence = [*_from_classifiers(metadata), *_from_field(metadata)]
    if not evidence:
        return "no licence is declared"
    for source, meant in evidence:
        if not meant & wanted:
            return f"{source!r} is declared, the manifest says {expected}"
    return None


def declared(metadata: Message) -> str:
    """The SPDX expression a distribution declares, the likeliest where it is vague, "" where it is silent."""
    if (expression := metadata.get("License-Expression")) is not None:
        return str(expression)
    evidence = [*_from_field(metadata), *_from_classifiers(metadata)]
    meant = [licences for _, licences in evidence if licences]
    # "BSD" alone means the three-clause licence more often than not.
    return max(frozenset.intersection(*meant), default="") if meant else ""


def _from_classifiers(metadata: Message) -> list[tuple[str, frozenset[str]]]:
    evidence = []
    for classifier in metadata.get_all("Classifier", []):
        parts = [part.strip() for part in str(classifier).split("::")]
        if parts[0] == "License" and parts[-1] != "OSI Approved":
            evidence.append((parts[-1], _CLASSIFIERS.get(parts[-1], frozenset())))
    return evidence


def _from_field(metadata: Message) -> list[tuple[str, frozenset[str]]]:
    field = " ".join(str(metadata.get("License", "")).split())
    if not field or len(field) > _LONGEST_NAME or field.upper() == "UNKNOWN":
        return []
    if identifiers(field) <= PERMISSIVE:
        return [(field, identifiers(field))]
    meant: frozenset[str] = frozenset()
    for phrase, licences in _PHRASES:
        if phrase.fullmatch(field.lower()):
            meant |= licences
    return [(field, meant)]
