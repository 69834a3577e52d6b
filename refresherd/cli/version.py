"""`refresherd version`: print the version."""

from argparse import Namespace

from refresherd import __version__

DESCRIPTION = """\
The same as `refresherd --version`. Bug reports begin with it."""

EPILOG = """\
example:
  refresherd version"""


def execute(_: Namespace) -> None:
    """Print the version."""
    print(f"refresherd {__version__}")
