"""What is stored of a chunk, turned back."""

from __future__ import annotations

import json
from typing import Any

from streamstraight_celery import Codec


def decode_wire(codec: Codec, text: str) -> Any:
    """Turn one stored JSON text back into a chunk."""
    return codec.decode(text if codec.kind == "json" else json.loads(text))
