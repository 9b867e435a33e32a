"""The cache: where assets lie, and how they are checked before use."""

import hashlib
import json
import os
import sys
from contextlib import suppress
from pathlib import Path

from tlcourse.assets.errors import CorruptAssetError, MissingAssetError
from tlcourse.assets.registry import Asset, Digest, File, get

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
    check(asset, asset.files if file is None else (asset.file(file),), folder)
    return folder if file is None else folder / file


def present(name: str) -> bool:
    """Whether all files of the asset are in the cache; says nothing about their content."""
    asset = get(name)
    return all((home() / name / file.name).exists() for file in asset.files)


def verify(name: str) -> None:
    """Hash every file of an asset again. Raises MissingAssetError, or CorruptAssetError naming both hashes."""
    asset = get(name)
    check(asset, asset.files, home() / name, again=True)


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


def check(asset: Asset, files: tuple[File, ...], folder: Path, *, again: bool = False) -> None:
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
            require(digest(target, file), file.accepted, f"{asset.name}: {file.name}")
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


def require(found: Digest, accepted: tuple[Digest, ...], what: str) -> None:
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
