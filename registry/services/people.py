"""People's grants: what the roles claim says, and what is bound to them here."""

from sqlalchemy import Connection

from registry.domain.actors import Actor, CredentialKind
from registry.domain.people import Person, actor_of
from registry.services.roles import grants_of


def sign_in(
    cx: Connection,
    person: Person,
    *,
    credential: CredentialKind,
    credential_id: str = "",
) -> Actor:
    """Return who acts; a change of what is bound takes effect at once."""
    bound = grants_of(cx, person.principal, person.groups)
    return actor_of(person, bound, credential=credential, credential_id=credential_id)
