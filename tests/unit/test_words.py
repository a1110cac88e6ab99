"""The words in chunks of several SDKs."""

from __future__ import annotations

import pytest

from streamstraight_celery.codecs.words import words_of


@pytest.mark.parametrize(
    ("chunk", "words"),
    [
        ("Hel", "Hel"),
        ({"type": "text-delta", "id": "1", "delta": "Hel"}, "Hel"),
        ({"type": "response.output_text.delta", "delta": "Hel"}, "Hel"),
        ({"type": "TEXT_MESSAGE_CONTENT", "messageId": "1", "delta": "Hel"}, "Hel"),
        ({"type": "content_block_delta", "delta": {"type": "text_delta", "text": "Hel"}}, "Hel"),
        ({"type": "content_block_delta", "delta": {"partial_json": "{"}}, ""),
        ({"object": "chat.completion.chunk", "choices": [{"delta": {"content": "Hel"}}]}, "Hel"),
        ({"object": "chat.completion.chunk", "choices": [{"delta": {"content": None}}]}, ""),
        ({"object": "chat.completion.chunk", "choices": []}, ""),
        ({"object": "chat.completion.chunk", "choices": [1]}, ""),
        ({"type": "reasoning-delta", "delta": "Hm"}, ""),
        ({"type": ["text-delta"], "delta": "x"}, ""),
        ({"type": "text-delta", "delta": 7}, ""),
        ({}, ""),
        ([1], ""),
        (None, ""),
    ],
)
def test_words(chunk: object, words: str) -> None:
    assert words_of(chunk) == words
