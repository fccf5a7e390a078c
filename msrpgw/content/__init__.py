"""What a message says, whatever carries it.  Pure: no Twisted, no sockets, no clock."""
