"""Threads that wait for the disk, so that the reactor's never does."""

from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.interfaces import IReactorFromThreads
from twisted.python.threadpool import ThreadPool

#: takes what the work returned, or the Failure that it ended with
Done = Callable[[Any], None]


class Worker(Protocol):
    """Does one thing after the other, somewhere else."""

    def run(self, work: Callable[[], Any], done: Done) -> None:
        """Do ``work``; then ``done`` is called, in the reactor's thread."""

    def stop(self) -> None:
        """No more work comes."""


class ThreadWorker:
    """A Worker with a thread of its own, from the first piece of work to ``stop``."""

    def __init__(self, reactor: IReactorFromThreads, name: str) -> None:
        self._reactor = reactor
        self._pool = ThreadPool(1, 1, name)

    def run(self, work: Callable[[], Any], done: Done) -> None:
        """Do ``work`` in the thread."""
        if not self._pool.started:
            self._pool.start()

        def finished(success: bool, result: Any) -> None:
            self._reactor.callFromThread(done, result)

        self._pool.callInThreadWithCallback(finished, work)

    def stop(self) -> None:
        """End the thread; waits for it, so only when no work is under way."""
        if self._pool.started:
            self._pool.stop()
