"""`{% load streams %}`: the browser's client in a template."""

from __future__ import annotations

import json

from django import template
from django.templatetags.static import static
from django.utils.html import format_html
from django.utils.safestring import SafeString

from ...answers import CLIENT_MODULE

register = template.Library()
CLIENT = "streamstraight_celery/client.js"


@register.simple_tag
def stream_client_url() -> str:
    """The URL of the client, as the static files storage names it."""
    return str(static(CLIENT))


@register.simple_tag
def stream_client(nonce: str = "") -> SafeString:
    """An import map: scripts of the page then `import { openStream } from "streamstraight-celery"`.

    It has to stand before the first module script. `nonce`: for a Content-Security-Policy.
    """
    # `<` could end the script.
    text = json.dumps({"imports": {CLIENT_MODULE: stream_client_url()}}).replace("<", "\\u003c")
    attribute = format_html(' nonce="{}"', nonce) if nonce else ""
    return SafeString(f'<script type="importmap"{attribute}>{text}</script>')
