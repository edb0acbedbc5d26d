"""The ``stagegate`` command and the table of everything it can do."""

import click

from registry import __version__
from registry.cli.lazy import LazyCommand, LazyGroup
from registry.cli.streams import accept_every_character

COMMANDS = {
    "serve": LazyCommand(
        "registry.cli.server:serve",
        "Serve the registry and deliver its webhooks.",
    ),
    "worker": LazyCommand(
        "registry.cli.server:worker",
        "Deliver webhooks and run the periodic jobs, without serving.",
    ),
    "db": LazyCommand(
        "registry.cli.server:db",
        "Look after the database.",
    ),
    "demo": LazyCommand(
        "registry.cli.demo:demo",
        "Tell the whole story on this machine.",
    ),
    "models": LazyCommand(
        "registry.cli.models:models",
        "List, create, show and delete registered models.",
    ),
    "register": LazyCommand(
        "registry.cli.register:register",
        "Register a file, a directory or an address as the next version.",
    ),
    "versions": LazyCommand(
        "registry.cli.versions:versions",
        "List, show, verify and download model versions.",
    ),
    "promote": LazyCommand(
        "registry.cli.transitions:promote",
        "Move a version to a stage, or ask for that where others must approve.",
    ),
    "rollback": LazyCommand(
        "registry.cli.transitions:rollback",
        "Put back the version that served before.",
    ),
    "archive": LazyCommand(
        "registry.cli.transitions:archive",
        "Move a version to Archived.",
    ),
    "requests": LazyCommand(
        "registry.cli.requests:requests",
        "Ask for stage changes, and approve or reject them.",
    ),
    "checks": LazyCommand(
        "registry.cli.checks:checks",
        "Report and list checks of versions.",
    ),
    "holds": LazyCommand(
        "registry.cli.holds:holds",
        "Hold stages of a model, and lift such holds.",
    ),
    "history": LazyCommand(
        "registry.cli.history:history",
        "Show what became of a model's stage changes, or who held a stage when.",
    ),
    "deployments": LazyCommand(
        "registry.cli.deployments:deployments",
        "Report and list deployments of versions.",
    ),
    "alias": LazyCommand(
        "registry.cli.aliases:alias",
        "Set and delete aliases of versions.",
    ),
    "audit": LazyCommand(
        "registry.cli.audit:audit",
        "Verify and export the audit log.",
    ),
    "doctor": LazyCommand(
        "registry.cli.doctor:doctor",
        "Prove that nothing is missing or contradicts the audit log.",
    ),
    "webhooks": LazyCommand(
        "registry.cli.webhooks:webhooks",
        "Manage webhook subscriptions and their deliveries.",
    ),
    "events": LazyCommand(
        "registry.cli.events:events",
        "Show what happened, in its order, from any point on.",
    ),
    "import": LazyCommand(
        "registry.cli.imports:imports",
        "Copy models from another registry into this one.",
    ),
    "tokens": LazyCommand(
        "registry.cli.tokens:tokens",
        "Create, list and revoke API tokens; get one for a CI job.",
    ),
    "roles": LazyCommand(
        "registry.cli.roles:roles",
        "Give people and groups roles, list them, take them away.",
    ),
    "publishers": LazyCommand(
        "registry.cli.publishers:publishers",
        "Trust CI jobs by what their platform signs of them.",
    ),
    "whoami": LazyCommand(
        "registry.cli.whoami:whoami",
        "Show who is signed in, and what they may do.",
    ),
}


@click.group(
    cls=LazyGroup,
    lazy_commands=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=(
        "Exit codes: 0 done, 1 failed, 2 usage, 3 refused by policy, 4 conflict or"
        " stale expectation, 5 not found, 6 not signed in or not allowed, 7 timed out"
        " waiting, 8 server unreachable."
    ),
)
@click.version_option(__version__, "--version", prog_name="stagegate")
def stagegate() -> None:
    """Stagegate: a model registry whose stage changes can be trusted."""


def main() -> None:
    """Run the command line; the entry point of the distribution."""
    accept_every_character()
    stagegate(prog_name="stagegate")


if __name__ == "__main__":
    main()
