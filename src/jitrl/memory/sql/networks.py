"""File systems of networks, on which SQLite's locks and shared memory cannot be trusted."""

from __future__ import annotations

import os
import re
from pathlib import Path

from jitrl.errors import MemoryUnavailable

_MOUNTS = Path("/proc/self/mountinfo")
_NETWORKS = re.compile(
    r"nfs\d*|cifs|smb\w*|ncpfs|ceph|glusterfs|lustre|beegfs|gpfs|afs|kafs|coda|ocfs2|orangefs|davfs"
    r"|fuse\.(sshfs|s3fs|rclone|glusterfs|ceph|ceph-fuse|gcsfuse|goofys|mount-s3|blobfuse2?|juicefs"
    r"|davfs2?|curlftpfs|smbnetfs)"
)


def file_system(path: str, mounts: str) -> str | None:
    """Return the type of the file system that a path lies on; None where the mounts do not say.

    path    absolute, without symbolic links
    mounts  the text of Linux's /proc/self/mountinfo

    >>> mounts = '''
    ... 22 1 254:0 / / rw,relatime - ext4 /dev/vda rw
    ... 40 22 0:41 / /mnt/team\\\\040files rw shared:1 master:2 - nfs4 server:/export rw
    ... '''
    >>> file_system("/mnt/team files/memory.db", mounts), file_system("/mnt/team", mounts)
    ('nfs4', 'ext4')
    """
    found, longest = None, -1
    for line in mounts.split("\n"):
        left, dash, right = line.partition(" - ")
        fields = left.split()
        if not dash or len(fields) < 5 or not right:
            continue
        point = re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), fields[4])
        inside = path == point or path.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= longest:  # of two at one point, the later one hides the other
            found, longest = right.split()[0], len(point)
    return found


def check(path: Path) -> None:
    """Raise MemoryUnavailable for a path on a network file system. Only Linux can tell."""
    try:
        mounts = os.fsdecode(_MOUNTS.read_bytes())
    except OSError:
        return
    kind = file_system(os.path.realpath(path), mounts)
    if kind is not None and _NETWORKS.fullmatch(kind):
        raise MemoryUnavailable(
            f"memory {str(path)!r} lies on a network file system ({kind}), where SQLite's locks "
            "cannot be trusted: use a local disk, or postgresql://... to share it"
        )
