"""``/account``: who I am here, what I may do, and where I am signed in.

Rules:

- Sessions are those of the principal: of a token's, all that were made from it.
- To sign out everywhere ends the present session too.
"""

from datetime import UTC, datetime

from flask import Blueprint, Response, url_for
from werkzeug.wrappers import Response as BaseResponse

from registry.api import sign_in as browser_sessions
from registry.auth import cookies
from registry.auth.permissions import NONE, Permission, requires
from registry.auth.sign_in import current_caller
from registry.domain.actors import CredentialKind
from registry.domain.rows import SessionRow
from registry.persistence.database import reading
from registry.services import sessions
from registry.ui.audit_shown import CREDENTIALS
from registry.ui.pages import page, see
from registry.web.commands import commit, parts

blueprint = Blueprint("account", __name__)

_MOST = 50


@blueprint.get("/account")
@requires(Permission.READ, model=NONE)
def show() -> Response:
    """Show who is signed in, by what, and until when."""
    actor, now = current_caller().actor, datetime.now(UTC)
    return page(
        "account.html",
        actor=actor,
        present=_present(now),
        sessions=sessions.list_sessions(
            reading(), actor.principal, now=now, limit=_MOST
        ),
        credentials=CREDENTIALS,
    )


@blueprint.post("/account/signout-everywhere")
@requires(Permission.READ, model=NONE)
def sign_out_everywhere() -> BaseResponse:
    """End every session of whoever is signed in."""
    principal = current_caller().actor.principal
    commit(lambda tx: {"ended": sessions.end_all(tx, principal)})
    answer = see(url_for("ui.sign_in.show"))
    browser_sessions.forget_session(answer)
    return answer


def _present(now: datetime) -> SessionRow | None:
    """Return the session of this browser; None for who shows something else."""
    if current_caller().actor.credential is not CredentialKind.SESSION:
        return None
    cookie = cookies.brought(parts().settings, cookies.SESSION)
    return sessions.find(reading(), cookie, now=now)
