"""What a command says when it could not be run: one message for each cause, with what to do about it."""

from typing import IO, Any

import click


class Diagnostic(click.ClickException):
    """An input of a kind that has a name. `code` never changes; exit code 2."""

    exit_code = 2

    def __init__(self, code: str, message: str, cause: str, hint: str) -> None:
        super().__init__(message)
        self.code = code
        self.cause = cause
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.code}: {self.message}: {self.cause}"

    def show(self, file: IO[Any] | None = None) -> None:
        """Print it to standard error."""
        click.echo(f"colofd: {self.code}: {self.message}\ncause: {self.cause}\nhint: {self.hint}", file=file, err=file is None)
