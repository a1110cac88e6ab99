"""Codecs: a chunk to a string, and back."""

from .bytes_codec import BYTES
from .codec import (
    Codec,
    Decoder,
    Encoder,
    Kind,
    get_codec,
    register_codec,
    utf8,
    wire_encoder,
)
from .data import plain
from .frameworks import framework_event
from .json_codec import JSON, encode_json

__all__ = [
    "BYTES",
    "JSON",
    "Codec",
    "Decoder",
    "Encoder",
    "Kind",
    "encode_json",
    "framework_event",
    "get_codec",
    "plain",
    "register_codec",
    "utf8",
    "wire_encoder",
]
