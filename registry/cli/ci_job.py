"""The identity of the CI job that a command runs in, where no token is given.

- ``STAGEGATE_ID_TOKEN``, or the file of ``STAGEGATE_ID_TOKEN_FILE``: what GitLab, or
  Kubernetes, signed for the job. Whoever sets one wants it exchanged.
- GitHub Actions lets a job that has ``id-token: write`` ask for one. It may have that
  for somebody else's sake, so a registry that exchanges none is asked without.
"""

from collections.abc import Mapping
from functools import partial

from registry.addresses import server_address
from registry.client import JobToken
from registry.client.ci_jobs import github_id_token
from registry.client.transport import API_PATH
from registry.settings import PREFIX, read_secret

_GITHUB = ("ACTIONS_ID_TOKEN_REQUEST_URL", "ACTIONS_ID_TOKEN_REQUEST_TOKEN")


def job_token(environ: Mapping[str, str], url: str) -> JobToken | None:
    """Return the token of the present CI job for a registry, or None outside of one.

    Raises:
        ConfigurationError: the file of one cannot be read.
    """
    if read_secret(environ, "ID_TOKEN"):
        # Read again when it is renewed: Kubernetes puts a new one into the file.
        return JobToken(url, partial(read_secret, environ, "ID_TOKEN"))
    request_url, request_token = (environ.get(name, "") for name in _GITHUB)
    if not request_url or not request_token:
        return None
    audience = environ.get(f"{PREFIX}OIDC_AUDIENCE") or _usual_audience(url)
    ask = partial(github_id_token, request_url, request_token, audience)
    return JobToken(url, ask, is_needed=False)


def _usual_audience(url: str) -> str:
    """Return what a server calls itself that has this for its public address."""
    try:
        return server_address(url).removesuffix(API_PATH)
    except ValueError:
        return url  # the client refuses it, and says why
