"""What the calls have in common: the parts of an HTTP request, and the head of an answer."""

from urllib.parse import unquote_to_bytes, urlsplit


class Target:
    """The parts of a request head's absolute URL."""

    def __init__(self, url):
        parts = urlsplit(url)
        self.scheme = parts.scheme
        self.host = parts.hostname or "localhost"
        self.port = parts.port or (443 if self.scheme == "https" else 80)
        self.raw_path = parts.path or "/"
        self.path_bytes = unquote_to_bytes(self.raw_path)
        self.query = parts.query


def request_of(head):
    """The head as an HTTP request: an event is a POST of its JSON."""
    if head["type"] == "request":
        return head
    headers = [["content-type", "application/json"]]
    return {**head, "method": "POST", "url": "http://localhost/", "headers": headers}
