from __future__ import annotations

import pytest
from file_crm import FileCrm

from crmbridge.journal import Journal


@pytest.fixture
def crm(tmp_path):
    return FileCrm(tmp_path / "crm.db")


@pytest.fixture
def journal(tmp_path):
    with Journal.open(tmp_path / "journal.db") as journal:
        yield journal
