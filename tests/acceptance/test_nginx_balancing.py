"""The upstream of docs/how-to/scaling.md that picks a relay server by the stream's id."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import httpx
import pytest

from tests.conftest import ROOT, eventually, free_port, missing

PAGE = (ROOT / "docs" / "how-to" / "scaling.md").read_text()
PATHS = ("/v1/stream/{}", "/v1/sse/{}", "/v1/text/{}", "/v1/stream/{}/stop")
MAIN = """
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log info;
events {{}}
http {{
access_log off;
client_body_temp_path {folder}/body;
proxy_temp_path {folder}/proxy;
fastcgi_temp_path {folder}/fastcgi;
uwsgi_temp_path {folder}/uwsgi;
scgi_temp_path {folder}/scgi;
{blocks}
server {{
    listen 127.0.0.1:{port};
    location / {{
        proxy_pass http://streams;
        proxy_http_version 1.1;
        proxy_set_header Connection "";
    }}
}}
}}
"""


class Named(BaseHTTPRequestHandler):
    """Answers with its server's port."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = str(self.server.server_port).encode()  # type: ignore[attr-defined]
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


def upstream(ports: list[int]) -> str:
    """The page's block, with other servers."""
    blocks = re.findall(r"```nginx\n(.*?)```", PAGE, re.DOTALL)
    block = next(block for block in blocks if "consistent" in block)
    without = re.sub(r"    server [^;]+;\n", "", block)
    servers = "".join(f"    server 127.0.0.1:{port};\n" for port in ports)
    return without.replace("upstream streams {\n", "upstream streams {\n" + servers)


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[str]:
    binary = shutil.which("nginx")
    if binary is None:
        missing("nginx")
    servers = [ThreadingHTTPServer(("127.0.0.1", 0), Named) for _ in range(2)]
    for server in servers:
        Thread(target=server.serve_forever, daemon=True).start()
    port = free_port()
    blocks = upstream([server.server_port for server in servers])
    file = tmp_path / "nginx.conf"
    file.write_text(MAIN.format(folder=tmp_path, port=port, blocks=blocks))
    process = subprocess.Popen([str(binary), "-c", str(file), "-p", str(tmp_path)])
    url = f"http://127.0.0.1:{port}"

    def answers() -> bool:
        try:
            return httpx.get(url).status_code == 200
        except httpx.TransportError:
            return False

    try:
        eventually(answers)
        yield url
    finally:
        process.terminate()
        process.wait(10)
        for server in servers:
            server.shutdown()
            server.server_close()


def test_all_readers_of_a_stream_reach_one_relay_server(proxy: str) -> None:
    with httpx.Client(base_url=proxy) as client:
        found = {
            name: {client.get(path.format(name)).text for path in PATHS}
            for name in (f"stream-{number}" for number in range(30))
        }
    assert all(len(servers) == 1 for servers in found.values())
    assert len(set.union(*found.values())) == 2
