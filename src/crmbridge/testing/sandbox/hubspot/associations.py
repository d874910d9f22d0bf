"""Associations over HTTP: read, written and taken away in batches, with labels and their caps."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from crmbridge.testing.sandbox.hubspot.faults import PairFaults
from crmbridge.testing.sandbox.hubspot.store import HUBSPOT, PLAIN, PRIMARY, USER, LabelType, Store, stamp
from crmbridge.testing.sandbox.hubspot.switches import HubSpotSwitches, Ids, LabelWrites, LinksChange, MergedIds, OverCap
from crmbridge.testing.sandbox.hubspot.wire import (
    OBJECT_TYPES,
    SINGULAR,
    Call,
    Problem,
    Refusal,
    Reply,
    bad_request,
    no_scope,
    problem,
)

MOST_READ, MOST_CREATED, MOST_ARCHIVED = 1_000, 2_000, 100
_NO_LINKS = "crm.associations.NO_ASSOCIATIONS_FOUND"
_BAD_TYPE = "crm.associations.INVALID_ASSOCIATION_TYPE"
_BAD_ID = "crm.associations.INVALID_IDENTIFIER"
_TOO_MANY = "crm.associations.ASSOCIATION_LIMIT_EXCEEDED"
_LIMIT_TEXT = "more than may be associated, planted.name@planted.example"
_LABELLED, _REVERSE, _REVERSE_PLAIN = ("deals", "contacts"), ("contacts", "deals"), 4
"""Labels have the next number in the other direction."""
_PASSING = problem("INTERNAL_ERROR", None, "internal error")


class Associations:
    """Answers about links."""

    def __init__(self, store: Store, switches: HubSpotSwitches, pair_faults: PairFaults) -> None:
        self._store = store
        self._switches = switches
        self._faults = pair_faults

    def read(self, call: Call, pair: tuple[str, str]) -> Reply:
        """The links of up to a thousand records; those without any are told as errors of a 207."""
        inputs = _inputs(call, MOST_READ)
        results, errors = [], []
        for one in inputs:
            _hold_number(one["id"])
            from_id = self._store.survivor(pair[0], str(one["id"]))
            linked = self._store.linked(pair, from_id)
            after = int(one.get("after") or 0)
            ids = [other for other in sorted(linked, key=int) if int(other) > after]
            if not ids:
                errors.append(_nobody(pair, str(one["id"])))
                continue
            shown = ids[: self._switches.link_page]
            result: dict[str, Any] = {"from": {"id": from_id}, "to": [self._told(pair, linked, other) for other in shown]}
            if len(shown) < len(ids):
                result["paging"] = {"next": {"after": shown[-1], "link": "https://api.hubapi.com/next"}}
            results.append(result)
        return self._batch(200, results, errors)

    def create(self, call: Call, pair: tuple[str, str], *, only_half: bool = False) -> Reply:
        """Give pairs their types: instead of those they have, or beside them."""
        inputs = _inputs(call, MOST_CREATED)
        asked = [(str(one["from"]["id"]), str(one["to"]["id"]), self._types(pair, one.get("types") or [])) for one in inputs]
        kept = self._kept(pair, [from_id for from_id, _, _ in asked])
        results, errors = [], []
        try:
            for place, (from_id, to_id, types) in enumerate(asked):
                told = _PASSING if only_half and place >= len(asked) // 2 else self._refused(pair, from_id, to_id, types)
                if told is not None:
                    errors.append(told)
                else:
                    results.append(self._written(pair, from_id, to_id, types))
        except Refusal:
            self._store.links[pair].update(kept)
            raise
        return self._batch(self._switches.created_status, results, errors)

    def archive(self, call: Call, pair: tuple[str, str], *, only_half: bool = False) -> Reply:
        """Take pairs apart, with all their labels."""
        inputs = _inputs(call, MOST_ARCHIVED)
        done = inputs[: len(inputs) // 2] if only_half else inputs
        for one in done:
            from_id = self._end(pair[0], one["from"])
            for other in one["to"]:
                self._store.linked(pair, from_id).pop(self._end(pair[1], other), None)
            self._changed(pair, from_id)
        return self._gone(len(inputs) - len(done))

    def archive_labels(self, call: Call, pair: tuple[str, str], *, only_half: bool = False) -> Reply:
        """Take types off pairs; the plain one takes the whole pair apart."""
        inputs = _inputs(call, self._switches.labels_archive_most)
        done = inputs[: len(inputs) // 2] if only_half else inputs
        for one in done:
            from_id, to_id = self._end(pair[0], one["from"]), self._end(pair[1], one["to"])
            linked, types = self._store.linked(pair, from_id), self._types(pair, one["types"])
            if (HUBSPOT, PLAIN[pair]) in types:
                linked.pop(to_id, None)
            elif to_id in linked:
                linked[to_id] -= types
            self._changed(pair, from_id)
        return self._gone(len(inputs) - len(done))

    def labels(self, pair: tuple[str, str]) -> Reply:
        """The types of a direction."""
        step = 1 if pair == _REVERSE else 0
        plain = [{"category": HUBSPOT, "typeId": _REVERSE_PLAIN if step else PLAIN[pair], "label": None}]
        own = [{"category": c, "typeId": n + step, "label": text} for (c, n), text in self._store.labels.items()]
        return Reply(200, {"results": plain + (own if pair in (_LABELLED, _REVERSE) else [])})

    def define(self, call: Call, pair: tuple[str, str]) -> Reply:
        """Define a label; its other direction gets the next number."""
        name, text = str(call.body["name"]), str(call.body["label"])
        if "-" in name or name[:1].isdigit():
            raise bad_request("name must not hold hyphens, nor begin with a digit")
        if pair != _LABELLED or text in self._store.labels.values():
            raise bad_request("this label exists", "crm.associations.DUPLICATE_LABEL")
        if len(self._store.labels) >= self._switches.labels_most:
            raise bad_request(f"no more than {self._switches.labels_most} labels", "crm.associations.LABEL_LIMIT_EXCEEDED")
        kind = self._store.label(text)
        told = {"category": kind[0], "label": text}
        return Reply(200, {"results": [{**told, "typeId": kind[1]}, {**told, "typeId": kind[1] + 1}]})

    def caps(self, pair: tuple[str, str]) -> Reply:
        """How many contacts of a deal may have each label."""
        if not self._switches.tells_caps:
            raise no_scope()
        if pair != _LABELLED:
            return Reply(200, {"results": []})
        types = {text: kind for kind, text in self._store.labels.items()}
        results = [
            {"category": types[text][0], "typeId": types[text][1], "label": text, "userEnforcedMaxToObjectIds": most}
            for text, most in self._switches.caps.items()
        ]
        if self._switches.contacts_per_deal is not None:
            most = self._switches.contacts_per_deal
            results.append({"category": HUBSPOT, "typeId": PLAIN[pair], "label": None, "userEnforcedMaxToObjectIds": most})
        return Reply(200, {"results": results})

    def _refused(self, pair: tuple[str, str], from_id: str, to_id: str, types: set[LabelType]) -> Problem | None:
        fault = self._faults.refusal(from_id, to_id)
        if fault is not None:
            named = {"id": [from_id, to_id]} if fault.has_context else {}
            return problem(fault.category, fault.sub_category, fault.message, **named)
        for kind, one in zip(pair, (from_id, to_id), strict=True):
            if not self._takes(kind, one):
                return problem("VALIDATION_ERROR", _BAD_ID, f"{one} is not a valid ID", id=[one])
        if not self._is_over_cap(pair, self._store.survivor(pair[0], from_id), self._store.survivor(pair[1], to_id), types):
            return None
        if self._switches.over_cap is OverCap.WHOLE:
            raise bad_request(_LIMIT_TEXT, _TOO_MANY)
        is_named = self._switches.over_cap is OverCap.NAMED
        context = {"fromObjectId": [from_id], "toObjectId": [to_id]} if is_named else {}
        return problem("VALIDATION_ERROR", _TOO_MANY, _LIMIT_TEXT, **context)

    def _kept(self, pair: tuple[str, str], from_ids: Iterable[str]) -> dict[str, dict[str, set[LabelType]]]:
        """Links as they are, for a call that may yet be refused as a whole."""
        if self._switches.over_cap is not OverCap.WHOLE:
            return {}
        known = {self._store.survivor(pair[0], one) for one in from_ids}
        return {one: {other: set(types) for other, types in self._store.linked(pair, one).items()} for one in known}

    def _end(self, kind: str, told: dict[str, Any]) -> str:
        one = str(told["id"])
        return self._store.survivor(kind, one) if self._switches.merged_ids is MergedIds.FOLLOWED else one

    def _takes(self, kind: str, one: str) -> bool:
        record = self._store.live(kind, one)
        return record is not None and (record.id == one or self._switches.merged_ids is MergedIds.FOLLOWED)

    def _is_over_cap(self, pair: tuple[str, str], from_id: str, to_id: str, types: set[LabelType]) -> bool:
        linked = self._store.linked(pair, from_id)
        most = self._switches.contacts_per_deal
        if most is not None and to_id not in linked and len(linked) >= most:
            return True
        caps = {kind: self._switches.caps[text] for kind, text in self._store.labels.items() if text in self._switches.caps}
        others = [held for other, held in linked.items() if other != to_id]
        return any(sum(kind in held for held in others) >= caps[kind] for kind in types & caps.keys())

    def _written(self, pair: tuple[str, str], from_id: str, to_id: str, types: set[LabelType]) -> dict[str, Any]:
        from_id, to_id = self._store.survivor(pair[0], from_id), self._store.survivor(pair[1], to_id)
        held = self._store.link(pair, from_id, to_id)
        if self._switches.label_writes is LabelWrites.REPLACE and types:
            held -= {kind for kind in held if kind[0] == USER}
        held |= types
        self._changed(pair, from_id)
        return self._created(pair, from_id, to_id, held)

    def _types(self, pair: tuple[str, str], given: Sequence[dict[str, Any]]) -> set[LabelType]:
        """Raises Refusal, of the whole call, for a type that this direction does not have."""
        known = {(HUBSPOT, PLAIN[pair])} | ({(HUBSPOT, PRIMARY[pair])} if pair in PRIMARY else set())
        known |= set(self._store.labels) if pair == _LABELLED else set()
        types = {(str(one["associationCategory"]), int(one["associationTypeId"])) for one in given}
        if types - known:
            raise bad_request("One or more association types are not valid between these objects", _BAD_TYPE)
        return types

    def _told(self, pair: tuple[str, str], linked: dict[str, set[LabelType]], other: str) -> dict[str, Any]:
        types = [
            {"category": category, "typeId": number, "label": self._label(pair, (category, number))}
            for category, number in sorted(linked[other])
        ]
        return {"toObjectId": self._other(other), "associationTypes": types}

    def _label(self, pair: tuple[str, str], kind: LabelType) -> str | None:
        return "Primary" if kind == (HUBSPOT, PRIMARY.get(pair)) else self._store.labels.get(kind)

    def _other(self, one: str) -> int | str:
        return one if self._switches.ids is Ids.TEXT else int(one)

    def _created(self, pair: tuple[str, str], from_id: str, to_id: str, held: set[LabelType]) -> dict[str, Any]:
        return {
            "fromObjectTypeId": OBJECT_TYPES[pair[0]],
            "fromObjectId": self._other(from_id),
            "toObjectTypeId": OBJECT_TYPES[pair[1]],
            "toObjectId": self._other(to_id),
            "labels": [self._store.labels[kind] for kind in sorted(held) if kind in self._store.labels],
        }

    def _changed(self, pair: tuple[str, str], from_id: str) -> None:
        record = self._store.records[pair[0]].get(from_id)
        if record is not None and self._switches.links_change is LinksChange.STAMPS_RECORD:
            record.updated = self._store.clock()

    def _gone(self, undone: int) -> Reply:
        if undone:
            return self._batch(207, [], [_PASSING] * undone)
        if self._switches.archive_status == 204:
            return Reply(204)
        return Reply(self._switches.archive_status, {"status": "COMPLETE", "results": []})

    def _batch(self, status: int, results: list[Any], errors: list[Problem]) -> Reply:
        now = stamp(self._store.clock())
        body: dict[str, Any] = {"status": "COMPLETE", "results": results, "startedAt": now, "completedAt": now}
        if not errors:
            return Reply(status, body)
        return Reply(207, body | {"errors": errors, "numErrors": len(errors)})


def _inputs(call: Call, most: int) -> list[dict[str, Any]]:
    inputs: list[dict[str, Any]] = call.body["inputs"]
    if len(inputs) > most:
        raise bad_request(f"no more than {most} inputs")
    return inputs


def _hold_number(text: object) -> None:
    if not str(text).isdigit():
        raise bad_request(f"invalid id {text}", _BAD_ID)


def _nobody(pair: tuple[str, str], from_id: str) -> Problem:
    from_type, to_type = (SINGULAR[kind] for kind in pair)
    context = {"fromObjectId": [from_id], "fromObjectType": [from_type], "toObjectType": [to_type]}
    return problem("OBJECT_NOT_FOUND", _NO_LINKS, f"No {to_type} is associated with {from_type} {from_id}.", **context)
