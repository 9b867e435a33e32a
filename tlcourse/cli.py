"""The command `tlcourse`: `tlcourse assets list | fetch | verify`."""

import argparse
import sys
from collections.abc import Callable, Sequence
from time import perf_counter

from tlcourse import assets


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status: 0, 1 after an error, 2 on wrong usage, 130 when interrupted."""
    options = _parser().parse_args(arguments)
    try:
        return options.run(options)
    except (assets.AssetError, OSError) as error:
        _complain(error)
        return 1
    except KeyboardInterrupt:
        _complain("interrupted; what was complete is kept, run the same command again to go on")
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tlcourse", description="Commands of the course's companion package."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    group = commands.add_parser("assets", help="data sets and weights that the chapters read")
    actions = group.add_subparsers(required=True, metavar="ACTION")

    listing = actions.add_parser("list", help="name, size, licence, and whether it is in the cache")
    listing.set_defaults(run=_list)

    fetching = actions.add_parser("fetch", help="download into the cache, verified")
    fetching.add_argument("names", nargs="*", metavar="NAME", help="without a name: what the chapters need")
    fetching.add_argument("--all", action="store_true", help="every registered asset")
    fetching.set_defaults(run=_fetch)

    verifying = actions.add_parser("verify", help="hash every file in the cache again")
    verifying.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help="without a name: what the chapters need, and all else in the cache",
    )
    verifying.set_defaults(run=_verify)
    return parser


def _list(options: argparse.Namespace) -> int:
    for name in assets.names():
        asset = assets.get(name)
        state = "here" if assets.present(name) else "needed" if asset.needed else "–"
        print(f"{name:<20} {asset.size / 1e6:6.1f} MB  {state:<7} {asset.licence:<34} {asset.title}")
    print(f"cache: {assets.home()}")
    return 0


def _fetch(options: argparse.Namespace) -> int:
    names = assets.names() if options.all else options.names or assets.needed()
    return _for_each(names, lambda name: assets.fetch(name, progress=sys.stderr.isatty()), "in the cache")


def _verify(options: argparse.Namespace) -> int:
    needed = assets.needed()
    names = options.names or [name for name in assets.names() if name in needed or assets.present(name)]
    return _for_each(names, assets.verify, "verified")


def _for_each(names: Sequence[str], action: Callable[[str], object], done: str) -> int:
    """Do it for every name; a failure is told and does not stop the others."""
    for name in names:
        assets.get(name)  # an unknown name is an error before anything is downloaded
    failed = 0
    for name in names:
        start = perf_counter()
        try:
            action(name)
        except (assets.AssetError, OSError) as error:
            _complain(error)
            failed += 1
        else:
            print(
                f"{name}: {assets.get(name).size / 1e6:.1f} MB {done} ({perf_counter() - start:.1f} s)",
                flush=True,
            )
    return 1 if failed else 0


def _complain(message: object) -> None:
    print(f"tlcourse: {message}", file=sys.stderr)
