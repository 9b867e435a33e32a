"""How an asset gets into the cache whole: lock, download, verify, unpack, verify, move in."""

import errno
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout
from tqdm import tqdm

from tlcourse.assets import archives, clients, convert
from tlcourse.assets.errors import AssetError, CorruptAssetError, DiskFullError, FetchError, MissingAssetError
from tlcourse.assets.registry import Asset, File, Source, get
from tlcourse.assets.store import check, digest, home, require


def fetch(name: str, *, progress: bool = False) -> Path:
    """Bring an asset into the cache, verified and whole, and return its folder; at once if it is there.

    Sources are tried in order. Safe to interrupt, and to run twice at once: the second waits for the first.
    progress: show a bar on stderr. Raises UnknownAssetError; CorruptAssetError, FetchError or DiskFullError
    where no source delivers, and leaves no part of the asset behind.
    """
    asset = get(name)
    with _plain_disk_errors(asset):
        scratch = home() / ".partial" / name
        scratch.mkdir(parents=True, exist_ok=True)
        with _locked(asset, progress):
            shutil.rmtree(scratch, ignore_errors=True)  # what an interrupted fetch left
            try:
                check(asset, asset.files, home() / name)
            except (MissingAssetError, CorruptAssetError):
                _fetch(asset, scratch, progress)
    return home() / name


def _fetch(asset: Asset, scratch: Path, progress: bool) -> None:
    failures: list[AssetError] = []
    for source in asset.sources:
        _require_space(asset, source)
        try:
            _stage(asset, source, scratch, progress)
            _move_in(scratch / "files", home() / asset.name, scratch / "old")
            return
        except DiskFullError:
            raise
        except AssetError as error:
            failures.append(error)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    reasons = "; ".join(str(error) for error in failures)
    copy = f"copy the folder {home() / asset.name} from a machine that has it"
    if any(isinstance(error, CorruptAssetError) for error in failures):
        raise CorruptAssetError(f"{asset.name}: {reasons}. Nothing was kept; please report this, or {copy}")
    raise FetchError(
        f"{asset.name}: {reasons}. Once that is mended, run `tlcourse assets fetch {asset.name}`, or {copy}"
    )


def _stage(asset: Asset, source: Source, scratch: Path, progress: bool) -> None:
    """Download, verify, unpack the named members, verify each of them; nothing is in place yet."""
    download = scratch / "download"
    download.mkdir(parents=True)
    with _bar(asset, source, download, progress) as tick:
        delivered = clients.deliver(source, download, tick)
    if source.archive is not None:
        require(digest(delivered, File(delivered.name, 0, "")), (source.archive,), delivered.name)
    staged = scratch / "files"
    staged.mkdir()
    archives.take(delivered, source.take, staged, limit=2 * asset.size, inner=source.inner)
    if source.convert is not None:
        for file in asset.files:
            text = convert.CONVERTERS[source.convert](staged / file.name)
            (staged / file.name).write_text(text, encoding="utf-8", newline="")
    check(asset, asset.files, staged, again=True)


def _move_in(staged: Path, folder: Path, old: Path) -> None:
    if folder.exists():
        os.replace(folder, old)
    os.replace(staged, folder)


def _require_space(asset: Asset, source: Source) -> None:
    wanted = asset.size + (source.archive.size if source.archive else asset.size)
    free = shutil.disk_usage(home()).free
    if free < wanted:
        raise OSError(errno.ENOSPC, f"{free / 1e6:.0f} MB are free, {wanted / 1e6:.0f} MB are needed")


def _disk_full(asset: Asset, detail: str) -> DiskFullError:
    return DiskFullError(
        f"{asset.name}: the disk of {home()} is full ({detail}); free some space or set TLCOURSE_HOME to a folder "
        f"on another disk, then run `tlcourse assets fetch {asset.name}`"
    )


@contextmanager
def _plain_disk_errors(asset: Asset) -> Iterator[None]:
    try:
        yield
    except DiskFullError as error:
        raise _disk_full(asset, str(error)) from error
    except AssetError:
        raise
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise _disk_full(asset, str(error.strerror)) from error
        raise FetchError(
            f"{asset.name}: cannot work in {home()} ({error.strerror or error}); set TLCOURSE_HOME to a folder of yours"
        ) from error


@contextmanager
def _locked(asset: Asset, progress: bool) -> Iterator[None]:
    lock = FileLock(home() / ".partial" / f"{asset.name}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        if progress:
            tqdm.write(f"{asset.name}: another fetch is under way, waiting for it", file=sys.stderr)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _bar(asset: Asset, source: Source, download: Path, progress: bool) -> Iterator[Callable[[], None]]:
    total = source.archive.size if source.archive else asset.size
    with tqdm(
        total=total, desc=asset.name, unit="B", unit_scale=True, disable=not progress, leave=False
    ) as bar:

        def tick() -> None:
            size = 0
            for folder, _, files in os.walk(download):
                for file in files:
                    with suppress(OSError):  # clients rename and delete while we count
                        size += os.path.getsize(os.path.join(folder, file))
            bar.update(min(size, total) - bar.n)

        yield tick
