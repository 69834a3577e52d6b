"""How often the random simulations run, and on which examples."""

from hypothesis import Phase, settings


def drawn(examples: int) -> settings:
    """Return the settings of a simulation with `examples`, the same in every run of the suite.

    A failing example is reported as it is, because shrinking a simulation takes minutes. With
    `--hypothesis-profile=long` examples are drawn by chance, as many as that says, and shrunk.
    """
    thorough = settings.get_profile("thorough")
    if settings().max_examples > thorough.max_examples:
        return settings(phases=set(Phase) - {Phase.explain})
    return settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        phases=(Phase.explicit, Phase.generate),
    )
