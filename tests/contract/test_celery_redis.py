"""The store on Celery's own Redis: whatever Celery connects with, streams connect with too."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import warnings
from collections.abc import Iterator
from itertools import count
from typing import Any

import celery
import pytest
import redis
from celery import Celery

from streamstraight_celery.errors import ConfigurationError, RelayUnavailableError
from streamstraight_celery.relays import open_async_relay, open_relay
from streamstraight_celery.relays.index import Query
from streamstraight_celery.relays.requests import Append, Claim, Read
from streamstraight_celery.settings import StreamSettings, read_settings
from tests.conftest import RedisServer
from tests.support.clusters import SentinelGroup
from tests.support.secure_redis import SecureRedis

USER, PASSWORD = "streams", "p@ss/w?rd:#%&;"
QUOTED = "p%40ss%2Fw%3Frd%3A%23%25%26%3B"


class Provider(redis.CredentialProvider):
    """As users write one, for tokens that change."""

    def get_credentials(self) -> tuple[str, str]:
        return USER, PASSWORD


NAMES = (f"s{number}" for number in count())
PROVIDER = f"{__name__}.Provider"


@pytest.fixture(scope="module")
def secure() -> Iterator[SecureRedis]:
    server = SecureRedis(client_certificates=True)
    server.client.acl_setuser(
        USER, enabled=True, passwords=[f"+{PASSWORD}"], keys=["*"], channels=["*"],
        commands=["+@all"],
    )  # fmt: skip
    # The user of connections without a login is given one, so that a lost login is seen.
    yield server
    server.close()


@pytest.fixture(scope="module")
def plain() -> Iterator[SecureRedis]:
    """No client certificates, and nobody may connect without a login."""
    server = SecureRedis()
    client = server.client
    client.acl_setuser(
        USER, enabled=True, passwords=[f"+{PASSWORD}"], keys=["*"], channels=["*"],
        commands=["+@all"],
    )  # fmt: skip
    client.config_set("requirepass", PASSWORD)
    server.client = redis.Redis(port=server.plain_port, password=PASSWORD)
    yield server
    server.close()


@pytest.fixture(scope="module")
def sentinels() -> Iterator[SentinelGroup]:
    group = SentinelGroup()
    yield group
    group.close()


def app_with(**conf: Any) -> Celery:
    app = Celery("t", set_as_current=False)
    app.conf.update({"broker_url": "memory://", **conf})
    return app


async def works(settings: StreamSettings) -> str:
    """Write on a sync connection, read on an async one, hear of it by a notice: the stream's id."""
    name = next(NAMES)
    heard = asyncio.Event()
    relay, server_side = open_relay(settings), open_async_relay(settings)
    watcher = server_side.watch(lambda *_: heard.set(), lambda: None)
    try:
        await asyncio.wait_for(watcher.subscribe(name), 30)
        assert relay.call(Claim(name, "aaaaaaaa", "task-1")).kind == "ok"
        assert relay.call(Append(name, 1, "aaaaaaaa", 1, 1, b'"x"')).kind == "ok"
        page = (await server_side.read([Read(name, 0, 0, 9)]))[0]
        assert page is not None
        assert [entry.data for entry in page.entries] == [b'"x"']
        await asyncio.wait_for(heard.wait(), 30)
    finally:
        await watcher.close()
        await server_side.close()
        relay.close()
    return name


def celery_connects(app: Celery) -> None:
    """Celery's own client does what it is told."""
    if read_settings(app).relay_url and app.conf.broker_url != "memory://":
        with app.connection_for_write() as connection:
            assert connection.default_channel.client.ping()
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert app.backend.client.ping()


def tls_cases(secure: SecureRedis) -> dict[str, dict[str, Any]]:
    files = secure.certificates
    options = {
        "ssl_cert_reqs": ssl.CERT_REQUIRED, "ssl_ca_certs": str(files.ca),
        "ssl_certfile": str(files.certificate), "ssl_keyfile": str(files.key),
    }  # fmt: skip
    place = f"127.0.0.1:{secure.port}/3"
    fields = (
        f"ssl_cert_reqs=CERT_REQUIRED&ssl_ca_certs={files.ca}"
        f"&ssl_certfile={files.certificate}&ssl_keyfile={files.key}"
    )
    login = f"{USER}:{QUOTED}@"
    return {
        "broker_use_ssl": {"broker_url": f"redis://{login}{place}", "broker_use_ssl": options},
        "rediss:// and broker_use_ssl": {
            "broker_url": f"rediss://{login}{place}", "broker_use_ssl": options,
        },
        "rediss:// with options": {"broker_url": f"rediss://{login}{place}?{fields}"},
        "not checked": {
            "broker_url": f"rediss://{login}{place}",
            "broker_use_ssl": {**options, "ssl_cert_reqs": ssl.CERT_NONE, "ssl_ca_certs": None},
        },
        "another host name": {
            "broker_url": f"rediss://{login}localhost:{secure.port}/3",
            "broker_use_ssl": {**options, "ssl_check_hostname": False},
        },
        "broker_write_url": {
            "broker_url": "amqp://", "broker_write_url": f"redis://{login}{place}",
            "broker_read_url": "redis://127.0.0.1:1/0", "broker_use_ssl": options,
        },
        "a provider in the URL": {
            "broker_url": f"rediss://{place}?credential_provider={PROVIDER}",
            "broker_use_ssl": options,
        },
        "redis_backend_use_ssl": {
            "result_backend": f"redis://{login}{place}", "redis_backend_use_ssl": options,
        },
        "backend rediss:// with options": {"result_backend": f"rediss://{login}{place}?{fields}"},
        "backend with a provider": {
            "result_backend": f"rediss://{place}", "redis_backend_use_ssl": options,
            "redis_backend_credential_provider": Provider(),
        },
        "backend with a provider's name": {
            "result_backend": f"rediss://{place}?{fields}&credential_provider={PROVIDER}",
        },
    }  # fmt: skip


TLS = (
    "broker_use_ssl", "rediss:// and broker_use_ssl", "rediss:// with options", "not checked",
    "another host name", "broker_write_url", "a provider in the URL", "redis_backend_use_ssl",
    "backend rediss:// with options", "backend with a provider", "backend with a provider's name",
)  # fmt: skip


# Celery before 5.7 does not connect with these itself.
SINCE_5_7 = ("a provider in the URL", "redis_backend_use_ssl")


@pytest.mark.parametrize("case", TLS)
async def test_tls(secure: SecureRedis, case: str) -> None:
    conf = tls_cases(secure)[case]
    app = app_with(**conf)
    if case in SINCE_5_7 and celery.VERSION < (5, 7):
        with pytest.raises(Exception, match=r"(?i)credential|ssl|auth"):
            celery_connects(app)
        return
    celery_connects(app)
    settings = read_settings(app)
    assert PASSWORD not in repr(settings) + settings.relay_url
    assert QUOTED not in repr(settings) + settings.relay_url
    name = await works(settings)
    with redis.Redis(port=secure.plain_port, db=3) as client:
        assert client.exists(f"ss:{{{name}}}:m")


def plain_cases(plain: SecureRedis) -> dict[str, dict[str, Any]]:
    place = f"127.0.0.1:{plain.plain_port}/3"
    return {
        "user": {"broker_url": f"redis://{USER}:{QUOTED}@{place}"},
        "password only": {"broker_url": f"redis://:{QUOTED}@{place}"},
        "login in settings": {
            "broker_url": f"redis://{place}", "broker_user": USER, "broker_password": PASSWORD,
        },
        "all in settings": {
            "broker_url": None, "broker_transport": "redis", "broker_host": "127.0.0.1",
            "broker_port": plain.plain_port, "broker_vhost": "3", "broker_user": USER,
            "broker_password": PASSWORD,
        },
        "a list of one": {"broker_url": [f"redis://{USER}:{QUOTED}@{place}"]},
        "twice the same": {
            "broker_url": f"redis://{USER}:{QUOTED}@{place};redis://{USER}:{QUOTED}@{place}",
        },
        "socket": {
            "broker_url": f"redis+socket://{USER}:{QUOTED}@{plain.socket}?virtual_host=3",
        },
        "options": {
            "broker_url": f"redis://{USER}:{QUOTED}@{place}",
            "broker_transport_options": {
                "socket_timeout": 7, "socket_connect_timeout": 6.0, "socket_keepalive": True,
                "socket_keepalive_options": {}, "health_check_interval": 3, "client_name": "c",
                "retry_on_timeout": True, "max_connections": 2, "visibility_timeout": 60,
            },
        },
        # The certificate is not checked then, by Celery neither.
        "rediss:// alone": {"broker_url": f"rediss://{USER}:{QUOTED}@127.0.0.1:{plain.port}/3"},
        "backend": {"result_backend": f"redis://{USER}:{QUOTED}@{place}"},
        "backend in settings": {
            "result_backend": "redis", "redis_host": "127.0.0.1", "redis_port": plain.plain_port,
            "redis_db": 3, "redis_username": USER, "redis_password": PASSWORD,
            "redis_socket_connect_timeout": 4, "redis_socket_keepalive": True,
            "redis_backend_health_check_interval": 9, "redis_max_connections": 1,
        },
        "backend socket": {
            "result_backend": f"redis+socket://{USER}:{QUOTED}@{plain.socket}?virtual_host=3",
        },
        "backend with options in its URL": {
            "result_backend": f"redis://{USER}:{QUOTED}@{place}?socket_timeout=3&client_name=b",
        },
    }  # fmt: skip


PLAIN = (
    "user", "password only", "login in settings", "all in settings", "a list of one",
    "twice the same", "socket", "options", "rediss:// alone", "backend",
    "backend in settings", "backend socket", "backend with options in its URL",
)  # fmt: skip


@pytest.mark.parametrize("case", PLAIN)
async def test_logins_sockets_and_options(plain: SecureRedis, case: str) -> None:
    app = app_with(**plain_cases(plain)[case])
    celery_connects(app)
    settings = read_settings(app)
    assert PASSWORD not in repr(settings) + settings.relay_url
    name = await works(settings)
    with redis.Redis(port=plain.plain_port, db=3, password=PASSWORD) as client:
        assert client.exists(f"ss:{{{name}}}:m")


def test_what_celery_says_about_connections_reaches_redis_py(plain: SecureRedis) -> None:
    options = read_settings(app_with(**plain_cases(plain)["options"])).relay_options
    assert options.items() >= {
        "socket_timeout": 7, "socket_connect_timeout": 6.0, "health_check_interval": 3,
        "client_name": "c", "socket_keepalive": True, "socket_keepalive_options": {},
    }.items()  # fmt: skip
    backend = read_settings(app_with(**plain_cases(plain)["backend in settings"])).relay_options
    assert backend.items() >= {"socket_connect_timeout": 4.0, "health_check_interval": 9}.items()
    assert "socket_timeout" not in backend  # Celery's own default, not the user's choice
    app = app_with(**plain_cases(plain)["options"], stream_relay_options={"client_name": "mine"})
    assert read_settings(app).relay_options["client_name"] == "mine"


@pytest.mark.parametrize("kind", ["broker", "backend", "URL"])
async def test_sentinels(sentinels: SentinelGroup, kind: str) -> None:
    place = f"127.0.0.1:{sentinels.port}/1"
    options = {"master_name": sentinels.service, "sentinel_kwargs": {"socket_timeout": 5}}
    twice = f"sentinel://{place};sentinel://127.0.0.1:1/1"
    app = {
        "broker": app_with(broker_url=twice, broker_transport_options=options),
        "backend": app_with(result_backend=twice, result_backend_transport_options=options),
        "URL": app_with(stream_relay_url=sentinels.url),
    }[kind]
    if kind != "URL":
        celery_connects(app)
    await works(read_settings(app))


async def test_sentinels_have_a_login_of_their_own(sentinels: SentinelGroup) -> None:
    """`sentinel_kwargs` are for the connections to the sentinels, and only for those."""
    sentinels.client.execute_command("ACL", "SETUSER", "asking", "on", f">{PASSWORD}", "+@all")
    for password in (PASSWORD, "wrong"):
        options = {
            "master_name": sentinels.service,
            "sentinel_kwargs": {"username": "asking", "password": password},
        }
        place = f"sentinel://127.0.0.1:{sentinels.port}/1"
        settings = read_settings(app_with(broker_url=place, broker_transport_options=options))
        if password == PASSWORD:
            await works(settings)
        else:
            with (
                contextlib.closing(open_relay(settings)) as relay,
                pytest.raises(RelayUnavailableError, match="No master found"),
            ):
                relay.state("s")


async def test_a_global_prefix_keeps_apps_apart(redis_url: str) -> None:
    """With everything else equal: names of streams and of conversations too."""
    apps = [
        app_with(broker_url=redis_url, broker_transport_options={"global_keyprefix": "a:"}),
        app_with(broker_url=redis_url, broker_transport_options={"global_keyprefix": "b:"}),
        app_with(broker_url=redis_url),
        app_with(
            broker_url=redis_url, result_backend=redis_url,
            result_backend_transport_options={"global_keyprefix": "c"},
        ),
        app_with(
            result_backend=redis_url, result_backend_transport_options={"global_keyprefix": "d"}
        ),
        app_with(
            broker_url=redis_url, broker_transport_options={"global_keyprefix": "a:"},
            stream_key_prefix="mine:",
        ),
    ]  # fmt: skip
    prefixes = [read_settings(app).key_prefix for app in apps]
    assert prefixes == ["a:ss:", "b:ss:", "ss:", "c_ss:", "d_ss:", "a:mine:"]
    for app in apps:
        with contextlib.closing(open_relay(read_settings(app))) as relay:
            assert relay.find(Query.of()).streams == []
        await works(read_settings(app))
    explicit = app_with(
        broker_url=redis_url, broker_transport_options={"global_keyprefix": "a:"},
        stream_relay_url=redis_url,
    )  # fmt: skip
    assert read_settings(explicit).key_prefix == "ss:"


@pytest.mark.parametrize(
    ("conf", "message"),
    [
        ({"broker_url": "redis://a/0;redis://b/0"}, r"names 2 brokers .*redis\+sentinel"),
        ({"broker_url": ["redis://a:1/0", "redis://a:2/0"]}, "broker_url names 2 brokers"),
        ({"broker_url": "redis://a/0;redis://a/1"}, "broker_url names 2 brokers"),
        ({"broker_url": "redis://a/0", "broker_use_ssl": True}, "broker_use_ssl: True has no"),
        (
            {"broker_url": "redis://a/0", "broker_use_ssl": {"cert_reqs": ssl.CERT_REQUIRED}},
            "broker_use_ssl.*'cert_reqs'",
        ),
        (
            {"broker_url": "redis://a/0", "broker_use_ssl": {"ssl_cert_reqs": "sometimes"}},
            "broker_use_ssl.*sometimes",
        ),
        ({"broker_url": "redis://a/zero"}, "broker_url: a Redis database is a number, not 'zero'"),
        ({"broker_url": "redis://a/0?socket_timeout=3"}, "broker_url.*'socket_timeout'"),
        ({"broker_url": "redis://:hush@a:x/0"}, "broker_url: Celery cannot read it"),
        ({"broker_url": "sentinel://a/0"}, "broker_transport_options: master_name is missing"),
        (
            {
                "broker_url": "sentinel://a/0",
                "broker_transport_options": {"master_name": "m", "sentinel_kwargs": {"tls": 1}},
            },
            "sentinel_kwargs.*'tls'",
        ),
        ({"broker_url": "redis://a?credential_provider=no.such.Class"}, "credential_provider"),
        ({"broker_url": "redis://a?credential_provider=builtins.dict"}, "credential_provider"),
        ({"result_backend": "rediss://a/0"}, "result_backend.*ssl_cert_reqs"),
        ({"result_backend": "sentinel://a/0"}, "result_backend_transport_options: master_name"),
        ({"result_backend": "redis://a/0?bogus=1"}, "result_backend.*'bogus'"),
        ({"stream_relay_url": "sentinel://a/0"}, r"write redis\+sentinel://"),
        ({"stream_relay_url": "redis+socket:///s"}, "write unix:///"),
        ({"stream_relay_url": "redis://a", "stream_relay_options": {"bogus": 1}}, "'bogus'"),
        ({"stream_relay_url": "memory://", "stream_relay_options": {"ssl": 1}}, "not Redis"),
        ({"stream_relay_url": "redis://a", "stream_relay_options": "x"}, "relay_options must be"),
        (
            {"stream_relay_url": "redis://a", "stream_relay_options": {"sentinel_kwargs": {}}},
            "'sentinel_kwargs'",
        ),
    ],
)  # fmt: skip
async def test_what_cannot_be_taken_over_is_named(conf: dict[str, Any], message: str) -> None:
    for make in (open_relay, open_async_relay):
        with pytest.raises(ConfigurationError, match=message) as error:
            make(read_settings(app_with(**conf)))
        assert "hush" not in str(error.value)


def test_other_brokers_and_backends_are_left_alone(redis_server: RedisServer) -> None:
    for conf in (
        {"broker_url": "amqp://a;redis://b"},
        {"broker_url": "sqs://"},
        {"result_backend": "db+sqlite://"},
        {"result_backend": "rpc://"},
        {"result_backend": "django-db"},
    ):
        assert read_settings(app_with(**conf)).relay_url == ""
