"""Executors that make every interleaving of workers repeatable."""

from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class SteppingExecutor(Executor):
    """`submit` only queues; whoever holds the executor chooses which job is done next."""

    def __init__(self) -> None:
        self.queue: list[tuple[Future[Any], Callable[[], Any]]] = []

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Queues a job."""
        future: Future[T] = Future()
        self.queue.append((future, lambda: fn(*args, **kwargs)))
        return future

    def step(self, number: int = 0) -> None:
        """Does the job at this place in the queue; places count modulo the queue's length."""
        if not self.queue:
            return
        future, job = self.queue.pop(number % len(self.queue))
        try:
            future.set_result(job())
        except Exception as error:  # noqa: BLE001 - it belongs to whoever asks the future
            future.set_exception(error)
