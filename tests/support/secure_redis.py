"""A Redis that speaks TLS with a certificate of its own CA."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import redis

from streamstraight_celery.testing.embedded import EmbeddedRedis
from tests.support.clusters import free_port, wait_for


class Certificates:
    """A CA, and one certificate of it for 127.0.0.1, for servers and clients."""

    def __init__(self, directory: Path) -> None:
        self.ca = directory / "ca.pem"
        self.certificate = directory / "server.pem"
        self.key = directory / "server.key"
        extensions = directory / "extensions"
        extensions.write_text("subjectAltName=IP:127.0.0.1\n")
        key, request = directory / "ca.key", directory / "server.csr"
        new = ("req", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1")
        _openssl(*new, "-x509", "-days", "2", "-subj", "/CN=CA of a test", "-keyout", key,
                 "-out", self.ca, "-addext", "basicConstraints=critical,CA:TRUE",
                 "-addext", "keyUsage=critical,keyCertSign,cRLSign")  # fmt: skip
        _openssl(*new, "-subj", "/CN=a server of a test", "-keyout", self.key, "-out", request)
        _openssl("x509", "-req", "-days", "2", "-in", request, "-CA", self.ca, "-CAkey", key,
                 "-CAcreateserial", "-out", self.certificate, "-extfile", extensions)  # fmt: skip


def _openssl(*words: object) -> None:
    subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True)


class SecureRedis:
    """A redis-server with TLS on `port`, without on `plain_port`, and on a socket.

    Args:
        client_certificates: connections over TLS must show one.
    """

    def __init__(self, *, client_certificates: bool = False) -> None:
        self._directory = Path(tempfile.mkdtemp(prefix="streamstraight-tls-"))
        self.certificates = Certificates(self._directory)
        self.port = free_port()
        self.socket = self._directory / "redis.sock"
        self._server = EmbeddedRedis(
            args=(
                "--tls-port", str(self.port), "--tls-ca-cert-file", str(self.certificates.ca),
                "--tls-cert-file", str(self.certificates.certificate),
                "--tls-key-file", str(self.certificates.key),
                "--tls-auth-clients", "yes" if client_certificates else "no",
                "--unixsocket", str(self.socket), "--databases", "64",
            ),
            prefer="redis-server", password="",
        ).start()  # fmt: skip
        self.plain_port = self._server.port
        self.client = redis.Redis(port=self.plain_port)
        wait_for(self.client.ping, "it answers")

    @property
    def trust(self) -> dict[str, Any]:
        """Options with which a client checks the server's certificate."""
        return {"ssl_cert_reqs": "required", "ssl_ca_certs": str(self.certificates.ca)}

    def close(self) -> None:
        self.client.close()
        self._server.stop()
        shutil.rmtree(self._directory, ignore_errors=True)


class SecureSentinel:
    """A sentinel that speaks TLS only, also to its primary, which asks for no password."""

    service = "streams"

    def __init__(self) -> None:
        self.primary = SecureRedis()
        self.port = free_port()
        self._directory = Path(tempfile.mkdtemp(prefix="streamstraight-sentinel-"))
        files = self.primary.certificates
        conf = self._directory / "sentinel.conf"
        conf.write_text(
            f"port 0\ntls-port {self.port}\nbind 127.0.0.1\ndir {self._directory}\n"
            f"tls-ca-cert-file {files.ca}\ntls-cert-file {files.certificate}\n"
            f"tls-key-file {files.key}\ntls-auth-clients no\ntls-replication yes\n"
            f"sentinel monitor {self.service} 127.0.0.1 {self.primary.port} 1\n"
        )
        with (self._directory / "log").open("wb") as log:
            self._process = subprocess.Popen(
                ["redis-server", str(conf), "--sentinel"], stdout=log, stderr=log
            )
        self.client = redis.Redis("127.0.0.1", self.port, ssl=True, ssl_ca_certs=str(files.ca))
        wait_for(self.client.ping, "the sentinel answers")

    def close(self) -> None:
        self.client.close()
        self._process.kill()
        self._process.wait()
        self.primary.close()
        shutil.rmtree(self._directory, ignore_errors=True)
