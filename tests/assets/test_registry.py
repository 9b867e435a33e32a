"""The registry: that data/assets.toml says all it must, and that a malformed one is refused by name."""

import re

import pytest

from tlcourse import assets
from tlcourse.assets import clients, convert, registry

EVERYWHERE = {"pip-wheel", "pip-sdist", "hub", "torchvision", "torch", "nltk", "installed"}
BOOK = ["minilm", "efficientnet-lite0", "sentiment", "solar-cells", "digits"]
LATER = [
    "gpt2-bpe",
    "fashion-mnist",
    "debian-descriptions",
    "wordnet",
    "shakespeare",
    "king-james-bible",
    "espeak-ng",
]
SOUND = """
[a]
title = "t"
kind = "text"
licence = "l"
licence_url = "https://example.org"
citation = "c"
file = [{ name = "x.txt", size = 1, sha256 = "00" }]
[[a.source]]
client = "pip-wheel"
request = "a==1"
archive = { size = 2, sha256 = "11" }
take = "folder"
"""


@pytest.fixture(params=BOOK + LATER)
def asset(request):
    return assets.get(request.param)


def test_names_are_those_of_the_design_and_book_and_tests_need_what_any_system_can_fetch():
    assert assets.names() == BOOK + LATER
    assert assets.needed() == [*BOOK, "gpt2-bpe", "wordnet", "shakespeare", "king-james-bible"]


def test_every_asset_states_licence_where_found_and_citation(asset):
    assert asset.title and asset.licence and asset.citation
    assert asset.licence_url.startswith("https://")
    assert asset.kind in {"weights", "tokenizer", "text", "images", "program"}


def test_every_registered_content_has_a_sha256_and_a_size(asset):
    archives = [source.archive for source in asset.sources if source.archive]
    for digest in [*archives, *(known for file in asset.files for known in file.accepted)]:
        assert re.fullmatch(r"[0-9a-f]{64}", digest.sha256)
        assert digest.size > 0
    assert asset.size == sum(file.size for file in asset.files)


def test_every_source_has_a_client_and_a_converter_that_exist(asset):
    for source in asset.sources:
        assert source.client in clients._CLIENTS
        assert source.convert in {None, *convert.CONVERTERS}
        assert source.archive or not source.client.startswith(("pip", "apt-get"))


def test_every_asset_but_debians_own_index_has_a_source_outside_debian(asset):
    assert (asset.name == "debian-descriptions") != bool(
        {source.client for source in asset.sources} & EVERYWHERE
    )


def test_second_sources_with_other_bytes_have_their_hashes_registered():
    for name in ("fashion-mnist", "wordnet", "king-james-bible"):
        assert all(len(file.accepted) == 2 for file in assets.get(name).files)


def test_review_newspaper_and_tweet_texts_are_not_called_mit():
    asset = assets.get("sentiment")
    assert "texts without a licence" in asset.licence
    assert "offend" in asset.licence_note


def test_what_moves_upstream_says_which_version_is_registered():
    (file,) = assets.get("debian-descriptions").files
    assert re.search(r"Debian \d+\.\d+ of \d{4}-\d\d-\d\d", file.note)


def test_unknown_asset_suggests_the_nearest_name():
    with pytest.raises(
        assets.UnknownAssetError, match=r"^no asset is called 'MiniLM2'; did you mean 'minilm'\?$"
    ):
        assets.get("MiniLM2")


def test_unknown_asset_far_from_all_lists_all():
    with pytest.raises(assets.UnknownAssetError, match="there are minilm, efficientnet-lite0"):
        assets.get("zzzzzz")


def test_unknown_asset_is_a_key_error_and_an_asset_error():
    assert issubclass(assets.UnknownAssetError, KeyError) and issubclass(
        assets.UnknownAssetError, assets.AssetError
    )
    assert issubclass(assets.MissingAssetError, FileNotFoundError)


def test_unknown_file_suggests_the_nearest_file():
    with pytest.raises(
        assets.UnknownAssetError, match=r"minilm has no file 'vocab'; did you mean 'vocab.txt'\?"
    ):
        assets.get("minilm").file("vocab")


def test_take_of_one_folder_names_each_file_in_it():
    solar = assets.get("solar-cells").sources[0].take
    assert solar == {"labels.csv": "elpv_dataset/data/labels.csv", "images": "elpv_dataset/data/images/*"}
    assert assets.get("minilm").sources[1].take["vocab.txt"] == "vocab.txt"


def test_parse_reads_every_field_of_a_sound_entry():
    asset = registry.parse(SOUND)["a"]
    assert asset.files == (registry.File("x.txt", 1, "00"),)
    assert asset.sources == (
        registry.Source("pip-wheel", "a==1", {"x.txt": "folder/x.txt"}, registry.Digest(2, "11")),
    )
    assert asset.needed is False


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('take = "folder"', 'take = { "y.txt" = "y" }', "takes other files than are registered"),
        ('licence = "l"', 'license = "l"', "license"),
        ("size = 1, ", "", "size"),
        ('take = "folder"', "", "take"),
    ],
)
def test_a_malformed_entry_is_refused_by_name(old, new, message):
    with pytest.raises(ValueError, match=f"entry 'a'.*{message}"):
        registry.parse(SOUND.replace(old, new))


def test_an_installed_package_reads_the_registry_beside_its_code(tmp_path, monkeypatch):
    package = tmp_path / "site" / "tlcourse"
    (package / "data").mkdir(parents=True)
    (package / "data" / "assets.toml").write_text(SOUND)
    (tmp_path / "site" / "data").mkdir()
    (tmp_path / "site" / "data" / "assets.toml").write_text("")
    monkeypatch.setattr(registry, "__file__", str(package / "assets" / "registry.py"))
    assert registry._file() == package / "data" / "assets.toml"
