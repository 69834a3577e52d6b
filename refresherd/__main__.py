"""`python -m refresherd`: the same as the `refresherd` command."""

import sys

from refresherd.cli import main

sys.exit(main())
