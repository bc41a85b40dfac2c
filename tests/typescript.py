"""The TypeScript client for programs on Node, Deno and Bun: built from its sources, laid out as npm would install it.

So nothing depends on the `dist` folder of the sources, which may be of yesterday.
"""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from tests.node import BUILD_SECONDS, CLIENT, ROOT, node_environment, npm, run

RUNTIMES: Final = ROOT / "tests" / "runtimes"
END_SECONDS: Final = 10  # for a program that was told to end


class Built:
    """A folder with the package in `node_modules/clarion-client`, and what programs in it run on."""

    def __init__(self, folder: Path) -> None:
        """Install what the build needs, unless it is there, and build into `folder`. Takes some seconds."""
        self.folder = folder
        self.package = folder / "node_modules" / "clarion-client"
        npm(CLIENT)
        self.package.mkdir(parents=True)
        run(
            CLIENT / "node_modules" / ".bin" / "tsc", "--project", CLIENT, "--outDir", self.package / "dist",
            seconds=BUILD_SECONDS, env=self.environment,
        )  # fmt: skip
        (folder / "package.json").write_text('{"type": "module", "dependencies": {"clarion-client": "*"}}')
        shutil.copy(CLIENT / "package.json", self.package)
        shutil.copytree(CLIENT / "scripts", self.package / "scripts")

    @property
    def environment(self) -> dict[str, str]:
        """With the right `node` first in the path. Nothing asks its maker for news."""
        return {**node_environment(), "DENO_NO_UPDATE_CHECK": "1", "DO_NOT_TRACK": "1"}

    def program(self, source: Path) -> Path:
        """A copy of a program where it finds the package under its name."""
        return Path(shutil.copy(source, self.folder))


def command_of(runtime: str) -> tuple[str | Path, ...]:
    """How a program is run on `node`, `deno` or `bun`, which is installed unless it is there."""
    if runtime == "node":
        return ("node",)
    npm(RUNTIMES)
    # Not what npm links to: that is for the scripts of packages to make, and none are run.
    (path,) = (RUNTIMES / "node_modules").glob(f"@*/*/**/{runtime}")
    return (path, "run", *(("--no-prompt", "--allow-net=127.0.0.1") if runtime == "deno" else ("--no-install",)))


class Program:
    """A program that says JSON line by line, and ends when its input does.

    said: all lines so far. hear: called with each. runtime: `node`, `deno` or `bun`.
    """

    def __init__(
        self,
        built: Built,
        path: Path,
        *arguments: str,
        hear: Callable[[Any], None] | None = None,
        runtime: str = "node",
    ) -> None:
        self.said: list[Any] = []
        self._built = built
        self._command = (*command_of(runtime), path, *arguments)
        self._hear = hear or (lambda line: None)

    async def __aenter__(self) -> Self:
        # What went wrong goes to the test's own stderr.
        self._process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=self._built.environment,
            limit=1 << 24,
        )
        self._reading = asyncio.ensure_future(self._read())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            async with asyncio.timeout(END_SECONDS):
                status = await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
            raise AssertionError("the program does not end") from error
        finally:
            await asyncio.wait((self._reading,))
        if error is None:
            assert status == 0, f"the program ended with {status}"
            self._reading.result()

    def tell(self, what: Any) -> None:
        """Say a line of JSON."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(what).encode() + b"\n")

    async def until(self, condition: Callable[[], Any], seconds: float = 40) -> None:
        """Wait until something is true. Fails if the program has ended before, or what it said was wrong."""
        async with asyncio.timeout(seconds):
            while not condition():
                if self._reading.done():
                    self._reading.result()
                    assert condition(), f"the program has ended; it said {self.said[-5:]}"
                    return
                await asyncio.sleep(0.01)

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            self.said.append(json.loads(line))
            self._hear(self.said[-1])
