"""A web server that a test spells out: what it answers is a function, and nothing is done to help."""

import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@contextmanager
def plain_server(answer):
    """Serve on a free port of this machine; gives its address.

    Args:
        answer: gets the method, the path with its query, and the content of a request; gives status, headers and content.
    """

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Head and content go out in two writes: the second would wait for the first one's receipt.
        disable_nagle_algorithm = True

        def _answer(self):
            content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, headers, told = answer(self.command, self.path, content)
            self.send_response(status)
            for name, value in {"Content-Length": str(len(told)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(told)

        do_GET = do_POST = _answer  # noqa: N815

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
