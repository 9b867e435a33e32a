"""Named members out of archives: what is taken, and what is refused."""

import io
import lzma
import os
import shutil
import subprocess
import tarfile
import zipfile

import pytest

from tlcourse.assets import CorruptAssetError, FetchError, archives

MEMBERS = {
    "pkg/data/a.txt": b"alpha",
    "pkg/data/images/1.png": b"one",
    "pkg/data/images/2.png": b"two",
    "pkg/data/images/.hidden": b"left out",
    "setup.py": b"!",
}
WANTED = {"a.txt": "pkg/data/a.txt", "images": "pkg/data/images/*"}
TAKEN = {"a.txt": b"alpha", "images/1.png": b"one", "images/2.png": b"two"}


def wheel(path, members=MEMBERS, links=()):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.mkdir("pkg")
        for name, content in members.items():
            archive.writestr(name, content)
        for name in links:
            info = zipfile.ZipInfo(name)
            info.external_attr = 0o120777 << 16
            archive.writestr(info, "/etc/passwd")
    return path


def sdist(path, members=MEMBERS, links=(), kind=tarfile.SYMTYPE):
    with tarfile.open(path, "w:gz") as archive:
        folder = tarfile.TarInfo("pkg")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        for name in links:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
    return path


def deb(path, tmp_path):
    root = tmp_path / "root"
    for name, content in MEMBERS.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    (root / "DEBIAN").mkdir()
    (root / "DEBIAN" / "control").write_text(
        "Package: pkg\nVersion: 1\nArchitecture: all\nMaintainer: Nobody <nobody@example.org>\nDescription: none\n"
    )
    subprocess.run(["dpkg-deb", "--build", "--root-owner-group", root, path], check=True, capture_output=True)
    return path


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


@pytest.mark.parametrize(("make", "name"), [(wheel, "p.whl"), (sdist, "p.tar.gz")])
def test_only_the_named_members_are_written(make, name, tmp_path):
    archives.take(make(tmp_path / name), WANTED, tmp_path / "out", limit=100)
    assert contents(tmp_path / "out") == TAKEN


@pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="needs dpkg-deb")
def test_only_the_named_members_of_a_deb_are_written(tmp_path):
    archives.take(deb(tmp_path / "p.deb", tmp_path), WANTED, tmp_path / "out", limit=100)
    assert contents(tmp_path / "out") == TAKEN


def test_named_files_are_taken_from_a_folder(tmp_path):
    for name, content in MEMBERS.items():
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_bytes(content)
    archives.take(tmp_path / "in", WANTED, tmp_path / "out", limit=100)
    assert contents(tmp_path / "out") == TAKEN


def test_a_compressed_file_is_its_own_only_member(tmp_path):
    (tmp_path / "Translation-en.xz").write_bytes(lzma.compress(b"Package: a\n"))
    archives.take(tmp_path / "Translation-en.xz", {"t": "Translation-en"}, tmp_path / "out", limit=100)
    assert contents(tmp_path / "out") == {"t": b"Package: a\n"}


def test_members_of_an_archive_in_an_archive_are_taken_and_it_is_not_kept(tmp_path):
    inner = sdist(tmp_path / "inner.tar.gz").read_bytes()
    outer = sdist(tmp_path / "outer.tar.gz", {"pkg/inner.tar.gz": inner})
    (tmp_path / "inner.tar.gz").unlink()
    archives.take(outer, WANTED, tmp_path / "out", limit=100, inner="pkg/inner.tar.gz")
    assert contents(tmp_path / "out") == TAKEN
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "outer.tar.gz"]


@pytest.mark.parametrize(("make", "name"), [(wheel, "p.whl"), (sdist, "p.tar.gz")])
@pytest.mark.parametrize(
    "evil", ["../evil", "pkg/data/images/../../../../evil", "/tmp/evil", "C:\\evil", "a\\..\\evil"]
)
def test_an_archive_with_a_path_that_points_outside_is_refused_whole(make, name, evil, tmp_path):
    archive = make(tmp_path / name, {**MEMBERS, evil: b"x"})
    with pytest.raises(CorruptAssetError, match=r"points outside; nothing was unpacked"):
        archives.take(archive, WANTED, tmp_path / "out", limit=100)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
def test_a_link_in_place_of_a_member_of_a_tar_is_refused(kind, tmp_path):
    archive = sdist(tmp_path / "p.tar.gz", links=["pkg/data/images/3.png"], kind=kind)
    with pytest.raises(
        CorruptAssetError, match=r"has a link at 'pkg/data/images/3.png'; nothing was unpacked"
    ):
        archives.take(archive, WANTED, tmp_path / "out", limit=100)
    assert not (tmp_path / "out").exists()


def test_a_link_in_place_of_a_member_of_a_wheel_is_refused(tmp_path):
    with pytest.raises(CorruptAssetError, match="has a link at"):
        archives.take(
            wheel(tmp_path / "p.whl", links=["pkg/data/images/3.png"]), WANTED, tmp_path / "out", limit=100
        )


def test_a_link_among_delivered_files_is_refused(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a").symlink_to("/etc/passwd")
    with pytest.raises(CorruptAssetError, match="has a link at 'a'"):
        archives.take(tmp_path / "in", {"a": "a"}, tmp_path / "out", limit=100)


def test_links_elsewhere_in_an_archive_are_left_alone(tmp_path):
    archives.take(sdist(tmp_path / "p.tar.gz", links=["pkg/other"]), WANTED, tmp_path / "out", limit=100)
    assert contents(tmp_path / "out") == TAKEN


def test_a_member_that_is_not_there_is_named(tmp_path):
    with pytest.raises(CorruptAssetError, match=r"p.whl has no 'pkg/b.txt'; nothing was unpacked"):
        archives.take(wheel(tmp_path / "p.whl"), {"b": "pkg/b.txt"}, tmp_path / "out", limit=100)


def test_more_bytes_than_registered_are_not_unpacked(tmp_path):
    archive = wheel(tmp_path / "p.whl", {"zeros": bytes(10**6)})
    with pytest.raises(CorruptAssetError, match="would unpack to 1000000 bytes where 999999 are registered"):
        archives.take(archive, {"zeros": "zeros"}, tmp_path / "out", limit=999_999)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("make", "name"), [(wheel, "p.whl"), (sdist, "p.tar.gz")])
def test_an_archive_cut_off_half_way_is_a_clear_error(make, name, tmp_path):
    archive = make(tmp_path / name, {"pkg/data/a.txt": os.urandom(10_000)})
    archive.write_bytes(archive.read_bytes()[:5_000])
    with pytest.raises(CorruptAssetError, match=f"{name} is cut off or damaged"):
        archives.take(archive, {"a": "pkg/data/a.txt"}, tmp_path / "out", limit=10_000)


def test_a_compressed_file_cut_off_half_way_is_a_clear_error(tmp_path):
    (tmp_path / "t.xz").write_bytes(lzma.compress(os.urandom(10_000))[:5_000])
    with pytest.raises(CorruptAssetError, match=r"t.xz is cut off or damaged"):
        archives.take(tmp_path / "t.xz", {"t": "t"}, tmp_path / "out", limit=10_000)


@pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="needs dpkg-deb")
def test_a_deb_cut_off_half_way_is_a_clear_error(tmp_path):
    path = deb(tmp_path / "p.deb", tmp_path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CorruptAssetError, match=r"p.deb is cut off or damaged"):
        archives.take(path, WANTED, tmp_path / "out", limit=100)


def test_a_deb_without_dpkg_names_the_program(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "p.deb").write_bytes(b"!<arch>\n")
    with pytest.raises(FetchError, match=r"p.deb needs dpkg-deb"):
        archives.take(tmp_path / "p.deb", WANTED, tmp_path / "out", limit=100)


def test_a_full_disk_while_a_deb_is_unpacked_is_an_os_error(tmp_path, monkeypatch):
    program = tmp_path / "dpkg-deb"
    program.write_text(
        "#!/bin/sh\necho 'dpkg-deb: error: cannot write: No space left on device' >&2\nexit 2\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    (tmp_path / "p.deb").write_bytes(b"!<arch>\n")
    with pytest.raises(OSError, match="No space left"):
        archives.take(tmp_path / "p.deb", WANTED, tmp_path / "out", limit=100)
