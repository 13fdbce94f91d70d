"""Spellings, bytes and line ends that parsers differ about. Data only; `%d` and `%x` stand for a number."""

from __future__ import annotations

from typing import Final

# Control bytes, space-like bytes, separators, and bytes that are white space in some encodings only.
ODD: Final = (*range(0x21), 0x22, 0x27, 0x28, 0x2C, 0x3B, 0x3D, 0x5C, 0x7F, 0x80, 0x85, 0xA0, 0xFF)
CODINGS: Final = (
    b"chunked", b"Chunked", b"CHUNKED", b"chunked ", b" chunked", b"\tchunked", b"chunked\t", b"\x0bchunked",
    b"chunked\x0b", b"\x0cchunked", b"chunked\x0c", b'"chunked"', b"'chunked'", b"xchunked", b"chunkedx",
    b"x-chunked", b"chunke", b"chunked, identity", b"identity, chunked", b"identity", b"chunked, chunked",
    b"chunked,", b",chunked", b", chunked", b"chunked ,", b"chunked;", b"chunked; q=1", b"chunked;a=b",
    b"chunked\x00", b"\x00chunked", b"", b" ", b"gzip, chunked", b"gzip", b"chunked, gzip", b"deflate,chunked",
    b"compress, chunked", b"trailers, chunked", b"chunked trailers", b"identity chunked", b"chunked chunked",
    b"cow, chunked", b"chunked, cow", b"ch\xc3\xbcnked", b"\xffchunked", b"chunked\xff", b"chunked\xa0",
    b"\xa0chunked", b"chunked\x85", b"chun\r\n ked", b"\r\n chunked", b"chunked\r\n ", b"x\r\n chunked",
    b"chunked\r\n\tidentity", b"chunked\r", b"chunked\n", b"\nchunked", b"\rchunked",
    b"x\nTransfer-Encoding: chunked", b"chunked\nX: y", b"chunked\rX: y", b"\xe2\x84\xaachunked",
    b"chun\xe2\x84\xaaed", b"chunked\\", b"%63hunked", b"=?utf-8?q?chunked?=", b"(a)chunked", b"chunked(a)",
)  # fmt: skip
CODING_NAMES: Final = (
    b"Transfer_Encoding", b"Transfer Encoding", b"TransferEncoding", b"Transfer-Encoding ", b"Transfer-Encoding\t",
    b" Transfer-Encoding", b"\tTransfer-Encoding", b"X: y\rTransfer-Encoding", b"X: y\nTransfer-Encoding",
    b"Transfer\xadEncoding", b"Transfer\xe2\x80\x90Encoding", b"transfer-encoding", b"TRANSFER-ENCODING",
    b"Transfer-Encoding\r\n ", b"Tr\x00ansfer-Encoding", b"Content-Encoding", b"TE", b"Transfer--Encoding",
    b"X-Transfer-Encoding", b"HTTP_TRANSFER_ENCODING", b"Transfer-Encoding:", b":Transfer-Encoding",
    b"Transfer.Encoding",
)  # fmt: skip
LENGTH_FORMS: Final = (
    b"+%d", b"-%d", b"0%d", b"00000000000000000000%d", b"0x%d", b"%d.0", b"%de0", b"%d ", b" %d", b"\t%d", b"%d\t",
    b"%d,", b",%d", b"%d, %d", b"%d,%d", b"%d;", b"%d;a", b"%d a", b'"%d"', b"'%d'", b"%d\x00", b"\x00%d", b"%d\x0b",
    b"\x0b%d", b"%d\x0c", b"\x0c%d", b"%d\xa0", b"\xa0%d", b"%d_0", b"0_%d", b"0o%d", b"0b%d", b"%dL", b"%d bytes",
    b"(%d)", b"18446744073709551616", b"18446744073709551%d", b"9223372036854775808", b"4294967296", b"42949672%d",
    b"", b" ", b"NaN", b"- %d", b"%d\r\n ", b"\r\n %d", b"%d\r\n 0", b"%d\r\n\t1", b"%d\r", b"%d\n", b"\n%d", b"\r%d",
    b"0, %d", b"%d, 0", b"0,%d", b"\xef\xbc\x91%d", b"\xd9\xa1%d", b"\xb9%d", b"%d/1", b"%d%%", b"=%d", b"%d=",
    b"1e%d",
)  # fmt: skip
LENGTH_NAMES: Final = (
    b"Content_Length", b"Content Length", b"ContentLength", b"Content-Length ", b"Content-Length\t",
    b" Content-Length", b"\tContent-Length", b"X: y\rContent-Length", b"X: y\nContent-Length", b"content-length",
    b"CONTENT-LENGTH", b"Content-Length\r\n ", b"Content\x00-Length", b"Content-Length:", b":Content-Length",
    b"Content\xadLength", b"Content.Length", b"Content--Length", b"X-Content-Length", b"HTTP_CONTENT_LENGTH",
    b"Content-Lengt\xc4\xa5",
)  # fmt: skip
LINE_ENDS: Final = (
    b"\n", b"\r", b"\r\r\n", b"\n\r", b"\n\n", b"\r\n\r", b"\x0b\r\n", b"\x0c\r\n", b"\x00\r\n", b" \r\n", b"\t\r\n",
    b"\r\x00\n", b"\r \n", b"\x85", b"\xe2\x80\xa8", b"\r\n ", b"\x0a\x0d\x0a", b"\x1c", b"\x1e",
)  # fmt: skip
SIZES: Final = (
    b"%x", b"%X", b"0%x", b"0000000000000000%x", b"00000000000000000000000000000000%x", b"+%x", b"-%x", b"0x%x",
    b"0X%x", b" %x", b"%x ", b"\t%x", b"%x\t", b"%x\x0b", b"\x0b%x", b"%x\x0c", b"%x\x00", b"\x00%x", b"%x_", b"0_%x",
    b"%xg", b"g%x", b"%x.0", b"%x,", b",%x", b'"%x"', b"%x\r", b"\r%x", b"\n%x", b"%x\n", b"\r\n%x", b"", b" ", b";",
    b"x", b"1000000000000000%x", b"10000000000000000%x", b"FFFFFFFFFFFFFFFF", b"FFFFFFFFFFFFFFFE",
    b"8000000000000000", b"100000000%x", b"7fffffffffffffff", b"%x %x", b"%x:a", b"%x=a", b"%x\xa0", b"\xa0%x",
    b"%xh", b"#%x", b"%x#", b"%x/", b"\xef\xbc\x91%x", b"%x\\",
)  # fmt: skip
EXTENSIONS: Final = (
    b";", b";a", b";a=b", b"; a=b", b" ;a=b", b";a =b", b";a= b", b';a="b"', b';a="b', b';a="b\\"c"', b';a="b;c"',
    b";a=b;c=d", b";;", b";=", b";=b", b";a=", b";\t", b"; ", b";a\x00", b";\x00", b";a\x01b", b";a\x7f", b";a\x80",
    b";a\xff", b";a\n", b";\n", b";a\r", b";\r", b";a\rb", b";a\nb", b";a=\"\r\n\"", b';a="\n"', b';a="\r"',
    b';a="\x00"', b";a\r\r", b"; a b", b";a b=c", b";a@b", b";a=b c", b";a={}", b";a=b\r\n", b";a=b\n\r", b";a\x0b",
    b";a\x0c", b";" + b"a" * 500, b";" + b"a" * 5000, b";" + b"a" * 20000, b";a=b" * 300,
    b";a\nGET /id-@ID@-hidden HTTP/1.1", b";a\rGET /id-@ID@-hidden HTTP/1.1", b" a", b" \t;a", b"\x0b;a", b'"',
    b";a='b'", b";\xc2\x85", b";a\xe2\x80\xa8b",
)  # fmt: skip
DATA_ENDS: Final = (
    b"", b"\n", b"\r", b"\n\r", b"\r\r\n", b"\n\n", b"x\r\n", b" \r\n", b"\r\nx", b"xx", b"\r\n\r\n", b"\x00\x00",
    b"\r\x00", b"\x00\n", b"\t\n", b"\rX", b"X\n", b"\r\n ", b"\r\n\n", b"\x85\n", b"  ", b"\x00\r\n",
)  # fmt: skip
TRAILERS: Final = (
    b"X: y\r\n", b"Content-Length: 5\r\n", b"Content-Length: 60\r\n", b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: identity\r\n", b"Host: evil.test\r\n", b"Connection: close\r\n",
    b"Connection: keep-alive\r\n", b"Trailer: X\r\n", b"X : y\r\n", b" X: y\r\n", b"X\r\n", b": y\r\n", b"X: y\n",
    b"X: y\r", b"X: y\r\r\n", b"\x00: y\r\n", b"X: \x00\r\n", b"X: y\x01\r\n", b"X: y\r\n z\r\n", b"X: y\r\n\tz\r\n",
    b"X\x00: y\r\n", b"X: y\nGET /id-@ID@-hidden HTTP/1.1\r\n", b"GET /id-@ID@-hidden HTTP/1.1\r\nHost: a\r\n",
    b"X: " + b"y" * 9000 + b"\r\n", b"X: y\r\n" * 200, b"\n", b"\r", b"\r\r\n", b"X: y\x0b\r\n", b"X\xff: y\r\n",
    b"Upgrade: h2c\r\n", b"Expect: 100-continue\r\n", b"Max-Forwards: 0\r\n", b"X-Forwarded-For: 1.2.3.4\r\n",
    b"X: y\rX: z\r\n", b"Authorization: Basic eA==\r\n",
)  # fmt: skip
LINES: Final = (
    b"GET /id-@ID@-a  HTTP/1.1", b"GET  /id-@ID@-a HTTP/1.1", b" GET /id-@ID@-a HTTP/1.1",
    b"GET\t/id-@ID@-a\tHTTP/1.1", b"GET /id-@ID@-a\tHTTP/1.1", b"GET /id-@ID@-a HTTP/1.1 ",
    b"GET /id-@ID@-a HTTP/1.1\t", b"GET /id-@ID@-a\x0bHTTP/1.1", b"GET /id-@ID@-a\x0cHTTP/1.1",
    b"GET /id-@ID@-a\x00 HTTP/1.1", b"GET /id-@ID@-a b HTTP/1.1", b"GET /id-@ID@-a", b"GET /id-@ID@-a ",
    b"GET /id-@ID@-a HTTP", b"GET /id-@ID@-a HTTP/", b"GET /id-@ID@-a HTTP/1", b"GET /id-@ID@-a HTTP/1.",
    b"GET /id-@ID@-a HTTP/1.2", b"GET /id-@ID@-a HTTP/1.9", b"GET /id-@ID@-a HTTP/1.10", b"GET /id-@ID@-a HTTP/1.01",
    b"GET /id-@ID@-a HTTP/01.1", b"GET /id-@ID@-a HTTP/11.1", b"GET /id-@ID@-a HTTP/2.0", b"GET /id-@ID@-a HTTP/2",
    b"GET /id-@ID@-a HTTP/3.0", b"GET /id-@ID@-a HTTP/0.9", b"GET /id-@ID@-a HTTP/0.0", b"GET /id-@ID@-a HTTP/1.-1",
    b"GET /id-@ID@-a HTTP/1.+1", b"GET /id-@ID@-a HTTP/-1.1", b"GET /id-@ID@-a HTTP/1.1.1",
    b"GET /id-@ID@-a HTTP/1,1", b"GET /id-@ID@-a http/1.1", b"GET /id-@ID@-a Http/1.1", b"GET /id-@ID@-a HTTP /1.1",
    b"GET /id-@ID@-a HTTP/ 1.1", b"GET /id-@ID@-a HTTP/1 .1", b"GET /id-@ID@-a HTTPS/1.1", b"GET /id-@ID@-a ICY/1.1",
    b"GET /id-@ID@-a HTTP/1.1x", b"GET /id-@ID@-a HTTP/1.\xb9", b"GET /id-@ID@-a HTTP/x.y",
    b"GET /id-@ID@-a FOO HTTP/1.1", b"/id-@ID@-a HTTP/1.1", b"GET id-@ID@-a HTTP/1.1", b"GET ?id-@ID@-a HTTP/1.1",
    b"GET http:/id-@ID@-a HTTP/1.1", b"GET //id-@ID@-a HTTP/1.1", b"GET \\id-@ID@-a HTTP/1.1",
    b"GET /id-@ID@-a#b HTTP/1.1", b"GET /id-@ID@-a\xff HTTP/1.1", b"GET /id-@ID@-a\x80b HTTP/1.1",
    b"GET /id-@ID@-a\x7f HTTP/1.1", b"GET /id-@ID@-a\x01 HTTP/1.1", b"GET /id-@ID@-%0d%0a HTTP/1.1",
    b"GET /id-@ID@-%00 HTTP/1.1", b"GET /id-@ID@-%zz HTTP/1.1", b'GET /id-@ID@-"<> HTTP/1.1',
    b"GE\x00T /id-@ID@-a HTTP/1.1", b"GE(T /id-@ID@-a HTTP/1.1", b"GE\xffT /id-@ID@-a HTTP/1.1",
    b"get /id-@ID@-a HTTP/1.1", b"GET,POST /id-@ID@-a HTTP/1.1", b'"GET" /id-@ID@-a HTTP/1.1',
    b"G:ET /id-@ID@-a HTTP/1.1", b"\x00GET /id-@ID@-a HTTP/1.1", b"\xef\xbb\xbfGET /id-@ID@-a HTTP/1.1",
    b"GET /id-@ID@-a HTTP/1.1\rX: y", b"GET /id-@ID@-a HTTP/1.1\nX: y", b"GET /id-@ID@-a\rb HTTP/1.1",
    b"GET /id-@ID@-a\nb HTTP/1.1", b"GET /id-@ID@-a\r\n HTTP/1.1", b"PRI * HTTP/2.0", b"GET * HTTP/1.1",
    b"OPTIONS * HTTP/1.1", b"CONNECT a.test:80 HTTP/1.1", b"CONNECT /id-@ID@-a HTTP/1.1",
    b"TRACE /id-@ID@-a HTTP/1.1", b"",
)  # fmt: skip
AUTHORITIES: Final = (
    b"a.test", b"b.test", b"a.test:80", b"a.test:81", b"a.test:", b"u@a.test", b"a.test@b.test", b"A.TEST", b"",
    b"a.test, b.test", b"a.test b.test", b"a.test/b", b"a.test?b", b"a.test#b", b"a.test\\b", b"[::1]", b"[::1",
    b"::1", b"a.test:x", b"a.test:-1", b"a.test:99999", b"a\x00test", b"a.test\t", b"a.test:80:80", b"-", b"%61.test",
    b"a.test%00", b"\xff.test", b"a..test", b".",
)  # fmt: skip
NOMINATED: Final = (
    b"Content-Length", b"content-length", b"Transfer-Encoding", b"Host", b"Content-Length, close",
    b"close, Content-Length", b"keep-alive, Transfer-Encoding", b"Host, Content-Length, Transfer-Encoding",
    b"Connection", b"X-Forwarded-For", b"Cookie", b"Content-Type", b"TE", b"Upgrade", b"Trailer", b"\x00",
    b"Content-Length\x00", b"Content-Length ;", b"\tContent-Length", b"Content-Length,", b",Content-Length",
    b'"Content-Length"', b"Content_Length", b"Content-Length\x0b", b"Proxy-Connection",
)  # fmt: skip
METHODS: Final = (
    b"GET",
    b"HEAD",
    b"DELETE",
    b"OPTIONS",
    b"PUT",
    b"PATCH",
    b"POST",
    b"TRACE",
    b"FOO",
    b"CONNECT",
    b"SEARCH",
)
