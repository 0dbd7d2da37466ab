"""An HTTP request altered: address, headers, parts of a multipart body, and the archive or volume in one."""

from __future__ import annotations

from random import Random

from fuzz import byte_mutation
from fuzz.archive_mutation import mutate_archive
from fuzz.http_request import HttpRequest, parse_request
from fuzz.nifti_mutation import mutate_nifti
from fuzz.series_mutation import mutate_series

_TARGETS = (
    b"/predict", b"/predict_nifti", b"/predict?details=true", b"/predict?details=1&study_uid=1.2.3",
    b"/predict?details=x", b"/predict?study_uid=", b"/predict?study_uid=" + b"1" * 65, b"/predict/",
    b"/predict_nifti?details=true", b"/studies", b"/studies?limit=0", b"/studies?limit=1000",
    b"/studies/1.2.3", b"/studies/%00", b"/studies/%ff%fe", b"/health", b"/ready", b"/metrics", b"/docs",
    b"/openapi.json", b"/intake/stable-study", b"/", b"/../etc/passwd", b"//predict", b"/predict%2f",
)  # fmt: skip
_METHODS = (b"GET", b"POST", b"PUT", b"DELETE", b"HEAD", b"OPTIONS", b"PATCH", b"TRACE", b"X")
_HEADERS = (
    (b"content-type", b"multipart/form-data"), (b"content-type", b"multipart/form-data; boundary="),
    (b"content-type", b"multipart/form-data; boundary=\"x y\""),
    (b"content-type", b"multipart/form-data; boundary=\xff"),
    (b"content-type", b"multipart/form-data; boundary*=utf-8''x"), (b"content-type", b"application/zip"),
    (b"content-type", b"application/json"), (b"content-type", b"multipart/mixed; boundary=x"),
    (b"content-type", b";"), (b"content-type", b"multipart/form-data; boundary=x; boundary=y"),
    (b"content-length", b"0"), (b"content-length", b"99999999999999999999"),
    (b"content-length", "\u00b2".encode("latin-1")), (b"content-length", b"-1"),
    (b"accept", b"application/zip"), (b"accept", b"application/zip;q=nan"),
    (b"accept", b"application/zip;q=1e999"), (b"accept", b",;,=;q="), (b"accept", b"\xff"),
    (b"expect", b"100-continue"), (b"host", b"example.org"), (b"host", b""), (b"host", b"[::1"),
    (b"authorization", b"Bearer \xff"), (b"transfer-encoding", b"chunked"), (b"content-encoding", b"gzip"),
    (b"origin", b"null"), (b"range", b"bytes=0-"),
)  # fmt: skip
_PART_HEADERS = (
    b'Content-Disposition: form-data; name="file"',
    b'Content-Disposition: form-data; name="file"; filename=""',
    b'Content-Disposition: form-data; name="file"; filename="../../x.nii.gz"',
    b"Content-Disposition: form-data; name=file",
    b'Content-Disposition: form-data; name="other"; filename="a.zip"', b"Content-Disposition: form-data",
    b'Content-Disposition: form-data; name="file"; filename="' + b"n" * 9000 + b'"',
    b"Content-Disposition: attachment; name=\"file\"",
    b'Content-Disposition: form-data; name="file"; filename="\xff\xfe\x01.nii"',
    b'Content-Disposition: form-data; name="file\\"',
    b'Content-Disposition: form-data; name="file"; filename*=UTF-8\'\'%e2%82%ac.nii',
    b"Content-Disposition:", b": ", b"",
    b'Content-Disposition: form-data; name="file"; filename="C:\\a\\b.nii"', b"X: " + b"y" * 70000,
    b'Content-Disposition: form-data; name="file"; filename="\xed\xa0\x80\xf0\x9f\x98\x80.nii"',
    b"no colon", b'Content-Disposition: form-data; name="file"; filename="' + b'a\\b"; name="file"',
)  # fmt: skip
_PIECES = (1, 7, 100, 1 << 12, 1 << 16, 1 << 20)


def mutate_request(content: bytes, rng: Random) -> bytes:
    """A request altered in one place or a few."""
    try:
        request = parse_request(content)
    except ValueError:
        return byte_mutation.altered(content, rng)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        _alter(request, rng)
    return request.to_bytes()


def _alter(request: HttpRequest, rng: Random) -> None:
    kind = rng.random()
    if kind < 0.45:
        _payload(request, rng)
    elif kind < 0.6:
        _part(request, rng)
    elif kind < 0.7:
        _header(request, rng)
    elif kind < 0.78:
        request.target = rng.choice(_TARGETS)
    elif kind < 0.8:
        request.method = rng.choice(_METHODS)
    elif kind < 0.85:
        request.piece = rng.choice(_PIECES)
    elif kind < 0.93:
        request.body = byte_mutation.altered(request.body, rng)
    else:
        start = request.body.find(b"--")
        request.body = rng.choice(
            (b"", request.body[:start], request.body * 2, request.body + b"\r\n--x--", b"{}", b"[1")
        )


def _header(request: HttpRequest, rng: Random) -> None:
    name, value = rng.choice(_HEADERS)
    if rng.random() < 0.7:
        request.headers = [item for item in request.headers if item[0] != name]
    request.headers.append((name, value))
    if rng.random() < 0.1 and request.headers:
        del request.headers[rng.randrange(len(request.headers))]


def _payload(request: HttpRequest, rng: Random) -> None:
    """What is in the largest part, altered as what it is."""
    start = request.body.find(b"\r\n\r\n") + 4
    stop = request.body.rfind(b"\r\n--")
    if start < 4 or stop < start:
        return
    payload = request.body[start:stop]
    if not payload.startswith(b"PK"):
        payload = mutate_nifti(payload, rng)
    elif rng.random() < 0.7:
        payload = mutate_series(payload, rng)
    else:
        payload = mutate_archive(payload, rng)
    request.body = request.body[:start] + payload + request.body[stop:]


def _part(request: HttpRequest, rng: Random) -> None:
    """Headers of a part replaced or added, a part repeated, or put inside another."""
    head, blank, rest = request.body.partition(b"\r\n\r\n")
    boundary, _, headers = head.partition(b"\r\n")
    kind = rng.randrange(4)
    if kind == 0:
        headers = rng.choice(_PART_HEADERS)
    elif kind == 1:
        headers = b"\r\n".join([rng.choice(_PART_HEADERS), headers] * rng.choice((1, 1, 30)))
    elif kind == 2:
        extra = (
            boundary
            + b"\r\n"
            + rng.choice(_PART_HEADERS)
            + b"\r\n\r\n"
            + rng.choice((b"", b"x", b"PK"))
            + b"\r\n"
        )
        boundary = extra * rng.choice((1, 1, 50)) + boundary
    else:
        rest = boundary + b"\r\n" + headers + blank + rest
    request.body = boundary + b"\r\n" + headers + blank + rest
