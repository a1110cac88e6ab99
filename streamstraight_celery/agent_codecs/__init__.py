"""The wire of chat front ends: the AI SDK's UI messages, and AG-UI's events.

Codecs for what an adapter yields, and builders of the same from tokens and frameworks' events.
"""

from .builders import to_ag_ui, to_ui_messages
from .codecs import AG_UI, UI_MESSAGES, encode_ag_ui, encode_ui_message

__all__ = [
    "AG_UI",
    "UI_MESSAGES",
    "encode_ag_ui",
    "encode_ui_message",
    "to_ag_ui",
    "to_ui_messages",
]
