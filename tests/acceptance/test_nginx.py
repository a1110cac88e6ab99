"""The configuration of docs/how-to/nginx.md, as it stands there but for TLS, in a real nginx."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from streamstraight_celery import read_stream
from streamstraight_celery.tokens import Tokens
from tests.conftest import ROOT, eventually, free_port, missing
from tests.server.background import SECRET, BackgroundRelay

PAGE = (ROOT / "docs" / "how-to" / "nginx.md").read_text()
TLS = re.compile(r"\s*(http2|ssl_\w+|server_name)\b")
MAIN = """
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log info;
events {{}}
http {{
client_body_temp_path {folder}/body;
proxy_temp_path {folder}/proxy;
fastcgi_temp_path {folder}/fastcgi;
uwsgi_temp_path {folder}/uwsgi;
scgi_temp_path {folder}/scgi;
{blocks}
}}
"""


def configuration(folder: Path, port: int, relay_port: int) -> str:
    """All blocks of the page: the log's format first, the location inside of the server."""
    server, log_format, location = re.findall(r"```nginx\n(.*?)```", PAGE, re.DOTALL)
    server = "\n".join(line for line in server.splitlines() if not TLS.match(line))
    server = server.replace("listen 443 ssl", f"listen 127.0.0.1:{port}")
    server = server.replace("127.0.0.1:8787", f"127.0.0.1:{relay_port}")
    assert server.endswith("}")
    blocks = f"{log_format}{server[:-1]}{location}}}".replace("/var/log/nginx", str(folder))
    return MAIN.format(folder=folder, blocks=blocks)


@pytest.fixture(scope="module")
def relay() -> Iterator[BackgroundRelay]:
    with closing(BackgroundRelay(keyed=True)) as relay:
        yield relay


class Nginx:
    def __init__(self, folder: Path, relay_port: int) -> None:
        self.folder = folder
        self.url = f"http://127.0.0.1:{free_port()}"
        file = folder / "nginx.conf"
        file.write_text(configuration(folder, int(self.url.rpartition(":")[2]), relay_port))
        program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
        if program is None:
            missing("nginx")
        self._command = [str(program), "-c", str(file), "-p", str(folder)]
        self.start()

    @property
    def log(self) -> str:
        return (self.folder / "streams.log").read_text()

    def start(self) -> None:
        with (self.folder / "output").open("ab") as output:
            self._process = subprocess.Popen(self._command, stdout=output, stderr=output)
        eventually(self._answers)

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(30)

    def _answers(self) -> bool:
        assert self._process.poll() is None, (self.folder / "output").read_text()
        try:
            return httpx.get(f"{self.url}/healthz", trust_env=False).is_success
        except httpx.TransportError:
            return False


@pytest.fixture(scope="module")
def nginx(relay: BackgroundRelay, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    nginx = Nginx(tmp_path_factory.mktemp("nginx"), relay.port)
    yield nginx
    nginx.stop()


@pytest.fixture(params=["", "/relay"], ids=["a host of its own", "a path"])
def base(request: pytest.FixtureRequest, nginx: Nginx) -> str:
    return f"{nginx.url}{request.param}"


def token_of(stream_id: str) -> str:
    return Tokens([SECRET]).issue(stream_id)[0]


def test_chunks_pass_as_they_come(relay: BackgroundRelay, base: str) -> None:
    producer = relay.producer()
    url = f"{base}/v1/stream/{producer.stream_id}"
    with read_stream(url, token=token_of(producer.stream_id)) as stream:
        for number in range(5):
            producer.append(number)
            assert next(stream) == number  # before there is another one
        producer.end()
        assert list(stream) == []
        assert stream.end_reason == "completed"


@pytest.mark.parametrize("door", ["stream", "sse"])
def test_who_goes_away_lets_go_of_the_relay(relay: BackgroundRelay, base: str, door: str) -> None:
    producer = relay.producer()
    producer.append("a")
    headers = {"Authorization": f"Bearer {token_of(producer.stream_id)}"}
    url = f"{base}/v1/{door}/{producer.stream_id}?live=sse&offset=-1"
    with (
        httpx.Client(trust_env=False, headers=headers) as client,
        client.stream("GET", url) as response,
    ):
        lines = response.iter_lines()  # dropping it closes the response
        assert '"a"' in next(line for line in lines if line.startswith("data:"))
        assert relay.readers() == 1
    eventually(lambda: relay.readers() == 0)


def test_a_cut_reader_resumes(relay: BackgroundRelay, tmp_path: Path) -> None:
    nginx = Nginx(tmp_path, relay.port)
    producer = relay.producer()
    producer.append("a")
    url = f"{nginx.url}/v1/stream/{producer.stream_id}"
    try:
        with read_stream(url, token=token_of(producer.stream_id)) as stream:
            assert next(stream) == "a"
            nginx.stop()
            nginx.start()
            producer.append("b", end="completed")
            assert list(stream) == ["b"]
    finally:
        nginx.stop()


def test_no_token_gets_into_a_log(relay: BackgroundRelay, nginx: Nginx, base: str) -> None:
    producer = relay.producer()
    producer.append("a", end="completed")
    token = token_of(producer.stream_id)
    url = f"{base}/v1/sse/{producer.stream_id}?token={token}"
    assert httpx.get(url, trust_env=False).is_success
    eventually(lambda: producer.stream_id in nginx.log)
    for path in nginx.folder.glob("*"):
        assert not path.is_file() or token not in path.read_text()
