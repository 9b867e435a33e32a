"""The command `tlcourse assets`: what it prints, where, and its exit status."""

import subprocess
import sys

import pytest

from tlcourse import assets, cli


@pytest.fixture
def calls(monkeypatch):
    """What was asked for; fetch and verify succeed, except where a test says otherwise."""
    made = []
    monkeypatch.setattr(assets, "fetch", lambda name, *, progress: made.append(("fetch", name)))
    monkeypatch.setattr(assets, "verify", lambda name: made.append(("verify", name)))
    monkeypatch.setattr(assets, "present", lambda name: name == "fashion-mnist")
    return made


def test_list_shows_size_state_and_licence_of_every_asset(calls, capsys, monkeypatch):
    monkeypatch.setenv("TLCOURSE_HOME", "/cache")
    assert cli.main(["assets", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [*assets.names(), "cache:"]
    rows = {line.split()[0]: line.split()[1:] for line in lines}
    assert rows["minilm"][:4] == ["91.6", "MB", "needed", "Apache-2.0"]
    assert rows["fashion-mnist"][2] == "here"
    assert rows["debian-descriptions"][2] == "–"
    assert rows["cache:"] == ["/cache"]


def test_fetch_without_a_name_takes_what_the_book_needs(calls, capsys):
    assert cli.main(["assets", "fetch"]) == 0
    assert calls == [("fetch", name) for name in assets.needed()]
    out, err = capsys.readouterr()
    assert out.startswith("minilm: 91.6 MB in the cache (")
    assert err == ""


def test_fetch_takes_the_named_ones_or_all(calls):
    cli.main(["assets", "fetch", "digits", "wordnet"])
    cli.main(["assets", "fetch", "--all"])
    assert [name for _, name in calls] == ["digits", "wordnet", *assets.names()]


def test_fetch_shows_a_bar_only_on_a_terminal(calls, monkeypatch):
    seen = []
    monkeypatch.setattr(assets, "fetch", lambda name, *, progress: seen.append(progress))
    for terminal in (False, True):
        monkeypatch.setattr(sys.stderr, "isatty", lambda terminal=terminal: terminal)
        cli.main(["assets", "fetch", "digits"])
    assert seen == [False, True]


def test_verify_without_a_name_takes_what_the_book_needs_and_what_else_is_there(calls, capsys):
    assert cli.main(["assets", "verify"]) == 0
    wanted = {*assets.needed(), "fashion-mnist"}
    assert calls == [("verify", name) for name in assets.names() if name in wanted]
    assert "digits: 0.1 MB verified (" in capsys.readouterr().out


def test_verify_takes_the_named_ones(calls):
    cli.main(["assets", "verify", "espeak-ng"])
    assert calls == [("verify", "espeak-ng")]


@pytest.mark.parametrize("action", ["fetch", "verify"])
def test_an_unknown_name_is_one_line_on_stderr_before_anything_is_done(action, calls, capsys):
    assert cli.main(["assets", action, "digits", "digitts"]) == 1
    assert calls == []
    assert capsys.readouterr() == ("", "tlcourse: no asset is called 'digitts'; did you mean 'digits'?\n")


@pytest.mark.parametrize(
    "error", [assets.FetchError("digits: no way"), PermissionError(13, "Permission denied", "/cache")]
)
def test_a_failure_is_one_line_on_stderr_and_does_not_stop_the_others(error, calls, capsys, monkeypatch):
    def fetch(name, *, progress):
        if name == "digits":
            raise error

    monkeypatch.setattr(assets, "fetch", fetch)
    assert cli.main(["assets", "fetch", "digits", "wordnet"]) == 1
    out, err = capsys.readouterr()
    assert out.startswith("wordnet: ")
    assert err == f"tlcourse: {error}\n"


def test_an_interrupt_is_one_line_and_status_130(calls, capsys, monkeypatch):
    def fetch(name, *, progress):
        raise KeyboardInterrupt

    monkeypatch.setattr(assets, "fetch", fetch)
    assert cli.main(["assets", "fetch"]) == 130
    assert capsys.readouterr().err.startswith("tlcourse: interrupted; ")


@pytest.mark.parametrize("arguments", [[], ["assets"], ["assets", "fly"], ["assets", "list", "--loud"]])
def test_wrong_usage_is_status_2(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert caught.value.code == 2
    assert "usage: tlcourse" in capsys.readouterr().err


def test_the_command_in_a_process_of_its_own_ends_without_a_traceback(tmp_path, monkeypatch):
    monkeypatch.setenv("TLCOURSE_HOME", str(tmp_path))
    code = "import sys; from tlcourse.cli import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", code, "assets", "verify", "digits"], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"tlcourse: digits (0.1 MB) is not in the cache {tmp_path}: digits.csv.gz is missing; "
        "run `tlcourse assets fetch digits`\n"
    )
