"""How long work is shown: stages take a `Progress`, the command line passes bars, tests and libraries nothing."""

from __future__ import annotations

from typing import Protocol


class Bar(Protocol):
    """One piece of work. `advance` by amounts of the unit it was opened with; `close` when done or failed."""

    def advance(self, amount: float) -> None: ...
    def note(self, text: str) -> None: ...
    def close(self) -> None: ...


class Progress(Protocol):
    """`bar` opens one piece of work (`unit` "B" is shown in bytes); `say` prints a line about what happens."""

    def bar(self, label: str, total: float | None, unit: str) -> Bar: ...
    def say(self, line: str) -> None: ...


class Reached:
    """A bar for work that tells how far it has come, not how much was added: `at` in place of `advance`."""

    def __init__(self, bar: Bar) -> None:
        self._bar, self._done = bar, 0.0
        self.note, self.close = bar.note, bar.close

    def at(self, done: float) -> None:
        self._bar.advance(done - self._done)
        self._done = done


class SilentBar:
    def advance(self, amount: float) -> None:
        pass

    def note(self, text: str) -> None:
        pass

    def close(self) -> None:
        pass


class Silent:
    """The default: shows nothing."""

    def bar(self, label: str, total: float | None, unit: str) -> Bar:
        return SilentBar()

    def say(self, line: str) -> None:
        pass


SILENT = Silent()
