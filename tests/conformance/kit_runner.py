"""Runs the checks of a kit without a pytest session of their own."""

import pytest


def checks(kit):
    return [name for name in dir(kit) if name.startswith("test_")]


def outcomes(kit, *, only=None):
    """The error of each check, or None where it passed or was skipped."""
    return {name: _error(kit(), name) for name in checks(kit) if only in (None, name)}


def _error(case, name):
    case.setup_method()
    try:
        getattr(case, name)()
    except pytest.skip.Exception:
        return None
    except Exception as error:  # noqa: BLE001 (whatever an adapter raises is a failure)
        return f"{type(error).__name__}: {error}"
    finally:
        case.teardown_method()
    return None
