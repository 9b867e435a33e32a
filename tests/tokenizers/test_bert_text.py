"""BERT's normalisation and words against the `tokenizers` library, character by character."""

import types
import unicodedata

import pytest
from tokenizers import normalizers, pre_tokenizers

from tests.reference.unicode_strings import code_points
from tlcourse.tokenizers import bert_text

# The library's tables of categories are Unicode 8.0, Python's are newer. These characters came after 8.0 and are
# marks, punctuation or format characters; it takes them for unassigned. First those of Unicode 14 (Python 3.11) …
NEWER = """
61D 7FD 890-891 898-89F 8CA-8E2 9FD-9FE A76 AFA-AFF B55 C04 C3C C77 C84 D00 D3B-D3C D81 EBA 180F 1ABF-1ACE
1B7D-1B7E 1DF6-1DFB 2E43-2E4F 2E52-2E5D A82C A8C5 A8FF 10D24-10D27 10EAB-10EAD 10F46-10F50 10F55-10F59 10F82-10F89
11070 11073-11074 110C2 110CD 111CF 1123E 1133B 11438-1143F 11442-11444 11446 1144B-1144F 1145A-1145B 1145D-1145E
11660-1166C 116B9 1182F-11837 11839-1183A 1183B 11938 1193B-1193C 1193E 11943-11946 119D4-119D7 119DA-119DB 119E0
119E2 11A01-11A0A 11A33-11A38 11A3B-11A47 11A51-11A56 11A59-11A5B 11A8A-11A96 11A98-11A9C 11A9E-11AA2 11C30-11C36
11C38-11C3D 11C3F 11C41-11C45 11C70-11C71 11C92-11CA7 11CAA-11CB0 11CB2-11CB3 11CB5-11CB6 11D31-11D36 11D3A
11D3C-11D3D 11D3F-11D45 11D47 11D90-11D91 11D95 11D97 11EF3-11EF4 11EF7-11EF8 11FFF 12FF1-12FF2 13430-13438
16E97-16E9A 16F4F 16FE2 16FE4 1CF00-1CF2D 1CF30-1CF46 1E000-1E006 1E008-1E018 1E01B-1E021 1E023-1E024 1E026-1E02A
1E130-1E136 1E2AE 1E2EC-1E2EF 1E944-1E94A 1E95E-1E95F
"""
# … then those of Unicode 15 to 18, which a newer Python knows.
NEWER_STILL = """
5C8-5C9 897 B53-B54 ECE 1ACF-1AF0 1B4E-1B4F 1B7F 2E60-2E63 10D69-10D6E 10ECB-10ED0 10EF0-10EFF 11241 113BB-113C0 113CE
113D0 113D2 113D4-113D5 113D7-113D8 113E1-113E2 11B00-11B09 11B60 11B62-11B64 11B66 11BE1 11DF0 11F00-11F01
11F36-11F3A 11F40 11F42-11F4F 11F5A 13439-13440 13447-13455 1611E-16129 1612D-1612F 16D6D-16D6F 1D127-1D128
1D25B-1D25C 1E08F 1E4EC-1E4EF 1E5EE-1E5EF 1E5FF 1E6E3 1E6E6 1E6EE-1E6EF 1E6F5
"""
# And these changed their category since: the one they had in 8.0.
RECLASSIFIED = {0x166D: "Po", 0x1734: "Mn", 0x1885: "Lo", 0x1886: "Lo", 0xA9BD: "Mc", 0x111C9: "Po"}
RECLASSIFIED_LATER = {0x1171E: "Mn"}


def codes(ranges):
    bounds = [part.split("-") for part in ranges.split()]
    return {code for b in bounds for code in range(int(b[0], 16), int(b[-1], 16) + 1)}


def library_words(text, lowercase):
    normalizer = normalizers.BertNormalizer(lowercase=lowercase, strip_accents=lowercase)
    pairs = pre_tokenizers.BertPreTokenizer().pre_tokenize_str(normalizer.normalize_str(text))
    return [word for word, _ in pairs]


def differing(lowercase):
    """All code points whose words differ, in the middle of a word; 128 at once, and one by one where these differ."""
    all_codes = code_points()
    for start in range(0, len(all_codes), 128):
        probes = {code: f"a{chr(code)}A" for code in all_codes[start : start + 128]}
        whole = " ".join(probes.values())
        if bert_text.words(whole, lowercase=lowercase) != library_words(whole, lowercase):
            for code, probe in probes.items():
                if bert_text.words(probe, lowercase=lowercase) != library_words(probe, lowercase):
                    yield code


@pytest.fixture(scope="module")
def exceptions():
    return {lowercase: set(differing(lowercase)) for lowercase in (True, False)}


def test_the_only_characters_that_differ_from_the_library_are_those_of_other_unicode_versions(exceptions):
    newer_here = {code for code in exceptions[True] if unicodedata.category(chr(code)) != "Cn"}
    listed = codes(NEWER) | set(RECLASSIFIED)
    if unicodedata.unidata_version == "14.0.0":
        assert len(listed) == 504
        assert newer_here == listed
    else:  # a newer Python: some of the newer ones, too
        assert listed - {0x11938} <= newer_here <= listed | codes(NEWER_STILL) | set(RECLASSIFIED_LATER)
    # The others are not in this Python's tables; the library knows their lower case, from newer tables.
    lower = normalizers.Lowercase()
    assert all(lower.normalize_str(chr(code)) != chr(code) for code in exceptions[True] - newer_here)
    # Without folding, marks and case do not matter: fewer differ, and none else.
    assert exceptions[False] < exceptions[True]


def test_with_the_categories_of_unicode_8_the_listed_characters_are_as_in_the_library(
    exceptions, monkeypatch
):
    newer, changed = codes(NEWER) | codes(NEWER_STILL), RECLASSIFIED | RECLASSIFIED_LATER

    def category(char):
        return changed.get(ord(char)) or ("Cn" if ord(char) in newer else unicodedata.category(char))

    def normalize(form, text):
        return text if newer & set(map(ord, text)) else unicodedata.normalize(form, text)

    monkeypatch.setattr(
        bert_text, "unicodedata", types.SimpleNamespace(category=category, normalize=normalize)
    )
    bert_text._tables.cache_clear()
    try:
        for lowercase, found in exceptions.items():
            for code in found:
                if unicodedata.category(chr(code)) != "Cn":
                    probe = f"a{chr(code)}A"
                    assert bert_text.words(probe, lowercase=lowercase) == library_words(probe, lowercase), (
                        hex(code)
                    )
    finally:
        bert_text._tables.cache_clear()


@pytest.mark.parametrize(
    ("text", "cased", "folded"),
    [
        ("", [], []),
        (" \t\n\r\v\u2003 ", [], []),
        ("Héllo,  World!", ["Héllo", ",", "World", "!"], ["hello", ",", "world", "!"]),
        ("a$b`c", ["a", "$", "b", "`", "c"], ["a", "$", "b", "`", "c"]),
        ("東京tower", ["東", "京", "tower"], ["東", "京", "tower"]),
        ("zero\u200bwidth\x00\ufffd\ue000", ["zerowidth"], ["zerowidth"]),
        ("ΌΣ İ", ["ΌΣ", "İ"], ["οσ", "i"]),
        ("\u0300a", ["\u0300a"], ["a"]),
    ],
)
def test_each_rule_has_its_example(text, cased, folded):
    assert bert_text.words(text, lowercase=False) == cased == library_words(text, False)
    assert bert_text.words(text, lowercase=True) == folded == library_words(text, True)
