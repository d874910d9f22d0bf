"""The workspace: private, whole files, one run at a time."""

from __future__ import annotations

import json
import os
import resource
import signal
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from crmbridge.errors import WorkspaceBusy, WorkspaceError
from crmbridge.workspace import Workspace, disk_faults, private_file, private_text

HOLD = """
import sys, time
from pathlib import Path
from crmbridge.workspace import Workspace
with Workspace(Path(sys.argv[1])).lock("pull"):
    print("held", flush=True)
    time.sleep(60)
"""


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def open_umask():
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.fixture
def holder(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path / "w")], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_the_folder_is_its_owners_alone_whatever_the_umask(tmp_path, open_umask):
    workspace = Workspace(tmp_path / "w")
    assert mode(workspace.folder) == mode(workspace.plans) == 0o700
    assert (workspace.folder / ".gitignore").read_text().endswith("\n*\n")


def test_a_folder_that_is_open_to_others_is_refused(tmp_path):
    (tmp_path / "w").mkdir(mode=0o755)
    with pytest.raises(WorkspaceError, match="0755") as caught:
        Workspace(tmp_path / "w")
    assert "chmod 700" in caught.value.hint


def test_a_link_to_an_open_folder_is_refused_and_to_a_private_one_is_not(tmp_path):
    (tmp_path / "target").mkdir(mode=0o755)
    (tmp_path / "w").symlink_to(tmp_path / "target")
    with pytest.raises(WorkspaceError, match="open to other users"):
        Workspace(tmp_path / "w")
    (tmp_path / "target").chmod(0o700)
    assert Workspace(tmp_path / "w").plans.is_dir()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give a folder away")
def test_a_folder_of_another_user_is_refused(tmp_path):
    (tmp_path / "w").mkdir(mode=0o700)
    os.chown(tmp_path / "w", 65534, 65534)
    with pytest.raises(WorkspaceError, match="another user"):
        Workspace(tmp_path / "w")


def test_a_file_in_the_way_and_a_missing_parent_are_told(tmp_path):
    (tmp_path / "w").write_text("")
    with pytest.raises(WorkspaceError, match="in the way"):
        Workspace(tmp_path / "w")
    with pytest.raises(WorkspaceError) as caught:
        Workspace(tmp_path / "no" / "w")
    assert "mkdir -p" in caught.value.hint


def test_a_second_run_is_told_which_command_holds_it(tmp_path, holder):
    with (
        pytest.raises(WorkspaceBusy, match=rf"`pull` \(process {holder.pid}, since 2") as caught,
        Workspace(tmp_path / "w").lock("plan"),
    ):
        pass
    assert caught.value.exit_code == 75


def test_a_killed_run_lets_go(tmp_path, holder):
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with Workspace(tmp_path / "w").lock("plan"):
        assert json.loads((tmp_path / "w" / "lock.json").read_text())["command"] == "plan"


def test_the_same_workspace_locks_again_inside_and_lets_go_outside(tmp_path):
    workspace = Workspace(tmp_path / "w")
    with workspace.lock("backfill"):
        with workspace.lock("pull"):
            pass
        with pytest.raises(WorkspaceBusy, match="backfill"), Workspace(tmp_path / "w").lock("other"):
            pass
    with Workspace(tmp_path / "w").lock("other"):
        pass


def test_a_broken_note_still_says_busy(tmp_path, holder):
    (tmp_path / "w" / "lock.json").write_text("{")
    with pytest.raises(WorkspaceBusy, match="another run"), Workspace(tmp_path / "w").lock("plan"):
        pass


def test_a_private_file_appears_whole_or_not_at_all(tmp_path, open_umask):
    path = tmp_path / "file"
    with private_file(path) as out:
        out.write(b"one")
        assert not path.exists()
    assert (path.read_bytes(), mode(path)) == (b"one", 0o600)
    with pytest.raises(ZeroDivisionError), private_file(path) as out:
        out.write(b"%d" % (1 // 0))
    assert path.read_bytes() == b"one"
    assert list(tmp_path.iterdir()) == [path]


def test_a_private_file_replaces_a_link_instead_of_following_it(tmp_path):
    (tmp_path / "elsewhere").write_text("kept")
    (tmp_path / "file").symlink_to(tmp_path / "elsewhere")
    with private_text(tmp_path / "file") as out:
        out.write("new")
    assert (tmp_path / "elsewhere").read_text() == "kept"
    assert (tmp_path / "file").read_text() == "new"


def test_text_keeps_its_line_ends_and_its_signs(tmp_path):
    with private_text(tmp_path / "file") as out:
        out.write("ä\r\n")
    assert (tmp_path / "file").read_bytes() == "ä\r\n".encode()


@pytest.mark.parametrize("writer", [private_file, private_text])
def test_a_full_disk_is_told_and_leaves_the_old_file(tmp_path, writer):
    path = tmp_path / "file"
    path.write_text("old")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    content = b"x" * 100_000 if writer is private_file else "x" * 100_000
    try:
        with pytest.raises(WorkspaceError) as caught, writer(path) as out:
            out.write(content)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "run the same command again" in caught.value.hint
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_other_faults_of_the_system_are_not_dressed_up(tmp_path):
    with pytest.raises(TimeoutError), disk_faults(tmp_path):
        raise TimeoutError(110, "timed out")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody who may not write")
def test_a_folder_without_write_permission_is_told():
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        pid = os.fork()
        if pid == 0:
            os.setuid(65534)
            os._exit(_code_of_making(Path(folder) / "w"))
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == WorkspaceError.exit_code


def _code_of_making(folder: Path) -> int:
    try:
        Workspace(folder)
    except WorkspaceError as error:
        return error.exit_code if "permission" in (error.hint or "") else 98
    except BaseException:  # noqa: BLE001 - a forked child must not return into pytest
        return 99
    return 0
