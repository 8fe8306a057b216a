"""The command `colofd store power-cuts`."""

import sys

import click

from colofd.conformance.power_cuts import SYNCS, Merging, power_cuts


@click.command("power-cuts")
@click.option(
    "--seeds", type=click.IntRange(1), default=10, show_default=True, help="How many runs are recorded, for each time of merging."
)
@click.option("--controls", is_flag=True, help="Also leave out each sync, one at a time: a store without it must be found wrong.")
def cut_power(seeds: int, controls: bool) -> None:
    """Record what a store writes, and play that again cut, torn and reordered at every point between barriers.

    What is reopened must be exactly the last checkpoint that was answered, or the one after, by its checksum.

    Exit codes: 0 it always is, and each control is found wrong; 1 not.

    Example: colofd store power-cuts --controls
    """
    is_right = True
    click.echo("| old records are merged | barriers | states of the disk | different ones | wrong |\n| --- | --- | --- | --- | --- |")
    for merging in Merging:
        runs = [power_cuts(seed, merging) for seed in range(1, seeds + 1)]
        counts = [sum(getattr(each, name) for each in runs) for name in ("barriers", "states", "different")]
        wrong = [text for each in runs for text in each.wrong]
        click.echo(f"| {merging} | {' | '.join(map(str, counts))} | {len(wrong)} |")
        is_right = is_right and not wrong
        for text in wrong[:3]:
            click.echo(text, err=True)
    if controls:
        click.echo("\n| sync left out | is noticed |\n| --- | --- |")
        for omitted in SYNCS:
            is_noticed = bool(power_cuts(1, Merging.LATE, omitted=omitted).wrong)
            click.echo(f"| {omitted} | {'yes' if is_noticed else '**no**'} |")
            is_right = is_right and is_noticed
    sys.exit(0 if is_right else 1)
