"""CPU and memory of reading the app's users: 100,000 people in pages of 500 from a server in another process.

``python tests/benchmarks/bench_okta.py [--people N]``. Prints the reader's CPU seconds without its start, its peak memory, the
memory that it takes before the first page (the SDK's, mostly), and for comparison the CPU that decoding alone takes of the
same bytes in the same process.
"""

import argparse
import json
import multiprocessing
import resource
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

PAGE = 500
APP = "0oaBENCH"


def person(number: int) -> dict:
    """About 0.93 kB, which is what Okta sends for an app user without its embedded user."""
    return {
        "id": f"00u{number:017d}",
        "externalId": f"7f0c6f6e-0000-4000-8000-{number:012d}",
        "created": "2026-01-01T00:00:00.000Z",
        "lastUpdated": "2026-01-01T00:00:00.000Z",
        "scope": "USER",
        "status": "PROVISIONED",
        "statusChanged": "2026-01-01T00:00:00.000Z",
        "passwordChanged": None,
        "syncState": "SYNCHRONIZED",
        "lastSync": "2026-01-01T00:00:00.000Z",
        "credentials": {"userName": f"person{number}@example.com"},
        "profile": {
            "givenName": "Person",
            "familyName": f"Number {number}",
            "displayName": f"Person Number {number}",
            "email": f"person{number}@example.com",
            "title": "Engineer",
            "department": "Engineering",
            "organization": "Example",
            "costCenter": None,
            "locale": "en-US",
            "employeeNumber": str(number),
        },
        "_links": {
            "app": {"href": f"https://example.okta.com/api/v1/apps/{APP}"},
            "user": {"href": f"https://example.okta.com/api/v1/users/00u{number:017d}"},
        },
    }


class Pages(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    people: ClassVar[int] = 0

    def do_GET(self) -> None:
        after = int(self.path.partition("after=")[2] or 0)
        body = json.dumps([person(after + n) for n in range(PAGE)], separators=(",", ":")).encode()
        head = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
        address = f"http://{self.headers['Host']}/api/v1/apps/{APP}/users"
        head.append(("Link", f'<{address}?limit={PAGE}>; rel="self"'))
        if after + PAGE < self.people:
            head.append(("Link", f'<{address}?limit={PAGE}&after={after + PAGE}>; rel="next"'))
        self.send_response(200)
        for name, value in head:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_args: object) -> None:
        pass


def serve(people: int, pipe) -> None:
    Pages.people = people
    server = ThreadingHTTPServer(("127.0.0.1", 0), Pages)
    pipe.send(server.server_address[1])
    server.serve_forever()


def read(port: int, people: int, pipe) -> None:
    from agent.okta_org import OktaOrg
    from agent.settings import OktaSettings

    org = OktaOrg.connect(OktaSettings(org_url=f"http://127.0.0.1:{port}", app_id=APP, api_token="x"))
    before, started = cpu(), time.perf_counter()
    idle = peak()
    count = sum(len(page) for page in org.app_user_pages(PAGE))
    assert count == people
    measured = (cpu() - before, time.perf_counter() - started, peak(), idle)
    org.close()
    pipe.send((*measured, decoding_alone(people)))


def decoding_alone(people: int) -> float:
    import msgspec

    from agent.model.okta import AppUser

    decoder = msgspec.json.Decoder(list[AppUser])
    bodies = [
        json.dumps([person(k * PAGE + n) for n in range(PAGE)], separators=(",", ":")).encode() for k in range(20)
    ]
    before = cpu()
    for number in range(people // PAGE):
        decoder.decode(bodies[number % len(bodies)])
    return cpu() - before


def cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--people", type=int, default=100_000)
    people = parser.parse_args().people
    spawn = multiprocessing.get_context("spawn")
    here, there = spawn.Pipe()
    server = spawn.Process(target=serve, args=(people, there), daemon=True)
    server.start()
    port = here.recv()
    reader = spawn.Process(target=read, args=(port, people, there))
    reader.start()
    seconds, wall, memory, idle, alone = here.recv()
    reader.join()
    server.terminate()
    print(
        f"{people} people: {seconds:.2f} s CPU ({alone:.2f} s of it decoding, measured alone), {wall:.1f} s wall, "
        f"peak {memory:.0f} MB ({idle:.0f} MB before the first page)"
    )


if __name__ == "__main__":
    main()
