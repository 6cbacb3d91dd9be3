"""S3-compatible storage: one bucket in memory, for those who sign as AWS's Signature Version 4 says.

Paths are `/bucket/key`. It takes, gives, lists (ListObjectsV2, in pages) and deletes, one or many at a time
(https://docs.aws.amazon.com/AmazonS3/latest/API/). All else is refused as S3 refuses it.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import time
from base64 import b64encode
from datetime import UTC, datetime
from urllib.parse import quote
from xml.sax.saxutils import escape, unescape

from aiohttp import web

_XMLNS = "http://s3.amazonaws.com/doc/2006-03-01/"
_SKEW_SECONDS = 900


class S3Sandbox:
    """The bucket.

    Attributes:
        objects: what is in it, by key: the bytes and when they were written, in seconds since the epoch.
        full: it takes nothing more.
    """

    def __init__(
        self, bucket: str, key: str, secret: str, *, region: str = "us-east-1", page: int = 1000
    ) -> None:
        self._bucket, self._key, self._secret, self._region, self._page = bucket, key, secret, region, page
        self.objects: dict[str, tuple[bytes, float]] = {}
        self.full = False

    def add_to(self, app: web.Application) -> None:
        app.router.add_route("*", "/{bucket}", self._handle)
        app.router.add_route("*", "/{bucket}/{key:.*}", self._handle)

    async def _handle(self, request: web.Request) -> web.Response:
        body = await request.read()
        if not self._signed(request, body):
            return _error(403, "SignatureDoesNotMatch")
        if request.match_info["bucket"] != self._bucket:
            return _error(404, "NoSuchBucket")
        key = request.match_info.get("key", "")
        if request.method == "GET" and not key and request.query.get("list-type") == "2":
            return self._list(request)
        if request.method == "POST" and not key and "delete" in request.query:
            return self._delete_many(request, body)
        if not key:
            return _error(501, "NotImplemented")
        if request.method == "PUT":
            if self.full:
                return _error(507, "InsufficientStorage")
            self.objects[key] = body, time.time()
            return web.Response(headers={"ETag": _etag(body)})
        if request.method == "DELETE":
            self.objects.pop(key, None)
            return web.Response(status=204)
        if request.method in ("GET", "HEAD"):
            if key not in self.objects:
                return _error(404, "NoSuchKey")
            data, at = self.objects[key]
            modified = datetime.fromtimestamp(at, UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")
            return web.Response(body=data, headers={"ETag": _etag(data), "Last-Modified": modified})
        return _error(405, "MethodNotAllowed")

    def _list(self, request: web.Request) -> web.Response:
        prefix, after = request.query.get("prefix", ""), request.query.get("continuation-token", "")
        keys = sorted(key for key in self.objects if key.startswith(prefix) and key > after)
        page, more = keys[: self._page], len(keys) > self._page
        rows = []
        for key in page:
            data, at = self.objects[key]
            modified = datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
            rows.append(
                f"<Contents><Key>{escape(key)}</Key><LastModified>{modified}</LastModified>"
                f"<ETag>{escape(_etag(data))}</ETag><Size>{len(data)}</Size></Contents>"
            )
        token = f"<NextContinuationToken>{escape(page[-1])}</NextContinuationToken>" if more else ""
        return _xml(
            f'<ListBucketResult xmlns="{_XMLNS}"><Name>{self._bucket}</Name><Prefix>{escape(prefix)}</Prefix>'
            f"<KeyCount>{len(page)}</KeyCount><MaxKeys>{self._page}</MaxKeys>"
            f"<IsTruncated>{str(more).lower()}</IsTruncated>{token}{''.join(rows)}</ListBucketResult>"
        )

    def _delete_many(self, request: web.Request, body: bytes) -> web.Response:
        sums = {
            "Content-MD5": hashlib.md5(body, usedforsecurity=False).digest(),
            "x-amz-checksum-sha256": hashlib.sha256(body).digest(),
        }
        if not any(request.headers.get(name) == b64encode(sum_).decode() for name, sum_ in sums.items()):
            return _error(400, "InvalidRequest")
        gone = [unescape(key) for key in re.findall("<Key>(.*?)</Key>", body.decode())]
        for key in gone:
            self.objects.pop(key, None)
        rows = "".join(f"<Deleted><Key>{escape(key)}</Key></Deleted>" for key in gone)
        return _xml(f'<DeleteResult xmlns="{_XMLNS}">{rows}</DeleteResult>')

    def _signed(self, request: web.Request, body: bytes) -> bool:
        scheme, _, rest = request.headers.get("Authorization", "").partition(" ")
        parts = dict(part.strip().partition("=")[::2] for part in rest.split(","))
        at = request.headers.get("x-amz-date", "")
        scope = f"{at[:8]}/{self._region}/s3/aws4_request"
        if scheme != "AWS4-HMAC-SHA256" or parts.get("Credential") != f"{self._key}/{scope}":
            return False
        moment = datetime.strptime(at, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
        digest = request.headers.get("x-amz-content-sha256", "")
        if abs(time.time() - moment) > _SKEW_SECONDS:
            return False
        if digest not in ("UNSIGNED-PAYLOAD", hashlib.sha256(body).hexdigest()):
            return False
        names = parts.get("SignedHeaders", "").split(";")
        if not {"host", "x-amz-date", "x-amz-content-sha256"} <= set(names):
            return False
        query = sorted(
            (quote(name, safe="-_.~"), quote(value, safe="-_.~")) for name, value in request.query.items()
        )
        canonical = [
            request.method,
            request.rel_url.raw_path,
            "&".join(f"{name}={value}" for name, value in query),
            *(f"{name}:{' '.join(request.headers.get(name, '').split())}" for name in names),
            "",
            ";".join(names),
            digest,
        ]
        text = (
            f"AWS4-HMAC-SHA256\n{at}\n{scope}\n{hashlib.sha256(chr(10).join(canonical).encode()).hexdigest()}"
        )
        key = b"AWS4" + self._secret.encode()
        for word in scope.split("/"):
            key = hmac.digest(key, word.encode(), "sha256")
        wanted = hmac.digest(key, text.encode(), "sha256").hex()
        return hmac.compare_digest(wanted, parts.get("Signature", ""))


def _etag(data: bytes) -> str:
    return f'"{hashlib.md5(data, usedforsecurity=False).hexdigest()}"'


def _xml(text: str, status: int = 200) -> web.Response:
    head = '<?xml version="1.0" encoding="UTF-8"?>'
    return web.Response(text=head + text, status=status, content_type="application/xml")


def _error(status: int, code: str) -> web.Response:
    return _xml(f"<Error><Code>{code}</Code><Message>{code}</Message></Error>", status)
