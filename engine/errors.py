"""Errors the engine raises, and nothing else.

    EngineError
    ├── ModelNotFound        no such directory, or the hub does not have it (or we are offline)
    ├── UnsupportedModel     a checkpoint of another architecture, or a format we do not read
    ├── BrokenCheckpoint     truncated, corrupt, or with missing, unexpected or misshapen tensors
    ├── InvalidRequest       a request no model could serve (canvas length, pins, seed)
    └── EngineUnavailable    the engine in another process cannot be reached, started or understood

Having no suggestion is not an error: see `engine.request.Stop`.
"""


class EngineError(Exception):
    """Base of everything the engine raises on purpose; its text is fit to be shown to a user."""


class ModelNotFound(EngineError):
    """The model is neither a directory here nor to be had from the hub."""


class UnsupportedModel(EngineError):
    """The checkpoint is not of an architecture or a format this engine reads."""


class BrokenCheckpoint(EngineError):
    """The checkpoint's files contradict each other or its config; nothing of it was used."""


class InvalidRequest(EngineError):
    """The request itself is wrong, whatever the model."""


class EngineUnavailable(EngineError):
    """An engine in another process cannot be reached or started; a later request may be served."""
