"""Quantised weights: what they are in memory, how the published formats store them, how they are loaded."""
