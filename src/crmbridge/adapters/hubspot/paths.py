"""Where everything is, in both families of paths. What HubSpot has not dated yet is at its old place in both."""

from __future__ import annotations

from dataclasses import dataclass

from crmbridge.adapters.hubspot.options import Api

OWNERS = "/crm/v3/owners"
ACCOUNT = "/account-info/v3/details"
TOKEN = "/oauth/v1/token"  # noqa: S105 - a path, not a token


@dataclass(frozen=True)
class Paths:
    """The paths of one family; kinds are HubSpot's names of objects, such as `deals`."""

    api: Api

    @property
    def is_dated(self) -> bool:
        """Whether these are the dated ones."""
        return self.api is not Api.V4

    def objects(self, kind: str) -> str:
        """All records of a kind, a page at a time."""
        return f"/crm/objects/{self.api}/{kind}" if self.is_dated else f"/crm/v3/objects/{kind}"

    def search(self, kind: str) -> str:
        """Records of a kind by a filter."""
        return f"{self.objects(kind)}/search"

    def batch_read(self, kind: str) -> str:
        """Records of a kind by their ids."""
        return f"{self.objects(kind)}/batch/read"

    def associations(self, from_kind: str, to_kind: str, action: str) -> str:
        """Associations in batches (`batch/read`, `batch/create`, `batch/archive`, `batch/labels/archive`) and `labels`."""
        home = f"/crm/associations/{self.api}" if self.is_dated else "/crm/v4/associations"
        return f"{home}/{from_kind}/{to_kind}/{action}"

    def label_caps(self, from_kind: str, to_kind: str) -> str:
        """How many associations of each label a record may have."""
        home = f"/crm/associations/{self.api}" if self.is_dated else "/crm/v4/associations"
        return f"{home}/definitions/configurations/{from_kind}/{to_kind}"

    def pipelines(self, kind: str) -> str:
        """Pipelines with their stages."""
        return f"/crm/v3/pipelines/{kind}"

    @property
    def campaigns(self) -> str:
        """Marketing campaigns."""
        return f"/marketing/campaigns/{self.api}" if self.is_dated else "/marketing/v3/campaigns"

    def campaign(self, guid: str, part: str) -> str:
        """A part of one campaign: `budget/totals`, `assets/OBJECT_LIST`, `reports/contacts/influencedContacts`."""
        return f"{self.campaigns}/{guid}/{part}"

    def list_members(self, list_id: str) -> str:
        """Members of a list, with the moment they joined."""
        return f"/crm/v3/lists/{list_id}/memberships"
