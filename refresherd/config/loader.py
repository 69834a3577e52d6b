"""Read, parse, convert, check, build: a configuration, or every fault that it has."""

from pathlib import Path

from refresherd.config.build import build
from refresherd.config.configuration import Configuration
from refresherd.config.convert import convert
from refresherd.config.credentials import check_credentials
from refresherd.config.environment import Environ
from refresherd.config.findings import Findings
from refresherd.config.host import Host
from refresherd.config.input_files import check_inputs
from refresherd.config.output_paths import check_targets
from refresherd.config.rules import check_rules
from refresherd.config.source import parse, read_text
from refresherd.config.warnings import warn
from refresherd.domain.errors import ConfigError


def load(path: Path, environ: Environ) -> Configuration:
    """Return the configuration in a file, checked against this machine.

    `environ` is the daemon's environment. Raises ConfigError with all the faults, each a
    line `FILE:LINE: key.path: what is wrong, and what is right`; no secret is in any.
    """
    text = read_text(path)
    faults, warnings, host = Findings(), Findings(), Host(environ)
    document = convert(parse(path, text), path.absolute(), faults)
    check_rules(document, faults)
    check_credentials(document, environ, faults)
    check_inputs(document, environ, host, faults)
    check_targets(document, host, faults)
    if faults:
        raise ConfigError(faults.lines(path, text))
    warn(document, host, warnings)
    return build(document, environ, warnings.lines(path, text))
