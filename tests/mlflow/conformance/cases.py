"""Declaring a case: a function of a world that raises when something is not so.

- A case is known by its module and its name, a sentence.
- ``stricter`` tells why MLflow's own server does otherwise; only such a case may
  ask which server it has.
- ``each`` makes one case of every value; the value is passed as second argument.
- The cases of a section that ``delivers`` have a server that may reach their receiver.
- No module here imports MLflow while it is loaded: the outer test run, which has
  none, reads the names of the cases.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

Function = Callable[..., None]


@dataclass(frozen=True)
class Case:
    """One thing that a server must do."""

    section: str
    name: str
    function: Function
    arguments: tuple[Any, ...] = ()
    stricter: str = ""
    delivers: bool = False

    @property
    def identity(self) -> str:
        """What reports and test names call it."""
        return f"{self.section}/{self.name}"


@dataclass(frozen=True)
class Section:
    """The cases of one module, in the order in which they stand there."""

    name: str
    cases: list[Case]
    delivers: bool = False

    def case(self, function: Function) -> Function:
        """Declare a case."""
        self._add(function.__name__, function)
        return function

    def stricter(self, reason: str) -> Callable[[Function], Function]:
        """Declare a case in which MLflow's own server does otherwise."""

        def declare(function: Function) -> Function:
            self._add(function.__name__, function, stricter=reason)
            return function

        return declare

    def each(
        self, values: Sequence[Any], *, stricter: str = ""
    ) -> Callable[[Function], Function]:
        """Declare one case for every value."""

        def declare(function: Function) -> Function:
            for number, value in enumerate(values):
                # The number keeps apart what looks the same in a report.
                name = f"{function.__name__}[{number}: {value!a:.60}]"
                self._add(name, function, value, stricter=stricter)
            return function

        return declare

    def _add(
        self, name: str, function: Function, *arguments: object, stricter: str = ""
    ) -> None:
        self.cases.append(
            Case(self.name, name, function, arguments, stricter, self.delivers)
        )


def section(name: str, *, delivers: bool = False) -> Section:
    """The section of a module."""
    return Section(name.rsplit(".", 1)[-1], [], delivers)
