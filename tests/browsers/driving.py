"""What the tests need of a browser, whichever it is; each driver is a module of its own."""

from __future__ import annotations

import json
from typing import Any, Final, Protocol, runtime_checkable

SECONDS: Final = 30  # for everything that a browser does at once; this machine may be busy


class PageFailed(AssertionError):
    """A script of a page threw; the words are the page's."""


class Tab(Protocol):
    """One tab. All tabs of a browser share their storage, locks and channels."""

    def open(self, url: str) -> None:
        """Go there, and wait until it is loaded."""

    def evaluate(self, expression: str) -> Any:
        """What a JavaScript expression gives, awaited, as JSON. Raises `PageFailed`."""

    def back(self) -> None:
        """Go back in the history, and wait until the page is there."""

    def reload(self) -> None: ...

    def close(self) -> None:
        """Close the tab as its user does; a second time does nothing."""


class Browser(Protocol):
    """One running browser. It is used from one thread."""

    name: str

    def new_tab(self, *, in_front: bool = True) -> Tab:
        """Open a tab. One that is not in front is hidden, and its timers are slow, where the browser has that."""

    def close(self) -> None: ...


@runtime_checkable
class GoesOffline(Protocol):
    """A tab whose browser can take the network from it."""

    def set_offline(self, offline: bool) -> None: ...


def call(tab: Tab, name: str, *arguments: Any) -> Any:
    """Call one of the functions that the page has in `tests`."""
    return tab.evaluate(f"tests.{name}({', '.join(json.dumps(argument) for argument in arguments)})")


def as_json(expression: str) -> str:
    """A JavaScript expression: a promise of `[true, JSON]`, or `[false, words]` if it throws. It never rejects."""
    return (
        f"(async () => JSON.stringify([true, (await ({expression})) ?? null]))()"
        ".catch((error) => JSON.stringify([false, `${error?.stack ?? ''}\\n${error}`]))"
    )


def from_json(text: str) -> Any:
    went_well, said = json.loads(text)
    if not went_well:
        raise PageFailed(said)
    return said
