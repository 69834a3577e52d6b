"""`refresherd schema`: print the configuration's JSON Schema."""
# ruff: noqa: PLC0415  # slow imports wait for `execute`: see command_line.COMMANDS

import json
from argparse import Namespace

DESCRIPTION = """\
An editor that is given the schema completes keys and marks faults as you type."""

EPILOG = """\
example:
  refresherd schema > refresherd.schema.json"""


def execute(_: Namespace) -> None:
    """Print the schema."""
    from refresherd.config import json_schema

    print(json.dumps(json_schema(), indent=2))
