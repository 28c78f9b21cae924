"""Errors made for people: the message names the file, key or parameter and says what is expected.

The command line prints them without a traceback; notebooks show them as they are.
"""


class MtlError(Exception):
    """Base of every error that a user of the collection can put right."""


class DataError(MtlError, ValueError):
    """A file, folder or array is not what the loader expects."""


class ParameterError(MtlError, ValueError):
    """A parameter is unknown, of the wrong type, or out of range."""


class CheckpointError(MtlError, ValueError):
    """A checkpoint is missing, damaged, or belongs to another model."""


class MissingArtefactError(MtlError, FileNotFoundError):
    """A file that an earlier notebook writes is not there; the message names that notebook."""


class TrainingError(MtlError, RuntimeError):
    """Training cannot go on: a loss is not finite, or a stage is not well defined."""


class ProtocolError(MtlError, ValueError):
    """A comparison breaks the evaluation protocol (different test sets, too few units, ...)."""
