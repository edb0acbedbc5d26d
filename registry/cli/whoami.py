"""``stagegate whoami``: who is signed in, in the server's view."""

import click

from registry.cli.client_command import Connection, client_command, example


@click.command(epilog=example("stagegate whoami"))
@client_command
def whoami(to: Connection) -> None:
    """Show who is signed in, and what they may do."""
    to.output.details(to.client.whoami(), ("name", "kind", "roles", "scopes"))
