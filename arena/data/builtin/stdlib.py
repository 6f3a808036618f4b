"""Read the docstrings of Python's standard library, each under its best-known public name."""

from __future__ import annotations

import importlib
import inspect
import re
import sys
import warnings
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

from arena.errors import UsageError
from arena.records import Document

# The order in modules.txt decides the name of an object that several modules offer: the first one.
# The list leaves out modules that open a window, print, or touch the terminal when imported. It
# leaves out deprecated modules, and modules that some platforms or builds lack, so that everyone
# has nearly the same corpus. It leaves out rarely used modules, so that a small model embeds the
# rest within a minute.
_MODULES = Path(__file__).with_name("modules.txt")

_MIN_WORDS = 4
"""Shorter docstrings ("Clear.", "The name.") do not answer a question."""

_BOILERPLATE = re.compile(
    r"Alias for field number \d+"
    r"|\w+\([^()]*\)"  # what a dataclass or a named tuple without a docstring is given
)
_REPLACEABLE = re.compile(r".*hook|set_trace|getfile")
"""What test runners, consoles and torch replace: the corpus must not depend on who asks."""

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def documented_names() -> Iterator[Document]:
    """Yield every documented public module, class, function and method, in a fixed order.

    An object with several names appears once. A text that several objects share appears once.

    Raises:
        UsageError: Python runs without docstrings (``-OO``).
    """
    if sys.flags.optimize >= 2:
        raise UsageError(
            "the built-in data set is made of docstrings, which python -OO leaves out; "
            "run without -OO and with PYTHONOPTIMIZE unset"
        )
    modules = dict(_modules())
    named: set[int] = set()
    seen: set[str] = set()
    for name, module in modules.items():
        for doc_id, value in _members(name, module, modules):
            text = _text(value)
            if id(value) in named or text in seen or not _informative(text):
                continue
            named.add(id(value))
            seen.add(text)
            yield Document(doc_id=doc_id, title=doc_id, text=text)


def _modules() -> Iterator[tuple[str, ModuleType]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in _MODULES.read_text(encoding="ascii").split():
            try:
                yield name, importlib.import_module(name)
            except ImportError:  # absent from this version, platform or build
                continue


def _members(
    name: str, module: ModuleType, modules: Mapping[str, ModuleType]
) -> Iterator[tuple[str, object]]:
    """Yield the module, then its public objects, then the methods of its classes, by name."""
    prefix = "" if name == "builtins" else f"{name}."
    offered = {
        f"{prefix}{key}": value
        for key, value in sorted(_public(module))
        if not _at_home_elsewhere(value, key, name, modules)
    }
    yield name, module
    yield from offered.items()
    classes = {doc_id: value for doc_id, value in offered.items() if isinstance(value, type)}
    # A base class before its subclasses, so that shared methods are named after the base.
    for doc_id, owner in sorted(classes.items(), key=lambda item: len(item[1].__mro__)):
        for key, attribute in _attributes(owner, set(classes.values())):
            yield f"{doc_id}.{key}", attribute


def _public(module: ModuleType) -> Iterator[tuple[str, object]]:
    contents = dict(vars(module))
    if "__all__" in contents:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # Some names of an __all__ exist only after a call of the module's __getattr__.
            contents = {key: getattr(module, key, None) for key in module.__all__}
    for key, value in contents.items():
        named = not key.startswith("_") and not _REPLACEABLE.fullmatch(key)
        if named and not isinstance(value, ModuleType):
            yield key, value


def _at_home_elsewhere(
    value: object, key: str, name: str, modules: Mapping[str, ModuleType]
) -> bool:
    """Return whether this object belongs to another module of the list.

    Without ``__all__`` only what a module defines, or takes from its own C or private half, is its
    own: ``_datetime`` and ``datetime``, ``concurrent.futures.thread`` and ``concurrent.futures``.
    """
    home = getattr(value, "__module__", None) or name
    if name in (home, "builtins"):
        return False
    if home in modules:
        return vars(modules[home]).get(key) is value
    return not hasattr(modules[name], "__all__") and not home.lstrip("_").startswith(name)


def _attributes(owner: type, public: Collection[type]) -> Iterator[tuple[str, object]]:
    """Yield public methods and properties that a class defines or has from a private base."""
    members: dict[str, object] = {}
    for base in reversed(owner.__mro__):
        path = f".{base.__module__}.{base.__qualname__}"
        if base is owner or ("._" in path and base not in public):
            members |= vars(base)
    for key in sorted(members):
        value = members[key]
        if not key.startswith("_") and not isinstance(value, type):
            function: Any = getattr(value, "__func__", value)
            if _of_the_library(function):
                yield key, inspect.unwrap(function)


def _of_the_library(function: object) -> bool:
    """Return whether the library defines it: packages add methods to `logging.Logger`."""
    home = getattr(function, "__module__", None)
    return not isinstance(home, str) or home.partition(".")[0] in sys.stdlib_module_names


def _text(value: object) -> str:
    """Return an object's own docstring, cleaned; empty if it only has that of its type."""
    text = getattr(value, "__doc__", None)
    if isinstance(value, type) and not text:
        constructor = vars(value).get("__init__")
        text = constructor.__doc__ if isinstance(constructor, FunctionType) else None
    if not isinstance(text, str) or (
        not isinstance(value, type | ModuleType) and text == type(value).__doc__
    ):
        return ""
    return _CONTROL.sub(" ", inspect.cleandoc(text)).strip()


def _informative(text: str) -> bool:
    return len(text.split()) >= _MIN_WORDS and not _BOILERPLATE.fullmatch(text)
