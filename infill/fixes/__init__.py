"""Fixes for code that is already there: syntax errors, diagnostics of any tool, and doubtful tokens.

Each finds edits and ranks them by the causal direction's score; none applies any. Offsets are code points.
"""
