"""The settings file that `crmbridge init` writes: every key, with its default and what it means."""

from __future__ import annotations

import inspect
import json
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic import BaseModel
    from pydantic.fields import FieldInfo

_HEAD = """\
# Settings of crmbridge. Every key may be overridden by an environment variable:
#   CRMBRIDGE_CRM__OPTIONS__PASSWORD, CRMBRIDGE_POLICY__THRESHOLD, CRMBRIDGE_BACKFILL__APPLY ...
# Secrets come from there, or from a file of their own (password_file = "..."); here they are refused.
# Relative paths are relative to this file.
"""

_TAIL = """\
[workspace]
folder = ".crmbridge"    # snapshot, plans and journal: personal data, for your eyes only
time_zone = "UTC"        # of your organisation, such as "Europe/Berlin": what a close date means

[pull]
full_after_days = 30     # in between, pulls read only what changed, where the CRM tells; 0 reads everything each time

[weights]
# Bits of confidence per rule, over the shipped ones: lead_conversion = 4.5

[backfill]
apply = false            # true lets `crmbridge backfill` write without --apply
"""


def settings_text(adapter: str, options: type[BaseModel]) -> str:
    """Write the settings for one adapter; its options come from its own model, so they are never out of date."""
    from crmbridge.attribution.settings import AttributionSettings
    from crmbridge.plan.policy import Policy

    return "\n".join(
        [
            _HEAD,
            "[crm]",
            f"adapter = {json.dumps(adapter)}",
            "",
            "[crm.options]",
            *_keys(options),
            "",
            "[policy]",
            *_keys(Policy),
            "",
            "[attribution]",
            *_keys(AttributionSettings),
            "",
            _TAIL,
        ]
    )


def _keys(model: type[BaseModel]) -> list[str]:
    from crmbridge.config import is_secret

    meanings = _meanings(model)
    lines: list[str] = []
    for name, field in model.model_fields.items():
        meaning = field.description or meanings.get(name)
        if meaning:
            lines.append(f"# {meaning[0].upper()}{meaning[1:]}")
        lines.append(_key(field.alias or name, field, is_hidden=is_secret(name)))
    return lines


def _key(name: str, field: FieldInfo, *, is_hidden: bool) -> str:
    if is_hidden:
        return f"#   environment: CRMBRIDGE_CRM__OPTIONS__{name.upper()}"
    if field.is_required():
        return f'{name} = ""    # required'
    return f"# {name} = {_toml(field.get_default(call_default_factory=True))}"


def _toml(value: Any) -> str:  # noqa: ANN401 - any default
    if value is None:
        return '"..."'
    if isinstance(value, tuple | list | frozenset):
        return json.dumps(list(value), ensure_ascii=False)
    if isinstance(value, bool | int | float):
        return json.dumps(value)
    return json.dumps(str(value), ensure_ascii=False)


def _meanings(model: type[BaseModel]) -> dict[str, str]:
    """Read the `Attributes:` of a docstring: names, and what stands behind the colon."""
    text = inspect.cleandoc(model.__doc__ or "").partition("Attributes:")[2]
    found: dict[str, str] = {}
    for names, meaning in re.findall(r"^    ([\w, ]+): (.+(?:\n      +.+)*)", text, flags=re.MULTILINE):
        for name in names.split(", "):
            found[name] = re.sub(r"\s+", " ", meaning)
    return found
