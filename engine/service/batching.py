"""Steps of several requests as one forward pass, denoising ones and left-to-right ones alike.

Every lane runs its own loop with its own prefix cache, and only one of them computes at a time. A lane that
wants a pass through the network waits; once all lanes of the most urgent kind wait, their rows of equal
length go through it together, each with its own prefix's attention. So requests join and leave between two
steps, and the loops in `engine.denoising.denoiser` and `engine.causal.verified` know nothing of it. Requests
that are less urgent stand still meanwhile. Where a pass leaves processor cores idle there are several such
batches beside each other, and lanes take turns in joining them; one that is alone has all cores. A network
that gains nothing from joined rows has `engine.service.turns` instead.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from engine.request import Priority

if TYPE_CHECKING:
    from torch import Tensor

    from engine.networks.attention import Attend
    from engine.networks.network import Network

_URGENCY = {priority: rank for rank, priority in enumerate(Priority)}

_LONG_ROW = 16
"""Tokens of a row from which on several threads are worth it: those of prompts and canvases. A pass over a
few tokens of a few middles, or of many, is such small products that the threads would wait for each other
for longer than they compute, the more so on a busy machine."""


@dataclass(kw_only=True, eq=False)
class _Call:
    """One lane's pass: rows (b, n), positions (1 or b, n), soft (b, n, hidden) or None -> states.

    `causal` passes go through the encoder and have no `soft`.
    """

    owner: int
    causal: bool
    rows: Tensor
    positions: Tensor
    attend: Attend
    soft: Tensor | None
    states: Tensor | None = None
    error: Exception | None = None


class Batch:
    """The lanes at work on one network, and the steps they wait for.

    Passes over long rows are computed by `threads` threads while no other batch is at work, the rest by one.
    """

    def __init__(self, network: Network, threads: int = 1) -> None:
        self._network, self._threads = network, threads
        self._beside: Sequence[Batch] = ()
        self._computing = threading.RLock()
        self._changed = threading.Condition(self._computing)
        self._joining = threading.Lock()
        self._present: dict[int, int] = {}  # lane's thread -> urgency; the lower the more urgent
        self._calls: list[_Call] = []
        self.sizes: dict[int, int] = {}
        """How many forward passes were of how many canvases."""

    @staticmethod
    def beside_each_other(network: Network, threads: int, count: int) -> list[Batch]:
        """`count` batches that compute beside each other."""
        batches = [Batch(network, threads) for _ in range(count)]
        for batch in batches:
            batch._beside = [other for other in batches if other is not batch]
        return batches

    @property
    def present(self) -> int:
        """How many lanes take part now, those included that wait to."""
        return len(self._present)

    @contextmanager
    def member(self, priority: Priority) -> Iterator[None]:
        """Take part: others' steps wait for ours from now on, and nobody else computes meanwhile."""
        me = threading.get_ident()
        with self._joining:
            # Before the lock is ours: who has it would else go on without us, step after step.
            self._present[me] = _URGENCY[priority]
        try:
            with self._computing:
                yield
        finally:
            with self._changed:
                with self._joining:
                    del self._present[me]
                self._use_threads(self._threads)  # for whatever else this thread does
                self._changed.notify_all()

    def forward(self, call: _Call) -> Tensor:
        """Have a pass computed together with those of the other lanes; our turn to compute goes on after it.

        Raises:
            Exception: whatever the network raises for this pass alone.
        """
        self._use_threads(self._threads_for(call))  # for what this lane does until its next pass
        with self._changed:
            self._calls.append(call)
            while call.states is None and call.error is None:
                ready = self._ready()
                if call in ready:
                    self._run(ready)
                    self._changed.notify_all()
                elif ready:
                    self._changed.notify_all()
                    self._changed.wait()
                else:
                    self._changed.wait()
        if call.error is not None:
            raise call.error
        assert call.states is not None
        return call.states

    def _ready(self) -> list[_Call]:
        """The steps to compute now: those of the most urgent lanes, if all of them wait; else none."""
        with self._joining:
            present = dict(self._present)
        # A caller that never joined is as urgent as can be.
        urgency = {call.owner: present.get(call.owner, 0) for call in self._calls}
        first = min([*urgency.values(), *present.values()])
        ready = [call for call in self._calls if urgency[call.owner] == first]
        missing = {owner for owner, of in present.items() if of == first} - {call.owner for call in ready}
        return [] if missing else ready

    def _run(self, calls: list[_Call]) -> None:
        alike: dict[tuple[bool, int], list[_Call]] = {}
        for call in calls:
            self._calls.remove(call)
            alike.setdefault((call.causal, call.rows.shape[1]), []).append(call)
        for group in alike.values():
            self._run_together(group)

    def _use_threads(self, count: int) -> None:
        """From now on, on this thread: libraries know one number for each."""
        if self._threads > 1:
            self._network.use_threads(count)

    def _run_together(self, calls: list[_Call]) -> None:
        rows = sum(len(call.rows) for call in calls)
        self.sizes[rows] = self.sizes.get(rows, 0) + 1
        try:
            self._use_threads(self._threads_for(calls[0]))
            states = _forward(self._network, calls)
        except Exception as error:
            if len(calls) == 1:
                calls[0].error = error
                return
            # Out of memory, or one of them is at fault: the others are served by themselves.
            for call in calls:
                self._run_together([call])
            return
        for call, part in zip(calls, states, strict=True):
            call.states = part

    def _threads_for(self, call: _Call) -> int:
        alone = not any(batch.present for batch in self._beside)
        return self._threads if alone and call.rows.shape[1] >= _LONG_ROW else 1


def _forward(network: Network, calls: list[_Call]) -> list[Tensor]:
    """The final states of each call, from one pass over all their rows where that is worth it."""
    import torch

    sizes = [len(call.rows) for call in calls]
    with torch.inference_mode():
        if len(calls) == 1:
            [call] = calls
            rows, positions, attend = call.rows, call.positions, call.attend
        else:
            rows = torch.cat([call.rows for call in calls])
            positions = torch.cat([call.positions.expand_as(call.rows) for call in calls])
            attend = _apart(calls, sizes)
        if calls[0].causal:
            states = network.encode(rows, positions, attend)
        else:
            states = network.denoise(rows, positions, attend, _soft(calls))
        return list(states.split(sizes))


def _apart(calls: list[_Call], sizes: list[int]) -> Attend:
    """Each call's rows attend to their own prefix."""
    import torch

    def attend(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        parts = zip(calls, q.split(sizes), k.split(sizes), v.split(sizes), strict=True)
        return torch.cat([call.attend(layer, *part) for call, *part in parts])

    return attend


def _soft(calls: list[_Call]) -> Tensor | None:
    """The previous steps' guesses; zeros stand for those that have none, and give the same."""
    import torch

    known = next((call.soft for call in calls if call.soft is not None), None)
    if known is None:
        return None
    return torch.cat(
        [
            known.new_zeros(*call.rows.shape, known.shape[-1]) if call.soft is None else call.soft
            for call in calls
        ]
    )


class BatchedNetwork:
    """Stands in for a network: passes through its layers are batched, all else is the network's own."""

    def __init__(self, network: Network, batch: Batch) -> None:
        self._network, self._batch = network, batch

    def encode(self, ids: Tensor, positions: Tensor, attend: Attend) -> Tensor:
        """See `engine.networks.network.Network`."""
        return self._forward(ids, positions, attend, None, causal=True)

    def denoise(self, canvas: Tensor, positions: Tensor, attend: Attend, soft: Tensor | None) -> Tensor:
        """See `engine.networks.network.Network`."""
        return self._forward(canvas, positions, attend, soft, causal=False)

    def logits_behind(self, *_where: object) -> Tensor | None:
        """See `engine.networks.network.Network`: where passes are joined there is no shorter way."""
        return None

    def search_behind(self, *_where: object) -> None:
        """See `engine.networks.network.Network`: likewise."""

    def _forward(
        self, rows: Tensor, positions: Tensor, attend: Attend, soft: Tensor | None, *, causal: bool
    ) -> Tensor:
        owner = threading.get_ident()
        return self._batch.forward(
            _Call(owner=owner, causal=causal, rows=rows, positions=positions, attend=attend, soft=soft)
        )

    def __getattr__(self, name: str) -> Any:
        return getattr(self._network, name)
