"""One page: rendered, compressed, and not sent again as long as it is the same.

Rules:

- What a browser may do with a page stands in its headers: scripts and styles of ours
  alone, no frame around it, forms to us alone.
- A page is the same as long as what it shows is: its ETag is the digest of its text, so
  a page that is open and asks again costs a 304. So no page says what time it is.
- What shows a secret is sent as it is (``is_secret``): what is compressed beside text
  that others chose can be guessed by its size (BREACH).
"""

import gzip
import hashlib
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from flask import Response, redirect, render_template, request
from werkzeug.wrappers import Response as BaseResponse

from registry.api.problems import status_of
from registry.auth.sign_in import current_caller
from registry.domain.actors import may
from registry.domain.roles import Action
from registry.errors import RegistryError
from registry.ui.assets import takes_gzip

_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; "
        "img-src 'self' data:; connect-src 'self'; form-action 'self'; "
        "frame-ancestors 'none'; base-uri 'none'"
    ),
    # An Origin of null, which no-referrer makes of forms, is nobody's.
    "Referrer-Policy": "same-origin",
}
#: Where a page says its own tag, before all that others wrote.
_NO_TAG = b'<meta name="etag" content="'


def page(
    template: str, *, status: int = 200, is_secret: bool = False, **context: object
) -> Response:
    """Render a page.

    Args:
        template: its name.
        status: of the answer.
        is_secret: whether it shows what is shown once.
        context: what the template is to know.
    """
    body = render_template(template, **context).encode()
    answer = Response(body, status=status, mimetype="text/html")
    answer.headers.extend(_HEADERS)
    if status == HTTPStatus.OK and not is_secret:
        tag = hashlib.sha256(body).hexdigest()[:32]
        body = body.replace(_NO_TAG, _NO_TAG + f"W/&quot;{tag}&quot;".encode(), 1)
        answer.set_data(body)
        answer.set_etag(tag, weak=True)
        answer.make_conditional(request)
    if answer.status_code != HTTPStatus.NOT_MODIFIED and not is_secret:
        _compress(answer, body)
    return answer


def refused(
    template: str,
    error: RegistryError,
    **context: Any,  # noqa: ANN401  # as templates are
) -> Response:
    """Render a form again that was refused, with what was typed and the reason."""
    return page(template, status=status_of(error), error=error, **context)


def see(url: str) -> BaseResponse:
    """Go on to a page, after something was done."""
    return redirect(url, code=HTTPStatus.SEE_OTHER)


def done(answer: Response) -> Mapping[str, Any]:
    """Return the document that ``web.commands.commit`` answers an API with."""
    document: Mapping[str, Any] = answer.get_json()
    return document


def i_may(action: str, model: str | None = None) -> bool:
    """Whether who looks at the present page may do something.

    Args:
        action: the value of an ``Action``.
        model: to this one; None asks for any.
    """
    return may(current_caller().actor, Action(action), model)


def _compress(answer: Response, body: bytes) -> None:
    answer.vary.add("Accept-Encoding")
    if takes_gzip():
        answer.set_data(gzip.compress(body, compresslevel=5, mtime=0))
        answer.headers["Content-Encoding"] = "gzip"
