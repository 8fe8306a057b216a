"""`pytest --colofd-subject SUBJECT`: the schedules, wire cases and vectors of colofd as tests of a receiver; docs/adapter.md shows it.

pytest loads this module wherever colofd is installed. Without the option it does nothing, and imports nothing.
"""

import pytest

SUBJECT = "--colofd-subject"
PROFILE = "--colofd-profile"
VECTORS = "--colofd-vectors"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup("colofd", "a receiver of QEMU's multifd and COLO")
    group.addoption(SUBJECT, metavar="SUBJECT", help="Also test this receiver: as for `colofd check`, but no qemu:.")
    group.addoption(PROFILE, choices=("quick", "full"), default="quick", help="How many schedules are drawn. [quick]")
    group.addoption(VECTORS, metavar="DIR", help="Also play the vectors that `colofd fill DIR` has written.")


def pytest_configure(config: pytest.Config) -> None:
    """Refuse vectors that nobody is to play."""
    if config.getoption(VECTORS) and not config.getoption(SUBJECT):
        raise pytest.UsageError(f"{VECTORS} needs {SUBJECT}")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(session: pytest.Session, config: pytest.Config, items: list[pytest.Item]) -> None:
    """Add the tests of the subject, before -k and -m choose among all."""
    subject = config.getoption(SUBJECT)
    if subject:
        # Only here, for whoever does not ask for it shall not wait for it.
        from colofd.conformance.pytest_items import collected  # noqa: PLC0415

        items.extend(collected(session, subject, config.getoption(PROFILE), config.getoption(VECTORS)))
