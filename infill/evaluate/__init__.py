"""Measures fills against known answers: holes cut from real files, and HumanEval-Infilling.

Never lets an answer's length, or anything else of it, reach the engine. Knows nothing of terminals:
results are dataclasses and plain JSON values.
"""
