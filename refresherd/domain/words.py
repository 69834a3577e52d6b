"""Words that the status page, `status` and the demo share: the verdict on all apps."""

NONE = "-"
"""Stands for a value that does not exist."""

URGENCY = ("rejected", "expired", "starting", "retrying", "fresh")
"""The states, in the order in which operators should look at their apps."""

ALL_WELL = "Every app has a valid token, and every output holds it."


def urgency(state: str, *, troubled: bool) -> int:
    """Return the place of an app in the order in which operators should look at them, from 0.

    A state that this version does not know comes last.
    """
    place = URGENCY.index(state) if state in URGENCY else len(URGENCY)
    return place if troubled or state != URGENCY[-1] else place + 1


def count(number: int, noun: str, ending: str = "s") -> str:
    """Return `1 app` or `2 apps`; `ending` makes the noun's plural."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}{ending}"


def verdict(apps: int, troubled: int, unready: int) -> str:
    """Return the headline: how many apps are in trouble, or not ready."""
    if not apps:
        return "No app is configured"
    if apps == 1:
        found = "is in trouble" if troubled else "is not ready" if unready else "is well"
        return f"The app {found}"
    if troubled:
        return f"{troubled} of {apps} apps {'is' if troubled == 1 else 'are'} in trouble"
    if unready:
        return f"{unready} of {apps} apps {'is' if unready == 1 else 'are'} not ready"
    return f"All {apps} apps are well"


def consequence(troubled: int, lost: int, unready: int) -> str:
    """Return whether consumers have valid tokens, "" while apps only wait for their first one."""
    if not troubled:
        return "" if unready else ALL_WELL
    if not lost:
        return "Consumers still have valid tokens."
    return f"Consumers of {count(lost, 'app')} have no valid token."
