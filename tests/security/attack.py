"""Attack a relay server of its own process: `python -m tests.security.attack [requests] [seed]`.

Random requests from a seed, and floods; one line of figures at the end. Exits with 1 when an answer
was a 5xx, /healthz took longer than it may, or the server's log has a traceback.
"""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from streamstraight_celery.server import create_app
from streamstraight_celery.server.socketio import uvicorn_options
from streamstraight_celery.settings import StreamSettings
from streamstraight_celery.tokens import Tokens
from tests.server.serving import serving

from .raw import HANDSHAKE, SOCKET_IO, Raw, answers, connected, frame, head, upgraded

SECRET = "a secret of the attacked server"
KEY = "an API key of the attacked server"
ALLOWED_SECONDS = 0.25
TARGETS = [
    "/healthz", "/", "*", "/v1/stream/s", "/v1/stream/%2e%2e%2fs", "/v1/stream/%00", "/v1/sse/s",
    "/v1/stop/s", "/v1/streams", "/v1/token", "/v1/overview", "/streams", "/client.js", "/metrics",
    "http://[::1%25eth0]/healthz", "http://h/v1/stream/s", "//x", "/v1/stream/s?offset=-1&live=sse",
    SOCKET_IO, "/" + "a" * 9000, "/\u00e9", "/%zz?%zz=%zz&token=%ff",
]  # fmt: skip
LINES = [
    "Host: twice", "Host:", "Origin: http://[", "Origin: null", "Content-Length: 3",
    "Content-Length: 4", "Content-Length: -1", "Content-Length: 99999999999999999999",
    "Transfer-Encoding: chunked", "Transfer-Encoding: identity, chunked", "Expect: 100-continue",
    "Connection: Upgrade", "Upgrade: h2c", "Upgrade: websocket", "Connection: close",
    "Forwarded: for=127.0.0.1", "X-Forwarded-For: 127.0.0.1", "If-None-Match: " + '"' * 500,
    "Cookie: " + "a=b;" * 3000, "Last-Event-ID: \u00ff", "X: a\r\n folded", "X\t: y", ": y",
    "Content-Type: application/json", "Stream-TTL: " + "9" * 5000, "Stream-Closed: true",
    "Producer-Id: \u00ff", "Producer-Epoch: 1e9", "Producer-Seq: 99999999999999999999",
    "Stream-Expires-At: 9999-99-99T99:99:99Z", "Stream-Forked-From: /v1/stream/../s",
    "Authorization: Bearer eyJhbGciOiJub25lIn0.e30.", "Authorization: Bearer " + "." * 4000,
]  # fmt: skip
BODIES = [
    b"", b"[1]", b"[" * 100_000, b"1" * 5000, b'"\\ud800"', b"\xff\xfe", b'{"streams":[{"id":1}]}',
    b'{"streams":{}}', b"3\r\n[1]\r\n0\r\n\r\n", b"ffffffffffffffff\r\n", b"0\r\nA: b\r\n\r\n",
]  # fmt: skip
FLOODS = [
    head("POST", "/v1/streams", "Transfer-Encoding: chunked")
    + b"2\r\n{}\r\n0\r\n"
    + b"a:\r\n" * 2**19,
    head("GET", "/healthz") * 20_000,
    head("POST", "/v1/stream/s", "Content-Length: 9999999") + b"x" * 4_000_000,
]
FRAMES = [
    frame(opcode=9) * 200_000, frame("3") * 200_000, frame("x", fin=False) * 200_000,
    frame("4" + "x" * 3_000_000), frame(b"4\xff") * 1000, frame("1") + frame(opcode=9) * 100_000,
]  # fmt: skip


async def serve() -> None:
    settings = StreamSettings(
        relay_url="memory://attack", secret=(SECRET,), api_keys=(KEY,), writing=True
    )
    app = create_app(settings)
    async with serving(app, **uvicorn_options(settings)) as port:
        print(port, flush=True)
        await asyncio.to_thread(sys.stdin.read)  # until the attacker is done


def request(random: random.Random, token: str) -> bytes:
    lines = random.sample(LINES, random.randint(0, 6))
    if random.random() < 0.5:
        lines.append(f"Authorization: Bearer {random.choice([token, KEY])}")
    if random.random() < 0.1:
        lines += HANDSHAKE
    method = random.choice(["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "CONNECT", "X"])
    text = f"{method} {random.choice(TARGETS)} HTTP/1.1\r\n"
    text += "".join(f"{line}\r\n" for line in ["Host: 127.0.0.1", *lines])
    return (text + "\r\n").encode("latin-1") + random.choice(BODIES)


class Attack:
    def __init__(self, port: int) -> None:
        self.port = port
        self.requests = self.connections = self.faults = 0
        self.longest = 0.0

    async def fuzz(self, number: int, seed: int) -> None:
        chance, token = random.Random(seed), Tokens([SECRET]).issue("s", scopes=["write"])[0]
        for _ in range(number):
            await self.one(b"", request(chance, token))

    async def one(self, begin: bytes, data: bytes, *, websocket: bool = False) -> None:
        self.connections += 1
        self.requests += 1
        async with connected(self.port) as raw:
            if websocket:
                await upgraded(raw)
            sending = asyncio.ensure_future(raw.send(begin + data))
            received = await _some(raw, 30 if len(data) > 10**6 else 0.3)
            sending.cancel()
            self.faults += any(status >= 500 for status in answers(received))

    async def watch(self) -> None:
        while True:
            began = time.monotonic()
            async with connected(self.port) as raw:
                await raw.ask()
                self.faults += answers(await raw.until_closed()) != [200]
            self.longest = max(self.longest, time.monotonic() - began)
            await asyncio.sleep(0.01)


async def _some(raw: Raw, seconds: float) -> bytes:
    try:
        return await raw.until_closed(seconds)
    except asyncio.TimeoutError:
        return raw.received


async def attack(number: int, seed: int) -> int:
    with tempfile.TemporaryFile() as log:
        command = [sys.executable, "-m", "tests.security.attack", "serve"]
        server = subprocess.Popen(  # noqa: ASYNC220 - before anything else runs
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log
        )
        assert server.stdout is not None
        port = int(await asyncio.to_thread(server.stdout.readline))
        attack = Attack(port)
        watching = asyncio.ensure_future(attack.watch())
        fuzzing = [attack.fuzz(number // 8, seed + each) for each in range(8)]
        await asyncio.gather(*fuzzing)
        for data in FLOODS:
            await attack.one(b"", data)
        for data in FRAMES:
            await asyncio.gather(*(attack.one(b"", data, websocket=True) for _ in range(4)))
        watching.cancel()
        status = Path(f"/proc/{server.pid}/status").read_text()  # noqa: ASYNC240
        peak = int(status.partition("VmHWM:")[2].split()[0]) // 1024
        server.communicate(b"", timeout=30)
        log.seek(0)
        tracebacks = log.read().count(b"Traceback")
    print(
        f"requests={attack.requests} connections={attack.connections} "
        f"faults={attack.faults + tracebacks} peak_mib={peak} "
        f"longest_healthz_ms={attack.longest * 1000:.0f} seed={seed}"
    )
    return int(bool(attack.faults + tracebacks) or attack.longest > ALLOWED_SECONDS)


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        asyncio.run(serve())
    else:
        number, seed = (int(each) for each in [*sys.argv[1:], "4000", "1"][:2])
        sys.exit(asyncio.run(attack(number, seed)))
