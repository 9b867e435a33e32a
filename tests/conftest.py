"""For every test: no network beyond this machine, no screen, none of the reader's own settings."""

import os

from tools.execution import OFFLINE
from tools.offline import sitecustomize  # noqa: F401 - importing it blocks the network

SETTINGS = ("TLCOURSE_PROFILE", "TLCOURSE_RECORD_CLAIMS", "TLCOURSE_CHAPTER")


def pytest_configure(config):
    for name in SETTINGS:
        os.environ.pop(name, None)
    paths = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    if str(OFFLINE) not in paths:
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(OFFLINE), *paths]))
    os.environ.setdefault("MPLBACKEND", "Agg")
    os.environ.update(HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1")
