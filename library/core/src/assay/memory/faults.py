"""Faults to inject at named points of the memory adapters."""

from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class Faults:
    """What happens at each point: nothing, or the next error that was planned for it.

    A point is named by method and moment: `commit` before anything is done, `commit.done` when it
    is done and the answer is on its way.

    Attributes:
        always: asked at every point; may raise, for outages that last.
    """

    planned: dict[str, list[Exception]] = field(default_factory=dict[str, list[Exception]])
    always: Callable[[str], None] | None = None

    def plan(self, point: str, *errors: Exception) -> None:
        """The next calls at this point end so, one error each."""
        self.planned.setdefault(point, []).extend(errors)

    def at(self, point: str) -> None:
        """Called by an adapter at one of its points."""
        if self.always is not None:
            self.always(point)
        if errors := self.planned.get(point):
            raise errors.pop(0)
