"""Named members out of archives: wheels, sdists, .deb packages. Nothing else is unpacked, nothing is imported."""

import errno
import lzma
import os
import shutil
import stat
import subprocess
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from gzip import BadGzipFile
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO

from tlcourse.assets.errors import CorruptAssetError, FetchError

_DAMAGED = (zipfile.BadZipFile, tarfile.TarError, lzma.LZMAError, zlib.error, BadGzipFile, EOFError)


@dataclass(frozen=True)
class Archive:
    """Sizes in bytes of the regular files by path, the paths of links, and a stream for each regular file."""

    sizes: Mapping[str, int]
    links: frozenset[str]
    open: Callable[[str], IO[bytes]]


def take(
    archive: Path, members: Mapping[str, str], folder: Path, *, limit: int, inner: str | None = None
) -> None:
    """Write the named members of an archive, or of a folder, into folder.

    members: target → path in the archive; a path with a `*` stands for all that match, and its target for their
    folder. limit: bytes that all of them may have together. inner: path of an archive in the archive, to be
    opened instead.
    Raises CorruptAssetError where the archive is cut off, holds a path that points outside, lacks a member, has
    a link in its place, or would write more than limit bytes; FetchError where a .deb meets no dpkg-deb.
    """
    try:
        with _opened(archive) as opened:
            if inner is None:
                _copy(opened, _plan(opened, members, archive.name), folder, archive.name, limit)
                return
            with tempfile.TemporaryDirectory(dir=archive.parent) as nested:
                target = PurePosixPath(inner).name
                _copy(
                    opened, _plan(opened, {target: inner}, archive.name), Path(nested), archive.name, 1 << 30
                )
                take(Path(nested) / target, members, folder, limit=limit)
    except _DAMAGED as error:
        raise CorruptAssetError(f"{archive.name} is cut off or damaged ({error}); fetch it again") from error


def _plan(archive: Archive, members: Mapping[str, str], name: str) -> dict[str, str]:
    """Path in the archive → target, for all that members names."""
    for path in (*archive.sizes, *archive.links):
        if not _stays_inside(path):
            raise CorruptAssetError(f"{name} holds {path!r}, which points outside; nothing was unpacked")
    plan = {}
    for target, pattern in members.items():
        prefix = pattern.split("*")[0].rpartition("/")[0]
        found = {path for path in (*archive.sizes, *archive.links) if fnmatchcase(path, pattern)}
        if not found:
            raise CorruptAssetError(f"{name} has no {pattern!r}; nothing was unpacked")
        if links := found & archive.links:
            raise CorruptAssetError(f"{name} has a link at {min(links)!r}; nothing was unpacked")
        for path in found:
            if "*" not in pattern:
                plan[path] = target
            elif not PurePosixPath(path).name.startswith("."):
                plan[path] = f"{target}/{path[len(prefix) + 1 :]}"
    return plan


def _copy(archive: Archive, plan: Mapping[str, str], folder: Path, name: str, limit: int) -> None:
    total = sum(archive.sizes[path] for path in plan)
    if total > limit:
        raise CorruptAssetError(f"{name} would unpack to {total} bytes where {limit} are registered")
    for path in archive.sizes:  # the archive's own order: a tar is read once, front to back
        if path not in plan:
            continue
        target = folder / plan[path]
        target.parent.mkdir(parents=True, exist_ok=True)
        with archive.open(path) as stream, target.open("wb") as out:
            shutil.copyfileobj(stream, out, 1 << 20)
            out.flush()
            os.fsync(out.fileno())


def _stays_inside(path: str) -> bool:
    parts = PurePosixPath(path).parts
    return not (path.startswith("/") or ".." in parts or "\\" in path or PureWindowsPath(path).drive)


@contextmanager
def _opened(path: Path) -> Iterator[Archive]:
    if path.is_dir():
        yield _folder(path)
    elif path.suffix in (".whl", ".zip"):
        with zipfile.ZipFile(path) as archive:
            yield _zip(archive)
    elif path.suffix == ".xz" and ".tar" not in path.suffixes:
        yield _compressed(path)
    elif path.suffix == ".deb":
        with tempfile.TemporaryFile(dir=path.parent) as unpacked:
            _unpack_deb(path, unpacked)
            with tarfile.open(fileobj=unpacked) as archive:
                yield _tar(archive)
    else:
        with tarfile.open(path) as archive:
            yield _tar(archive)


def _folder(root: Path) -> Archive:
    paths = {path.relative_to(root).as_posix(): path for path in sorted(root.rglob("*"))}
    return Archive(
        sizes={
            name: path.stat().st_size
            for name, path in paths.items()
            if path.is_file() and not path.is_symlink()
        },
        links=frozenset(name for name, path in paths.items() if path.is_symlink()),
        open=lambda name: paths[name].open("rb"),
    )


def _zip(archive: zipfile.ZipFile) -> Archive:
    files = [info for info in archive.infolist() if not info.is_dir()]
    links = frozenset(info.filename for info in files if stat.S_ISLNK(info.external_attr >> 16))
    sizes = {info.filename: info.file_size for info in files if info.filename not in links}
    return Archive(sizes, links, archive.open)


def _tar(archive: tarfile.TarFile) -> Archive:
    named = {member.name.removeprefix("./"): member for member in archive if not member.isdir()}
    regular = {name: member for name, member in named.items() if member.isreg()}
    return Archive(
        sizes={name: member.size for name, member in regular.items()},
        links=frozenset(named) - frozenset(regular),
        open=lambda name: archive.extractfile(regular[name]),
    )


def _compressed(path: Path) -> Archive:
    with lzma.open(path) as stream:
        size = stream.seek(0, os.SEEK_END)
    return Archive({path.stem: size}, frozenset(), lambda name: lzma.open(path))


def _unpack_deb(path: Path, out: IO[bytes]) -> None:
    if shutil.which("dpkg-deb") is None:
        raise FetchError(f"{path.name} needs dpkg-deb, which this machine does not have; use another source")
    done = subprocess.run(["dpkg-deb", "--fsys-tarfile", str(path)], stdout=out, stderr=subprocess.PIPE)
    if done.returncode:
        reason = done.stderr.decode(errors="replace").strip().splitlines() or ["dpkg-deb failed"]
        if "No space left" in reason[-1]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        raise CorruptAssetError(f"{path.name} is cut off or damaged ({reason[-1]}); fetch it again")
    out.seek(0)
