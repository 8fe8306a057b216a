"""`python -m colofd.conformance` is `colofd`."""

from colofd.conformance.command import main

main()
