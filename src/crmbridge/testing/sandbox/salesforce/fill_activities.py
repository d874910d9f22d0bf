"""Tasks, events, e-mails, and who took part in them, as the org's switches have it."""

from __future__ import annotations

from crmbridge.model import Entity
from crmbridge.testing.sandbox.salesforce import ids
from crmbridge.testing.sandbox.salesforce.filling import NO_CREATION, Filler, second, stamps
from crmbridge.testing.sandbox.salesforce.switches import Emails, SharedActivities

_FIRST_WHO = """
LEFT JOIN (
  SELECT p.activity_id, arg_min(coalesce(c.sf_id, l.sf_id), p.id) AS who_id
  FROM w.activity_participant p
  LEFT JOIN ids.contact c ON c.canonical_id = p.contact_id LEFT JOIN ids.lead l ON l.canonical_id = p.lead_id
  WHERE coalesce(c.sf_id, l.sf_id) IS NOT NULL AND NOT coalesce(p.is_deleted, false) GROUP BY ALL
) AS first_who ON first_who.activity_id = a.id"""


def activities(filler: Filler) -> None:
    """Fill Task, Event, their relations, and the e-mails."""
    filler.connection.execute(
        f"""CREATE TABLE w.whole_activity AS
        SELECT a.*, i.object, i.sf_id, first_who.who_id, coalesce(o.sf_id, c.sf_id) AS what_id,
        {second("a.occurred_at")} AS moment
        FROM w.activity a JOIN ids.activity i ON i.canonical_id = a.id
        LEFT JOIN ids.opportunity o ON o.canonical_id = a.opportunity_id
        LEFT JOIN ids.account c ON c.canonical_id = a.account_id {_FIRST_WHO}"""
    )
    before = filler.store.switches.archived_before
    common = {
        "WhoId": "w.who_id",
        "WhatId": "w.what_id",
        "ActivityDate": "w.moment::DATE",
        "IsArchived": f"coalesce(w.moment < DATE '{before.isoformat()}', false)" if before else "false",
    }
    task = common | {
        "Status": "'Completed'",
        "IsClosed": "true",
        "Type": "CASE WHEN w.kind IN ('note', 'other', 'call', 'email') THEN upper(w.kind[1]) || w.kind[2:] END",
        "TaskSubtype": "CASE w.kind WHEN 'call' THEN 'Call' WHEN 'email' THEN 'Email' ELSE 'Task' END",
        "CompletedDateTime": "w.moment",
    }
    event = common | {
        "StartDateTime": "w.moment",
        "ActivityDateTime": "w.moment",
        "EndDateTime": "w.moment + INTERVAL 1 HOUR",
        "DurationInMinutes": "60",
        "IsAllDayEvent": "false",
        "IsChild": "false",
    }
    links = {"Id": (Entity.ACTIVITY, "id"), "OwnerId": (Entity.USER, "owner_id"), "AccountId": (Entity.ACCOUNT, "account_id")}
    for name, fields in (("Task", task), ("Event", event)):
        filler.fill(name, f"(FROM w.whole_activity WHERE object = '{name}')", fields | stamps(), links)
    _participants(filler)


def _participants(filler: Filler) -> None:
    filler.connection.execute(
        """CREATE TABLE w.whole_participant AS
        SELECT p.*, i.object, coalesce(c.sf_id, l.sf_id, u.sf_id) AS relation_id, coalesce(p.email, o.email) AS address
        FROM w.activity_participant p JOIN ids.activity_participant i ON i.canonical_id = p.id
        LEFT JOIN ids.contact c ON c.canonical_id = p.contact_id LEFT JOIN w.contact o ON o.id = p.contact_id
        LEFT JOIN ids.lead l ON l.canonical_id = p.lead_id LEFT JOIN ids.user u ON u.canonical_id = p.user_id"""
    )
    links = {"Id": (Entity.ACTIVITY_PARTICIPANT, "id")}
    shared = filler.store.switches.shared_activities is SharedActivities.ON
    event_rows = "relation_id IS NOT NULL" if shared else "kind = 'attendee' AND relation_id IS NOT NULL"
    event = {
        "RelationId": "w.relation_id",
        "IsWhat": "false",
        "IsParent": "w.kind <> 'attendee'",
        "IsInvitee": "w.kind = 'attendee'",
        "Status": "CASE w.kind WHEN 'attendee' THEN 'Accepted' END",
    }
    source = f"(FROM w.whole_participant WHERE object = 'EventRelation' AND {event_rows})"
    filler.fill("EventRelation", source, event | stamps(NO_CREATION), links | {"EventId": (Entity.ACTIVITY, "activity_id")})
    task = {"RelationId": "w.relation_id", "IsWhat": "false"}
    source = "(FROM w.whole_participant WHERE object = 'TaskRelation' AND relation_id IS NOT NULL AND user_id IS NULL)"
    filler.fill("TaskRelation", source, task | stamps(NO_CREATION), links | {"TaskId": (Entity.ACTIVITY, "activity_id")})
    _whats(filler, "Task", "0RT")
    if shared:
        _whats(filler, "Event", "0RE")
    _emails(filler)


def _whats(filler: Filler, name: str, prefix: str) -> None:
    """The row of each activity that leads to its opportunity or account."""
    rows = f"FROM w.whole_activity WHERE object = '{name}' AND what_id IS NOT NULL"
    source = f"SELECT *, id || '/what' AS what_row, '{prefix}' AS prefix {rows}"
    made = ids.made_from_sql("prefix", "what_row", f"({source})").replace("AS sf_id FROM", "AS row_id FROM")
    fields = {"Id": "w.row_id", "RelationId": "w.what_id", "IsWhat": "true", f"{name}Id": "w.sf_id"}
    fields |= {"IsParent": "false", "IsInvitee": "false"}
    filler.fill(f"{name}Relation", f"({made})", fields | stamps(), {})


def _emails(filler: Filler) -> None:
    if filler.store.switches.emails is Emails.TASKS:
        return
    source = "SELECT *, '02s' AS prefix, id || '/message' AS message FROM w.whole_activity WHERE kind = 'email'"
    made = ids.made_from_sql("prefix", "message", f"(SELECT * EXCLUDE (sf_id), sf_id AS task_id FROM ({source}))")
    filler.connection.execute(f"CREATE TABLE w.message AS {made}")
    message = {
        "Id": "w.sf_id",
        "ActivityId": "w.task_id",
        "RelatedToId": "w.what_id",
        "MessageDate": "w.moment",
        "Incoming": "false",
        "Status": "'Sent'",
    }
    filler.fill("EmailMessage", "w.message", message | stamps(), {})
    kinds = (
        "CASE w.kind WHEN 'from' THEN 'FromAddress' WHEN 'to' THEN 'ToAddress' WHEN 'cc' THEN 'CcAddress' ELSE 'OtherAddress' END"
    )
    relation = {
        "EmailMessageId": "w.message_id",
        "RelationId": "w.relation_id",
        "RelationAddress": "w.address",
        "RelationType": kinds,
    }
    source = """(SELECT p.*, m.sf_id AS message_id FROM w.whole_participant p JOIN w.message m ON m.id = p.activity_id)"""
    filler.fill("EmailMessageRelation", source, relation | stamps(NO_CREATION), {"Id": (Entity.ACTIVITY_PARTICIPANT, "id")})
