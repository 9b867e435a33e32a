"""The cache: where assets lie, how they get there whole, how they are checked."""

import errno
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock
from tqdm import tqdm

from tlcourse.assets import archives, clients, convert
from tlcourse.assets.errors import AssetError, CorruptAssetError, DiskFullError, FetchError, MissingAssetError
from tlcourse.assets.registry import Asset, Digest, File, Source, get

_STAMPS = ".verified.json"
_proven: dict[Path, dict[str, str]] = {}


def home() -> Path:
    """The cache folder: TLCOURSE_HOME, or `tlcourse` in the platform's folder for caches."""
    if chosen := os.environ.get("TLCOURSE_HOME"):
        return Path(chosen).expanduser().absolute()
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or "~/AppData/Local"
    elif sys.platform == "darwin":
        base = "~/Library/Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "tlcourse"


def path(name: str, file: str | None = None) -> Path:
    """Folder of an asset, or one of its files, after its sha256 was found to be the registered one.

    A file is hashed once; after that its size and time of change vouch for it. Nothing is downloaded.
    Raises UnknownAssetError, MissingAssetError naming the fetch command, CorruptAssetError naming both hashes.
    """
    asset = get(name)
    folder = home() / name
    _check(asset, asset.files if file is None else (asset.file(file),), folder)
    return folder if file is None else folder / file


def present(name: str) -> bool:
    """Whether all files of the asset are in the cache; says nothing about their content."""
    asset = get(name)
    return all((home() / name / file.name).exists() for file in asset.files)


def verify(name: str) -> None:
    """Hash every file of an asset again. Raises MissingAssetError, or CorruptAssetError naming both hashes."""
    asset = get(name)
    _check(asset, asset.files, home() / name, again=True)


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
        with FileLock(home() / ".partial" / f"{name}.lock"):
            shutil.rmtree(scratch, ignore_errors=True)  # what an interrupted fetch left
            try:
                _check(asset, asset.files, home() / name)
            except (MissingAssetError, CorruptAssetError):
                _fetch(asset, scratch, progress)
    return home() / name


def digest(path: Path, file: File) -> Digest:
    """Size and sha256 of what lies at path; of a folder as `File` defines them, hidden files left out."""
    if file.count is None:
        with path.open("rb") as stream:
            return Digest(path.stat().st_size, hashlib.file_digest(stream, "sha256").hexdigest())
    size, total = 0, hashlib.sha256()
    for name, member in _members(path):
        content = member.read_bytes()
        size += len(content)
        total.update(f"{hashlib.sha256(content).hexdigest()}  {name}\n".encode())
    return Digest(size, total.hexdigest())


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
        _require(digest(delivered, File(delivered.name, 0, "")), (source.archive,), delivered.name)
    staged = scratch / "files"
    staged.mkdir()
    archives.take(delivered, source.take, staged, limit=2 * asset.size, inner=source.inner)
    if source.convert is not None:
        for file in asset.files:
            text = convert.CONVERTERS[source.convert](staged / file.name)
            (staged / file.name).write_text(text, encoding="utf-8", newline="")
    _check(asset, asset.files, staged, again=True)


def _move_in(staged: Path, folder: Path, old: Path) -> None:
    if folder.exists():
        os.replace(folder, old)
    os.replace(staged, folder)


def _check(asset: Asset, files: tuple[File, ...], folder: Path, *, again: bool = False) -> None:
    """Compare files in folder with the registry; those hashed before only by their stamp, unless again."""
    stamps = {} if again else {**_read_stamps(folder), **_proven.get(folder, {})}
    fresh = {}
    for file in files:
        target = folder / file.name
        if not target.exists():
            raise MissingAssetError(
                f"{asset.name} ({asset.size / 1e6:.1f} MB) is not in the cache {folder.parent}: "
                f"{file.name} is missing; run `tlcourse assets fetch {asset.name}`"
            )
        stamp = _stamp(target, file)
        if stamps.get(file.name) == stamp:
            continue
        try:
            _require(digest(target, file), file.accepted, f"{asset.name}: {file.name}")
        except CorruptAssetError as error:
            _forget(folder)
            if folder != home() / asset.name:
                raise
            raise CorruptAssetError(
                f"{error}; run `tlcourse assets fetch {asset.name}` to replace it"
            ) from None
        fresh[file.name] = stamp
    if fresh:
        _remember(folder, {**stamps, **fresh})


def _require(found: Digest, accepted: tuple[Digest, ...], what: str) -> None:
    if found.sha256 not in {known.sha256 for known in accepted}:
        known = " or ".join(
            f"{known.sha256} ({', '.join(filter(None, [f'{known.size} bytes', known.note]))})"
            for known in accepted
        )
        raise CorruptAssetError(
            f"{what} has sha256 {found.sha256} ({found.size} bytes), registered is {known}"
        )


def _stamp(path: Path, file: File) -> str:
    """Changes when the content does, and when the registered hashes do."""
    parts = [known.sha256 for known in file.accepted]
    for name, member in _members(path) if file.count is not None else [(path.name, path)]:
        status = member.stat()
        parts.append(f"{name} {status.st_size} {status.st_mtime_ns}")
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _members(folder: Path) -> list[tuple[str, Path]]:
    files = (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    return sorted((path.relative_to(folder).as_posix(), path) for path in files)


def _read_stamps(folder: Path) -> dict[str, str]:
    try:
        return dict(json.loads((folder / _STAMPS).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return {}


def _remember(folder: Path, stamps: dict[str, str]) -> None:
    """Beside the files, and for a cache that cannot be written in this process."""
    _proven[folder] = stamps
    with suppress(OSError):
        written = folder / f"{_STAMPS}.{os.getpid()}"
        written.write_text(json.dumps(stamps), encoding="utf-8")
        os.replace(written, folder / _STAMPS)


def _forget(folder: Path) -> None:
    _proven.pop(folder, None)
    with suppress(OSError):
        (folder / _STAMPS).unlink(missing_ok=True)


def _require_space(asset: Asset, source: Source) -> None:
    wanted = asset.size + (source.archive.size if source.archive else asset.size)
    free = shutil.disk_usage(home()).free
    if free < wanted:
        raise _disk_full(asset, f"{free / 1e6:.0f} MB are free, {wanted / 1e6:.0f} MB are needed")


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
        if str(error).startswith(asset.name):
            raise
        raise _disk_full(asset, str(error)) from error
    except AssetError:
        raise
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise _disk_full(asset, str(error.strerror)) from error
        raise FetchError(
            f"{asset.name}: cannot write to {home()} ({error.strerror}); set TLCOURSE_HOME to a folder of yours"
        ) from error


@contextmanager
def _bar(asset: Asset, source: Source, download: Path, progress: bool) -> Iterator[Callable[[], None]]:
    total = source.archive.size if source.archive else asset.size
    with tqdm(
        total=total, desc=asset.name, unit="B", unit_scale=True, disable=not progress, leave=False
    ) as bar:

        def tick() -> None:
            size = sum(path.stat().st_size for path in download.rglob("*") if path.is_file())
            bar.update(min(size, total) - bar.n)

        yield tick
