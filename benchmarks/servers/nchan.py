"""nchan: nginx with the nchan module, one worker, memory store; this process starts it and posts events to
it.

Events are posted over one kept-alive connection, a burst as one pipelined write. nchan answers a post when
it has handed the event to its subscribers, so an answered burst is a settled one.
"""

import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from clarion.bench.machine import raise_descriptor_limit
from clarion.bench.orders import Order, Reply, say, serve
from clarion.bench.payload import DEFAULT_SIZE, event_text
from clarion.bench.processes import free_port
from clarion.bench.publishing import batches

MODULES: Final = (
    Path("/usr/lib/nginx/modules/ngx_nchan_module.so"),
    Path("/usr/share/nginx/modules/ngx_nchan_module.so"),
)
"""Where Debian and Ubuntu put the module."""

CONFIGURATION: Final = """
load_module {module};
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
worker_processes 1;
worker_rlimit_nofile {descriptors};
events {{ worker_connections {connections}; use epoll; multi_accept on; }}
http {{
    access_log off;
    tcp_nodelay on;
    keepalive_requests 1000000000;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    nchan_shared_memory_size 256M;
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location = /publish {{
            nchan_publisher;
            nchan_channel_id bench;
            nchan_message_buffer_length 100000;
            nchan_message_timeout 10m;
        }}
        location = /events {{
            nchan_subscriber eventsource;
            nchan_channel_id bench;
            nchan_subscriber_first_message newest;
        }}
    }}
}}
"""
"""A message buffer of 100,000 where nchan's default is 10: with that, a burst would lose events."""

ANSWER: Final = re.compile(rb"HTTP/1\.1 (\d\d\d)[^\r]*\r\n(?:[^\r]+\r\n)*?Content-Length: (\d+)\r\n(?:[^\r]+\r\n)*\r\n")


def module() -> Path | None:
    """Return nchan's module, or None if this machine has no nginx with it."""
    found = [path for path in MODULES if path.exists()]
    return found[0] if found and shutil.which("nginx") else None


def version() -> str:
    """Return what `nginx -v` and the package list say."""
    nginx = subprocess.run(["nginx", "-v"], capture_output=True, text=True, check=True).stderr
    package = subprocess.run(
        ["dpkg-query", "-W", "-f", "${Version}", "libnginx-mod-nchan"],
        capture_output=True,
        text=True,
        check=False,
    ).stdout
    return f"{package or 'unknown'} in {nginx.rpartition('/')[2].strip()}"


class Publisher:
    """One kept-alive connection to nchan."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._received = b""

    def post(self, texts: list[str]) -> None:
        """Post events as one write, and wait for the answers to all."""
        self._socket.sendall(b"".join(post_request(text) for text in texts))
        for _ in texts:
            self._answer()

    def _answer(self) -> None:
        while not (answer := ANSWER.match(self._received)) or len(self._received) < answer.end() + int(answer[2]):
            piece = self._socket.recv(65_536)
            if not piece:
                raise ConnectionError("nchan closed the publisher's connection")
            self._received += piece
        if answer[1] not in (b"200", b"201", b"202"):
            raise ConnectionError(f"nchan answered {answer[1].decode()}")
        self._received = self._received[answer.end() + int(answer[2]) :]


def post_request(text: str) -> bytes:
    return f"POST /publish HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(text)}\r\n\r\n{text}".encode()


def publish(order: Order, publisher: Publisher) -> Reply:
    size = int(order.get("size", DEFAULT_SIZE))
    began, cpu = time.monotonic_ns(), time.process_time()
    for numbers in batches(order):
        publisher.post([event_text(number, size) for number in numbers])
    return {
        "began_ns": began,
        "seconds": (time.monotonic_ns() - began) / 1e9,
        "cpu_seconds": time.process_time() - cpu,
    }


def run(folder: Path, loaded: Path) -> None:
    """Start nginx, take orders, end nginx."""
    port, descriptors = free_port(), raise_descriptor_limit()
    configuration = folder / "nginx.conf"
    configuration.write_text(
        CONFIGURATION.format(
            module=loaded, folder=folder, port=port, descriptors=descriptors, connections=descriptors - 50
        )
    )
    nginx = subprocess.Popen(["nginx", "-e", str(folder / "error.log"), "-c", str(configuration)])
    try:
        publisher = connect(port)
        children = Path(f"/proc/{nginx.pid}/task/{nginx.pid}/children").read_text().split()
        pids = [nginx.pid, *(int(pid) for pid in children)]
        say({"ready": True, "port": port, "pids": pids, "versions": {"nchan": version()}})
        serve({"publish": lambda order: publish(order, publisher)})
    finally:
        nginx.terminate()
        try:
            nginx.wait(3)
        except subprocess.TimeoutExpired:
            nginx.kill()
            nginx.wait()


def connect(port: int) -> Publisher:
    deadline = time.monotonic() + 10
    while True:
        try:
            return Publisher(port)
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def main() -> int:
    loaded = module()
    if loaded is None:
        print("nginx with the nchan module is not installed", file=sys.stderr)
        return 1
    # nginx's worker gives up root, and must still reach its folder.
    with tempfile.TemporaryDirectory(prefix="nchan-") as name:
        Path(name).chmod(0o755)
        run(Path(name), loaded)
    return 0


if __name__ == "__main__":
    sys.exit(main())
