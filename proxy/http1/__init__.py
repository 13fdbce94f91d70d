"""HTTP/1.1 without I/O: grammar, heads, body framing, rewriting. Bytes in, facts and bytes out."""
