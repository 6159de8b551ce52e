"""Checks that a value from a file or a command line has the type that its option expects.

checked("levels", [1, 2], tuple[int, ...])    # (1, 2)
checked("beta", 1, float)                     # 1.0
checked("base", "16", int)                    # base: expected a whole number, got '16'
"""

import reprlib
import typing
from typing import Any, Literal, NoReturn

BITS = 63  # of the largest number: what TOML promises, and NumPy's integers hold
WORDS = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}
ITEMS = {int: "whole numbers", str: "texts"}


def checked(name: str, value: Any, kind: Any) -> Any:
    """The value, converted where nothing is lost: a whole number to a float, a list to a tuple.

    Args:
        name: the option, for the message.
        value: anything that TOML, JSON or a command line can hold.
        kind: the option's type: bool, int, float, str, one of them `| None` or `| str | None`, a
            tuple of int or str, or a Literal of texts.

    Raises:
        ValueError: `value` is of another type. True is no whole number, and 16.0 is none either.
    """
    options = typing.get_args(kind)
    if type(None) in options:  # `int | None` is an int, or None
        # Of `int | str | None` it is what the value is.
        own = type(value) if type(value) in options else options[0]
        return None if value is None else checked(name, value, own)
    if typing.get_origin(kind) is tuple:
        return _checked_list(name, value, options[0])
    if typing.get_origin(kind) is Literal:
        if value in options:
            return value
        _refuse(name, " or ".join(options), value)
    return _checked_scalar(name, value, kind)


def _checked_list(name: str, value: Any, item: type) -> tuple[Any, ...]:
    if not isinstance(value, (list, tuple)) or any(type(v) is not item for v in value):
        _refuse(name, f"a list of {ITEMS[item]}", value)
    if item is int and any(v.bit_length() > BITS for v in value):
        _refuse(name, f"a list of {ITEMS[item]}", value)
    return tuple(value)


def _checked_scalar(name: str, value: Any, kind: type) -> Any:
    if type(value) is int and kind in (int, float):
        if value.bit_length() > BITS:
            size = value.bit_length()
            raise ValueError(f"{name}: expected a number of at most {BITS} bits, got one of {size}")
        return kind(value)
    if type(value) is not kind:
        _refuse(name, WORDS[kind], value)
    return value


def _refuse(name: str, expected: str, value: Any) -> NoReturn:
    raise ValueError(f"{name}: expected {expected}, got {_shown(value)}")


def _shown(value: Any) -> str:
    """The value as Python would write it, cut if it is long."""
    try:
        return _SHORT.repr(value)
    except ValueError:  # a number of more digits than Python is willing to write
        return f"a {type(value).__name__}"


_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 80
