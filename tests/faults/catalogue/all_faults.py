"""All faults, and how to select some of them."""

from collections.abc import Collection

from faults.catalogue import (
    absences,
    addresses,
    altered,
    answers,
    calls,
    encryption,
    files,
    local_users,
    outages,
    places,
    process,
    sessions,
)
from faults.catalogue.impossible import IMPOSSIBLE
from faults.rig.fault import Fault

DSM_SIDE = (
    *outages.FAULTS,
    *encryption.FAULTS,
    *addresses.FAULTS,
    *answers.FAULTS,
    *sessions.FAULTS,
)

HOST_SIDE = (
    *process.FAULTS,
    *files.FAULTS,
    *places.FAULTS,
    *absences.FAULTS,
    *altered.FAULTS,
    *calls.FAULTS,
)

FAULTS = (*DSM_SIDE, *HOST_SIDE, *local_users.FAULTS)

NOISY = frozenset({"hang-at-accept", "hang-after-request", "drip", "json-huge"})
"""Faults that run beside `neighbours` if no others are selected."""


def chosen(names: Collection[str]) -> list[Fault]:
    """Return the faults of these names, and the noisy ones if `neighbours` is among them."""
    wanted = {*names, *(NOISY if "neighbours" in names else ())}
    return [fault for fault in (*FAULTS, *IMPOSSIBLE.values()) if fault.name in wanted]
