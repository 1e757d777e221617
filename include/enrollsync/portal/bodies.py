"""How many bytes a request may bring: a form few, whoever sends it; files as many as the host takes."""

from __future__ import annotations

import re
from typing import NoReturn

from fastapi import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from enrollsync.portal.texts import say

LARGEST_FORM = 1 << 20
"""Bytes of a form without files."""
_TAKES_FILES = re.compile(r"/districts/[^/]+/upload$")


class SmallForms:
    """An ASGI app that reads no more than a form of whoever comes; forms are read before anybody is asked who they are.

    The route that takes files limits them itself, once it knows who sends them.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Raises HTTPException 413 where the form is read."""
        if scope["type"] == "http" and not _TAKES_FILES.search(scope["path"]):
            receive = limited(receive, LARGEST_FORM)
        await self.app(scope, receive, send)


def limited(receive: Receive, limit: int) -> Receive:
    """As `receive`, until more than `limit` bytes came: then HTTPException 413."""
    left = limit

    async def counted() -> Message:
        nonlocal left
        message = await receive()
        left -= len(message.get("body", b""))
        if left < 0:
            refuse_large()
        return message

    return counted


def refuse_large() -> NoReturn:
    """Raises HTTPException 413."""
    raise HTTPException(413, say("That is more than may be sent here; a larger delivery goes where nights find it."))
