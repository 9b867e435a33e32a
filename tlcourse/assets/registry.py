"""The registry `data/assets.toml`: what each asset is, whose it is, its hashes, where it comes from."""

import difflib
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

from tlcourse.assets.errors import UnknownAssetError


@dataclass(frozen=True)
class Digest:
    """Registered content: size in bytes, sha256 in hexadecimal, and a note on where that version is found."""

    size: int
    sha256: str
    note: str = ""


@dataclass(frozen=True)
class File:
    """One file of an asset, or with a count a folder of so many files.

    A folder's size is the sum over its files; its sha256 is that of the lines "<sha256>  <path>\\n" of all its
    files in the order of their paths. `others` are further contents accepted under this name: other sources
    pack the same data differently, and some upstreams move.
    """

    name: str
    size: int
    sha256: str
    note: str = ""
    count: int | None = None
    others: tuple[Digest, ...] = ()

    @property
    def accepted(self) -> tuple[Digest, ...]:
        return (Digest(self.size, self.sha256, self.note), *self.others)


@dataclass(frozen=True)
class Source:
    """One way to an asset: a client, what to ask it for, and which members of its answer to take.

    take: file name in the asset → path in the archive or in what the client delivers; a `*` in it takes every
    match as a folder. archive: digest of the archive, checked before it is opened; None where the client
    delivers files. inner: path of an archive in what is delivered. revision and platform: what hub and pip are asked
    for. convert: name of the `convert` function that makes the file of what was taken.
    """

    client: str
    request: str
    take: Mapping[str, str]
    archive: Digest | None = None
    inner: str | None = None
    revision: str | None = None
    platform: str | None = None
    convert: str | None = None


@dataclass(frozen=True)
class Asset:
    """An entry of the registry. licence: the upstream's, not that of the package it travels in."""

    name: str
    title: str
    kind: str
    licence: str
    licence_url: str
    citation: str
    files: tuple[File, ...]
    sources: tuple[Source, ...]
    needed: bool = False
    licence_note: str = ""
    size: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", sum(file.size for file in self.files))

    def file(self, name: str) -> File:
        """Raises UnknownAssetError where the asset has no such file."""
        for file in self.files:
            if file.name == name:
                return file
        raise UnknownAssetError(
            f"{self.name} has no file {name!r}{_nearest(name, [file.name for file in self.files])}"
        )


def names() -> list[str]:
    """Of all registered assets, in the registry's order."""
    return list(_registry())


def get(name: str) -> Asset:
    """The entry of that name. Raises UnknownAssetError, which suggests the nearest name."""
    try:
        return _registry()[name]
    except KeyError:
        raise UnknownAssetError(f"no asset is called {name!r}{_nearest(name, names())}") from None


def needed() -> list[str]:
    """Names of the assets that the chapters read today."""
    return [name for name, asset in _registry().items() if asset.needed]


def parse(text: str) -> dict[str, Asset]:
    """Assets by name out of a registry's text. Raises ValueError naming the entry that is not well formed."""
    assets = {}
    for name, entry in tomllib.loads(text).items():
        try:
            assets[name] = _asset(name, entry)
        except (TypeError, ValueError, KeyError, AttributeError) as error:
            raise ValueError(f"assets.toml, entry {name!r}: {error}") from error
    return assets


@lru_cache(maxsize=1)
def _registry() -> dict[str, Asset]:
    return parse(_file().read_text(encoding="utf-8"))


def _file() -> Path:
    """In an installed package beside the code, in a checkout at its root."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "data" / "assets.toml"
    return installed if installed.is_file() else package.parent / "data" / "assets.toml"


def _asset(name: str, entry: Mapping[str, Any]) -> Asset:
    plain = {key: value for key, value in entry.items() if key not in ("file", "source")}
    files = tuple(_registered_file(file) for file in entry["file"])
    sources = tuple(_source(source, files) for source in entry["source"])
    asset = Asset(name=name, files=files, sources=sources, **plain)
    for source in asset.sources:
        if set(source.take) != {file.name for file in asset.files}:
            raise ValueError(f"source {source.request!r} takes other files than are registered")
    return asset


def _registered_file(entry: Mapping[str, Any]) -> File:
    others = tuple(Digest(**other) for other in entry.get("others", ()))
    return File(**{**entry, "others": others})


def _source(entry: Mapping[str, Any], files: Iterable[File]) -> Source:
    """Where take is one folder, all files lie in it under their own names."""
    take, archive = entry["take"], entry.get("archive")
    if isinstance(take, str):
        folder = PurePosixPath(take)
        take = {file.name: str(folder / file.name) + ("/*" if file.count else "") for file in files}
    return Source(**{**entry, "take": take, "archive": Digest(**archive) if archive else None})


def _nearest(name: str, known: Iterable[str]) -> str:
    known = list(known)
    close = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.4)
    return f"; did you mean {close[0]!r}?" if close else f"; there are {', '.join(known)}"
