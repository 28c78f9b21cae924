"""What code of one's own consists of, as a hash: networks, losses and targets that users write.

``training_code_fingerprint`` covers the package. What a user hands in (a class in a notebook or in a module
of theirs, a function, a ``partial``, a loss object) is looked at here, so that a change of it makes weights
stale that were trained before it. What functions look up elsewhere (a file, a global) is not seen.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from mtl.files import sha256_of

#: Where classes come from whose code is fixed, or has a fingerprint of its own.
_PACKAGES = ("builtins", "torch", "monai", "huggingface_hub", "mtl")
#: What was looked at, by id; kept alive, so that no id comes twice.
_Seen = dict[int, Any]


def own_code_fingerprint(*things: Any) -> str:
    """SHA-256 of what functions, classes, objects and values are made of: source, settings, tensors."""
    return sha256_of(*(text for thing in things for text in _described(thing, {})))


def network_code_fingerprint(model: nn.Module) -> str:
    """SHA-256 of a network's structure and of the source of every class in it that is the user's own.

    Together with the values of its weights it tells two networks apart: with the same names and shapes a
    changed ``forward`` makes another one.
    """
    kinds = dict.fromkeys(type(module) for module in model.modules())
    return own_code_fingerprint(repr(model), *(kind for kind in kinds if _is_own(kind)))


def _is_own(thing: Any) -> bool:
    return (thing.__module__ or "builtins").partition(".")[0] not in _PACKAGES


def _described(thing: Any, seen: _Seen) -> Iterator[str | bytes]:
    """Texts and bytes that change when ``thing`` does; objects that were looked at already are left out."""
    if thing is None or isinstance(thing, bool | int | float | complex | str | bytes):
        yield repr(thing)
    elif id(thing) not in seen:
        seen[id(thing)] = thing
        yield from _parts(thing, seen)


def _parts(thing: Any, seen: _Seen) -> Iterator[str | bytes]:
    if isinstance(thing, torch.Tensor):
        plain = thing.detach().cpu()  # numpy has no bfloat16; float32 holds it exactly
        yield from _parts((plain.float() if plain.dtype == torch.bfloat16 else plain).numpy(), seen)
    elif isinstance(thing, np.ndarray):
        yield from (f"{thing.dtype} {thing.shape}", np.ascontiguousarray(thing).tobytes())
    elif isinstance(thing, functools.partial):
        yield from _each(("partial", thing.func, thing.args, thing.keywords), seen)
    elif isinstance(thing, Mapping):
        yield from _each((part for item in thing.items() for part in item), seen)
    elif isinstance(thing, list | tuple):
        yield from _each(thing, seen)
    elif isinstance(thing, set | frozenset):
        yield from _each(sorted(thing, key=repr), seen)
    elif isinstance(thing, staticmethod | classmethod):
        yield from _described(thing.__func__, seen)
    elif isinstance(thing, property):
        yield from _each((thing.fget, thing.fset), seen)
    elif inspect.isclass(thing):
        yield from _of_class(thing, seen)
    elif inspect.isroutine(thing):
        yield from _of_function(thing, seen)
    else:
        yield from _of_object(thing, seen)


def _each(things: Iterable[Any], seen: _Seen) -> Iterator[str | bytes]:
    for thing in things:
        yield from _described(thing, seen)


def _of_class(kind: type, seen: _Seen) -> Iterator[str | bytes]:
    """The class's name and, where it or a base is the user's own, all that is defined there.

    A class of a notebook has no file to be looked up in, but its functions remember their cells.
    """
    yield kind.__qualname__ if _is_own(kind) else f"{kind.__module__}.{kind.__qualname__}"
    for one in filter(_is_own, kind.__mro__):
        for name, value in vars(one).items():
            if callable(value) or not name.startswith("__"):
                yield name
                yield from _described(value, seen)


def _of_function(function: Any, seen: _Seen) -> Iterator[str | bytes]:
    yield getattr(function, "__qualname__", repr(type(function)))
    if not inspect.isfunction(function):  # compiled, or bound to an object
        yield from _each((getattr(function, "__func__", None), getattr(function, "__self__", None)), seen)
    elif _is_own(function):
        with contextlib.suppress(OSError):  # typed at a prompt
            yield inspect.getsource(function)
        code = function.__code__  # tells lambdas of one line apart
        yield code.co_code
        yield from _each(
            (code.co_consts, code.co_names, function.__defaults__, function.__kwdefaults__), seen
        )
        for cell in function.__closure__ or ():
            with contextlib.suppress(ValueError):  # not filled yet
                yield from _described(cell.cell_contents, seen)


def _of_object(thing: Any, seen: _Seen) -> Iterator[str | bytes]:
    """An object's class and what it holds; of a network, its structure, its tensors and its settings."""
    yield from _described(type(thing), seen)
    held = getattr(thing, "__dict__", {})
    if isinstance(thing, nn.Module):
        yield repr(thing)
        yield from _each(thing.state_dict().values(), seen)
        held = {name: value for name, value in held.items() if not name.startswith("_")}
    yield from _parts(held, seen)
