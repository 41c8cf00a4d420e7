"""The demo's voice. Says things; knows nothing."""

import os
import sys

import click

from agent.cli.render import painted


class Narrator:
    """What the demo says: on stdout for people, on stderr where stdout is for a program."""

    def __init__(self, *, err: bool) -> None:
        self._err = err
        self._colour = (sys.stderr if err else sys.stdout).isatty() and "NO_COLOR" not in os.environ

    def __call__(self, text: str = "") -> None:
        for line in (painted(text) if self._colour else text).split("\n"):
            click.echo(f"  {line}" if line else "", err=self._err)

    def title(self, text: str) -> None:
        click.echo("", err=self._err)
        click.secho(text, bold=True, err=self._err)

    def command(self, text: str) -> None:
        click.secho(f"  $ opshelm-agent {text}", fg="cyan", err=self._err)
