"""BLAS with one thread, for as long as anybody needs it."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # it has no hints

_blocks: list[ExitStack] = []  # what the first block has to undo, once for each block inside


@contextmanager
def one_thread() -> Iterator[None]:
    """Within a `with` block BLAS has one thread in this process.

    Blocks need not end in reverse order. The last one gives BLAS the threads that it had before the
    first one.
    """
    if not _blocks:
        # Entered, not only made: else the first thread of this program that ever sets a limit
        # keeps all others from setting one.
        limit = ExitStack()
        limit.enter_context(threadpool_limits(1, user_api="blas"))
        _blocks.append(limit)
    else:
        _blocks.append(_blocks[0])
    try:
        yield
    finally:
        limit = _blocks.pop()
        if not _blocks:
            limit.close()
