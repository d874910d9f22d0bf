"""Salesforce ids: a kind's prefix of three, twelve characters, and three more that tell upper from lower case.

An id of the canonical world becomes a legal id by its MD5, so that the same id always becomes the same one, in Python
and in SQL alike; one that is legal already is kept.
"""

from __future__ import annotations

import hashlib
import string

DIGITS = string.digits + string.ascii_uppercase + string.ascii_lowercase
_CHECKS = string.ascii_uppercase + "012345"
_HASHED, _COUNTED = "5g0", "5gA"
_PLACES = 9
_SPAN = 62**_PLACES
SHORT, LONG = 15, 18


def checksum(short: str) -> str:
    """The three check characters of an id of 15: each tells which of five characters are upper case, first is bit 0."""
    return "".join(
        _CHECKS[sum(1 << bit for bit, letter in enumerate(short[start : start + 5]) if letter.isupper())]
        for start in range(0, SHORT, 5)
    )


def to_long(text: str) -> str | None:
    """The 18-character form of an id; None where the text is no id. The check characters of 18 are not believed."""
    if len(text) not in (SHORT, LONG) or not (text.isascii() and text.isalnum()):
        return None
    return text[:SHORT] + checksum(text[:SHORT])


def is_legal(text: str, prefix: str) -> bool:
    """Whether this is an 18-character id of that kind with the right check characters."""
    return len(text) == LONG and text.startswith(prefix) and to_long(text) == text


def made_from(prefix: str, canonical_id: str) -> str:
    """The id that a record of the canonical world gets; its own where that is legal."""
    if is_legal(canonical_id, prefix):
        return canonical_id
    digest = hashlib.md5(canonical_id.encode(), usedforsecurity=False).digest()
    return _completed(prefix + _HASHED, int.from_bytes(digest[8:], "little") % _SPAN)


def counted(prefix: str, number: int) -> str:
    """The id of the number-th record made in the sandbox itself."""
    return _completed(prefix + _COUNTED, number)


def _completed(head: str, number: int) -> str:
    digits = "".join(DIGITS[number // 62**place % 62] for place in reversed(range(_PLACES)))
    return f"{head}{digits}{checksum(head + digits)}"


def made_from_sql(prefix_column: str, id_column: str, source: str) -> str:
    """The same in SQL, in steps so that nothing is computed twice.

    Args:
        prefix_column: the column of `source` with the prefix.
        id_column: the column of `source` with the canonical id.
        source: a table or subquery.

    Returns:
        A SELECT of the columns of `source` and `sf_id`.
    """
    digits = " || ".join(f"substr('{DIGITS}', 1 + (n // {62**place} % 62)::INTEGER, 1)" for place in reversed(range(_PLACES)))
    checks = " || ".join(_check_sql(start) for start in range(1, SHORT, 5))
    hashed = f"SELECT *, md5_number_lower({id_column}) % {_SPAN} AS n FROM {source}"
    shaped = (
        f"SELECT *, length({id_column}) = 18 AND regexp_full_match({id_column}, '[0-9A-Za-z]+') "
        f"AND starts_with({id_column}, {prefix_column}) AS shaped, "
        f"{prefix_column} || '{_HASHED}' || {digits} AS made FROM ({hashed})"
    )
    short = f"SELECT * EXCLUDE (made), CASE WHEN shaped THEN left({id_column}, 15) ELSE made END AS short, made FROM ({shaped})"
    checked = f"SELECT *, short || {checks} AS long FROM ({short})"
    kept = f"SELECT *, NOT shaped OR long = {id_column} AS good FROM ({checked})"
    again = f"SELECT * REPLACE (CASE WHEN good THEN short ELSE made END AS short) FROM ({kept})"
    return f"SELECT * EXCLUDE (n, shaped, made, short, long, good), short || {checks} AS sf_id FROM ({again})"


def _check_sql(start: int) -> str:
    bits = " + ".join(
        f"(CASE WHEN substr(short, {start + bit}, 1) BETWEEN 'A' AND 'Z' THEN {1 << bit} ELSE 0 END)" for bit in range(5)
    )
    return f"substr('{_CHECKS}', 1 + {bits}, 1)"
