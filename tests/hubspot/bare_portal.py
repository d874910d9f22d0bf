"""The association endpoints of a portal in a few lines, without HTTP: for answers that no server gives on demand."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from types import SimpleNamespace

from crmbridge.adapters.hubspot.associations import Roles
from crmbridge.adapters.hubspot.labels import UNLABELLED
from crmbridge.adapters.hubspot.writer import RoleWriter
from crmbridge.contract import PairState, RoleWrite

LABELS = {"Champion": 37, "Budget Holder": 38, "Blocker": 39, "Key": 40}


def user(name):
    return ("USER_DEFINED", LABELS[name])


@dataclass
class Said:
    """An answer."""

    status: int
    body: object


@dataclass
class BarePortal:
    """A stand-in for the connection.

    Attributes:
        links: types by (deal, contact).
        replaces: whether writing labels replaces those that are there.
        instead: called with (action, inputs) before a write is carried out; gives an answer or an error, or None.
        meanwhile: called once before the next write, as somebody else at the screen.
        page: contacts of a deal per answer.
    """

    links: dict = field(default_factory=lambda: defaultdict(set))
    replaces: bool = True
    caps: dict = field(default_factory=dict)
    instead: object = None
    meanwhile: object = None
    page: int = 500
    known_contacts: set = field(default_factory=lambda: {str(number) for number in range(1, 5_000)})
    calls: list = field(default_factory=list)
    primary_label: str | None = None
    create_labels: tuple = ()
    role_labels: tuple = ()
    labels: dict = field(default_factory=lambda: dict(LABELS))

    def __post_init__(self):
        self.options = SimpleNamespace(
            primary_label=self.primary_label,
            create_labels=self.create_labels,
            role_labels=self.role_labels,
            settle_wait_s=0,
        )
        self.paths = SimpleNamespace(
            associations=lambda _from, _to, action: action,
            label_caps=lambda _from, _to: "caps",
            batch_read=lambda _kind: "records",
        )

    # reading

    def ask(self, method, path, *, query=None, body=None):
        self.calls.append((path, len((body or {}).get("inputs", ()))))
        if path == "labels":
            known = [{"category": "USER_DEFINED", "typeId": number, "label": name} for name, number in self.labels.items()]
            return {"results": [{"category": "HUBSPOT_DEFINED", "typeId": 3, "label": None}, *known]}
        if path == "caps":
            told = [{"category": c, "typeId": n, "userEnforcedMaxToObjectIds": most} for (c, n), most in self.caps.items()]
            return {"results": told}
        if path == "records":  # nobody was merged away here
            return {"results": []}
        return self._read(body["inputs"])

    def _read(self, inputs):
        assert len(inputs) <= 1_000
        assert all(one["id"].isdigit() for one in inputs), "HubSpot refuses the whole call"
        results, errors = [], []
        for one in inputs:
            of_deal = sorted((contact, types) for (deal, contact), types in self.links.items() if deal == one["id"])
            start = int(one.get("after", 0))
            to = [self._entry(contact, types) for contact, types in of_deal[start : start + self.page]]
            paging = {"next": {"after": str(start + self.page)}} if start + self.page < len(of_deal) else None
            if to:
                results.append({"from": {"id": one["id"]}, "to": to} | ({"paging": paging} if paging else {}))
            else:
                errors.append({"category": "OBJECT_NOT_FOUND", "subCategory": "crm.associations.NO_ASSOCIATIONS_FOUND"})
        return {"results": results, "errors": errors}

    def _entry(self, contact, types):
        names = {number: name for name, number in self.labels.items()}
        told = [{"category": c, "typeId": n, "label": names.get(n) if c == "USER_DEFINED" else None} for c, n in sorted(types)]
        return {"toObjectId": int(contact), "associationTypes": told}

    # writing

    def send(self, method, path, *, body, again=None):
        inputs = body.get("inputs", ())
        self.calls.append((path, len(inputs)))
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile:
            meanwhile()
        said = self.instead(path, inputs) if self.instead else None
        if isinstance(said, Exception):
            raise said
        return said or self.carry_out(path, body)

    def carry_out(self, path, body):
        if path == "labels":
            self.labels[body["label"]] = 100 + len(self.labels)
            return Said(200, {"results": []})
        act = {"batch/create": self.create, "batch/archive": self.archive, "batch/labels/archive": self.archive_labels}[path]
        return act(body["inputs"])

    def create(self, inputs):
        assert len(inputs) <= 2_000
        results, errors = [], []
        for one in inputs:
            pair = one["from"]["id"], one["to"]["id"]
            if pair[1] not in self.known_contacts:
                errors.append(error("TO_OBJECT_NOT_FOUND", fromObjectId=[pair[0]], toObjectId=[pair[1]]))
                continue
            self.label(*pair, *((spec["associationCategory"], spec["associationTypeId"]) for spec in one["types"]))
            results.append({"fromObjectId": int(pair[0]), "toObjectId": int(pair[1]), "labels": []})
        return Said(207 if errors else 201, {"status": "COMPLETE", "results": results[::-1], "errors": errors})

    def label(self, deal, contact, *types):
        """Put types on a pair, as a portal does that replaces, or one that appends."""
        kept = set() if self.replaces else self.links[deal, contact]
        self.links[deal, contact] = kept | set(types) | {UNLABELLED}

    def archive(self, inputs):
        assert len(inputs) <= 100
        for one in inputs:
            for contact in one["to"]:
                self.links.pop((one["from"]["id"], contact["id"]), None)
        return Said(204, None)

    def archive_labels(self, inputs):
        assert len(inputs) <= 100
        for one in inputs:
            pair = one["from"]["id"], one["to"]["id"]
            self.links[pair] -= {(spec["associationCategory"], spec["associationTypeId"]) for spec in one["types"]}
        return Said(204, None)

    # looking on

    def person_sets(self, deal, contact, *names):
        self.links[deal, contact] |= {UNLABELLED, *(user(name) for name in names)}

    def names_of(self, deal, contact):
        names = {number: name for name, number in self.labels.items()}
        return {names[number] for category, number in self.links.get((deal, contact), ()) if category == "USER_DEFINED"}

    def calls_to(self, path):
        return [size for called, size in self.calls if called == path]

    def roles(self):
        return Roles(self, None)

    def state(self, deal, contact):
        roles = self.roles()
        return roles.state(roles.links([deal]), (deal, contact))

    def write(self, *writes):
        receipts = list(RoleWriter(self, self.roles()).write(writes, print))
        assert Counter(receipt.key for receipt in receipts) == Counter(write.key for write in writes)
        return {receipt.key: receipt for receipt in receipts}

    def settle(self, *writes):
        return {receipt.key: receipt for receipt in RoleWriter(self, self.roles()).settle(writes, [])}


def error(code, category="VALIDATION_ERROR", **context):
    told = {"status": "error", "category": category, "subCategory": f"crm.associations.{code}", "message": "secret Smith"}
    return told | ({"context": context} if context else {})


def put(deal, contact, role=None, *, is_primary=False, expected=None):
    return RoleWrite(
        key=f"{deal}-{contact}-{role}",
        action="put",
        opportunity_id=str(deal),
        contact_id=str(contact),
        role=role,
        is_primary=is_primary,
        expected=expected or PairState(),
    )


def remove(deal, contact, expected):
    return RoleWrite(
        key=f"-{deal}-{contact}", action="remove", opportunity_id=str(deal), contact_id=str(contact), expected=expected
    )
