"""Requests as a browser sends them: about 0.8 KiB of head, with cookies, to several hosts and pages."""

from __future__ import annotations

import hashlib

HOSTS = ("www.example.org", "shop.example.org", "shop.example.com", "static.example.net")
PAGES = 25
HEAD = (
    "GET {path} HTTP/1.1\r\n"
    "Host: {host}\r\n"
    "Connection: keep-alive\r\n"
    'sec-ch-ua: "Chromium";v="131", "Google Chrome";v="131", "Not_A Brand";v="24"\r\n'
    "sec-ch-ua-mobile: ?0\r\n"
    'sec-ch-ua-platform: "Windows"\r\n'
    "Upgrade-Insecure-Requests: 1\r\n"
    "User-Agent: Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/131.0.0.0 Safari/537.36\r\n"
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\n"
    "Sec-Fetch-Site: same-origin\r\n"
    "Sec-Fetch-Mode: navigate\r\n"
    "Sec-Fetch-User: ?1\r\n"
    "Sec-Fetch-Dest: document\r\n"
    "Referer: http://{host}/basket\r\n"
    "Accept-Encoding: gzip, deflate, br, zstd\r\n"
    "Accept-Language: en-GB,en;q=0.9,de;q=0.8\r\n"
    "Cookie: JSESSIONID={session}; _ga=GA1.1.{visitor}.1763856000; "
    "_ga_9QXZP1K2LM=GS1.1.1763856000.3.1.1763856121.0.0.0; consent=necessary\r\n"
    "\r\n"
)


def request(path: str, visitor: int) -> bytes:
    """A GET of the path by one visitor, who has a session of his own; the same bytes whenever he asks."""
    session = hashlib.md5(b"%d" % visitor, usedforsecurity=False).hexdigest().upper()
    return HEAD.format(
        path=f"{path}?page={visitor % PAGES}",
        host=HOSTS[visitor % len(HOSTS)],
        session=session,
        visitor=100_000_000 + visitor,
    ).encode()
