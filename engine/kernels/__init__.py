"""Matrix products on a GPU by plain or quantised weights, grouped by expert.

Importing this imports Triton; nothing else in the engine does.
"""

from engine.kernels.grouped import grouped_matmul, quantised_matmul

__all__ = ["grouped_matmul", "quantised_matmul"]
