"""What keeps gathering quick: hostile projects, and threads that work on one index."""

from __future__ import annotations

import threading
from pathlib import Path

from infill.code.document import Document
from infill.ignore import IgnoreRules
from infill.workspace.gather import Place, gather
from infill.workspace.index import Index
from tests.infill.test_ignore import write


def test_a_package_that_passes_on_everything_of_everything_is_not_followed_for_ever(
    tmp_path: Path,
) -> None:
    modules = [f"m{n}" for n in range(40)]
    everything = "".join(f"from {module} import *\n" for module in modules)
    write(tmp_path, {f"{module}.py": everything for module in modules})
    index = Index()
    index.set_folders([IgnoreRules(tmp_path)])
    index.scan()
    looked = 0
    find = index.find

    def counted(*arguments: object) -> object:
        nonlocal looked
        looked += 1
        return find(*arguments)  # type: ignore[arg-type]

    index.find = counted  # type: ignore[method-assign,assignment]
    text = everything + "a b c d e f g h\n"
    place = Place(document=Document(text, "python"), offset=len(text), root=tmp_path, path="app.py")
    assert gather(index, place, budget_chars=1000) == ()
    assert looked <= 500


def test_threads_that_read_the_same_files_leave_the_index_whole(tmp_path: Path) -> None:
    write(tmp_path, {f"m{n}.py": "x = 1\n" for n in range(30)})
    index = Index()
    index.set_folders([IgnoreRules(tmp_path)])
    paths = [tmp_path / f"m{n}.py" for n in range(30)]

    def work() -> None:
        for turn in range(3):
            index.scan()
            for path in paths:
                index.put(path, f"y = {turn}\n")
                index.release(path)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(index) == 30
    assert index.text_bytes == 30 * len("x = 1\n")
    for path in paths:
        index.forget(path)
    assert (len(index), index.text_bytes) == (0, 0)
