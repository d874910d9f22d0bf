"""Salesforce's record ids: 15 characters that tell upper from lower case, or 18 with a check that does without.

Both name the same record. Everything in crmbridge is the 18-character form; only lists in addresses use the shorter.
"""

from __future__ import annotations

import re

import pyarrow as pa
import pyarrow.compute as pc

_SHAPE = re.compile(r"[A-Za-z0-9]{15}(?:[A-Za-z0-5]{3})?")
_CHECK = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"
_SHORT = 15


def is_id(text: str) -> bool:
    """Whether a text has the shape of a record id."""
    return _SHAPE.fullmatch(text) is not None


def long_id(text: str) -> str:
    """The 18-character form; whatever is not a 15-character id comes back as it is."""
    if len(text) != _SHORT or not is_id(text):
        return text
    return text + "".join(_check_character(text[start : start + 5]) for start in (0, 5, 10))


def short_id(text: str) -> str:
    """The 15-character form of an id, which is what an address has less room for."""
    return text[:_SHORT]


def long_ids(column: pa.Array) -> pa.Array:
    """Make a column of ids 18 characters long; free where it is already, as Salesforce's own answers are."""
    shortest = pc.min(pc.binary_length(column)).as_py()
    if shortest != _SHORT:
        return column
    encoded = column.dictionary_encode()
    words = pa.array([long_id(text) for text in encoded.dictionary.to_pylist()], pa.string())
    return pa.DictionaryArray.from_arrays(encoded.indices, words).cast(pa.string())


def _check_character(five: str) -> str:
    """One bit per capital letter, the first character the lowest bit."""
    return _CHECK[sum(1 << place for place, letter in enumerate(five) if letter.isascii() and letter.isupper())]
