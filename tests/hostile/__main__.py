"""`python -m tests.hostile --requests 100000 --seed 1`: hostile requests at both fronts of a new installation.

Prints the statuses, the memory, and requests that got a 5xx, no answer, or one after more than five seconds; any of them: 1.
"""

import argparse
import sys

from tests.faults.stage import stage
from tests.hostile.attack import attack, told
from tests.page_client import Browser, signed_in
from tests.service import Client, running_web


def main() -> int:
    """Attack the front of the product, then Flask's."""
    parser = argparse.ArgumentParser(prog="python -m tests.hostile", description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=100_000, help="half of them to each front")
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    wrong = 0
    with stage(LOOPWISE_ALLOW_HTTP_LOOPBACK="1") as made:
        secret = made.settings().secret_key
        with running_web(made.url, front="flask", LOOPWISE_SECRET_KEY=secret) as flask:
            browser = signed_in(flask, made.url, "admin", "attacker")
            assert flask.process is not None
            for port, pid in ((made.port, made.pid("web")), (flask.port, flask.process.pid)):
                client = Client(port, made.client.key, 20.0)
                found = attack(client, Browser(port, dict(browser.cookies)), asked.requests // 2, asked.seed, pid=pid)
                print(told(found), flush=True)
                wrong += len(found.wrong)
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
