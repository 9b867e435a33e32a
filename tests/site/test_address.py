"""The repository's address stands in pyproject.toml; every other mention is held against it."""

import re

import pytest
import yaml

FILES = ("README.md", "CONTRIBUTING.md", "CITATION.cff", "_config.yml", "book/index.md")


@pytest.fixture
def root(request):
    return request.config.rootpath


@pytest.mark.parametrize("name", FILES)
def test_file_names_the_address_of_pyproject_and_no_other(name, root, address):
    found = re.findall(r"https://github\.com/[\w.-]+/[\w-]+", (root / name).read_text(encoding="utf-8"))
    assert found
    assert set(found) == {address}


def test_launch_buttons_and_citation_lead_to_the_repository(root, address):
    config = yaml.safe_load((root / "_config.yml").read_text(encoding="utf-8"))
    citation = yaml.safe_load((root / "CITATION.cff").read_text(encoding="utf-8"))
    assert config["repository"]["url"] == citation["repository-code"] == address


def test_commands_enter_the_folder_that_cloning_makes(root, address):
    folder = address.rsplit("/", 1)[1]
    for name in ("README.md", "book/index.md"):
        text = (root / name).read_text(encoding="utf-8")
        assert set(re.findall(r"\bcd (\S+)", text)) == {folder}


def test_citation_has_the_version_of_the_package(root):
    citation = yaml.safe_load((root / "CITATION.cff").read_text(encoding="utf-8"))
    assert f'version = "{citation["version"]}"' in (root / "pyproject.toml").read_text(encoding="utf-8")
