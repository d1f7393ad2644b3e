"""Does code from elsewhere help? Fills the same holes of a folder with and without snippets.

The folder is taken for a workspace: it is indexed, and each hole gets what the server would gather for it
(nothing is open in an editor, so there is no recently seen code). The model is the checkpoint's with another
`snippet_tokens`; the one that is shipped was not trained on snippets. Prints a table, then one JSON line.

    python benchmarks/snippets.py FOLDER [--checkpoint DIR] [--limit N] [--tokens 0 64 128]
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path

from engine.checkpoints.config_json import (
    read_model_config,
    read_prompt_config,
    read_sampler_config,
    write_configs,
)
from engine.checkpoints.hub import EMBEDDED
from engine.inprocess import InProcessEngine, load_engine
from infill.code.document import Document
from infill.evaluate.holes import KINDS, Hole, cut_holes
from infill.evaluate.metrics import edit_similarity, mean, percentile
from infill.ignore import IgnoreRules
from infill.pipeline import fill
from infill.request import FillRequest, Suggestion
from infill.workspace.gather import Place, gather
from infill.workspace.index import Index


def main() -> int:
    """Score every budget of tokens on the same holes."""
    parser = argparse.ArgumentParser(description="Fill holes with and without snippets.")
    parser.add_argument("directory", type=Path)
    parser.add_argument("--checkpoint", type=Path, default=EMBEDDED)
    parser.add_argument("--limit", type=int, default=80, help="holes, a quarter of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--candidates", type=int, default=1)
    parser.add_argument("--tokens", type=int, nargs="+", default=[0, 64, 128])
    arguments = parser.parse_args()
    root = arguments.directory.resolve()
    index = Index()
    index.set_folders([IgnoreRules(root)])
    scanned = index.scan()
    print(f"indexed {scanned.files} files in {scanned.seconds:.1f} s", file=sys.stderr)
    holes = cut_holes(root, arguments.limit, arguments.seed)
    engines = [with_budget(arguments.checkpoint, tokens) for tokens in arguments.tokens]
    rows = [Row(tokens, engine) for tokens, engine in zip(arguments.tokens, engines, strict=True)]
    for number, hole in enumerate(holes, 1):
        for row in rows:  # one after the other on each hole, so that a busy machine is so for all
            row.fill(index, root, hole, arguments.seed, arguments.candidates)
        print(f"\r{number} of {len(holes)}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    tables = [row.scores() for row in rows]
    print("| " + " | ".join(tables[0]) + " |\n|" + "---|" * len(tables[0]))
    for table in tables:
        print("| " + " | ".join(str(value) for value in table.values()) + " |")
    print(json.dumps({"benchmark": "snippets", "directory": root.name, "holes": len(holes), "rows": tables}))
    return 0


def with_budget(checkpoint: Path, snippet_tokens: int) -> InProcessEngine:
    """The checkpoint's model with room for snippets."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        for name in ("model.safetensors", "tokenizer.json"):
            shutil.copyfile(checkpoint / name, copy / name)
        prompts = replace(read_prompt_config(checkpoint), snippet_tokens=snippet_tokens)
        write_configs(copy, read_model_config(checkpoint), read_sampler_config(checkpoint), prompts)
        return load_engine(str(copy))


class Row:
    """One budget of tokens, and what became of each hole under it."""

    def __init__(self, tokens: int, engine: InProcessEngine) -> None:
        self._tokens, self._engine = tokens, engine
        self._fills: list[tuple[Hole, str]] = []
        self._snippets: list[int] = []
        self._gather_ms: list[float] = []

    def fill(self, index: Index, root: Path, hole: Hole, seed: int, candidates: int) -> None:
        """Fill one hole as the server would."""
        text = hole.before + hole.after
        document = Document(text, "python")
        assert document.tree is not None
        budget = self._engine.info().snippet_chars
        began = time.perf_counter()
        place = Place(document=document, offset=len(hole.before), root=root, path=hole.path)
        snippets = gather(index, place, budget_chars=budget) if budget else ()
        self._gather_ms.append((time.perf_counter() - began) * 1000)
        request = FillRequest(
            text=text,
            language="python",
            offset=len(hole.before),
            path=hole.path,
            candidates=candidates,
            seed=seed,
            snippets=snippets,
        )
        outcome = fill(self._engine, document, request, cancelled=threading.Event())
        middle = ""
        if isinstance(outcome, Suggestion):
            middle = outcome.text[max(0, request.offset - outcome.start) :]
        self._fills.append((hole, middle))
        self._snippets.append(len(snippets))

    def scores(self) -> dict[str, float]:
        """Over all holes, and the exact matches of each kind; no suggestion counts as one left empty."""
        exact = [(hole.kind, middle.strip() == hole.gold.strip()) for hole, middle in self._fills]
        return {
            "snippet_tokens": self._tokens,
            "exact": round(mean([right for _, right in exact]), 4),
            "similarity": round(mean([edit_similarity(m, hole.gold) for hole, m in self._fills]), 4),
            **{f"exact_{kind}": round(mean([r for k, r in exact if k == kind]), 4) for kind in KINDS},
            "gathered_mean": round(mean(self._snippets), 1),
            "gather_ms_p50": round(percentile(self._gather_ms, 0.5), 2),
            "gather_ms_p99": round(percentile(self._gather_ms, 0.99), 2),
        }


if __name__ == "__main__":
    sys.exit(main())
