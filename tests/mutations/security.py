"""What keeps strangers out and their requests small, taken away piece by piece."""

from __future__ import annotations

from tests.mutations.mutation import Mutation

PROTOCOL = "server/http_protocol.py"
FRAMES = "server/frame_guard.py"
ACCESS = "server/access.py"
UPGRADES = "tests/security/test_upgrades.py"
OVERHEAD = "tests/security/test_overhead.py"
HANDSHAKES = "tests/security/test_handshakes.py"
TEST_FRAMES = "tests/security/test_frames.py"
HOST = "tests/security/test_host.py"
HOSTILE = "tests/security/test_hostile_input.py"
PAGE = "tests/server/test_streams_page.py"
EMBEDDED = "tests/testing/test_embedded.py"

SECURITY = (
    # -- upgrades
    Mutation(
        "reading an upgrade that is not taken as a request with its body", PROTOCOL,
        "data = self._head_without_upgrade() + rest", "data = rest", (UPGRADES,),
    ),
    Mutation(
        "the refusal of CONNECT", PROTOCOL,
        'if self.parser.get_method() == b"CONNECT":', "if False:", (f"{UPGRADES} -k connect",),
    ),
    Mutation(
        "the check of a handshake's size and body", PROTOCOL,
        "if not self._is_sound_handshake():", "if False:", (HANDSHAKES,),
    ),
    Mutation(
        "the refusal of a key that is not ASCII", PROTOCOL,
        "readable\n            and not body", "not body", (HANDSHAKES,),
    ),
    Mutation(
        "the time for a handshake", FRAMES,
        "self._timer = self._loop.call_later(HANDSHAKE_SECONDS, self._transport.abort)",
        "self._timer = None", (f"{HANDSHAKES} -k answer",),
    ),
    # -- neither head nor body
    Mutation(
        "counting what is not body", PROTOCOL,
        "if self._overhead > HEAD_BYTES + 2 * self._body:", "if False:", (OVERHEAD,),
    ),
    Mutation(
        "dropping trailers", PROTOCOL,
        "if not self._in_head:\n            return  # a trailer; nobody reads them", "pass",
        (f"{OVERHEAD} -k trailers",),
    ),
    Mutation(
        "the bound on a pipeline", PROTOCOL,
        "if len(self.pipeline) >= MAX_PIPELINED:", "if False:", (f"{OVERHEAD} -k pipeline",),
    ),
    Mutation(
        "breaking a lost connection's cycle", PROTOCOL,
        "        self.scope = self.headers = self.cycle = None  # type: ignore[assignment]\n\n"
        "    def data_received",
        "\n    def data_received", (f"{OVERHEAD} -k freed",),
    ),
    Mutation(
        "the end of a body that the answer did not need", PROTOCOL,
        "self._body_limit = self._body + LEFTOVER_BYTES", "pass", (f"{OVERHEAD} -k refused",),
    ),
    # -- frames
    Mutation(
        "counting a stranger's bytes and frames", FRAMES,
        "if self._walk.allows(data, self._loop.time()):", "if True:", (TEST_FRAMES,),
    ),
    Mutation(
        "counting control frames of those who were let in", FRAMES,
        "        if not is_control:\n", "        if True:\n",
        (f"{TEST_FRAMES} -k producers_pings",),
    ),
    Mutation(
        "reading no more while answers are not read", FRAMES,
        "if self._pending and self._reads and self._writes:\n            self._hand_on()",
        "if self._pending:\n            self._hand_on()", (f"{TEST_FRAMES} -k does_not_read",),
    ),
    Mutation(
        "the bound on a message's fragments", FRAMES,
        "if self._fragments > MAX_FRAGMENTS:", "if False:", (f"{TEST_FRAMES} -k fragments",),
    ),
    # -- who is served
    Mutation(
        "one Host", ACCESS,
        'if len(hosts) > 1 or (not hosts and scope.get("http_version") == "1.1"):', "if False:",
        (HOST,),
    ),
    Mutation(
        "serving this machine only without a secret", ACCESS,
        "if client not in _THIS_MACHINE or not _LOCAL_HOST.match(host):", "if False:", (HOST,),
    ),
    Mutation(
        "the check of origins without a secret", ACCESS,
        "(self.may_read(each) or self._is_own(each, scheme, host))", "True", (HOST,),
    ),
    Mutation(
        "the key of the streams page's link", ACCESS,
        "if hmac.compare_digest(bearer.encode(errors=\"surrogatepass\"), self._page_key.encode()):",
        "if True:", (f"{PAGE} -k local",),
    ),
    Mutation(
        "fakeredis' password", "testing/fake_server.py",
        "if _logs_in(self.connection, password):", "if True:", (f"{EMBEDDED} -k without_the_p",),
    ),
    Mutation(
        "the embedded Redis' password", "testing/embedded.py",
        'else f"requirepass {password}\\n"', 'else "\\n"', (f"{EMBEDDED} -k without_the_p",),
    ),
    # -- one request and the others
    Mutation(
        "the bound on a body's values", "server/content.py",
        'if sum(body.count(mark) for mark in b",[{") > MAX_VALUES:', "if False:",
        (f"{HOSTILE} -k before_it_costs",),
    ),
    Mutation(
        "the bound on a body's messages", "server/content.py",
        "if len(spans) > MAX_MESSAGES:", "if False:", (f"{HOSTILE} -k before_it_costs",),
    ),
    Mutation(
        "the bound on producers' names", "relays/redis/lua/write.lua",
        "if not m[9] and tonumber(m[13] or 0) >= 1000 then", "if false then",
        (f"{HOSTILE} -k names",),
    ),
)  # fmt: skip
