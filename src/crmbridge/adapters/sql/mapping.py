"""The mapping file: which tables, columns and SQL expressions of an in-house database are the canonical entities.

docs/adapters/sql.md explains the file with an example. What can be judged without the database is judged here.
"""

from __future__ import annotations

import difflib
import tomllib
from datetime import date, datetime
from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from crmbridge.adapters.sql.convert import BadValue, constant, targets
from crmbridge.errors import MappingError
from crmbridge.model import ESSENTIAL, Entity

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

DERIVED_ID: dict[Entity, tuple[str, ...]] = {
    Entity.OPPORTUNITY_CONTACT_LOOKUP: ("field", "opportunity_id", "contact_id"),
    Entity.OPPORTUNITY_ACCOUNT: ("opportunity_id", "account_id"),
    Entity.ACCOUNT_CONTACT_RELATION: ("account_id", "contact_id"),
}
"""Pairs that seldom have an id of their own: unmapped, it is made of these; a pair with an empty end is no row."""

_DOCS = "docs/adapters/sql.md shows every key"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


Model = TypeVar("Model", bound=_Part)


class FieldSource(_Part):
    """Where one canonical field comes from: a column, an SQL expression, or a constant written as text."""

    column: str | None = None
    sql: str | None = None
    value: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, given: object) -> object:
        """Accept a bare column name, and constants of any TOML type."""
        if isinstance(given, str):
            return {"column": given}
        if isinstance(given, dict) and "value" in given:
            return {**given, "value": _as_text(given["value"])}
        return given

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if sum(part is not None for part in (self.column, self.sql, self.value)) != 1:
            raise ValueError('expected a column name, { sql = "..." } or { value = ... }')
        return self


class Source(_Part):
    """One table, or one FROM clause, that gives records of one entity.

    Attributes:
        table: a table or view, as it is spelled in the database.
        from_sql: `from` in the file: a FROM clause with joins or a sub-select; columns are then written `alias.column`.
        schema_name: `schema` in the file.
        where: an SQL condition; rows that do not meet it do not exist for crmbridge.
        null_values: texts that mean nothing, such as "".
        fields: canonical field -> where it comes from.
    """

    table: str | None = None
    from_sql: str | None = Field(default=None, alias="from")
    schema_name: str | None = Field(default=None, alias="schema")
    where: str | None = None
    null_values: tuple[str, ...] = ()
    fields: dict[str, FieldSource]

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        if (self.table is None) == (self.from_sql is None):
            raise ValueError("needs table or from, and only one of them")
        if self.from_sql is not None and self.schema_name is not None:
            raise ValueError("schema goes with table; write it into from")
        return self

    @property
    def tells_deletions(self) -> bool:
        """Whether a row can go from `read` only by being marked as deleted: no condition, join or made-up id is in the way."""
        is_marked = "is_deleted" in self.fields and self.fields["is_deleted"].value is None
        return is_marked and self.table is not None and self.where is None and {"id", "modified_at"} <= self.fields.keys()


class RoleTable(_Part):
    """`[contact_role.write]`: how a role is inserted and deleted.

    Attributes:
        table: the table; by default the one the roles are read from.
        columns: canonical field -> column; by default the columns the fields are read from.
        values: further columns with a fixed value for every row crmbridge adds.
        booleans: how the primary column spells false and true; by default after the column's type.
        new_id: `database` where a default, sequence or trigger gives the id; `uuid` where crmbridge must.
        write_key: a column that takes the write's key: provenance, and with a unique index a second guard.
        role_names: the roles people may choose, in order; empty where any text is allowed.
    """

    table: str | None = None
    schema_name: str | None = Field(default=None, alias="schema")
    columns: dict[Literal["id", "opportunity_id", "contact_id", "role", "is_primary"], str] = Field(default_factory=dict)
    values: dict[str, str | bool | int | float] = Field(default_factory=dict)
    booleans: tuple[str, str] | tuple[int, int] | tuple[bool, bool] | None = None
    new_id: Literal["database", "uuid"] = "database"
    write_key: str | None = None
    role_names: tuple[str, ...] = ()

    @field_validator("booleans", mode="before")
    @classmethod
    def _a_pair(cls, given: object) -> object:
        return tuple(given) if isinstance(given, list) else given


class CrmMapping(_Part):
    """A whole mapping; `roles` is None where roles cannot be written."""

    sources: dict[Entity, tuple[Source, ...]]
    roles: RoleTable | None

    def fields(self, entity: Entity) -> frozenset[str]:
        """The canonical fields that every source of the entity gives."""
        given = [frozenset(source.fields) for source in self.sources.get(entity, ())]
        return frozenset.intersection(*given) if given else frozenset()


def load_mapping(path: Path, *, time_zone: str) -> CrmMapping:
    """Read and judge a mapping file.

    Raises:
        MappingError: the file is missing or no TOML; an entity, field or key is unknown, of the wrong type or missing.
    """
    raw = _parsed(path)
    nulls = raw.pop("null_values", [])
    _known(raw, [*Entity, "null_values"], what="entity", where=f"mapping {str(path)!r}")
    write = _take_write(raw)
    sources = {Entity(name): _sources(Entity(name), given, nulls, time_zone) for name, given in raw.items()}
    _require_essential(sources)
    role_table = _validated(RoleTable, write, "contact_role.write")
    return CrmMapping(sources=sources, roles=_completed(role_table, sources[Entity.CONTACT_ROLE]))


def canonical_mapping(columns: Mapping[Entity, Iterable[str]], schema_name: str | None) -> CrmMapping:
    """The mapping of a database whose tables and columns already have the canonical names.

    Args:
        columns: the columns each canonical table has; those with other names are left alone.
        schema_name: where the tables are; None for the database's own default.
    """
    sources = {entity: (_canonical_source(entity, frozenset(names), schema_name),) for entity, names in columns.items()}
    _require_essential(sources)
    return CrmMapping(sources=sources, roles=_completed(RoleTable(), sources[Entity.CONTACT_ROLE]))


def _as_text(value: object) -> object:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime | date):
        return value.isoformat()
    return str(value) if isinstance(value, int | float | Decimal) else value


def _parsed(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise MappingError(f"mapping file {str(path)!r} does not exist", hint="set mapping in [crm.options]") from None
    except (OSError, UnicodeDecodeError) as error:
        raise MappingError(f"mapping file {str(path)!r} cannot be read: {type(error).__name__}") from None
    except tomllib.TOMLDecodeError as error:
        raise MappingError(f"mapping file {str(path)!r} is not TOML: {error}", hint=_DOCS) from None


def _known(given: Iterable[str], allowed: Iterable[str], *, what: str, where: str) -> None:
    allowed = list(allowed)
    for name in given:
        if name not in allowed:
            close = difflib.get_close_matches(name, allowed, n=1)
            hint = f"did you mean {str(close[0])!r}?" if close else _DOCS
            raise MappingError(f"{where}: unknown {what} {name!r}; allowed: {', '.join(allowed)}", hint=hint)


def _take_write(raw: dict[str, Any]) -> dict[str, Any]:
    """Take `[contact_role.write]` out of the raw file, so that the rest of contact_role is a source like any other."""
    roles = raw.get(Entity.CONTACT_ROLE)
    write = roles.pop("write", {}) if isinstance(roles, dict) else {}
    if not isinstance(write, dict):
        raise MappingError("contact_role.write: expected a table of keys", hint=_DOCS)
    return write


def _sources(entity: Entity, given: object, nulls: object, time_zone: str) -> tuple[Source, ...]:
    """Read `[entity]`, or each of several `[[entity]]`."""
    several = given if isinstance(given, list) else [given]
    return tuple(_source(entity, one, nulls, time_zone) for one in several)


def _source(entity: Entity, given: object, nulls: object, time_zone: str) -> Source:
    where = str(entity)
    if not isinstance(given, dict) or not isinstance(given.get("fields"), dict):
        raise MappingError(f"{where}: expected table or from, and fields", hint=_DOCS)
    _known(given["fields"], targets(entity), what="field", where=f"{where}.fields")
    source = _validated(Source, {"null_values": nulls, **given}, where)
    _require_fields(entity, source)
    _require_constants(entity, source, time_zone)
    return source


def _validated(model: type[Model], given: dict[str, Any], where: str) -> Model:
    try:
        return model.model_validate(given)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False, include_context=False)[0]
    path = ".".join([where, *(str(part) for part in problem["loc"])])
    said = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "extra_forbidden":
        allowed = ", ".join(info.alias or name for name, info in model.model_fields.items())
        said = f"unknown key; allowed: {allowed}"
    raise MappingError(f"{path}: {said}", hint=_DOCS)


def _require_fields(entity: Entity, source: Source) -> None:
    needed = {name for name, target in targets(entity).items() if target.required and target.default is None}
    if entity in DERIVED_ID:
        needed.discard("id")
    missing = sorted(needed - set(source.fields))
    if missing:
        origin = source.table or "from"
        raise MappingError(f"{entity}.fields ({origin}) lacks {', '.join(missing)}", hint=_DOCS)


def _require_constants(entity: Entity, source: Source, time_zone: str) -> None:
    for name, field in source.fields.items():
        if field.value is None:
            continue
        target = targets(entity)[name]
        try:
            constant(target, field.value, 1, time_zone=time_zone)
        except BadValue:
            raise MappingError(f"{entity}.fields.{name}: value {field.value!r} is not {target.expected}") from None


def _require_essential(sources: Mapping[Entity, object]) -> None:
    missing = sorted(ESSENTIAL - set(sources))
    if missing:
        raise MappingError(
            f"nothing gives {', '.join(missing)}; needed are {', '.join(sorted(ESSENTIAL))}",
            hint=f"map them in the mapping file; {_DOCS}",
        )


@lru_cache(maxsize=256)
def _canonical_source(entity: Entity, columns: frozenset[str], schema_name: str | None) -> Source:
    fields = {name: {"column": name} for name in targets(entity) if name in columns}
    source = Source.model_validate({"table": str(entity), "schema": schema_name, "fields": fields})
    _require_fields(entity, source)
    return source


def _completed(given: RoleTable, sources: tuple[Source, ...]) -> RoleTable | None:
    """Fill in what `[contact_role.write]` leaves to the way roles are read; None where that does not say enough."""
    source = sources[0] if len(sources) == 1 else None
    read_from = source.fields if source and source.table else {}
    plain = {name: field.column for name, field in read_from.items() if field.column is not None}
    columns = {name: plain[name] for name in ("id", "opportunity_id", "contact_id", "role", "is_primary") if name in plain}
    columns |= given.columns
    table = given.table or (source.table if source else None)
    if table is None or not {"id", "opportunity_id", "contact_id"} <= set(columns):
        return None
    schema_name = given.schema_name or (source.schema_name if source and given.table is None else None)
    update = {"table": table, "schema_name": schema_name, "columns": columns}
    return given.model_copy(update=update)
