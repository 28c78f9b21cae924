"""What libraries raise over a damaged file, said with the file's name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from mtl.errors import DataError, MtlError


@contextmanager
def damage_named(message: str) -> Iterator[None]:
    """Turn whatever is raised inside into a `DataError` of this message, with the first error in brackets.

    Readers of files raise errors of every kind over damaged bytes: decoders, assertions, divisions by zero,
    memory for sizes that nobody wrote. Errors of this package pass as they are.
    """
    try:
        yield
    except MtlError:
        raise
    except Exception as error:
        raise DataError(f"{message} ({type(error).__name__}: {error})") from error
