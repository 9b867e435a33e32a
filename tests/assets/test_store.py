"""The cache: what `path` and `verify` accept, refuse and remember."""

import os
import sys
from pathlib import Path

import pytest

from tlcourse import assets
from tlcourse.assets import registry, store
from tlcourse.assets.registry import Asset, Digest, File

A, OLD_A = b"alpha", b"older alpha"
TREE = {"images/1.png": b"one", "images/deep/2.png": b"two"}


def sha(content):
    return store.hashlib.sha256(content).hexdigest()


def tree_sha(files):
    lines = [f"{sha(content)}  {name.removeprefix('images/')}\n" for name, content in sorted(files.items())]
    return sha("".join(lines).encode())


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A cache that holds the asset `tiny` whole: one file with two accepted contents, and one folder."""
    files = (
        File("a.txt", len(A), sha(A), others=(Digest(len(OLD_A), sha(OLD_A), "version 1 of 2020-01-01"),)),
        File("images", 6, tree_sha(TREE), count=2),
    )
    tiny = Asset("tiny", "t", "text", "l", "https://example.org", "c", files, ())
    monkeypatch.setattr(registry, "_registry", lambda: {"tiny": tiny})
    monkeypatch.setattr(store, "_proven", {})
    monkeypatch.setenv("TLCOURSE_HOME", str(tmp_path))
    for name, content in {"a.txt": A, **TREE}.items():
        (tmp_path / "tiny" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "tiny" / name).write_bytes(content)
    return tmp_path / "tiny"


@pytest.fixture
def hashed(monkeypatch):
    """Names of what is hashed from now on."""
    names = []
    digest = store.digest
    monkeypatch.setattr(store, "digest", lambda path, file: names.append(file.name) or digest(path, file))
    return names


def test_path_returns_the_folder_and_each_file_of_a_sound_asset(cache):
    assert assets.path("tiny") == cache
    assert assets.path("tiny", "a.txt") == cache / "a.txt"
    assert assets.path("tiny", "images") == cache / "images"


def test_a_content_registered_as_another_version_is_accepted(cache):
    (cache / "a.txt").write_bytes(OLD_A)
    assert assets.path("tiny", "a.txt").read_bytes() == OLD_A


def test_path_hashes_each_file_once_even_in_another_process(cache, hashed, monkeypatch):
    assets.path("tiny")
    assets.path("tiny")
    monkeypatch.setattr(store, "_proven", {})  # as a new process begins
    assets.path("tiny")
    assert hashed == ["a.txt", "images"]


def test_path_of_one_file_does_not_hash_the_others(cache, hashed):
    assets.path("tiny", "a.txt")
    assert hashed == ["a.txt"]


def test_path_remembers_within_the_process_where_the_cache_cannot_be_written(cache, hashed, monkeypatch):
    def refuse(*arguments, **keywords):
        raise PermissionError("read-only")

    monkeypatch.setattr(Path, "write_text", refuse)
    assets.path("tiny", "a.txt")
    assets.path("tiny", "a.txt")
    assert hashed == ["a.txt"]
    assert not (cache / store._STAMPS).exists()


@pytest.mark.parametrize("nonsense", ["", "[1, 2]", "nonsense", '{"a.txt": "0"}', "null"])
def test_a_damaged_stamp_file_only_costs_a_hash(nonsense, cache, hashed):
    (cache / store._STAMPS).write_text(nonsense)
    assets.path("tiny", "a.txt")
    assert hashed == ["a.txt"]


def test_a_changed_file_is_refused_with_both_hashes_and_the_way_out(cache):
    assets.path("tiny")
    (cache / "a.txt").write_bytes(b"alphb")
    os.utime(cache / "a.txt", ns=(1, 1))
    message = (
        f"tiny: a.txt has sha256 {sha(b'alphb')} (5 bytes), registered is {sha(A)} (5 bytes) or "
        f"{sha(OLD_A)} (11 bytes, version 1 of 2020-01-01); run `tlcourse assets fetch tiny` to replace it"
    )
    with pytest.raises(assets.CorruptAssetError) as caught:
        assets.path("tiny", "a.txt")
    assert str(caught.value) == message


@pytest.mark.parametrize("change", ["edit", "add", "remove", "rename"])
def test_any_change_within_a_folder_is_refused(change, cache):
    assets.path("tiny")
    one = cache / "images" / "1.png"
    if change == "edit":
        one.write_bytes(b"ONE")
        os.utime(one, ns=(1, 1))
    elif change == "add":
        (cache / "images" / "3.png").write_bytes(b"three")
    elif change == "remove":
        one.unlink()
    else:
        one.rename(cache / "images" / "0.png")
    with pytest.raises(assets.CorruptAssetError, match="tiny: images has sha256"):
        assets.path("tiny")


def test_hidden_files_that_file_managers_leave_in_a_folder_do_no_harm(cache):
    (cache / "images" / ".DS_Store").write_bytes(b"x")
    assert assets.path("tiny", "images").is_dir()


def test_a_new_hash_in_the_registry_voids_what_was_remembered(cache, monkeypatch):
    assets.path("tiny")
    tiny = assets.get("tiny")
    renewed = Asset(**{**vars_of(tiny), "files": (File("a.txt", 3, sha(b"new")), tiny.files[1])})
    monkeypatch.setattr(registry, "_registry", lambda: {"tiny": renewed})
    with pytest.raises(assets.CorruptAssetError, match=f"registered is {sha(b'new')}"):
        assets.path("tiny", "a.txt")


def vars_of(asset):
    return {name: getattr(asset, name) for name in asset.__dataclass_fields__ if name != "size"}


def test_verify_hashes_again_what_was_remembered(cache, hashed):
    assets.path("tiny")
    assets.verify("tiny")
    assert hashed == ["a.txt", "images", "a.txt", "images"]


def test_what_verify_refused_is_not_accepted_afterwards_on_the_strength_of_its_stamp(cache):
    times = (cache / "a.txt").stat()
    assets.path("tiny")
    (cache / "a.txt").write_bytes(b"alphb")  # same size, same time: only the content tells
    os.utime(cache / "a.txt", ns=(times.st_atime_ns, times.st_mtime_ns))
    assert assets.path("tiny", "a.txt")
    with pytest.raises(assets.CorruptAssetError):
        assets.verify("tiny")
    with pytest.raises(assets.CorruptAssetError):
        assets.path("tiny", "a.txt")


@pytest.mark.parametrize("use", [assets.path, assets.verify])
def test_a_missing_asset_names_the_size_the_cache_and_the_command(use, cache, monkeypatch):
    monkeypatch.setenv("TLCOURSE_HOME", str(cache))
    with pytest.raises(
        assets.MissingAssetError, match=r"tiny \(0.0 MB\) is not in the cache .*tiny: a.txt is .*fetch tiny`$"
    ):
        use("tiny")
    assert not assets.present("tiny")


def test_a_missing_file_of_an_asset_is_named(cache):
    (cache / "a.txt").unlink()
    assert assets.path("tiny", "images")
    with pytest.raises(assets.MissingAssetError, match=r"a.txt is missing; run `tlcourse assets fetch tiny`"):
        assets.path("tiny")


def test_path_never_downloads(cache, monkeypatch):
    monkeypatch.setattr("tlcourse.assets.clients.deliver", lambda *_: pytest.fail("path downloads"))
    (cache / "a.txt").unlink()
    with pytest.raises(assets.MissingAssetError):
        assets.path("tiny")


def test_an_unregistered_file_is_not_handed_out(cache):
    (cache / "b.txt").write_bytes(b"")
    with pytest.raises(assets.UnknownAssetError, match=r"tiny has no file 'b.txt'; did you mean 'a.txt'\?"):
        assets.path("tiny", "b.txt")


def test_present_asks_for_every_file(cache):
    assert assets.present("tiny")
    (cache / "a.txt").unlink()
    assert not assets.present("tiny")


@pytest.mark.parametrize(
    ("platform", "variables", "expected"),
    [
        ("linux", {"TLCOURSE_HOME": "/elsewhere"}, "/elsewhere"),
        ("linux", {"TLCOURSE_HOME": "~/elsewhere"}, "/people/ada/elsewhere"),
        ("linux", {"TLCOURSE_HOME": "", "XDG_CACHE_HOME": ""}, "/people/ada/.cache/tlcourse"),
        ("linux", {"XDG_CACHE_HOME": "/caches"}, "/caches/tlcourse"),
        ("darwin", {}, "/people/ada/Library/Caches/tlcourse"),
        ("win32", {"LOCALAPPDATA": "/people/ada/Local"}, "/people/ada/Local/tlcourse"),
        ("win32", {}, "/people/ada/AppData/Local/tlcourse"),
    ],
)
def test_home_is_the_platforms_cache_folder_unless_chosen(platform, variables, expected, monkeypatch):
    for name in ("TLCOURSE_HOME", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("HOME", "/people/ada")
    monkeypatch.setattr(sys, "platform", platform)
    assert assets.home() == Path(expected)


def test_a_relative_home_is_taken_from_the_working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TLCOURSE_HOME", "cache")
    assert assets.home() == tmp_path / "cache"


@pytest.mark.assets
@pytest.mark.parametrize("name", assets.needed())
def test_what_the_book_needs_is_in_the_real_cache_and_sound(name):
    assets.verify(name)
