"""Every data set and weight file the course reads: what it is, whose it is, how it gets here unharmed.

`fetch` downloads, through the clients that the registry names; `path` only ever reads the cache.
"""

from tlcourse.assets.errors import (
    AssetError,
    CorruptAssetError,
    DiskFullError,
    FetchError,
    MissingAssetError,
    UnknownAssetError,
)
from tlcourse.assets.fetching import fetch
from tlcourse.assets.registry import Asset, Digest, File, Source, get, names, needed
from tlcourse.assets.store import home, path, present, verify

__all__ = [
    "Asset",
    "AssetError",
    "CorruptAssetError",
    "Digest",
    "DiskFullError",
    "FetchError",
    "File",
    "MissingAssetError",
    "Source",
    "UnknownAssetError",
    "fetch",
    "get",
    "home",
    "names",
    "needed",
    "path",
    "present",
    "verify",
]
