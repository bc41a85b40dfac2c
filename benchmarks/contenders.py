"""The servers that are measured, by name, in the order of the tables."""

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from benchmarks.servers import nchan
from clarion.bench.fanout import Contender, bare, clarion_asgi, clarion_socket
from clarion.bench.processes import Server, free_port, uvicorn_command

ROOT: Final = Path(__file__).parent.parent

CLARION_SOCKET: Final = "clarion-socket"
CLARION_ASGI: Final = "clarion-asgi"
BARE: Final = "bare"


def uvicorn_peer(title: str, module: str) -> Contender:
    def start() -> Server:
        port = free_port()
        command = uvicorn_command(f"benchmarks.servers.{module}:app", port, "--http", "httptools")
        return Server(command, port=port, cwd=ROOT)

    return Contender(title, start)


def nchan_peer() -> Contender:
    return Contender("nchan", lambda: Server([sys.executable, "-m", "benchmarks.servers.nchan"], cwd=ROOT))


ALL: Final[dict[str, Contender]] = {
    BARE: bare(),
    CLARION_SOCKET: clarion_socket(),
    CLARION_ASGI: clarion_asgi(),
    "nchan": nchan_peer(),
    "streaming": uvicorn_peer("StreamingResponse, queue per client", "streaming_app"),
    "sse-starlette": uvicorn_peer("sse-starlette", "sse_starlette_app"),
    "fastapi-sse": uvicorn_peer("fastapi.sse", "fastapi_sse_app"),
}


def available(names: list[str]) -> tuple[list[str], list[str]]:
    """Return which of the named contenders can run on this machine, and a line about each that cannot."""
    missing = {}
    if nchan.module() is None:
        missing["nchan"] = "nchan left out: nginx with the nchan module is not installed (apt: libnginx-mod-nchan)"
    for name, package in (("sse-starlette", "sse_starlette"), ("fastapi-sse", "fastapi")):
        if find_spec(package) is None:
            missing[name] = f"{name} left out: it is not installed"
    return [name for name in names if name not in missing], [missing[name] for name in names if name in missing]
