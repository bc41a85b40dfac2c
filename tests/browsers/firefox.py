"""Firefox, driven by WebDriver BiDi (w3.org/TR/webdriver-bidi), which it speaks itself over a WebSocket."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from websockets.sync.client import connect

from tests.browsers.driving import SECONDS, as_json, from_json

PROGRAM = "firefox-esr"
# Nothing is asked of the world, and nothing of the user.
PREFERENCES = {
    "app.normandy.enabled": False,
    "app.update.disabledForTesting": True,
    "browser.shell.checkDefaultBrowser": False,
    "browser.startup.homepage_override.mstone": "ignore",
    "browser.safebrowsing.downloads.remote.enabled": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "extensions.getAddons.cache.enabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    # It sends a request again, nine times, when there is no answer; so that tests can count, here it does not.
    "network.http.request.max-attempts": 1,
    "services.settings.server": "data:,#",
    "toolkit.telemetry.server": "data:,",
}


class BidiRefused(AssertionError):
    """Firefox answered a command with an error."""


class FirefoxTab:
    def __init__(self, firefox: Firefox, context: str) -> None:
        self._firefox = firefox
        self.context = context
        self._is_open = True

    def open(self, url: str) -> None:
        self._firefox.command("browsingContext.navigate", context=self.context, url=url, wait="complete")

    def evaluate(self, expression: str) -> Any:
        said = self._firefox.command(
            "script.evaluate", expression=as_json(expression), target={"context": self.context}, awaitPromise=True
        )
        return from_json(said["result"]["value"])

    def back(self) -> None:
        self._firefox.command("browsingContext.traverseHistory", context=self.context, delta=-1)

    def reload(self) -> None:
        self._firefox.command("browsingContext.reload", context=self.context, wait="complete")

    def set_offline(self, offline: bool) -> None:
        conditions = {"type": "offline"} if offline else None
        self._firefox.command("emulation.setNetworkConditions", networkConditions=conditions, contexts=[self.context])

    def activate(self) -> None:
        """Bring the tab to the front of its window."""
        self._firefox.command("browsingContext.activate", context=self.context)

    def close(self) -> None:
        if self._is_open:
            self._is_open = False
            self._firefox.command("browsingContext.close", context=self.context)


class Firefox:
    name = "firefox"

    def __init__(self) -> None:
        self._commands = 0
        with ExitStack() as stack:
            profile = Path(stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True)))
            lines = (f"user_pref({json.dumps(name)}, {json.dumps(value)});\n" for name, value in PREFERENCES.items())
            (profile / "user.js").write_text("".join(lines))
            command = [PROGRAM, "--headless", "--no-remote", "--profile", str(profile)]
            with (profile / "log").open("w") as log:
                self._process = subprocess.Popen(
                    [*command, "--remote-debugging-port", "0", "about:blank"],
                    env={**os.environ, "HOME": str(profile), "MOZ_CRASHREPORTER_DISABLE": "1"},
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                )
            stack.callback(self._end)
            self._socket = stack.enter_context(
                connect(f"{self._wait_for_address(profile)}/session", max_size=None, proxy=None)
            )
            self.command("session.new", capabilities={})
            self._stack = stack.pop_all()

    def _wait_for_address(self, profile: Path) -> str:
        """It writes where it listens into its profile."""
        deadline = time.monotonic() + SECONDS
        while True:
            assert self._process.poll() is None, (profile / "log").read_text()
            try:
                said = json.loads((profile / "WebDriverBiDiServer.json").read_text())
                return f"ws://{said['ws_host']}:{said['ws_port']}"
            except (FileNotFoundError, json.JSONDecodeError):
                assert time.monotonic() < deadline, (profile / "log").read_text()
                time.sleep(0.02)

    def command(self, method: str, **parameters: Any) -> Any:
        """Send a command and wait for its result."""
        self._commands += 1
        self._socket.send(json.dumps({"id": self._commands, "method": method, "params": parameters}))
        deadline = time.monotonic() + SECONDS
        while True:
            said = json.loads(self._socket.recv(timeout=max(deadline - time.monotonic(), 0)))
            if said.get("id") != self._commands:
                continue
            if said["type"] == "error":
                raise BidiRefused(f"{method}: {said['error']}: {said['message']}")
            return said["result"]

    def new_tab(self, *, in_front: bool = True) -> FirefoxTab:
        made = self.command("browsingContext.create", type="tab", background=not in_front)
        return FirefoxTab(self, made["context"])

    def close(self) -> None:
        self._stack.close()

    def _end(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
