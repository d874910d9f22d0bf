"""Who is the same person: decided once, here, from ids, e-mail addresses and names.

A person is a star around an e-mail address: contacts and unconverted leads that share a normalised address and whose names do
not conflict. A converted lead follows its contact whatever its address says. Generic mailboxes (info@, sales@ ...) join nobody.

Within one address, names are told apart without comparing pairs, so that a mailbox shared by 100,000 records costs no more
than its rows: folded last names split it; within a last name, first names form one person per *maximal* name (one that is no
proper prefix of another): "A" and "Anna" are one, "Anna" and "Bob" two. A name that fits several ("A" beside "Anna" and
"Albert") is given to none of them. Blank names conflict with nobody, and join where only one person is possible.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import duckdb

_GENERIC_WORDS = """
abuse accounting accounts accountspayable admin administracion administracja administratie administration administrator
all anfrage ap ar asiakaspalvelu assistance assistencia assistenza atencion atendimento ayuda backoffice bestellung
bestellungen bewerbung billing biuro booking bookings buchhaltung buero bureau career careers clientes comercial comercio
commercial commerciale compras compta comptabilite contabilidad contabilita contact contacto contactus contato contatti
contatto correo customercare customerservice datenschutz direccion direction donotreply editor einkauf email empfang
empleo enquiries enquiry events facturacion faktura faturamento feedback finance financeiro finanzas formation forsaljning
frontdesk general hallo hello help helpdesk hi hola hostmaster hr info informacion information informations informatique
informazioni infos inquiries inquiry invoice invoices it itsupport job jobs karriere klantenservice kontakt kontor
kundenservice kundeservice kundtjanst legal mail mailbox mailer mailerdaemon management marketing media membership myynti
nepasrepondre news newsletter nichtantworten noreply noresponder noresponse office oficina online order orders ordini
payroll personal post postmaster press presse privacy purchasing recepcion receptie reception rechnung rechnungen
recruiting recruitment recrutement rh root sales salg secretaria secretariat segreteria sekretariat service serviceclient
services servicio shop sklep soporte spam sprzedaz staff subscribe suporte support team tech technik test ufficio
unsubscribe vendas vendite ventas verkauf verkoop vertrieb verwaltung webmaster welcome welkom zarzad zentrale
"""

GENERIC_MAILBOXES = frozenset(_GENERIC_WORDS.split())
"""Local parts that belong to nobody: the whole without separators and digits, or the first word where it has four letters or
more (`info.berlin@`, but not `it.smith@`)."""

_BLANK_NAMES = ("[not provided]", "not provided", "n/a", "null", "none", "unknown", "unbekannt", "inconnu", "desconocido")

_MACROS = (
    # One address, lower case, without the spaces and brackets that imports leave; null where it is no address at all.
    r"bare_email(raw) AS rtrim(lower(trim(raw, E' \t\r\n<>;,' || chr(160))), '.')",
    """clean_email(raw) AS CASE WHEN bare_email(raw) LIKE '_%@_%._%' AND NOT bare_email(raw) LIKE '%@%@%'
        AND NOT contains(bare_email(raw), ' ') AND NOT contains(bare_email(raw), '..') THEN bare_email(raw) END""",
    "email_host(address) AS split_part(address, '@', 2)",
    "mailbox(address) AS split_part(address, '@', 1)",
    r"mailbox_word(address) AS regexp_extract(mailbox(address), '^[^-._+0-9]*')",
    r"mailbox_whole(address) AS regexp_replace(mailbox(address), '[-._0-9]', '', 'g')",
    # German digraphs and umlauts, and the letters that do not decompose, fold to one spelling: Mueller = Müller = Muller.
    r"""fold_letters(raw) AS replace(replace(replace(translate(strip_accents(lower(raw)), 'øłđßı', 'oldsi'),
        'ae', 'a'), 'oe', 'o'), 'ue', 'u')""",
    """is_generic(address) AS mailbox_whole(address) IN (SELECT word FROM generic_mailbox)
        OR (length(mailbox_word(address)) >= 4 AND mailbox_word(address) IN (SELECT word FROM generic_mailbox))""",
    r"""fold_name(raw) AS CASE WHEN raw IS NULL OR trim(lower(raw)) IN {blank_names} THEN ''
        ELSE left(regexp_replace(replace(replace(fold_letters(raw), 'æ', 'a'), 'œ', 'o'), '[^\p{{L}}]', '', 'g'), 60) END""",
)


def define_person_macros(connection: duckdb.DuckDBPyConnection) -> None:
    """Define the SQL macros that normalise e-mail addresses and names, and the table of generic mailboxes."""
    words = ", ".join(f"'{word}'" for word in sorted(GENERIC_MAILBOXES))
    connection.execute(f"CREATE TEMP TABLE generic_mailbox AS SELECT unnest([{words}]) AS word")
    macros = (*_MACROS[:-1], _MACROS[-1].format(blank_names=_BLANK_NAMES))
    connection.execute("; ".join(f"CREATE TEMP MACRO {macro}" for macro in macros))


_PARTIES = """
CREATE TEMP TABLE party AS
    SELECT 'c' AS kind, id, row_in_crm, clean_email(email) AS email, first_name, last_name, NULL::TEXT AS contact_id
    FROM live_contact
    UNION ALL
    SELECT 'l', l.id, l.row_in_crm, clean_email(l.email), l.first_name, l.last_name, c.live_id
    FROM live_lead l LEFT JOIN contact_ids c ON c.id = l.converted_contact_id
"""

_SHARED = """
CREATE TEMP TABLE shared_email AS
    SELECT email, count(*) AS records, is_generic(email) AS is_generic FROM party
    WHERE email IS NOT NULL AND contact_id IS NULL GROUP BY email HAVING count(*) > 1
"""

_NAMED = """
CREATE TEMP TABLE named AS
    WITH folded AS (
        SELECT p.kind, p.id, p.email, fold_name(p.last_name) AS last, fold_name(p.first_name) AS first
        FROM party p JOIN shared_email s ON s.email = p.email WHERE p.contact_id IS NULL AND NOT s.is_generic
    ), lasts AS (
        SELECT email, min(last) FILTER (last <> '') AS only_last FROM folded
        GROUP BY email HAVING count(DISTINCT last) FILTER (last <> '') = 1
    )
    SELECT f.kind, f.id, f.email, CASE WHEN f.last = '' THEN coalesce(l.only_last, '') ELSE f.last END AS last, f.first
    FROM folded f LEFT JOIN lasts l ON l.email = f.email
"""

# In byte order all names that begin with x stand right behind x, so looking at the next name tells whether x is maximal.
_CLUSTERS = """
CREATE TEMP TABLE name_cluster AS
    WITH names AS (SELECT DISTINCT email, last, first FROM named),
    ranked AS (
        SELECT *, starts_with(lead(first) OVER (PARTITION BY email, last ORDER BY first), first) IS NOT TRUE AS is_maximal
        FROM names
    ), prefixes AS (
        SELECT email, last, first AS maximal, left(first, unnest(range(0, length(first) + 1))::INT) AS prefix
        FROM ranked WHERE is_maximal
    )
    SELECT n.email, n.last, n.first, CASE WHEN count(*) = 1 THEN min(p.maximal) ELSE n.first END AS cluster
    FROM names n JOIN prefixes p ON p.email = n.email AND p.last = n.last AND p.prefix = n.first
    GROUP BY n.email, n.last, n.first
"""

_MEMBERS = """
CREATE TEMP TABLE cluster_member AS
    SELECT n.kind, n.id, n.email, min(n.kind || n.id) OVER (PARTITION BY n.email, n.last, c.cluster) AS hub
    FROM named n JOIN name_cluster c ON c.email = n.email AND c.last = n.last AND c.first = n.first
"""

_KEYS = """
CREATE TEMP TABLE person_of AS
    WITH hubs AS (
        SELECT p.kind, p.id, p.row_in_crm, p.email, coalesce(m.hub, p.kind || p.id) AS hub
        FROM party p LEFT JOIN cluster_member m ON m.kind = p.kind AND m.id = p.id WHERE p.contact_id IS NULL
    ), keyed AS (
        SELECT hub, row_number() OVER (ORDER BY hub) AS person_key FROM hubs WHERE hub = kind || id
    )
    SELECT h.kind, h.id, h.row_in_crm, h.email, k.person_key FROM hubs h JOIN keyed k ON k.hub = h.hub
"""

_CONTACT_PERSON = """
CREATE TEMP TABLE contact_person AS
    SELECT i.id, i.live_id AS contact_id, p.person_key, p.email
    FROM contact_ids i JOIN person_of p ON p.kind = 'c' AND p.id = i.live_id
"""

_LEAD_PERSON = """
CREATE TEMP TABLE lead_person AS
    WITH live AS (
        SELECT p.id, o.person_key FROM party p JOIN person_of o ON o.kind = 'l' AND o.id = p.id WHERE p.kind = 'l'
        UNION ALL
        SELECT p.id, c.person_key FROM party p JOIN contact_person c ON c.id = p.contact_id WHERE p.kind = 'l'
    )
    SELECT i.id, i.live_id AS lead_id, live.person_key FROM lead_ids i JOIN live ON live.id = i.live_id
"""

_PEOPLE = """
CREATE TABLE resolved.people AS
    SELECT person_key, count(*) FILTER (kind = 'c') AS contacts, count(*) FILTER (kind = 'l') AS leads,
        min(seconds(created_at)) AS created_s FROM (
        SELECT 'c' AS kind, p.person_key, r.created_at FROM person_of p
            JOIN live_contact r ON r.row_in_crm = p.row_in_crm WHERE p.kind = 'c'
        UNION ALL
        SELECT 'l', p.person_key, r.created_at FROM lead_person p JOIN live_lead r ON r.id = p.id WHERE p.id = p.lead_id
    ) GROUP BY person_key
"""

# Participants known by their address alone, or whose id leads nowhere; colleagues (`user_id`) are nobody's buyers.
_PARTICIPANTS = """
CREATE TEMP TABLE participant AS
    SELECT r.activity_id, r.kind, r.id, coalesce(c.person_key, l.person_key) AS person_key,
        r.contact_id IS NOT NULL AND c.id IS NULL AS lost_contact, r.lead_id IS NOT NULL AND l.id IS NULL AS lost_lead,
        CASE WHEN c.person_key IS NULL AND l.person_key IS NULL AND r.user_id IS NULL THEN clean_email(r.email) END AS address
    FROM crm.activity_participant r
    LEFT JOIN contact_person c ON c.id = r.contact_id
    LEFT JOIN lead_person l ON l.id = r.lead_id
    WHERE r.is_deleted IS NOT TRUE
"""

# An address of several people, or of nobody in particular, says nothing about who took part.
_EMAIL_PERSON = """
CREATE TEMP TABLE email_person AS
    WITH wanted AS (SELECT DISTINCT address AS email FROM participant WHERE address IS NOT NULL
    ), owners AS (
        SELECT c.email, c.person_key FROM contact_person c SEMI JOIN wanted w ON w.email = c.email WHERE c.id = c.contact_id
        UNION ALL
        SELECT p.email, l.person_key FROM party p SEMI JOIN wanted w ON w.email = p.email
        JOIN lead_person l ON l.id = p.id WHERE p.kind = 'l'
    )
    SELECT email, min(person_key) AS person_key FROM owners WHERE NOT is_generic(email)
    GROUP BY email HAVING min(person_key) = max(person_key)
"""

# One row per activity, way of taking part and person. Hashes find the few suspects; sorting all rows would cost ten times more.
_TOOK_PART = """
CREATE TEMP TABLE took_part AS
    SELECT r.activity_id, r.kind, coalesce(r.person_key, e.person_key) AS person_key
    FROM participant r LEFT JOIN email_person e ON e.email = r.address
    WHERE coalesce(r.person_key, e.person_key) IS NOT NULL
"""

_TOOK_PART_ONCE = """
DELETE FROM took_part WHERE rowid IN (
    SELECT rowid FROM took_part WHERE hash(activity_id, kind, person_key) IN (
        SELECT hash(activity_id, kind, person_key) FROM took_part GROUP BY ALL HAVING count(*) > 1
    ) QUALIFY row_number() OVER (PARTITION BY activity_id, kind, person_key) > 1
)
"""


def resolve_people(connection: duckdb.DuckDBPyConnection) -> None:
    """Decide who is who.

    Reads the temporary tables `live_contact`, `live_lead`, `contact_ids`, `lead_ids` (id -> live_id, merges followed); writes
    `resolved.people` and the temporary tables `contact_person(id, contact_id, person_key, email)`, `lead_person(id, lead_id,
    person_key)`, `took_part(activity_id, kind, person_key)`, and for the findings `party`, `shared_email`,
    `cluster_member`, `participant` and `email_person`.
    """
    for statement in (
        _PARTIES,
        _SHARED,
        _NAMED,
        _CLUSTERS,
        _MEMBERS,
        _KEYS,
        _CONTACT_PERSON,
        _LEAD_PERSON,
        _PEOPLE,
        _PARTICIPANTS,
        _EMAIL_PERSON,
        _TOOK_PART,
        _TOOK_PART_ONCE,
    ):
        connection.execute(statement)
