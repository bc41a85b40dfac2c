"""WebKitGTK's MiniBrowser, driven by WebDriver (w3.org/TR/webdriver2) on a display that nobody sees."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from contextlib import ExitStack
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from tests.browsers.driving import SECONDS, as_json, from_json
from tests.integration.servers import free_port

PROGRAM = "WebKitWebDriver"
DISPLAY_PROGRAM = "Xvfb"


class WebDriverRefused(AssertionError):
    """The driver answered a command with an error."""


class WebKitTab:
    def __init__(self, webkit: WebKit, handle: str) -> None:
        self._webkit = webkit
        self._handle = handle
        self._is_open = True

    def _command(self, method: str, path: str, **parameters: Any) -> Any:
        self._webkit.select(self._handle)
        return self._webkit.command(method, path, **parameters)

    def open(self, url: str) -> None:
        self._command("POST", "/url", url=url)

    def evaluate(self, expression: str) -> Any:
        script = f"{as_json(expression)}.then(arguments[0])"
        return from_json(self._command("POST", "/execute/async", script=script, args=[]))

    def back(self) -> None:
        self._command("POST", "/back")

    def reload(self) -> None:
        self._command("POST", "/refresh")

    def close(self) -> None:
        if self._is_open:
            self._is_open = False
            self._command("DELETE", "/window")
            self._webkit.selected = ""


class WebKit:
    name = "webkit"

    def __init__(self) -> None:
        self._port = free_port()
        self._session = ""
        self.selected = ""
        with ExitStack() as stack:
            home = stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True))
            display = self._start_display(stack)
            with (Path(home) / "log").open("w") as log:
                driver = subprocess.Popen(
                    [PROGRAM, "--host=127.0.0.1", f"--port={self._port}"],
                    env={**os.environ, "HOME": home, "DISPLAY": display, "GDK_BACKEND": "x11", "NO_AT_BRIDGE": "1"},
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                )
            stack.callback(_end, driver)
            deadline = time.monotonic() + SECONDS
            while not self._is_ready():
                assert time.monotonic() < deadline, (Path(home) / "log").read_text()
                time.sleep(0.02)
            capabilities = {"alwaysMatch": {"timeouts": {"script": SECONDS * 1000, "pageLoad": SECONDS * 1000}}}
            self._session = f"/session/{self.command('POST', '/session', capabilities=capabilities)['sessionId']}"
            stack.callback(self.command, "DELETE", "")
            self._stack = stack.pop_all()

    def _start_display(self, stack: ExitStack) -> str:
        """Start a display server; it says its number on a pipe once it is there."""
        number, said = os.pipe()
        with os.fdopen(number) as numbers:
            display = subprocess.Popen(
                [DISPLAY_PROGRAM, "-displayfd", str(said), "-screen", "0", "800x600x24", "-nolisten", "tcp"],
                pass_fds=(said,),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            stack.callback(_end, display)
            os.close(said)
            return f":{numbers.readline().strip()}"

    def _is_ready(self) -> bool:
        try:
            return bool(self.command("GET", "/status")["ready"])
        except OSError:
            return False

    def command(self, method: str, path: str, **parameters: Any) -> Any:
        """Send a command; its result."""
        connection = HTTPConnection("127.0.0.1", self._port, timeout=SECONDS + 10)
        try:
            body = json.dumps(parameters) if method == "POST" else None
            connection.request(method, self._session + path, body, {"content-type": "application/json"})
            value = json.loads(connection.getresponse().read())["value"]
        finally:
            connection.close()
        if isinstance(value, dict) and "error" in value:
            raise WebDriverRefused(f"{path}: {value['error']}: {value.get('message')}")
        return value

    def select(self, handle: str) -> None:
        """Make the commands that follow go to this tab."""
        if self.selected != handle:
            self.command("POST", "/window", handle=handle)
            self.selected = handle

    def new_tab(self, *, in_front: bool = True) -> WebKitTab:
        if not self.selected:
            # The command for a new tab needs one that is selected, and the last one may be closed.
            self.select(self.command("GET", "/window/handles")[0])
        # A new tab stays behind the one that is shown, so one in front is a window.
        kind = "window" if in_front else "tab"
        return WebKitTab(self, self.command("POST", "/window/new", type=kind)["handle"])

    def close(self) -> None:
        self._stack.close()


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
