"""The SQL adapter: an in-house database as a CRM, with no server (SQLite) or with one (PostgreSQL)."""

from crmbridge.adapters.sql.adapter import SqlAdapter
from crmbridge.adapters.sql.options import SqlOptions
from crmbridge.adapters.sql.schema import create_tables, load

__all__ = ["SqlAdapter", "SqlOptions", "create_tables", "load"]
