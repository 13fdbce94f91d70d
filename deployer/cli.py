"""The command line. Everything that is not click is imported when a command needs it, so that `--help` is quick."""

from __future__ import annotations

import gc
import json
import os
import sys
from typing import NoReturn

import click

from deployer import cli_facts, cli_release, cli_setup, cli_slots
from deployer.cli_parts import Commands
from deployer.errors import DeployerError
from deployer.remote.command import tunnel

_EXIT_CODES = """
\b
Exit codes: 0 done; 1 the release failed and the site is as before; 2 usage or
configuration; 3 refused, nothing was touched; 4 failed and the site needs a
person: the message says what is running where.
"""


class _Group(Commands):
    """A group whose help names the exit codes once, at its end."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """See click.Group; called for the group's own help."""
        formatter.write_paragraph()
        formatter.write(_EXIT_CODES.replace("\b\n", "").lstrip())


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("-c", "--config", envvar="DEPLOYER_CONFIG", help="Configuration file [config/deployer.yaml].")
@click.version_option(package_name="switchyard", prog_name="deployer")
@click.pass_context
def cli(ctx: click.Context, config: str | None) -> None:
    """Releases a web application without one user noticing.

    \b
    deployer init                         make a configuration and look at what is missing
    deployer release app.war              release, by the way that the configuration says
    deployer release app.war --dry-run    only print the steps and what each one touches
    deployer status                       what is running where, and what to do
    deployer rollback                     go back to the release before
    deployer status --host me@server      each command also runs on a server, over SSH
    """
    ctx.obj = config


for command in (*cli_release.COMMANDS, *cli_slots.COMMANDS, *cli_facts.COMMANDS, *cli_setup.COMMANDS, tunnel):
    cli.add_command(command)


def _fail(error: DeployerError, *, as_json: bool) -> NoReturn:
    if as_json:
        facts = {"event": "error", "message": str(error), "advice": error.advice, "exit_code": error.exit_code}
        click.echo(json.dumps(facts, ensure_ascii=False))
    else:
        click.echo(f"error: {error}", err=True)
        if error.advice:
            click.echo(f"what to do: {error.advice}", err=True)
    sys.exit(error.exit_code)


def main() -> None:
    """The console script."""
    # Loading makes many objects that stay: looking through them for garbage meanwhile costs a tenth of the start.
    gc.disable()
    try:
        cli(prog_name="deployer")
    except DeployerError as error:
        _fail(error, as_json="--json" in sys.argv)
    except BrokenPipeError:
        # The reader of our facts has gone; what is left in the buffer must not fail at the interpreter's end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
