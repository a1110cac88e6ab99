"""What the `openai` client raises when its connection breaks in the middle of an answer."""

from __future__ import annotations

import httpx
import openai

# openai 3 says so itself, openai 2 lets through what httpx raises.
CUT_OFF: tuple[type[Exception], ...] = (openai.APIConnectionError, httpx.RemoteProtocolError)
CUT_OFF_MESSAGE = r"Connection error|peer closed connection"
