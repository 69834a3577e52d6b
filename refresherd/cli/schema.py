"""`refresherd schema`: the configuration's JSON Schema, for editors."""

import argparse
import json

from refresherd.cli.exits import Exit
from refresherd.config import json_schema


def execute(_arguments: argparse.Namespace) -> Exit:
    """Print the schema."""
    print(json.dumps(json_schema(), indent=2))
    return Exit.OK
