"""The client's calls about trusted publishers: CI jobs without stored secrets."""

from collections.abc import Iterator, Mapping

from registry.client.transport import Transport, json_object, path_of
from registry.client.types import PublisherRecord


class PublisherCalls:
    """``client.publishers``."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def add(
        self,
        provider: str,
        name: str,
        claims: Mapping[str, str],
        role: str,
        *,
        models: str = "*",
        issuer: str | None = None,
    ) -> PublisherRecord:
        """Trust CI jobs.

        Args:
            provider: ``github``, ``gitlab`` or ``kubernetes``.
            name: for people to read, in the audit log too.
            claims: which jobs, by what their platform signs of them.
            role: what they may do: ``reader``, ``writer`` or ``promoter``.
            models: to which models, by a pattern.
            issuer: who signs, where that is not the public platform.
        """
        body = {
            "provider": provider,
            "name": name,
            "claims": dict(claims),
            "role": role,
            "models": models,
            **({"issuer": issuer} if issuer else {}),
        }
        return PublisherRecord.from_json(
            json_object(self._transport.change("/trusted-publishers", body))
        )

    def list(self) -> Iterator[PublisherRecord]:
        """Return every trusted publisher."""
        pages = self._transport.pages("/trusted-publishers")
        return map(PublisherRecord.from_json, pages)

    def get(self, publisher_id: str) -> PublisherRecord:
        """Return one."""
        path = path_of("trusted-publishers", publisher_id)
        return PublisherRecord.from_json(self._transport.get(path))

    def remove(self, publisher_id: str) -> None:
        """Trust it no more; the tokens of its jobs end at once."""
        self._transport.request("DELETE", path_of("trusted-publishers", publisher_id))
