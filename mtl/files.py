"""Atomic files: write to a temporary neighbour, flush it to disk, then rename over the target."""

from __future__ import annotations

import contextlib
import fcntl
import fnmatch
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any


@contextlib.contextmanager
def atomic_path(target: str | os.PathLike) -> Iterator[Path]:
    """Yield a temporary path beside ``target``; on success it replaces ``target`` in one step.

    A reader sees the old file or the new one, never half of either. After an exception, or a
    kill, ``target`` is untouched; what a kill leaves beside it, :func:`remove_halves` takes away.
    """
    target = Path(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = _locked_half(target)
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.chmod(0o644)
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)
        os.close(handle)


def _locked_half(target: Path) -> tuple[int, Path]:
    """A new file beside ``target`` and its open handle, whose lock says that the writer is alive."""
    while True:
        handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent)
        fcntl.flock(handle, fcntl.LOCK_EX)
        if os.path.exists(name):  # not taken for a dead one's between its making and its locking
            return handle, Path(name)
        os.close(handle)


def remove_halves(folder: str | os.PathLike) -> None:
    """Remove what killed writers of :func:`atomic_path` left in ``folder`` and below; living ones' stay."""
    for inside, _, files in os.walk(folder):  # passes over folders that go meanwhile
        for name in fnmatch.filter(files, ".*.part"):
            half = Path(inside, name)
            with contextlib.suppress(FileNotFoundError, BlockingIOError), half.open("r+b") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                half.unlink(missing_ok=True)


def write_text(target: str | os.PathLike, text: str) -> None:
    """Write ``text`` (UTF-8) to ``target`` atomically."""
    with atomic_path(target) as path:
        path.write_text(text, encoding="utf-8")


def write_json(target: str | os.PathLike, value: Any) -> None:
    """Write ``value`` as indented JSON; NaN and infinity are refused (``ValueError``)."""
    write_text(target, json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False) + "\n")


def read_json(path: str | os.PathLike) -> Any:
    """Read one JSON file (UTF-8)."""
    return json.loads(Path(path).read_text(encoding="utf-8"))


@contextlib.contextmanager
def file_lock(path: str | os.PathLike) -> Iterator[None]:
    """Hold an advisory lock for ``path`` (in ``.<name>.lock`` beside it) between processes."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with (path.parent / f".{path.name}.lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def sha256_of(*parts: str | bytes) -> str:
    """Hex SHA-256 of the parts, each length-prefixed so that boundaries count."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "little") + data)
    return digest.hexdigest()
