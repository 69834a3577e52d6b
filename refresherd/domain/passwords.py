"""What the file of a password holds."""


def password(content: bytes) -> str:
    """Return the password in a file's content, without the newline that editors end files with.

    Anything else is part of it, blanks included. Raises ValueError, whose text says what is wrong
    and quotes nothing of the content.
    """
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise ValueError("it is in UTF-16; save it as UTF-8")
    if content.startswith(b"\xef\xbb\xbf"):
        raise ValueError("it begins with a byte order mark; save it as UTF-8 without one")
    line = content.removesuffix(b"\n").removesuffix(b"\r")
    if not line.strip():
        raise ValueError("it is empty; it must hold the password")
    if b"\n" in line or b"\r" in line:
        raise ValueError("it holds more than one line; keep only the password")
    try:
        text = line.decode()
    except UnicodeDecodeError:
        raise ValueError("it is not in UTF-8; save it as UTF-8") from None
    if not text.isprintable():
        raise ValueError("it holds control characters, such as NUL; keep only the password")
    return text
