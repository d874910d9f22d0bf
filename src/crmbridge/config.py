"""Settings: one `crmbridge.toml`, every key of which an environment variable may override.

    [crm]                         CRMBRIDGE_CRM__ADAPTER=sql
    adapter = "sql"
    [crm.options]                 CRMBRIDGE_CRM__OPTIONS__PASSWORD=...      as the adapter documents them
    [workspace]                   CRMBRIDGE_WORKSPACE__FOLDER=/var/lib/crmbridge
    [pull]                        CRMBRIDGE_PULL__FULL_AFTER_DAYS=7         how often everything is read anew
    [policy]                      CRMBRIDGE_POLICY__THRESHOLD=0.9           which lines a plan may hold
    [weights]                     CRMBRIDGE_WEIGHTS__LEAD_CONVERSION=4.5    bits per rule
    [rules]                       which rules take part
    [backfill]                    CRMBRIDGE_BACKFILL__APPLY=true

The environment wins over the file. Relative paths are relative to the settings file. Secrets come from the environment
or from a file of their own (`password_file = "..."`); written into the settings they are refused, so that they never
reach version control. No value of `[crm.options]`, and none under a secret-looking key, is ever part of a message.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar, get_args
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, PrivateAttr, ValidationError, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from crmbridge.errors import SettingsError

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo
    from pydantic_core import ErrorDetails

FILE_NAME = "crmbridge.toml"
PREFIX = "CRMBRIDGE_"

_Path = tuple[str | int, ...]
_Model = TypeVar("_Model", bound=BaseModel)

# Judged by how a key ends, so that `token_url` and `password_file` stay what they are: places, not secrets.
_SECRET_KEY = re.compile(r"(^|_)(password|passwd|pwd|passphrase|token|secret|private_key|api_?key|credentials?)$")
_PASSWORD_IN_URL = re.compile(r"://[^/@\s:]*:[^/@\s]+@")
_RELATIVE_SQLITE = re.compile(r"(sqlite(?:\+\w+)?:///)(?![/\\:]|[A-Za-z]:)(.+)")
_SECRET_FILE_BYTES_MAX = 65_536
_DIGESTED_FILE_BYTES_MAX = 1 << 20


class Crm(BaseModel):
    """`[crm]`: which adapter, and its own options, which only the adapter understands."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    adapter: str = "sql"
    options: dict[str, Any] = Field(default_factory=dict, repr=False)


class WorkspaceSettings(BaseModel):
    """`[workspace]`: where snapshot, plans and journal live, and the organisation's time zone (for plain dates)."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    folder: Path = Path(".crmbridge")
    time_zone: str = "UTC"

    @field_validator("time_zone")
    @classmethod
    def _known_zone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (OSError, ValueError, KeyError):  # a folder's name, a path that leads outside, an unknown name
            raise ValueError("expected an IANA time zone such as Europe/Berlin") from None
        return name


class PullSettings(BaseModel):
    """`[pull]`: after how many days of reading only changes an entity is read in full again; 0 for every time."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    full_after_days: int = Field(default=30, ge=0)


class BackfillSettings(BaseModel):
    """`[backfill]`: whether the nightly command may write without `--apply`."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    apply: bool = False


class EnvironmentSource(PydanticBaseSettingsSource):
    """`CRMBRIDGE_A__B__C=text` as `{"a": {"b": {"c": "text"}}}`.

    The stock source reads a password of digits as a number and drops sections it does not know; here text stays text
    (lists and tables may be given as JSON, except under secret-looking keys), and an unknown section is an error.
    """

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """Give one section; asked for by the base class."""
        del field
        return self().get(field_name), field_name, False

    def __call__(self) -> dict[str, Any]:
        """Read the environment as it is now."""
        sections: dict[str, Any] = {}
        for name in sorted(os.environ):
            if path := _variable_path(name):
                _put(sections, path, _variable_value(path[-1], os.environ[name]), name)
        return sections


class Settings(BaseSettings):
    """Everything that can be set. Made by `load` or `in_memory`; immutable.

    Attributes:
        policy: the plan's policy as written; `section("policy", Policy)` validates it.
        weights: bits by rule name, over the shipped ones.
        rules: the rules' own settings as written.
        attribution: how credit is given, as written.
    """

    model_config = SettingsConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)
    crm: Crm = Crm()
    workspace: WorkspaceSettings = WorkspaceSettings()
    pull: PullSettings = PullSettings()
    policy: dict[str, Any] = Field(default_factory=dict)
    weights: dict[str, FiniteFloat] = Field(default_factory=dict)
    rules: dict[str, Any] = Field(default_factory=dict)
    attribution: dict[str, Any] = Field(default_factory=dict)
    backfill: BackfillSettings = BackfillSettings()
    _file: Path | None = PrivateAttr(default=None)
    _folder: Path = PrivateAttr(default_factory=Path.cwd)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Environment over file; the file's content arrives as arguments."""
        del env_settings, dotenv_settings, file_secret_settings
        return EnvironmentSource(settings_cls), init_settings

    @property
    def file(self) -> Path | None:
        """The settings file; None where the settings were made in a script."""
        return self._file

    @property
    def folder(self) -> Path:
        """What relative paths are relative to."""
        return self._folder

    @property
    def workspace_folder(self) -> Path:
        """The workspace, as an absolute path."""
        return self._folder / self.workspace.folder.expanduser()

    def section(self, name: str, model: type[_Model], *, changes: Mapping[str, Any] | None = None) -> _Model:
        """Validate one free section (`policy`, `rules`, `attribution`) with the model of the room that owns it.

        Args:
            name: of the section.
            model: what it must be.
            changes: keys to set otherwise, this once.

        Raises:
            SettingsError: an unknown key or a wrong type, with the key's path.
        """
        return _validated(model, {**getattr(self, name), **(changes or {})}, at=(name,), settings=self)

    def adapter_options(self, model: type[_Model]) -> _Model:
        """Validate `[crm.options]` with the adapter's own model.

        `<key>_file` becomes `<key>` with the file's content, unless the model asks for `<key>_file` itself; a secret
        from the environment replaces the file. Relative values of `Path` fields, and SQLite addresses, become absolute.

        Raises:
            SettingsError: an unknown or missing option, a wrong type, an unreadable secret file; never with a value.
        """
        options = _read_secret_files(self.crm.options, model, self._folder)
        paths = {field.alias or name for name, field in model.model_fields.items() if _is_path(field.annotation)}
        placed = {key: _placed(value, self._folder, is_path=key in paths) for key, value in options.items()}
        return _validated(model, placed, at=("crm", "options"), settings=self)

    def options_digest(self, model: type[BaseModel]) -> str:
        """Digest `[crm.options]` and the files they name, without secrets: it differs where another CRM, or otherwise, is read.

        Raises:
            SettingsError: see `adapter_options`.
        """
        options = self.adapter_options(model)
        told = {name: value for name, value in options if not is_secret(name.removesuffix("_file"))}
        files = {name: _file_digest(value) for name, value in told.items() if isinstance(value, Path)}
        return hashlib.sha256(json.dumps([told, files], sort_keys=True, default=_as_json).encode()).hexdigest()


def load(path: str | Path | None = None) -> Settings:
    """Read the settings file, and the environment over it.

    Args:
        path: the file; None for `CRMBRIDGE_SETTINGS`, else `crmbridge.toml` in the current folder.

    Raises:
        SettingsError: no such file, not TOML (with line and column), unknown key, wrong type, a secret in the file.
    """
    file = Path(path or os.environ.get(f"{PREFIX}SETTINGS") or FILE_NAME).expanduser().absolute()
    values = _parsed(file)
    _refuse_secrets(values, file)
    return _settled(values, file.parent, file)


def in_memory(values: Mapping[str, Any], *, folder: Path | None = None) -> Settings:
    """Make settings from a script's own values, without a file; the environment still wins.

    Args:
        values: sections by name, as in the file; secrets are allowed, as they are not at rest here.
        folder: what relative paths are relative to; the current folder by default.

    Raises:
        SettingsError: an unknown key or a wrong type.
    """
    return _settled(dict(values), folder or Path.cwd(), None)


def is_secret(key: str) -> bool:
    """Whether a key's name says that its value is a secret: `password`, `clientSecret`, `access-token` ..."""
    snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", key).replace("-", "_").lower()
    return _SECRET_KEY.search(snake) is not None


def _settled(values: dict[str, Any], folder: Path, file: Path | None) -> Settings:
    try:
        settings = Settings(**values)
    except ValidationError as error:
        _refuse(error, Settings, values=EnvironmentSource(Settings)(), at=(), file=file)
    settings._file, settings._folder = file, folder.absolute()  # noqa: SLF001 - the one maker of Settings
    return settings


def _parsed(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_bytes().decode("utf-8-sig"))
    except FileNotFoundError:
        hint = "run `crmbridge init` to write one, or name another with `--settings PATH`"
        raise SettingsError(f"no settings file at {file}", hint=hint) from None
    except OSError as error:
        raise SettingsError(f"cannot read the settings file {file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{file} is not UTF-8 text", hint="save it as UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        is_twice = "twice" in str(error) or "overwrite" in str(error)
        hint = "each stands once: join the two" if is_twice else 'text needs quotes: key = "text"; see https://toml.io'
        raise SettingsError(f"{file} is not TOML: {error}", hint=hint) from None


# --- secrets --------------------------------------------------------------------------------------------------------


def _refuse_secrets(values: Mapping[str, Any], file: Path) -> None:
    for path, value in _leaves(values):
        place = f"`{_dotted(path)}` in {file}"
        if is_secret(str(path[-1])) and value != "":
            hint = f"set the environment variable {_variable(path)}, or `{path[-1]}_file` to a file that holds it"
            raise SettingsError(f"{place} is a secret, and secrets do not belong in settings", hint=hint)
        if isinstance(value, str) and _PASSWORD_IN_URL.search(value):
            hint = f"set the environment variable {_variable(path)} to the whole address instead"
            raise SettingsError(f"{place} is an address with a password in it", hint=hint)


def _leaves(value: object, path: _Path = ()) -> Iterator[tuple[_Path, Any]]:
    if isinstance(value, Mapping):
        for key, below in value.items():
            yield from _leaves(below, (*path, key))
    elif isinstance(value, list):
        for index, below in enumerate(value):
            nested = isinstance(below, Mapping | list)
            yield from _leaves(below, (*path, index) if nested else path)  # a plain item goes by its list's name
    else:
        yield path, value


def _read_secret_files(options: Mapping[str, Any], model: type[BaseModel], folder: Path) -> dict[str, Any]:
    ready: dict[str, Any] = {}
    for key, value in options.items():
        secret = key.removesuffix("_file")
        if secret == key or not is_secret(secret):
            ready[key] = value
        elif secret in options:  # it can only come from the environment, which wins
            continue
        elif key in model.model_fields:
            ready[key] = value
        else:
            ready[secret] = _secret_from(value, key, folder)
    return ready


def _file_digest(path: Path) -> str | None:
    """Digest a small file, such as a mapping; None for what is no file, or larger, such as a database."""
    if not path.is_file() or path.stat().st_size > _DIGESTED_FILE_BYTES_MAX:
        return None
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _as_json(value: object) -> object:
    """What JSON does not know, in a form that does not change from run to run; a secret is masked by its own type."""
    return sorted(map(str, value)) if isinstance(value, set | frozenset) else str(value)


def _is_path(annotation: object) -> bool:
    return annotation is Path or Path in get_args(annotation)


def _placed(value: object, folder: Path, *, is_path: bool) -> object:
    if not isinstance(value, str):
        return value
    if is_path:
        return str(folder / Path(value).expanduser())
    if found := _RELATIVE_SQLITE.match(value):
        return f"{found[1]}{folder / found[2]}"
    return value


def _secret_from(name: object, key: str, folder: Path) -> str:
    if not isinstance(name, str) or not name:
        raise SettingsError(f"`crm.options.{key}`: expected a file's path, received {_kind(name)}")
    path = folder / Path(name).expanduser()
    try:
        with path.open("rb") as handle:
            text = handle.read(_SECRET_FILE_BYTES_MAX + 1).decode().rstrip("\r\n")
    except OSError as error:
        raise SettingsError(f"`crm.options.{key}`: cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SettingsError(f"`crm.options.{key}`: {path} is not UTF-8 text") from None
    if not text or len(text) > _SECRET_FILE_BYTES_MAX:
        raise SettingsError(f"`crm.options.{key}`: {path} is {'too large for a secret' if text else 'empty'}")
    return text


# --- environment ----------------------------------------------------------------------------------------------------


def _variable_path(name: str) -> list[str]:
    # A name without `__` is not a setting: CRMBRIDGE_SETTINGS, CRMBRIDGE_TEST_POSTGRES.
    upper = name.upper()
    if not upper.startswith(PREFIX) or "__" not in upper[len(PREFIX) :]:
        return []
    return name[len(PREFIX) :].lower().split("__")


def _variable_value(key: str, text: str) -> object:
    if is_secret(key) or not text.startswith(("[", "{")):
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text


def _put(sections: dict[str, Any], path: list[str], value: object, name: str) -> None:
    if path[0] not in Settings.model_fields:
        known = ", ".join(f"{PREFIX}{section.upper()}__..." for section in Settings.model_fields)
        raise SettingsError(f"the environment variable {name} sets nothing", hint=f"allowed: {known}")
    place = sections
    for key in path[:-1]:
        place = place.setdefault(key, {})
        if not isinstance(place, dict):
            raise SettingsError(f"the environment variable {name} contradicts another: `{key}` has a value of its own")
    place[path[-1]] = value


def _variable(path: _Path) -> str:
    return PREFIX + "__".join(str(part).upper() for part in path if isinstance(part, str))


# --- what is wrong, in words ----------------------------------------------------------------------------------------


def _validated(model: type[_Model], values: Mapping[str, Any], *, at: _Path, settings: Settings) -> _Model:
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        _refuse(error, model, values=EnvironmentSource(Settings)(), at=at, file=settings.file)


def _refuse(
    error: ValidationError, model: type[BaseModel], *, values: Mapping[str, Any], at: _Path, file: Path | None
) -> NoReturn:
    """Say the first fault in words: where, what was expected, what came, what is allowed.

    Args:
        error: what pydantic found; only its first fault is told, the others are counted.
        model: what was validated, for the keys it allows.
        values: what the environment sets, to name the variable where the fault came from there.
        at: the path of `model` in the settings.
        file: the settings file; None where there is none.
    """
    faults = error.errors(include_url=False)
    fault = faults[0]
    path = (*at, *fault["loc"])
    place = _place(path, values, file)
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    if fault["type"] == "extra_forbidden":
        allowed = _keys(model, fault["loc"][:-1])
        raise SettingsError(f"unknown key {place}{more}", hint=_nearest(str(path[-1]), allowed)) from None
    if fault["type"] == "missing":
        hint = f"add it, or set the environment variable {_variable(path)}"
        raise SettingsError(f"missing key {place}{more}", hint=hint) from None
    raise SettingsError(f"{place}: {_expected(fault)}{_received(fault, path)}{more}") from None


def _place(path: _Path, environment: Mapping[str, Any], file: Path | None) -> str:
    value: object = environment
    for part in path:
        value = value.get(part) if isinstance(value, Mapping) else None
    if value is not None:
        return f"`{_dotted(path)}` (environment variable {_variable(path)})"
    return f"`{_dotted(path)}` in {file}" if file else f"`{_dotted(path)}`"


def _keys(model: type[BaseModel], path: _Path) -> list[str]:
    for part in path:
        field = model.model_fields.get(str(part))
        if field is None or not isinstance(field.annotation, type) or not issubclass(field.annotation, BaseModel):
            return []
        model = field.annotation
    return sorted(field.alias or name for name, field in model.model_fields.items())


def _nearest(key: str, allowed: list[str]) -> str | None:
    close = difflib.get_close_matches(key, allowed, n=1, cutoff=0.5)
    listed = f"allowed: {', '.join(allowed)}" if allowed else None
    return f"did you mean `{close[0]}`? {listed}" if close else listed


def _expected(fault: ErrorDetails) -> str:
    message = fault["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
    return message.replace("Input should be", "expected").replace("a valid string", "text")


def _received(fault: ErrorDetails, path: _Path) -> str:
    value = fault.get("input")
    is_hidden = path[:2] == ("crm", "options") or any(is_secret(str(part)) for part in path)
    if not is_hidden and isinstance(value, str | int | float):
        return f", received {value!r:.60}"
    return "" if fault["type"] == "value_error" else f", received {_kind(value)}"


def _kind(value: object) -> str:
    names = {str: "text", bool: "true or false", int: "an integer", float: "a number", list: "a list", dict: "a table"}
    return names.get(type(value), f"a {type(value).__name__}")


def _dotted(path: _Path) -> str:
    return ".".join(str(part) for part in path)
