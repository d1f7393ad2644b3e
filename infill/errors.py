"""Errors `infill` raises.

    InfillError
    └── InvalidHole      an offset or a span outside the text

Having no suggestion is a value (`infill.request.Rejected`), never an error. What the engine raises
passes through as `engine.errors.EngineError`.
"""


class InfillError(Exception):
    """Base of everything `infill` raises on purpose; its text is fit to be shown to a user."""


class InvalidHole(InfillError):
    """The hole does not lie within the text."""
