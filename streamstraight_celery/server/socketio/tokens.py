"""`POST /v1/token`: an API key's holder asks for a token for a consumer.

The service's own token opens every stream of its account, and so does this one, but at the
Socket.IO endpoint only. Our workers' web routes name the stream in a header and get a token for
that stream alone, as `handle.ref()` makes it, which all endpoints take. They also announce it.
"""

from __future__ import annotations

import hmac

from ...errors import ConfigurationError, TokenError
from ...ids import check_stream_id
from ...relays.base import AsyncRelay
from ...relays.requests import Create
from ...settings import StreamSettings
from ...tokens import SCOPES
from ..access import Access, bearer_in, bearer_of
from ..http import Refused, Reply, Request, json_reply, method_not_allowed
from . import NO_KEYS, closed
from .protocol import Denied, Handshake

# In place of a stream id, which never begins so.
ANY_STREAM = "*"


async def token_reply(
    request: Request, settings: StreamSettings, access: Access, relay: AsyncRelay
) -> Reply:
    """Answer `POST /v1/token`.

    Raises:
        RelayUnavailableError: the stream was to be announced, and the relay does not answer.
        Refused: 401, wrong key; 403, no keys are set; 400, wrong stream id or scope.
    """
    if request.method != "POST":
        raise method_not_allowed(["POST"])
    if not settings.api_keys:
        raise closed(NO_KEYS)
    if not access.is_api_key(bearer_of(request)):
        challenge = (("www-authenticate", 'Bearer realm="api"'),)
        raise Refused(401, "invalid-key", "the API key is not valid for this relay", challenge)
    stream_id = request.headers.get("stream-id", "")
    if not stream_id:
        token, expires_at = access.tokens.issue(ANY_STREAM, scopes=["read"])
        return json_reply(200, {"token": token, "expiresAt": expires_at})
    scopes = request.headers.get("stream-scopes", "read").split()
    try:
        check_stream_id(stream_id)
    except ConfigurationError as error:
        raise Refused(400, "bad-request", str(error)) from None
    if not scopes or not SCOPES.issuperset(scopes):
        raise Refused(400, "bad-request", f"a token's scopes are {', '.join(sorted(SCOPES))}")
    if request.headers.get("stream-announce"):
        # Its readers may be here before its task has begun, which makes the stream otherwise.
        await relay.execute([Create(stream_id, stream_id)])
    token, expires_at = access.tokens.issue(stream_id, scopes=scopes)
    url = settings.stream_url(stream_id)
    return json_reply(200, {"token": token, "expiresAt": expires_at, "url": url})


def consumer_until(handshake: Handshake, header: str, access: Access) -> float:
    """Until when this consumer may read, in seconds since the epoch.

    Raises:
        Denied: it may not.
    """
    given = handshake.token or bearer_in(header)
    if access.is_api_key(given):
        return float("inf")
    try:
        grant = access.tokens.verify(given)
    except TokenError as error:
        raise Denied(error.code, str(error)) from None
    known = [ANY_STREAM, handshake.stream_id]
    if "read" in grant.scopes and any(hmac.compare_digest(grant.stream_id, one) for one in known):
        return grant.expires_at
    raise Denied("not-found", "no such stream, or the token is not for it")
