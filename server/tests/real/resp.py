"""A small blocking client: one command at a time, or one sent ahead of its reply."""

import socket


class Client:
    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.replies = self.socket.makefile("rb")

    def call(self, *words):
        self.send(*words)
        return self.receive()

    def send(self, *words):
        request = b"".join(b"$%d\r\n%s\r\n" % (len(word), word.encode()) for word in words)
        self.socket.sendall(b"*%d\r\n" % len(words) + request)

    def receive(self):
        line = self.replies.readline().rstrip(b"\r\n").decode()
        if line.startswith("$") and line != "$-1":
            return self.replies.read(int(line[1:]) + 2)[:-2].decode()
        if line.startswith("*") and line != "*-1":
            return [self.receive() for _ in range(int(line[1:]))]
        return line

    def info(self, field):
        lines = self.call("INFO", "everything").splitlines()
        return next(line.split(":", 1)[1] for line in lines if line.startswith(f"{field}:"))
