"""Numbers for the text, stored the way myst-nb looks for them."""

import pytest

from tlcourse import prose


def test_say_stores_the_same_bundle_as_myst_nb_glue(monkeypatch):
    glue = pytest.importorskip("myst_nb").glue
    ours, theirs = [], []
    monkeypatch.setattr(prose, "display", lambda data, **more: ours.append((data, more)))
    monkeypatch.setattr("myst_nb.ext.glue.ipy_display", lambda data, **more: theirs.append((data, more)))
    prose.say(gain_here="4.2")
    glue("gain-here", "4.2", display=False)
    assert ours[0][1]["metadata"]["scrapbook"] == theirs[0][1]["metadata"]["scrapbook"]
    assert set(theirs[0][0]) <= set(ours[0][0]) and ours[0][0][prose.MIME] == "4.2"


def test_say_refuses_a_number_that_was_not_rounded():
    with pytest.raises(TypeError, match=r"gain=4.2 is no string"):
        prose.say(gain=4.2)
