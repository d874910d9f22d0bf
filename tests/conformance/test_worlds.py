"""The worlds are sound: whoever loads them into a database with keys and foreign keys meets no error of theirs."""

import pytest

from crmbridge.model import RECORDS, Entity
from crmbridge.testing import worlds
from crmbridge.testing.kit import _ITSELF, _REFERENCES

WORLDS = {
    "empty": worlds.empty(),
    "small": worlds.small(),
    "odd_ids": worlds.odd_ids(),
    "unicode_texts": worlds.unicode_texts(),
    "crowded": worlds.crowded(opportunities=3, contacts=7),
    "doubled": worlds.doubled(),
    "graves": worlds.graves(),
    "personal": worlds.personal(),
}


@pytest.mark.parametrize("name", WORLDS)
def test_parents_come_before_their_children(name):
    loaded = {entity: set() for entity in Entity}
    for entity, group in WORLDS[name].items():
        for record in group:
            for field in type(record).model_fields:
                target = entity if field in _ITSELF[1:] else _REFERENCES.get(field)
                value = getattr(record, field)
                assert target is None or value is None or value in loaded[target], (entity, field, value)
            assert record.id not in loaded[entity]
            loaded[entity].add(record.id)


@pytest.mark.parametrize("name", WORLDS)
def test_records_keep_the_model(name):
    for entity, group in WORLDS[name].items():
        assert [RECORDS[entity].model_validate(record.model_dump()) for record in group] == list(group)


def test_small_has_two_of_everything_at_two_moments():
    for entity, group in worlds.small().items():
        assert len({record.modified_at for record in group}) > 1, entity


def test_personal_marks_every_personal_text():
    marked = str([record.model_dump() for group in worlds.personal().values() for record in group])
    for plain in ("Lark", "person1@", "Company 1", "Deal 1", "Procurement", "Seller", "guest@"):
        assert plain not in marked


def test_crowded_holds_what_was_asked_for():
    world = WORLDS["crowded"]
    assert (len(world[Entity.OPPORTUNITY]), len(world[Entity.CONTACT]), len(world[Entity.CONTACT_ROLE])) == (3, 7, 0)
