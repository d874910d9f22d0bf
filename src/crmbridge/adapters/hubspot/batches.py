"""Sends associations in batches, and matches what HubSpot answers with the pairs that were sent: never by place."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from crmbridge.adapters.hubspot.associations import Pair, error_code, is_passing
from crmbridge.adapters.hubspot.failures import AnswerLost, Refusal
from crmbridge.adapters.hubspot.labels import CONTACTS, DEALS, LabelType
from crmbridge.adapters.hubspot.settle import Answer, Fate
from crmbridge.errors import CrmUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from crmbridge.adapters.hubspot.connection import Connection

CREATE_PER_CALL, ARCHIVE_PER_CALL = 2_000, 100
NO_RESULT = "NO_RESULT"
"""The code of a pair that an answer does not speak of."""

_NO_ENTRY = (401, 403)
_ABOUT_A_TYPE = frozenset({"INVALID_ASSOCIATION_TYPE"})
"""Refusals of all that have the same types: nothing is learnt by sending them one by one."""


@dataclass(frozen=True, slots=True)
class Input:
    """One pair of a batch; `types` are left out where the whole pair is meant."""

    pair: Pair
    types: tuple[LabelType, ...] = ()


Look: TypeAlias = "Callable[[Sequence[Input]], Sequence[Input]]"
"""Looks at pairs again, and gives those that are still to be sent, as they are to be sent now."""


def create(connection: Connection, inputs: Sequence[Input], look: Look | None = None) -> dict[Pair, Answer]:
    """Give each pair exactly these types, or, where the portal appends, these as well.

    Args:
        connection: to send over.
        inputs: a pair once.
        look: asked where HubSpot made us wait; pairs that it leaves out are not sent, and have no answer.

    Raises:
        CrmUnavailable, Refusal: nothing was sent.
    """
    return _sent(connection, "batch/create", inputs, CREATE_PER_CALL, look)


def archive(connection: Connection, inputs: Sequence[Input], look: Look | None = None) -> dict[Pair, Answer]:
    """Take pairs apart, with every label they have; like `create`."""
    return _sent(connection, "batch/archive", inputs, ARCHIVE_PER_CALL, look)


def archive_labels(connection: Connection, inputs: Sequence[Input]) -> dict[Pair, Answer]:
    """Take these types, and no others, off pairs that stay; raises like `create`."""
    return _sent(connection, "batch/labels/archive", inputs, ARCHIVE_PER_CALL, None)


def _sent(connection: Connection, action: str, inputs: Sequence[Input], per_call: int, look: Look | None) -> dict[Pair, Answer]:
    path = connection.paths.associations(DEALS, CONTACTS, action)
    waiting = deque(inputs[start : start + per_call] for start in range(0, len(inputs), per_call))
    answers: dict[Pair, Answer] = {}
    while waiting:
        part = waiting.popleft()

        def again() -> dict[str, Any] | None:
            nonlocal part
            part = look(part) if look else part
            return _body(part, action) if part else None

        try:
            body = connection.send("POST", path, body=_body(part, action), again=again).body
        except AnswerLost:
            answers |= _all(part, Answer(Fate.OPEN, "ANSWER_LOST"))
        except (CrmUnavailable, Refusal) as error:
            if isinstance(error, Refusal) and error.status not in _NO_ENTRY:
                # The request as a whole was refused, so nothing of it was done: find what spoils it.
                smaller = _smaller(part, error.code)
                waiting.extendleft(reversed(smaller))
                answers |= {} if smaller else _all(part, Answer(Fate.REFUSED, error.code))
                continue
            if not answers:
                raise
            unsent = [one for rest in (part, *waiting) for one in rest]
            return answers | _all(unsent, Answer(Fate.OPEN, f"NOT_SENT_{type(error).__name__}"))
        else:
            answers |= _matched(part, body if isinstance(body, Mapping) else {}, lists_results=action == "batch/create")
    return answers


def _body(part: Iterable[Input], action: str) -> dict[str, Any]:
    return {"inputs": [_told(one, action) for one in part]}


def _told(one: Input, action: str) -> dict[str, Any]:
    deal, contact = ({"id": one_id} for one_id in one.pair)
    if action == "batch/archive":
        return {"from": deal, "to": [contact]}
    types = [{"associationCategory": category, "associationTypeId": number} for category, number in one.types]
    return {"from": deal, "to": contact, "types": types}


def _smaller(part: Sequence[Input], code: str) -> list[Sequence[Input]]:
    """What to send instead of a batch that was refused as a whole; nothing where all of it is to blame."""
    if code in _ABOUT_A_TYPE:
        by_types: dict[tuple[LabelType, ...], list[Input]] = {}
        for one in part:
            by_types.setdefault(one.types, []).append(one)
        return list(by_types.values()) if len(by_types) > 1 else []
    middle = len(part) // 2
    return [part[:middle], part[middle:]] if middle else []


def _all(part: Iterable[Input], answer: Answer) -> dict[Pair, Answer]:
    return {one.pair: answer for one in part}


def _matched(part: Sequence[Input], body: Mapping[str, Any], *, lists_results: bool) -> dict[Pair, Answer]:
    """Read a 200, 201, 204 or 207 alike."""
    done = {_pair_of(result) for result in body.get("results") or ()}
    answers = {one.pair: Answer(Fate.DONE) for one in part if one.pair in done}
    silent = [one.pair for one in part if one.pair not in done]
    unnamed = []
    for error in body.get("errors") or ():
        named = _named(error, silent)
        answers |= dict.fromkeys(named, _refused(error))
        if not named:
            unnamed.append(_refused(error))
    rest = _of_the_rest(unnamed, lists_results=lists_results)
    return answers | {pair: rest for pair in silent if pair not in answers}


def _of_the_rest(unnamed: Sequence[Answer], *, lists_results: bool) -> Answer:
    """The fate of the pairs that the answer does not speak of."""
    if any(answer.fate is Fate.OPEN for answer in unnamed):
        return Answer(Fate.OPEN, unnamed[0].code)
    if unnamed:
        codes = {answer.code for answer in unnamed}
        return Answer(Fate.UNNAMED, codes.pop() if len(codes) == 1 else "SEVERAL_ERRORS")
    return Answer(Fate.OPEN, NO_RESULT) if lists_results else Answer(Fate.DONE)


def _refused(error: Mapping[str, Any]) -> Answer:
    return Answer(Fate.OPEN if is_passing(error) else Fate.REFUSED, error_code(error))


def _named(error: Mapping[str, Any], pairs: Sequence[Pair]) -> list[Pair]:
    """The pairs whose ids an error gives: both of them, or the one it gives."""
    context = error.get("context") or {}
    deals, contacts, either = (_ids(context.get(key)) for key in ("fromObjectId", "toObjectId", "id"))
    if deals and contacts:
        return [pair for pair in pairs if pair[0] in deals and pair[1] in contacts]
    exact = [pair for pair in pairs if pair[0] in either and pair[1] in either]
    return exact or [pair for pair in pairs if pair[0] in deals | either or pair[1] in contacts | either]


def _ids(told: object) -> frozenset[str]:
    return frozenset(map(str, told)) if isinstance(told, list) else frozenset() if told is None else frozenset({str(told)})


def _pair_of(result: Mapping[str, Any]) -> Pair:
    deal = result.get("fromObjectId", (result.get("from") or {}).get("id"))
    contact = result.get("toObjectId", (result.get("to") or {}).get("id"))
    return str(deal), str(contact)
