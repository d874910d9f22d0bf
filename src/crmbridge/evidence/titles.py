"""Job titles: how senior, which function, and which role such a person usually plays in a purchase.

Everything is text work on columns: the same expressions run on DuckDB and, where the data outgrow one machine, on
Spark. The words themselves stand in `title_rules`. What the organisation itself called its people (`learned_roles`)
knows more than any table; prefer it by exact title, then by class, and take the table's suggestion last.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import narwhals as nw

from crmbridge.errors import DataError
from crmbridge.evidence import title_rules as rules
from crmbridge.snapshot.frames import distinct

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from crmbridge.evidence.title_rules import BuyingRole, Function, Seniority

    Frame = nw.LazyFrame[Any]

_COMBINING_MARKS = "[\u0300-\u036f]"
_ACCENTS = (
    (_COMBINING_MARKS, ""),
    ("[àáâãäåāą]", "a"),
    ("[çćč]", "c"),
    ("[èéêëēęě]", "e"),
    ("[ìíîïī]", "i"),
    ("[ñńň]", "n"),
    ("[òóôõöøō]", "o"),
    ("[ùúûüūů]", "u"),
    ("[śš]", "s"),
    ("[ýÿ]", "y"),
    ("[źżž]", "z"),
    ("ß", "ss"),
    ("œ", "oe"),
    ("æ", "ae"),
    ("ł", "l"),
)
_ENDING = "(innen|in|t?rice|euse|frau|mann|ne|ve)"
_GENDER = (
    # (m/w/d), f/m/x, (gn), (all genders)
    (r"\(? ?\b[mwfdhxi]( ?[/|*,] ?[mwfdhxi*]|/div(ers|\.)?){1,3}(\b|$)\*? ?\)?", " "),
    (r"\((gn|mwd|all genders?|alle)\)", " "),
    # Leiter*in, Leiter:innen, Leiter/-in, Directeur·rice, Director(a), Chargé(e)
    (rf"([*:_/·•-]-?|\.){_ENDING}\b", " "),
    (r"[*:_/·•]-?(e|a|as|os|es|er|r)\b", " "),
    (rf"\((-?{_ENDING}|e|a|as|os|r)\)", " "),
)
# Umlauts are spelled ä, ae or a: all become the bare vowel, in titles and in the rules alike.
_UMLAUTS = (("ae", "a"), ("oe", "o"), ("ue", "u"))
# The shorthands of `title_rules`, in the order of their translation; `<` and `>` stand around the padded title.
# Words are letters, digits and spaces by then: whatever is no mark is one of them, which is far quicker to say than all letters.
_SHORTHANDS = (("**", "@"), ("*", "[a-z]*"), (".", " ?"), ("@", "[^<>]*"))
# `#` never survives normalisation, so a class can share a column with the titles.
_CLASS_MARK = "#"


@dataclass(frozen=True, slots=True)
class TitleClass:
    """What the rules say about one title; `title_key` is the normalised title."""

    title_key: str
    seniority: Seniority
    function: Function
    suggested_role: BuyingRole


def classify(titles: Frame) -> Frame:
    """Classify every distinct title by `title_rules`.

    Args:
        titles: column `title` (text, may be null); n rows, any order, repeats allowed.

    Returns:
        One row per distinct title, in no particular order: `title` as given, `seniority`, `function`, `suggested_role`,
        and the two keys that `learned_roles` uses: `title_key` and `class_key`. Nulls, blanks and placeholders
        such as "n/a" have no row; empty in, empty out.

    Raises:
        DataError: there is no column `title`.
    """
    _require(titles, "title", what="titles")
    known = distinct(titles.filter(~nw.col("title").is_null()), "title")
    return (
        _with_class(_with_key(known))
        .with_columns(suggested_role=_suggested_role(), class_key=_class_key())
        .select("title", "seniority", "function", "suggested_role", "title_key", "class_key")
    )


def learned_roles(history: Frame, *, classes: Frame | None = None, min_rows: int = 3, min_share: float = 0.5) -> Frame:
    """Learn from the organisation's own past which role goes with a title, and with a class of titles.

    Args:
        history: columns `title` and `role` (text), one row per role a person once gave; blanks are ignored.
        classes: what `classify` gave for (at least) these titles, where it is at hand.
        min_rows: keys seen less often are left out.
        min_share: the most frequent role must hold at least this share (0 to 1) of the key's rows.

    Returns:
        At most one row per key: `title_key` (a `title_key` or a `class_key` of `classify`), `role` as the CRM
        writes it, `share` (0 to 1) and `n`, all rows of that key. Ties go to the role that sorts first.

    Raises:
        DataError: there is no column `title` or `role`.
    """
    _require(history, "title", "role", what="history")
    named = history.select("title", "role").filter(nw.col("role").str.strip_chars(None) != "")
    known = named.join(classify(named.select("title")) if classes is None else classes, on="title", how="inner")
    keyed = nw.concat([known.select("role", "title_key"), known.select("role", title_key=nw.col("class_key"))], how="vertical")
    return _most_frequent(keyed, min_rows=min_rows, min_share=min_share)


def role_mapping(role_names: Sequence[str]) -> dict[str, str | None]:
    """Map every suggested role onto one of the CRM's own role names.

    Args:
        role_names: the names that the CRM allows, in its order; empty where any text is allowed.

    Returns:
        One entry per suggestion; None where no name means the same. Case, accents, spaces and punctuation do not count;
        the first of several equal names wins.
    """
    if not role_names:
        return {role: role for role in rules.BUYING_ROLES}
    named = {_bare(name): name for name in reversed(role_names)}
    return {role: _first_known(rules.ROLE_SYNONYMS[role], named) for role in rules.BUYING_ROLES}


def explain(title: str) -> TitleClass | None:
    """Classify a single title, for a look at the rules; None where it is blank. Use `classify` for many."""
    import duckdb  # only this convenience brings its own engine

    with duckdb.connect() as connection:
        relation = connection.sql("SELECT $title AS title", params={"title": title})
        found = classify(nw.from_native(relation)).select("title_key", "seniority", "function", "suggested_role")
        row = found.to_native().fetchone()
    return TitleClass(*row) if row else None


def title_key(title: nw.Expr) -> nw.Expr:
    """Normalise: lower case, no accents, no gender forms, words parted by one space; blank where nothing is left."""
    folded = _replace_each(title.str.to_lowercase(), _ACCENTS)
    neutral = _replace_each(folded.str.replace_all("@", " at ", literal=True), _GENDER)
    words = neutral.str.replace_all(r"[^\p{L}\p{N}]+", " ")
    return _replace_each(words, _UMLAUTS, literal=True).str.strip_chars(None)


def _require(frame: Frame, *columns: str, what: str) -> None:
    present = frame.collect_schema().names()
    missing = [column for column in columns if column not in present]
    if missing:
        raise DataError(f"{what}: no column {', '.join(missing)}; received {', '.join(present) or 'none'}")


def _replace_each(text: nw.Expr, replacements: Iterable[tuple[str, str]], *, literal: bool = False) -> nw.Expr:
    for pattern, replacement in replacements:
        text = text.str.replace_all(pattern, replacement, literal=literal)
    return text


def _with_key(titles: Frame) -> Frame:
    keyed = titles.with_columns(title_key=title_key(nw.col("title")))
    return keyed.filter((nw.col("title_key") != "") & ~nw.col("title_key").is_in(rules.PLACEHOLDERS))


def _with_class(keyed: Frame) -> Frame:
    padded = nw.concat_str([nw.lit(" < "), nw.col("title_key"), nw.lit(" > ")])
    words = keyed.with_columns(_words=_replace_each(padded, _rewrites()))
    return words.with_columns(
        seniority=_first_match(rules.SENIORITY_RULES, default="other"),
        function=_first_match(rules.FUNCTION_RULES, default="other"),
    ).with_columns(function=_assistants_function())


def _assistants_function() -> nw.Expr:
    # "Assistant to the CEO" works in administration, "marketing assistant" in marketing.
    is_assistant = nw.col("seniority") == "assistant"
    is_borrowed = nw.col("function").is_in(("general_management", "other"))
    return nw.when(is_assistant & is_borrowed).then(nw.lit("administration")).otherwise(nw.col("function"))


def _suggested_role() -> nw.Expr:
    cases = [(_fits(seniorities, functions), role) for seniorities, functions, role in rules.ROLE_RULES]
    return _chain(cases, default="Other")


def _fits(seniorities: tuple[Seniority, ...], functions: tuple[Function, ...]) -> nw.Expr:
    seniority = nw.col("seniority").is_in(seniorities or rules.SENIORITIES)
    return seniority & nw.col("function").is_in(functions or rules.FUNCTIONS)


def _class_key() -> nw.Expr:
    return nw.concat_str([nw.lit(_CLASS_MARK), nw.col("seniority"), nw.lit("/"), nw.col("function")])


def _first_match(table: Iterable[tuple[str, str]], *, default: str) -> nw.Expr:
    cases = [(nw.col("_words").str.contains(_regex(patterns)), name) for name, patterns in table]
    return _chain(cases, default=default)


def _chain(cases: Sequence[tuple[nw.Expr, str]], *, default: str) -> nw.Expr:
    result: nw.Expr = nw.lit(default)
    for condition, name in reversed(cases):
        result = nw.when(condition).then(nw.lit(name)).otherwise(result)
    return result


@cache
def _regex(patterns: str) -> str:
    return f" ({'|'.join(_translate(pattern) for pattern in _parts(patterns))}) "


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",")]


def _rewrites() -> list[tuple[str, str]]:
    return [(_regex(patterns), f" {text} ") for patterns, text in rules.REWRITES]


def _translate(pattern: str) -> str:
    for umlaut, vowel in _UMLAUTS:
        pattern = pattern.replace(umlaut, vowel)
    for shorthand, expression in _SHORTHANDS:
        pattern = pattern.replace(shorthand, expression)
    return pattern


def _most_frequent(keyed: Frame, *, min_rows: int, min_share: float) -> Frame:
    counted = keyed.group_by("title_key", "role").agg(role_rows=nw.len())
    # A window reads its rows once; joined with its own totals, a lazy frame would be computed twice.
    rows = nw.col("role_rows")
    ranked = counted.with_columns(n=rows.sum().over("title_key"), most=rows.max().over("title_key"))
    best = ranked.filter(rows == nw.col("most"))
    winners = best.group_by("title_key", "n", "role_rows").agg(role=nw.col("role").min())
    return (
        winners.with_columns(share=nw.col("role_rows").cast(nw.Float64) / nw.col("n").cast(nw.Float64))
        .filter((nw.col("n") >= min_rows) & (nw.col("share") >= min_share))
        .select("title_key", "role", "share", n=nw.col("n").cast(nw.Int64))
    )


def _bare(name: str) -> str:
    decomposed = unicodedata.normalize("NFKD", name.casefold())
    return "".join(letter for letter in decomposed if letter.isalnum())


def _first_known(synonyms: str, named: dict[str, str]) -> str | None:
    return next((named[_bare(synonym)] for synonym in _parts(synonyms) if _bare(synonym) in named), None)
