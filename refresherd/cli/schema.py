"""`refresherd schema`: print the configuration's JSON Schema."""

import json
from argparse import Namespace

DESCRIPTION = """\
With the schema, an editor completes keys and marks faults as you type."""

EPILOG = """\
example:
  refresherd schema > refresherd.schema.json"""


def execute(_: Namespace) -> None:
    """Print the schema."""
    from refresherd.config import json_schema

    print(json.dumps(json_schema(), indent=2))
