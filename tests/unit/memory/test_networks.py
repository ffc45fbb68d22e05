"""A memory on a network file system is refused; every other one is not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from jitrl.errors import MemoryUnavailable
from jitrl.memory.sql import networks
from jitrl.memory.sql.networks import check, file_system

ROOT = "22 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard\n"
NETWORKS = ["nfs", "nfs3", "nfs4", "cifs", "smbfs", "smb3", "ceph", "glusterfs", "lustre", "beegfs"]
NETWORKS += ["gpfs", "afs", "fuse.sshfs", "fuse.s3fs", "fuse.rclone", "fuse.glusterfs"]
LOCAL = ["ext4", "xfs", "btrfs", "zfs", "tmpfs", "overlay", "9p", "virtiofs", "fuse.gocryptfs"]


def mount(point, kind, tags="shared:1 "):
    return f"40 22 0:41 / {point} rw,relatime {tags}- {kind} source rw\n"


@pytest.fixture
def mounted(tmp_path, monkeypatch):
    """Say what is mounted at `tmp_path / "shared"`."""

    def say(kind):
        (tmp_path / "mounts").write_text(ROOT + mount(tmp_path / "shared", kind))
        monkeypatch.setattr(networks, "_MOUNTS", tmp_path / "mounts")

    (tmp_path / "shared").mkdir()
    return say


@pytest.mark.parametrize("kind", NETWORKS)
def test_a_network_file_system_is_refused_with_a_remedy(kind, mounted, tmp_path):
    mounted(kind)
    path = tmp_path / "shared" / "memory.db"
    with pytest.raises(MemoryUnavailable, match="use a local disk, or postgresql://") as caught:
        check(path)
    assert f"({kind})" in str(caught.value)
    assert str(path) in str(caught.value)
    check(tmp_path / "memory.db")


@pytest.mark.parametrize("kind", LOCAL)
def test_a_local_file_system_is_not_refused(kind, mounted, tmp_path):
    mounted(kind)
    check(tmp_path / "shared" / "memory.db")


def test_a_link_to_a_network_file_system_is_refused_as_well(mounted, tmp_path, monkeypatch):
    mounted("nfs4")
    (tmp_path / "link").symlink_to("shared")
    with pytest.raises(MemoryUnavailable):
        check(tmp_path / "link" / "memory.db")
    monkeypatch.chdir(tmp_path / "shared")
    with pytest.raises(MemoryUnavailable):
        check(Path("memory.db"))


def test_the_deepest_mount_counts_and_of_two_at_one_point_the_later_one():
    mounts = ROOT + mount("/a", "nfs4") + mount("/a/b", "ext4") + mount("/c", "ext4")
    mounts += mount("/c", "nfs4") + mount("/d", "nfs4") + mount("/d", "xfs", tags="")
    found = {
        path: file_system(path, mounts) for path in ("/a", "/a/x", "/a/b/x", "/ab", "/c", "/d")
    }
    assert found == {
        "/a": "nfs4",
        "/a/x": "nfs4",
        "/a/b/x": "ext4",
        "/ab": "ext4",
        "/c": "nfs4",
        "/d": "xfs",
    }


def test_names_with_blanks_and_backslashes_are_understood():
    assert file_system("/a b\\c/x", ROOT + mount("/a\\040b\\134c", "nfs")) == "nfs"


@pytest.mark.parametrize("text", ["", "nonsense\n", "1 2 3\n - \n", "22 1 254:0 / / rw - \n"])
def test_where_the_mounts_do_not_say_nothing_is_refused(text):
    assert file_system("/x", text) is None


def test_this_machine_says_what_its_folders_are(tmp_path):
    mounts = os.fsdecode(networks._MOUNTS.read_bytes())
    assert file_system(os.path.realpath(tmp_path), mounts)
    assert file_system("/proc/self", mounts) == "proc"
    check(tmp_path / "memory.db")


def test_other_systems_have_no_mounts_to_read(tmp_path, monkeypatch):
    monkeypatch.setattr(networks, "_MOUNTS", tmp_path / "none")
    check(tmp_path / "memory.db")
