"""The hosted Streamstraight service as the relay, spoken to by its protocol `stream-v1`."""

from .relay import StreamstraightRelay

__all__ = ["StreamstraightRelay"]
