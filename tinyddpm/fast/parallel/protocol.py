"""What a parent and its workers send each other.

To a worker's standard input goes JSON, one message a line: first a Setup, then requests, which are
what `Part.compute` takes. On its standard output it answers each once it is done, with the length
of an error text (four bytes) and that text. There is none if all is well.
"""

import importlib
import json
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import IO, Any

from .memory import Spec

LENGTH = "=I"  # of an error text


@dataclass
class Setup:
    """How to make a network like the parent's, and a `Part` of the same arrays.

    Attributes:
        network: the name of its class (`name_of`).
        config: the name of its configuration's class.
        settings: the configuration's values.
        multipliers: the values of its Multipliers.
        gradient: the name of the function that computes the gradient of a shard.
        options: further arguments of that function, by name.
        beta: β_1..β_T of the schedule.
        vectors: θ, the EMA and the partial gradients, in the first memory.
        fds: the descriptors of the two memories: of the vectors, and of inputs and results.
        faster: the names of the faster equivalents that the parent uses.
        errors: what NumPy does about overflow and the like (`numpy.geterr`).
    """

    network: str
    config: str
    settings: dict[str, Any]
    multipliers: dict[str, float]
    gradient: str
    options: dict[str, Any]
    beta: list[float]
    vectors: list[Spec]
    fds: list[int]
    faster: list[str]
    errors: dict[str, Any]


def encoded(message: dict[str, Any]) -> bytes:
    """A message from parent to worker, as it goes through the pipe."""
    return json.dumps(message).encode() + b"\n"


def messages(pipe: IO[bytes]) -> Iterable[dict[str, Any]]:
    """In a worker: each message as it comes, until the parent closes the pipe."""
    return map(json.loads, pipe)


def answer(pipe: IO[bytes], error: str = "") -> None:
    """Worker to parent: done, or the text of an error."""
    text = error.encode(errors="replace")
    pipe.write(struct.pack(LENGTH, len(text)) + text)


def read_answer(pipe: IO[bytes]) -> str | None:
    """In the parent: the error text, empty if all is well. None if the worker has ended instead."""
    length = pipe.read(struct.calcsize(LENGTH))
    if len(length) < struct.calcsize(LENGTH):
        return None
    (expected,) = struct.unpack(LENGTH, length)
    text = pipe.read(expected)
    return text.decode() if len(text) == expected else None


def name_of(thing: Any) -> str:
    """Where a worker finds a class or a function: "module:name"."""
    name = f"{thing.__module__}:{thing.__qualname__}"
    if thing.__module__ == "__main__" or "<" in name:
        raise ValueError(
            f"{name}: expected a class or function that a worker can import, "
            "so one at the top of a module"
        )
    return name


def find(name: str) -> Any:
    """The class or function that `name_of` named."""
    module, _, name = name.partition(":")
    return getattr(importlib.import_module(module), name)
