"""Numbers of seven bits a byte, the lowest first, as protocol buffers and Thrift have them."""


def varint(value: int) -> bytes:
    """Returns the bytes of a number that is not negative."""
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
