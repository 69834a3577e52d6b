"""An HTTP/1.1 server for streams: RFC 9110 and RFC 9112, within tight limits.

It inflates nothing, and no route wants a body: small ones are read and ignored.
"""
