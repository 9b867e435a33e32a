import socket
import subprocess
import sys
import urllib.request

import pytest

from tools.execution import offline_environment

ELSEWHERE = "192.0.2.1"  # reserved for documentation: never a real machine


@pytest.mark.parametrize(
    "leave",
    [
        lambda: socket.create_connection((ELSEWHERE, 80), timeout=1),
        lambda: socket.create_connection(("example.org", 80), timeout=1),
        lambda: socket.getaddrinfo(b"example.org", 80),
        lambda: socket.gethostbyname("example.org"),
        lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", (ELSEWHERE, 53)),
        lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendmsg([b"x"], [], 0, (ELSEWHERE, 53)),
        lambda: socket.socket(socket.AF_INET6).connect_ex(("2001:db8::1", 80)),
        lambda: urllib.request.urlopen("http://example.org"),
    ],
)
def test_every_way_to_another_machine_is_an_error_that_names_it(leave):
    with pytest.raises(
        RuntimeError, match=r"the network is blocked.*(192\.0\.2\.1|example\.org|2001:db8::1)"
    ):
        leave()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_this_machine_is_within_reach(host):
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, 0), family=family)
    except OSError:
        pytest.skip(f"{host} is not configured here")
    with listener, socket.create_connection(listener.getsockname()[:2], timeout=5) as client:
        client.sendall(b"hello")
        assert listener.accept()[0].recv(5) == b"hello"


def test_this_machine_may_look_itself_up():
    try:
        socket.getaddrinfo(socket.gethostname(), None)
    except socket.gaierror:
        pytest.skip("this machine's name is not configured")


def test_unix_sockets_are_within_reach(tmp_path):
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as client:
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        client.connect(str(tmp_path / "s"))


def test_a_child_process_is_blocked_too():
    code = f"import socket; socket.create_connection(({ELSEWHERE!r}, 80), 1)"
    done = subprocess.run(
        [sys.executable, "-c", code], env=offline_environment(), capture_output=True, text=True
    )
    assert done.returncode == 1 and f"wants {ELSEWHERE!r}" in done.stderr
