"""Holes that are marked in a text, filled together where they fit one canvas."""
