"""What can go wrong with an asset. Each message is one line and ends with the way out."""


class AssetError(Exception):
    """Any of the errors below."""


class UnknownAssetError(AssetError, KeyError):
    """No asset, or no file of an asset, has this name."""

    __str__ = Exception.__str__  # KeyError would show the message in quotes


class MissingAssetError(AssetError, FileNotFoundError):
    """The asset is registered but not in the cache."""


class CorruptAssetError(AssetError):
    """Bytes that are not the registered ones, or an archive that no honest publisher makes."""


class FetchError(AssetError):
    """No source could deliver: no network, a missing client, a full disk, a download cut off."""


class DiskFullError(FetchError):
    """The disk filled up; another source would not help."""
