"""JWTs that nobody may take, whatever they are for: one for each mistake that is known.

Each is made for an identity provider of the tests, whose own right claims it has but
for what it does wrong.
"""

import base64
import hmac
import json
import time
from collections.abc import Callable
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from tests.identity_provider import CLIENT, Claims, IdentityProvider


def unsigned(provider: IdentityProvider) -> str:
    return jwt.encode(provider.claims(), "", "none", headers={"kid": provider.kid})


def public_key(provider: IdentityProvider, form: str) -> bytes:
    """The public key as text: what everybody has is no secret."""
    key = provider.key.public_key()
    encoding, public = serialization.Encoding, serialization.PublicFormat
    match form:
        case "ssh":
            return key.public_bytes(encoding.OpenSSH, public.OpenSSH)
        case "pkcs1":
            return key.public_bytes(encoding.PEM, public.PKCS1)
        case "jwk":
            return json.dumps(provider.jwk()).encode()
        case _:
            return key.public_bytes(encoding.PEM, public.SubjectPublicKeyInfo)


def signed_by_public_key(
    form: str, algorithm: str = "HS256"
) -> Callable[[IdentityProvider], str]:
    """HMAC with the public key as its secret."""
    return lambda provider: signed_by_hand(
        provider, {"alg": algorithm}, public_key(provider, form)
    )


def signed_by_hand(provider: IdentityProvider, header: Claims, secret: bytes) -> str:
    parts = ({"kid": provider.kid, **header}, provider.claims())
    text = ".".join(encoded(json.dumps(part).encode()) for part in parts)
    return f"{text}.{encoded(hmac.digest(secret, text.encode(), 'sha256'))}"


def signed(
    *, header: Claims | None = None, payload: str | None = None
) -> Callable[[IdentityProvider], str]:
    """By the right key, whatever the header and the payload say."""

    def sign(provider: IdentityProvider) -> str:
        head = {"alg": "RS256", "typ": "JWT", "kid": provider.kid, **(header or {})}
        body = json.dumps(provider.claims()) if payload is None else payload
        parts = (json.dumps(head).encode(), body.encode("utf-8", "surrogateescape"))
        text = ".".join(map(encoded, parts))
        algorithm = jwt.get_algorithm_by_name("RS256")
        return f"{text}.{encoded(algorithm.sign(text.encode(), provider.key))}"

    return sign


def encoded(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def with_own_key(provider: IdentityProvider) -> str:
    """The key that it is signed with, in its header."""
    key = rsa.generate_private_key(65537, 2048)
    public = json.loads(jwt.get_algorithm_by_name("RS256").to_jwk(key.public_key()))
    return provider.sign(provider.claims(), key=key, jwk=public)


def of_another_key(provider: IdentityProvider) -> str:
    return provider.sign(provider.claims(), key=rsa.generate_private_key(65537, 2048))


def changed(provider: IdentityProvider) -> str:
    head, _, signature = provider.bearer().split(".")
    other = encoded(json.dumps(provider.claims(sub="root")).encode())
    return f"{head}.{other}.{signature}"


def of_elliptic_key(provider: IdentityProvider) -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    return jwt.encode(provider.claims(), key, "ES256", headers={"kid": provider.kid})


def header(**members: Any) -> Callable[[IdentityProvider], str]:  # noqa: ANN401  # JSON
    return lambda provider: provider.sign(provider.claims(), **members)


def claims(**members: object) -> Callable[[IdentityProvider], str]:
    return lambda provider: provider.bearer(**members)


def text(value: str) -> Callable[[IdentityProvider], str]:
    return lambda _: value


NOW = int(time.time())
DEEP = b'{"a":' + b"[" * 5000
WRONG_JWTS: dict[str, Callable[[IdentityProvider], str]] = {
    "alg none": unsigned,
    "alg None": lambda p: signed_by_hand(p, {"alg": "None"}, b""),
    "alg nOnE": lambda p: signed_by_hand(p, {"alg": "nOnE"}, b""),
    "no alg": lambda p: signed_by_hand(p, {}, b"secret"),
    "alg that is no text": lambda p: signed_by_hand(p, {"alg": 7}, b"secret"),
    "alg that is a list": lambda p: signed_by_hand(p, {"alg": ["RS256"]}, b"secret"),
    "alg none, signed": signed(header={"alg": "none"}),
    "alg none, by HMAC": lambda p: signed_by_hand(p, {"alg": "none"}, b"secret"),
    "alg in another case": signed(header={"alg": "rs256"}),
    "alg with a space": signed(header={"alg": "RS256 "}),
    "alg that is empty": signed(header={"alg": ""}),
    "alg that is null": signed(header={"alg": None}),
    "alg of another signature": signed(header={"alg": "PS256"}),
    "alg of another key": signed(header={"alg": "ES256"}),
    "alg of another length": signed(header={"alg": "RS512"}),
    "CVE-2022-29217: HMAC by the public key for SSH": signed_by_public_key("ssh"),
    "CVE-2024-37568: HMAC by the public key": signed_by_public_key("pem"),
    "CVE-2024-37568: HMAC by the public RSA key": signed_by_public_key("pkcs1"),
    "CVE-2026-48526: HMAC by the public JWK": signed_by_public_key("jwk"),
    "HMAC by the public key, said to be RSA": signed_by_public_key("pem", "RS256"),
    "HMAC of 384 bits": signed_by_public_key("pem", "HS384"),
    "HMAC of 512 bits": signed_by_public_key("pem", "HS512"),
    "HMAC by nothing": lambda p: signed_by_hand(p, {"alg": "HS256"}, b""),
    "CVE-2026-27962: its own key in its header": with_own_key,
    "its issuer's key in its header": lambda p: p.sign(p.claims(), jwk=p.jwk()),
    "jku": header(jku="https://evil.example/keys"),
    "x5u": header(x5u="https://evil.example/cert"),
    "x5c": header(x5c=["MIIB"]),
    "CVE-2026-32597: crit that is unknown": header(crit=["x"], x=1),
    "CVE-2025-59420: crit that is a claim": header(crit=["cnf"], cnf={"jkt": "x"}),
    "crit of what is known": header(crit=["exp"], exp=NOW + 60),
    "crit that is empty": header(crit=[]),
    "b64": header(b64=False, crit=["b64"]),
    "zip": header(zip="DEF"),
    "a JWT within": header(cty="JWT"),
    "no kid": header(kid=None),
    "kid that is a number": signed(header={"kid": 7}),
    "kid that is a list": signed(header={"kid": ["a"]}),
    "unknown kid": header(kid="unknown"),
    "kid that leads elsewhere": header(kid="../../etc/passwd"),
    "type that is a list": signed(header={"typ": ["JWT"]}),
    "another type": header(typ="secevent+jwt"),
    "another key": of_another_key,
    "another algorithm's key": of_elliptic_key,
    "changed after signing": changed,
    "cut off": lambda p: p.bearer()[:-8],
    "signature of zeros": lambda p: (
        f"{p.bearer().rpartition('.')[0]}.{encoded(bytes(256))}"
    ),
    "signature with padding": lambda p: f"{p.bearer()}==",
    "no signature": lambda p: p.bearer().rpartition(".")[0] + ".",
    "CVE-2024-53861: issuer in part": claims(iss="http://127"),
    "another issuer": claims(iss="https://evil.example"),
    "issuer with a slash more": lambda p: p.bearer(iss=f"{p.url}/"),
    "issuer that is a list": lambda p: p.bearer(iss=[p.url]),
    "another audience": claims(aud="other"),
    "audience that begins alike": claims(aud="stagegate-staging"),
    "audience that is none": claims(aud=None),
    "audience that is a number": claims(aud=7),
    "audiences that are no texts": claims(aud=[[CLIENT]]),
    "audience that is an object": claims(aud={CLIENT: 1}),
    "audience of nobody": claims(aud=[]),
    "issuer that is null": signed(payload='{"iss": null}'),
    "end that is infinite": claims(exp=float("inf")),
    "end that is NaN": claims(exp=float("nan")),
    "end that is an object": claims(exp={}),
    "beginning that is infinite": claims(iat=float("inf")),
    "beginning that is no number": claims(iat="now"),
    "validity that is infinite": claims(nbf=float("inf")),
    "expired": claims(exp=NOW - 60),
    "end that is no number": claims(exp="tomorrow"),
    "no end": claims(exp=None),
    "no beginning": claims(iat=None),
    "of tomorrow": claims(iat=NOW + 86400),
    "not valid yet": claims(nbf=NOW + 86400),
    "too long": claims(pad="x" * 8192),
    "CVE-2026-27932: PBES2": lambda p: signed_by_hand(
        p, {"alg": "PBES2-HS256+A128KW", "enc": "A128GCM", "p2c": 10**9}, b"x"
    ),
    "claims that are no UTF-8": signed(payload='{"iss": "\udcff"}'),
    "claims that are a list": signed(payload="[]"),
    "claims that are null": signed(payload="null"),
    "claims of great depth": signed(payload="[" * 5000),
    "a header of great depth": text(f"{encoded(DEEP)}.e30.AAAA"),
    "no JSON in the header": text("eyJhYmM.e30.AAAA"),
    "no JSON in the claims": lambda p: p.bearer().split(".")[0] + ".AAAA.AAAA",
    "a list for a header": text(f"{encoded(b'[]')}.e30.AAAA"),
    "encrypted": text("eyJhbGciOiJkaXIifQ.AAAA.AAAA.AAAA.AAAA"),
}
