"""The line to one issuer: one POST, its JSON object, bounded in size. The deadline is the caller's."""

import logging
import ssl
from collections.abc import Mapping

import httpx

from gate.config import ConfigError
from gate.feed.finding import Silence
from gate.issuers.ask import Answer, Outgoing
from gate.issuers.values import read_json
from gate.issuersettings import Query

BODY_BYTES_MAX = 256 * 1024  # Hubei's answer with every report of 34 provinces has some 50 kB
CHUNK_BYTES = 16 * 1024
IDLE_MAX = 8  # connections kept: a steady flow of 50 passengers a second at 0.1 s each uses five
# The asking task ends by its own deadline; this one only ends what is nobody's any more.
LEFTOVER_S = 5.0
_STATUS: Mapping[int, Silence] = {
    401: Silence.NO_PERMISSION,
    403: Silence.NO_PERMISSION,
    429: Silence.BUSY,
    503: Silence.BUSY,
}


class LinkError(Exception):
    """No answer of use came. Quotes nothing."""

    def __init__(self, why: Silence) -> None:
        super().__init__(why.value)
        self.why = why


class Link:
    """Connections to one issuer, kept open between questions."""

    def __init__(self, query: Query, connections_max: int) -> None:
        for name in ("httpx", "httpcore"):  # they write URLs, headers and bodies down at DEBUG and INFO
            logging.getLogger(name).setLevel(logging.WARNING)
        self._client = httpx.AsyncClient(
            verify=_context(query),
            trust_env=False,  # no proxy and no .netrc by surprise
            follow_redirects=False,  # a number goes to whom it was meant for, and to nobody else
            timeout=httpx.Timeout(LEFTOVER_S),
            limits=httpx.Limits(max_connections=connections_max, max_keepalive_connections=IDLE_MAX),
            headers={"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "station-smart-gate"},
        )

    async def post(self, outgoing: Outgoing) -> Answer:
        """The JSON object that came back. Raises LinkError."""
        try:
            body = await self._body(outgoing)
        except (httpx.HTTPError, httpx.InvalidURL, OSError):
            raise LinkError(Silence.UNREACHABLE) from None  # their texts may quote what was sent
        answer = read_json(body)
        if answer is None:
            raise LinkError(Silence.UNINTELLIGIBLE)
        return answer

    async def close(self) -> None:
        """End the connections."""
        await self._client.aclose()

    async def _body(self, outgoing: Outgoing) -> bytes:
        parts = {key: (None, value.encode()) for key, value in (outgoing.multipart or {}).items()}
        async with self._client.stream(
            "POST", outgoing.url, data=outgoing.form, files=parts or None, json=outgoing.json
        ) as reply:
            coding = reply.headers.get("content-encoding", "identity")
            if reply.status_code != httpx.codes.OK or coding != "identity":
                raise LinkError(_STATUS.get(reply.status_code, Silence.UNINTELLIGIBLE))
            body = bytearray()
            async for chunk in reply.aiter_raw(CHUNK_BYTES):
                body += chunk
                if len(body) > BODY_BYTES_MAX:
                    raise LinkError(Silence.UNINTELLIGIBLE)
            return bytes(body)


def _context(query: Query) -> ssl.SSLContext | bool:
    if not query.url.startswith("https:") and not query.secret_url.startswith("https:"):
        return False
    try:
        context = ssl.create_default_context(cafile=query.ca_file)
        if query.certificate:
            context.load_cert_chain(query.certificate, query.private_key)
    except (OSError, ssl.SSLError) as error:
        files = " or ".join(str(path) for path in (query.ca_file, query.certificate, query.private_key) if path)
        raise ConfigError("issuer.query", f"{files}: {error}: give PEM files, the key without a passphrase") from error
    return context
