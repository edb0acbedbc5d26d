"""An identity provider with real keys, that does wrong as it is told.

It serves discovery, its keys, sign-in without a form, the exchange of codes, whose
client, redirect address and PKCE it checks, and what GitHub Actions signs for a job.
The tests sign other tokens with its keys.
"""

import base64
import hashlib
import json
import secrets
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, urlencode, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import (
    RSAPrivateKey,
    generate_private_key,
)

CLIENT, CLIENT_SECRET = "stagegate", "client-secret-of-no-value"
#: What a job of GitHub Actions asks with.
JOB = "job-of-no-value"
Claims = dict[str, Any]


class IdentityProvider:
    """A provider of this test's own.

    Attributes:
        person: the claims of whoever signs in next.
        id_token: makes an ID token of its claims; replaced to do wrong.
        jwks: what it tells of its keys; replaced to do wrong.
        metadata: what it says of itself besides, or instead.
        token: what its token endpoint answers instead.
        requests: the paths that were asked for.
        is_down: whether it answers 503.
    """

    def __init__(self) -> None:
        self.key = generate_private_key(65537, 2048)
        self.kid = secrets.token_hex(8)
        self.person: Claims = {"sub": "ann-1", "preferred_username": "ann"}
        self.id_token: Callable[[Claims], str] = self.sign
        self.jwks: Callable[[], object] = lambda: {"keys": [self.jwk()]}
        self.metadata: Claims = {}
        self.token: Claims = {}
        self.requests: list[str] = []
        self.is_down = False
        self._codes: dict[str, dict[str, str]] = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def settings(self) -> dict[str, str]:
        """What points the registry here, without the prefix."""
        return {
            "OIDC_ISSUER": self.url,
            "OIDC_CLIENT_ID": CLIENT,
            "OIDC_CLIENT_SECRET": CLIENT_SECRET,
            "OIDC_ROLES_CLAIM": "roles",
        }

    def claims(self, **claims: object) -> Claims:
        """The claims of a token for us; None leaves one out."""
        now = int(time.time())
        all_claims = {
            "iss": self.url,
            "aud": CLIENT,
            "iat": now,
            "exp": now + 300,
            **self.person,
            **claims,
        }
        return {name: value for name, value in all_claims.items() if value is not None}

    def sign(
        self,
        claims: Claims,
        *,
        key: RSAPrivateKey | str | bytes | None = None,
        algorithm: str = "RS256",
        **header: object,
    ) -> str:
        headers = {"kid": self.kid, **header}
        headers = {name: value for name, value in headers.items() if value is not None}
        # PyJWT's own way would not sign claims that make no sense.
        payload = json.dumps(claims).encode()
        return jwt.api_jws.encode(payload, key or self.key, algorithm, headers)

    def bearer(self, **claims: object) -> str:
        """A token that signs a request in."""
        return self.sign(self.claims(**claims))

    def jwk(self, **members: object) -> Claims:
        """Its public key."""
        algorithm = jwt.get_algorithm_by_name("RS256")
        found: Claims = json.loads(algorithm.to_jwk(self.key.public_key()))
        return {**found, "kid": self.kid, "use": "sig", "alg": "RS256", **members}

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def authorize(self, query: dict[str, str]) -> str:
        """Sign the person in, and return where the browser goes on to."""
        code = secrets.token_urlsafe(16)
        self._codes[code] = query
        answer = {"code": code, "state": query["state"], "iss": self.url}
        return f"{query['redirect_uri']}?{urlencode(answer)}"

    def exchange(self, body: dict[str, str], authorization: str) -> tuple[int, object]:
        begun = self._codes.pop(body.get("code", ""), None)
        pair = base64.b64encode(f"{CLIENT}:{CLIENT_SECRET}".encode()).decode()
        if authorization != f"Basic {pair}":
            return 401, {"error": "invalid_client"}
        if begun is None or begun["redirect_uri"] != body.get("redirect_uri"):
            return 400, {"error": "invalid_grant"}
        digest = hashlib.sha256(body.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        is_proven = begun["code_challenge_method"] == "S256"
        if not is_proven or begun["code_challenge"] != challenge:
            return 400, {"error": "invalid_grant"}
        claims = self.claims(nonce=begun["nonce"], sid="sid-1", azp=CLIENT)
        whole = {
            "token_type": "Bearer",
            "access_token": "opaque",
            "id_token": self.id_token(claims),
        }
        return 200, self.token or whole

    def answer(  # noqa: PLR0911  # one for each path
        self, method: str, path: str, body: str, authorization: str
    ) -> Any:  # noqa: ANN401  # JSON, or where to go
        place = urlsplit(path)
        self.requests.append(place.path)
        query = {name: values[0] for name, values in parse_qs(place.query).items()}
        if self.is_down:
            return 503, {}
        if place.path == "/.well-known/openid-configuration":
            return 200, {
                "issuer": self.url,
                "jwks_uri": f"{self.url}/keys",
                "authorization_endpoint": f"{self.url}/authorize",
                "token_endpoint": f"{self.url}/token",
                "end_session_endpoint": f"{self.url}/logout",
                **self.metadata,
            }
        if place.path == "/keys":
            return 200, self.jwks()
        if place.path == "/authorize":
            return 302, self.authorize(query)
        if place.path == "/id-token":
            return self.id_token_of_job(query["audience"], authorization)
        if (method, place.path) == ("POST", "/token"):
            form = {name: values[0] for name, values in parse_qs(body).items()}
            return self.exchange(form, authorization)
        return 404, {}

    def id_token_of_job(self, audience: str, authorization: str) -> tuple[int, object]:
        if authorization != f"Bearer {JOB}":
            return 401, {}
        return 200, {"value": self.bearer(aud=audience, jti=secrets.token_hex(16))}

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                length = int(self.headers.get("Content-Length", 0))
                body = self.rfile.read(length).decode()
                status, said = provider.answer(
                    self.command, self.path, body, self.headers.get("Authorization", "")
                )
                content = b"" if status == 302 else json.dumps(said).encode()
                self.send_response(status)
                if status == 302:
                    self.send_header("Location", said)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_POST = do_GET  # noqa: N815  # the base's way

            def log_message(self, *_: object) -> None:
                pass

        return Handler
