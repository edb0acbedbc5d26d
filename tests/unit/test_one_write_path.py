"""What a model is made of is written in one place (``persistence.apply``)."""

import ast
import re
from pathlib import Path

import registry

ROOT = Path(registry.__file__).parent
#: They build or execute what writes; beside them only migrations may.
WRITERS = {
    "persistence/apply.py",
    "persistence/statements.py",
    "services/audit.py",  # the head of the system's chain
    "services/exchange.py",  # what was exchanged, once it has ended
    "services/idempotency.py",
    "services/sessions.py",  # when one was seen last, and those that have expired
    "services/tokens.py",  # when one was used last, and CI jobs' that have ended
    # Both flush what the outbox's tables were given through the ORM.
    "persistence/database.py",
    "services/transaction.py",
}
#: SQLAlchemy's ways to write, as functions, of a table and of the ORM's session.
FUNCTIONS = {"insert", "update", "delete"}
OF_SESSIONS = {"add", "add_all", "merge", "flush"}
#: Without any of these there is nothing of the kind, and nothing to be parsed.
WORDS = re.compile(r"\b(?:insert|update|delete)\b|session")


def test_nothing_else_writes_the_registrys_tables() -> None:
    writers = {
        path.relative_to(ROOT).as_posix()
        for path in ROOT.rglob("*.py")
        if "migrations" not in path.parts and writes(path.read_text())
    }

    assert writers == WRITERS


def writes(source: str) -> bool:
    if not WORDS.search(source):
        return False
    module = ast.parse(source)
    imported = {
        alias.name
        for node in ast.walk(module)
        if isinstance(node, ast.ImportFrom) and node.module == "sqlalchemy"
        for alias in node.names
    }
    return bool(imported & FUNCTIONS) or any(
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and (
            (node.func.attr in FUNCTIONS and not node.args and not node.keywords)
            or (node.func.attr in OF_SESSIONS and "session" in ast.unparse(node.func))
        )
        for node in ast.walk(module)
    )
