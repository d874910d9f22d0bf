"""SOQL to the store's SQL: names checked against what the user sees, values against the fields' types."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime
from enum import Enum
from typing import TYPE_CHECKING, Any

from crmbridge.testing.sandbox.salesforce import soql
from crmbridge.testing.sandbox.salesforce.ids import to_long
from crmbridge.testing.sandbox.salesforce.schema import Field
from crmbridge.testing.sandbox.salesforce.wire import Refusal

if TYPE_CHECKING:
    from crmbridge.testing.sandbox.salesforce.schema import Schema, SObject

MOST_PARENTS = 5
_COUNTED = Field(name="count", type="int")
_MOMENTS = {"json": "%Y-%m-%dT%H:%M:%S.%g+0000", "csv": "%Y-%m-%dT%H:%M:%S.%gZ"}


class Scope(Enum):
    """Which rows a query sees."""

    LIVE = "query"
    ALL = "queryAll"


@dataclass(frozen=True, slots=True)
class Column:
    """One column of an answer: its path in Salesforce's own spelling, and the object it leads to."""

    path: tuple[str, ...]
    field: Field


@dataclass(frozen=True, slots=True)
class Compiled:
    """SQL with its parameters; columns `c0`, `c1` ... then `parent0` ... with the ids of the parents on the way."""

    sql: str
    parameters: list[Any]
    columns: tuple[Column, ...]
    parents: tuple[tuple[tuple[str, ...], SObject], ...]
    sobject: SObject


@dataclass(slots=True)
class _Compiler:
    schema: Schema
    scope: Scope
    invisible: frozenset[str]
    sobject: SObject
    tag: str = "t"
    parameters: list[Any] = field(default_factory=list)
    aliases: dict[tuple[str, ...], tuple[str, SObject]] = field(default_factory=dict)
    joins: list[str] = field(default_factory=list)

    def column(self, path: str) -> tuple[str, Column]:
        """The SQL of a path and what it is."""
        *steps, name = path.split(".")
        if steps and steps[0].lower() == self.sobject.name.lower():
            steps = steps[1:]
        alias, sobject, spelled = self._parent(steps)
        known = sobject.by_name.get(name.lower())
        if known is None:
            raise _no_such_column(name, sobject)
        return f'{alias}."{known.name}"', Column((*spelled, known.name), known)

    def _parent(self, steps: list[str]) -> tuple[str, SObject, tuple[str, ...]]:
        alias, sobject = f"{self.tag}0", self.sobject
        spelled: tuple[str, ...] = ()
        if len(steps) > MOST_PARENTS:
            raise soql.malformed(f"at most {MOST_PARENTS} parents in one path")
        for step in steps:
            link = sobject.by_relationship.get(step.lower())
            target = self.schema.seen(link.refers_to[-1 if step.lower() == "owner" else 0]) if link else None
            if link is None or target is None:
                raise Refusal("INVALID_FIELD", f"Didn't understand relationship '{step}' in field path.")
            spelled = (*spelled, str(link.relationship))
            if spelled not in self.aliases:
                self._join(spelled, alias, link, target)
            alias, sobject = self.aliases[spelled]
        return alias, sobject, spelled

    def _join(self, spelled: tuple[str, ...], alias: str, link: Field, target: SObject) -> None:
        joined = f"{self.tag}{len(self.aliases) + 1}"
        unseen = f" AND {self._visible(joined)}" if target.name == "Contact" and self.invisible else ""
        self.joins.append(f'LEFT JOIN "{target.name}" {joined} ON {joined}."Id" = {alias}."{link.name}"{unseen}')
        self.aliases[spelled] = (joined, target)

    def _visible(self, alias: str) -> str:
        """Ids come from the switches, whose author is the test's."""
        return f"""{alias}."Id" NOT IN ({", ".join("'" + one.replace("'", "") + "'" for one in sorted(self.invisible))})"""

    def where(self, condition: soql.Condition | None) -> str:
        """The WHERE clause, with what the scope leaves out."""
        parts = [self.condition(condition)] if condition else []
        names = self.schema.stored[self.sobject.name].by_name
        if self.scope is Scope.LIVE:
            parts += [f'NOT {self.tag}0."{flag}"' for flag in ("IsDeleted", "IsArchived") if flag.lower() in names]
        if self.sobject.name == "Contact" and self.invisible:
            parts.append(self._visible(f"{self.tag}0"))
        return f" WHERE {' AND '.join(parts)}" if parts else ""

    def condition(self, condition: soql.Condition) -> str:
        """One condition; never null, so that NOT works as users expect."""
        if isinstance(condition, soql.Joined):
            return "(" + f" {condition.word.upper()} ".join(map(self.condition, condition.parts)) + ")"
        if isinstance(condition, soql.Negated):
            return f"(NOT {self.condition(condition.part)})"
        return self._comparison(condition)

    def _comparison(self, one: soql.Comparison) -> str:
        sql, column = self.column(one.path)
        if isinstance(one.value, soql.Query):
            inner = self._subquery(one.value)
            return f"coalesce({sql} {one.operator.upper()} ({inner}), {one.operator == 'not in'})"
        if one.operator in ("in", "not in"):
            return self._membership(sql, column.field, one)
        if one.value is None or isinstance(one.value, tuple):
            return _null_test(sql, one.operator)
        value = _checked(column.field, one.value)
        self.parameters.append(value.lower() if isinstance(value, str) and not column.field.is_id else value)
        if one.operator == "like":
            return f"coalesce(lower({sql}) LIKE ? ESCAPE '\\', false)"
        compared = f"lower({sql})" if isinstance(value, str) and not column.field.is_id else sql
        return f"coalesce({compared} {one.operator} ?, {one.operator == '!='})"

    def _membership(self, sql: str, known: Field, one: soql.Comparison) -> str:
        members = one.value if isinstance(one.value, tuple) else (one.value,)
        values = [_checked(known, member) for member in members if member is not None]  # type: ignore[arg-type]
        is_text = not known.is_id and any(isinstance(value, str) for value in values)
        self.parameters.append([value.lower() if is_text else value for value in values])
        within = f"coalesce({f'lower({sql})' if is_text else sql} IN (SELECT unnest(?)), false)"
        if len(values) < len(members):
            within = f"({within} OR {sql} IS NULL)"
        return within if one.operator == "in" else f"(NOT {within})"

    def _subquery(self, query: soql.Query) -> str:
        inner = compile_query(query, self.schema, self.scope, self.invisible, tag=self.tag + "_")
        if len(inner.columns) != 1:
            raise soql.malformed("a subquery selects exactly one field")
        self.parameters += inner.parameters
        return f"SELECT c0 FROM ({inner.sql}) WHERE c0 IS NOT NULL"


def compile_query(query: soql.Query, schema: Schema, scope: Scope, invisible: frozenset[str], *, tag: str = "t") -> Compiled:
    """Turn a parsed query into SQL.

    Raises:
        Refusal: INVALID_TYPE, INVALID_FIELD or another code for what the user may not or cannot ask.
    """
    sobject = schema.seen(query.sobject)
    if sobject is None:
        raise no_such_type(query.sobject)
    compiler = _Compiler(schema, scope, invisible, sobject, tag)
    picked = [] if query.is_count else [_picked(compiler, item, place) for place, item in enumerate(query.selected)]
    columns = tuple(column for _, column in picked)
    shown = ["count(*) AS total"] if query.is_count else [f"{sql} AS c{place}" for place, (sql, _) in enumerate(picked)]
    _refuse_twice(query, columns)
    parents = () if query.is_aggregate else tuple((path, target) for path, (_, target) in compiler.aliases.items())
    shown += [f'{alias}."Id" AS parent{place}' for place, (alias, _) in enumerate(compiler.aliases.values())][: len(parents)]
    if not query.is_count and not query.is_aggregate:
        shown.append(f'{tag}0."Id" AS own_id')
    where = compiler.where(query.condition)
    order = _ordered(compiler, query)
    sql = f'SELECT {", ".join(shown)} FROM "{sobject.name}" {tag}0 {" ".join(compiler.joins)}{where}{order}'
    return Compiled(sql, compiler.parameters, columns, parents, sobject)


def _picked(compiler: _Compiler, item: soql.Selected, place: int) -> tuple[str, Column]:
    if item.function is None:
        return compiler.column(item.path)
    sql, column = compiler.column(item.path or "Id")
    call = {"count_distinct": "count(DISTINCT {})"}.get(item.function, item.function + "({})").format(sql)
    known = _COUNTED if item.function.startswith("count") else column.field
    return call, Column((item.alias or f"expr{place}",), known)


def _refuse_twice(query: soql.Query, columns: tuple[Column, ...]) -> None:
    paths = [column.path for column in columns]
    if len(set(paths)) < len(paths) and not query.is_aggregate:
        raise Refusal("INVALID_FIELD", "duplicate field selected")


def _ordered(compiler: _Compiler, query: soql.Query) -> str:
    order = ", ".join(f"{compiler.column(path)[0]} {way}" for path, way in query.order)
    text = f" ORDER BY {order}" if order else ""
    text += f" LIMIT {query.limit}" if query.limit is not None else ""
    return text + (f" OFFSET {query.offset}" if query.offset is not None else "")


def as_text(compiled: Compiled) -> str:
    """The query with every column as the text that Bulk CSV holds; null is the empty text."""
    shown = ", ".join(f"{_text_of(f'c{place}', column.field)} AS c{place}" for place, column in enumerate(compiled.columns))
    return f"SELECT {shown} FROM ({compiled.sql})"


def as_json(compiled: Compiled) -> str:
    """The query with dates and moments as JSON texts."""
    shown = [f"{_json_of(f'c{place}', column.field)} AS c{place}" for place, column in enumerate(compiled.columns)]
    rest = ["* EXCLUDE (" + ", ".join(f"c{place}" for place in range(len(shown))) + ")"] if shown else ["*"]
    return f"SELECT {', '.join(shown + rest)} FROM ({compiled.sql})"


def _text_of(name: str, known: Field) -> str:
    if known.type == "datetime":
        return f"coalesce(strftime({name}, '{_MOMENTS['csv']}'), '')"
    return f"coalesce({name}::VARCHAR, '')"


def _json_of(name: str, known: Field) -> str:
    if known.type == "datetime":
        return f"strftime({name}, '{_MOMENTS['json']}')"
    return f"{name}::VARCHAR" if known.type == "date" else name


def _null_test(sql: str, operator: str) -> str:
    if operator not in ("=", "!="):
        return "false"
    return f"({sql} IS {'NOT ' if operator == '!=' else ''}NULL)"


def _checked(known: Field, value: soql.Value) -> Any:  # noqa: ANN401
    """A literal as the field's type, or a refusal as Salesforce words it."""
    if known.is_id:
        return _checked_id(known, value)
    if known.type == "datetime":
        fits: bool = isinstance(value, datetime)
    elif known.type == "date":
        fits = isinstance(value, date) and not isinstance(value, datetime)
    elif known.type == "boolean":
        fits = isinstance(value, bool)
    elif known.sql_type == "VARCHAR":
        fits = isinstance(value, str)
    else:
        fits = isinstance(value, int | float) and not isinstance(value, bool)
    if not fits:
        kind = f"value of filter criterion for field '{known.name}' must be of type {known.type}"
        raise Refusal("INVALID_FIELD", kind)
    return value


def _checked_id(known: Field, value: soql.Value) -> str:
    long = to_long(value) if isinstance(value, str) else None
    if long is None:
        raise Refusal("INVALID_QUERY_FILTER_OPERATOR", f"{known.name}: invalid ID field: {value}")
    return long


def no_such_type(name: str) -> Refusal:
    """The object does not exist, or the user cannot see it."""
    return Refusal("INVALID_TYPE", f"sObject type '{name}' is not supported.")


def _no_such_column(name: str, sobject: SObject) -> Refusal:
    return Refusal("INVALID_FIELD", f"No such column '{name}' on entity '{sobject.name}'.")
