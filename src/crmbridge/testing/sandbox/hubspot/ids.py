"""HubSpot's ids: numbers for records, GUIDs for campaigns; the same canonical id always becomes the same one."""

from __future__ import annotations

import hashlib
import re

_LEAST = 10**9
_SPAN = 10**15
"""Wide enough for millions of records of a kind, and exact as a number of JSON."""
_GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def number(text: str) -> str:
    """The number of a record; its own where it is one already."""
    if text.isascii() and text.isdigit() and not text.startswith("0"):
        return text
    return str(_LEAST + int.from_bytes(_digest(text)[:8], "big") % _SPAN)


def guid(text: str) -> str:
    """The GUID of a campaign; its own where it is one already."""
    if _GUID.fullmatch(text):
        return text
    letters = _digest(text).hex()
    return "-".join((letters[:8], letters[8:12], letters[12:16], letters[16:20], letters[20:32]))


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=16).digest()
