"""How often the random simulations are run, and on which stories."""

from hypothesis import Phase, settings


def drawn(examples: int) -> settings:
    """Return the settings of a simulation: so many stories, the same in every run of the suite.

    What fails is told as it is, for a simulation is shrunk for minutes. The nights of
    `--hypothesis-profile=long` draw by chance, as many as that says, and shrink.
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
