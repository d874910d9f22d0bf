"""The workspace: the local folder that holds the snapshot, the plans and the journal of one CRM.

It holds personal data, so the folder is open to its owner alone (0700), the files that crmbridge writes are too (0600),
and they are replaced as a whole or not at all. One run at a time: `Workspace.lock` is a lock of the operating system,
which ends with the process that holds it, however that ends.
"""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import stat
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING

from crmbridge.errors import WorkspaceBusy, WorkspaceError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from filelock import BaseFileLock

_HINTS = {
    errno.ENOSPC: "free some disk space, then run the same command again; nothing is lost",
    errno.EDQUOT: "your disk quota is used up: free some space, then run the same command again; nothing is lost",
    errno.EFBIG: "the file would exceed the size limit (`ulimit -f`): raise it, then run the same command again",
    errno.EROFS: "the disk is mounted read-only: set another `folder` under [workspace]",
    errno.EACCES: "give your user write permission there, or set another `folder` under [workspace]",
    errno.EPERM: "give your user write permission there, or set another `folder` under [workspace]",
    errno.ENOENT: "make the folder above it first (`mkdir -p`), or set another `folder` under [workspace]",
    errno.ENOTDIR: "set another `folder` under [workspace]",
    errno.EISDIR: "there is a folder of that name: name a file in it",
    errno.EEXIST: "move that file away, or set another `folder` under [workspace]",
    errno.ELOOP: "set another `folder` under [workspace]",
}


class Workspace:
    """One folder; made on first use.

    Args:
        folder: where; its parent must exist.

    Raises:
        WorkspaceError: it cannot be made or written to, belongs to someone else, or is open to others.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self._lock: BaseFileLock | None = None
        with disk_faults(self.folder):
            _make_private(self.folder)
            _make_private(self.plans)
            _ignore_in_git(self.folder)

    @property
    def snapshot(self) -> Path:
        """The DuckDB file with the copy of the CRM."""
        return self.folder / "snapshot.duckdb"

    @property
    def journal(self) -> Path:
        """The SQLite file with intents, receipts and vetoes. Losing it loses undo."""
        return self.folder / "journal.sqlite"

    @property
    def plans(self) -> Path:
        """The folder of plan files."""
        return self.folder / "plans"

    @property
    def reports(self) -> Path:
        """The folder of reports; made when asked for."""
        return self._folder("reports")

    @property
    def frozen(self) -> Path:
        """The folder of frozen periods; made when asked for."""
        return self._folder("frozen")

    def _folder(self, name: str) -> Path:
        return private_folder(self.folder / name)

    @contextlib.contextmanager
    def lock(self, command: str) -> Iterator[None]:
        """Hold the workspace for one run; the same `Workspace` may lock again inside.

        Args:
            command: what runs, told to whoever comes second; holds no personal data.

        Raises:
            WorkspaceBusy: another process (or another `Workspace` in this one) holds it.
            WorkspaceError: the lock file cannot be written.
        """
        held = self._acquire()
        try:
            if held.lock_counter == 1:
                self._note(command)
            yield
        finally:
            held.release()

    def _acquire(self) -> BaseFileLock:
        import filelock

        if self._lock is None:
            self._lock = filelock.FileLock(self.folder / "lock", timeout=0, mode=0o600)
        try:
            with disk_faults(self.folder / "lock"):
                self._lock.acquire()
        except filelock.Timeout:
            hint = "wait until it has finished, then run the same command again; nothing was done"
            raise WorkspaceBusy(f"{self.folder} is in use by {self._holder()}", hint=hint) from None
        return self._lock

    def _note(self, command: str) -> None:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        with private_text(self.folder / "lock.json") as note:
            json.dump({"command": command, "pid": os.getpid(), "since": now}, note)

    def _holder(self) -> str:
        # The holder may be between taking the lock and writing the note: then nobody can say more than this.
        try:
            note = json.loads((self.folder / "lock.json").read_text(encoding="utf-8"))
            return f"`{note['command']}` (process {note['pid']}, since {note['since']})"
        except (OSError, ValueError, KeyError, TypeError):
            return "another run"


@contextlib.contextmanager
def disk_faults(path: Path) -> Iterator[None]:
    """Turn what the system says about writing `path` (full, read-only, forbidden) into a WorkspaceError with a hint."""
    try:
        yield
    except OSError as error:
        if error.errno not in _HINTS:
            raise
        raise WorkspaceError(f"cannot write {path}: {error.strerror}", hint=_HINTS[error.errno]) from None


@contextlib.contextmanager
def private_file(path: Path) -> Iterator[IO[bytes]]:
    """Write a file (0600) that appears whole and durable when the block ends, and not at all where it fails.

    Raises:
        WorkspaceError: disk full, read-only, forbidden.
    """
    with disk_faults(path):
        handle = tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False)  # noqa: SIM115
        part = Path(handle.name)
        try:
            with handle:
                yield handle
                handle.flush()
                os.fsync(handle.fileno())
            part.replace(path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)


@contextlib.contextmanager
def private_text(path: Path) -> Iterator[IO[str]]:
    """Like `private_file`, for UTF-8 text; line ends are written as given, as `csv` wants them."""
    with private_file(path) as raw:
        text = io.TextIOWrapper(raw, encoding="utf-8", newline="", write_through=True)
        try:
            yield text
        finally:
            text.detach()


def private_folder(folder: Path) -> Path:
    """Make a folder for its owner only (0700), where there is none.

    Raises:
        WorkspaceError: it cannot be made, belongs to someone else, or is open to others.
    """
    with disk_faults(folder):
        _make_private(folder)
    return folder


def _make_private(folder: Path) -> None:
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.stat()
    if not stat.S_ISDIR(found.st_mode):
        raise FileExistsError(errno.EEXIST, "a file is in the way", str(folder))
    if os.name != "posix":
        return
    link = folder.lstat()
    if not {found.st_uid, link.st_uid} <= {os.geteuid(), 0} or found.st_uid != os.geteuid():
        hint = "run as its owner, or set another `folder` under [workspace]"
        raise WorkspaceError(f"the workspace {folder} belongs to another user", hint=hint)
    if found.st_mode & 0o077:
        mode = stat.S_IMODE(found.st_mode)
        raise WorkspaceError(
            f"the workspace {folder} is open to other users (mode {mode:04o}); it holds personal data",
            hint=f"run `chmod 700 {folder}`, or set another `folder` under [workspace]",
        )


def _ignore_in_git(folder: Path) -> None:
    ignore = folder / ".gitignore"
    if not ignore.exists():
        ignore.write_text("# personal data: keep all of it out of version control\n*\n", encoding="utf-8")


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
