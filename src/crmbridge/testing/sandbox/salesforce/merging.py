"""Merging two contacts: what the screen does in one step, and what it leaves behind."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crmbridge.testing.sandbox.salesforce.primary import ROLE
from crmbridge.testing.sandbox.salesforce.switches import MergePrimary

if TYPE_CHECKING:
    from crmbridge.testing.sandbox.salesforce.store import Store

_LINKS = (
    (ROLE, "ContactId"),
    ("CampaignMember", "ContactId"),
    ("AccountContactRelation", "ContactId"),
    ("TaskRelation", "RelationId"),
    ("EventRelation", "RelationId"),
    ("EmailMessageRelation", "RelationId"),
    ("Task", "WhoId"),
    ("Event", "WhoId"),
    ("Lead", "ConvertedContactId"),
    ("Opportunity", "ContactId"),
)


def merge_contacts(store: Store, master_id: str, loser_id: str) -> None:
    """Merge `loser_id` into `master_id`; both are 18-character ids. Roles may end up twice on one opportunity."""
    with store.transaction():
        if store.switches.merge_primary is MergePrimary.CLEARS_PRIMARY:
            store.connection.execute(f'UPDATE "{ROLE}" SET "IsPrimary" = false WHERE "ContactId" = ?', [loser_id])
        for sobject, field in _LINKS:
            store.connection.execute(
                f'UPDATE "{sobject}" SET "{field}" = ?, "SystemModstamp" = ? WHERE "{field}" = ?',
                [master_id, store.now(), loser_id],
            )
        store.connection.execute('UPDATE "Contact" SET "MasterRecordId" = ? WHERE "Id" = ?', [master_id, loser_id])
        store.mark_deleted("Contact", [loser_id])
