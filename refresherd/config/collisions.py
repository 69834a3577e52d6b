"""Paths that stand in each other's way: two outputs, or an output and a file that is read."""

from collections.abc import Iterator
from pathlib import Path

from refresherd.config.document import Document
from refresherd.config.findings import Findings
from refresherd.config.lines import KeyPath
from refresherd.config.scalars import Location
from refresherd.config.wording import dotted


def shared_paths(document: Document, faults: Findings) -> None:
    """Take note of every output whose path is an earlier output's, or an input's."""
    inputs = {path: dotted(key) for key, path in _present(_inputs(document))}
    inputs[document.file] = "this configuration"
    written: dict[Path, KeyPath] = {}
    for key, path in _present(_outputs(document)):
        if path in written:
            faults.add(
                key,
                f"{dotted(written[path])} has the same path; an output needs one of its own",
            )
        elif path in inputs:
            faults.add(
                key,
                f"{inputs[path]} is read from this path; a token would overwrite it, "
                "so write it elsewhere",
            )
        written.setdefault(path, key)


def _outputs(document: Document) -> Iterator[tuple[KeyPath, Location]]:
    yield ("api", "path"), document.root.api.path
    for app in document.apps:
        for key, output in app.outputs():
            yield (*key, "path"), output.path


def _inputs(document: Document) -> Iterator[tuple[KeyPath, Location]]:
    root = document.root
    yield ("dsm", "ca_file"), root.dsm.ca_file
    yield ("http", "web_config_file"), root.http.web_config_file
    for app in document.apps:
        own = app.own
        yield app.where("ca_file"), app.dsm.ca_file
        yield (*app.path, "api_key_file"), own.api_key_file
        yield (*app.path, "token_file"), own.token_file
        yield (*app.path, "cert_file"), own.cert_file
        yield (*app.path, "key_file"), own.key_file
        for index, hook in enumerate(own.hooks):
            yield (*app.path, "hooks", index, "pid_file"), hook.pid_file


def _present(
    located: Iterator[tuple[KeyPath, Location]],
) -> Iterator[tuple[KeyPath, Path]]:
    return ((key, location.path) for key, location in located if location)
