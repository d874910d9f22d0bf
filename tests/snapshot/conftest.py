from __future__ import annotations

from typing import Any

import pytest
from dict_crm import AS_OF, DictCrm

from crmbridge.model import Entity
from crmbridge.snapshot import Snapshot, pull


@pytest.fixture
def path(tmp_path):
    return tmp_path / "ws" / "snapshot.duckdb"


@pytest.fixture
def pulled(path):
    """Pull a CRM of dicts and open the snapshot; closed at the end of the test."""
    opened: list[Snapshot] = []

    def build(data: dict[str, list[Any]], *, entities=frozenset(Entity), **options) -> Snapshot:
        pull(DictCrm(data, entities=entities), path, **{"as_of": AS_OF, **options})
        opened.append(Snapshot.open(path))
        return opened[-1]

    yield build
    for snapshot in opened:
        snapshot.close()


@pytest.fixture(scope="module")
def pulled_once(tmp_path_factory):
    """Pull a CRM of dicts and open the snapshot for all tests of a module; closed at the end of it."""
    opened: list[Snapshot] = []

    def build(data: dict[str, list[Any]]) -> Snapshot:
        path = tmp_path_factory.mktemp("once") / "snapshot.duckdb"
        pull(DictCrm(data), path, as_of=AS_OF)
        opened.append(Snapshot.open(path))
        return opened[-1]

    yield build
    for snapshot in opened:
        snapshot.close()
