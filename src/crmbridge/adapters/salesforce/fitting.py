"""Which options do not fit this organisation, whatever its user may see: nothing is read then, rather than something wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from crmbridge.adapters.salesforce.describe import Organisation
    from crmbridge.adapters.salesforce.options import SalesforceOptions

_WITH_AMOUNTS = ("Opportunity", "Campaign")


@dataclass(frozen=True, slots=True)
class Misfit:
    """An option that cannot mean what it says here.

    Attributes:
        option: its name.
        detail: what is wrong, with the field in question.
        hint: what to do.
    """

    option: str
    detail: str
    hint: str


def misfits(organisation: Organisation, options: SalesforceOptions) -> Iterator[Misfit]:
    """Give all there are. A field that is missing, or not shown, is none: it is left out, and `check` names it."""
    if options.currency is not None and has_currencies(organisation):
        detail = f"this organisation has several currencies, and amounts would all be called {options.currency}"
        yield Misfit("currency", detail, "leave it out: every amount has its own")
    facts = organisation.objects.get("Opportunity")
    for name in options.contact_lookup_fields:
        if facts is not None and facts.has(name) and facts.references.get(name) != ("Contact",):
            yield Misfit("contact_lookup_fields", f"Opportunity.{name} is no lookup to Contact", "name lookups to Contact only")


def has_currencies(organisation: Organisation) -> bool:
    """Whether amounts are kept in several currencies, even where their rates may not be seen."""
    amounts = [organisation.objects[name] for name in _WITH_AMOUNTS if name in organisation.objects]
    return organisation.has("CurrencyType") or any(facts.has("CurrencyIsoCode") for facts in amounts)
