"""Options that score and predict share."""

import argparse


def add_window_option(parser: argparse.ArgumentParser) -> None:
    """Adds `--min-window-seconds`."""
    parser.add_argument(
        "--min-window-seconds", type=float, metavar="S",
        help="leave out a recording's last window, if it is not its only one, below this (a twentieth of a window)",
    )  # fmt: skip
